"""The trials side by side, in the order in which they ran, while they trained, and by what they cost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import partial
from statistics import mean

from sentiment.config.objective import COSTS, SELECTING
from sentiment.format import (
    format_count,
    format_metric,
    format_number,
    format_setting,
    name_metric,
    shorten_keys,
    tell_apart,
)
from sentiment.report.draw.chart import Axis, Chart, Panel, Role, Series
from sentiment.report.statistics import wilson_interval
from sentiment.report.sweep.charts.axes import (
    complete_rows,
    describe_row,
    list_models,
    make_value_axis,
    mark_rows,
    name_states,
    pruned_rows,
    split_by_model,
    value_of,
    write_metric,
)
from sentiment.report.sweep.collect import note_machines
from sentiment.report.sweep.table import SweepRow, SweepTable, choose_followed
from sentiment.report.sweep.tables import find_cost_front

MOST_RUNS = 12

SEED = "seed"

LONG_SECONDS = 3 * 3600
"""Sweeps longer than this are shown in hours."""

MOST_CURVES = 40
"""More curves hide each other; these are taken evenly from the table."""

MOST_FOLDED = 500
"""So many curves are on the page, to be shown when a row of the ranking asks for its own."""

NAMED_CURVES = 7
"""Up to this many complete runs each get a colour and a name of their own: a small grid is a comparison of runs."""

ROLES: dict[str, Role] = {"pruned": "pruned", "paused": "pruned", "failed": "failed", "killed": "failed"}

WIDE_COST = 10.0
"""Ratio of the largest to the smallest cost from which its axis is logarithmic."""


def make_runs(table: SweepTable) -> Chart | None:
    """Show the best runs by the first objective; one on validation, where they were tested, on the test split too.

    Runs that differ in their seed alone share a line.
    """
    rows = [row for row in complete_rows(table) if row.reused_from is None]  # who shares a result is no further run
    if not rows:
        return None
    groups, again = group_by_settings(table, rows)
    objective = table.objectives[0]
    on_validation = objective.startswith(SELECTING)
    measure = objective.removeprefix(SELECTING)
    test = f"test/{measure}"
    by_seed = any(len(group) > 1 for _, group in groups)
    shown = groups[:MOST_RUNS]
    is_tested = on_validation and any(test in row.metrics for _, group in shown for row in group)
    marks = [_mark_runs(table, shown, metric, by_seed) for metric in (objective, *([test] if is_tested else []))]
    # The wide marks of the means lie under the points: equal seeds stand where their mean does.
    means = [_mark_means(shown, objective)] if by_seed else []
    are_best = len(shown) < len(groups) and not any(row.excess for _, group in shown for row in group)
    return Chart(
        name="runs",
        title="The best runs" if are_best else "The runs",
        caption=_write_caption(on_validation, by_seed, marks[-1].low is not None, len(shown), len(groups), again),
        panels=(
            Panel(
                make_value_axis(measure if is_tested else objective),
                Axis("", categories=tuple(name for name, _ in shown)),
                (*means, *marks),
            ),
        ),
    )


def group_by_settings(table: SweepTable, rows: Sequence[SweepRow]) -> tuple[list[tuple[str, list[SweepRow]]], int]:
    """Group runs that differ in nothing but their seed; each group with a name of its own.

    The best mean comes first, and groups that break a limit of their study come last, as in every table.

    Returns:
        The groups, and how many runs are left out because an earlier one of their group has the same seed.
    """
    groups: dict[Hashable, dict[Hashable, SweepRow]] = {}
    for row in sorted(rows, key=lambda row: row.number):
        told = frozenset((key, value) for key, value in row.parameters.items() if key != SEED)
        seed = row.parameters.get(SEED, row.number)  # equal settings drawn twice stay two trials
        own = row.number if SEED not in row.parameters else None
        groups.setdefault((own, row.model, bool(row.excess), row.origin, told), {}).setdefault(seed, row)
    sign = -1.0 if table.directions[0] == "maximize" else 1.0

    def order(group: Sequence[SweepRow]) -> tuple[bool, float, int]:
        return (
            bool(group[0].excess),
            sign * mean(row.scores[table.objectives[0]] for row in group),
            min(row.number for row in group),
        )

    ordered = sorted((list(group.values()) for group in groups.values()), key=order)
    several_models = len({row.model for row in rows}) > 1
    name = partial(_name_group, table, several_models)
    names = tell_apart([group[0] for group in ordered], partial(name, format_setting), partial(name, str))
    return list(zip(names, ordered, strict=True)), len(rows) - sum(map(len, ordered))


def _name_group(table: SweepTable, several_models: bool, write: Callable[[object], str], row: SweepRow) -> str:
    names = shorten_keys(table.varied)
    shown = {key: value for key, value in row.parameters.items() if key not in (SEED, "model")}
    settings = [f"{names[key]}={write(value)}" for key, value in shown.items()]
    name = " ".join([row.model, *settings] if several_models or not settings else settings)
    told = (" (over a limit)" if row.excess else "") + (f" (a copy of {row.origin})" if row.is_copy else "")
    return (f"{name}{told}" if SEED in row.parameters else f"{row.number}{told}: {name}").strip()


def _mark_runs(table: SweepTable, groups: Sequence[tuple[str, list[SweepRow]]], metric: str, by_seed: bool) -> Series:
    points = [(name, row, row.value_of(metric)) for name, group in groups for row in group]
    measured = [(name, row, value) for name, row, value in points if value is not None]
    is_share = metric == "test/accuracy" and not by_seed  # of other metrics nobody has counted what was right
    ends = [_interval(row, value) if is_share else (math.nan, math.nan) for _, row, value in measured]
    has_intervals = any(math.isfinite(low) for low, _ in ends)
    return Series(
        name=name_metric(metric) + (", each seed" if by_seed else ""),
        kind="markers",
        x=tuple(value for _, _, value in measured),
        y=tuple(name for name, _, _ in measured),
        low=tuple(low for low, _ in ends) if has_intervals else None,
        high=tuple(high for _, high in ends) if has_intervals else None,
        hover=tuple(describe_row(table, row, write_metric(metric, value)) for _, row, value in measured),
        trials=tuple(row.number for _, row, _ in measured),
    )


def _interval(row: SweepRow, accuracy: float) -> tuple[float, float]:
    """Return the interval of a test accuracy; NaN where nobody knows of how many reviews, or it is a mean."""
    reviews = row.runs[0].test_reviews if len(row.runs) == 1 else None
    return wilson_interval(accuracy, reviews) if reviews else (math.nan, math.nan)


def _mark_means(groups: Sequence[tuple[str, list[SweepRow]]], metric: str) -> Series:
    values = [[row.values[metric] for row in group] for _, group in groups]
    means = list(map(mean, values))
    return Series(
        name="mean over seeds, lowest to highest",
        kind="markers",
        x=tuple(means),
        y=tuple(name for name, _ in groups),
        low=tuple(map(min, values)),
        high=tuple(map(max, values)),
        hover=tuple(
            f"{name}\n{write_metric(metric, value)}, mean of {format_count(len(group), 'run')}"
            for (name, group), value in zip(groups, means, strict=True)
        ),
        role="best",
    )


def _write_caption(on_validation: bool, by_seed: bool, has_intervals: bool, shown: int, total: int, again: int) -> str:
    ranked = f"Ranked by the objective{' on validation' if on_validation else ''}; the test split ranks nothing."
    if by_seed:
        told = " Runs that differ in their seed alone share a line: how far they lie apart is what chance alone does."
        told += f" A seed counts once, by its first run: {again} more trained it again." if again else ""
    elif has_intervals:
        told = " The line through a test accuracy is its 95 % interval (Wilson), for the reviews it was counted on."
    elif on_validation:
        told = " A small lead on validation may be chance: train the leaders with other seeds before you choose."
    else:
        told = ""
    return ranked + told + (f" The first {shown} of {total} are shown." if shown < total else "")


def make_history(table: SweepTable) -> Chart | None:
    """Show every trial's value in order, and the best so far: over the trials, and over wall time."""
    if not complete_rows(table) and not pruned_rows(table):
        return None
    longest = max((row.ended_seconds or 0.0 for row in table.rows), default=0.0)
    unit, seconds = ("hours", 3600.0) if longest > LONG_SECONDS else ("minutes", 60.0)

    def end(row: SweepRow) -> float | None:
        if row.started_seconds is None:
            return None
        moments = (row.measured_seconds, row.ended_seconds, row.started_seconds)
        return next(moment for moment in moments if moment is not None) / seconds

    by_number = _follow_search(table, Axis("trial", is_whole=True), lambda row: float(row.number))
    by_time = _follow_search(table, Axis(f"{unit} since the start"), end)
    has_times = any(series.x for series in by_time.series)
    limits = " that keeps every limit" if any(row.excess for row in table.rows) else ""
    return Chart(
        name="optimisation_history",
        title="Optimisation history",
        caption=f"Each point is a trial; the line is the best complete trial so far{limits}. Where the line has been "
        "flat for long, more trials of the same kind promise little. Pruned trials stand at their best validation "
        "before they were stopped; failed ones have no value and stand at the edge.",
        panels=(by_number, by_time) if has_times else (by_number,),
        columns=2,
    )


