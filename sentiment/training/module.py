"""One LightningModule for every network."""

from __future__ import annotations

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows
from torch.optim.lr_scheduler import LambdaLR

from sentiment.config.objective import is_leading
from sentiment.config.schema import OptimizerSettings, SchedulerSettings
from sentiment.data.batching import Batch
from sentiment.training.metrics import SplitMetrics, gather
from sentiment.training.optimization import build_optimizer, learning_rate_factor
from sentiment.training.result import TestPredictions


class NetworkModule(pl.LightningModule):
    """A network with its optimizer and its schedule, whatever it learns."""

    network: nn.Module

    def __init__(self, network: nn.Module, optimizer: OptimizerSettings, scheduler: SchedulerSettings) -> None:
        super().__init__()
        self.network = network
        self.optimizer_settings = optimizer
        self.scheduler_settings = scheduler

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Build optimizer and schedule; the schedule knows the number of steps in advance."""
        fused = not self.trainer.precision.endswith("mixed")
        optimizer = build_optimizer(self.optimizer_settings, self.network, fused=fused)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = LambdaLR(optimizer, learning_rate_factor(self.scheduler_settings, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class TextClassificationModule(NetworkModule):
    """Train any network that maps (tokens, mask) to logits.

    Cross-entropy over K classes, two included, so that binary and multi-class data take the same path. Labels are
    smoothed in training only: the reported losses are comparable between runs.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        classes: int,
        optimizer: OptimizerSettings,
        scheduler: SchedulerSettings,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(network, optimizer, scheduler)
        self.label_smoothing = label_smoothing
        self.validation_metrics = SplitMetrics(classes, "val/")
        self.test_metrics = SplitMetrics(classes, "test/", calibration=True)
        self.test_predictions: TestPredictions | None = None
        self._test_parts: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Map tokens (B, T) and mask (B, T) to logits (B, K)."""
        logits: Tensor = self.network(tokens, mask)
        return logits

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the loss of one batch, weighted as its share is: gradients are averaged over the replicas."""
        logits = self(batch.tokens, batch.mask)  # (B, K)
        targets = batch.labels if batch.targets is None else batch.targets
        loss = F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        return loss if batch.weight == 1 else loss * batch.weight

    def validation_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Add one batch to the validation metrics; return its probabilities (B, K), for callbacks."""
        return self._evaluate(batch, self.validation_metrics)

    def on_validation_epoch_end(self) -> None:
        """Publish the validation metrics, for the checkpoint, early stopping and the reporter."""
        metrics = self.validation_metrics.compute()
        for name, value in metrics.items():
            self.log(name, value, prog_bar=is_leading(name))
        self.validation_metrics.reset()

    def test_step(self, batch: Batch, batch_index: int) -> None:
        """Add one batch to the test metrics, and keep its predictions."""
        probabilities = self._evaluate(batch, self.test_metrics)
        if batch.weight:
            self._test_parts.append((batch.rows, batch.labels, probabilities))

    def on_test_epoch_end(self) -> None:
        """Publish the test metrics, and put the predictions into the order of the split: batches are by length."""
        self.log_dict(self.test_metrics.compute())
        self.test_metrics.reset()
        parts = zip(*self._test_parts, strict=True)
        rows, labels, probabilities = (gather(torch.cat(part)).cpu().numpy() for part in parts)
        order = np.argsort(rows)
        self.test_predictions = TestPredictions(labels[order], probabilities[order].astype(np.float32))
        self._test_parts.clear()

    def _evaluate(self, batch: Batch, metrics: SplitMetrics) -> Tensor:
        logits = self(batch.tokens, batch.mask).float()
        probabilities: Tensor = logits.softmax(dim=1)  # (B, K)
        if batch.weight:
            metrics.update(probabilities, batch.labels, F.cross_entropy(logits, batch.labels))
        return probabilities
