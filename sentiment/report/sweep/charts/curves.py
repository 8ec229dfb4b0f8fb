"""What the trials looked like while they trained."""

from __future__ import annotations

from collections.abc import Sequence

from sentiment.format import format_metric, format_number
from sentiment.report.draw.chart import Axis, Chart, Panel, Role, Series
from sentiment.report.sweep.charts.labels import describe_row, make_value_axis
from sentiment.report.sweep.table import SweepRow, SweepTable

MOST_CURVES = 40
"""More curves hide each other; these are taken evenly from best to worst."""

NAMED_CURVES = 7
"""Up to this many complete runs each get a colour and a name of their own: a small grid is a comparison of runs."""

ROLES: dict[str, Role] = {"pruned": "pruned", "failed": "failed", "killed": "failed"}


def make_curves(table: SweepTable) -> Chart | None:
    """Draw the validations of the first objective against epochs."""
    rows = [row for row in table.rows if row.curve and row.reused_from is None]
    if not rows:
        return None
    shown = _thin(rows)
    complete = [row for row in rows if row.state == "complete"]
    are_named = len(complete) <= NAMED_CURVES
    curves = [_draw_curve(table, row, are_named) for row in reversed(shown)]  # the best is drawn last, on top
    ends = [_mark_ends(table, [row for row in shown if _role(row) == role], role) for role in ("pruned", "failed")]
    part = (
        f" {len(shown)} of {len(rows)} trials are shown, evenly from best to worst." if len(shown) < len(rows) else ""
    )
    return Chart(
        name="learning_curves",
        title="Learning curves",
        caption="The objective at every validation. A curve that still rises at its end would gain from more epochs; "
        "one that turns has begun to learn its training reviews by heart. Pruned trials end where the search stopped "
        f"them: ask whether any of them would have caught up.{part}",
        panels=(
            Panel(
                Axis("epoch"),
                make_value_axis(table.objectives[0]),
                (*(end for end in ends if end is not None), *curves),
            ),
        ),
    )


def _thin(rows: Sequence[SweepRow]) -> list[SweepRow]:
    if len(rows) <= MOST_CURVES:
        return list(rows)
    step = (len(rows) - 1) / (MOST_CURVES - 1)
    return [rows[round(place * step)] for place in range(MOST_CURVES)]


def _role(row: SweepRow) -> Role:
    return ROLES.get(row.state, "faint")


def _mark_ends(table: SweepTable, rows: Sequence[SweepRow], role: Role) -> Series | None:
    """Mark where trials were stopped: along the curve itself marks would only hide it."""
    if not rows:
        return None
    return Series(
        name="pruned here" if role == "pruned" else "failed or killed here",
        kind="markers",
        x=tuple(row.curve[-1].epoch for row in rows),
        y=tuple(row.curve[-1].value for row in rows),
        hover=tuple(describe_row(table, row) for row in rows),
        role=role,
    )


def _draw_curve(table: SweepTable, row: SweepRow, are_named: bool) -> Series:
    role, metric = _role(row), table.objectives[0]
    name: str = row.state if role == "faint" else ""
    if row.rank == 1:
        role, name = "best", f"best: {row.label}"
    elif row.rank is not None and are_named:
        role, name = "plain", row.label
    return Series(
        name=name,
        kind="line+markers" if role in ("best", "plain") else "line",
        x=tuple(point.epoch for point in row.curve),
        y=tuple(point.value for point in row.curve),
        hover=tuple(
            describe_row(table, row, f"epoch {format_number(point.epoch)}: {format_metric(metric, point.value)}")
            for point in row.curve
        ),
        role=role,
    )
