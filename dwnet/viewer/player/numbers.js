// Flips, temporal consistency and times of frames, methods and ranges, from the counts of every frame (counts.py).
"use strict";
(() => {
  const P = globalThis.DWNetPlayer;
  const GAP_SECONDS = 0.2;

  const percent = (part, whole) => (whole ? (100 * part) / whole : null);
  const sum = (values) => values.reduce((total, value) => total + value, 0);

  class Numbers {
    static async of(run, packed) {
      const found = {};
      for (const [key, value] of Object.entries(packed)) found[key] = key === "step" ? value : await P.unpack(value);
      return new Numbers(run, found);
    }

    constructor(run, found) {
      this.methods = run.methods.length;
      this.frames = found.number.values.length;
      this.number = found.number.values;
      this.pts = found.pts.values;
      this.cut = found.cut.values;
      this.latency = found.latency.values;
      this.flow = found.flow.values;
      this.pixels = found.pixels.values;
      this.counts = found.counts.values;
      this.rows = found.counts.shape[1];
      this.steps = found.counts.shape[2];
      this.step = found.step;
      this.classes = (this.rows - 2) / 3;
      this.curves = new Map();
    }

    // One row of counts of a method, over the steps. Rows: kept, before and now for each class, boundary, its flips.
    row(method, row) {
      const start = (method * this.rows + row) * this.steps;
      return this.counts.subarray(start, start + this.steps);
    }

    // Flips in percent for each frame; null where a frame is not compared. `label` is a class, or null for all.
    curve(method, label = null) {
      const key = `${method}/${label}`;
      if (!this.curves.has(key)) {
        const of = (part) => this.pixels.subarray((2 * method + part) * this.frames, (2 * method + part + 1) * this.frames);
        const whole = label === null;
        const kept = whole ? of(0) : this.row(method, label);
        const now = whole ? of(1) : this.row(method, 2 * this.classes + label);
        const values = Array.from(now, (pixels, i) => percent(pixels - kept[i], pixels));
        // The flips of a class are known for each step.
        this.curves.set(key, whole || this.step === 1 ? values : Array.from({ length: this.frames }, (_, i) => values[Math.floor(i / this.step)]));
      }
      return this.curves.get(key);
    }

    // Pixels of each class that flip in the step of a frame, by the label now.
    flipped(method, frame) {
      const k = this.classes, at = Math.floor(frame / this.step);
      return Array.from({ length: k }, (_, c) => this.row(method, 2 * k + c)[at] - this.row(method, c)[at]);
    }

    // The figures of a method over the frames from `first` to `last`, both included; in whole steps.
    summary(method, first, last) {
      const k = this.classes;
      const [from, to] = [first, last].map((frame) => Math.floor(frame / this.step));
      const total = (row) => sum(this.row(method, row).subarray(from, to + 1));
      const part = (start) => Array.from({ length: k }, (_, c) => total(start + c));
      const kept = part(0), before = part(k), now = part(2 * k);
      const all = sum(now), flips = all - sum(kept);
      const boundary = total(3 * k), boundaryFlips = total(3 * k + 1);
      const overlap = kept.map((value, c) => percent(value, before[c] + now[c] - value)).filter((value) => value !== null);
      return {
        flips: percent(flips, all),
        boundary: percent(boundaryFlips, boundary),
        inside: percent(flips - boundaryFlips, all - boundary),
        consistency: overlap.length ? sum(overlap) / overlap.length : null,
        perClass: now.map((pixels, c) => percent(pixels - kept[c], pixels)),
        share: now.map((pixels) => percent(pixels, all)),
        ...this.time(method, first, last),
      };
    }

    time(method, first, last) {
      const of = (values) => {
        const found = [];
        for (let i = first; i <= last; i++) {
          const value = values[i * this.methods + method];
          if (!Number.isNaN(value)) found.push(value);
        }
        return found;
      };
      const latency = of(this.latency), flow = of(this.flow);
      if (!latency.length) return { median: null, mean: null, flow: null, network: null };
      const mean = sum(latency) / latency.length, flowMean = sum(flow) / latency.length;
      const sorted = latency.sort((a, b) => a - b);
      return { median: sorted[(sorted.length - 1) >> 1], mean, flow: flowMean, network: mean - flowMean };
    }

    // The largest flips of the methods in each frame, with the method; null where no frame is compared.
    largest(methods) {
      const curves = methods.map((method) => this.curve(method));
      return Array.from({ length: this.frames }, (_, i) => {
        let best = null;
        curves.forEach((curve, place) => {
          if (curve[i] !== null && (best === null || curve[i] > best.flips)) best = { flips: curve[i], method: methods[place] };
        });
        return best;
      });
    }

    // The worst moments among the frames `allowed`, as in moments.py: [{frame, flips, method}], the worst first.
    worst(methods, allowed, most) {
      const largest = this.largest(methods);
      const ranked = allowed.filter((i) => largest[i]?.flips).sort((a, b) => largest[b].flips - largest[a].flips || a - b);
      const taken = [];
      for (const i of ranked) {
        if (taken.length === most) break;
        const apart = (one) => Math.abs(this.pts[one.frame] - this.pts[i]) >= GAP_SECONDS - 1e-6;
        if (taken.every(apart)) taken.push({ frame: i, ...largest[i] });
      }
      return taken;
    }

    // The last frame that is not later than a time; the first frame for earlier times.
    at(seconds) {
      let low = 0, high = this.frames - 1;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (this.pts[middle] <= seconds + 1e-9) low = middle;
        else high = middle - 1;
      }
      return low;
    }

    // The frame whose time is closest to a time.
    closest(seconds) {
      const before = this.at(seconds), after = Math.min(before + 1, this.frames - 1);
      return Math.abs(this.pts[after] - seconds) < Math.abs(this.pts[before] - seconds) ? after : before;
    }
  }

  P.Numbers = Numbers;
})();
