"""How series look, whichever drawer draws them: colours, marks, ticks.

The palette is Okabe & Ito's (2008), told apart by colour-blind readers too, in tones that stand out from a white page
and from a dark one. A role is told by its shape as well as its colour.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from sentiment.report.draw.chart import Axis, Chart, Panel, Role, Series

Mark = Literal["circle", "diamond", "cross", "triangle"]

PALETTE = ("#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#B07CC6", "#8C6D31")
"""Colours of the series without a role, in order; vermilion is kept for the best."""

NEUTRAL = "#7A828C"
"""Grey that can be read on white and on near black."""

SCALE = ("#46307E", "#3D4D8A", "#31688E", "#26828E", "#1F9E89", "#35B779", "#6CCD5A")
"""Viridis for numbers shown as colours, without its ends: they are lost on a dark page and on a white one."""

MOST_FINE_DECADES = 1.6
"""Powers of ten that a logarithmic axis may span and still have ticks between them."""

MOST_WHOLE_TICKS = 8
"""Ticks that have room on a phone."""


@dataclass(frozen=True)
class Look:
    """How a series is drawn."""

    colour: str  # as ``#RRGGBB``
    mark: Mark = "circle"  # shape of its points
    mark_size: float = 7.0  # width of its points, in pixels
    line_width: float = 2.0  # in pixels
    opacity: float = 1.0  # 0 to 1
    is_dashed: bool = False  # lines are dashed


ROLES: dict[Role, Look] = {
    "plain": Look(PALETTE[0]),
    "best": Look("#D55E00", "diamond", 11.0, 3.0),
    "pruned": Look(NEUTRAL, "cross", 7.0, 1.2, 0.8),
    "failed": Look("#CC79A7", "triangle", 10.0, 1.2),
    "faint": Look(NEUTRAL, "circle", 5.0, 1.2, 0.45),
    "reference": Look(NEUTRAL, "circle", 5.0, 1.6, 1.0, is_dashed=True),
}
"""Looks of the roles; series of the role ``plain`` take their colours from the palette, one after the other."""


def choose_looks(chart: Chart) -> list[list[Look]]:
    """Choose the look of every series, panel by panel; series of one group, or else of one name, share a colour.

    A model's colour goes by its place among the chart's models, whichever of them the chart draws first. The first
    colour is left to what is of no model; the other series take those that are free.
    """
    colours = {name: PALETTE[place % len(PALETTE)] for place, name in enumerate(chart.models, 1)}
    free = [colour for colour in PALETTE if colour not in colours.values()] or PALETTE

    def choose(series: Series, nameless: str) -> Look:
        if series.role != "plain" and (series.group is None or series.role == "best"):
            return ROLES[series.role]
        key = series.group or series.name or nameless
        colour = colours.setdefault(key, free[(len(colours) - len(chart.models)) % len(free)])
        return replace(ROLES[series.role], colour=colour)

    return [
        [choose(series, f"panel {number}, series {index}") for index, series in enumerate(panel.series)]
        for number, panel in enumerate(chart.panels)
    ]


@dataclass(frozen=True)
class ColourRange:
    """What the ends of the colour scale mean: every series that colours by the same axis shares it."""

    axis: Axis
    low: float
    high: float

    def locate(self, value: float) -> float:
        """Return where a value lies between the ends, 0 to 1."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low))) if self.high > self.low else 0.5


def find_colour_ranges(chart: Chart) -> dict[Axis | None, ColourRange]:
    """Find the range of every quantity that a chart shows as a colour."""
    values: dict[Axis, list[float]] = {}
    for series in (series for panel in chart.panels for series in panel.series):
        if series.colour is not None and series.colour_axis is not None:
            values.setdefault(series.colour_axis, []).extend(v for v in series.colour if math.isfinite(v))
    return {axis: ColourRange(axis, min(found), max(found)) for axis, found in values.items() if found}


def shade_line(series: Series, scale: ColourRange | None) -> float | None:
    """Return where a line's one colour, that of its first value, lies on the scale; None where it has the look's.

    The best has the look's, and its value is one of those between the ends of the scale.
    """
    if series.kind != "line" or series.role == "best" or series.colour is None or scale is None:
        return None
    return scale.locate(series.colour[0])


def wrap(text: str, width: int, most_lines: int) -> list[str]:
    """Break a text after spaces, longer words after signs; leave the rest out: the hover text has it whole."""
    words = re.findall(r"[^ ]+ ?| ", text)
    part = rf"[^_/,=-]{{1,{width}}}[_/,=-]?|[_/,=-]"
    pieces = [[word] if len(word.rstrip()) <= width else re.findall(part, word) for word in words]
    lines = [""]
    for piece in itertools.chain(*pieces):
        if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    shown = [line.rstrip() for line in lines[:most_lines]]
    return shown if len(lines) <= most_lines else [*shown[:-1], f"{shown[-1]} …"]


def list_numbers(panel: Panel, axis: Axis) -> list[float]:
    """List the numbers that a panel has on an axis."""
    columns = (series.x if axis is panel.x else series.y for series in panel.series)
    return [value for column in columns for value in column if not isinstance(value, str)]


def choose_whole_step(panel: Panel, axis: Axis) -> int:
    """Choose the distance of ticks at whole numbers: 1, 2, 5, 10, 20, ..., for at most `MOST_WHOLE_TICKS` of them."""
    values = list_numbers(panel, axis)
    span = max(values, default=0.0) - min(values, default=0.0)
    steps: Iterator[int] = (factor * 10**power for power in itertools.count() for factor in (1, 2, 5))
    return next(step for step in steps if span / step <= MOST_WHOLE_TICKS)


def choose_log_ticks(panel: Panel, axis: Axis) -> list[float]:
    """Choose the ticks of a logarithmic axis: powers of ten, with 2 and 5 between them over a short range.

    Drawers choose too many for a narrow screen, or none where the points lie within one decade.
    """
    values = [value for value in list_numbers(panel, axis) if value > 0]
    if not values:
        return [1.0, 10.0]
    low, high = math.log10(min(values)), math.log10(max(values))
    first, last = math.floor(low), math.ceil(high)
    if high - low <= MOST_FINE_DECADES:
        ticks = [factor * 10.0**power for power in range(first - 1, last + 1) for factor in (1, 2, 5)]
        return [tick for tick in ticks if low - 0.4 <= math.log10(tick) <= high + 0.4]
    return [10.0**power for power in range(first, last + 1, max(1, math.ceil((last - first) / 6)))]
