"""What a study has cost so far, measured from its trials and from the commands that worked on it."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from sentiment.search.budget import Spending
from sentiment.search.study.outcome import read_outcomes_of
from sentiment.search.study.trial import ATTEMPT_KEY, PROGRESS_KEY

BUDGET_KEY = "study:budget"
"""System attribute of a study: the budget of the command that was started last."""

EPOCHS_KEY = "study:epochs"
"""System attribute of a trial: epochs of one of its jobs, were it to run to its end."""


def measure(
    trials: Sequence[FrozenTrial], commands: Iterable[Mapping[str, Any]], repeats: int, own: str | None = None
) -> Spending:
    """Measure what a study has cost.

    Args:
        trials: All its trials.
        commands: The lease records of all commands that ever worked on it.
        repeats: Jobs per trial.
        own: The lease of this process, whose time runs on.
    """
    done = {trial.number: _count_jobs(trial) for trial in trials}
    epochs = {trial.number: float(trial.system_attrs.get(EPOCHS_KEY, 0.0)) for trial in trials}
    is_open = {trial.number: not trial.state.is_finished() and trial.datetime_start is not None for trial in trials}
    committed = {number: float(repeats) if is_open[number] else work for number, work in done.items()}
    lengths = [
        trial.duration.total_seconds()
        for trial in trials
        if trial.state == TrialState.COMPLETE and trial.duration is not None and done[trial.number]
    ]
    return Spending(
        seconds=_unite(commands, own),
        full_trials=sum(done.values()),
        epochs=sum(done[number] * epochs[number] for number in done),
        committed_trials=sum(committed.values()),
        committed_epochs=sum(committed[number] * epochs[number] for number in committed),
        trial_seconds=statistics.median(lengths) if lengths else 0.0,
        trial_epochs=max(epochs.values(), default=0.0),
    )


def _count_jobs(trial: FrozenTrial) -> float:
    """Count the jobs of a trial that ran, one that was not complete by its share; it counts whole if it told none."""
    prefix = ATTEMPT_KEY.format(repeat="")
    begun = sum(key.startswith(prefix) for key in trial.system_attrs)
    ran = [outcome for outcome in read_outcomes_of(trial).values() if outcome.adopted_from is None]
    complete = sum(outcome.state == "complete" for outcome in ran)
    told = trial.system_attrs.get(PROGRESS_KEY)
    partial = min(1.0, float(told[0])) if told is not None else float(trial.state.is_finished())
    return complete + max(0, begun - complete) * partial


def _unite(commands: Iterable[Mapping[str, Any]], own: str | None) -> float:
    """Return for how long at least one command was at work."""
    now = time.time()
    spans = sorted(
        (record["since"], now if record["id"] == own else record["until"])
        for record in commands
        if "until" in record  # an earlier version did not write it
    )
    total, end = 0.0, -math.inf
    for start, until in spans:
        total += max(0.0, until - max(start, end))
        end = max(end, until)
    return total
