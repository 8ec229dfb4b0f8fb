"""Draw a chart with matplotlib, as a picture for a README, an MLflow artifact or paper.

Plotly's own picture writer (kaleido) drives a Chrome, which a fresh machine lacks; matplotlib needs nothing. The points
and looks are those of `sentiment.report.draw.plotly`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure  # no pyplot: nothing global, no window system
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sentiment.format import format_number
from sentiment.picture import write_figure
from sentiment.report.draw.chart import Axis, Chart, Panel, Series
from sentiment.report.draw.look import (
    NEUTRAL,
    SCALE,
    ColourRange,
    Look,
    choose_log_ticks,
    choose_looks,
    find_colour_ranges,
    shade_line,
    wrap,
)

MARKERS = {"circle": "o", "diamond": "D", "cross": "x", "triangle": "v"}

COLOUR_MAP = LinearSegmentedColormap.from_list("numbers", list(SCALE))

POINTS_A_PIXEL = 0.72
"""Marks and lines are measured in pixels of the page; matplotlib measures in points of 1/72 inch."""

PANEL_WIDTH, PANEL_HEIGHT, ROW_HEIGHT, LINE_HEIGHT = 5.2, 3.5, 0.3, 0.13
"""Inches; a row of a panel that lists categories, and each further line of their names."""

KEY_WIDTH, CHARACTER_WIDTH, KEY_HEIGHT = 0.7, 0.07, 0.17
"""Inches of the legend: beside each name its mark and space, a character, a line."""

MOST_LINES, MOST_LINES_IN_ALL = 12, 2000
"""Of a category's name: texts that are alike for longer are no settings; and of all of a list, where each has one."""

DPI, MOST_PIXELS = 110, 65_000
"""Of a picture, and of its longer side: matplotlib refuses 2**16, so larger ones are drawn less finely."""


def write_png(chart: Chart, file: Path) -> None:
    """Write a chart as PNG, atomically.

    Raises:
        OSError: The folder cannot be written.
    """
    figure = draw_static(chart)
    write_figure(figure, file, min(DPI, MOST_PIXELS / max(figure.get_size_inches())))


def draw_static(chart: Chart) -> Figure:
    """Draw all panels of a chart, with one legend and one colour scale beneath them."""
    columns = max(1, min(chart.columns, len(chart.panels)))
    rows = math.ceil(len(chart.panels) / columns)
    width = max(7.5, PANEL_WIDTH * columns)
    height = 1.0 + rows * max(_height(panel) for panel in chart.panels)
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(chart.title, fontsize=13, x=0.01, ha="left")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    ranges = find_colour_ranges(chart)
    for axes, panel, looks in zip(grid, chart.panels, choose_looks(chart), strict=False):
        _draw_panel(axes, panel, looks, ranges)
    for axes in grid[len(chart.panels) :]:
        axes.set_visible(False)
    _add_keys(figure, list(grid), ranges)
    return figure


def _height(panel: Panel) -> float:
    height = PANEL_HEIGHT
    if panel.listed is not None:
        further = max((name.count("\n") for name in _name_categories(panel.listed)), default=0)
        height = max(1.6, 0.9 + (ROW_HEIGHT + LINE_HEIGHT * further) * len(panel.listed))
    return max(PANEL_HEIGHT, height) if panel.has_lines else height


