"""Passes what training reports on to the trial: the one bridge between the two."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sentiment.config.schema import Settings

if TYPE_CHECKING:
    from sentiment.search.trial import RunningTrial


PROGRESS_SECONDS = 2.0
"""Time between two tellings of progress within an epoch: each is a write to the study's storage."""


def watch_training(trial: RunningTrial, settings: Settings) -> TrialReporter:
    """Let a trial's study watch one training run."""
    trainer = settings.trainer
    return TrialReporter(trial, settings.objective, trainer.validations_per_epoch, trainer.max_epochs)


class TrialReporter:
    """A `sentiment.training.reporter.Reporter` that lets a study prune.

    Args:
        trial: The job's trial.
        objective: Metric that the study compares.
        validations_per_epoch: Steps of the pruner in an epoch: it counts validations, so that trials with different
            batch sizes are compared at the same share of their training.
        max_epochs: Epochs that training takes at most.
    """

    def __init__(self, trial: RunningTrial, objective: str, validations_per_epoch: int, max_epochs: int) -> None:
        self._trial = trial
        self._objective = objective
        self._validations_per_epoch = validations_per_epoch
        self._max_epochs = max_epochs
        self._told = 0.0
        self._last = ""

    def trained(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Tell how far training is, now and then; a pruner compares validations.

        Raises:
            RunPruned: The trial is a probe that has seen enough.
        """
        if time.monotonic() - self._told >= PROGRESS_SECONDS and epoch < self._max_epochs:
            self._tell(epoch)

    def validated(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Report the objective.

        Raises:
            RunPruned: The study has no use for this trial.
        """
        value = metrics[self._objective]
        self._last = f", {value:.4f}"
        self._tell(epoch)
        self._trial.report(value, step=round(epoch * self._validations_per_epoch) - 1)

    def tested(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Nothing: a study must not see the test split."""

    def _tell(self, epoch: float) -> None:
        self._told = time.monotonic()
        self._trial.progress(epoch / self._max_epochs, f"epoch {epoch:.3g}/{self._max_epochs}{self._last}")
