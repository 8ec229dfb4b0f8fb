"""Self-contained HTML pages: they open from a disk, without a network, for ever.

plotly.js lies within the page, once. A Content-Security-Policy forbids any request, and any script but the two that the
page is made with, named by their hashes: text that came out of a run (a reason, a label, a review) can neither run nor
load anything, whatever it holds.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.io.json import to_json_plotly
from plotly.offline import get_plotlyjs

from sentiment.report.draw.chart import Chart, Series
from sentiment.report.draw.look import SCALE, ColourRange, Look, choose_looks, find_colour_ranges
from sentiment.report.draw.plotly import draw_interactive
from sentiment.report.draw.table import Cell

TEMPLATES = Path(__file__).parents[1] / "templates"


@dataclass(frozen=True)
class ShownChart:
    """A chart with what surrounds its panels on the page."""

    chart: Chart
    panel_ids: tuple[str, ...]
    legend: tuple[tuple[Series, Look], ...]  # each stands for the series of its name in all panels
    scales: tuple[ColourRange, ...]


def render(
    template: str, charts: Sequence[Chart], *, further: Sequence[str] = (), has_scripts: bool = True, **content: Any
) -> str:
    """Render ``TEMPLATE.html.j2`` with the style sheet and script of all pages and, where there are any, its own.

    Args:
        template: Its name.
        charts: What it draws.
        further: Templates that this one extends, whose style sheets and scripts it has too.
        has_scripts: Without them, the page is for one that is open already, and takes its text from it.
        content: What else the template shows, ``name`` at least; text is escaped unless it is marked as HTML already.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"sort_key": _sort_key, "tie_percent": _tie_percent}
    names = ("page", *further, template)
    scripts = [get_plotlyjs(), _read_all(names, "js")] if has_scripts else []
    shown = [_show_chart(chart) for chart in charts]
    return environment.get_template(f"{template}.html.j2").render(
        charts=shown,
        figures=_write_figures(shown),
        style=Markup(_read_all(names, "css")),
        scripts=[Markup(script) for script in scripts],
        script_hashes=[_hash_script(script) for script in scripts],
        scale_gradient=", ".join(SCALE),
        **content,
    )


def embed_json(content: Any) -> Markup:
    """Write JSON that may stand in a script element: no ``<`` is left that could end it."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def _read_all(names: Sequence[str], ending: str) -> str:
    """Read the style sheets, or the scripts, of a page: those of all pages, then its own."""
    files = [TEMPLATES / f"{name}.{ending}" for name in names]
    return "\n".join(file.read_text(encoding="utf-8") for file in files if file.exists())


def _hash_script(script: str) -> str:
    """Name a script by its content, as a Content-Security-Policy does."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _show_chart(chart: Chart) -> ShownChart:
    """Gather what surrounds a chart's panels on a page: legend and colour scales."""
    legend: dict[str, tuple[Series, Look]] = {}
    for panel, looks in zip(chart.panels, choose_looks(chart), strict=True):
        for series, look in zip(panel.series, looks, strict=True):
            if series.name and not series.is_grid:
                legend.setdefault(series.name, (series, look))
    ids = tuple(f"{chart.name}-{number}" for number in range(len(chart.panels)))
    return ShownChart(chart, ids, tuple(legend.values()), tuple(find_colour_ranges(chart).values()))


def _write_figures(shown: Sequence[ShownChart]) -> Markup:
    """Write all figures as JSON that may stand in a script element: plotly escapes ``<``, ``>`` and ``/``."""
    figures = {
        panel_id: figure.to_plotly_json()
        for one in shown
        for panel_id, figure in zip(one.panel_ids, draw_interactive(one.chart), strict=True)
    }
    text = to_json_plotly(figures, engine="json")
    assert "<" not in text, "JSON that could end its script element"
    return Markup(text)


def _tie_percent(text: str) -> Markup:
    """Tie percent signs to their numbers, so that none begins a line; attributes, and code to be copied, stay."""
    pattern = r"<code\b.*?</code>|(?<=\d) %(?=[^<>]*<)"
    return Markup(re.sub(pattern, lambda found: "\xa0%" if found[0] == " %" else found[0], text, flags=re.DOTALL))


def _sort_key(cell: Cell) -> str:
    """Return what a click on a heading sorts by: numbers in full, as JavaScript reads them; nothing for no value."""
    if isinstance(cell, float):
        return "" if math.isnan(cell) else str(cell).replace("inf", "Infinity")
    return "" if cell is None else str(cell)
