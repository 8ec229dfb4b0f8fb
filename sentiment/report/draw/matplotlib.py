"""Draw a chart with matplotlib, as a picture for a README, an MLflow artifact or paper.

Plotly's own picture writer (kaleido) drives a Chrome, which a fresh machine lacks; matplotlib needs nothing. The points
and looks are those of `sentiment.report.draw.plotly`.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure  # no pyplot: nothing global, no window system
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sentiment.atomic import write_bytes
from sentiment.format import format_number
from sentiment.report.draw import look as chart_look
from sentiment.report.draw.chart import Axis, Chart, Panel, Series
from sentiment.report.draw.look import NEUTRAL, SCALE, ColourRange, Look

MARKERS = {"circle": "o", "diamond": "D", "cross": "x", "triangle": "v"}

COLOUR_MAP = LinearSegmentedColormap.from_list("numbers", list(SCALE))

POINTS_A_PIXEL = 0.72
"""Marks and lines are measured in pixels of the page; matplotlib measures in points of 1/72 inch."""

PANEL_WIDTH, PANEL_HEIGHT, ROW_HEIGHT = 5.2, 3.5, 0.3
"""Inches; the last one is a row of a panel that lists categories."""


def write_png(chart: Chart, file: Path) -> None:
    """Write a chart as PNG, atomically.

    Raises:
        OSError: The folder cannot be written.
    """
    picture = io.BytesIO()
    draw_static(chart).savefig(picture, format="png", dpi=110)
    write_bytes(file, picture.getvalue())


def draw_static(chart: Chart) -> Figure:
    """Draw all panels of a chart, with one legend and one colour scale beneath them."""
    columns = max(1, min(chart.columns, len(chart.panels)))
    rows = math.ceil(len(chart.panels) / columns)
    width = max(7.5, PANEL_WIDTH * columns)
    height = 1.0 + rows * max(_height(panel) for panel in chart.panels)
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(_plain(chart.title), fontsize=13, x=0.01, ha="left")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    looks, ranges = chart_look.choose_looks(chart), chart_look.find_colour_ranges(chart)
    for number, (axes, panel) in enumerate(zip(grid, chart.panels, strict=False)):
        _draw_panel(axes, panel, [looks[number, index] for index in range(len(panel.series))], ranges)
    for axes in grid[len(chart.panels) :]:
        axes.set_visible(False)
    _add_keys(figure, list(grid), ranges)
    return figure


def _height(panel: Panel) -> float:
    if not chart_look.reads_downwards(panel) or panel.y.categories is None:
        return PANEL_HEIGHT
    return max(1.6, 0.9 + ROW_HEIGHT * len(panel.y.categories))


def _add_keys(figure: Figure, grid: list[Axes], ranges: dict[Axis | None, ColourRange]) -> None:
    named: dict[str, Artist] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    if named:
        figure.legend(
            list(named.values()),
            list(named),
            loc="outside lower left",
            ncols=min(6, len(named)),
            frameon=False,
            fontsize=9,
        )
    for scale in ranges.values():
        mappable = ScalarMappable(Normalize(scale.low, scale.high), COLOUR_MAP)
        bar = figure.colorbar(mappable, ax=grid, shrink=0.7, pad=0.02, aspect=30)
        bar.set_label(_plain(scale.axis.title))
        if scale.axis.is_percent:
            bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0))


def _draw_panel(axes: Axes, panel: Panel, looks: Sequence[Look], ranges: dict[Axis | None, ColourRange]) -> None:
    axes.set_title(_plain(panel.title), loc="left", fontsize=10)
    _draw_axis(axes, panel, panel.x)
    _draw_axis(axes, panel, panel.y)
    for order, (series, look) in enumerate(zip(panel.series, looks, strict=True), start=2):
        _draw_series(axes, panel, series, look, ranges.get(series.colour_axis), order)
    if chart_look.reads_downwards(panel):
        axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E6E6E6", lw=0.7)
    axes.set_axisbelow(True)


def _draw_axis(axes: Axes, panel: Panel, axis: Axis) -> None:
    which = "x" if axis is panel.x else "y"
    scale = axes.xaxis if which == "x" else axes.yaxis
    scale.set_label_text(_plain(axis.title))
    scale.get_label().set_fontsize(9)
    scale.set_tick_params(labelsize=8)
    if axis.categories is not None:
        names = [textwrap.shorten(_plain(name), 40, placeholder=" …") for name in axis.categories]
        is_crowded = which == "x" and sum(map(len, names)) > 40
        slant: dict[str, Any] = {"rotation": 30, "ha": "right"} if is_crowded else {}
        scale.set_ticks(range(len(names)), names, **slant)
        (axes.set_xlim if which == "x" else axes.set_ylim)(-0.5, len(names) - 0.5)
        return
    if axis.is_log:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        ticks = chart_look.choose_log_ticks(panel, axis)
        scale.set_ticks(ticks, [format_number(tick) for tick in ticks])
        scale.set_ticks([], minor=True)
    elif axis.is_percent:
        scale.set_major_formatter(PercentFormatter(1.0))
    else:
        scale.set_major_locator(MaxNLocator(6))


def _draw_series(axes: Axes, panel: Panel, series: Series, look: Look, scale: ColourRange | None, order: int) -> None:
    x, y = chart_look.to_numbers(panel.x, series.x), chart_look.to_numbers(panel.y, series.y)
    if chart_look.is_grid(series):
        _draw_grid(axes, series, x, y, scale)
        return
    style: dict[str, Any] = {"alpha": look.opacity, "zorder": order, "label": _plain(series.name) or "_nameless"}
    if series.kind == "bar":
        axes.barh(y, x, height=0.65, color=look.colour, **style)
    if series.kind in ("line", "step", "line+markers"):
        drawstyle = "steps-post" if series.kind == "step" else "default"
        dash, width = ("--" if look.is_dashed else "-"), look.line_width * POINTS_A_PIXEL
        colour = _line_colour(series, look, scale)
        marker = MARKERS[look.mark] if series.kind == "line+markers" else ""
        size = look.mark_size * POINTS_A_PIXEL
        axes.plot(x, y, dash, color=colour, lw=width, drawstyle=drawstyle, marker=marker, ms=size, **style)
    if series.kind == "markers":
        is_on_cells = any(chart_look.is_grid(other) for other in panel.series)
        style |= {"edgecolors": "white" if is_on_cells or series.colour is None else NEUTRAL}
        style |= {"linewidths": 1.2 if is_on_cells else 0.5}
        _draw_markers(axes, series, look, scale, x, y, style)
    _draw_interval(axes, panel, series, look, x, y, order)


def _line_colour(series: Series, look: Look, scale: ColourRange | None) -> Any:
    if series.kind != "line" or series.colour is None or scale is None or not math.isfinite(series.colour[0]):
        return look.colour
    return COLOUR_MAP(scale.locate(series.colour[0]))  # a line has one colour: the first


def _draw_markers(
    axes: Axes, series: Series, look: Look, scale: ColourRange | None, x: list[float], y: list[float],
    style: dict[str, Any],
) -> None:  # fmt: skip
    size = (look.mark_size * POINTS_A_PIXEL) ** 2
    marker = MARKERS[look.mark]
    if series.colour is None or scale is None:
        if look.mark == "cross":
            style |= {"edgecolors": None, "linewidths": 1.2}  # a cross is nothing but edges
        axes.scatter(x, y, s=size, marker=marker, c=look.colour, **style)
        return
    colours = [COLOUR_MAP(scale.locate(v)) if math.isfinite(v) else NEUTRAL for v in series.colour]
    axes.scatter(x, y, s=size, marker=marker, c=colours, **style)


def _draw_interval(
    axes: Axes, panel: Panel, series: Series, look: Look, x: list[float], y: list[float], order: int
) -> None:
    if series.low is None or series.high is None:
        return
    if series.kind in ("line", "step", "line+markers"):
        step: Literal["post"] | None = "post" if series.kind == "step" else None
        axes.fill_between(x, series.low, series.high, step=step, color=look.colour, alpha=0.18, lw=0, zorder=order)
        return
    is_sideways = series.kind == "bar" or panel.y.categories is not None
    middle = np.asarray(x if is_sideways else y)
    lengths = np.stack([middle - np.asarray(series.low), np.asarray(series.high) - middle]).clip(min=0)
    style: dict[str, Any] = {"fmt": "none", "ecolor": NEUTRAL, "elinewidth": 1.2, "capsize": 2, "zorder": order + 0.5}
    axes.errorbar(x, y, xerr=lengths if is_sideways else None, yerr=None if is_sideways else lengths, **style)


def _draw_grid(axes: Axes, series: Series, x: list[float], y: list[float], scale: ColourRange | None) -> None:
    cells = np.ma.masked_invalid(np.asarray(chart_look.shape_cells(series)))
    style: dict[str, Any] = {"cmap": COLOUR_MAP, "zorder": 1} | (
        {"vmin": scale.low, "vmax": scale.high} if scale else {}
    )
    if series.kind == "contour" and min(cells.shape) > 1:
        axes.contourf(x, y, cells, levels=12, **style)
    else:
        axes.pcolormesh(x, y, cells, shading="nearest", edgecolors="white", linewidth=1.0, **style)


def _plain(text: str) -> str:
    """Keep matplotlib from reading dollar signs as mathematics."""
    return text.replace("$", r"\$")
