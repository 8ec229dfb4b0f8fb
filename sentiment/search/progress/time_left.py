"""How long a study will go on, roughly: from the trials that ended and from how far the running ones are."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from optuna.trial import FrozenTrial, TrialState

from sentiment.search.progress.events import RunningJob, StudyState


def estimate_seconds_left(
    state: StudyState, slots: int, read_fraction: Callable[[FrozenTrial], float | None]
) -> float | None:
    """Estimate the time to the end of a study.

    A trial that has not begun takes the mean of those that ended (complete or pruned, failures and reused ones
    aside), or of what the running ones will take; a running one takes what its own pace says.

    Args:
        state: How the study stands.
        slots: Trials that run at a time.
        read_fraction: Returns the share of a trial's job that is done; None where it has not told.

    Returns:
        Seconds; None while nothing is known of any duration.
    """
    trials = {trial.number: trial for trial in state.trials}
    running = [(job, read_fraction(trials[job.trial]) if job.trial in trials else None) for job in state.running]
    known = [
        trial.duration.total_seconds()
        for trial in state.trials
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        and trial.duration is not None
        and "reused_from" not in trial.user_attrs
    ] or [job.seconds / fraction for job, fraction in running if fraction]
    if not known:
        return None
    mean = statistics.fmean(known)
    taken = sum(trial.state != TrialState.WAITING for trial in state.trials)
    work = sum(_remain(job, fraction, mean) for job, fraction in running) + mean * max(0, state.total - taken)
    return work / max(slots, 1)


def _remain(job: RunningJob, fraction: float | None, mean: float) -> float:
    if fraction:
        return job.seconds * (1 - min(fraction, 1.0)) / fraction
    return max(0.0, mean - job.seconds)