def _follow_search(table: SweepTable, axis: Axis, position: Callable[[SweepRow], float | None]) -> Panel:
    positions = {row.number: x for row in table.rows if (x := position(row)) is not None}

    def order(rows: Sequence[SweepRow]) -> list[SweepRow]:
        known = [row for row in rows if row.number in positions]
        return sorted(known, key=lambda row: (positions[row.number], row.number))

    def mark(name: str, rows: Sequence[SweepRow], role: Role, edge: float | None = None) -> list[Series]:
        y = None if edge is None else lambda row: edge
        return [mark_rows(table, name, rows, lambda row: positions[row.number], role, y=y)] if rows else []

    complete, pruned = order(complete_rows(table)), order(pruned_rows(table))
    series = [*mark(name_states(pruned), pruned, "pruned"), *mark("complete", complete, "plain")]
    values = [value_of(table, row) for row in [*complete_rows(table), *pruned_rows(table)]]
    # Failures stand at the worst value there is: they have none, and must not vanish.
    edge = min(values) if table.directions[0] == "maximize" else max(values)
    failed = order([row for row in table.rows if row.state in ("failed", "killed")])
    series += mark("failed (no value)", failed, "failed", edge)
    if ranked := [row for row in complete if row.rank is not None]:
        better = max if table.directions[0] == "maximize" else min
        best = itertools.accumulate(ranked, partial(better, key=lambda row: row.scores[table.objectives[0]]))
        steps = {row.number: row for row in best}
        xs, ys = [positions[number] for number in steps], [value_of(table, row) for row in steps.values()]
        last = max(positions[row.number] for row in [*complete, *pruned])
        if last > xs[-1]:
            xs, ys = [*xs, last], [*ys, ys[-1]]
        series.append(Series("best so far", "step", tuple(xs), tuple(ys), role="best"))
    return Panel(axis, make_value_axis(table.objectives[0]), tuple(series))


