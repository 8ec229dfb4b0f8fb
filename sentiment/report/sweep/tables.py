"""The tables of a sweep's report, as the page shows them and as CSV: cells in full, formatted only when shown."""

from __future__ import annotations

from collections.abc import Sequence

from sentiment.format import shorten_keys
from sentiment.report.draw.table import Cell, Column, DataTable
from sentiment.report.sweep.charts.fronts import find_front
from sentiment.report.sweep.ranking import KILLED_OUTRIGHT
from sentiment.report.sweep.table import SweepRow, SweepTable

COSTS = ("model/parameters", "time/fit_seconds", "time/latency_ms")
"""What a better value may cost, each a Pareto front of its own: less is better."""

UNSUCCESSFUL = ("failed", "killed")


def make_tables(table: SweepTable) -> list[DataTable]:
    """Make all tables; those without rows too, so that every report has the same files."""
    return [
        make_ranking(table), make_failures(table), make_trials(table), make_importance(table), make_pareto(table),
        make_learning_curves(table),
    ]  # fmt: skip


def make_ranking(table: SweepTable) -> DataTable:
    """Make the ranking: all trials, the best first, with everything that was varied and measured."""
    varied = [key for key in table.varied if key != "model"]
    metrics = order_metrics(table)
    columns = [
        Column("rank", "rank", True), *(Column(name, name, True) for name in table.objectives),
        Column("model", "model"), *(_column_of(table, key) for key in varied), Column("status", "status"),
        *(Column(name, name, True) for name in metrics), Column("parameters", "parameters", True),
        Column("seconds", "seconds", True), Column("epochs", "epochs", True),
        Column("best_epoch", "best epoch", True), Column("job", "job", True), Column("run_id", "run"),
        Column("reason", "reason"),
    ]  # fmt: skip
    rows = [_rank_row(table, row, varied, metrics) for row in table.rows]
    best = frozenset(place for place, row in enumerate(table.rows) if row.rank == 1)
    return DataTable("ranking", "Ranking", tuple(columns), tuple(rows), best)


def order_metrics(table: SweepTable) -> list[str]:
    """Order the metrics beside the objectives: ``val/``, ``test/``, ``time/``, and what is left.

    The number of parameters is not among them: it has a column of its own.
    """
    found = dict.fromkeys(name for row in table.rows for name in row.metrics if name not in table.objectives)
    groups = [[name for name in found if name.startswith(start)] for start in ("val/", "test/", "time/")]
    known = [name for group in groups for name in group]
    return [*known, *(name for name in found if name not in known and name != "model/parameters")]


def _rank_row(table: SweepTable, row: SweepRow, varied: Sequence[str], metrics: Sequence[str]) -> tuple[Cell, ...]:
    record = row.record
    model = row.parameters.get("model")
    ends: tuple[Cell, ...] = (None,) * 4
    run: tuple[Cell, ...] = (row.number, None)
    if record is not None:
        model, ends = record.model, (record.parameters, record.seconds, record.epochs, record.best_epoch)
        run = (row.number if record.job_number is None else record.job_number, record.run_id)
    return (
        row.rank, *(_value(row, name) for name in table.objectives), model,
        *(row.parameters.get(key) for key in varied), state_in_capitals(row),
        *(_value(row, name) for name in metrics), *ends, *run, explain_row(row),
    )  # fmt: skip


def _value(row: SweepRow, metric: str) -> float | None:
    return row.values.get(metric, row.metrics.get(metric))


def state_in_capitals(row: SweepRow) -> str:
    """Give the state as a run's record writes it: FINISHED, PRUNED, FAILED, KILLED, RUNNING."""
    return "FINISHED" if row.state == "complete" else row.state.upper()


def explain_row(row: SweepRow) -> str | None:
    """Say why a trial has no rank, or whose result it shares."""
    if row.reason is not None:
        return row.reason
    if row.reused_from is not None:
        return f"equal to trial {row.reused_from}, whose result it shares"
    if row.state in UNSUCCESSFUL:
        return KILLED_OUTRIGHT
    return None


def make_trials(table: SweepTable) -> DataTable:
    """Make the trials in the order of their numbers: when each ran, and what became of it."""
    columns = [
        Column("trial", "trial", True), Column("state", "state"), Column("rank", "rank", True),
        Column("started_seconds", "started (s)", True), Column("ended_seconds", "ended (s)", True),
        *(_column_of(table, key) for key in table.varied),
        *(Column(name, name, True) for name in table.objectives), Column("reused_from", "result of trial", True),
    ]  # fmt: skip
    rows = [
        (
            row.number, row.state, row.rank, row.started_seconds, row.ended_seconds,
            *(row.parameters.get(key) for key in table.varied),
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
    columns = (
        Column("trial", "trial", True), Column("label", "settings"), Column("state", "state"),
        Column("epoch", "epoch", True), Column("value", _first_objective(table), True),
    )  # fmt: skip
    rows = [(row.number, row.label, row.state, point.epoch, point.value) for row in table.rows for point in row.curve]
    return DataTable("learning_curves", "Learning curves", columns, tuple(rows))


def make_pareto(table: SweepTable) -> DataTable:
    """Make the complete trials with what they cost, and whether any other is better at no greater cost."""
    rows = [row for row in table.rows if row.rank is not None]
    costs = [name for name in COSTS if any(name in row.metrics for row in rows)]
    fronts = {name: find_front_numbers(table, rows, name) for name in costs}
    columns = [Column("trial", "trial", True), Column("label", "settings")]
    columns += [Column(_first_objective(table), _first_objective(table), True)]
    for name in costs:
        columns += [Column(name, name, True), Column(f"on_front_{name}", "on its front")]
    cells = [
        (
            row.number, row.label, _first_value(table, row),
            *(cell for name in costs for cell in (row.metrics.get(name), row.number in fronts[name])),
        )
        for row in rows
    ]  # fmt: skip
    return DataTable("pareto", "Quality against cost", tuple(columns), tuple(cells))


def find_front_numbers(table: SweepTable, rows: Sequence[SweepRow], cost: str) -> set[int]:
    """Number the trials on the front; of several with equal value and cost all are, where a plot needs only one."""
    priced = [row for row in rows if cost in row.metrics and _first_value(table, row) is not None]
    front = {(row.metrics[cost], _first_value(table, row)) for row in find_front(table, priced, cost)}
    return {row.number for row in priced if (row.metrics[cost], _first_value(table, row)) in front}


def make_failures(table: SweepTable) -> DataTable:
    """Make the trials that failed or were killed, with their reasons."""
    columns = (
        Column("trial", "trial", True), Column("state", "state"), Column("reason", "reason"),
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
    return Column(key, shorten_keys(table.varied)[key], bool(values) and not any(isinstance(v, str) for v in values))


def _first_objective(table: SweepTable) -> str:
    return table.objectives[0] if table.objectives else "value"


def _first_value(table: SweepTable, row: SweepRow) -> float | None:
    return row.values.get(_first_objective(table))
