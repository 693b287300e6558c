// The table of a player: flips, temporal consistency, times and classes, of the whole clip and of the zoomed range.
"use strict";
(() => {
  const P = globalThis.DWNetPlayer;

  const SECTIONS = [
    ["Flips", "%", 2, (one) => one.flips, "Pixels whose label changes along the optical flow"],
    ["at boundaries", "%", 2, (one) => one.boundary, "Flips of the pixels within 3 px of another class"],
    ["inside", "%", 2, (one) => one.inside, "Flips of all other pixels"],
    ["TC", "%", 2, (one) => one.consistency, "Temporal consistency: mIoU between the previous labels, moved along the flow, and the current labels"],
  ];
  const TIMES = [
    ["Median time", "ms", 1, (one) => one.median, "From image to labels, with the flow where a method needs it"],
    ["mean", "ms", 1, (one) => one.mean, "Mean time per frame"],
    ["network", "ms", 1, (one) => one.network, "Mean time of the network alone"],
    ["flow", "ms", 1, (one) => one.flow || null, "Mean time of the optical flow"],
  ];

  const text = (value, digits) => (value === null ? "–" : value.toFixed(digits));

  // Returns "-22 %" for a value and its reference; empty where that is undefined.
  function relative(value, reference) {
    if (value === null || !reference) return "";
    const change = (100 * (value - reference)) / reference;
    return `${change < 0 ? "−" : "+"}${Math.abs(change).toFixed(0)} %`;
  }

  // Returns the table's element. `range` is [first, last] frame, or null if nothing is zoomed.
  P.table = (run, numbers, range) => {
    const { el } = P;
    const spans = [[0, numbers.frames - 1], ...(range ? [range] : [])];
    const found = run.methods.map((_, method) => spans.map((span) => numbers.summary(method, ...span)));
    const head = el("thead", {}, el("tr", {}, el("td"),
      ...run.methods.map((method) => el("th", { scope: "colgroup", colSpan: spans.length }, dot(method.colour), method.name))));
    if (range) {
      const parts = run.methods.flatMap(() => [el("th", { scope: "col" }, "clip"), el("th", { scope: "col" }, "range")]);
      head.append(el("tr", { className: "dwp-sub" }, el("td"), ...parts));
    }
    const row = ([name, unit, digits, value, title], { sub = false, swatch = null } = {}) => {
      const cells = run.methods.flatMap((_, method) => spans.map((_, span) => {
        const own = value(found[method][span]);
        const change = method ? relative(own, value(found[0][span])) : "";
        return el("td", {}, text(own, digits), change && el("small", {}, ` ${change}`));
      }));
      const heading = el("th", { scope: "row", title: title ?? "", className: sub ? "dwp-indent" : "" }, swatch && dot(swatch), unit ? `${name}, ${unit}` : name);
      return el("tr", {}, heading, ...cells);
    };
    const body = el("tbody", {}, ...SECTIONS.map((section, place) => row(section, { sub: place === 1 || place === 2 })));
    if (run.times) body.append(...TIMES.map((section, place) => row(section, { sub: place > 0 })));
    const classes = el("tbody", {}, el("tr", {}, el("th", { scope: "rowgroup", colSpan: 1 + spans.length * run.methods.length, className: "dwp-part" }, "Flips of each class, %")));
    run.classes.forEach((name, label) => {
      if (!found.some((spanned) => spanned[0].share[label])) return;
      classes.append(row([name, "", 2, (one) => one.perClass[label]], { swatch: P.css(run.painter.palette[label]) }));
    });
    const seconds = (frame) => numbers.pts[frame].toFixed(2);
    const caption = range
      ? `Whole clip, and frames ${numbers.number[range[0]]} to ${numbers.number[range[1]]} (${seconds(range[0])} to ${seconds(range[1])} s)`
      : `Whole clip: ${numbers.frames} frames`;
    const steps = range && numbers.step > 1 ? `; flips in steps of ${numbers.step} frames` : "";
    return el("table", { className: range ? "dwp-table dwp-both" : "dwp-table" }, el("caption", {}, caption + steps), head, body, classes);
  };

  function dot(colour) {
    return P.el("i", { className: "dwp-dot", style: `background:${colour}`, ariaHidden: "true" });
  }

  P.dot = dot;
})();
