"""What a study has cost so far, measured from its trials and from the commands that worked on it."""

from __future__ import annotations

import bisect
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

from sentiment.search.budget import Spending
from sentiment.search.space.points import TARGET_KEY, Changes, PointReader
from sentiment.search.study.limits import keeps_limits
from sentiment.search.study.outcome import is_paused, read_outcomes_of, read_repeats
from sentiment.search.study.population import count_inherited
from sentiment.search.study.rungs import Scheduler, count_steps, is_promoted
from sentiment.search.study.trial import ATTEMPT_KEY, PROGRESS_KEY, read_ahead_seconds, read_seconds, read_share

BUDGET_KEY = "study:budget"
"""System attribute of a study: the budget of the command that was started last."""

EPOCHS_KEY = "study:epochs"
"""System attribute of a trial: epochs of one of its jobs, were it to run to its end."""


class Meter:
    """Measures what a study has cost: what has ended is added once, what is open is looked at each time.

    Args:
        repeats: Jobs per trial.
        pruner: The study's pruner: one that pauses trials changes what they cost.
        reader: Tells which trials are points of the space as it is now; None: all are.
    """

    def __init__(self, repeats: int, pruner: BasePruner | None = None, reader: PointReader | None = None) -> None:
        self._repeats = repeats
        self._reader = reader
        self._first = pruner.find_target(0) if isinstance(pruner, Scheduler) else 0
        self._changes = Changes()
        self._open: dict[int, FrozenTrial] = {}  # failed ones too, whose cost follows from the length of others
        self._ended: set[int] = set()
        self._jobs = self._epochs = self._trial_epochs = 0.0
        self._steps_per_job = self._told_steps = 0.0  # of jobs that ended, and as others told
        self._untold: Counter[tuple[int, float]] = Counter()  # reports and epochs of what ended and told no share
        self._is_any_promoted = False
        self._lengths: list[float] = []  # in order

    def measure(self, trials: Sequence[FrozenTrial], commands: Iterable[Mapping[str, Any]]) -> Spending:
        """Measure what a study has cost.

        Args:
            trials: All its trials.
            commands: The lease records of all commands that ever worked on it.
        """
        for trial in self._changes.take(trials):
            if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
                self._open[trial.number] = trial
            elif trial.number not in self._ended:
                self._ended.add(trial.number)
                self._open.pop(trial.number, None)
                self._add(trial)
        opened = self._open.values()
        steps_per_job = self._steps_per_job or max([self._told_steps, *map(_guess_whole, opened)])
        ended = [(_share(steps, steps_per_job), epochs, count) for (steps, epochs), count in self._untold.items()]
        lengths = list(self._lengths)
        if self._first:
            lengths += filter(None, (_estimate_seconds(trial, steps_per_job) for trial in filter(is_paused, opened)))
        trial_seconds = statistics.median(lengths) if lengths else 0.0
        done = {trial.number: count_jobs(trial, steps_per_job, trial_seconds) for trial in opened}
        committed = {one.number: count_committed(one, done[one.number], self._repeats, steps_per_job) for one in opened}
        trial_epochs = max(self._trial_epochs, max(map(_count_epochs, opened), default=0.0))
        # Another command may have claimed a trial and not yet told its epochs: they are as many as any trial's.
        sizes = {trial.number: _count_epochs(trial) or trial_epochs for trial in opened}
        unused = {trial.number: _count_unused(trial) for trial in opened}
        jobs = self._jobs + sum(share * count for share, _, count in ended)
        spent = self._epochs + sum(share * size * count for share, size, count in ended)
        return Spending(
            seconds=_unite(commands),
            full_trials=jobs + sum(done.values()),
            epochs=spent + sum((done[one] - unused[one]) * size for one, size in sizes.items()),
            committed_trials=jobs + sum(committed.values()),
            committed_epochs=spent + sum((committed[one] - unused[one]) * size for one, size in sizes.items()),
            trial_seconds=trial_seconds,
            trial_epochs=trial_epochs,
            steps_per_job=steps_per_job,
            first_jobs=min(1.0, self._first / steps_per_job) if self._first and steps_per_job else None,
            furthest_jobs=max((committed[one.number] for one in opened if _may_lead(one)), default=0.0),
            is_any_promoted=self._is_any_promoted,
            is_any_untold=any(one.state == TrialState.RUNNING and not _count_epochs(one) for one in opened),
        )

    def _add(self, trial: FrozenTrial) -> None:
        """Add a trial that is complete or pruned: it never changes any more."""
        done, epochs = count_jobs(trial), _count_epochs(trial)
        if _is_untold(trial):  # by its reports, of which nobody may know yet how many a whole job makes
            done = 0.0
            self._untold[count_steps(trial) - count_inherited(trial), epochs] += 1
        self._jobs += done
        self._epochs += max(0.0, done - _count_unused(trial)) * epochs
        self._trial_epochs = max(self._trial_epochs, epochs)
        self._steps_per_job = max(self._steps_per_job, _count_whole(trial))
        self._told_steps = max(self._told_steps, _guess_whole(trial))
        self._is_any_promoted |= is_promoted(trial) and (self._reader is None or self._reader.read(trial) is not None)
        seconds = 0.0
        if self._first and (trial.state == TrialState.COMPLETE or count_steps(trial)):
            seconds = _estimate_seconds(trial)  # who came to no report has told little but its start
        elif trial.state == TrialState.COMPLETE and trial.datetime_start and trial.datetime_complete and done:
            # Of a trial that was interrupted, that of its last part; as `duration`, which knows no summer time.
            elapsed_seconds = trial.datetime_complete.timestamp() - trial.datetime_start.timestamp()
            ahead_seconds = sum(read_ahead_seconds(trial, repeat) for repeat in read_outcomes_of(trial))
            seconds = max(elapsed_seconds - ahead_seconds, _sum_seconds(trial)) / done
        if seconds:
            bisect.insort(self._lengths, seconds)


