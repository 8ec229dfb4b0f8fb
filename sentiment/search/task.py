"""Wraps an application's task, so that a job knows its trial and its outcome outlives its process."""

from __future__ import annotations

from typing import Any

import optuna
from hydra.types import TaskFunction
from omegaconf import DictConfig

from sentiment.errors import RunPruned
from sentiment.search.current import running
from sentiment.search.outcome import Outcome, complete, failed
from sentiment.search.trial import TrialAddress


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
            trial.write_outcome(outcome)
            return outcome
