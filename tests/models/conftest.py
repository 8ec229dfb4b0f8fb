"""Small settings and a small tokenizer for the tests of the networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from sentiment.config.schema import RNNSettings, TransformerSettings
from sentiment.data.tokenizer import ReviewTokenizer, train_tokenizer

TRANSFORMER: dict[str, Any] = {
    "name": "transformer",
    "embedding_size": 8,
    "heads": 2,
    "head_form": "narrow",
    "depth": 2,
    "feedforward_ratio": 2.0,
    "norm": "post",
    "activation": "relu",
    "positions": "learned",
    "pooling": "mean",
    "dropout": 0.1,
    "word_dropout": 0.1,
}
RNN: dict[str, Any] = {
    "name": "rnn",
    "cell": "lstm",
    "embedding_size": 8,
    "hidden_size": 5,
    "depth": 2,
    "bidirectional": True,
    "pooling": "max",
    "dropout": 0.1,
    "word_dropout": 0.1,
}

Settings = TransformerSettings | RNNSettings


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    """Give every test the same random numbers, and leave none behind."""
    with torch.random.fork_rng():
        torch.manual_seed(20201123)
        yield


@pytest.fixture(scope="session")
def make_settings() -> Callable[..., Settings]:
    """Small settings of either network, some of them changed."""

    def make(name: str, **changes: Any) -> Settings:
        if name == "transformer":
            return TransformerSettings.model_validate(TRANSFORMER | changes)
        return RNNSettings.model_validate(RNN | changes)

    return make


@pytest.fixture(scope="session")
def tokenizer() -> ReviewTokenizer:
    """A word tokenizer that knows a handful of words."""
    texts = ["a fine film , not a dull one", "a dull film , not a fine one", "fine fine fine", "dull"]
    return train_tokenizer(texts, "word", vocabulary_size=64, min_frequency=1, lowercase=True)
