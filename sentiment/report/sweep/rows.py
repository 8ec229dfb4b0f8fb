"""The rows of a sweep's table: one per trial or job, from its record and from its study, then ranked."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from statistics import fmean, mean
from typing import TYPE_CHECKING

from sentiment.config.identity import is_incidental
from sentiment.config.objective import Direction
from sentiment.format import format_count, format_number
from sentiment.report.sweep.table import STOPPED, CurvePoint, SweepRow, choose_followed
from sentiment.search.study.ranking import rank_trials
from sentiment.tracking.result_file import ResultRecord, is_of_another_study
from sentiment.tracking.run_name import parse_overrides, shorten

if TYPE_CHECKING:
    from sentiment.search.study.history import State, StudyHistory, TrialHistory

Objectives = Mapping[str, Direction]
"""Metric to which way is better, in order: the first one ranks."""

STATES: dict[str, State] = {
    "FINISHED": "complete", "PRUNED": "pruned", "FAILED": "failed", "KILLED": "killed", "RUNNING": "killed",
    "PAUSED": "paused",
}  # fmt: skip
"""Of a job without a study. Who only has a record that says RUNNING cannot tell a run from one that was killed
outright; its reason says so, and it must not vanish from the table of failures."""

LOST = "the study's storage has no result of it; this is what its run recorded"

LATER = "MLflow's copy of the study is older than it; this is what its run recorded"

OPEN = ("running", "waiting", "paused")
"""States of a trial that may have ended since a copy of its study was made."""

KILLED_OUTRIGHT = "the process ended without a word (killed from outside, or still running)"

NUMBER = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)(e[+-]?\d{1,2})?", re.IGNORECASE)
WHOLE_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)")
"""``007`` is a text, as for Hydra, and so is what no float can hold."""


def make_job_rows(
    records: Sequence[ResultRecord], objectives: Objectives, *, is_at_work: bool = False
) -> list[SweepRow]:
    """Make the rows of a plain multirun; a record that says RUNNING is believed while its command is at work.

    Settings that change nothing in a run (where it is recorded, how many threads it has) are no parameters.
    """
    starts = [_read_start(record) for record in records]
    origin = min((start for start in starts if start is not None), default=0.0)
    rows = []
    several_models = len({record.option for record in records}) > 1
    for position, (record, changed, start) in enumerate(zip(records, find_changed(records), starts, strict=True)):
        kept = {key: text for key, text in changed.items() if key != "tracking" and not is_incidental(key)}
        model = {"model": record.option} if several_models else {}
        is_running = is_at_work and record.status == "RUNNING"
        row = SweepRow(
            number=position if record.job_number is None else record.job_number,
            label=shorten(record.option, changed),
            state="running" if is_running else STATES[record.status],
            rank=None,
            parameters={**model, **{key: read_param(text) for key, text in kept.items()}},
            values=_pick(record.numbers, objectives),
            metrics=record.numbers,
            curve=_read_curve(record, objectives),
            started_seconds=None if start is None else start - origin,
            ended_seconds=None if start is None or record.seconds is None else start - origin + record.seconds,
            reason=KILLED_OUTRIGHT if record.status == "RUNNING" and not is_running else record.reason,
            runs=(record,),
            model=record.option,
        )
        rows.append(_insist_on_value(row, objectives))
    return rows


def find_changed(records: Sequence[ResultRecord]) -> list[dict[str, str]]:
    """Find the overrides that differ between jobs, for each job its own.

    What was typed for every job alike is left out, and so are the settings that merely follow from another model:
    a Transformer and an RNN differ in every ``model.`` key, which would tell nobody anything.
    """
    typed = [parse_overrides(record.overrides) for record in records]
    keys = dict.fromkeys(key for overrides in typed for key in overrides if key != "model")  # in order of appearance
    differing = [key for key in keys if len({overrides.get(key) for overrides in typed}) > 1]
    return [{key: overrides[key] for key in differing if key in overrides} for overrides in typed]


def make_study_rows(
    records: Sequence[ResultRecord],
    history: StudyHistory,
    objectives: Objectives,
    *,
    is_at_work: bool = False,
    is_copy: bool = False,
) -> list[SweepRow]:
    """Make a row of every trial of a study, whether it left a record or not, and of those that only left records.

    Where `history` is a copy, made when a command on the study ended, the study may have gone on since.
    """
    by_job = {record.job_number: record for record in records}
    models = {record.option for record in records}
    only_model = next(iter(models)) if len(models) == 1 else ""
    lost = _find_lost(records, history, objectives, is_at_work=is_at_work, is_copy=is_copy)
    trials = {trial.number: trial for trial in history.trials} | lost
    jobs = {number: _list_jobs(trials[number], history.repeats) for number in sorted(trials)}
    gathered = {number: tuple(by_job[job] for job in found if job in by_job) for number, found in jobs.items()}
    starts = {number: _find_start(trials[number], runs, history.repeats) for number, runs in gathered.items()}
    origin = min((start for start in starts.values() if start is not None), default=0.0)
    is_own = history.objectives is None or history.objectives == tuple(objectives)
    rows: dict[int, SweepRow] = {}
    for number, runs in gathered.items():
        trial = replace(trials[number], started=starts[number], jobs=jobs[number])
        row = make_trial_row(trial, runs, objectives, model=only_model, origin=origin, is_own=is_own or number in lost)
        rows[number] = replace(row, is_lost=number in lost)
    return list(rows.values())


def _list_jobs(trial: TrialHistory, repeats: int) -> tuple[int, ...]:
    """List the jobs whose results a trial has: where its study does not tell, its own, or those of its equal."""
    first = repeats * (trial.number if trial.reused_from is None else trial.reused_from)
    return trial.jobs or tuple(range(first, first + repeats))


def _read_start(record: ResultRecord) -> float | None:
    """Return when a run began here: what was taken over from another study began in that one's time."""
    return None if is_of_another_study(record) else datetime.fromisoformat(record.started).timestamp()