def _count_epochs(trial: FrozenTrial) -> float:
    return float(trial.system_attrs.get(EPOCHS_KEY, 0.0))


def _count_unused(trial: FrozenTrial) -> float:
    """Return what complete jobs of a trial left of their epochs, in whole jobs: they stopped early."""
    ran = [one for one in read_outcomes_of(trial).values() if one.state == "complete" and one.has_run]
    return sum(1.0 - outcome.share for outcome in ran)


def count_committed(trial: FrozenTrial, done: float, repeats: int, steps_per_job: float) -> float:
    """Return the work that a trial will have done when it ends or is paused, in whole jobs.

    One that has come past the rung where it was to pause runs all its repeats: its first job stopped early, or has no
    checkpoint to pause at.

    Args:
        trial: The trial.
        done: What it has done.
        repeats: Jobs per trial.
        steps_per_job: Reports of a whole job; 0: nobody knows.
    """
    if trial.state.is_finished() or trial.datetime_start is None or is_paused(trial):
        return done
    target: int | None = trial.system_attrs.get(TARGET_KEY)
    first, steps, epochs = read_outcomes_of(trial).get(0), count_steps(trial), _count_epochs(trial)
    is_past = first is not None and first.state == "complete"
    if target is not None and steps > target and not is_past:
        # Where an epoch has several reports it pauses at the end of it, but for the last one.
        steps_per_epoch = steps_per_job / epochs if epochs else 0.0
        pause = math.ceil(target / steps_per_epoch) * steps_per_epoch if steps_per_epoch > 1 else target
        is_past = not steps <= pause < steps_per_job
    if target is None or is_past or not steps_per_job or target >= steps_per_job:
        return float(repeats) - _inherit(trial, steps_per_job)
    return max(done, target / steps_per_job - _inherit(trial, steps_per_job))


def _may_lead(trial: FrozenTrial) -> bool:
    """Return whether a trial is on the ladder and may come to its end within the limits, as far as is known."""
    return TARGET_KEY in trial.system_attrs and not trial.state.is_finished() and keeps_limits(trial)


