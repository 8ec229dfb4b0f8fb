"""The LightningModule that learns words."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sentiment.config.schema import OptimizerSettings, SchedulerSettings
from sentiment.data.batching import Batch
from sentiment.training.module import NetworkModule


class WordsModule(NetworkModule):
    """Train an objective of `sentiment.pretraining.objectives`, and measure it on the texts held out.

    ``val/loss`` is the mean negative log-likelihood of a predicted word, ``val/perplexity`` its exponential.

    Args:
        objective: Maps a batch to the mean loss of a predicted word, and the number of those.
        optimizer: The ``optimizer`` group.
        scheduler: The ``scheduler`` group.
        seed: Of what is drawn in a validation: every one asks for the same words.
    """

    def __init__(
        self, objective: nn.Module, optimizer: OptimizerSettings, scheduler: SchedulerSettings, seed: int
    ) -> None:
        super().__init__(objective, optimizer, scheduler)
        self.seed = seed
        self._loss, self._words = 0.0, 0

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the loss of one batch."""
        loss: Tensor = self.network(batch)[0]
        return loss

    def on_validation_epoch_start(self) -> None:
        """Begin a mean over all words."""
        self._loss, self._words = 0.0, 0

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Add the loss of one batch."""
        random = torch.Generator().manual_seed(self.seed + batch_index)
        loss, words = self.network(batch, random)
        self._loss, self._words = self._loss + float(loss) * words, self._words + words

    def on_validation_epoch_end(self) -> None:
        """Publish the mean."""
        loss = self._loss / self._words if self._words else math.nan
        self.log_dict({"val/loss": loss, "val/perplexity": math.exp(min(loss, 700.0))})