def make_curves(table: SweepTable) -> Chart | None:
    """Draw the validations of the first objective that is measured there against epochs."""
    rows = [row for row in table.rows if row.curve and row.reused_from is None]
    if not rows:
        return None
    step = max(1.0, (len(rows) - 1) / (MOST_CURVES - 1))
    shown = [rows[round(index * step)] for index in range(min(len(rows), MOST_CURVES))]
    numbers = {row.number for row in shown}
    folded = [row for row in rows[:MOST_FOLDED] if row.number not in numbers]
    are_named = sum(row.state == "complete" for row in rows) <= NAMED_CURVES
    ends = [_mark_ends(table, shown, role) for role in ("pruned", "failed")]
    repeats = f" Of a trial's {table.repeats} repeats the first is drawn." if table.repeats > 1 else ""
    part = f" {len(shown)} of {len(rows)} trials are shown, taken evenly from the ranking."
    return Chart(
        name="learning_curves",
        title="Learning curves",
        caption="The objective at every validation. A curve that still rises at its end would gain from more epochs; "
        "one that turns has begun to learn its training reviews by heart. Pruned trials end where the search stopped "
        f"them: ask whether any of them would have caught up.{repeats}{part if len(shown) < len(rows) else ''}",
        panels=(
            Panel(
                Axis("epoch", is_whole=True),
                make_value_axis(choose_followed(table.objectives)),
                # The best is drawn last, on top.
                (
                    *(replace(_draw_curve(table, row, False), name="", is_folded=True) for row in folded),
                    *(end for end in ends if end.x),
                    *(_draw_curve(table, row, are_named) for row in reversed(shown)),
                ),
            ),
        ),
    )


def _mark_ends(table: SweepTable, rows: Sequence[SweepRow], role: Role) -> Series:
    """Mark where trials were stopped: along the curve itself marks would only hide it."""
    stopped = [row for row in rows if ROLES.get(row.state) == role]
    name = f"{name_states(stopped)} here"
    return mark_rows(table, name, stopped, lambda row: row.curve[-1].epoch, role, y=lambda row: row.curve[-1].value)


def _draw_curve(table: SweepTable, row: SweepRow, are_named: bool) -> Series:
    metric = choose_followed(table.objectives)
    role = ROLES.get(row.state, "faint")
    name: str = row.state if role == "faint" else ""
    if row is table.best:
        role, name = "best", f"best, {row.number}: {row.label}"
    elif row.state == "running":
        role, name = "plain", f"{row.number}, running: {row.label}"
    elif row.rank is not None and are_named:
        role, name = "plain", f"{row.number}: {row.label}"
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
        trials=(row.number,) * len(row.curve),
    )


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
        models=list_models(table),
    )


def _draw_front(table: SweepTable, shown: Sequence[SweepRow], cost: str) -> Panel | None:
    def spend(row: SweepRow) -> float:
        return row.metrics[cost]

    on_front = find_cost_front(table, shown, cost)
    rows = [row for row in shown if row.number in on_front]
    costs = list(map(spend, rows))
    if cost == table.objectives[0] or len(set(costs)) < 2:
        return None

    def mark(name: str, part: list[SweepRow], role: Role) -> Series:
        return mark_rows(table, name, part, spend, role, further=lambda row: write_metric(cost, spend(row)))

    front = sorted((row for row in rows if on_front[row.number]), key=lambda row: (spend(row), row.number))
    beaten = split_by_model(table, [row for row in rows if not on_front[row.number]], "")
    line = Series(
        name="Pareto front",
        kind="step",
        x=(*map(spend, front), max(costs)),
        y=(*(value_of(table, row) for row in front), value_of(table, front[-1])),
        role="reference",
    )
    return Panel(
        x=Axis(name_metric(cost), is_log=max(costs) / min(costs) >= WIDE_COST),
        y=make_value_axis(table.objectives[0]),
        series=(
            *(mark(f"{name}, beaten by another".removeprefix(", "), part, "faint") for name, part in beaten),
            line,
            *(mark(name, part, "plain") for name, part in split_by_model(table, front, "on the front")),
        ),
    )
