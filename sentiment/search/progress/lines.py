"""One log line per event: how a study is seen where there is no terminal, and where jobs print to it themselves."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from sentiment.format import format_metric, format_setting
from sentiment.search.progress.events import RunningJob, StudyState
from sentiment.search.workers.job import Finished, Job

log = logging.getLogger(__name__)


class EventLines:
    """Logs the events of a study."""

    def study_started(self, state: StudyState) -> None:
        """Log which study it is and how far it is."""
        log.info("%s", write_beginning(state))

    def job_started(self, job: Job, trial: RunningJob) -> None:
        """Log what runs where."""
        log.info("#%d started (%s): %s", trial.trial, trial.slot, write_values(trial.values))

    def job_ended(self, finished: Finished) -> None:
        """The trial's end says it."""

    def trial_ended(self, trial: FrozenTrial, state: StudyState) -> None:
        """Log how the trial ended and what the best is now."""
        log.info("#%d %s | %s", trial.number, write_ending(trial, state.metric_names), write_stand(state))

    def waited(self, state: StudyState) -> None:
        """Nothing happened."""

    def study_ended(self, state: StudyState) -> None:
        """Log what was found."""
        log.info("Study %s: %s", state.name, write_stand(state))
        if len(state.best) == 1:
            log.info("Best parameters: %s", write_values(state.best[0].params))
        elif state.best:
            log.info("%d trials on the Pareto front", len(state.best))


def write_beginning(state: StudyState) -> str:
    """Return which study it is, and whether it goes on."""
    ended = sum(trial.state.is_finished() for trial in state.trials)
    stand = f"goes on: {ended} of {state.total} trials have ended" if state.trials else f"{state.total} trials"
    return f"Study {state.name}, {stand}, in {state.study_dir}"


def write_stand(state: StudyState) -> str:
    """Return how far a study is and what its best trial is."""
    counts = Counter(trial.state.name.lower() for trial in state.trials)
    parts = [f"{counts['complete']} done"]
    parts += [f"{counts[kind]} {word}" for kind, word in (("pruned", "pruned"), ("fail", "failed")) if counts[kind]]
    line = f"{', '.join(parts)} of {state.total}"
    if len(state.best) == 1:
        line += f"; best {write_objectives(state.best[0].values, state.metric_names)} (#{state.best[0].number})"
    elif counts["complete"] and not state.best:
        line += "; none keeps the limits"
    return line


def write_ending(trial: FrozenTrial, metric_names: Sequence[str] = ()) -> str:
    """Return how a trial ended."""
    if trial.state == TrialState.COMPLETE:
        source = trial.user_attrs.get("reused_from")
        reused = "" if source is None else f" (equal to trial {source}, not run again)"
        return f"complete: {write_objectives(trial.values, metric_names)}{reused}"
    if trial.state == TrialState.PRUNED:
        return f"pruned after step {trial.last_step}"
    return f"failed: {trial.user_attrs.get('failure.reason', 'unknown reason')}"


def write_objectives(values: Sequence[float], metric_names: Sequence[str]) -> str:
    """Return the objectives of a trial as people read them, in percent where their names say so."""
    names = metric_names or [""] * len(values)
    return ", ".join(format_metric(name, value) for name, value in zip(names, values, strict=True))


def write_values(values: Mapping[str, Any]) -> str:
    """Return parameters as overrides, numbers to four digits."""
    return " ".join(f"{key}={format_setting(value)}" for key, value in values.items())
