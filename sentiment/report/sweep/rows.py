"""The rows of a sweep's table: one a trial or a job, from its record and from its study, then ranked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from sentiment.config.identity import is_incidental
from sentiment.config.objective import Direction
from sentiment.report.sweep.ranking import KILLED_OUTRIGHT, find_changed
from sentiment.report.sweep.table import CurvePoint, State, SweepRow
from sentiment.tracking.result_file import ResultRecord
from sentiment.tracking.run_name import shorten

if TYPE_CHECKING:
    from sentiment.search.study.history import StudyHistory, TrialHistory

STATES: dict[str, State] = {
    "FINISHED": "complete", "PRUNED": "pruned", "FAILED": "failed", "KILLED": "killed", "RUNNING": "killed",
}  # fmt: skip
"""Of a job without a study. Who only has a record that says RUNNING cannot tell a run from one that was killed
outright; its reason says so, and it must not vanish from the table of failures."""

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
WHOLE_NUMBER = re.compile(r"[+-]?\d+")


@dataclass(frozen=True)
class Aim:
    """What a sweep optimises.

    Attributes:
        objectives: Metrics; the first one ranks.
        directions: Which way is better, one an objective.
    """

    objectives: tuple[str, ...]
    directions: tuple[Direction, ...]


def read_job_rows(records: Sequence[ResultRecord], aim: Aim) -> tuple[list[SweepRow], tuple[str, ...]]:
    """Make the rows of a plain multirun, and the keys that vary in it.

    Settings that change nothing in a run (where it is recorded, how many threads it has) are left out.
    """
    starts = [_read_time(record.started) for record in records]
    origin = min(starts, default=0.0)
    rows = []
    several_models = len({record.model for record in records}) > 1
    for position, (record, changed, start) in enumerate(zip(records, find_changed(records), starts, strict=True)):
        kept = {key: text for key, text in changed.items() if key != "tracking" and not is_incidental(key)}
        model = {"model": record.model} if several_models else {}
        state = STATES[record.status]
        row = SweepRow(
            number=position if record.job_number is None else record.job_number,
            label=shorten(record.model, changed),
            state=state,
            rank=None,
            parameters={**model, **{key: read_value(text) for key, text in kept.items()}},
            values=_pick(record.metrics, aim),
            metrics=_read_metrics(record),
            curve=_read_curve(record, aim),
            started_seconds=start - origin,
            ended_seconds=None if record.seconds is None else start - origin + record.seconds,
            reason=KILLED_OUTRIGHT if record.status == "RUNNING" else record.reason,
            record=record,
        )
        rows.append(_insist_on_value(row, aim))
    return rows, tuple(dict.fromkeys(key for row in rows for key in row.parameters))


def make_study_rows(
    records: Sequence[ResultRecord], history: StudyHistory, aim: Aim
) -> tuple[list[SweepRow], tuple[str, ...]]:
    """Make a row of every trial of a study, whether it left a record or not, and list the searched keys."""
    by_job = {record.job_number: record for record in records}
    models = {record.model for record in records}
    only_model = next(iter(models)) if len(models) == 1 else ""
    origin = min((trial.started for trial in history.trials if trial.started is not None), default=0.0)
    own = aim.objectives == history.objectives or history.objectives is None
    described = {trial.number: trial.attributes for trial in history.trials}
    rows = []
    for trial in history.trials:
        source = trial.number if trial.reused_from is None else trial.reused_from
        record = by_job.get(source * history.repeats)  # the first of its repeats
        metrics = {**described.get(source, {}), **trial.attributes, **({} if record is None else _read_metrics(record))}
        values = dict(zip(aim.objectives, trial.values, strict=True)) if own and trial.values else _pick(metrics, aim)
        if trial.state == "pruned" and not values and own:
            values = _best_intermediate(trial, aim)
        model = only_model if record is None else record.model
        row = SweepRow(
            number=trial.number,
            label=_label(trial, model),
            state=trial.state,
            rank=None,
            parameters=trial.parameters,
            values=values if trial.state in ("complete", "pruned") else {},
            metrics=metrics,
            curve=() if record is None else _read_curve(record, aim),
            started_seconds=None if trial.started is None else trial.started - origin,
            ended_seconds=None if trial.ended is None else trial.ended - origin,
            reason=_explain(trial),
            reused_from=trial.reused_from,
            record=record,
        )
        rows.append(_insist_on_value(row, aim))
    return rows, tuple(dict.fromkeys(key for row in rows for key in row.parameters))


def rank_rows(rows: Sequence[SweepRow], aim: Aim) -> list[SweepRow]:
    """Rank by the first objective: complete trials, then pruned ones, then the others by number.

    Trials that break a limit come after all that keep them, as the study's own choice of the best does; equal ones
    keep the order of their numbers; an objective that is no number comes last.
    """
    sign = -1.0 if aim.directions[0] == "maximize" else 1.0

    def place(row: SweepRow) -> tuple[bool, float, int]:
        value = sign * row.values.get(aim.objectives[0], math.nan)
        breaks_limit = row.state == "complete" and row.reason is not None
        return breaks_limit, math.inf if math.isnan(value) else value, row.number

    complete = sorted((row for row in rows if row.state == "complete"), key=place)
    ranked = [replace(row, rank=number) for number, row in enumerate(complete, start=1)]
    pruned = sorted((row for row in rows if row.state == "pruned"), key=place)
    rest = sorted((row for row in rows if row.state not in ("complete", "pruned")), key=lambda row: row.number)
    return [*ranked, *pruned, *rest]


def read_value(text: str) -> float | str:
    """Read a setting as it was typed: a number where it is one, else text."""
    if WHOLE_NUMBER.fullmatch(text):
        return int(text)
    return float(text) if NUMBER.fullmatch(text) else text


def _insist_on_value(row: SweepRow, aim: Aim) -> SweepRow:
    """Let a finished run without the objective stand among the failures, which the ranking does too."""
    if row.state == "complete" and not row.values:
        return replace(row, state="failed", reason=row.reason or f"it ended without a value of {aim.objectives[0]}")
    return row


def _label(trial: TrialHistory, model: str) -> str:
    told = {key: str(value) for key, value in trial.parameters.items()}
    return shorten(model or told.get("model", ""), told).strip() or f"trial {trial.number}"


def _explain(trial: TrialHistory) -> str | None:
    if trial.state == "complete" and trial.excess:
        return "breaks a limit: " + ", ".join(f"{name} by {excess:g}" for name, excess in trial.excess.items())
    return trial.reason


def _pick(metrics: Mapping[str, float], aim: Aim) -> dict[str, float]:
    """Give the objectives that a run has, in order; none where it lacks the one that ranks."""
    if aim.objectives[0] not in metrics:
        return {}
    return {name: metrics[name] for name in aim.objectives if name in metrics}


def _read_metrics(record: ResultRecord) -> dict[str, float]:
    costs: dict[str, float] = {}
    if record.parameters is not None:
        costs["model/parameters"] = float(record.parameters)
    if record.seconds is not None:
        costs["time/fit_seconds"] = record.seconds
    return {**record.metrics, **costs}


def _read_curve(record: ResultRecord, aim: Aim) -> tuple[CurvePoint, ...]:
    name = aim.objectives[0]
    return tuple(CurvePoint(point["epoch"], point[name]) for point in record.history if name in point)


def _best_intermediate(trial: TrialHistory, aim: Aim) -> dict[str, float]:
    if not trial.intermediate:
        return {}
    choose = max if aim.directions[0] == "maximize" else min
    return {aim.objectives[0]: choose(trial.intermediate.values())}


def _read_time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
