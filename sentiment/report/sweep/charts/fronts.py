"""What accuracy costs: the objective against size, training time and latency, with the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sentiment.format import name_metric
from sentiment.report.draw.chart import Axis, Chart, Panel, Series
from sentiment.report.sweep.charts.labels import describe_row, make_value_axis, write_metric
from sentiment.report.sweep.charts.selection import complete_rows, split_by_model, value_of
from sentiment.report.sweep.table import SweepRow, SweepTable
from sentiment.report.sweep.tables import COSTS, find_cost_front

WIDE = 10.0
"""Ratio of the largest to the smallest cost from which its axis is logarithmic."""


def make_fronts(table: SweepTable) -> Chart | None:
    """Show the objective against each cost, one panel per cost."""
    panels = [panel for cost in COSTS if (panel := _make_panel(table, cost)) is not None]
    if not panels:
        return None
    return Chart(
        name="pareto_fronts",
        title=f"What {name_metric(table.objectives[0])} costs",
        caption="On the line lie the trials that nothing beats on both counts (the Pareto front): of all others some "
        "trial is at least as good and costs no more. Where the line is flat, the extra cost buys next to nothing.",
        panels=tuple(panels),
        columns=min(3, len(panels)),
    )


def _make_panel(table: SweepTable, cost: str) -> Panel | None:
    # A trial that shares another's result cost nothing itself and would only hide it.
    shown = [row for row in complete_rows(table) if row.rank is not None and row.reused_from is None]
    rows = [row for row in shown if _is_positive(row.metrics.get(cost))]
    costs = [row.metrics[cost] for row in rows]
    if cost == table.objectives[0] or len(set(costs)) < 2:
        return None
    on_front = find_cost_front(table, cost)
    front = sorted((row for row in rows if row.number in on_front), key=lambda row: (row.metrics[cost], row.number))
    beaten = [row for row in rows if row.number not in on_front]
    series = [_mark(table, name, part, cost, "faint") for name, part in _name_beaten(beaten)]
    line = Series(
        name="Pareto front",
        kind="step",
        x=(*(row.metrics[cost] for row in front), max(costs)),
        y=(*(value_of(table, row) for row in front), value_of(table, front[-1])),
        role="reference",
    )
    series += [line, *(_mark(table, name, part, cost, "plain") for name, part in split_by_model(front, "on the front"))]
    return Panel(
        x=Axis(name_metric(cost), is_log=max(costs) / min(costs) >= WIDE),
        y=make_value_axis(table.objectives[0]),
        series=tuple(series),
    )


def _name_beaten(rows: Sequence[SweepRow]) -> list[tuple[str, list[SweepRow]]]:
    groups = split_by_model(rows, "beaten by another")
    return groups if len(groups) == 1 else [(f"{name}, beaten by another", part) for name, part in groups]


def _mark(table: SweepTable, name: str, rows: Sequence[SweepRow], cost: str, role: str) -> Series:
    return Series(
        name=name,
        kind="markers",
        x=tuple(row.metrics[cost] for row in rows),
        y=tuple(value_of(table, row) for row in rows),
        hover=tuple(describe_row(table, row, write_metric(cost, row.metrics[cost])) for row in rows),
        role="faint" if role == "faint" else "plain",
    )


def _is_positive(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value > 0
