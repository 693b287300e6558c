// Links to a frame and view, and the keyboard, as functions of a player.
"use strict";
(() => {
  const P = globalThis.DWNetPlayer;

  // The window whose address links to the frame: the outer page for a player inside an element of it.
  function home() {
    try {
      return location.href.startsWith("about:srcdoc") && parent.location.href ? parent : window;
    } catch {
      return window;
    }
  }

  // Functions that player.js adds to its class.
  const methods = {
    hash() {
      const { view, a, b, share, palette } = this.state;
      const parts = { frame: this.numbers.number[this.stored[this.clock.place]], view };
      if (view === "wipe" || view === "single") parts.a = a;
      if (view === "wipe") Object.assign(parts, { b, x: share.toFixed(3) });
      if (palette !== "own") parts.colours = palette;
      return String(new URLSearchParams(parts));
    },

    // Puts the frame and the view into the address, a moment later: browsers refuse many changes in a short time.
    link() {
      clearTimeout(this.linking);
      this.linking = setTimeout(() => {
        try {
          const { history, location } = home();
          history.replaceState(history.state, "", `${location.href.split("#")[0]}#${this.hash()}`);
        } catch {
          // Some browsers refuse this for a page from disk. "Copy link" still gives the address.
        }
      }, 200);
    },

    async copyLink() {
      const address = `${home().location.href.split("#")[0]}#${this.hash()}`;
      try {
        await navigator.clipboard.writeText(address);
        this.exported.textContent = "Link copied.";
      } catch {
        this.exported.textContent = address;
      }
    },

    // Shows the frame and the view in the address. `seek`: also when the address changes later.
    applyHash(seek = false) {
      const wanted = new URLSearchParams(home().location.hash.slice(1));
      if (seek && wanted.toString() === this.hash()) return;
      clearTimeout(this.linking);
      const known = (key) => this.layers.some((layer) => layer.key === wanted.get(key));
      const views = ["grid", "wipe", "single", "flips", ...(this.run.layers.coarse ? ["flow"] : [])];
      if (views.includes(wanted.get("view"))) this.state.view = wanted.get("view");
      if (known("a")) this.state.a = wanted.get("a");
      if (known("b")) this.state.b = wanted.get("b");
      if (wanted.get("x") && Number.isFinite(Number(wanted.get("x")))) this.state.share = Math.max(0, Math.min(1, Number(wanted.get("x"))));
      if (["own", "safe"].includes(wanted.get("colours"))) this.state.palette = wanted.get("colours");
      if (wanted.has("frame")) this.number(Number(wanted.get("frame")));
      else if (wanted.has("t")) this.seconds(Number(wanted.get("t")));
      if (seek) {
        this.arrange();
        const { top, bottom } = this.root.getBoundingClientRect();
        if (bottom < 100 || top > innerHeight - 100) this.root.scrollIntoView();
      }
    },

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      const on = event.target;
      if (on.matches?.("input[type=number], input[type=text], textarea, select")) return;
      const pressed = on.matches?.("button, summary, a, input[type=checkbox]");
      const moved = on.matches?.("input[type=range], input[type=radio]");
      const last = this.stored.length - 1;
      const actions = {
        " ": () => !pressed && (this.clock.toggle(), true),
        ArrowLeft: () => !moved && (this.step(event.shiftKey ? -10 : -1), true),
        ArrowRight: () => !moved && (this.step(event.shiftKey ? 10 : 1), true),
        Home: () => !moved && (this.seek(this.range ? this.clock.first : 0), true),
        End: () => !moved && (this.seek(this.range ? this.clock.last : last), true),
        "[": () => (this.peak(-1), true),
        "]": () => (this.peak(1), true),
        l: () => { this.clock.loop = this.controls.loop.checked = !this.clock.loop; return true; },
        f: () => (this.fullScreen(), true),
        1: () => (this.set({ view: "grid" }), true),
        2: () => (this.set({ view: "wipe" }), true),
        3: () => (this.set({ view: "single" }), true),
        4: () => (this.set({ view: "flips" }), true),
        5: () => this.run.layers.coarse && (this.set({ view: "flow" }), true),
      };
      if (actions[event.key]?.()) event.preventDefault();
    },
  };

  function keyList() {
    const { el } = P;
    const list = [["Space", "play, pause"], ["← →", "one frame (with Shift: ten)"], ["Home, End", "first, last frame"], ["[ ]", "previous, next peak"],
      ["1 … 5", "view"], ["L", "loop"], ["F", "full screen"], ["← → on the divider", "move the divider"]];
    return el("details", { className: "dwp-keys" }, el("summary", {}, "Keys"), el("dl", {}, ...list.flatMap(([key, text]) => [el("dt", {}, key), el("dd", {}, text)])));
  }

  Object.assign(P, { home, keyList, linkMethods: methods });
})();
