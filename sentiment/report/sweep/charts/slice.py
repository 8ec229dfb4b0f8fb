"""The objective against each varied parameter alone."""

from __future__ import annotations

from sentiment.format import shorten_keys
from sentiment.report.draw.chart import Chart, Panel, Series
from sentiment.report.sweep.charts.labels import describe_row, make_value_axis
from sentiment.report.sweep.charts.scale import Scale, make_scale
from sentiment.report.sweep.charts.selection import complete_rows, pruned_rows, split_by_model, value_of
from sentiment.report.sweep.table import SweepRow, SweepTable


def make_slices(table: SweepTable) -> Chart | None:
    """Show the objective of every trial against each parameter, one panel per parameter."""
    panels = [panel for key in table.varied if (panel := _make_panel(table, key)) is not None]
    if not panels:
        return None
    return Chart(
        name="slices",
        title="Each parameter alone",
        caption="Each point is a trial, placed by one of its settings; all its other settings differ too, so look for "
        "where good and bad trials gather rather than at single points. Points of one value are spread sideways so "
        "that they do not hide each other.",
        panels=tuple(panels),
        columns=2,
    )


def _make_panel(table: SweepTable, key: str) -> Panel | None:
    complete = [row for row in complete_rows(table) if key in row.parameters]
    pruned = [row for row in pruned_rows(table) if key in row.parameters]
    if len({row.parameters[key] for row in [*complete, *pruned]}) < 2:
        return None
    scale = make_scale(table, [*complete, *pruned], key, shorten_keys(table.varied)[key])
    series = [_mark(table, scale, "pruned", pruned, "pruned")] if pruned else []
    best = [row for row in complete if row.rank == 1]
    others = [row for row in complete if row.rank != 1]
    groups = [("complete", others)] if key == "model" else split_by_model(others, "complete")
    series += [_mark(table, scale, name, rows, "plain") for name, rows in groups if rows]
    series += [_mark(table, scale, "best", best, "best")] if best else []
    return Panel(scale.axis, make_value_axis(table.objectives[0]), tuple(series))


def _mark(table: SweepTable, scale: Scale, name: str, rows: list[SweepRow], role: str) -> Series:
    return Series(
        name=name,
        kind="markers",
        x=tuple(scale.place(row) for row in rows),
        y=tuple(value_of(table, row) for row in rows),
        hover=tuple(describe_row(table, row) for row in rows),
        role="pruned" if role == "pruned" else "best" if role == "best" else "plain",
    )
