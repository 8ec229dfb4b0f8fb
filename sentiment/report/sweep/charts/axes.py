"""What the charts of a sweep share: which trials they show, as what, and where a parameter's values lie on an axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from sentiment.format import format_metric, format_setting, is_share, name_metric, shorten_keys, tell_apart
from sentiment.report.draw.chart import Axis, Role, Series
from sentiment.report.sweep.table import STATES, STOPPED, SweepRow, SweepTable
from sentiment.report.sweep.tables import explain_row

FEW = 6
"""Up to this many different numbers stand side by side as categories: 1, 2, 4 and 8 heads."""

WIDE = 50.0
"""Ratio of the largest to the smallest number from which an axis is logarithmic, however they were drawn."""

JITTER = 0.5
"""Width of the strip over which the points of a category are spread, in widths of the category."""

MOST_MARKS = 1000
"""Marks of a series: more hide each other, and make a page that no browser opens."""

GOLDEN = (math.sqrt(5) - 1) / 2
"""Multiples of the golden ratio, less their whole parts, fall evenly, whichever trials are shown."""


def complete_rows(table: SweepTable) -> list[SweepRow]:
    """Return the complete rows with a number, best first, those that break a limit last."""
    return [row for row in table.rows if row.state == "complete" and _has_value(table, row)]


def pruned_rows(table: SweepTable) -> list[SweepRow]:
    """Return the rows that the search stopped, for good or for a while, by their best validation."""
    return [row for row in table.rows if row.state in STOPPED and _has_value(table, row)]


def name_states(rows: Sequence[SweepRow]) -> str:
    """Name the states of rows that are drawn alike: ``pruned``, ``pruned or paused``."""
    found = {row.state for row in rows}
    return " or ".join(state for state in STATES if state in found)


def _has_value(table: SweepTable, row: SweepRow) -> bool:
    return math.isfinite(row.values.get(table.objectives[0], math.nan))


def value_of(table: SweepTable, row: SweepRow) -> float:
    """Return the first objective of a row that has it."""
    return row.values[table.objectives[0]]


def list_models(table: SweepTable) -> tuple[str, ...]:
    """List the known models of a sweep in the order of their first trials, which further trials do not change."""
    return tuple(dict.fromkeys(row.model for row in sorted(table.rows, key=lambda row: row.number) if row.model))


def split_by_model(table: SweepTable, rows: Sequence[SweepRow], otherwise: str) -> list[tuple[str, list[SweepRow]]]:
    """Split rows by their model, unknown ones under another name; all have it where the sweep has one model only."""
    names = list_models(table)
    if len(names) < 2:
        return [(otherwise, list(rows))] if rows else []
    groups = [(name, [row for row in rows if row.model == name]) for name in (*names, "")]
    return [(name or otherwise, group) for name, group in groups if group]


def make_value_axis(metric: str) -> Axis:
    """Make the axis of a metric."""
    return Axis(name_metric(metric), is_percent=is_share(metric))


def write_metric(metric: str, value: float) -> str:
    """Write a metric's value with its name."""
    return f"{name_metric(metric)} {format_metric(metric, value)}"


def describe_row(table: SweepTable, row: SweepRow, *further: str) -> str:
    """Describe a trial, one per line: number and state, objectives, settings, and what else there is to say."""
    names = shorten_keys(table.varied)
    state = "" if row.state == "complete" else f", {row.state}"
    values = [write_metric(name, value) for name, value in row.values.items()]
    settings = [f"{names.get(key, key)} = {format_setting(value)}" for key, value in row.parameters.items()]
    reason = filter(None, [explain_row(row)])
    return "\n".join([f"trial {row.number}{state}", *values, *settings, *further, *reason])


def choose_marked(table: SweepTable, rows: Sequence[SweepRow]) -> list[SweepRow]:
    """Choose the rows that are marked where there are too many: the better half of the marks, the others evenly."""
    if len(rows) <= MOST_MARKS:
        return list(rows)
    sign = -1.0 if table.directions[0] == "maximize" else 1.0
    ordered = sorted(rows, key=lambda row: (sign * row.scores.get(table.objectives[0], math.inf), row.number))
    half = MOST_MARKS // 2
    others = sorted(ordered[half:], key=lambda row: row.number)
    taken = {others[place * len(others) // half].number for place in range(half)}
    taken |= {row.number for row in ordered[:half]}
    return [row for row in rows if row.number in taken]


def mark_rows(
    table: SweepTable,
    name: str,
    rows: Sequence[SweepRow],
    x: Callable[[SweepRow], float],
    role: Role = "plain",
    *,
    y: Callable[[SweepRow], float] | None = None,
    further: Callable[[SweepRow], str] | None = None,
) -> Series:
    """Mark each trial with a point that tells of it, and what there is `further`; without `y` at its objective.

    Of very many rows some are marked: see `choose_marked`.
    """
    rows = choose_marked(table, rows)
    heights = map(y or partial(value_of, table), rows)
    hover = (describe_row(table, row, *(() if further is None else (further(row),))) for row in rows)
    trials = tuple(row.number for row in rows)
    return Series(name, "markers", tuple(map(x, rows)), tuple(heights), hover=tuple(hover), role=role, trials=trials)


@dataclass(frozen=True)
class Scale:
    """A parameter's axis."""

    axis: Axis  # the axis
    # Position of a row's value; on a categorical axis the category's index, a little aside.
    locate: Callable[[SweepRow], float]
    # Index of the category of a row's value; None: numbers on a scale have no cells.
    cell: Callable[[SweepRow], int] | None = None


def make_scale(table: SweepTable, rows: Sequence[SweepRow], key: str) -> Scale:
    """Make the axis of a parameter, which all rows have: numbers on a scale, text and a few numbers side by side.

    A few fractions of which none was tried twice were drawn from a range: they lie on a scale too.
    """
    title = shorten_keys(table.varied)[key]
    values = list(dict.fromkeys(row.parameters[key] for row in rows))
    numbers = [value for value in values if not isinstance(value, str)]
    is_drawn = len(values) == len(rows) > 2 and any(number != int(number) for number in numbers)
    if len(numbers) < len(values) or (len(values) <= FEW and not is_drawn):
        return _make_categories(key, title, values)
    is_log = is_logarithmic(table, key, numbers)
    return Scale(Axis(title, is_log=is_log), locate=lambda row: float(row.parameters[key]))


def is_logarithmic(table: SweepTable, key: str, numbers: Sequence[float]) -> bool:
    """Whether a parameter's values stand on a logarithmic scale: it was drawn on one, or they span a wide range."""
    return min(numbers) > 0 and (key in table.log_scaled or max(numbers) / min(numbers) >= WIDE)


def shift(number: int) -> float:
    """Return a trial's shift from the middle of its category, -JITTER/2 to JITTER/2; always the same for a trial."""
    return ((number * GOLDEN) % 1.0 - 0.5) * JITTER


def _make_categories(key: str, title: str, values: Sequence[float | str]) -> Scale:
    ordered = sorted(values, key=lambda value: (isinstance(value, str), value))
    indices = {value: index for index, value in enumerate(ordered)}
    names = tell_apart(ordered, format_setting, str)
    return Scale(
        Axis(title, categories=tuple(names)),
        locate=lambda row: indices[row.parameters[key]] + shift(row.number),
        cell=lambda row: indices[row.parameters[key]],
    )
