"""Who watches a study: the results file, the application's Hydra callbacks, and the terminal or the log."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf
from optuna.trial import FrozenTrial

from sentiment.atomic import write_text
from sentiment.search.progress.events import Observer, RunningJob, StudyState
from sentiment.search.progress.lines import EventLines
from sentiment.search.workers.job import Finished, Job

RESULTS_FILE = "optimization_results.yaml"
"""The file of the stock plugin, written after every trial, so that an aborted study has one."""


class ApplicationObserver:
    """Keeps `RESULTS_FILE` up to date, and passes events on to the application's Hydra callbacks, those that know them.

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

    def job_started(self, job: Job, trial: RunningJob) -> None:
        """No callback knows of it."""

    def job_ended(self, finished: Finished) -> None:
        """Call ``on_trial_job_end``."""
        self._call("on_trial_job_end", finished=finished)

    def trial_ended(self, trial: FrozenTrial, state: StudyState) -> None:
        """Write the file, then call ``on_trial_end``."""
        write_results(state.study_dir, state.best, len(state.directions))
        self._call("on_trial_end", trial=trial, state=state)

    def waited(self, state: StudyState) -> None:
        """No callback knows of it."""

    def study_ended(self, state: StudyState) -> None:
        """Write what other commands have found meanwhile, then call ``on_study_end``."""
        write_results(state.study_dir, state.best, len(state.directions))
        self._call("on_study_end", state=state)

    def _call(self, event: str, **content: Any) -> None:
        for callback in self._callbacks:
            handler = getattr(callback, event, None)
            if handler is not None:
                handler(config=self._config, **content)


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


def watch(
    progress: Literal["auto", "table", "lines", "none"], context: HydraContext, config: DictConfig, *, alone: bool
) -> list[Observer]:
    """Return the observers of a study.

    Args:
        progress: How people see it.
        context: Hydra's context, with the application's callbacks.
        config: The configuration of the study.
        alone: Whether jobs print to this process' terminal; a table would get in their way.
    """
    application: Observer = ApplicationObserver(context.callbacks.callbacks, config)
    if progress == "table" or (progress == "auto" and sys.stdout.isatty() and not alone):
        from sentiment.search.progress.table import LiveTable

        return [LiveTable(), application]
    return [application] if progress == "none" else [EventLines(), application]
