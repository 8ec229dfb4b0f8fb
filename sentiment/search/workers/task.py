"""Wraps an application's task, so that a job knows its trial and its outcome outlives its process."""

from __future__ import annotations

import logging
from typing import Any

import optuna
from hydra.types import TaskFunction
from omegaconf import DictConfig
from optuna.exceptions import OptunaError

from sentiment.errors import RunPruned
from sentiment.search.storage.address import StorageError
from sentiment.search.study.current import running
from sentiment.search.study.outcome import Outcome, complete, failed
from sentiment.search.study.trial import TrialAddress

log = logging.getLogger(__name__)


class TrialTask:
    """Hydra's task function for one job of a trial.

    Hydra's launchers pickle the task function to wherever the job runs; the address travels with it. What comes back
    is an `Outcome`; an exception of the job goes on to Hydra, which reports it as it does everywhere.
    """

    def __init__(self, task: TaskFunction, address: TrialAddress, objectives: int) -> None:
        self.task = task
        self.address = address
        self.objectives = objectives

    def __call__(self, config: DictConfig) -> Any:
        """Run the job, or give the outcome that an earlier process of the same job has left."""
        with self.address.attend() as trial:
            known = trial.read_outcome()
            if known is not None:
                return known
            try:
                with running(trial):
                    outcome = complete(self.task(config), self.objectives)
                    if outcome.state == "complete" and self.objectives == 1:
                        trial.finish_repeat(outcome.values[0])
            except (RunPruned, optuna.TrialPruned) as pruned:
                outcome = Outcome("pruned", reason=str(pruned) or "pruned")
            except Exception as error:
                trial.write_outcome(failed(error))
                raise
            try:
                trial.write_outcome(outcome)
            except (StorageError, OptunaError) as error:
                # The study's process gets the outcome all the same, and says so if it cannot write either.
                log.warning("The outcome could not be kept by the job itself: %s", error)
            return outcome
