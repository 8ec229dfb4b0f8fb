"""One self-contained HTML page about a sweep: it opens from a disk, without a network, for ever.

plotly.js lies within the page, once. A Content-Security-Policy forbids any request, and any script but the two that the
page is made with, named by their hashes: text that came out of a run (a reason, a label) can neither run nor load
anything, whatever it holds.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.io.json import to_json_plotly
from plotly.offline import get_plotlyjs

from sentiment.report.draw import look as chart_look
from sentiment.report.draw.chart import Chart
from sentiment.report.draw.look import SCALE, ColourRange, Look
from sentiment.report.draw.plotly import draw_interactive
from sentiment.report.sweep.summary import summarize
from sentiment.report.sweep.table import SweepTable
from sentiment.report.sweep.tables import Cell, DataTable, make_tables

TEMPLATES = Path(__file__).parents[1] / "templates"

MOST_ROWS = 500
"""Rows of a table that the page shows; the CSV file has them all, and the page says so."""


@dataclass(frozen=True)
class LegendEntry:
    """A series in a chart's legend; it stands for the series of that name in all panels."""

    name: str
    kind: str
    look: Look
    is_scaled: bool


@dataclass(frozen=True)
class ShownChart:
    """A chart with what surrounds its panels on the page."""

    chart: Chart
    panel_ids: tuple[str, ...]
    legend: tuple[LegendEntry, ...]
    scales: tuple[ColourRange, ...]


def render_page(table: SweepTable, charts: Sequence[Chart]) -> str:
    """Render the report on a sweep.

    Args:
        table: The sweep.
        charts: What to draw, in order.

    Returns:
        The page as HTML; nothing outside it is needed to show it.
    """
    plotly_js, own_js = get_plotlyjs(), read_template("report.js")
    shown = [show_chart(chart) for chart in charts]
    content: dict[str, Any] = {
        "table": table,
        "summary": summarize(table),
        "charts": shown,
        "tables": {data.name: data for data in make_tables(table)},
        "figures": write_figures(charts, shown),
        "style": Markup(read_template("report.css")),
        "plotly_js": Markup(plotly_js),
        "own_js": Markup(own_js),
        "script_hashes": [hash_script(plotly_js), hash_script(own_js)],
        "scale_gradient": ", ".join(SCALE),
        "most_rows": MOST_ROWS,
    }
    return open_templates().get_template("report.html.j2").render(content)


def open_templates() -> jinja2.Environment:
    """Open the templates; whatever they show is escaped unless it is marked as HTML already."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"cell": show_cell, "sort_key": _sort_key, "number": chart_look.format_number}
    environment.tests |= {"long": _is_long}
    return environment


def read_template(name: str) -> str:
    """Read a file beside the templates as it is: a style sheet or a script."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def hash_script(script: str) -> str:
    """Name a script by its content, as a Content-Security-Policy does."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def show_chart(chart: Chart) -> ShownChart:
    """Gather what surrounds a chart's panels on a page: legend and colour scales."""
    looks = chart_look.choose_looks(chart)
    legend: dict[str, LegendEntry] = {}
    for (panel, place), look in looks.items():
        series = chart.panels[panel].series[place]
        if series.name and not chart_look.is_grid(series):
            legend.setdefault(series.name, LegendEntry(series.name, series.kind, look, series.colour is not None))
    ids = tuple(f"{chart.name}-{number}" for number in range(len(chart.panels)))
    return ShownChart(chart, ids, tuple(legend.values()), tuple(chart_look.find_colour_ranges(chart).values()))


def write_figures(charts: Sequence[Chart], shown: Sequence[ShownChart]) -> Markup:
    """Write all figures as JSON that may stand in a script element: plotly escapes ``<``, ``>`` and ``/``."""
    figures = {
        panel_id: figure.to_plotly_json()
        for chart, place in zip(charts, shown, strict=True)
        for panel_id, figure in zip(place.panel_ids, draw_interactive(chart), strict=True)
    }
    text = to_json_plotly(figures, engine="json")
    assert "<" not in text, "JSON that could end its script element"
    return Markup(text)


def show_cell(cell: Cell) -> str:
    """Write a cell for people: nothing as a dash, numbers to four decimals or digits."""
    if cell is None or cell == "":
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or (math.isfinite(cell) and float(cell).is_integer() and abs(cell) < 1e15):
        return f"{int(cell):,}"
    if not math.isfinite(cell):
        return "NaN" if math.isnan(cell) else "∞"
    return f"{cell:,.1f}" if abs(cell) >= 100 else f"{cell:.4f}" if abs(cell) >= 0.01 else f"{cell:.3g}"


def _sort_key(cell: Cell) -> str:
    """Give what a click on a heading sorts by: numbers in full, nothing for an empty cell."""
    return "" if cell is None else str(cell)


def _is_long(data: DataTable) -> bool:
    return len(data.rows) > MOST_ROWS
