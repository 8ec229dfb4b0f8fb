"""All parameters at once: one line per trial across parallel axes (Inselberg, 1985)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from sentiment.format import format_setting, name_metric, shorten_keys
from sentiment.report.draw.chart import Axis, Chart, Panel, Series
from sentiment.report.sweep.charts.labels import describe_row, make_value_axis, write_metric
from sentiment.report.sweep.charts.selection import complete_rows, value_of
from sentiment.report.sweep.table import SweepRow, SweepTable

MOST_LINES = 100
"""Beyond that nobody sees a line; the best ones are drawn."""

Place = Callable[[SweepRow], float | None]


def make_parallel(table: SweepTable) -> Chart | None:
    """Draw each complete trial as a line over its parameters and its objective."""
    rows = complete_rows(table)[:MOST_LINES]
    keys = [key for key in table.varied if len({row.parameters[key] for row in rows if key in row.parameters}) > 1]
    if len(rows) < 2 or len(keys) < 2:
        return None
    axes = [_make_axis(table, rows, key) for key in keys]
    axes.append(_make_value_axis(table, rows))
    titles = tuple(title for title, _ in axes)
    lines = [_draw_line(table, row, axes) for row in reversed(rows)]  # the best is drawn last, on top
    return Chart(
        name="parallel_coordinates",
        title="All parameters at once",
        caption="Each line is a complete trial; follow it from axis to axis to see its settings, each from the lowest "
        "value tried (bottom) to the highest (top). Where the lines of good trials run through the same place, that "
        "setting mattered; where they fan out, it did not.",
        panels=(Panel(Axis("", categories=titles), Axis("lowest to highest value tried"), tuple(lines)),),
    )


def _draw_line(table: SweepTable, row: SweepRow, axes: Sequence[tuple[str, Place]]) -> Series:
    # A parameter of another branch has no place: the line passes its axis by.
    points = [(title, y) for title, place in axes if (y := place(row)) is not None]
    is_best = row.rank == 1
    return Series(
        name="best" if is_best else "",
        kind="line",
        x=tuple(title for title, _ in points),
        y=tuple(y for _, y in points),
        colour=None if is_best else (value_of(table, row),) * len(points),
        colour_axis=None if is_best else make_value_axis(table.objectives[0]),
        hover=(describe_row(table, row),) * len(points),
        role="best" if is_best else "plain",
        group=None if is_best else "trials",
    )


def _make_axis(table: SweepTable, rows: Sequence[SweepRow], key: str) -> tuple[str, Place]:
    """Return an axis its title, with what lies at its ends, and the place of a row on it."""
    name = shorten_keys(table.varied)[key]
    values = list(dict.fromkeys(row.parameters[key] for row in rows if key in row.parameters))
    numbers = [value for value in values if not isinstance(value, str)]
    if len(numbers) < len(values):
        ordered = sorted(map(str, values))
        places = {value: index / (len(ordered) - 1) for index, value in enumerate(ordered)}
        title = f"{name} ({', '.join(ordered)})"
        return title, lambda row: places[str(row.parameters[key])] if key in row.parameters else None
    low, high = min(numbers), max(numbers)
    is_log = low > 0 and key in table.log_scaled

    def place(row: SweepRow) -> float | None:
        value = row.parameters.get(key)
        return None if value is None else _normalise(float(value), low, high, is_log)

    return f"{name} ({format_setting(low)} to {format_setting(high)})", place


def _make_value_axis(table: SweepTable, rows: Sequence[SweepRow]) -> tuple[str, Place]:
    objective = table.objectives[0]
    values = [value_of(table, row) for row in rows]
    low, high = min(values), max(values)
    highest = write_metric(objective, high).removeprefix(f"{name_metric(objective)} ")
    lowest = write_metric(objective, low).removeprefix(f"{name_metric(objective)} ")
    title = f"{objective.rpartition('/')[2]} ({lowest} to {highest})"
    return title, lambda row: _normalise(value_of(table, row), low, high, is_log=False)


def _normalise(value: float, low: float, high: float, is_log: bool) -> float:
    if high == low:
        return 0.5
    if is_log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low)
