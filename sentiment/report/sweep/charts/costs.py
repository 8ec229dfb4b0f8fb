"""What accuracy costs: the objective against size, training time and latency, with the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence

from sentiment.config.objective import COSTS
from sentiment.format import name_metric
from sentiment.report.draw.chart import Axis, Chart, Panel, Role, Series
from sentiment.report.sweep.charts.axes import (
    complete_rows,
    make_value_axis,
    mark_rows,
    split_by_model,
    value_of,
    write_metric,
)
from sentiment.report.sweep.collect import note_machines
from sentiment.report.sweep.table import SweepRow, SweepTable
from sentiment.report.sweep.tables import find_cost_front

WIDE = 10.0
"""Ratio of the largest to the smallest cost from which its axis is logarithmic."""


def make_fronts(table: SweepTable) -> Chart | None:
    """Show the objective against each cost, one panel per cost."""
    # A trial that shares another's result cost nothing itself and would only hide it.
    shown = [row for row in complete_rows(table) if row.rank is not None and row.reused_from is None]
    panels = {cost: panel for cost in COSTS if (panel := _draw_front(table, shown, cost)) is not None}
    if not panels:
        return None
    machines = note_machines([run for row in shown for run in row.runs], panels)
    return Chart(
        name="pareto_fronts",
        title=f"What {name_metric(table.objectives[0])} costs",
        caption="On the line lie the trials that nothing beats on both counts (the Pareto front): of all others some "
        "trial is at least as good and costs no more. Where the line is flat, the extra cost buys next to nothing."
        + "".join(f" {note}" for note in machines),
        panels=tuple(panels.values()),
        columns=min(3, len(panels)),
    )


def _draw_front(table: SweepTable, shown: Sequence[SweepRow], cost: str) -> Panel | None:
    on_front = find_cost_front(table, shown, cost)
    rows = [row for row in shown if row.number in on_front]
    costs = [row.metrics[cost] for row in rows]
    if cost == table.objectives[0] or len(set(costs)) < 2:
        return None

    def mark(name: str, part: list[SweepRow], role: Role) -> Series:
        x = [row.metrics[cost] for row in part]
        return mark_rows(table, name, part, x, role, further=lambda row: write_metric(cost, row.metrics[cost]))

    front = sorted((row for row in rows if on_front[row.number]), key=lambda row: (row.metrics[cost], row.number))
    beaten = split_by_model([row for row in rows if not on_front[row.number]], "")
    line = Series(
        name="Pareto front",
        kind="step",
        x=(*(row.metrics[cost] for row in front), max(costs)),
        y=(*(value_of(table, row) for row in front), value_of(table, front[-1])),
        role="reference",
    )
    return Panel(
        x=Axis(name_metric(cost), is_log=max(costs) / min(costs) >= WIDE),
        y=make_value_axis(table.objectives[0]),
        series=(
            *(mark(f"{name}, beaten by another".removeprefix(", "), part, "faint") for name, part in beaten),
            line,
            *(mark(name, part, "plain") for name, part in split_by_model(front, "on the front")),
        ),
    )
