"""From settings to a network."""

from __future__ import annotations

from typing import cast

from torch import nn

from sentiment.config.extension import find_extension
from sentiment.config.schema import ModelSettings, NgramSettings, TransformerSettings
from sentiment.models.ngram import NgramClassifier
from sentiment.models.recurrent import TextClassificationRNN
from sentiment.models.transformer import TextClassificationTransformer


def build_model(settings: ModelSettings, *, vocabulary_size: int, classes: int, max_tokens: int | None) -> nn.Module:
    """Build the network that the settings describe, with fresh weights from torch's global generator.

    The n-gram classifier begins without any n-gram: they and their weights are learnt together.

    Args:
        settings: The ``model`` group of the configuration.
        vocabulary_size: Number of token ids, from the tokenizer.
        classes: Number K of classes.
        max_tokens: Most tokens T of a review; only a Transformer has such a limit, and needs one.
    """
    extension = find_extension(settings)
    if extension is not None:
        network = extension.build(settings, vocabulary_size=vocabulary_size, classes=classes, max_tokens=max_tokens)
        return cast(nn.Module, network)
    if isinstance(settings, NgramSettings):
        return NgramClassifier(
            vocabulary_size=vocabulary_size,
            classes=classes,
            max_n=settings.max_n,
            keep_unknown=settings.keep_unknown,
        )
    choices = settings.model_dump(exclude={"name"})
    if isinstance(settings, TransformerSettings):
        if max_tokens is None:
            raise ValueError("a Transformer needs max_tokens: its position embedding has that many entries; give it")
        return TextClassificationTransformer(
            vocabulary_size=vocabulary_size, classes=classes, max_tokens=max_tokens, **choices
        )
    return TextClassificationRNN(vocabulary_size=vocabulary_size, classes=classes, **choices)


def count_parameters(module: nn.Module) -> int:
    """Count the trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
