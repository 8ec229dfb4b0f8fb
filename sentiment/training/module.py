"""What Lightning's trainer is given: one module for every network, with optimizer and schedule, and data in batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everybody knows
from torch.nn.utils import get_total_norm
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from sentiment.config.objective import is_leading
from sentiment.config.schema import (
    AdamSettings,
    AdamWSettings,
    ConstantSettings,
    OptimizerSettings,
    SchedulerSettings,
    SGDSettings,
    WarmupCosineSettings,
)
from sentiment.data.batching import Batch, Cut, Item, LengthBatches, collate
from sentiment.data.corpus import Corpus, EncodedSplit
from sentiment.training.metrics import SplitMetrics, gather
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


@dataclass(eq=False)
class CutReviews(Dataset[Item]):
    """The reviews of one split, cut to what a model sees."""

    split: EncodedSplit
    cut: Cut

    def __len__(self) -> int:
        """Number of reviews N."""
        return len(self.split)

    def __getitem__(self, index: int) -> Item:
        """Return one review."""
        ids = self.cut.cut_ids(self.split[index])
        targets = self.split.targets
        return Item(ids, int(self.split.labels[index]), index, None if targets is None else targets[index])


class ReviewDataModule(pl.LightningDataModule):
    """Batches of similar length for training, validation and test.

    The training batches of an epoch depend on (`seed`, epoch) alone. The loader is made anew each epoch, so the
    Trainer must have ``reload_dataloaders_every_n_epochs=1``. Batches are made in the main process: a batch takes
    less time to cut and pad than to hand over from a worker process. Each replica of the run sees its share of every
    batch, so that there are the same batches on any number of devices.

    Batches hold `batch_size` reviews, of each what `cut` keeps; `seed` is that of the shuffling. Where a pass takes an
    hour, it is cut into `parts`, each of which is an epoch to the trainer: it can be taken up after each of them.
    """

    def __init__(self, corpus: Corpus, *, batch_size: int, cut: Cut, seed: int, parts: int = 1) -> None:
        super().__init__()
        self.corpus = corpus
        self.batch_size = batch_size
        self.cut = cut
        self.seed = seed
        self.parts = parts

    def train_dataloader(self) -> DataLoader[Item]:
        """Batches of the trainer's current epoch (the first one without a trainer), shuffled."""
        epoch, part = divmod(self.trainer.current_epoch if self.trainer is not None else 0, self.parts)
        return self._loader(self.corpus.train, seed=self.seed, epoch=epoch, part=part, parts=self.parts)

    def val_dataloader(self) -> DataLoader[Item]:
        """Validation batches, always the same ones."""
        return self._loader(self.corpus.validation)

    def test_dataloader(self) -> DataLoader[Item]:
        """Test batches, always the same ones."""
        return self._loader(self.corpus.test)

    def list_training(self) -> list[Item]:
        """List the training reviews as a network sees them, in the order of their split."""
        reviews = CutReviews(self.corpus.train, self.cut)
        return [reviews[row] for row in range(len(reviews))]

    def _loader(self, split: EncodedSplit, **which: int) -> DataLoader[Item]:
        on_cuda = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        replica, replicas = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        return DataLoader(
            CutReviews(split, self.cut),
            batch_sampler=LengthBatches(self.cut.cut_lengths(split.lengths), self.batch_size, **which),
            collate_fn=partial(collate, replica=replica, replicas=replicas),
            pin_memory=on_cuda,
            # A loader draws a number when it starts; its own stream keeps it from shifting that of dropout.
            generator=torch.Generator().manual_seed(self.seed),
        )


def build_optimizer(settings: OptimizerSettings, network: nn.Module, *, fused: bool = True) -> Optimizer:
    """Build the optimizer; matrices of linear and recurrent layers decay, and what else `group_by_decay` says.

    Args:
        settings: The ``optimizer`` group.
        network: What to train.
        fused: Use torch's fused kernels for Adam: a step of a 4-million-parameter network took a quarter of the time
            on a CPU. Not with mixed precision: Lightning cannot clip gradients that a fused optimizer unscales.
    """
    match settings:
        case AdamWSettings():
            groups = group_by_decay(network, settings.weight_decay, settings.embedding_decay)
            return AdamW(groups, lr=settings.lr, betas=(settings.beta1, settings.beta2), fused=fused)
        case AdamSettings():
            betas = (settings.beta1, settings.beta2)
            return Adam(trainable(network.parameters()), lr=settings.lr, betas=betas, fused=fused)
        case SGDSettings():
            groups = group_by_decay(network, settings.weight_decay)
            return SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.nesterov)


def learning_rate_factor(settings: SchedulerSettings, total_steps: int) -> Callable[[int], float]:
    """Return the learning rate of each step (from 0), as a share of the peak.

    The rise is linear and reaches the peak on step ``warmup_fraction * total_steps``; its first step is not 0, so
    that no step is wasted.
    """
    warmup_steps = math.ceil(settings.warmup_fraction * total_steps)

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        if isinstance(settings, ConstantSettings):
            return 1.0
        progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
        fall = (1 + math.cos(math.pi * progress)) / 2 if isinstance(settings, WarmupCosineSettings) else 1 - progress
        return settings.final_fraction + (1 - settings.final_fraction) * fall

    return factor


def group_by_decay(
    network: nn.Module, weight_decay: float, embedding_decay: float | None = None
) -> list[dict[str, object]]:
    """Split the parameters into those that decay and those that do not.

    Decay pulls towards 0: sensible for matrices that mix features, harmful for gains and offsets. The rows of an
    embedding shrink also at every step in which their word does not occur, so that rare words come to matter less:
    `embedding_decay` is for those who want that; None: they do not decay.
    """
    tables = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
    parameters = trainable(network.parameters())
    embeddings = [parameter for parameter in parameters if id(parameter) in tables and embedding_decay is not None]
    decaying = [parameter for parameter in parameters if parameter.ndim >= 2 and id(parameter) not in tables]
    chosen = {id(parameter) for parameter in [*decaying, *embeddings]}
    others = [parameter for parameter in parameters if id(parameter) not in chosen]
    groups: list[dict[str, object]] = [
        {"params": decaying, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return groups if embedding_decay is None else [*groups, {"params": embeddings, "weight_decay": embedding_decay}]


def trainable(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Leave frozen parameters out."""
    return [parameter for parameter in parameters if parameter.requires_grad]


def move_average(averaged: list[Tensor], current: list[Tensor], count: Tensor, *, decay: float) -> None:
    """Move the averages of tensors of one type by a step, after `count` steps before.

    The decay grows to its full size with the steps, min(decay, (1 + n) / (10 + n)), as in TensorFlow's
    ExponentialMovingAverage: an average that starts at the full one is mostly fresh weights for hundreds of steps, and
    what is validated then says nothing of the training. Whole numbers, such as counts of batches, are copied; so is an
    infinity, which has no mean with anything: the mask of a window stays what it is.
    """
    if averaged[0].is_floating_point() or averaged[0].is_complex():
        steps = int(count)
        average = get_ema_multi_avg_fn(min(decay, (1 + steps) / (10 + steps)))  # type: ignore[no-untyped-call]
        average(averaged, current, count)
        if not get_total_norm(averaged).isfinite():
            for tensor, value in zip(averaged, current, strict=True):
                tensor.copy_(torch.where(tensor.isfinite(), tensor, value))
        return
    for tensor, value in zip(averaged, current, strict=True):
        tensor.copy_(value)
