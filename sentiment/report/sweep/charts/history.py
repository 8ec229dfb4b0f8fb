"""How a search went: the best value so far, over its trials and over wall time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sentiment.report.draw.chart import Axis, Chart, Panel, Series
from sentiment.report.sweep.charts.labels import describe_row, make_value_axis
from sentiment.report.sweep.charts.selection import complete_rows, is_better, pruned_rows, value_of
from sentiment.report.sweep.table import SweepRow, SweepTable

Position = Callable[[SweepRow], float | None]

LONG_SECONDS = 3 * 3600
"""Sweeps longer than this are shown in hours."""


def make_history(table: SweepTable) -> Chart | None:
    """Show every trial's value in order, and the best so far."""
    if not complete_rows(table) and not pruned_rows(table):
        return None
    longest = max((row.ended_seconds or 0.0 for row in table.rows), default=0.0)
    unit, seconds = ("hours", 3600.0) if longest > LONG_SECONDS else ("minutes", 60.0)
    by_number = _make_panel(table, Axis("trial"), lambda row: float(row.number))
    by_time = _make_panel(table, Axis(f"{unit} since the start"), lambda row: _end(row, seconds))
    has_times = any(series.x for series in by_time.series)
    return Chart(
        name="optimisation_history",
        title="Optimisation history",
        caption="Each point is a trial; the line is the best complete trial so far. Where the line has been flat for "
        "long, more trials of the same kind promise little. Pruned trials stand at their best validation before "
        "they were stopped; failed ones have no value and stand at the edge.",
        panels=(by_number, by_time) if has_times else (by_number,),
        columns=2,
    )


def _end(row: SweepRow, unit_seconds: float) -> float | None:
    moment = row.started_seconds if row.ended_seconds is None else row.ended_seconds
    return None if moment is None else moment / unit_seconds


def _make_panel(table: SweepTable, axis: Axis, position: Position) -> Panel:
    complete = _place(complete_rows(table), position)
    pruned = _place(pruned_rows(table), position)
    series = [
        _mark(table, "pruned", "pruned", pruned),
        _mark(table, "complete", "plain", complete),
        _mark_failures(table, position),
        _follow_best(table, complete, [x for _, x in [*complete, *pruned]]),
    ]
    return Panel(axis, make_value_axis(table.objectives[0]), tuple(one for one in series if one is not None))


def _place(rows: Sequence[SweepRow], position: Position) -> list[tuple[SweepRow, float]]:
    placed = [(row, position(row)) for row in rows]
    return sorted(((row, x) for row, x in placed if x is not None), key=lambda pair: (pair[1], pair[0].number))


def _mark(table: SweepTable, name: str, role: str, placed: Sequence[tuple[SweepRow, float]]) -> Series | None:
    if not placed:
        return None
    return Series(
        name=name,
        kind="markers",
        x=tuple(x for _, x in placed),
        y=tuple(value_of(table, row) for row, _ in placed),
        hover=tuple(describe_row(table, row) for row, _ in placed),
        role="pruned" if role == "pruned" else "plain",
    )


def _mark_failures(table: SweepTable, position: Position) -> Series | None:
    """Mark failures at the worst value there is: they have none, and must not vanish."""
    failed = _place([row for row in table.rows if row.state in ("failed", "killed")], position)
    values = [value_of(table, row) for row in [*complete_rows(table), *pruned_rows(table)]]
    if not failed or not values:
        return None
    edge = min(values) if table.directions[0] == "maximize" else max(values)
    hover = tuple(describe_row(table, row) for row, _ in failed)
    xs = tuple(x for _, x in failed)
    return Series("failed (no value)", "markers", xs, (edge,) * len(xs), hover=hover, role="failed")


def _follow_best(
    table: SweepTable, complete: Sequence[tuple[SweepRow, float]], positions: Sequence[float]
) -> Series | None:
    placed = [(row, x) for row, x in complete if row.rank is not None]
    if not placed:
        return None
    xs, ys, best = [], [], value_of(table, placed[0][0])
    for row, x in placed:
        best = value_of(table, row) if is_better(table, value_of(table, row), best) else best
        xs.append(x)
        ys.append(best)
    if max(positions) > xs[-1]:
        xs.append(max(positions))
        ys.append(best)
    return Series("best so far", "step", tuple(xs), tuple(ys), role="best")
