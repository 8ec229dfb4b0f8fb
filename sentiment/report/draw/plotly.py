"""Draw a chart with plotly: one figure a panel.

A figure of its own for each panel, rather than plotly's subplots, lets the page lay panels out: beside each other on a
wide screen, stacked on a phone. What several panels share, legend and colour scale, is the page's (see
`sentiment.report.draw.page`): plotly's own belong to one figure and take their room from its plot.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from sentiment.format import format_number
from sentiment.report.draw.chart import Axis, Chart, Panel, Series
from sentiment.report.draw.look import (
    NEUTRAL,
    SCALE,
    ColourRange,
    Look,
    choose_log_ticks,
    choose_looks,
    choose_whole_step,
    find_colour_ranges,
    list_numbers,
    shade_line,
    wrap,
)

SYMBOLS = {"circle": "circle", "diamond": "diamond", "cross": "x-thin-open", "triangle": "triangle-down"}

COLOURSCALE = [[index / (len(SCALE) - 1), colour] for index, colour in enumerate(SCALE)]

POINTS_LABEL, NARROW_LABEL, LIST_LABEL, LINES_LABEL, TICK_LABEL = (46, 2), (22, 3), (28, 2), (17, 3), (12, 4)
"""Most characters of a line, and lines, of a category's name: in a list of points, on a phone, in a list of bars, in
one that lines run through, elsewhere."""

MOST_LEVEL_LABELS = 7
"""Categories along an axis whose names are not turned, even on a phone."""

ROW_PIXELS, LINES_ROW_PIXELS = 30, 44
"""Height of a row where the vertical axis lists categories, and where lines run through them."""

PANEL_PIXELS = 330

TITLE_PIXELS = 34
"""Room over the panels of a chart where any of them has a title."""


def draw_interactive(chart: Chart) -> list[go.Figure]:
    """Draw each panel of a chart.

    A trace's ``legendgroup`` is the name of its series, by which the page's legend finds it. Fonts and grid have no
    colours of their own: they follow the page's theme.
    """
    ranges = find_colour_ranges(chart)
    top = TITLE_PIXELS if any(panel.title for panel in chart.panels) else 12  # the same for all: their axes align
    return [
        _draw_panel(panel, looks, ranges, top) for panel, looks in zip(chart.panels, choose_looks(chart), strict=True)
    ]


def _draw_panel(panel: Panel, looks: Sequence[Look], ranges: dict[Axis | None, ColourRange], top: int) -> go.Figure:
    traces = [
        _draw_series(panel, series, look, ranges.get(series.colour_axis))
        for series, look in zip(panel.series, looks, strict=True)
    ]
    row = LINES_ROW_PIXELS if panel.has_lines else ROW_PIXELS
    height = PANEL_PIXELS if panel.listed is None else max(150, 70 + row * len(panel.listed))
    layout = {
        "height": max(PANEL_PIXELS, height) if panel.has_lines else height,
        "margin": {"l": 8, "r": 12, "t": top, "b": 8},
        "title": {"text": html.escape(panel.title), "x": 0, "xref": "container", "font": {"size": 13}},
        "showlegend": False,
        "hovermode": "closest",
        "dragmode": "select" if panel.has_brush else "zoom",
        "barmode": "overlay",
        "bargap": 0.35,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 12},
        "hoverlabel": {"align": "left", "font": {"size": 12}},
        "xaxis": _draw_axis(panel, panel.x),
        "yaxis": _draw_axis(panel, panel.y),
    }
    # What the page's script needs: the axes' titles in full, and names for where there is less room.
    if panel.has_brush:
        layout["meta"] = {"axes": list(panel.listed or ())}
    elif _is_of_points(panel):
        layout["meta"] = {"narrow": [_wrap(name, *NARROW_LABEL) for name in panel.listed or ()]}
    return go.Figure({"data": traces, "layout": layout})


def _draw_axis(panel: Panel, axis: Axis) -> dict[str, Any]:
    is_list = axis is panel.y and panel.listed is not None
    label = TICK_LABEL
    if is_list:
        label = POINTS_LABEL if _is_of_points(panel) else LINES_LABEL if panel.has_lines else LIST_LABEL
    drawn: dict[str, Any] = {
        "title": {"text": _wrap(axis.title, 28, 3), "standoff": 10},
        "automargin": True,
        "fixedrange": panel.has_brush,  # zoomed, its ranges would lie elsewhere
        "zeroline": False,
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
    }
    if axis.categories is not None:
        last = len(axis.categories) - 0.5
        return drawn | {
            "tickvals": list(range(len(axis.categories))),
            "ticktext": [_wrap(name, *label) for name in axis.categories],
            "tickfont": {"size": 11},
            "range": [last, -0.5] if is_list else [-0.5, last],
            **({"tickangle": 0} if len(axis.categories) <= MOST_LEVEL_LABELS else {}),
        }
    if axis.is_log:
        ticks = choose_log_ticks(panel, axis)
        drawn |= {"type": "log", "tickvals": ticks, "ticktext": [format_number(tick) for tick in ticks]}
    if axis.is_whole:
        drawn |= {"dtick": choose_whole_step(panel, axis), "tick0": 0}
    if axis.is_percent:
        drawn |= {"tickformat": ".4~%"}
        if len(found := set(list_numbers(panel, axis))) == 1 and 0 <= min(found) <= 1:
            drawn |= {"range": [0, 1]}  # left alone it is one wider on both sides: from -50 %
    return drawn


def _is_of_points(panel: Panel) -> bool:
    return panel.listed is not None and all(series.kind == "markers" for series in panel.series)


def _wrap(text: str, width: int, most_lines: int) -> str:
    return "<br>".join(map(html.escape, wrap(text, width, most_lines)))


def _draw_series(panel: Panel, series: Series, look: Look, scale: ColourRange | None) -> dict[str, Any]:
    if series.is_grid:
        return _draw_grid(panel, series, scale)
    x, y = panel.x.locate(series.x), panel.y.locate(series.y)
    trace: dict[str, Any] = {"x": x, "y": y, "name": html.escape(series.name), "legendgroup": series.name}
    if series.trials is not None:  # the page's script finds a trial's points by them, and a trial's line
        trace |= {"customdata": series.trials} if series.kind == "markers" else {"meta": series.trials[0]}
    if series.is_folded:
        trace["visible"] = False
    trace |= {"hoverinfo": "skip"} if series.hover is None else {"hovertext": _write_hover(series), "hoverinfo": "text"}
    trace |= {"opacity": look.opacity, **_draw_errors(panel, series)}
    if series.kind == "bar":
        return trace | {"type": "bar", "orientation": "h", "marker": {"color": look.colour}}
    trace |= {"type": "scatter", "cliponaxis": False}
    trace |= {"mode": {"markers": "markers", "line+markers": "lines+markers"}.get(series.kind, "lines")}
    return trace | {"line": _draw_line(series, look, scale), "marker": _draw_marker(panel, series, look, scale)}


def _draw_line(series: Series, look: Look, scale: ColourRange | None) -> dict[str, Any]:
    shade = shade_line(series, scale)
    colour = look.colour if shade is None else sample_colorscale(COLOURSCALE, [shade])[0]
    dash, shape = ("dash" if look.is_dashed else "solid"), ("hv" if series.kind == "step" else "linear")
    return {"color": colour, "width": look.line_width, "dash": dash, "shape": shape}


def _draw_marker(panel: Panel, series: Series, look: Look, scale: ColourRange | None) -> dict[str, Any]:
    # In a colour of the scale, points have an outline, so that none is lost on its page; a cross is nothing but one.
    outline = NEUTRAL if series.colour is not None else "rgba(255,255,255,0.75)"
    outline = "#FFFFFF" if panel.has_grid else look.colour if look.mark == "cross" else outline
    marker: dict[str, Any] = {
        "symbol": SYMBOLS[look.mark], "size": look.mark_size,
        "line": {"width": 2 if look.mark == "cross" or panel.has_grid else 1, "color": outline},
    }  # fmt: skip
    if series.colour is None or scale is None:
        return marker | {"color": look.colour}
    return marker | {"color": _finite(series.colour), "cmin": scale.low, "cmax": scale.high, "colorscale": COLOURSCALE}


def _draw_errors(panel: Panel, series: Series) -> dict[str, Any]:
    errors = panel.measure_errors(series)
    if errors is None:
        return {}
    return {
        f"error_{errors.along}": {
            "type": "data", "symmetric": False, "thickness": 1.5, "width": 4, "color": NEUTRAL,
            "array": _finite(errors.above), "arrayminus": _finite(errors.below),
        }
    }  # fmt: skip


def _draw_grid(panel: Panel, series: Series, scale: ColourRange | None) -> dict[str, Any]:
    x, y, texts = panel.x.locate(series.x), panel.y.locate(series.y), _write_hover(series)
    ends = {} if scale is None else {"zmin": scale.low, "zmax": scale.high}
    return ends | {
        "type": "heatmap", "x": x, "y": y, "z": [_finite(row) for row in series.cells], "showscale": False,
        "colorscale": COLOURSCALE, "hoverinfo": "text", "hoverongaps": False, "legendgroup": series.name,
        "hovertext": [texts[start : start + len(x)] for start in range(0, len(texts), len(x))], "xgap": 2, "ygap": 2,
    }  # fmt: skip


def _write_hover(series: Series) -> list[str]:
    """Write the hover text of each point (of each cell, row by row), escaped: plotly reads a few tags in it."""
    return [html.escape(text).replace("\n", "<br>") for text in series.hover or ()]


def _finite(values: Sequence[float]) -> list[float | None]:
    """Write what is no number as nothing: JSON has no NaN."""
    return [value if math.isfinite(value) else None for value in values]
