"""The tables of a sweep's report, as the page shows them and as CSV: cells in full, formatted only when shown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sentiment.config.objective import COSTS
from sentiment.format import is_share, join_names, shorten_keys
from sentiment.report.draw.table import Cell, Column, DataTable
from sentiment.report.sweep.rows import KILLED_OUTRIGHT
from sentiment.report.sweep.table import SweepRow, SweepTable, choose_followed
from sentiment.search.study.ranking import find_front

UNSUCCESSFUL = ("failed", "killed")

TRIAL = Column("trial", "trial", True, "setting")


def make_tables(table: SweepTable) -> list[DataTable]:
    """Make all tables; those without rows too, so that every report has the same files."""
    return [
        make_ranking(table), make_failures(table), make_trials(table), make_importance(table), make_pareto(table),
        make_learning_curves(table),
    ]  # fmt: skip


def make_ranking(table: SweepTable) -> DataTable:
    """Make the ranking: all trials, the best first, with everything that was varied and measured.

    A study's rows have the trial's number, and where there are several objectives, whether it is on their front.
    """
    varied = [key for key in table.varied if key != "model"]
    metrics = order_metrics(table, "model/parameters")
    columns = [
        Column("rank", "rank", True), *_front_column(table), *_trial_column(table),
        *(Column(name, name, True) for name in table.objectives),
        *(Column(f"bound of {name}", f"bound of {name}", True) for name in table.bounded),
        Column("model", "model"), *(_column_of(table, key) for key in varied), Column("status", "status"),
        *(Column(name, name, True) for name in metrics), Column("parameters", "parameters", True),
        Column("seconds", "seconds", True), Column("epochs", "epochs", True),
        Column("best_epoch", "best epoch", True), Column("job", "job", True, "setting"), Column("run_id", "run"),
        Column("reason", "reason"),
    ]  # fmt: skip
    rows = [_rank_row(table, row, varied, metrics) for row in table.rows]
    marked = frozenset(position for position, row in enumerate(table.rows) if row.on_front)
    return DataTable("ranking", "Ranking", tuple(columns), tuple(rows), marked)


def make_front(table: SweepTable) -> DataTable:
    """Make the trials that no other beats in every objective, with their settings; the first objective orders them."""
    columns = [TRIAL, *(Column(name, name, True) for name in table.objectives)]
    rows = [
        (row.number, *map(row.value_of, table.objectives), *map(row.parameters.get, table.varied))
        for row in table.front
    ]  # fmt: skip
    return DataTable("front", "The front", (*columns, *(_column_of(table, key) for key in table.varied)), tuple(rows))


def _front_column(table: SweepTable) -> list[Column]:
    return [Column("front", "front")] if len(table.objectives) > 1 else []


def _trial_column(table: SweepTable) -> list[Column]:
    return [TRIAL] if table.is_study else []


def order_metrics(table: SweepTable, *others: str) -> list[str]:
    """Order the metrics beside the objectives and `others`: ``val/``, ``test/``, ``time/``, and what is left."""
    left_out = {*table.objectives, *others}
    found = dict.fromkeys(name for row in table.rows for name in row.metrics if name not in left_out)
    groups = [[name for name in found if name.startswith(start)] for start in ("val/", "test/", "time/")]
    known = [name for group in groups for name in group]
    return [*known, *(name for name in found if name not in known)]


def _rank_row(table: SweepTable, row: SweepRow, varied: Sequence[str], metrics: Sequence[str]) -> tuple[Cell, ...]:
    record = row.record
    ends: tuple[Cell, ...] = (None,) * 4
    if record is not None:
        seconds = row.metrics.get("time/fit_seconds", record.seconds)  # over its repeats
        ends = (record.parameters, seconds, record.epochs, record.best_epoch)
    return (
        row.rank, *(row.on_front for _ in _front_column(table)), *(row.number for _ in _trial_column(table)),
        *(row.value_of(name) for name in table.objectives), *map(row.bound_of, table.bounded),
        row.model or None,
        *(row.parameters.get(key) for key in varied), state_in_capitals(row),
        *(row.value_of(name) for name in metrics), *ends, table.job_of(row),
        None if record is None else record.run_id, explain_row(row),
    )  # fmt: skip


def state_in_capitals(row: SweepRow) -> str:
    """Return the state as a run's record writes it: FINISHED, PRUNED, FAILED, KILLED, RUNNING."""
    return "FINISHED" if row.state == "complete" else row.state.upper()


def explain_row(row: SweepRow) -> str | None:
    """Say why a trial has no rank, whose result it shares, or which one it is a copy of."""
    origin = None if row.origin is None else f"a copy, went on from a checkpoint of trial {row.origin}"
    return "; ".join(filter(None, [_explain(row), origin])) or None


