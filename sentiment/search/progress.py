"""How people and programs see a running study: its state, who is told, the results file, and a log line per event."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from optuna.pruners import WilcoxonPruner
from optuna.trial import FrozenTrial, TrialState

from sentiment.atomic import write_text
from sentiment.format import format_count, format_metric, format_setting, join_names
from sentiment.search.study.outcome import count_states, find_pruned_reason, list_jobs, read_repeats
from sentiment.search.study.rungs import count_steps, find_stand
from sentiment.search.study.trial import ATTEMPT_KEY
from sentiment.search.workers.job import Finished

log = logging.getLogger(__name__)

SHARE = 0.05
"""Share of the time that telling or drawing a study may take: it looks at all trials, and they may be thousands."""

WORKERS_DIR = "workers"
"""Folder of a study in which its worker processes have their logs."""

RESULTS_FILE = "optimization_results.yaml"
"""The file of the stock plugin, written whenever there is a better trial, so that an aborted study has one."""


@dataclass(frozen=True)
class RunningJob:
    """One job in flight."""

    trial: int  # number of its trial
    slot: str  # where it runs: a worker, a GPU or a launcher
    seconds: float  # time since it was started here
    values: Mapping[str, Any]  # the trial's parameters, by override keys
    repeat: int = 0  # which of the trial's repeats it is, from 0
    reports: int = 0  # how many reports the trial had made before, paused or cut off


@dataclass(frozen=True)
class StudyState:
    """How a study stands."""

    name: str  # name of the study
    study_dir: Path  # its folder
    directions: Sequence[str]  # ``minimize`` or ``maximize``, for every objective
    total: int | None  # trials of the study; None: its budget of time decides
    trials: Sequence[FrozenTrial]  # all trials so far; of a point that was tried again, the latest alone
    # The best trial, or the Pareto front, with the values of all that is searched now, by override keys; empty while
    # none is complete.
    best: Sequence[FrozenTrial]
    running: Sequence[RunningJob]  # jobs in flight in this process
    seconds: float  # time since this process began
    metric_names: Sequence[str] = ()  # names of the objectives; empty where they have none
    budget: str | None = None  # how much of the budget is used; None without one
    seconds_left: float | None = None  # wall time that is left of the budget; None where it has none
    # The trials by state, as `count_states` counts them; None: they are counted when asked for.
    counts: Mapping[str, int] | None = None
    repeats: int = 1  # jobs of a trial
    replaced: Sequence[FrozenTrial] = ()  # the trials whose points were tried again
    is_bound: bool = False  # a trial's values are bounds of its repeats, which reports show beside their means

    @property
    def ended(self) -> int:
        """Trials that have ended."""
        return sum(trial.state.is_finished() for trial in self.trials)

    @property
    def is_full(self) -> bool:
        """Whether it has all its trials, so that no job will run."""
        return self.total is not None and self.ended >= self.total

    def count(self) -> Counter[str]:
        """Count the trials by state."""
        return count_states(self.trials) if self.counts is None else Counter(self.counts)


class Observer:
    """Watches a study; a subclass has a method for each event that it needs."""

    def study_started(self, state: StudyState) -> None:
        """The study is open and checked; no job has run yet."""

    def job_started(self, job: RunningJob) -> None:
        """A job was handed over."""

    def job_ended(self, finished: Finished) -> None:
        """A job came back."""

    def trial_ended(self, trial: FrozenTrial, state: StudyState) -> None:
        """A trial was settled."""

    def trial_paused(self, trial: FrozenTrial, state: StudyState) -> None:
        """A trial waits for its promotion."""

    def waited(self, state: StudyState) -> None:
        """Time passed: about every second."""

    def study_ended(self, state: StudyState) -> None:
        """Nothing runs any more, however it ended."""


class ApplicationObserver(Observer):
    """Keeps `RESULTS_FILE` up to date, and passes events on to the application's Hydra callbacks, those that know them.

    A callback may have ``on_study_start(config, state)``, ``on_trial_end(config, trial, state)``,
    ``on_trial_job_end(config, finished)``, ``on_study_change(config, state)`` and ``on_study_end(config, state)``.
    The change comes soon after trials have ended, once for several of them where telling takes long: it may look at
    the whole study. Unlike Hydra's own events, an exception in them is not turned into a warning.
    """

    def __init__(self, callbacks: Sequence[Any], config: DictConfig) -> None:
        self._callbacks = callbacks
        self._config = config
        self._best: list[tuple[int, object]] | None = None
        self._has_changed = False
        self._tells_again_at = 0.0

    def study_started(self, state: StudyState) -> None:
        """Call ``on_study_start``."""
        self._call("on_study_start", state=state)

    def job_ended(self, finished: Finished) -> None:
        """Call ``on_trial_job_end``."""
        self._call("on_trial_job_end", finished=finished)

    def trial_ended(self, trial: FrozenTrial, state: StudyState) -> None:
        """Write the file, then call ``on_trial_end``, and ``on_study_change`` if it is time."""
        best = [(one.number, one.values) for one in state.best]
        if best != self._best:
            self._best = best
            write_results(state.study_dir, state.best, len(state.directions))
        self._call("on_trial_end", trial=trial, state=state)
        self._has_changed = True
        self.waited(state)

    def waited(self, state: StudyState) -> None:
        """Call ``on_study_change``, if anything has changed and the last call is long enough ago."""
        began = time.monotonic()
        if self._has_changed and began >= self._tells_again_at:
            self._has_changed = False
            self._call("on_study_change", state=state)
            self._tells_again_at = began + (time.monotonic() - began) / SHARE

    def study_ended(self, state: StudyState) -> None:
        """Write what other commands have found meanwhile, then call ``on_study_end``."""
        write_results(state.study_dir, state.best, len(state.directions))
        self._call("on_study_end", state=state)

    def _call(self, event: str, **content: Any) -> None:
        for callback in self._callbacks:
            handler = getattr(callback, event, None)
            if handler is not None:
                handler(config=self._config, **content)


class EventLines(Observer):
    """Logs the events of a study: for where there is no terminal, or jobs print to it themselves."""

    _repeats = 1

    def study_started(self, state: StudyState) -> None:
        """Log which study it is and how far it is."""
        self._repeats = state.repeats
        log.info("%s", format_beginning(state))

    def job_started(self, job: RunningJob) -> None:
        """Log what runs where."""
        again = f" again after {format_count(job.reports, 'report')}" if job.reports else ""
        repeat = f", repeat {job.repeat + 1} of {self._repeats}" if self._repeats > 1 else ""
        log.info("#%d started%s%s (%s): %s", job.trial, again, repeat, job.slot, format_values(job.values))

    def trial_ended(self, trial: FrozenTrial, state: StudyState) -> None:
        """Log how the trial ended and what the best is now."""
        log.info("#%d %s | %s", trial.number, format_ending(trial, state), format_stand(state))

    def trial_paused(self, trial: FrozenTrial, state: StudyState) -> None:
        """Log how far the trial came."""
        stand = find_stand(trial, [direction == "maximize" for direction in state.directions])
        value = format_objectives(stand, state.metric_names)
        steps = format_count(count_steps(trial), "report")
        log.info("#%d paused after %s: %s | %s", trial.number, steps, value, format_stand(state))

    def study_ended(self, state: StudyState) -> None:
        """Log what was found."""
        log.info("Study %s: %s", state.name, format_stand(state))
        if len(state.best) == 1:
            log.info("Best parameters: %s", format_values(state.best[0].params))
        elif state.best:
            log.info("%d trials on the Pareto front", len(state.best))


def write_results(study_dir: Path, best: Sequence[FrozenTrial], objectives: int) -> None:
    """Write the best trial, or the Pareto front, in the stock plugin's form; nothing while no trial is the best.

    Raises:
        OSError: The file cannot be written.
    """
    if not best:
        return
    content: dict[str, Any] = {"name": "optuna"}
    if objectives == 1:
        content |= {"best_params": dict(best[0].params), "best_value": best[0].value}
    else:
        content["solutions"] = [{"params": dict(trial.params), "values": list(trial.values)} for trial in best]
    write_text(study_dir / RESULTS_FILE, OmegaConf.to_yaml(OmegaConf.create(content)))


def format_beginning(state: StudyState) -> str:
    """Return which study it is, and whether it goes on."""
    of_total = "" if state.total is None else f" of {state.total}"
    planned = "trials as the budget allows" if state.total is None else format_count(state.total, "trial")
    has_begun = any(trial.datetime_start is not None for trial in state.trials)  # what is to be tried first waits
    goes_on = "" if state.is_full else "goes on: "
    stand = f"{goes_on}{state.ended}{of_total} trials have ended" if has_begun else planned
    budget = "" if state.budget is None else f", {state.budget}"
    return f"Study {state.name}, {stand}{budget}, in {state.study_dir}"


def format_stand(state: StudyState) -> str:
    """Return how far a study is and what its best trial is."""
    counts = state.count()
    parts = [f"{counts['complete']} done"]
    parts += [f"{counts[state]} {state}" for state in ("paused", "pruned", "failed") if counts[state]]
    line = ", ".join(parts) + ("" if state.total is None else f" of {state.total}")
    if len(state.best) == 1:
        line += f"; best {format_result(state.best[0], state)} (#{state.best[0].number})"
    elif counts["complete"] and not state.best:
        line += "; none keeps the limits"
    return line if state.budget is None else f"{line}; {state.budget}"


def format_ending(trial: FrozenTrial, state: StudyState) -> str:
    """Return how a trial ended."""
    if trial.state == TrialState.COMPLETE:
        source = trial.user_attrs.get("reused_from", trial.user_attrs.get("adopted_from"))
        word = "trial " if "reused_from" in trial.user_attrs else ""
        reused = "" if source is None else f" (equal to {word}{source}, not run again)"
        others = [job for job in list_jobs(trial, state.repeats) if job // state.repeats != trial.number]
        if source is None and others:
            reused = f" (with the results of the equal jobs {join_names([str(job) for job in others])})"
        return f"complete: {format_result(trial, state)}{reused}"
    if trial.state == TrialState.PRUNED:
        reason = find_pruned_reason(trial) or ""
        if trial.last_step is None:
            return f"pruned: {reason or 'it did not report'}"
        unit = "seed" if WilcoxonPruner.__name__ in reason else "report"
        is_told = bool(reason) and not reason.startswith(("pruned by", "not promoted", "not continued"))
        return f"pruned after {format_count(count_steps(trial), unit)}{f': {reason}' if is_told else ''}"
    return f"failed: {format_failure(trial, state.study_dir)}"


def format_failure(trial: FrozenTrial, study_dir: Path) -> str:
    """Return why a trial failed, and where its last job has its log, or its worker one if the job had not begun."""
    line: str = trial.user_attrs.get("failure.reason", "unknown reason")
    attempts = read_repeats(trial, ATTEMPT_KEY)
    log_file = attempts[max(attempts)]["log"] if attempts else None
    if log_file is None and trial.user_attrs.get("failure.kind") == "worker_died":
        log_file = WORKERS_DIR if (study_dir / WORKERS_DIR).exists() else None  # a launcher keeps its own
    return line if log_file is None else f"{line} (log: {os.path.normpath(study_dir / log_file)})"


def format_result(trial: FrozenTrial, state: StudyState) -> str:
    """Return the objectives of a complete trial as people read them, and whether they are no means."""
    return f"{format_objectives(trial.values, state.metric_names)}{' (bound)' if state.is_bound else ''}"


def format_objectives(values: Sequence[float], metric_names: Sequence[str]) -> str:
    """Return the objectives of a trial as people read them, in percent where their names say so."""
    names = metric_names or [""] * len(values)
    return ", ".join(format_metric(name, value) for name, value in zip(names, values, strict=True))


def format_values(values: Mapping[str, Any]) -> str:
    """Return parameters as overrides, numbers to four digits."""
    return " ".join(f"{key}={format_setting(value)}" for key, value in values.items())
