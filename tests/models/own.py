"""Networks of one's own, each of a habit that the built-in ones do not have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sentiment.config.option import OPTIONS


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


@contextmanager
def registered(network: type[nn.Module]) -> Iterator[None]:
    """Let a network of one's own stand behind the settings of ``model=rnn``."""
    key = ("model", "rnn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(OPTIONS, key, replace(OPTIONS[key], target=network, code="a" * 64))  # type: ignore[misc]
        yield
