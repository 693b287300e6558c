// Draws every line plot of the page (see line_plot in plots.py) with uPlot.
"use strict";
(() => {
  const HEIGHT_PX = 340;

  function draw(box) {
    const plot = JSON.parse(box.querySelector("script").textContent);
    const style = getComputedStyle(box);
    const ink = style.color;
    const axis = { stroke: ink, grid: { stroke: "#8884", width: 1 }, ticks: { stroke: "#8888", width: 1 } };
    const options = {
      width: box.clientWidth,
      height: HEIGHT_PX,
      scales: { x: { time: false }, y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.05 : 1] } },
      axes: [
        { ...axis, label: plot.x_label },
        { ...axis, label: plot.y_label },
      ],
      cursor: { drag: { x: true, y: false } },
      series: [
        { label: plot.x_label, value: (_, x) => (x === null ? "–" : x.toFixed(2)) },
        ...plot.lines.map((line) => ({
          label: line.name,
          stroke: line.colour,
          width: line.width,
          points: { show: false },
          value: (_, y) => (y === null ? "–" : y.toFixed(2)),
        })),
      ],
    };
    const chart = new uPlot(options, [plot.x, ...plot.lines.map((line) => line.y)], box);
    new ResizeObserver(() => chart.setSize({ width: box.clientWidth, height: HEIGHT_PX })).observe(box);
  }

  const drawAll = () => document.querySelectorAll(".dwv-lines").forEach(draw);
  // The script may come before the plots.
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", drawAll);
  else drawAll();
})();
