"""From settings to a network."""

from __future__ import annotations

from torch import nn

from sentiment.config.schema import ModelSettings, TransformerSettings
from sentiment.models.recurrent import TextClassificationRNN
from sentiment.models.transformer import TextClassificationTransformer


def build_model(
    settings: ModelSettings, *, vocabulary_size: int, classes: int, max_tokens: int
) -> TextClassificationTransformer | TextClassificationRNN:
    """Build the network that the settings describe, with fresh weights from torch's global generator.

    Args:
        settings: The ``model`` group of the configuration.
        vocabulary_size: Number of token ids, from the tokenizer.
        classes: Number K of classes.
        max_tokens: Most tokens T of a review; a recurrent network has no such limit.
    """
    choices = settings.model_dump(exclude={"name"})
    if isinstance(settings, TransformerSettings):
        return TextClassificationTransformer(
            vocabulary_size=vocabulary_size, classes=classes, max_tokens=max_tokens, **choices
        )
    return TextClassificationRNN(vocabulary_size=vocabulary_size, classes=classes, **choices)


def count_parameters(module: nn.Module) -> int:
    """Count the trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
