"""One log line an event: how a study is seen where there is no terminal, and where jobs print to it themselves."""

from __future__ import annotations

import logging
from collections import Counter

from optuna.trial import FrozenTrial, TrialState

from sentiment.search.progress.events import RunningJob, StudyState
from sentiment.search.workers.job import Finished, Job

log = logging.getLogger(__name__)


class EventLines:
    """Logs the events of a study."""

    def study_started(self, state: StudyState) -> None:
        """Say which study it is and how far it is."""
        ended = sum(trial.state.is_finished() for trial in state.trials)
        stand = f"goes on: {ended} of {state.total} trials have ended" if state.trials else f"{state.total} trials"
        log.info("Study %s, %s, in %s", state.name, stand, state.study_dir)

    def job_started(self, job: Job, trial: RunningJob) -> None:
        """Say what runs where."""
        log.info("#%d started (%s): %s", trial.trial, trial.place, write_values(trial.values))

    def job_ended(self, finished: Finished) -> None:
        """The trial's end says it."""

    def trial_ended(self, trial: FrozenTrial, state: StudyState) -> None:
        """Say how the trial ended and what the best is now."""
        log.info("#%d %s | %s", trial.number, write_ending(trial), write_stand(state))

    def waited(self, state: StudyState) -> None:
        """Nothing happened."""

    def study_ended(self, state: StudyState) -> None:
        """Say what was found."""
        log.info("Study %s: %s", state.name, write_stand(state))
        if len(state.best) == 1:
            log.info("Best parameters: %s", write_values(state.best[0].params))
        elif state.best:
            log.info("%d trials on the Pareto front", len(state.best))


def write_values(values: object) -> str:
    """Write parameters as overrides, numbers to four digits."""
    assert isinstance(values, dict)
    return " ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items()
    )


def write_ending(trial: FrozenTrial) -> str:
    """Say how a trial ended."""
    if trial.state == TrialState.COMPLETE:
        values = ", ".join(f"{value:.4f}" for value in trial.values)
        source = trial.user_attrs.get("reused_from")
        return f"complete: {values}" + ("" if source is None else f" (equal to trial {source}, not run again)")
    if trial.state == TrialState.PRUNED:
        return f"pruned after step {trial.last_step}"
    return f"failed: {trial.user_attrs.get('failure.reason', 'unknown reason')}"


def write_stand(state: StudyState) -> str:
    """Say how far a study is and what the best is."""
    counts = Counter(trial.state.name.lower() for trial in state.trials)
    parts = [f"{counts['complete']} done"]
    parts += [f"{counts[kind]} {word}" for kind, word in (("pruned", "pruned"), ("fail", "failed")) if counts[kind]]
    line = f"{', '.join(parts)} of {state.total}"
    if len(state.best) == 1:
        line += f"; best {state.best[0].values[0]:.4f} (#{state.best[0].number})"
    elif counts["complete"] and not state.best:
        line += "; none keeps the limits"
    return line
