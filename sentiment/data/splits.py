"""Which reviews train, which validate: duplicates dropped, validation carved off, both reproducible.

The stratified draw is written by hand: scikit-learn's is a dozen lines of numpy behind a heavy import, refuses a
class with a single member, and scikit-learn is needed by the tests of this project only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from sentiment.data.reviews import R, RawSplits, Reviews
from sentiment.errors import DataError
from sentiment.format import join_names

# One stream of random numbers a purpose, so that e.g. a new train_limit leaves the validation split as it was.
TEST_STREAM, VALIDATION_STREAM, LIMIT_STREAM = 0, 1, 2

P = TypeVar("P", bound="Part")


@dataclass(frozen=True)
class Part(Reviews):
    """Some reviews of a file, or of one of a source's splits."""

    # (N,) index of each review within the file or split that it comes from, int64, ascending.
    rows: npt.NDArray[np.int64]

    def take(self: P, indices: npt.NDArray[np.integer]) -> P:
        """Choose reviews by their position among these."""
        return replace(super().take(indices), rows=self.rows[indices])


@dataclass(frozen=True)
class Splits:
    """The three parts of a run."""

    train: Part  # reviews to learn from; shares no text with the other two
    validation: Part  # reviews to select on; shares no text with test
    test: Part  # reviews for the one evaluation at the end
    # Reviews taken out of train, by reason: ``train_test``, ``train_validation`` (the text also stands in that split);
    # ``validation_test``: out of a validation split of the source's own.
    dropped: dict[str, int]


def draw_stratified(labels: npt.NDArray[np.integer], count: int, seed: int, stream: int) -> npt.NDArray[np.int64]:
    """Draw reviews at random, with each class's share as near to its share in `labels` as whole reviews allow.

    Whole reviews are shared out by the largest remainder; equal remainders go to the lower class index.

    Each `stream` of random numbers is independent, so that one seed serves several draws.

    Returns:
        (count,) positions in `labels`, ascending.
    """
    if not 0 <= count <= len(labels):
        raise ValueError(f"cannot draw {count} of {len(labels)} reviews; draw 0 to {len(labels)}")
    random = np.random.default_rng([seed, stream])
    classes, sizes = np.unique(labels, return_counts=True)
    exact = sizes * (count / max(len(labels), 1))
    quotas = np.floor(exact).astype(np.int64)
    largest_first = np.argsort(-(exact - quotas).round(9), kind="stable")  # rounded: 0.3 * 10 must tie with 3
    quotas[largest_first[: count - quotas.sum()]] += 1
    drawn = [
        random.permutation(np.flatnonzero(labels == label))[:quota]
        for label, quota in zip(classes, quotas, strict=True)
    ]
    return np.sort(np.concatenate([*drawn, np.empty(0, dtype=np.int64)]))


def held_out_count(available: int, fraction: float) -> int:
    """Turn a fraction into whole reviews: at least one is held out and at least one stays."""
    return min(max(round(available * fraction), 1), max(available - 1, 0))


def hold_out(reviews: R, fraction: float, seed: int, stream: int) -> tuple[R, R]:
    """Hold a stratified part of reviews out; return what stays and what is held out."""
    held_out = draw_stratified(reviews.labels, held_out_count(len(reviews), fraction), seed, stream)
    stays = np.setdiff1d(np.arange(len(reviews)), held_out, assume_unique=True)
    return reviews.take(stays), reviews.take(held_out)


def split_reviews(raw: RawSplits, validation_fraction: float, split_seed: int, train_limit: int | None) -> Splits:
    """Make train, validation and test.

    In this order: texts of test are dropped from train, and from a validation part of the source's own: a checkpoint
    that they selected would be tested on them; without one, validation is carved off by class; texts of validation are
    dropped from train; the training part is reduced to `train_limit` by class (None: all).

    Raises:
        DataError: A split is empty, or a class has no training review.
    """
    test, train = _whole(raw.test), _whole(raw.train)
    _require_reviews(train, "training")
    _require_reviews(test, "test")
    pool, dropped_for_test = _drop_texts(train, test.texts)
    dropped_of_validation = 0
    if raw.validation is not None:
        (validation, dropped_of_validation), rest = _drop_texts(_whole(raw.validation), test.texts), pool
    else:
        rest, validation = hold_out(pool, validation_fraction, split_seed, VALIDATION_STREAM)
    _require_reviews(validation, "validation")
    training, dropped_for_validation = _drop_texts(rest, validation.texts)
    if train_limit is not None and train_limit < len(training):
        training = training.take(draw_stratified(training.labels, train_limit, split_seed, LIMIT_STREAM))
    _require_every_class(training, raw.class_names)
    dropped = {
        "train_test": dropped_for_test, "train_validation": dropped_for_validation,
        "validation_test": dropped_of_validation,
    }  # fmt: skip
    return Splits(training, validation, test, dropped)


def _whole(reviews: Reviews) -> Part:
    return Part(reviews.texts, reviews.labels, np.arange(len(reviews), dtype=np.int64))


def _drop_texts(part: Part, texts: Sequence[str]) -> tuple[Part, int]:
    unwanted = set(texts)
    kept = np.array([index for index, text in enumerate(part.texts) if text not in unwanted], dtype=np.int64)
    return part.take(kept), len(part) - len(kept)


def _require_reviews(part: Part, name: str) -> None:
    if not len(part):
        raise DataError(
            f"no {name} review is left (empty, or all of them stand in another split too); "
            "give more reviews, or a data.path whose splits do not overlap"
        )


def _require_every_class(training: Part, class_names: tuple[str, ...]) -> None:
    counts = np.bincount(training.labels, minlength=len(class_names))
    missing = [name for name, count in zip(class_names, counts, strict=True) if not count]
    if missing:
        shown = join_names([repr(name) for name in missing])
        raise DataError(
            f"no training review of class {shown} is left among {len(training)}, so it cannot be learned; give more "
            "reviews of it, raise data.train_limit, or leave it out; if these are no classes, correct data.label_column"
        )
