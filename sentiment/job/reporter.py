"""Report a run's metrics to the study of its trial."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from sentiment.config.conflicts import explain_lost_pauses
from sentiment.config.objective import select_objective
from sentiment.config.option import find_option
from sentiment.config.schema import Settings
from sentiment.errors import ConfigError
from sentiment.format import is_share
from sentiment.search.study.current import RunningTrial
from sentiment.training.result import PROGRESS_SECONDS, Reporter

if TYPE_CHECKING:
    from sentiment.data.corpus import Corpus

PARAMETERS = "model/parameters"
"""The number that is known before training: as an objective, and where it is limited."""


def watch_training(trial: RunningTrial, settings: Settings, corpus: Corpus) -> TrialReporter:
    """Let a trial's study watch one training run.

    A model that is fitted in one go has a single validation, at its end: it cannot be pruned, and a pruner would
    compare the first epoch of networks with it.

    Raises:
        ConfigError: The trial is to pause, and the run would write no checkpoint.
    """
    trainer, fitter = settings.trainer, find_option(settings.model).fitter
    if trial.is_to_pause and not (trainer.resume or fitter):
        raise ConfigError([explain_lost_pauses()])
    watch = partial(TrialReporter, trial, settings.objectives, len(corpus.validation))
    if fitter:
        return watch(validations_per_epoch=1, max_epochs=1, is_pruned=False)
    is_asked = PARAMETERS in (*settings.objectives, *trial.limited)
    known = {PARAMETERS: float(count_ahead(settings, corpus))} if is_asked else {}
    if PARAMETERS in trial.limited:
        trial.describe(known)
    return watch(trainer.validations_per_epoch, trainer.max_epochs, known=known)


def count_ahead(settings: Settings, corpus: Corpus) -> int:
    """Count the parameters of a run's network before it is built."""
    from sentiment.models.build import count_parameters
    from sentiment.training.run import plan_network

    return count_parameters(plan_network(settings, corpus))


@dataclass
class TrialReporter(Reporter):
    """Lets a study prune by validations; a study must not see the test split."""

    trial: RunningTrial  # the job's trial
    # Metrics that the study compares; what a validation does not tell, and `known` does not, is NaN.
    objectives: Sequence[str]
    reviews: int  # number of validation reviews: the standard error of a share follows from it
    # Steps of the pruner in an epoch: it counts validations, so that trials with different batch sizes are compared at
    # the same share of their training.
    validations_per_epoch: int
    max_epochs: int  # epochs that training takes at most
    is_pruned: bool = True  # whether the pruner hears of the validations
    known: Mapping[str, float] = field(default_factory=dict)  # metrics that are known from the start
    _told: float = field(default=0.0, init=False)
    _last: str = field(default="", init=False)

    def stepped(self, *, epoch: float) -> None:
        """Tell how far training is, now and then.

        Raises:
            RunPruned: The trial is a probe that has seen enough.
        """
        if time.monotonic() - self._told >= PROGRESS_SECONDS and epoch < self.max_epochs:
            self._tell(epoch)

    def validated(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Report the objective.

        Raises:
            RunPruned: The study has no use for this trial.
        """
        values = [{**self.known, **metrics}.get(name, math.nan) for name in self.objectives]
        self._last = f", {metrics[select_objective(self.objectives)]:.4f}"
        self._tell(epoch)
        if not self.is_pruned:
            return
        step = round(epoch * self.validations_per_epoch) - 1
        if len(values) > 1:
            self.trial.report(values, step=step)
        else:
            error = math.sqrt(values[0] * (1 - values[0]) / self.reviews) if is_share(self.objectives[0]) else 0.0
            self.trial.report(values[0], step=step, error=error)

    def saved(self, *, epoch: float) -> None:
        """Tell that the run can go on from here.

        Raises:
            RunPaused: The trial waits for its promotion.
        """
        self.trial.saved(round(epoch * self.validations_per_epoch))

    def _tell(self, epoch: float) -> None:
        self._told = time.monotonic()
        self.trial.progress(epoch / self.max_epochs, f"epoch {epoch:.3g}/{self.max_epochs}{self._last}")