def _find_start(trial: TrialHistory, runs: Sequence[ResultRecord], repeats: int) -> float | None:
    """Return when a trial began: one that was paused starts anew for its storage when it goes on or is given up."""
    own = [run for run in runs if (run.job_number or 0) // repeats == trial.number]
    starts = [trial.started, *map(_read_start, own)]
    return min((start for start in starts if start is not None), default=None)


def _find_measured(trial: TrialHistory, runs: Sequence[ResultRecord]) -> float | None:
    """Return when a trial was measured last: one that was paused may have waited for long before it was given up.

    No repeat but the first is ever paused. That one may have waited at several rungs: it was at work when it was heard
    of last, and for as long as it ran. Where there is no record of it, the first is all that is known.
    """
    if trial.state not in STOPPED or trial.started is None or len(runs) > 1:
        return trial.ended
    ran = runs[0].seconds if runs and trial.continues is None else None  # that of a copy includes its origin's time
    known = [trial.worked_until, None if ran is None else trial.started + ran]
    last = max((one for one in known if one is not None), default=None)
    return min((one for one in (last, trial.ended) if one is not None), default=None)


def _find_lost(
    records: Sequence[ResultRecord], history: StudyHistory, objectives: Objectives, *, is_at_work: bool, is_copy: bool
) -> dict[int, TrialHistory]:
    """Return the trials of which only the records tell, as those tell it: a storage may be cut, or an older copy.

    A trial that the storage believes to run is one of them once all its runs have finished, unless a command works on
    the study: that is about to tell it.
    """
    from sentiment.search.study.history import TrialHistory  # heavy, and only a study comes here

    known = {trial.number: trial for trial in history.trials}
    varied = {key for trial in history.trials for key in trial.parameters}
    gathered: dict[int, list[tuple[ResultRecord, dict[str, str]]]] = {}
    for record, changed in zip(records, find_changed(records), strict=True):
        if record.job_number is not None:
            gathered.setdefault(record.job_number // history.repeats, []).append((record, changed))
    found = {}
    for number, runs in gathered.items():
        states = [STATES[record.status] for record, _ in runs]
        complete: State = "complete" if len(runs) == history.repeats else "killed"
        state = next((state for state in states if state != "complete"), complete)
        is_open = number in known and known[number].state in (OPEN if is_copy else ("running",))
        if number in known and (is_at_work or not (is_open and state == "complete")):
            continue
        if number in history.replaced:  # standing trials have the results of some of its jobs
            continue
        first, changed = runs[0]
        metrics = [record.numbers for record, _ in runs]
        is_measured = all(name in one for one in metrics for name in objectives)
        started = _read_start(first)
        described = {key: read_param(text) for key, text in changed.items() if key in varied or not varied}
        found[number] = TrialHistory(
            number=number,
            state=state,
            parameters=known[number].parameters if number in known else described,
            values=tuple(mean(one[name] for one in metrics) for name in objectives) if is_measured else (),
            started=started,
            ended=None
            if started is None or first.seconds is None
            else started + sum(record.seconds or 0.0 for record, _ in runs),
            reason=LATER if is_copy else LOST,
        )
    return found


def make_trial_row(
    trial: TrialHistory,
    runs: tuple[ResultRecord, ...],
    objectives: Objectives,
    *,
    model: str = "",
    origin: float = 0.0,
    is_own: bool = True,
) -> SweepRow:
    """Make the row of a trial, still without its rank.

    Args:
        trial: The trial.
        runs: Records of the jobs whose results it has.
        objectives: What is reported on.
        model: The model's name where no record tells it.
        origin: When the study's clock began, in seconds since 1970.
        is_own: `objectives` are those of the study, whose values it holds over the repeats.
    """
    first = runs[0] if runs else None
    model = str(trial.parameters.get("model", model)) if first is None else first.option
    metrics = {**trial.attributes, **_average_metrics(runs)}
    values = _read_values(trial, metrics, objectives, is_own=is_own)
    row = SweepRow(
        number=trial.number,
        label=_label(trial, model),
        state=trial.state,
        rank=None,
        parameters=trial.parameters,
        values=values,
        # What a repeat measured before another one failed is no value of the trial.
        metrics=metrics if values else {name: one for name, one in metrics.items() if name not in objectives},
        curve=() if first is None else _read_curve(first, objectives),
        started_seconds=None if trial.started is None else trial.started - origin,
        ended_seconds=None if trial.ended is None else trial.ended - origin,
        measured_seconds=None if (measured := _find_measured(trial, runs)) is None else measured - origin,
        reason=_explain(trial, runs),
        excess=trial.excess if trial.state == "complete" else {},
        reused_from=trial.reused_from,
        adopted_from=trial.adopted_from,
        runs=runs,
        jobs=trial.jobs,
        model=model,
        continues=trial.continues,
        bounds=dict(zip(objectives, trial.values, strict=True)) if is_own and trial.means else {},
    )
    return _insist_on_value(row, objectives)


def rank_rows(rows: Sequence[SweepRow], objectives: Objectives) -> list[SweepRow]:
    """Rank complete trials that keep every limit, as the study itself does, and put the rows in order.

    What only tried a run has no rank. After the ranked ones come complete trials that break a limit, then pruned ones,
    both by their value, then the others by number.
    """
    rows = sorted(rows, key=lambda row: row.number)
    values = {
        index: [row.scores.get(name, math.nan) for name in objectives]
        for index, row in enumerate(rows)
        if row.state == "complete" and not (row.excess or row.is_lost or row.is_try)
    }
    ranked, front = rank_trials(values, list(objectives.values()))
    ranks = {index: rank for rank, index in enumerate(ranked, start=1)}
    first, direction = next(iter(objectives.items()))
    sign = -1.0 if direction == "maximize" else 1.0

    def order(index: int) -> tuple[int, float]:
        row = rows[index]
        if index in ranks:
            return 0, ranks[index]
        if row.state not in ("complete", *STOPPED):
            return 3, row.number
        value = sign * row.scores.get(first, math.nan)
        return (1 if row.state == "complete" else 2), math.inf if math.isnan(value) else value

    for index, row in enumerate(rows):
        rank, on_front = ranks.get(index), index in front
        if (row.rank, row.on_front) != (rank, on_front):
            rows[index] = replace(row, rank=rank, on_front=on_front)
    return [rows[index] for index in sorted(range(len(rows)), key=order)]


def read_param(text: str) -> float | str:
    """Read a setting as it was typed: a number where it is one, else text."""
    if WHOLE_NUMBER.fullmatch(text):
        return int(text)
    return float(text) if NUMBER.fullmatch(text) else text


def _read_values(
    trial: TrialHistory, metrics: Mapping[str, float], objectives: Objectives, *, is_own: bool
) -> dict[str, float]:
    """Return the objectives of a trial: the study's own, means over its repeats, or else metrics of its runs."""
    if trial.state not in ("complete", *STOPPED):
        return {}
    if is_own and trial.values:
        return dict(zip(objectives, trial.means or trial.values, strict=True))
    values = _pick(metrics, objectives)
    if not values and is_own and trial.state in STOPPED and trial.intermediate:
        first, direction = next(iter(objectives.items()))
        choose = max if direction == "maximize" else min
        return {first: choose(trial.intermediate.values())}
    return values


def _insist_on_value(row: SweepRow, objectives: Objectives) -> SweepRow:
    """Count a finished run without the objective as failed: nothing can rank it."""
    if row.state == "complete" and not row.values:
        reason = row.reason or f"it ended without a value of {next(iter(objectives))}"
        return replace(row, state="failed", reason=reason)
    return row


def _label(trial: TrialHistory, model: str) -> str:
    told = {key: str(value) for key, value in trial.parameters.items()}
    return shorten(model, told).strip() or f"trial {trial.number}"


def _explain(trial: TrialHistory, runs: Sequence[ResultRecord]) -> str | None:
    """Say why a trial has no rank."""
    if trial.state == "complete" and trial.excess:
        broken = (f"{name} by {format_number(excess)}" for name, excess in trial.excess.items())
        return f"breaks a limit: {', '.join(broken)}"
    if trial.state == "paused":
        steps = format_count(len(trial.intermediate), "report")
        return f"waits for its promotion after {steps}; the same command goes on"
    if trial.state == "waiting":
        ended = [run.reason for run in runs if run.status == "KILLED" and run.reason]
        return "; ".join([*ended[-1:], "the same command runs it again"])
    return trial.reason


def _pick(metrics: Mapping[str, float], objectives: Objectives) -> dict[str, float]:
    """Return the objectives that a run has, in order; none where it lacks the one that ranks."""
    if next(iter(objectives)) not in metrics:
        return {}
    return {name: metrics[name] for name in objectives if name in metrics}


def _average_metrics(runs: Sequence[ResultRecord]) -> dict[str, float]:
    """Average every number over the repeats that have it, as the study does with its objectives."""
    found: dict[str, list[float]] = {}
    for name, value in (item for run in runs for item in run.numbers.items()):
        found.setdefault(name, []).append(value)
    return {name: fmean(values) for name, values in found.items()}


def _read_curve(record: ResultRecord, objectives: Objectives) -> tuple[CurvePoint, ...]:
    name = choose_followed(objectives)
    return tuple(CurvePoint(point["epoch"], point[name]) for point in record.history if name in point)
