"""Who watches a study: the results file, the application's Hydra callbacks, and the terminal or the log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any, Literal

from hydra.types import HydraContext
from omegaconf import DictConfig
from optuna.trial import FrozenTrial

from sentiment.search.progress.events import Observer, RunningJob, StudyState
from sentiment.search.progress.lines import EventLines
from sentiment.search.progress.results import write_results
from sentiment.search.workers.job import Finished, Job

log = logging.getLogger(__name__)


class Silent:
    """An observer that does nothing; others override what they need."""

    def study_started(self, state: StudyState) -> None:
        """Nothing."""

    def job_started(self, job: Job, trial: RunningJob) -> None:
        """Nothing."""

    def job_ended(self, finished: Finished) -> None:
        """Nothing."""

    def trial_ended(self, trial: FrozenTrial, state: StudyState) -> None:
        """Nothing."""

    def waited(self, state: StudyState) -> None:
        """Nothing."""

    def study_ended(self, state: StudyState) -> None:
        """Nothing."""


class ResultsWriter(Silent):
    """Keeps ``optimization_results.yaml`` up to date after every trial, so that an aborted study has one."""

    def trial_ended(self, trial: FrozenTrial, state: StudyState) -> None:
        """Write the file."""
        write_results(state.study_dir, state.best, len(state.directions))

    def study_ended(self, state: StudyState) -> None:
        """Write what other commands have found meanwhile."""
        write_results(state.study_dir, state.best, len(state.directions))


class CallbackCaller(Silent):
    """Passes a study's events on to the application's Hydra callbacks, those that know them.

    A callback may have ``on_study_start(config, state)``, ``on_trial_end(config, trial, state)``,
    ``on_trial_job_end(config, finished)`` and ``on_study_end(config, state)``. Unlike Hydra's own events, an exception
    in them is not turned into a warning.
    """

    def __init__(self, callbacks: Sequence[Any], config: DictConfig) -> None:
        self._callbacks = callbacks
        self._config = config

    def study_started(self, state: StudyState) -> None:
        """Call ``on_study_start``."""
        self._call("on_study_start", state=state)

    def job_ended(self, finished: Finished) -> None:
        """Call ``on_trial_job_end``."""
        self._call("on_trial_job_end", finished=finished)

    def trial_ended(self, trial: FrozenTrial, state: StudyState) -> None:
        """Call ``on_trial_end``."""
        self._call("on_trial_end", trial=trial, state=state)

    def study_ended(self, state: StudyState) -> None:
        """Call ``on_study_end``."""
        self._call("on_study_end", state=state)

    def _call(self, event: str, **content: Any) -> None:
        for callback in self._callbacks:
            handler = getattr(callback, event, None)
            if handler is not None:
                handler(config=self._config, **content)


def watch(
    progress: Literal["auto", "table", "lines", "none"], context: HydraContext, config: DictConfig, *, alone: bool
) -> list[Observer]:
    """Gather the observers of a study.

    Args:
        progress: How people see it.
        context: Hydra's context, with the application's callbacks.
        config: The configuration of the study.
        alone: Whether jobs print to this process' terminal; a table would get in their way.
    """
    observers: list[Observer] = [ResultsWriter(), CallbackCaller(context.callbacks.callbacks, config)]
    if progress == "table" or (progress == "auto" and sys.stdout.isatty() and not alone):
        from sentiment.search.progress.table import LiveTable

        return [LiveTable(), *observers]
    return observers if progress == "none" else [EventLines(), *observers]
