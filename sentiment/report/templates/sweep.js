// What the report on a sweep adds: trials are chosen by ranges of their settings, or by their learning curve's link.

const brushed = "parallel_coordinates";
const faded = 0.06;
const margin = 0.015; // by which a range is wider than it was dragged: a point at its very end is meant
const ranges = new Map(); // axis of the parallel coordinates, by its title, to [low, high]
let pressed = 0; // where the mouse went down, in axes of the parallel coordinates
let shown = null; // numbers of the trials to show in `places`; null: all
let places = ""; // where they alone are shown: everywhere, or in one chart

/** Show some trials alone: elsewhere they are faded, and left out of the ranking. Folded curves are shown when asked for. */
function showTrials(numbers, chart = "") {
  [shown, places] = [numbers, chart];
  for (const panel of document.querySelectorAll(".panel.js-plotly-plot")) {
    const here = chart === "" || panel.closest(".chart").id === chart ? numbers : null;
    const change = { opacity: [], visible: [], selectedpoints: [] };
    const traces = [];
    panel.data.forEach((trace, place) => {
      if (trace.meta === undefined && trace.customdata === undefined) return;
      // What has a name is hidden and shown by the legend alone; what is folded has none.
      trace.whole ??= { opacity: trace.opacity, isFolded: trace.visible === false && !trace.legendgroup };
      const isShown = here === null || here.has(trace.meta);
      const points = trace.customdata?.flatMap((number, point) => (here?.has(number) ? [point] : []));
      traces.push(place);
      change.opacity.push(isShown || points ? trace.whole.opacity : faded);
      change.visible.push(trace.whole.isFolded ? here !== null && isShown : trace.visible ?? true);
      change.selectedpoints.push(here === null ? null : (points ?? null));
    });
    if (traces.length) Plotly.restyle(panel, change, traces);
  }
  const table = document.getElementById("table-ranking");
  const column = [...table.tHead.rows[0].cells].findIndex((cell) => ["trial", "job"].includes(cell.title));
  for (const row of table.tBodies[0].rows) {
    row.hidden = numbers !== null && chart === "" && !numbers.has(Number(row.cells[column].dataset.value));
  }
  const bar = document.getElementById("chosen");
  bar.hidden = numbers === null;
  if (numbers === null) return;
  const [first] = numbers;
  const many = `${numbers.size} trial${numbers.size === 1 ? "" : "s"} drawn in the chosen ranges. Others are faded, and left out of the ranking; lines over several trials stay.`;
  bar.firstElementChild.textContent = chart === "" ? many : `The learning curve of trial ${first}; the others are faded.`;
}

/** Keep the trials whose lines run through every chosen range, less those of axes that have other ends by now. */
function brush(panel) {
  const titles = panel.layout.meta.axes;
  for (const title of ranges.keys()) if (!titles.includes(title)) ranges.delete(title);
  const chosen = [...ranges].map(([title, ends]) => [titles.indexOf(title), ...ends]);
  const shapes = chosen.map(([axis, low, high]) => ({
    type: "rect", x0: low, x1: high, y0: axis - 0.32, y1: axis + 0.32, line: { width: 1.5, color: "#7A828C" },
    fillcolor: "rgba(122,130,140,0.22)", layer: "below",
  }));
  Plotly.relayout(panel, { shapes, selections: [] });
  const lines = panel.data.filter((trace) => trace.meta !== undefined);
  const isInside = (trace) =>
    chosen.every(([axis, low, high]) => trace.y.some((y, at) => y === axis && trace.x[at] >= low && trace.x[at] <= high));
  showTrials(ranges.size ? new Set(lines.filter(isInside).map((trace) => trace.meta)) : null);
}

function showAll() {
  ranges.clear();
  const panel = document.getElementById(`${brushed}-0`);
  if (panel?.on) brush(panel);
  else showTrials(null);
}

/** Take the range that a mouse was dragged over, for the axis where it was pressed and every other one it passed. */
function takeRange(panel, range) {
  const [low, high] = [...range.x].sort((a, b) => a - b);
  const [top, bottom] = [...range.y].sort((a, b) => a - b);
  const axes = panel.layout.yaxis.tickvals;
  // A drag that hardly leaves its line selects the whole height: Plotly takes it for one along x alone.
  const isLine = axes.every((axis) => axis >= top && axis <= bottom);
  const passed = isLine ? [] : axes.filter((axis) => axis >= top && axis <= bottom);
  const distance = (axis) => Math.abs(axis - pressed);
  const nearest = axes.reduce((best, axis) => (distance(axis) < distance(best) ? axis : best));
  for (const axis of [nearest, ...passed]) ranges.set(panel.layout.meta.axes[axis], [low - margin, high + margin]);
  brush(panel);
}

/** Note on which axis a mouse is pressed. */
function notePress(event) {
  const box = event.currentTarget.querySelector(".nsewdrag").getBoundingClientRect();
  const count = event.currentTarget.layout.yaxis.tickvals.length;
  pressed = ((event.clientY - box.top) / box.height) * count - 0.5;
}

function showCurve(address) {
  const number = /^#curve-(\d+)$/.exec(address)?.[1];
  if (number === undefined || !document.getElementById("learning_curves-0")?.on) return;
  showAll();
  showTrials(new Set([Number(number)]), "learning_curves");
  document.getElementById("learning_curves").scrollIntoView();
}

document.addEventListener("click", (event) => {
  if (event.target.closest("#all")) showAll();
  const link = event.target.closest("a");
  if (link?.getAttribute("href").startsWith("#curve-")) {
    event.preventDefault();
    showCurve(link.getAttribute("href"));
  }
});
root.addEventListener("drawn", () => {
  const panel = document.getElementById(`${brushed}-0`);
  if (panel?.on && panel.dataset.brush === undefined) {
    panel.dataset.brush = "";
    panel.addEventListener("pointerdown", notePress, true);
    panel.on("plotly_selected", (event) => event?.range && takeRange(panel, event.range));
    panel.on("plotly_doubleclick", showAll);
    panel.on("plotly_deselect", showAll);
  }
  if (places !== "") showTrials(shown, places);
  else if (ranges.size && panel?.on) brush(panel);
});
root.addEventListener("drawn", () => showCurve(location.hash), { once: true });