def _name_categories(categories: Sequence[str]) -> list[str]:
    """Cut names to as few lines as tell them apart: a picture has no hover text to tell the rest."""
    names: list[str] = []
    most = min(MOST_LINES, max(1, MOST_LINES_IN_ALL // max(1, len(categories))))
    for lines in range(1, most + 1):
        names = ["\n".join(wrap(name, 40, lines)) for name in categories]
        if len(set(names)) == len(names):
            break
    return names


def _add_keys(figure: Figure, grid: list[Axes], ranges: dict[Axis | None, ColourRange]) -> None:
    named: dict[str, Artist] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    if named:
        names = ["\n".join(wrap(name, 40, MOST_LINES)) for name in named]
        longest = max(len(line) for name in names for line in name.split("\n"))
        room = int(figure.get_figwidth() // (KEY_WIDTH + CHARACTER_WIDTH * longest))
        columns = max(1, min(6, room, len(named)))
        lines = math.ceil(len(names) / columns) * max(name.count("\n") + 1 for name in names)
        figure.set_figheight(figure.get_figheight() + KEY_HEIGHT * (lines - 1))
        figure.legend(list(named.values()), names, loc="outside lower left", ncols=columns, frameon=False, fontsize=9)
    for scale in ranges.values():
        mappable = ScalarMappable(Normalize(scale.low, scale.high), COLOUR_MAP)
        bar = figure.colorbar(mappable, ax=grid, shrink=0.7, pad=0.02, aspect=30)
        bar.set_label(scale.axis.title)
        if scale.axis.is_percent:
            bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0))


def _draw_panel(axes: Axes, panel: Panel, looks: Sequence[Look], ranges: dict[Axis | None, ColourRange]) -> None:
    axes.set_title(panel.title, loc="left", fontsize=10)
    _draw_axis(axes, panel, panel.x)
    _draw_axis(axes, panel, panel.y)
    for order, (series, look) in enumerate(zip(panel.series, looks, strict=True), start=2):
        if not series.is_folded:
            _draw_series(axes, panel, series, look, ranges.get(series.colour_axis), order)
    if panel.listed is not None:
        axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E6E6E6", lw=0.7)
    axes.set_axisbelow(True)


def _draw_axis(axes: Axes, panel: Panel, axis: Axis) -> None:
    which = "x" if axis is panel.x else "y"
    scale = axes.xaxis if which == "x" else axes.yaxis
    scale.set_label_text(axis.title)
    scale.get_label().set_fontsize(9)
    scale.set_tick_params(labelsize=8)
    if axis.categories is not None:
        names = _name_categories(axis.categories)
        is_crowded = which == "x" and sum(map(len, names)) > 40
        slant: dict[str, Any] = {"rotation": 30, "ha": "right"} if is_crowded else {}
        scale.set_ticks(range(len(names)), names, **slant)
        (axes.set_xlim if which == "x" else axes.set_ylim)(-0.5, len(names) - 0.5)
        return
    if axis.is_log:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        ticks = choose_log_ticks(panel, axis)
        scale.set_ticks(ticks, [format_number(tick) for tick in ticks])
        scale.set_ticks([], minor=True)
    elif axis.is_percent:
        scale.set_major_formatter(PercentFormatter(1.0))
    else:
        scale.set_major_locator(MaxNLocator(6, integer=axis.is_whole))


def _draw_series(axes: Axes, panel: Panel, series: Series, look: Look, scale: ColourRange | None, order: int) -> None:
    x, y = panel.x.locate(series.x), panel.y.locate(series.y)
    if series.is_grid:
        _draw_grid(axes, series, x, y, scale)
        return
    style: dict[str, Any] = {"alpha": look.opacity, "zorder": order, "label": series.name or "_nameless"}
    size = look.mark_size * POINTS_A_PIXEL
    if series.kind == "bar":
        axes.barh(y, x, height=0.65, color=look.colour, **style)
    elif series.kind == "markers":
        colours, edges = _colour_points(panel, series, look, scale)
        axes.scatter(x, y, s=size**2, marker=MARKERS[look.mark], c=colours, **style, **edges)
    else:
        shade = shade_line(series, scale)
        style |= {"color": look.colour if shade is None else COLOUR_MAP(shade), "lw": look.line_width * POINTS_A_PIXEL}
        style |= {"drawstyle": "steps-post" if series.kind == "step" else "default", "ms": size}
        marker = MARKERS[look.mark] if series.kind == "line+markers" else ""
        axes.plot(x, y, "--" if look.is_dashed else "-", marker=marker, **style)
    errors = panel.measure_errors(series)
    if errors is not None:
        lengths: dict[str, Any] = {f"{errors.along}err": [errors.below, errors.above]}
        axes.errorbar(x, y, fmt="none", ecolor=NEUTRAL, elinewidth=1.2, capsize=2, zorder=order + 0.5, **lengths)


def _colour_points(panel: Panel, series: Series, look: Look, scale: ColourRange | None) -> tuple[Any, dict[str, Any]]:
    """Return the colours of points, and how their edges are drawn."""
    edges = {
        "edgecolors": "white" if panel.has_grid or series.colour is None else NEUTRAL,
        "linewidths": 1.2 if panel.has_grid else 0.5,
    }
    if series.colour is not None and scale is not None:
        return [COLOUR_MAP(scale.locate(v)) if math.isfinite(v) else NEUTRAL for v in series.colour], edges
    if look.mark == "cross":
        edges = {"edgecolors": None, "linewidths": 1.2}  # a cross is nothing but edges
    return look.colour, edges


def _draw_grid(axes: Axes, series: Series, x: list[float], y: list[float], scale: ColourRange | None) -> None:
    cells = np.ma.masked_invalid(np.asarray(series.cells))
    ends: dict[str, Any] = {"vmin": scale.low, "vmax": scale.high} if scale else {}
    axes.pcolormesh(
        x, y, cells, shading="nearest", cmap=COLOUR_MAP, edgecolors="white", linewidth=1.0, zorder=1, **ends
    )
