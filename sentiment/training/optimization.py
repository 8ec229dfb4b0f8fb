"""Optimizer and learning-rate schedule from their settings, and the average of the weights that they lead to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from sentiment.config.schema import (
    AdamSettings,
    AdamWSettings,
    ConstantSettings,
    OptimizerSettings,
    SchedulerSettings,
    SGDSettings,
    WarmupCosineSettings,
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
