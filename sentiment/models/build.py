"""From settings to a network."""

from __future__ import annotations

from typing import cast

from torch import nn

from sentiment.config.option import find_option
from sentiment.config.schema import ModelSettings


def build_model(settings: ModelSettings, *, vocabulary_size: int, classes: int, max_tokens: int | None) -> nn.Module:
    """Build the network that the settings describe, with fresh weights from torch's global generator.

    The n-gram classifier begins without any n-gram: they and their weights are learnt together.

    `max_tokens` is the most tokens T of a review; only a Transformer has such a limit, and needs one.
    """
    given = {"vocabulary_size": vocabulary_size, "classes": classes, "max_tokens": max_tokens}
    return cast(nn.Module, find_option(settings).build(settings, **given))


def count_parameters(module: nn.Module) -> int:
    """Count the trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
