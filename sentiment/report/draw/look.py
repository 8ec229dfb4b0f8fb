"""How series look, whichever drawer draws them: colours, marks, positions of categories, words for a point.

The palette is Okabe & Ito's (2008), told apart by colour-blind readers too, in tones that stand out from a white page
and from a dark one. A role is told by its shape as well as its colour.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from sentiment.format import format_number, format_percent
from sentiment.report.draw.chart import Axis, Chart, Panel, Role, Series, Value

Mark = Literal["circle", "diamond", "cross", "triangle"]

PALETTE = ("#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#B07CC6", "#8C6D31")
"""Colours of the series without a role, in order; vermilion is kept for the best."""

NEUTRAL = "#7A828C"
"""Grey that can be read on white and on near black."""

SCALE = ("#46307E", "#3D4D8A", "#31688E", "#26828E", "#1F9E89", "#35B779", "#6CCD5A")
"""Viridis for numbers shown as colours, without its ends: they are lost on a dark page and on a white one."""

MOST_FINE_DECADES = 1.6
"""Powers of ten that a logarithmic axis may span and still have ticks between them."""


@dataclass(frozen=True)
class Look:
    """How a series is drawn.

    Attributes:
        colour: As ``#RRGGBB``.
        mark: Shape of its points.
        mark_size: Width of its points, in pixels.
        line_width: In pixels.
        opacity: 0 to 1.
        is_dashed: Lines are dashed.
    """

    colour: str
    mark: Mark = "circle"
    mark_size: float = 7.0
    line_width: float = 2.0
    opacity: float = 1.0
    is_dashed: bool = False


ROLES: dict[Role, Look] = {
    "best": Look("#D55E00", "diamond", 11.0, 3.0),
    "pruned": Look(NEUTRAL, "cross", 7.0, 1.2, 0.8),
    "failed": Look("#CC79A7", "triangle", 10.0, 1.2),
    "faint": Look(NEUTRAL, "circle", 5.0, 1.2, 0.45),
    "reference": Look(NEUTRAL, "circle", 5.0, 1.6, 1.0, is_dashed=True),
}
"""Looks of the roles; a series of the role ``plain`` takes its colour from the palette."""


def choose_looks(chart: Chart) -> dict[tuple[int, int], Look]:
    """Choose the look of every series of a chart.

    Series of one group, or else of one name, share a colour in all panels.

    Returns:
        Number of the panel and number of the series in it, to the look.
    """
    colours: dict[str, str] = {}
    looks = {}
    for panel_number, panel in enumerate(chart.panels):
        for number, series in enumerate(panel.series):
            if series.role == "plain" or (series.group is not None and series.role != "best"):
                key = series.group or series.name or f"panel {panel_number}, series {number}"
                colour = colours.setdefault(key, PALETTE[len(colours) % len(PALETTE)])
                looks[panel_number, number] = _in_colour(colour, series.role)
            else:
                looks[panel_number, number] = ROLES[series.role]
    return looks


def _in_colour(colour: str, role: Role) -> Look:
    if role == "plain":
        return Look(colour)
    return replace(ROLES[role], colour=colour)


@dataclass(frozen=True)
class ColourRange:
    """What the ends of the colour scale mean: every series that colours by the same axis shares it."""

    axis: Axis
    low: float
    high: float

    def locate(self, value: float) -> float:
        """Return where a value lies between the ends, 0 to 1."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low))) if self.high > self.low else 0.5

    def show(self, value: float) -> str:
        """Write a value for people."""
        return format_value(self.axis, value)


def find_colour_ranges(chart: Chart) -> dict[Axis | None, ColourRange]:
    """Find the range of every quantity that a chart shows as a colour."""
    values: dict[Axis, list[float]] = {}
    for series in (series for panel in chart.panels for series in panel.series):
        if series.colour is not None and series.colour_axis is not None:
            values.setdefault(series.colour_axis, []).extend(v for v in series.colour if math.isfinite(v))
    return {axis: ColourRange(axis, min(found), max(found)) for axis, found in values.items() if found}


def is_grid(series: Series) -> bool:
    """Return whether a series has a value per cell rather than per point."""
    return series.kind in ("heatmap", "contour")


def reads_downwards(panel: Panel) -> bool:
    """Return whether the first category of the vertical axis stands on top, as in a list."""
    return panel.y.categories is not None and not any(is_grid(series) for series in panel.series)


def to_numbers(axis: Axis, values: Iterable[Value]) -> list[float]:
    """Turn positions into numbers: a category's name becomes its index; a number stays (a jittered category's too)."""
    indices = {name: float(index) for index, name in enumerate(axis.categories or ())}
    return [indices[value] if isinstance(value, str) else float(value) for value in values]


def choose_log_ticks(panel: Panel, axis: Axis) -> list[float]:
    """Choose the ticks of a logarithmic axis: powers of ten, with 2 and 5 between them over a short range.

    Drawers choose too many for a narrow screen, or none where the points lie within one decade.
    """
    columns = (series.x if axis is panel.x else series.y for series in panel.series)
    values = [value for column in columns for value in column if isinstance(value, (int, float)) and value > 0]
    if not values:
        return [1.0, 10.0]
    low, high = math.log10(min(values)), math.log10(max(values))
    first, last = math.floor(low), math.ceil(high)
    if high - low <= MOST_FINE_DECADES:
        ticks = [factor * 10.0**power for power in range(first - 1, last + 1) for factor in (1, 2, 5)]
        return [tick for tick in ticks if low - 0.4 <= math.log10(tick) <= high + 0.4]
    return [10.0**power for power in range(first, last + 1, max(1, math.ceil((last - first) / 6)))]


def shape_cells(series: Series) -> list[list[float]]:
    """Return the cells of a heatmap row by row; NaN where a cell is empty."""
    assert series.colour is not None, f"a {series.kind} without values"
    width = len(series.x)
    return [list(series.colour[start : start + width]) for start in range(0, width * len(series.y), width)]


def describe_point(panel: Panel, x: Value, y: Value) -> str:
    """Describe where a point lies, one line per axis."""
    return f"{panel.x.title}: {format_value(panel.x, x)}\n{panel.y.title}: {format_value(panel.y, y)}"


def format_value(axis: Axis, value: Value) -> str:
    """Write a position for people."""
    if isinstance(value, str):
        return value
    if axis.categories is not None:
        return axis.categories[round(value)]
    return format_percent(value) if axis.is_percent else format_number(value)
