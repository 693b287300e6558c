// Decoders: base64, zlib, packed arrays (counts.py) and PNG (frames.py). Labels are decoded here and not by the browser's
// canvas, because some browsers change the pixels that a script reads from a canvas.
"use strict";
globalThis.DWNetPlayer ??= {};
(() => {
  const TYPES = { i4: Int32Array, f8: Float64Array, f4: Float32Array, u1: Uint8Array };
  const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
  const CHANNELS = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };

  function bytesOf(base64) {
    const text = atob(base64);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes;
  }

  async function inflate(bytes) {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  // Returns {shape, values} of an array that `pack` wrote.
  async function unpack(packed) {
    const bytes = await inflate(bytesOf(packed.data));
    return { shape: packed.shape, values: new TYPES[packed.type](bytes.buffer) };
  }

  // Returns {width, height, pixels} of an 8-bit grey or palette PNG without interlacing. Pixels are grey values or indices.
  async function decodePng(bytes) {
    if (SIGNATURE.some((value, i) => bytes[i] !== value)) throw new Error("not a PNG");
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const parts = [];
    let width = 0, height = 0, at = 8;
    while (at < bytes.length) {
      const length = view.getUint32(at);
      const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
      const start = at + 8;
      if (name === "IHDR") {
        width = view.getUint32(start);
        height = view.getUint32(start + 4);
        const [depth, colour, , , interlace] = bytes.subarray(start + 8, start + 13);
        if (depth !== 8 || CHANNELS[colour] !== 1 || interlace) throw new Error("not an 8-bit grey or palette PNG");
      } else if (name === "IDAT") {
        parts.push(bytes.subarray(start, start + length));
      }
      at = start + length + 4;
    }
    const data = await inflate(await new Blob(parts).arrayBuffer());
    return { width, height, pixels: unfilter(data, width, height) };
  }

  // Undoes the filters of the PNG standard, for one byte per pixel.
  function unfilter(data, width, height) {
    const pixels = new Uint8Array(width * height);
    for (let y = 0; y < height; y++) {
      const filter = data[y * (width + 1)];
      const row = data.subarray(y * (width + 1) + 1, (y + 1) * (width + 1));
      const here = y * width, above = here - width;
      if (filter === 0) {
        pixels.set(row, here);
        continue;
      }
      for (let x = 0; x < width; x++) {
        const left = x ? pixels[here + x - 1] : 0;
        const up = y ? pixels[above + x] : 0;
        const corner = x && y ? pixels[above + x - 1] : 0;
        let guess = left;
        if (filter === 2) guess = up;
        else if (filter === 3) guess = (left + up) >> 1;
        else if (filter === 4) guess = paeth(left, up, corner);
        pixels[here + x] = row[x] + guess;
      }
    }
    return pixels;
  }

  function paeth(left, up, corner) {
    const base = left + up - corner;
    const toLeft = Math.abs(base - left), toUp = Math.abs(base - up), toCorner = Math.abs(base - corner);
    if (toLeft <= toUp && toLeft <= toCorner) return left;
    return toUp <= toCorner ? up : corner;
  }

  Object.assign(DWNetPlayer, { bytesOf, unpack, decodePng });
})();
