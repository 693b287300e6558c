// Downloads: the worst frames for relabelling as a ZIP file with the files of relabelling.py, and the shown picture.
"use strict";
(() => {
  const P = globalThis.DWNetPlayer;
  const utf8 = (text) => new TextEncoder().encode(text);

  const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
    for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
    return byte >>> 0;
  });

  function crc32(bytes) {
    let crc = ~0;
    for (const byte of bytes) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
    return ~crc >>> 0;
  }

  // Returns a ZIP file of [name, bytes] entries, stored without compression (the pictures are compressed).
  function zip(entries) {
    const parts = [], listing = [];
    let offset = 0, listed = 0;
    for (const [name, bytes] of entries) {
      const encoded = utf8(name), crc = crc32(bytes);
      // Version 2.0, UTF-8 names, stored, 1980-01-01.
      const common = [[2, 20], [2, 0x800], [2, 0], [2, 0], [2, 0x21], [4, crc], [4, bytes.length], [4, bytes.length], [2, encoded.length], [2, 0]];
      const local = record([[4, 0x04034b50], ...common]);
      listing.push(record([[4, 0x02014b50], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]]), encoded);
      listed += 46 + encoded.length;
      parts.push(local, encoded, bytes);
      offset += local.length + encoded.length + bytes.length;
    }
    const count = entries.length;
    const end = record([[4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, listed], [4, offset], [2, 0]]);
    return new Blob([...parts, ...listing, end], { type: "application/zip" });
  }

  function record(fields) {
    const bytes = new Uint8Array(fields.reduce((total, [size]) => total + size, 0));
    const view = new DataView(bytes.buffer);
    let at = 0;
    for (const [size, value] of fields) {
      if (size === 2) view.setUint16(at, value, true);
      else view.setUint32(at, value, true);
      at += size;
    }
    return bytes;
  }

  const cell = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const csv = (rows) => rows.map((row) => `${row.map((value) => cell(String(value))).join(",")}\r\n`).join("");

  // Returns the ZIP file of moments (`Numbers.worst`). `places` gives the place of a frame among the stored ones.
  P.relabelling = async (run, numbers, data, moments, places, progress) => {
    const rows = [["rank", "frame", "pts_seconds", "image", ...run.methods.map((method) => `${method.key}_flips_percent`)]];
    const entries = [["README.txt", utf8(run.readme)]];
    entries.push(["classes.json", utf8(`${JSON.stringify({ classes: run.classes, palette: run.palette }, null, 1)}\n`)]);
    for (const [rank, { frame }] of moments.entries()) {
      const found = await data.encoded(places.get(frame));
      const stem = String(numbers.number[frame]).padStart(6, "0");
      entries.push([`images/${stem}.jpg`, P.bytesOf(found.i)]);
      run.methods.forEach((method, place) => entries.push([`labels/${method.folder}/${stem}.png`, P.bytesOf(found.l[place])]));
      const flips = run.methods.map((_, place) => numbers.curve(place)[frame]?.toFixed(4) ?? "");
      rows.push([rank + 1, numbers.number[frame], numbers.pts[frame].toFixed(6), `images/${stem}.jpg`, ...flips]);
      progress(rank + 1);
    }
    entries.push(["frames.csv", utf8(csv(rows))]);
    return zip(entries);
  };

  // Starts the download of a blob.
  P.save = (blob, name) => {
    const link = P.el("a", { href: URL.createObjectURL(blob), download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  };
})();