def _explain(row: SweepRow) -> str | None:
    if row.reason is not None:
        return row.reason
    if row.is_try:
        return "a try (debug), which nothing ranks"
    if row.reused_from is not None:
        return f"equal to trial {row.reused_from}, whose result it shares"
    if others := [str(job) for job in row.jobs if job // len(row.jobs) != row.number]:
        return f"has the results of the equal jobs {join_names(others)}"
    if row.adopted_from is not None:
        return f"equal to {row.adopted_from} of another study, whose result it has"
    if row.state in UNSUCCESSFUL:
        return KILLED_OUTRIGHT
    return None


def make_trials(table: SweepTable) -> DataTable:
    """Make the trials in the order of their numbers: when each ran, and what became of it."""
    columns = [
        TRIAL, Column("state", "state"), Column("rank", "rank", True), *_front_column(table),
        Column("started_seconds", "started (s)", True), Column("ended_seconds", "ended (s)", True),
        *(_column_of(table, key) for key in table.varied),
        *(Column(name, name, True) for name in table.objectives),
        Column("reused_from", "result of trial", True, "setting"),
    ]  # fmt: skip
    rows = [
        (
            row.number, row.state, row.rank, *(row.on_front for _ in _front_column(table)), row.started_seconds,
            row.ended_seconds, *(row.parameters.get(key) for key in table.varied),
            *(row.values.get(name) for name in table.objectives), row.reused_from,
        )
        for row in sorted(table.rows, key=lambda row: row.number)
    ]  # fmt: skip
    return DataTable("trials", "All trials in order", tuple(columns), tuple(rows))


def make_importance(table: SweepTable) -> DataTable:
    """Make the importance of each varied parameter, with the 90 % interval over resampled trials."""
    columns = (
        Column("parameter", "parameter"), Column("group", "among"), Column("mean", "share of the variation", True),
        Column("low", "90 % interval from", True), Column("high", "to", True),
    )  # fmt: skip
    rows = [(item.parameter, item.group or "all trials", item.mean, item.low, item.high) for item in table.importances]
    return DataTable("importance", "Parameter importance", columns, tuple(rows))


def make_learning_curves(table: SweepTable) -> DataTable:
    """Make every validation of every trial."""
    followed = choose_followed(table.objectives)
    columns = (
        TRIAL, Column("label", "settings"), Column("state", "state"),
        Column("epoch", "epoch", True), Column("value", followed, True, "percent" if is_share(followed) else None),
    )  # fmt: skip
    rows = [(row.number, row.label, row.state, point.epoch, point.value) for row in table.rows for point in row.curve]
    return DataTable("learning_curves", "Learning curves", columns, tuple(rows))


def make_pareto(table: SweepTable) -> DataTable:
    """Make the ranked trials with what they cost, and whether any other is better at no greater cost."""
    costs = [name for name in COSTS if any(name in row.metrics for row in table.ranked)]
    fronts = {name: find_cost_front(table, table.ranked, name) for name in costs}
    columns = [TRIAL, Column("label", "settings")]
    columns += [Column(table.objectives[0], table.objectives[0], True)]
    for name in costs:
        columns += [Column(name, name, True), Column(f"on_front_{name}", "on its front")]
    cells = [
        (
            row.number, row.label, row.values.get(table.objectives[0]),
            *(cell for name in costs for cell in (row.metrics.get(name), fronts[name].get(row.number))),
        )
        for row in table.ranked
    ]  # fmt: skip
    return DataTable("pareto", "Quality against cost", tuple(columns), tuple(cells))


def find_cost_front(table: SweepTable, rows: Sequence[SweepRow], cost: str) -> dict[int, bool]:
    """Tell of ranked trials, by their numbers, whether no other beats them in both the first objective and a cost.

    What cost nothing, or has no finite number, is missing: it has no place beside the others, and beats none of them.
    """
    sign = -1.0 if table.directions[0] == "maximize" else 1.0
    points: dict[int, tuple[float, ...]] = {
        row.number: (spent, sign * value)
        for row in rows
        if 0 < (spent := row.metrics.get(cost, math.nan)) < math.inf
        and math.isfinite(value := row.values[table.objectives[0]])
    }
    front = find_front(points)
    return {number: number in front for number in points}


def make_failures(table: SweepTable) -> DataTable:
    """Make the trials that failed or were killed, with their reasons."""
    columns = (
        TRIAL, Column("state", "state"), Column("reason", "reason"),
        Column("kind", "kind"), Column("label", "settings"),
    )  # fmt: skip
    rows = [
        (row.number, row.state, explain_row(row), row.record.kind if row.record is not None else None, row.label)
        for row in sorted(table.rows, key=lambda row: row.number)
        if row.state in UNSUCCESSFUL
    ]
    return DataTable("failures", "Failed trials", columns, tuple(rows))


def _column_of(table: SweepTable, key: str) -> Column:
    values = [row.parameters[key] for row in table.rows if key in row.parameters]
    is_number = bool(values) and not any(isinstance(value, str) for value in values)
    return Column(key, shorten_keys(table.varied)[key], is_number, "setting")
