// What can be shown of a frame, and how it is painted: image, labels over the image, flips, flows, occlusion weight.
"use strict";
(() => {
  const P = globalThis.DWNetPlayer;
  const IGNORE = 255;
  const [FLIPPED, NOT_COMPARED] = [1, 2];
  // Colours as a pixel of canvas data: 0xAABBGGRR.
  const pixel = ([r, g, b], alpha) => ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0;
  const FLIP_COLOURS = { [FLIPPED]: pixel([255, 40, 90], 255), [NOT_COMPARED]: pixel([30, 60, 110], 120) };

  // The layers that a run has: [{key, name, kind, method}].
  P.layersOf = (run) => {
    const layers = [{ key: "input", name: "Input", kind: "image" }];
    run.methods.forEach((method, place) => layers.push({ key: `labels-${method.folder}`, name: method.name, kind: "labels", method: place }));
    run.methods.forEach((method, place) => {
      layers.push({ key: `flips-${method.folder}`, name: `Flips: ${method.name}`, kind: "flips", method: place });
    });
    if (run.layers.coarse) layers.push({ key: "flow", name: "Coarse flow", kind: "flow" });
    if (run.layers.refined) {
      layers.push({ key: "refined", name: "Refined flow", kind: "flow" });
      layers.push({ key: "difference", name: "Refined minus coarse", kind: "flow" });
    }
    if (run.layers.weight) layers.push({ key: "weight", name: "Occlusion weight", kind: "weight" });
    return layers;
  };

  // The colour wheel of Baker et al., as in dwnet/viz/flow_colours.py.
  const WHEEL = (() => {
    const colours = [];
    const steps = [[15, 0, 1, 1], [6, 1, 0, -1], [4, 1, 2, 1], [11, 2, 1, -1], [13, 2, 0, 1], [6, 0, 2, -1]];
    for (const [count, full, moving, way] of steps) {
      for (let i = 0; i < count; i++) {
        const colour = [0, 0, 0];
        colour[full] = 255;
        colour[moving] = way > 0 ? Math.floor((255 * i) / count) : 255 - Math.floor((255 * i) / count);
        colours.push(colour);
      }
    }
    return colours;
  })();

  function flowPixel(dx, dy, fullPx) {
    if (Number.isNaN(dx)) return pixel([0, 0, 0], 255);
    const share = Math.hypot(dx, dy) / fullPx;
    const turn = (Math.atan2(dy, dx) / (2 * Math.PI) + 1) % 1;
    // A full turn spans the steps between the first and the last colour, as published.
    const place = turn * (WHEEL.length - 1), below = Math.floor(place);
    const [a, b] = [WHEEL[below], WHEEL[Math.min(below + 1, WHEEL.length - 1)]];
    const hue = a.map((value, channel) => value + (place - below) * (b[channel] - value));
    return pixel(hue.map((value) => (share <= 1 ? 255 - share * (255 - value) : 0.75 * value)), 255);
  }

  class Painter {
    constructor(run) {
      this.run = run;
      this.opacity = 0.6;
      this.palette = run.palette;
      this.shown = new Uint8Array(256).fill(1);
      this.shown[IGNORE] = 0;
      this.overlay = new OffscreenCanvas(run.width, run.height);
      this.pixels = new ImageData(run.width, run.height);
      this.words = new Uint32Array(this.pixels.data.buffer);
    }

    // Paints a layer of a frame on the whole of a context of the frame's size.
    paint(context, layer, frame) {
      const { width, height } = this.run;
      if (layer.kind === "flow") return this.paintFlow(context, layer, frame);
      if (layer.kind === "weight") return this.paintWeight(context, frame);
      context.drawImage(frame.image, 0, 0, width, height);
      if (layer.kind === "labels") this.cover(context, frame.labels[layer.method], this.labelColours());
      if (layer.kind === "flips") this.paintFlips(context, frame.flips[layer.method]);
      return true;
    }

    labelColours() {
      const alpha = Math.round(255 * this.opacity);
      const colours = new Uint32Array(256);
      this.palette.forEach((colour, id) => { if (this.shown[id]) colours[id] = pixel(colour, alpha); });
      return colours;
    }

    cover(context, values, colours) {
      for (let i = 0; i < values.length; i++) this.words[i] = colours[values[i]];
      this.overlay.getContext("2d").putImageData(this.pixels, 0, 0);
      context.drawImage(this.overlay, 0, 0);
    }

    paintFlips(context, flips) {
      const { width, height } = this.run;
      context.save();
      context.globalCompositeOperation = "saturation";
      context.fillStyle = "#808080";
      context.fillRect(0, 0, width, height);
      context.restore();
      context.fillStyle = "rgba(255, 255, 255, 0.45)";
      context.fillRect(0, 0, width, height);
      if (flips === null) return say(context, this.run, "Not compared: the first frame of a scene");
      const colours = new Uint32Array(256);
      for (const [state, colour] of Object.entries(FLIP_COLOURS)) colours[state] = colour;
      this.cover(context, flips, colours);
    }

    paintFlow(context, layer, frame) {
      const { coarse, refined } = frame;
      const has = { flow: coarse, refined, difference: coarse && refined }[layer.key];
      if (!has) return blank(context, this.run, "No flow: the first frame of a scene");
      const base = layer.key === "flow" ? coarse : refined;
      const picture = new ImageData(base.width, base.height);
      const words = new Uint32Array(picture.data.buffer);
      const full = layer.key === "difference" ? this.run.flow_px.difference : this.run.flow_px.flow;
      const minus = layer.key === "difference" ? coarse : null;
      for (let i = 0; i < words.length; i++) {
        words[i] = flowPixel(base.dx[i] - (minus ? minus.dx[i] : 0), base.dy[i] - (minus ? minus.dy[i] : 0), full);
      }
      const small = new OffscreenCanvas(base.width, base.height);
      small.getContext("2d").putImageData(picture, 0, 0);
      context.drawImage(small, 0, 0, this.run.width, this.run.height);
      return true;
    }

    paintWeight(context, frame) {
      if (!frame.weight) return blank(context, this.run, "No weight: the first frame of a scene");
      context.drawImage(frame.weight, 0, 0, this.run.width, this.run.height);
      return true;
    }
  }

  function blank(context, run, text) {
    context.fillStyle = "#9aa3b0";
    context.fillRect(0, 0, run.width, run.height);
    say(context, run, text);
    return false;
  }

  function say(context, run, text) {
    context.fillStyle = "#111";
    context.textAlign = "center";
    context.font = `${Math.max(10, Math.round(run.width / 28))}px system-ui, sans-serif`;
    context.fillText(text, run.width / 2, run.height / 2, 0.95 * run.width);
  }

  P.Painter = Painter;
})();
