/* Charts of the curves by uPlot, in the place of the drawn ones: hover shows values, dragging zooms, a double click goes back,
   "raw values" leaves the smoothing out. Without this script the drawn figures stand. */
(function () {
  "use strict";
  const place = document.getElementById("chart-data");
  if (!place || !window.uPlot) return;
  const data = JSON.parse(place.textContent), tools = document.querySelector(".explore");  // none on the page of a run that goes on: charts only
  const boxes = Array.from(document.querySelectorAll("[data-charts]")), made = [];
  const on = tools ? tools.querySelector("[name=explore]") : { checked: true }, raw = tools ? tools.querySelector("[name=raw]") : { checked: false };
  const axis = () => (document.querySelector("[name=axis]:checked") || { value: "iterations" }).value;

  function resolved(colour) {
    const probe = document.body.appendChild(document.createElement("i"));
    probe.style.color = colour;
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }

  function columns(series, by) {
    const order = series.x[by].map((x, i) => i).filter((i) => series.x[by][i] !== null).sort((a, b) => series.x[by][a] - series.x[by][b]);
    const pick = (values) => order.map((i) => values[i]);
    const y = raw.checked && series.raw ? series.raw : series.y;
    return [pick(series.x[by]), pick(y), pick(series.low), pick(series.high)];
  }

  function chart(box, one, by) {
    const shown = one.series.filter((series) => series.x[by]);
    if (!shown.length) return;
    const soft = resolved("var(--soft)"), grid = resolved("var(--line)"), ink = resolved("var(--ink)"), none = { stroke: "transparent", points: { show: false } };
    const format = (u, value) => (value === null || value === undefined ? "–" : value.toPrecision(4));
    const series = [{ label: data.axes[by] }], bands = [];
    for (const own of shown) {
      const colour = resolved(own.colour), at = series.length;
      series.push({ label: own.name, stroke: colour, width: 2, spanGaps: true, value: format, points: { show: own.y.length < 30 } });
      series.push({ ...none, spanGaps: true, label: "low", show: true }, { ...none, spanGaps: true, label: "high", show: true });
      bands.push({ series: [at + 2, at + 1], fill: colour.replace(/^rgb\((.*)\)$/, "rgba($1, .15)").replace(/^(oklab|color)\(([^/]*)\)$/, "$1($2 / .15)") });
    }
    const look = { stroke: soft, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 } };
    const options = {
      title: one.title, width: Math.min(520, box.clientWidth), height: 260, series, bands,
      scales: { x: { time: false }, y: one.log && !raw.checked ? { distr: 3 } : {} },
      axes: [{ ...look, label: data.axes[by] }, { ...look, size: 62 }],
      legend: { live: true }, cursor: { drag: { x: true, y: true, uni: 20 } },
      hooks: one.base === null ? {} : { draw: [(u) => {
        const y = u.valToPos(one.base, "y", true), c = u.ctx;
        c.save(); c.strokeStyle = ink; c.globalAlpha = .5; c.setLineDash([6, 5]); c.beginPath(); c.moveTo(u.bbox.left, y); c.lineTo(u.bbox.left + u.bbox.width, y); c.stroke(); c.restore();
      }] },
    };
    made.push(new uPlot(options, uPlot.join(shown.map((own) => columns(own, by))), box));
  }

  function draw() {
    made.splice(0).forEach((one) => one.destroy());
    raw.disabled = !on.checked;
    document.body.classList.toggle("exploring", on.checked);
    for (const box of boxes) {
      box.hidden = !on.checked;
      if (on.checked) for (const one of data[box.dataset.charts]) chart(box, one, axis());
    }
  }

  if (tools) tools.hidden = false; else draw();
  document.addEventListener("change", (event) => { if (/^(axis|explore|raw)$/.test(event.target.name)) draw(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("beforeprint", () => { if (on.checked) { on.checked = false; draw(); } });
})();
