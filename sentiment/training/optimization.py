"""Optimizer and learning-rate schedule from their settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

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
    """Build the optimizer; only matrices of linear and recurrent layers decay, not biases, norms or embeddings.

    Args:
        settings: The ``optimizer`` group.
        network: What to train.
        fused: Use torch's fused kernels for Adam: a step of a 4-million-parameter network took a quarter of the time
            on a CPU. Not with mixed precision: Lightning cannot clip gradients that a fused optimizer unscales.
    """
    match settings:
        case AdamWSettings():
            groups = group_by_decay(network, settings.weight_decay)
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


def group_by_decay(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Split the parameters into those that decay and those that do not.

    Decay pulls towards 0: sensible for matrices that mix features, harmful for gains and offsets, and for the rows of
    an embedding it would shrink rare words at every step in which they do not occur.
    """
    embeddings = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
    parameters = trainable(network.parameters())
    decaying = [parameter for parameter in parameters if parameter.ndim >= 2 and id(parameter) not in embeddings]
    chosen = {id(parameter) for parameter in decaying}
    others = [parameter for parameter in parameters if id(parameter) not in chosen]
    return [{"params": decaying, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def trainable(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Leave frozen parameters out."""
    return [parameter for parameter in parameters if parameter.requires_grad]
