"""Where a parameter's values lie on an axis: numbers on a scale, text and a few numbers side by side."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sentiment.format import format_number, format_setting
from sentiment.report.draw.chart import Axis
from sentiment.report.sweep.table import SweepRow, SweepTable

FEW = 6
"""Up to this many different numbers stand side by side as categories: 1, 2, 4 and 8 heads."""

BINS = 5
"""Cells along a parameter with more values than `FEW`, in a table of cells."""

WIDE = 50.0
"""Ratio of the largest to the smallest number from which an axis is logarithmic, however they were drawn."""

EDGE = 0.08
"""How far from a table's edge a point stays, in widths of a cell, so that the frame does not cut it."""

JITTER = 0.5
"""Width of the strip over which the points of a category are spread, in widths of the category."""

GOLDEN = (math.sqrt(5) - 1) / 2
"""Multiples of the golden ratio, less their whole parts, fall evenly, whichever trials are shown."""


@dataclass(frozen=True)
class Scale:
    """A parameter's axis.

    Attributes:
        axis: The axis.
        place: Position of a row's value; on a categorical axis the category's place, a little aside.
        cell: Number of the category or bin of a row's value.
    """

    axis: Axis
    place: Callable[[SweepRow], float]
    cell: Callable[[SweepRow], int]


def make_scale(table: SweepTable, rows: Sequence[SweepRow], key: str, title: str, *, as_cells: bool = False) -> Scale:
    """Make the axis of a parameter.

    Args:
        table: The sweep.
        rows: Rows to show; all of them have the parameter.
        key: The parameter.
        title: What the axis is called.
        as_cells: Also numbers of many values are put into categories, `BINS` intervals of equal width.
    """
    values = list(dict.fromkeys(row.parameters[key] for row in rows))
    numbers = [value for value in values if not isinstance(value, str)]
    if len(numbers) < len(values) or len(values) <= FEW:
        return _categorical(key, title, values)
    is_log = min(numbers) > 0 and (key in table.log_scaled or max(numbers) / min(numbers) >= WIDE)
    return _binned(key, title, numbers, is_log) if as_cells else _numeric(key, title, is_log)


def shift(number: int) -> float:
    """Return a trial's place beside the middle of its category, -JITTER/2 to JITTER/2; always the same for a trial."""
    return ((number * GOLDEN) % 1.0 - 0.5) * JITTER


def _categorical(key: str, title: str, values: Sequence[float | str]) -> Scale:
    ordered = sorted(values, key=lambda value: (isinstance(value, str), value))
    places = {value: place for place, value in enumerate(ordered)}
    axis = Axis(title, categories=tuple(format_setting(value) for value in ordered))
    return Scale(
        axis,
        place=lambda row: places[row.parameters[key]] + shift(row.number),
        cell=lambda row: places[row.parameters[key]],
    )


def _numeric(key: str, title: str, is_log: bool) -> Scale:
    return Scale(Axis(title, is_log=is_log), place=lambda row: float(row.parameters[key]), cell=lambda row: 0)


def _binned(key: str, title: str, numbers: Sequence[float], is_log: bool) -> Scale:
    transform: Callable[[float], float] = math.log10 if is_log else float
    low, high = transform(min(numbers)), transform(max(numbers))
    edges = [low + (high - low) * step / BINS for step in range(BINS + 1)]
    texts = [format_number(float(f"{10**edge if is_log else edge:.2g}")) for edge in edges]
    axis = Axis(title, categories=tuple(f"{left} to {right}" for left, right in itertools.pairwise(texts)))

    def position(row: SweepRow) -> float:
        place = BINS * (transform(float(row.parameters[key])) - low) / (high - low)
        return min(BINS - EDGE, max(EDGE, place))

    return Scale(axis, place=lambda row: position(row) - 0.5, cell=lambda row: int(position(row)))
