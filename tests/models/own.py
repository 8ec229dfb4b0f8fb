"""Networks of one's own, each of a habit that the built-in ones do not have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sentiment.config.option import OPTIONS
from sentiment.models.recurrent import TextClassificationRNN


class Plain(nn.Module):
    """Has nothing but `forward`; stands behind ``model=rnn`` while `registered`."""

    def __init__(self, vocabulary_size: int, classes: int, embedding_size: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary_size, embedding_size)
        self.head = nn.Linear(embedding_size, classes)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Classify (B, T) tokens."""
        return self.head((self.words(tokens) * mask.unsqueeze(-1)).sum(1))


class Masking(Plain):
    """Keeps the mask of a window among its state, by which a token sees those before it alone."""

    window: Tensor

    def __init__(self, vocabulary_size: int, classes: int, embedding_size: int) -> None:
        super().__init__(vocabulary_size, classes, embedding_size)
        self.register_buffer("window", torch.full((128, 128), -torch.inf).triu(1))
        self.frozen = nn.Parameter(torch.full((4,), -torch.inf), requires_grad=False)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Classify (B, T) tokens."""
        words, size = self.words(tokens), tokens.shape[1]
        seen = (words @ words.mT + self.window[:size, :size]).softmax(2) @ words
        return self.head((seen * mask.unsqueeze(-1)).sum(1))


class Normed(Plain):
    """Takes the means of a batch."""

    norm: type[nn.Module] = nn.BatchNorm1d

    def __init__(self, vocabulary_size: int, classes: int, embedding_size: int) -> None:
        super().__init__(vocabulary_size, classes, embedding_size)
        self.head = nn.Sequential(self.norm(embedding_size), self.head)


class Reading(Plain):
    """Reads numbers of a tensor while it is built."""

    def __init__(self, vocabulary_size: int, classes: int, embedding_size: int) -> None:
        super().__init__(vocabulary_size, classes, embedding_size)
        self.rates = [float(rate) for rate in torch.linspace(0, 0.1, 3).numpy()]


class Remembering(Plain):
    """Keeps what is no tensor among its state."""

    def get_extra_state(self) -> object:
        """Return text."""
        return "text"


class Drawing(Plain):
    """Draws a projection that is not in its state."""

    def __init__(self, vocabulary_size: int, classes: int, embedding_size: int) -> None:
        super().__init__(vocabulary_size, classes, embedding_size)
        self.keep(torch.randn(embedding_size, embedding_size))

    def keep(self, projection: Tensor) -> None:
        """Keep it as an attribute."""
        self.projection = projection

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Classify (B, T) tokens."""
        return self.head((self.words(tokens) @ self.projection * mask.unsqueeze(-1)).sum(1))


class Passing(Drawing):
    """Keeps it as a buffer that is not in the state."""

    def keep(self, projection: Tensor) -> None:
        """Keep it."""
        self.register_buffer("projection", projection, persistent=False)


class Buffering(Drawing):
    """Keeps it in the state, as it should."""

    def keep(self, projection: Tensor) -> None:
        """Keep it."""
        self.register_buffer("projection", projection)


class Counting(Plain):
    """Counts its training steps, outside of the state, and answers by them."""

    steps = 0

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Classify (B, T) tokens."""
        self.steps += self.training
        return super().forward(tokens, mask) * (1 + self.steps)


class Dropping(Plain):
    """Drops words, in training and where it answers, and keeps what it first made of a batch."""

    scale: Tensor | None = None

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Classify (B, T) tokens."""
        if self.scale is None:
            self.scale = torch.ones_like(tokens[0, 0], dtype=torch.float32)
        kept = nn.functional.dropout(self.words(tokens), 0.1, training=True)
        return self.head((kept * mask.unsqueeze(-1)).sum(1)) * self.scale


class Turned(TextClassificationRNN):
    """Inherits all parts, and puts them together otherwise."""

    def forward(self, tokens: Tensor, mask_or_lengths: Tensor) -> Tensor:
        """Classify (B, T) tokens."""
        return -super().forward(tokens, mask_or_lengths)


@contextmanager
def registered(network: type[nn.Module]) -> Iterator[None]:
    """Let a network of one's own stand behind the settings of ``model=rnn``."""
    key = ("model", "rnn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(OPTIONS, key, replace(OPTIONS[key], target=network, code="a" * 64))  # type: ignore[misc]
        yield
