// The flicker curve (uPlot), linked with the clock: a click seeks, dragging zooms, a line marks the shown frame.
"use strict";
(() => {
  const P = globalThis.DWNetPlayer;
  const HEIGHT = 190;

  class Curve {
    // `onseek` gets seconds, `onzoom` the range in seconds or null for the whole clip.
    constructor(box, run, numbers, { onseek, onzoom }) {
      Object.assign(this, { box, run, numbers, onseek, onzoom });
      this.visible = run.methods.map(() => true);
      this.label = null;
      this.range = null;
      this.playhead = document.createElement("div");
      this.playhead.className = "dwp-playhead";
      this.seconds = numbers.pts[0];
      new ResizeObserver(() => this.chart?.setSize({ width: box.clientWidth, height: HEIGHT })).observe(box);
      this.draw();
    }

    draw() {
      this.chart?.destroy();
      const style = getComputedStyle(this.box);
      const axis = {
        stroke: style.color, grid: { stroke: "#8884", width: 1 }, ticks: { stroke: "#8888", width: 1 },
        font: "11px system-ui, sans-serif", labelFont: "11px system-ui, sans-serif", labelSize: 16,
      };
      const [first, last] = this.whole();
      const options = {
        width: this.box.clientWidth || 300,
        height: HEIGHT,
        padding: [8, 8, 0, 0],
        legend: { show: false },
        scales: {
          x: { time: false, range: () => this.range ?? [first, last] },
          y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] },
        },
        axes: [{ ...axis, size: 34, label: "seconds" }, { ...axis, size: 44, label: "flips, %" }],
        cursor: { drag: { x: true, y: false, setScale: false, dist: 5 }, points: { size: 6 } },
        select: { show: true },
        series: [
          {},
          ...this.run.methods.map((method, place) => ({
            label: method.name, stroke: method.colour, width: 1.5, points: { show: this.numbers.frames < 3 },
            show: this.visible[place], spanGaps: false, dash: [[], [6, 3], [2, 3], [8, 3, 2, 3]][place % 4],
          })),
        ],
        hooks: {
          setSelect: [(chart) => this.selected(chart)],
          draw: [() => this.mark()],
        },
      };
      this.chart = new uPlot(options, this.values(), this.box);
      this.chart.over.append(this.playhead);
      this.chart.over.addEventListener("click", (event) => this.clicked(event));
      this.chart.over.addEventListener("dblclick", () => this.zoom(null));
      this.mark();
    }

    whole() {
      const { pts, frames } = this.numbers;
      return pts[0] === pts[frames - 1] ? [pts[0] - 0.5, pts[0] + 0.5] : [pts[0], pts[frames - 1]];
    }

    values() {
      return [this.numbers.pts, ...this.run.methods.map((_, place) => this.numbers.curve(place, this.label))];
    }

    clicked(event) {
      if (this.dragged) {
        this.dragged = false;
        return;
      }
      const left = event.clientX - this.chart.over.getBoundingClientRect().left;
      this.onseek(this.chart.posToVal(left, "x"));
    }

    selected(chart) {
      if (chart.select.width < 5) return;
      const from = chart.posToVal(chart.select.left, "x"), to = chart.posToVal(chart.select.left + chart.select.width, "x");
      this.dragged = true;
      setTimeout(() => { this.dragged = false; }, 50);
      chart.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
      this.zoom([from, to]);
    }

    // Zooms to a range in seconds; null shows the whole clip.
    zoom(range) {
      const [first, last] = this.whole();
      if (range) range = [Math.max(first, Math.min(...range)), Math.min(last, Math.max(...range))];
      this.range = range && range[1] > range[0] ? range : null;
      this.refresh();
      this.onzoom(this.range);
    }

    refresh() {
      this.chart.setData(this.values(), true);
      this.mark();
    }

    setVisible(place, visible) {
      this.visible[place] = visible;
      this.chart.setSeries(place + 1, { show: visible });
    }

    setLabel(label) {
      this.label = label;
      this.refresh();
    }

    // Puts the line at the shown frame.
    at(seconds) {
      this.seconds = seconds;
      this.mark();
    }

    mark() {
      if (!this.chart) return;
      const left = this.chart.valToPos(this.seconds, "x");
      this.playhead.hidden = !(left >= 0 && left <= this.chart.over.clientWidth);
      this.playhead.style.transform = `translateX(${left}px)`;
    }
  }

  P.Curve = Curve;
})();
