"use strict";
// What every page does: draws the figures, follows the theme, hides series, sorts tables, copies the command.

const NARROW = 500; // pixels, of a plot: a phone's
const root = document.documentElement;
const hasMouse = matchMedia("(pointer: fine)").matches;
const prefersDark = matchMedia("(prefers-color-scheme: dark)");

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches;
}

/** Give the layout keys that carry the theme; the colours are the style sheet's own. */
function themeLayout() {
  const ink = getComputedStyle(document.body).color;
  const card = getComputedStyle(document.querySelector(".card"));
  const layout = {
    "font.color": ink,
    "hoverlabel.bgcolor": card.backgroundColor,
    "hoverlabel.bordercolor": card.borderTopColor,
    "hoverlabel.font.color": ink,
    "modebar.bgcolor": "rgba(0,0,0,0)",
    "modebar.color": getComputedStyle(document.querySelector(".caption, .counts, p")).color,
  };
  for (const axis of ["xaxis", "yaxis"]) {
    for (const part of ["gridcolor", "linecolor", "tickcolor"]) layout[`${axis}.${part}`] = card.borderTopColor;
  }
  return layout;
}

function setNested(target, path, value) {
  const parts = path.split(".");
  const last = parts.pop();
  for (const part of parts) target = target[part] ??= {};
  target[last] = value;
}


/** Draw the figures, or draw them anew: what a person zoomed into or hid stays so. */
async function drawAll() {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  for (const [id, figure] of Object.entries(figures)) {
    // The theme is asked for each time: it may change while the plots are drawn.
    for (const [path, value] of Object.entries(themeLayout())) setNested(figure.layout, path, value);
    if (!hasMouse) figure.layout.dragmode = false; // a finger scrolls the page
    figure.layout.uirevision = id;
    const { meta, yaxis, xaxis } = figure.layout;
    if (meta?.narrow && document.getElementById(id).clientWidth < NARROW) {
      // At most 5 ticks are at least 2: the steps between them go 1, 2, 5, 10.
      [yaxis.ticktext, xaxis.nticks] = [meta.narrow, 5];
      figure.layout.height *= 1.5;
    }
    await Plotly.react(id, figure.data, figure.layout, {
      responsive: true,
      displaylogo: false,
      showSendToCloud: false, // the button would upload the plot
      displayModeBar: hasMouse ? "hover" : false,
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    });
    await new Promise((resume) => setTimeout(resume)); // lets the page answer between two plots
  }
  root.dataset.drawn = "true";
  root.dispatchEvent(new Event("drawn"));
}

function applyTheme() {
  const layout = themeLayout();
  for (const panel of document.querySelectorAll(".panel.js-plotly-plot")) Plotly.relayout(panel, layout);
}

function toggleSeries(button) {
  const isShown = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(isShown));
  for (const panel of button.closest(".chart").querySelectorAll(".panel.js-plotly-plot")) {
    const traces = panel.data.flatMap((trace, place) => (trace.legendgroup === button.dataset.series ? [place] : []));
    if (traces.length) Plotly.restyle(panel, { visible: isShown }, traces);
  }
}

/** Order numbers by their values, and the texts beside them, which come last, as people do. */
function compareValues(a, b) {
  const [one, other] = [Number(a), Number(b)];
  if (Number.isNaN(one) && Number.isNaN(other)) return a.localeCompare(b, "en", { numeric: true });
  return Number.isNaN(one) || Number.isNaN(other) ? Number.isNaN(one) - Number.isNaN(other) : one - other;
}

/** Sort by the full values; empty cells stay last in either direction. */
function sortBy(heading) {
  const table = heading.closest("table");
  const column = heading.cellIndex;
  const isFirst = heading.ariaSort !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", isFirst ? "ascending" : "descending");
  const sign = isFirst ? 1 : -1;
  const key = (row) => row.cells[column].dataset.value;
  const rows = [...table.tBodies[0].rows].sort((one, other) => {
    const [a, b] = [key(one), key(other)];
    return a === "" || b === "" ? (a === "") - (b === "") : sign * compareValues(a, b);
  });
  table.tBodies[0].append(...rows);
}

async function copyText(button) {
  const source = document.getElementById(button.dataset.copies);
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
  } catch {
    // A page in a frame, as in MLflow, may have no clipboard: select the text, and let the keyboard do the rest.
    getSelection().selectAllChildren(source);
    button.textContent = "Press Ctrl+C";
  }
  setTimeout(() => (button.textContent = "Copy"), 2500);
}

// One listener for all: a page that follows a running study replaces its buttons.
document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button === null) return;
  if (button.id === "theme") {
    root.dataset.theme = isDark() ? "light" : "dark";
    applyTheme();
  } else if (button.id === "copy") copyText(button);
  else if (button.matches(".legend button")) toggleSeries(button);
  else if (button.parentElement.matches(".sortable th")) sortBy(button.parentElement);
});
prefersDark.addEventListener("change", applyTheme);
addEventListener("beforeprint", applyTheme);
addEventListener("afterprint", applyTheme);
drawAll();