def _count_whole(trial: FrozenTrial) -> float:
    """Return how many reports the first job of a trial, which alone reports, makes; 0: it is not complete."""
    kept = read_outcomes_of(trial).get(0)
    is_whole = kept is not None and kept.state == "complete" and kept.share > 0
    return float(round(count_steps(trial) / kept.share)) if kept is not None and is_whole else 0.0


def _guess_whole(trial: FrozenTrial) -> float:
    """Return how many reports the first job of a trial will make, by the share that it has told; 0: it has told none.

    A job may tell a step before it reports it, or after: what a complete one has reported is surer.
    """
    share = read_share(trial, 0)
    return float(round(count_steps(trial) / share)) if share else _count_whole(trial)


def _estimate_seconds(trial: FrozenTrial, steps_per_job: float = 0.0) -> float:
    """Return how long a job of a trial takes, by the time that its jobs ran and how far they came; 0: nobody knows."""
    is_known = trial.state == TrialState.COMPLETE or PROGRESS_KEY in trial.system_attrs or steps_per_job
    jobs = count_jobs(trial, steps_per_job) if is_known else 0.0
    return _sum_seconds(trial) / jobs if jobs else 0.0


def _sum_seconds(trial: FrozenTrial) -> float:
    """Return for how long the jobs of a trial ran, without what the first job of a study does for all."""
    outcomes = read_outcomes_of(trial)
    return sum(kept.seconds - read_ahead_seconds(trial, repeat) for repeat, kept in outcomes.items())


def count_jobs(trial: FrozenTrial, steps_per_job: float = 0.0, seconds_per_job: float = 0.0) -> float:
    """Count the jobs of a trial that ran.

    One that was not complete counts by the share that it told, or else by its reports; one that has failed with neither
    by the time that it ran, where the length of others is known; else one that has ended counts whole. The share comes
    first, as jobs may differ in their length.

    Args:
        trial: The trial.
        steps_per_job: Reports of a whole job; 0: nobody knows.
        seconds_per_job: Time of a whole job; 0: nobody knows.
    """
    outcomes, jobs = read_outcomes_of(trial), 0.0
    for repeat in read_repeats(trial, ATTEMPT_KEY):
        kept = outcomes.get(repeat)
        if kept is not None and kept.state == "complete" and kept.has_run:
            jobs += 1.0
        else:
            told, steps = read_share(trial, repeat), count_steps(trial) if repeat == 0 else 0
            if steps and steps_per_job and not told:
                told = _share(steps, steps_per_job)
            if not told and trial.state == TrialState.FAIL:
                told = _share(read_seconds(trial, repeat), seconds_per_job)
            jobs += float(trial.state.is_finished()) if told is None else told
    return max(0.0, jobs - _inherit(trial, steps_per_job))


def _share(done: float, whole: float) -> float:
    return min(1.0, done / whole) if whole else 1.0


def _is_untold(trial: FrozenTrial) -> bool:
    """Return whether of a trial that has ended nothing but its reports tells how far its only job came."""
    is_complete = trial.state == TrialState.COMPLETE or any(
        kept.state == "complete" for kept in read_outcomes_of(trial).values()
    )
    has_run = ATTEMPT_KEY.format(repeat=0) in trial.system_attrs
    return has_run and not is_complete and not read_share(trial, 0) and count_steps(trial) > 0


def _inherit(trial: FrozenTrial, steps_per_job: float = 0.0) -> float:
    """Return the share of its job that a copy did not run itself."""
    inherited, whole = count_inherited(trial), steps_per_job or _guess_whole(trial)
    return inherited / whole if inherited and whole else 0.0


def _unite(commands: Iterable[Mapping[str, Any]]) -> float:
    """Return for how long at least one command was at work."""
    spans = sorted(
        (record["since"], record["since"] + record["seconds"] if "seconds" in record else record["until"])
        for record in commands
        if "until" in record  # the first versions wrote neither, later ones no seconds
    )
    total, end = 0.0, -math.inf
    for start, until in spans:
        total += max(0.0, until - max(start, end))
        end = max(end, until)
    return total
