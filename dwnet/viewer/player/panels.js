// The parts of a player's page: stage with pictures, transport, classes, moments, downloads. They hold no state of the run.
"use strict";
(() => {
  const P = globalThis.DWNetPlayer;

  // Creates an element. Keys of `props` are properties; children are nodes or texts, and falsy ones are left out.
  function el(tag, props = {}, ...children) {
    const { style, ...rest } = props;
    const element = Object.assign(document.createElement(tag), rest);
    if (style) element.style.cssText = style;
    element.append(...children.filter((child) => child || child === 0));
    return element;
  }

  // Heights in pixels as in player.css: of what is above and below the pictures, and of a caption.
  const RESERVED = 340, CAPTION = 34;
  const css = ([r, g, b]) => `rgb(${r},${g},${b})`;
  // Drawn here, because fonts lack some of these signs. Each is a path in a square of 16.
  const ICONS = {
    play: "M4 2l10 6-10 6z", pause: "M3 2h4v12H3zM9 2h4v12H9z", back: "M11 3v10L4 8z", forward: "M5 3v10l7-5z",
    peakBack: "M2 3h2v10H2zM14 3v10L6 8z", peakForward: "M12 3h2v10h-2zM2 3v10l8-5z",
    full: "M2 2h5v2H4v3H2zM9 2h5v5h-2V4H9zM2 9h2v3h3v2H2zM12 9h2v5H9v-2h3z",
  };

  function icon(name) {
    const template = document.createElement("template");
    template.innerHTML = `<svg viewBox="0 0 16 16" aria-hidden="true"><path d="${ICONS[name]}"/></svg>`;
    return template.content.firstChild;
  }

  // A button with a text, or with an icon if `text` is the name of one.
  const button = (text, label, onclick, extra = {}) =>
    el("button", { type: "button", title: label, ariaLabel: label, onclick, ...extra }, text in ICONS ? icon(text) : text);

  function select(label, options, value, onchange) {
    const list = el("select", { ariaLabel: label, onchange: () => onchange(list.value) }, ...options.map(([key, text]) => el("option", { value: key }, text)));
    list.value = value;
    return { box: el("label", {}, el("span", {}, label), list), list };
  }

  // A radio group that looks like one row of buttons.
  function choice(name, legend, options, value, onchange) {
    const inputs = new Map();
    const parts = options.map(([key, text]) => {
      const input = el("input", { type: "radio", name, value: key, checked: key === value, onchange: () => onchange(key) });
      inputs.set(key, input);
      return el("label", {}, input, el("span", {}, text));
    });
    return { box: el("fieldset", { className: "dwp-choice" }, el("legend", {}, legend), ...parts), set: (key) => { inputs.get(key).checked = true; } };
  }

  // The pictures. `onenlarge` gets the key of a layer, `onwipe` the position of the divider, 0..1.
  class Stage {
    constructor(run, { onenlarge, onwipe }) {
      Object.assign(this, { run, onenlarge, onwipe });
      this.box = el("div", { className: "dwp-stage", style: `--ratio:${run.width / run.height}` });
      this.tiles = [];
      new ResizeObserver(() => this.fit()).observe(this.box);
    }

    // Chooses the number of columns that gives the largest pictures.
    fit() {
      const tiles = this.box.querySelector(".dwp-tiles");
      if (!tiles) return;
      const count = this.tiles.length, ratio = this.run.width / this.run.height;
      const outer = parseFloat(getComputedStyle(tiles).getPropertyValue("--dwp-height")) || innerHeight;
      const width = (columns) => Math.min(this.box.clientWidth / columns, ((outer - RESERVED) / Math.ceil(count / columns) - CAPTION) * ratio);
      let best = 1;
      for (let columns = 2; columns <= Math.min(count, 4); columns++) if (width(columns) > width(best) + 1) best = columns;
      tiles.style.setProperty("--columns", best);
      tiles.style.setProperty("--rows", Math.ceil(count / best));
    }

    canvas(label) {
      const canvas = el("canvas", { width: this.run.width, height: this.run.height, ariaLabel: label });
      canvas.setAttribute("role", "img");
      return canvas;
    }

    // Shows one tile for each layer.
    grid(layers, { large = false } = {}) {
      this.tiles = layers.map((layer) => {
        const canvas = this.canvas(layer.name);
        const fact = el("span", { className: "dwp-fact" });
        const enlarge = large ? null : button("full", `Enlarge ${layer.name}`, () => this.onenlarge(layer.key));
        const mark = layer.method === undefined ? null : P.dot(this.run.methods[layer.method].colour);
        const tile = el("figure", {}, el("figcaption", {}, el("b", {}, mark, layer.name), fact, enlarge), canvas);
        return { layer, canvas, fact, tile };
      });
      this.box.replaceChildren(el("div", { className: "dwp-tiles" }, ...this.tiles.map((one) => one.tile)));
      this.fit();
      this.divider = null;
    }

    // Shows two layers in one picture with a divider at `share` of the width.
    wipe(first, second, share) {
      const canvas = this.canvas(`${first.name} left of the divider, ${second.name} right of it`);
      this.tiles = [{ layer: first, canvas, second }];
      this.divider = el("div", { className: "dwp-divider", tabIndex: 0, ariaLabel: `Divider between ${first.name} and ${second.name}` });
      this.divider.setAttribute("role", "slider");
      this.divider.ariaValueMin = "0";
      this.divider.ariaValueMax = "100";
      const names = el("div", { className: "dwp-names" }, el("b", {}, first.name), el("b", {}, second.name));
      const picture = el("div", { className: "dwp-wipe" }, canvas, this.divider, names);
      picture.onpointerdown = (event) => this.drag(event, picture);
      this.divider.onkeydown = (event) => this.nudge(event);
      this.box.replaceChildren(picture);
      this.setShare(share);
    }

    setShare(share) {
      this.share = Math.max(0, Math.min(1, share));
      if (!this.divider) return;
      this.divider.style.left = `${100 * this.share}%`;
      this.divider.ariaValueNow = String(Math.round(100 * this.share));
      this.divider.ariaValueText = `${Math.round(100 * this.share)} % of the width`;
    }

    drag(event, picture) {
      const move = (to) => {
        const box = picture.getBoundingClientRect();
        this.onwipe((to.clientX - box.left) / box.width);
      };
      picture.setPointerCapture(event.pointerId);
      picture.onpointermove = move;
      picture.onpointerup = picture.onpointercancel = () => { picture.onpointermove = null; };
      move(event);
      event.preventDefault();
      this.divider.focus({ preventScroll: true });
    }

    nudge(event) {
      const step = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1 }[event.key];
      const end = { Home: 0, End: 1 }[event.key];
      if (step === undefined && end === undefined) return;
      this.onwipe(end ?? this.share + step);
      event.preventDefault();
      event.stopPropagation();
    }

    // Paints a frame on all pictures. `facts` gives the text of a layer.
    paint(painter, frame, facts) {
      const { width, height } = this.run;
      for (const { layer, canvas, fact, second } of this.tiles) {
        const context = canvas.getContext("2d");
        painter.paint(context, layer, frame);
        if (second) {
          context.save();
          context.beginPath();
          context.rect(this.share * width, 0, width, height);
          context.clip();
          painter.paint(context, second, frame);
          context.restore();
        }
        if (fact) fact.textContent = facts(layer);
      }
    }
  }

  // Buttons and fields for moving in the clip. `go` has the functions that they call.
  function transport(run, numbers, stored, go) {
    const last = stored.length - 1;
    const play = button("play", "Play (space)", go.toggle, { className: "dwp-play" });
    const scrubber = el("input", { type: "range", min: 0, max: last, step: 1, value: 0, ariaLabel: "Frame", oninput: () => go.place(Number(scrubber.value)) });
    const strip = el("canvas", { className: "dwp-strip", height: 18, width: 800 });
    strip.setAttribute("aria-hidden", "true");
    strip.onclick = (event) => go.place(Math.round((event.offsetX / strip.clientWidth) * last));
    const numberOf = (frame) => numbers.number[frame];
    const number = el("input", { type: "number", min: numberOf(0), max: numberOf(numbers.frames - 1), step: 1, onchange: () => go.number(Number(number.value)) });
    const time = el("input", { type: "number", min: 0, step: "any", onchange: () => go.seconds(Number(time.value)) });
    const speed = select("Speed", [["0.1", "0.1 ×"], ["0.25", "0.25 ×"], ["0.5", "0.5 ×"], ["1", "1 ×"], ["2", "2 ×"], ["4", "4 ×"]], "1", (value) => go.speed(Number(value)));
    const loop = el("input", { type: "checkbox", checked: true, onchange: () => go.loop(loop.checked) });
    const note = el("span", { className: "dwp-note" });
    note.setAttribute("role", "status");
    const box = el("div", { className: "dwp-transport" }, strip, scrubber, el("div", { className: "dwp-row" },
      button("peakBack", "Previous peak ([)", () => go.peak(-1)), button("back", "One frame back (left arrow)", () => go.step(-1)), play,
      button("forward", "One frame forward (right arrow)", () => go.step(1)), button("peakForward", "Next peak (])", () => go.peak(1)),
      el("label", {}, el("span", {}, "Frame"), number), el("label", {}, el("span", {}, "Seconds"), time), speed.box,
      el("label", { className: "dwp-check" }, loop, el("span", {}, "Loop")), note));
    return { box, play, scrubber, strip, number, time, note, loop };
  }

  // The classes, each with a checkbox. `onchange` gets (ids, shown).
  function legend(run, onchange) {
    const checks = run.classes.map((name, id) => {
      const input = el("input", { type: "checkbox", checked: true, onchange: () => onchange([id], input.checked) });
      const swatch = el("i", { className: "dwp-swatch", ariaHidden: "true" });
      return { input, swatch, box: el("label", { className: "dwp-check" }, input, swatch, el("span", {}, name)) };
    });
    const all = (shown) => {
      checks.forEach(({ input }) => { input.checked = shown; });
      onchange(checks.map((_, id) => id), shown);
    };
    const box = el("fieldset", { className: "dwp-classes" }, el("legend", {}, "Classes"),
      el("span", { className: "dwp-buttons" }, button("all", "Show all classes", () => all(true)), button("none", "Hide all classes", () => all(false))),
      ...checks.map((one) => one.box));
    return { box, colour: (palette) => checks.forEach(({ swatch }, id) => { swatch.style.background = css(palette[id]); }) };
  }

  // Paints bars of the flips and a mark for each worst moment, in the colour of the class that flips most.
  function paintStrip(canvas, stored, values, marks) {
    const context = canvas.getContext("2d");
    const { width, height } = canvas;
    context.clearRect(0, 0, width, height);
    const top = values.reduce((highest, value) => Math.max(highest, value ?? 0), 1e-9);
    const columns = Math.min(stored.length, width);
    context.fillStyle = getComputedStyle(canvas).color;
    context.globalAlpha = 0.35;
    const peaks = new Float64Array(columns);
    values.forEach((value, i) => {
      const column = Math.floor((i / values.length) * columns);
      peaks[column] = Math.max(peaks[column], value ?? 0);
    });
    peaks.forEach((value, i) => {
      const tall = (value / top) * (height - 4);
      context.fillRect((i * width) / columns, height - tall, Math.max(1, width / columns), tall);
    });
    context.globalAlpha = 1;
    for (const { place, colour } of marks) {
      context.fillStyle = colour;
      const x = stored.length > 1 ? (place / (stored.length - 1)) * (width - 4) : 0;
      context.fillRect(x, 0, 4, height);
    }
  }

  Object.assign(P, { el, css, icon, button, select, choice, Stage, transport, legend, paintStrip });
})();
