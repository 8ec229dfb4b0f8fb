"""How a trial ends, by how its jobs ended: the command that ends it writes this, and readers of the study show it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from sentiment.search.study.limits import CONSTRAINT_KEY, LimitError, hold_to_limits
from sentiment.search.study.outcome import Outcome, RepeatPlan, finish, list_jobs, read_described, read_outcomes_of

ENDS = {
    "complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL,
    "paused": TrialState.WAITING,
}  # fmt: skip
"""The state that a study gives a trial for how its jobs ended."""


@dataclass(frozen=True)
class Conclusion:
    """What the end of its jobs makes of a trial."""

    state: TrialState  # how it ends; waiting: it is paused
    values: tuple[float, ...]  # its objectives, where complete
    attributes: Mapping[str, float]  # system attributes that it gets: by how much it is above each limit
    # User attributes that it gets: what its jobs described, whose result it has, why it failed.
    notes: Mapping[str, Any]


def conclude(
    trial: FrozenTrial,
    outcome: Outcome,
    repeats: RepeatPlan,
    limits: Mapping[str, float],
    list_trials: Callable[[], Sequence[FrozenTrial]],
) -> Conclusion:
    """Return what the end of its jobs makes of a trial.

    Args:
        trial: The trial.
        outcome: How its jobs ended.
        repeats: The study's seeds of a point.
        limits: Its limits.
        list_trials: Lists all its trials.

    Raises:
        LimitError: No trial has ever described a number that has a limit.
    """
    outcome, excess = hold_to_limits(trial, outcome, limits, list_trials)
    notes: dict[str, Any] = {}
    if outcome.state == "failed":
        notes = {f"failure.{key}": getattr(outcome, key) for key in ("kind", "reason", "traceback")}
    else:  # of a pause too: who breaks a limit is not to be promoted before others
        notes = {name: mean for name, mean in read_described(trial).items() if trial.user_attrs.get(name) != mean}
    if outcome.state == "complete":
        notes["reused_from"] = _find_source(trial, repeats.count, list_trials)
    notes["adopted_from"] = outcome.adopted_from
    return Conclusion(
        ENDS[outcome.state],
        outcome.values,
        # For Optuna's samplers, and its choice of the best.
        {CONSTRAINT_KEY.format(name=name): above for name, above in excess.items()},
        {key: value for key, value in notes.items() if value not in (None, "")},
    )


def _find_source(trial: FrozenTrial, repeats: int, list_trials: Callable[[], Sequence[FrozenTrial]]) -> int | None:
    """Return the equal trial whose result a trial shares: it ran no job, and has the results of the same ones."""
    jobs = list_jobs(trial, repeats)
    owners = sorted({job // repeats for job in jobs})
    if trial.number in owners:
        return None
    trials = list_trials()
    complete = (number for number in owners if trials[number].state == TrialState.COMPLETE)
    return next((number for number in complete if list_jobs(trials[number], repeats) == jobs), None)


def settle_ended(
    trials: Sequence[FrozenTrial], repeats: RepeatPlan, limits: Mapping[str, float]
) -> Sequence[FrozenTrial]:
    """List trials as the next command on their study finds them: told where their jobs ended after their own was gone.

    Args:
        trials: All trials of a study, as its storage has them.
        repeats: Its seeds of a point.
        limits: Its limits.
    """

    def settle_one(trial: FrozenTrial) -> FrozenTrial:
        outcomes = read_outcomes_of(trial) if trial.state == TrialState.RUNNING else {}
        outcome = finish(outcomes, repeats) if outcomes else None
        if outcome is None:
            return trial
        try:
            concluded = conclude(trial, outcome, repeats, limits, lambda: trials)
        except LimitError:  # it is run again
            return trial
        told = copy.copy(trial)
        told.state, told.values = concluded.state, concluded.values or None
        if told.state.is_finished() and trial.datetime_start is not None:
            seconds = sum(one.seconds for one in outcomes.values())
            told.datetime_complete = trial.datetime_start + timedelta(seconds=seconds)
        told.system_attrs = {**trial.system_attrs, **concluded.attributes}
        told.user_attrs = {**trial.user_attrs, **concluded.notes}
        return told

    return [settle_one(trial) for trial in trials]
