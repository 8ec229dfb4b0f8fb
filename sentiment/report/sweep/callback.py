"""Wires a multirun to its parent run and its report; with `run.py`, the edge where Hydra's objects are known."""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from sentiment.config.home import PROJECT_DIR
from sentiment.config.objective import find_direction, list_objectives, select_objective
from sentiment.errors import SentimentError, TrackingError
from sentiment.search.plugin.command_line import STUDY_SWEEPER
from sentiment.tracking.ending import FINISHED, Ending, ending_of

if TYPE_CHECKING:
    from sentiment.report.sweep.ranking import Ranking
    from sentiment.search.progress.events import StudyState
    from sentiment.search.workers.job import Finished
    from sentiment.tracking.mlflow.parent import Parent
    from sentiment.tracking.result_file import ResultRecord

log = logging.getLogger(__name__)


class SweepCallback(Callback):
    """Starts the parent run before the first job; reports and ends it after the last one.

    Hydra turns every `Exception` of a callback into a warning and goes on, so a multirun whose store cannot be
    opened would train for hours and record nothing. `SystemExit` is no `Exception`: it gets through and ends it.
    """

    def __init__(self) -> None:
        self._parent: Parent | None = None
        self._started = False
        self._study: StudyState | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Start the parent run, where MLflow records."""
        if _is_study(config):
            return  # not before the study has checked its space: see on_study_start
        try:
            self._start(config)
        except Exception as error:
            _give_up(error)

    def on_study_start(self, config: DictConfig, state: StudyState) -> None:
        """Start the parent run of a study, or take it up again, once its space is checked."""
        self._start(config)

    def on_trial_job_end(self, config: DictConfig, finished: Finished) -> None:
        """Close the record of a job whose process died: it could not do so itself."""
        outcome = finished.outcome
        if outcome.kind == "worker_died":
            from sentiment.tracking.abandoned import close_abandoned

            close_abandoned(_sweep_dir(config) / str(finished.job.number), outcome.reason or "", config.tracking.uri)

    def on_trial_end(self, config: DictConfig, state: StudyState, **kwargs: Any) -> None:
        """Show on the parent run how the study stands."""
        if self._parent is None:
            return
        from sentiment.report.sweep.ranking import rank
        from sentiment.tracking.mlflow.parent import update_sweep
        from sentiment.tracking.result_file import read_results

        self._study = state
        objective = select_objective(config.objective)
        ranking = rank(read_results(_sweep_dir(config)), objective, find_direction(objective))
        try:
            update_sweep(self._parent, [row.record for row in ranking.rows], self._best(config, ranking), objective)
        except TrackingError as error:
            # The trial itself is safe; the next one writes the parent anew, and the end of the study insists.
            log.warning("The parent run could not be updated: %s", error)

    def _best(self, config: DictConfig, ranking: Ranking) -> ResultRecord | None:
        """Give the run to show as the best: a study's own choice, which knows limits and repeats, else the first."""
        if self._study is None or len(self._study.best) != 1:
            return ranking.best
        trial = self._study.best[0]
        number = trial.user_attrs.get("reused_from", trial.number) * config.hydra.sweeper.repeats
        return next((row.record for row in ranking.finished if row.record.job_number == number), ranking.best)

    def on_study_end(self, config: DictConfig, state: StudyState) -> None:
        """Keep how the study stands for the report, which Hydra asks for next."""
        self._study = state

    def _start(self, config: DictConfig) -> None:
        if config.tracking.mlflow:
            self._parent = _start_parent(config)
        self._started = True

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print and write the report, end the parent run. Hydra calls this however the multirun ended."""
        if not self._started:
            return  # it was refused before it began
        interruption = sys.exc_info()[1]  # what is on its way out while Hydra's `finally` calls us
        try:
            self._report(config, interruption)
        except Exception as error:
            if interruption is None:
                _give_up(error)
            _complain(error)  # the first error is the one that people should see last

    def _report(self, config: DictConfig, interruption: BaseException | None) -> None:
        from sentiment.report.sweep.multirun import report_multirun, write_sweep_report

        files: list[Path] = []
        ending = Ending("FAILED", "exception", "the report could not be made")
        try:
            objective = select_objective(config.objective)
            ranking, files = report_multirun(_sweep_dir(config), objective, find_direction(objective))
            ending = _ending_of_study(interruption) if _is_study(config) else _ending(ranking, interruption)
            if self._parent is not None:
                from sentiment.tracking.mlflow.parent import update_sweep

                records = [row.record for row in ranking.rows]
                update_sweep(self._parent, records, self._best(config, ranking), objective)
            if ranking.rows:
                storage = config.hydra.sweeper.storage if _is_study(config) else None
                files.append(write_sweep_report(_sweep_dir(config), list_objectives(config.objective), storage))
        finally:
            if self._parent is not None:
                from sentiment.tracking.mlflow.parent import finish_sweep

                finish_sweep(self._parent, ending, files)


def _start_parent(config: DictConfig) -> Parent:
    from sentiment.tracking.mlflow.parent import start_sweep  # takes seconds, which a multirun without MLflow saves

    base = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    return start_sweep(
        uri=config.tracking.uri,
        experiment=config.tracking.experiment,
        artifact_dir=str(_anchor(config, config.tracking.artifact_dir)),
        sweep_dir=_sweep_dir(config),
        project_dir=PROJECT_DIR,
        overrides=list(config.hydra.overrides.task),
        base_yaml=OmegaConf.to_yaml(base),
    )


def _sweep_dir(config: DictConfig) -> Path:
    return _anchor(config, config.hydra.sweep.dir)


def _anchor(config: DictConfig, path: str) -> Path:
    """Resolve a path against the folder where the command was started."""
    return (Path(config.hydra.runtime.cwd) / Path(path).expanduser()).resolve()


def _is_study(config: DictConfig) -> bool:
    return bool(config.hydra.sweeper._target_ == STUDY_SWEEPER)


def _ending_of_study(interruption: BaseException | None) -> Ending:
    """Tell how a study ended; failures within the allowed rate are no failure of the study."""
    return FINISHED if interruption is None else ending_of(interruption)


def _ending(ranking: Ranking, interruption: BaseException | None) -> Ending:
    """Tell how the multirun ended: interrupted, with jobs that failed, or well."""
    if interruption is not None and not isinstance(interruption, Exception):
        return ending_of(interruption)
    states = Counter(row.record.status for row in ranking.unfinished)
    if states:
        counts = ", ".join(f"{count} {state.lower()}" for state, count in states.items())
        return Ending("FAILED", "exception", f"{len(ranking.unfinished)} of {len(ranking.rows)} jobs: {counts}")
    return FINISHED if interruption is None else ending_of(interruption)


def _give_up(error: Exception) -> None:
    _complain(error)
    raise SystemExit(1) from error


def _complain(error: Exception) -> None:
    if isinstance(error, SentimentError) and os.environ.get("HYDRA_FULL_ERROR") != "1":
        print(f"\n{error}", file=sys.stderr)
    else:
        sys.__excepthook__(type(error), error, error.__traceback__)
