"""Passes what training reports on to the trial: the one bridge between the two."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sentiment.config.schema import NgramSettings, Settings

if TYPE_CHECKING:
    from sentiment.search.trial import RunningTrial


PROGRESS_SECONDS = 2.0
"""Time between two tellings of progress within an epoch: each is a write to the study's storage."""


def watch_training(trial: RunningTrial, settings: Settings) -> TrialReporter:
    """Let a trial's study watch one training run.

    The n-gram classifier has a single validation, at its end: there is nothing left to prune, and a pruner that took
    it for a first epoch would hold networks against it.
    """
    trainer = settings.trainer
    if isinstance(settings.model, NgramSettings):
        return TrialReporter(trial, settings.objective, validations_per_epoch=1, max_epochs=1, is_pruned=False)
    return TrialReporter(trial, settings.objective, trainer.validations_per_epoch, trainer.max_epochs)


class TrialReporter:
    """A `sentiment.training.reporter.Reporter` that lets a study prune.

    Args:
        trial: The job's trial.
        objective: Metric that the study compares.
        validations_per_epoch: Steps of the pruner in an epoch: it counts validations, so that trials with different
            batch sizes are compared at the same share of their training.
        max_epochs: Epochs that training takes at most.
        is_pruned: Whether the pruner hears of the validations.
    """

    def __init__(
        self,
        trial: RunningTrial,
        objective: str,
        validations_per_epoch: int,
        max_epochs: int,
        *,
        is_pruned: bool = True,
    ) -> None:
        self._trial = trial
        self._objective = objective
        self._validations_per_epoch = validations_per_epoch
        self._max_epochs = max_epochs
        self._is_pruned = is_pruned
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
        if self._is_pruned:
            self._trial.report(value, step=round(epoch * self._validations_per_epoch) - 1)

    def tested(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Nothing: a study must not see the test split."""

    def _tell(self, epoch: float) -> None:
        self._told = time.monotonic()
        self._trial.progress(epoch / self._max_epochs, f"epoch {epoch:.3g}/{self._max_epochs}{self._last}")
