"""``data=synthetic``: reviews from the grammar, made in memory, with a known best accuracy."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from sentiment.data.grammar import POLARITIES, VERSION, Polarity, draw_review
from sentiment.data.reviews import RawSplits, Reviews
from sentiment.errors import DataError
from sentiment.format import format_percent
from sentiment.json_file import digest_json

CLASS_NAMES = ("negative", "positive")
_MOST_REPEATS = 1000
"""So many draws in a row that were seen before mean that the grammar has run out of reviews."""


@dataclass(frozen=True)
class SyntheticSource:
    """Generated English movie reviews whose label depends on word order."""

    train_size: int  # training reviews
    test_size: int  # test reviews
    min_sentences: int  # fewest sentences in a review
    max_sentences: int  # most sentences in a review
    difficulty: float  # share of the opinions whose polarity depends on word order
    label_noise: float  # share of labels that are flipped, in train and test alike
    generator_seed: int  # seed of the generator
    unlabelled_size: int | None = None  # reviews without a label; None: none

    @property
    def best_accuracy(self) -> float:
        """Accuracy on the test split of a reader who understands every review: only flipped labels are missed."""
        return 1 - _flips(self.test_size, self.label_noise) / self.test_size

    def describe(self) -> str:
        """Return what these reviews are and how to get real ones."""
        return (
            f"These are synthetic reviews: {self.train_size:,} for training and {self.test_size:,} for the test, "
            f"generated from a grammar; the best reachable test accuracy is {format_percent(self.best_accuracy)}. "
            "For real reviews: data=imdb (downloads IMDB), data=imdb data.path=FOLDER (a local copy), "
            "or data=files data.path=reviews.csv (your own)."
        )

    def fingerprint(self) -> str:
        """Hash the settings and the version of the grammar."""
        settings = {key: value for key, value in vars(self).items() if key != "unlabelled_size"}
        return digest_json({"source": "synthetic", "version": VERSION, **settings})

    def fingerprint_unlabelled(self) -> str | None:
        """Return what tells them from those of another size; `fingerprint` tells the rest."""
        return None if self.unlabelled_size is None else f"synthetic:{self.unlabelled_size}"

    def load(self) -> RawSplits:
        """Generate both splits; every text occurs once.

        Raises:
            DataError: The grammar has fewer distinct reviews of this length than were asked for.
        """
        return self._load(set())

    def load_unlabelled(self) -> list[str]:
        """Generate further reviews, which are in no split, and leave their labels out.

        Raises:
            DataError: The grammar has fewer distinct reviews of this length than were asked for.
        """
        seen: set[str] = set()
        self._load(seen)
        return self._draw_split("unlabelled", self.unlabelled_size or 0, seen).texts

    def _load(self, seen: set[str]) -> RawSplits:
        test = self._draw_split("test", self.test_size, seen)  # first: another train_size leaves the test as it is
        train = self._draw_split("train", self.train_size, seen)
        return RawSplits(train=train, validation=None, test=test, class_names=CLASS_NAMES)

    def _draw_split(self, name: str, size: int, seen: set[str]) -> Reviews:
        """Draw `size` texts that are not in `seen`, and add them to it."""
        rng = random.Random(f"{self.generator_seed}/{name}")  # a string seeds by SHA-512, the same everywhere
        meant = [index % 2 for index in range(size)]
        meant.sort(key=lambda _: rng.random())
        texts = [self._draw_unseen(rng, POLARITIES[label], seen) for label in meant]
        labels = np.array(meant, dtype=np.int64)
        flipped = _draw_flips(rng, meant, _flips(size, self.label_noise))
        labels[flipped] = 1 - labels[flipped]
        return Reviews(texts=texts, labels=labels)

    def _draw_unseen(self, rng: random.Random, meaning: Polarity, seen: set[str]) -> str:
        lengths = self.max_sentences - self.min_sentences + 1
        for _ in range(_MOST_REPEATS):
            sentences = self.min_sentences + int(rng.random() * lengths)
            text = draw_review(rng, meaning, sentences, self.difficulty)
            if text not in seen:
                seen.add(text)
                return text
        raise DataError(
            f"The grammar has run out of distinct reviews after {len(seen):,}: "
            f"{self.train_size + self.test_size + (self.unlabelled_size or 0):,} were asked for, of "
            f"{self.min_sentences} to {self.max_sentences} sentences. "
            "Raise data.max_sentences, or lower data.train_size, data.test_size or data.unlabelled_size."
        )


def _flips(size: int, label_noise: float) -> int:
    """Count the flipped labels of a split: exact, not drawn one by one, so that the best accuracy is known."""
    return round(label_noise * size)


def _draw_flips(rng: random.Random, labels: list[int], count: int) -> list[int]:
    """Draw which labels are flipped, as many of either class as possible, so that the classes stay balanced."""
    shuffled = sorted(range(len(labels)), key=lambda _: rng.random())
    negatives = [index for index in shuffled if labels[index] == 0]
    positives = [index for index in shuffled if labels[index] == 1]
    return negatives[: count - count // 2] + positives[: count // 2]
