"""Time training steps of a network on given batches: forward, backward, clipping and optimizer, as the trainer does."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from sentiment.config.schema import Settings
from sentiment.data.batching import Batch
from sentiment.data.corpus import Corpus
from sentiment.models.build import build_model
from sentiment.training.module import build_optimizer
from sentiment.training.run import build_data

WARM_UP_STEPS = 3

PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "_scaled_dot_product", "mkldnn_rnn_layer")
"""Beginnings of the names of torch's operations that are matrix products, or in one piece with them."""


@dataclass(frozen=True)
class Timing:
    """What some steps took."""

    # Time of all steps: processor time of this process on a CPU, which other processes hardly change; time on the wall
    # on an accelerator.
    seconds: float
    reviews: int  # reviews in them
    tokens: int  # real tokens in them
    memory_bytes: int | None  # largest memory that torch held on the accelerator; None on a CPU


class ProductClock(TorchDispatchMode):
    """Sums the processor time of the matrix products that run under it: what no other way to write a network saves.

    Attributes:
        seconds: The sum.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seconds = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation."""
        began = time.process_time()
        result = func(*args, **(kwargs or {}))
        if func.name().removeprefix("aten::").startswith(PRODUCTS):
            self.seconds += time.process_time() - began
        return result


class Stepper:
    """Trains a network step by step on one device.

    Args:
        network: Maps (B, T) tokens and a (B, T) mask to (B, K) logits.
        settings: Whose optimizer and clipping are taken.
        device: Where to.
        precision: ``float32`` or ``bfloat16``; the latter by automatic mixed precision.
    """

    def __init__(
        self, network: nn.Module, settings: Settings, device: torch.device, precision: str = "float32"
    ) -> None:
        self.network = network.to(device).train()
        self.device = device
        self.clip = settings.trainer.gradient_clip_norm
        self.optimizer = build_optimizer(settings.optimizer, self.network, fused=precision == "float32")
        self.casting = (
            nullcontext() if precision == "float32" else torch.autocast(device.type, getattr(torch, precision))
        )

    def step(self, batch: Batch) -> None:
        """Train on one batch."""
        tokens, mask, labels = (part.to(self.device) for part in (batch.tokens, batch.mask, batch.labels))
        with self.casting:
            loss = functional.cross_entropy(self.network(tokens, mask), labels)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        self.optimizer.step()

    def time(self, batches: Sequence[Batch]) -> Timing:
        """Train on batches and return what that took; the first ones are done once more before, untimed."""
        for batch in batches[:WARM_UP_STEPS]:
            self.step(batch)
        on_cpu = self.device.type == "cpu"
        clock = time.process_time if on_cpu else time.perf_counter
        if not on_cpu:
            torch.accelerator.synchronize()
            torch.cuda.reset_peak_memory_stats()
        began = clock()
        for batch in batches:
            self.step(batch)
        if not on_cpu:
            torch.accelerator.synchronize()
        seconds = clock() - began
        reviews, tokens = sum(len(batch.labels) for batch in batches), sum(int(batch.mask.sum()) for batch in batches)
        return Timing(seconds, reviews, tokens, None if on_cpu else torch.cuda.max_memory_allocated())

    def time_products(self, batches: Sequence[Batch]) -> float:
        """Train on batches on a CPU and return the seconds that their matrix products took."""
        clock = ProductClock()
        with clock:
            for batch in batches:
                self.step(batch)
        return clock.seconds


def draw_batches(settings: Settings, corpus: Corpus, count: int) -> list[Batch]:
    """Return the first `count` batches of an epoch, or all of a smaller one."""
    loader: Iterable[Batch] = build_data(settings, corpus).train_dataloader()
    return [batch for _, batch in zip(range(count), loader, strict=False)]


def build_network(settings: Settings, corpus: Corpus) -> nn.Module:
    """Build the network of the settings with the seed's weights."""
    torch.manual_seed(settings.seed)
    return build_model(
        settings.model,
        vocabulary_size=corpus.tokenizer.vocabulary_size,
        classes=len(corpus.class_names),
        max_tokens=settings.data.max_tokens,
    )
