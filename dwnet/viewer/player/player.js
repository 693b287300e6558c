// The player of one run: puts the parts together, keyboard, links to a frame. Starts every player of the page.
"use strict";
(() => {
  const P = globalThis.DWNetPlayer;
  const THUMB = 168;

  class Player {
    static async start(root) {
      const run = JSON.parse(root.querySelector("script[type='application/json']").textContent);
      try {
        const data = new P.Data(run);
        const [packed, stored] = await Promise.all([data.numbers(), P.unpack(run.stored)]);
        root.player = new Player(root, run, data, await P.Numbers.of(run, packed), stored.values);
        await root.player.open();
      } catch (error) {
        root.append(P.el("p", { className: "dwp-error", role: "alert" }, error.message));
        throw error;
      }
    }

    constructor(root, run, data, numbers, stored) {
      Object.assign(this, { root, run, data, numbers, stored });
      run.painter = this.painter = new P.Painter(run);
      this.layers = P.layersOf(run);
      this.places = new Map([...stored].map((frame, place) => [frame, place]));
      this.state = { view: "grid", a: "input", b: this.layers[1].key, share: 0.5, palette: "own" };
      this.range = null;
      this.clock = new P.Clock([...stored].map((frame) => numbers.pts[frame]), data, (place) => this.show(place));
      this.clock.onstate = () => this.played();
      this.build();
    }

    // ------------------------------------------------------------------------------------------------------- the page

    build() {
      const { el, button, select } = P;
      const { run } = this;
      const views = [["grid", "Grid"], ["wipe", "Wipe"], ["single", "One"], ["flips", "Flips"]];
      if (run.layers.coarse) views.push(["flow", "Flow"]);
      this.view = P.choice(`dwp-view-${run.id}`, "View", views, "grid", (view) => this.set({ view }));
      const options = this.layers.map((layer) => [layer.key, layer.name]);
      this.a = select("Left", options, this.state.a, (a) => this.set({ a }));
      this.b = select("Right", options, this.state.b, (b) => this.set({ b }));
      const opacity = el("input", { type: "range", min: 0, max: 100, value: 60, oninput: () => { this.painter.opacity = opacity.value / 100; this.repaint(); } });
      this.palette = select("Colours", [["own", "of the classes"], ["safe", "colour-blind-safe"]], "own", (palette) => this.set({ palette }));
      const full = button("full", "Full screen (F)", () => this.fullScreen());
      const bar = el("div", { className: "dwp-row dwp-bar" }, this.view.box, this.a.box, this.b.box, el("label", {}, el("span", {}, "Opacity"), opacity), this.palette.box, full);
      this.stage = new P.Stage(run, { onenlarge: (a) => this.set({ view: "single", a }), onwipe: (share) => this.set({ share }) });
      this.controls = P.transport(run, this.numbers, this.stored, this.actions());
      this.legend = P.legend(run, (ids, shown) => { ids.forEach((id) => { this.painter.shown[id] = shown ? 1 : 0; }); this.repaint(); });
      const curve = el("div", { className: "dwp-curve", role: "img", ariaLabel: `Flips over time of ${run.methods.map((one) => one.name).join(", ")}` });
      this.moments = el("div", { className: "dwp-moments" });
      this.table = el("div", { className: "dwp-scroll", tabIndex: 0, role: "region", ariaLabel: "Numbers" });
      this.flowNote = el("p", { className: "dwp-note dwp-flow" });
      this.picture = el("div", { className: "dwp-picture" }, bar, this.stage.box, this.flowNote, this.controls.box);
      const left = el("div", { className: "dwp-left" }, this.picture, this.curveBar(), curve, this.momentBox());
      const side = el("div", { className: "dwp-side" }, this.legend.box, this.table, this.downloads(), P.keyList());
      this.root.append(el("div", { className: "dwp-main" }, left, side));
      this.curve = new P.Curve(curve, run, this.numbers, { onseek: (seconds) => this.nearest(this.numbers.closest(seconds)), onzoom: (range) => this.zoomed(range) });
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.curve.draw(); this.strip(); });
      if (run.thinned) this.controls.note.textContent = this.storedNote();
    }

    actions() {
      return {
        toggle: () => this.clock.toggle(), step: (by) => this.step(by), peak: (way) => this.peak(way),
        place: (place) => this.seek(place), number: (number) => this.number(number), seconds: (seconds) => this.seconds(seconds),
        speed: (speed) => this.clock.setSpeed(speed), loop: (loop) => { this.clock.loop = loop; },
      };
    }

    curveBar() {
      const { el } = P;
      const checks = this.run.methods.map((method, place) => {
        const input = el("input", { type: "checkbox", checked: true, onchange: () => { this.curve.setVisible(place, input.checked); this.listMoments(); } });
        return el("label", { className: "dwp-check" }, input, P.dot(method.colour), el("span", {}, method.name));
      });
      const labels = P.select("Flips of", [["", "all classes"], ...this.run.classes.map((name, id) => [String(id), name])], "", (value) => this.curve.setLabel(value === "" ? null : Number(value)));
      const edge = (text) => el("input", { type: "number", step: "any", ariaLabel: text, onchange: () => this.zoomTo() });
      this.from = edge("Range from, seconds");
      this.to = edge("Range to, seconds");
      this.reset = P.button("all", "Show the whole clip", () => this.curve.zoom(null));
      return el("div", { className: "dwp-row dwp-curve-bar" }, ...checks, labels.box,
        el("span", { className: "dwp-range" }, el("span", { ariaHidden: "true" }, "Range"), this.from, "–", this.to, this.reset));
    }

    momentBox() {
      const { el } = P;
      this.momentCount = el("span", { className: "dwp-note" });
      return el("section", { ariaLabel: "Worst moments" }, el("h3", {}, "Worst moments ", this.momentCount), this.moments);
    }

    downloads() {
      const { el } = P;
      const { run } = this;
      this.most = el("input", { type: "number", min: 1, max: 999, value: run.worst, onchange: () => this.listMoments() });
      this.exported = el("span", { className: "dwp-note" });
      this.exported.setAttribute("role", "status");
      const save = P.button("Save for relabelling", "Download the worst frames with the labels of each method, as a ZIP file", () => this.relabel());
      const link = P.button("Copy link", "Copy a link to this frame and view", () => this.copyLink());
      const files = run.files.map(({ text, file }) => el("a", { href: file, download: "" }, text));
      return el("section", { className: "dwp-downloads", ariaLabel: "Downloads" }, el("h3", {}, "Downloads"),
        el("div", { className: "dwp-row" }, el("label", {}, el("span", {}, "Worst frames"), this.most), save, link, ...files), this.exported);
    }

    // ------------------------------------------------------------------------------------------------- frame and view

    async open() {
      this.table.replaceChildren(P.table(this.run, this.numbers, null));
      this.listMoments();
      this.applyHash();
      this.arrange();
      addEventListener("hashchange", () => this.applyHash(true));
      P.home().addEventListener?.("hashchange", () => this.applyHash(true));
      document.addEventListener("keydown", (event) => this.key(event));
      await this.clock.seek(this.clock.place);
      this.root.dataset.ready = "true";
    }

    // Changes the state of the view and shows it.
    set(change) {
      Object.assign(this.state, change);
      if (Object.keys(change).join() === "share") {
        this.stage.setShare(this.state.share);
        this.repaint();
        return this.link();
      }
      this.arrange();
      this.link();
    }

    layer(key) {
      return this.layers.find((layer) => layer.key === key) ?? this.layers[0];
    }

    arrange() {
      const { view, a, b, share, palette } = this.state;
      this.painter.palette = palette === "safe" ? this.run.safe : this.run.palette;
      this.legend.colour(this.painter.palette);
      this.palette.list.value = palette;
      this.view.set(view);
      this.a.list.value = a;
      this.b.list.value = b;
      this.a.box.hidden = !["wipe", "single"].includes(view);
      this.a.box.firstChild.textContent = this.a.list.ariaLabel = view === "wipe" ? "Left" : "Show";
      this.b.box.hidden = view !== "wipe";
      const kind = (...kinds) => this.layers.filter((layer) => kinds.includes(layer.kind));
      if (view === "wipe") this.stage.wipe(this.layer(a), this.layer(b), share);
      else if (view === "single") this.stage.grid([this.layer(a)], { large: true });
      else this.stage.grid({ grid: kind("image", "labels"), flips: kind("flips"), flow: kind("flow", "weight") }[view]);
      this.explain();
      this.table.replaceChildren(P.table(this.run, this.numbers, this.range));
      this.strip();
      this.repaint();
    }

    // Explains the colours of what is shown.
    explain() {
      const kinds = new Set(this.stage.tiles.flatMap(({ layer, second }) => [layer, second ?? layer]).map((layer) => (layer.key === "difference" ? "difference" : layer.kind)));
      const px = this.run.flow_px;
      this.flowNote.textContent = [
        kinds.has("flips") && "Red: the label changed along the flow. Blue: hidden in the frame before, not counted.",
        kinds.has("flow") && `Flow to the frame before. Colour: direction (red right, yellow down, blue left); full colour: ${px.flow.toFixed(1)} px.`,
        kinds.has("difference") && `Difference: full colour is ${px.difference.toFixed(2)} px.`,
        kinds.has("weight") && "Occlusion weight: white 1, black 0.",
      ].filter(Boolean).join(" ");
    }

    async show(place) {
      const frame = this.stored[place];
      const asked = (this.asked = Symbol("frame"));
      const { controls, numbers } = this;
      controls.scrubber.value = place;
      controls.scrubber.setAttribute("aria-valuetext", `frame ${numbers.number[frame]}, ${numbers.pts[frame].toFixed(2)} seconds`);
      controls.number.value = numbers.number[frame];
      controls.time.value = numbers.pts[frame].toFixed(3);
      this.curve.at(numbers.pts[frame]);
      try {
        const decoded = await this.data.frame(place);
        if (asked !== this.asked) return; // another frame was requested meanwhile
        this.shown = { frame, decoded };
        this.repaint();
        this.root.dataset.frame = numbers.number[frame];
        for (const near of [place + 1, place - 1]) if (near >= 0 && near < this.stored.length) this.data.frame(near).catch(() => {});
      } catch (error) {
        this.clock.pause();
        controls.note.textContent = error.message;
      }
      if (!this.clock.playing) this.link();
    }

    repaint() {
      if (!this.shown) return;
      const { frame, decoded } = this.shown;
      this.stage.paint(this.painter, decoded, (layer) => {
        if (layer.kind === "image") return `${this.numbers.pts[frame].toFixed(2)} s`;
        if (layer.method === undefined) return "";
        const flips = this.numbers.curve(layer.method)[frame];
        return flips === null ? "" : `${flips.toFixed(2)} % flips`;
      });
    }

    seek(place) {
      this.controls.note.textContent = this.run.thinned ? this.storedNote() : "";
      return this.clock.seek(place);
    }

    step(by) {
      this.clock.pause();
      return this.seek(this.clock.place + by);
    }

    // Shows the stored frame that is nearest to a frame of the clip's numbering, and says so if it is another one.
    number(number) {
      if (!Number.isFinite(number)) return this.seek(this.clock.place);
      let frame = 0;
      this.numbers.number.forEach((one, i) => { if (Math.abs(one - number) < Math.abs(this.numbers.number[frame] - number)) frame = i; });
      return this.nearest(frame, number);
    }

    seconds(seconds) {
      return Number.isFinite(seconds) ? this.nearest(this.numbers.at(seconds)) : this.seek(this.clock.place);
    }

    async nearest(frame, number = this.numbers.number[frame]) {
      let place = 0;
      this.stored.forEach((one, i) => { if (Math.abs(one - frame) < Math.abs(this.stored[place] - frame)) place = i; });
      await this.seek(place);
      const shown = this.numbers.number[this.stored[place]];
      if (shown !== number) this.controls.note.textContent = `Frame ${number} is not stored; frame ${shown} is shown. ${this.run.thinned ? this.storedNote() : ""}`;
    }

    storedNote() {
      return `${this.stored.length} of ${this.numbers.frames} frames are stored: every ${this.run.every}th, and all near the worst moments.`;
    }

    played() {
      const { play } = this.controls;
      play.replaceChildren(P.icon(this.clock.playing ? "pause" : "play"));
      play.title = play.ariaLabel = this.clock.playing ? "Pause (space)" : "Play (space)";
      if (!this.clock.playing) this.link();
    }

    fullScreen() {
      if (document.fullscreenElement) document.exitFullscreen();
      else this.picture.requestFullscreen?.();
    }

    // ---------------------------------------------------------------------------------------------- moments and range

    methodsShown() {
      return this.run.methods.map((_, place) => place).filter((place) => this.curve.visible[place]);
    }

    listMoments() {
      const { el } = P;
      const most = Math.max(1, Math.min(999, Math.round(Number(this.most.value)) || this.run.worst));
      this.worst = this.numbers.worst(this.methodsShown(), [...this.stored], most);
      this.worst.forEach((moment) => {
        const flipped = this.numbers.flipped(moment.method, moment.frame);
        moment.label = flipped.indexOf(Math.max(...flipped));
      });
      this.momentCount.textContent = this.worst.length ? "" : "No label flips.";
      this.moments.replaceChildren(...this.worst.map((moment) => {
        const canvas = el("canvas", { width: THUMB, height: Math.round((THUMB * this.run.height) / this.run.width) });
        canvas.setAttribute("aria-hidden", "true");
        const number = this.numbers.number[moment.frame], seconds = this.numbers.pts[moment.frame].toFixed(2);
        const text = [`frame ${number}, ${seconds} s`, `${moment.flips.toFixed(2)} % flips`, `most: ${this.run.classes[moment.label]}`, this.run.methods[moment.method].name];
        const label = `Worst moment: ${text.join(", ")}`;
        moment.button = el("button", { type: "button", ariaLabel: label, title: label, onclick: () => this.seek(this.places.get(moment.frame)) },
          canvas, el("b", {}, text[0]), el("span", {}, text[1]), el("span", {}, text[2]), el("span", {}, text[3]));
        moment.canvas = canvas;
        return moment.button;
      }));
      this.strip();
      this.thumbnails(this.worst);
    }

    // Paints the thumbnails one after another, each when it comes into view.
    thumbnails(moments) {
      this.watcher?.disconnect();
      this.watcher = new IntersectionObserver((entries) => {
        for (const { isIntersecting, target } of entries) {
          if (!isIntersecting) continue;
          this.watcher.unobserve(target);
          this.thumbnail(moments.find((moment) => moment.button === target)).catch(() => {});
        }
      }, { rootMargin: "200px" });
      moments.forEach((moment) => this.watcher.observe(moment.button));
    }

    async thumbnail(moment) {
      const decoded = await this.data.decode(this.places.get(moment.frame));
      const whole = new OffscreenCanvas(this.run.width, this.run.height);
      const layer = this.layers.find((one) => one.kind === "flips" && one.method === moment.method);
      this.painter.paint(whole.getContext("2d"), layer, decoded);
      moment.canvas.getContext("2d").drawImage(whole, 0, 0, moment.canvas.width, moment.canvas.height);
      decoded.image.close();
      decoded.weight?.close();
    }

    strip() {
      if (!this.worst) return;
      const marks = this.worst.map((moment) => ({ place: this.places.get(moment.frame), colour: P.css(this.painter.palette[moment.label]) }));
      const largest = this.numbers.largest(this.methodsShown());
      P.paintStrip(this.controls.strip, this.stored, [...this.stored].map((frame) => largest[frame]?.flips ?? null), marks);
    }

    // Goes to the next worst moment before or after the shown frame.
    peak(way) {
      this.clock.pause();
      const places = this.worst.map((moment) => this.places.get(moment.frame)).sort((x, y) => x - y);
      const next = way > 0 ? places.find((place) => place > this.clock.place) : places.findLast((place) => place < this.clock.place);
      if (next === undefined) this.controls.note.textContent = way > 0 ? "No later peak." : "No earlier peak.";
      else this.seek(next);
    }

    zoomTo() {
      const [first, last] = this.curve.whole();
      const edge = (input, otherwise) => (input.value === "" ? otherwise : Number(input.value));
      this.curve.zoom([edge(this.from, first), edge(this.to, last)]);
    }

    zoomed(range) {
      const { numbers } = this;
      this.from.value = range ? range[0].toFixed(2) : "";
      this.to.value = range ? range[1].toFixed(2) : "";
      const inside = range && [...numbers.pts.keys()].filter((i) => numbers.pts[i] >= range[0] && numbers.pts[i] <= range[1]);
      this.range = inside?.length ? [inside[0], inside.at(-1)] : null;
      const places = [...this.stored.keys()].filter((place) => !this.range || (this.stored[place] >= this.range[0] && this.stored[place] <= this.range[1]));
      if (places.length) this.clock.setRange(places[0], places.at(-1));
      this.table.replaceChildren(P.table(this.run, numbers, this.range));
    }

    // ------------------------------------------------------------------------------------------- downloads and links

    async relabel() {
      this.exported.textContent = "Collecting …";
      try {
        const blob = await P.relabelling(this.run, this.numbers, this.data, this.worst, this.places, (done) => {
          this.exported.textContent = `${done} of ${this.worst.length} frames`;
        });
        P.save(blob, `${this.run.clip.replace(/\.[^.]*$/, "")}_worst.zip`);
        this.exported.textContent = `${this.worst.length} frames saved.`;
      } catch (error) {
        this.exported.textContent = error.message;
      }
    }
  }

  Object.assign(Player.prototype, P.linkMethods);

  // In an element of another page: takes over its dark mode, and makes the element as high as the content.
  function adaptToOuterPage() {
    const outer = P.home();
    if (outer === window) return;
    const html = document.documentElement;
    if (outer.document.body.classList.contains("dark")) html.dataset.theme = "dark";
    const fit = () => {
      html.style.setProperty("--dwp-height", `${outer.innerHeight}px`);
      frameElement.style.height = `${document.body.scrollHeight + 4}px`;
    };
    new ResizeObserver(fit).observe(document.body);
    outer.addEventListener("resize", fit);
    fit();
  }

  function startAll() {
    adaptToOuterPage();
    document.querySelectorAll("[data-dwnet-player]").forEach((root) => Player.start(root));
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", startAll);
  else startAll();
})();
