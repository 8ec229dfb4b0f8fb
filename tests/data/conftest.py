"""Small reviews for the tests of the data."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest

from sentiment.config.home import PROJECT_DIR
from sentiment.data.reviews import RawSplits, Reviews

WORDS = ["good", "bad", "film", "plot", "don't", "it's", "actor", "ever", "saw", "of", "the", "a", "10/10", "dull"]


def make_reviews(count: int, seed: int, classes: int = 2) -> Reviews:
    """Draw distinct reviews of 1 to 40 words, classes in turn."""
    draw = random.Random(seed)
    texts = [f"number{seed}x{n} " + " ".join(draw.choices(WORDS, k=draw.randrange(40))) for n in range(count)]
    return Reviews(texts, np.arange(count, dtype=np.int64) % classes)


class MemorySource:
    """A source that counts how often it is loaded."""

    def __init__(self, raw: RawSplits, identity: str = "memory") -> None:
        self.raw = raw
        self.identity = identity
        self.loads = 0

    def describe(self) -> str:
        return "reviews for a test"

    def fingerprint(self) -> str:
        return self.identity

    def load(self) -> RawSplits:
        self.loads += 1
        return self.raw


@pytest.fixture
def source() -> MemorySource:
    raw = RawSplits(make_reviews(200, 1), None, make_reviews(60, 2), ("negative", "positive"), skipped_rows=3)
    return MemorySource(raw)


@pytest.fixture(scope="session")
def real_imdb() -> Path:
    """The folder of the real reviews, where there is one."""
    folder = Path(os.environ.get("SENTIMENT_IMDB", PROJECT_DIR.parent / "shared" / "imdb"))
    if not folder.is_dir():
        pytest.skip(f"no real reviews in {folder}; set SENTIMENT_IMDB to a folder with the Hub's Parquet files")
    return folder
