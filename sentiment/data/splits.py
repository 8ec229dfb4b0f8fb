"""Which reviews train, which validate: duplicates dropped, validation carved off, both reproducible.

The stratified draw is written by hand: scikit-learn's is a dozen lines of numpy behind a heavy import, refuses a
class with a single member, and scikit-learn is needed by the tests of this project only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sentiment.data.reviews import RawSplits
from sentiment.errors import DataError
from sentiment.format import join_names

# One stream of random numbers a purpose, so that e.g. a new train_limit leaves the validation split as it was.
TEST_STREAM, VALIDATION_STREAM, LIMIT_STREAM = 0, 1, 2

TIES = 1
"""Beside seed and stream: the numbers that decide between classes of equal claim are not those that draw reviews."""

DRAW_VERSION = 2
"""Raise it when the same reviews would be split otherwise; those that a rule leaves as they were keep its number."""


@dataclass(frozen=True)
class Part:
    """Some reviews of one of a source's splits.

    Attributes:
        texts: N texts.
        labels: (N,) class indices, int64.
        rows: (N,) index of each review within the source's split that it comes from, int64, ascending.
    """

    texts: list[str]
    labels: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: npt.NDArray[np.integer]) -> Part:
        """Choose reviews by their position in this part."""
        return Part([self.texts[index] for index in indices], self.labels[indices], self.rows[indices])


@dataclass(frozen=True)
class Splits:
    """The three parts of a run.

    Attributes:
        train: Reviews to learn from; shares no text with the other two.
        validation: Reviews to select on; shares no text with test.
        test: Reviews for the one evaluation at the end.
        dropped: Reviews taken out of train, by reason: ``train_test``, ``train_validation`` (the text also stands
            in that split); ``validation_test``: out of a validation split of the source's own.
        draw_version: First version of the rules that draws all of it so, see `DRAW_VERSION`.
    """

    train: Part
    validation: Part
    test: Part
    dropped: dict[str, int]
    draw_version: int


class Draw(NamedTuple):
    """(count,) positions of the reviews drawn, ascending, and the first version of the rules that draws so."""

    rows: npt.NDArray[np.int64]
    version: int


def draw_stratified(labels: npt.NDArray[np.integer], count: int, seed: int, stream: int, *, staying: int = 1) -> Draw:
    """Draw reviews at random, with each class's share as near to its share in `labels` as whole reviews allow.

    Where `count` allows it, there is one of every class that has more than `staying` reviews. Which of several classes
    with the same claim has one more is drawn: no class is left out for its place among the others.

    Each `stream` of random numbers is independent, so that one seed serves several draws.
    """
    if not 0 <= count <= len(labels):
        raise ValueError(f"cannot draw {count} of {len(labels)} reviews; draw 0 to {len(labels)}")
    random = np.random.default_rng([seed, stream])
    classes, sizes = np.unique(labels, return_counts=True)
    order = np.random.default_rng([seed, stream, TIES]).permutation(len(classes))
    quotas = np.empty_like(sizes)
    quotas[order] = _cover_classes(_share_out(sizes[order], count), sizes[order], staying)
    drawn = [
        random.permutation(np.flatnonzero(labels == label))[:quota]
        for label, quota in zip(classes, quotas, strict=True)
    ]
    rows = np.sort(np.concatenate([*drawn, np.empty(0, dtype=np.int64)]))
    return Draw(rows, 1 if np.array_equal(quotas, _share_out(sizes, count)) else DRAW_VERSION)


def _share_out(sizes: npt.NDArray[np.integer], count: int) -> npt.NDArray[np.int64]:
    """Share whole reviews out to (K,) classes by the largest remainder; equal remainders go to the one before."""
    exact = sizes * (count / max(sizes.sum(), 1))
    quotas: npt.NDArray[np.int64] = np.floor(exact).astype(np.int64)
    largest_first = np.argsort(-(exact - quotas).round(9), kind="stable")  # rounded: 0.3 * 10 must tie with 3
    quotas[largest_first[: count - quotas.sum()]] += 1
    return quotas


def _cover_classes(
    quotas: npt.NDArray[np.int64], sizes: npt.NDArray[np.integer], staying: int
) -> npt.NDArray[np.int64]:
    """Give one to every class that can spare it, where there are as many; those farthest over their share give it."""
    count = quotas.sum()
    covering: npt.NDArray[np.int64] = np.maximum(quotas, sizes > staying)
    if np.count_nonzero(covering) > count:
        return quotas
    exact = sizes * (count / max(sizes.sum(), 1))
    while covering.sum() > count:
        covering[np.argmax(np.where(covering > 1, covering - exact, -np.inf))] -= 1
    return covering


def held_out_count(available: int, fraction: float) -> int:
    """Turn a fraction into whole reviews: at least one is held out and at least one stays."""
    return min(max(round(available * fraction), 1), max(available - 1, 0))


def split_reviews(raw: RawSplits, validation_fraction: float, split_seed: int, train_limit: int | None) -> Splits:
    """Make train, validation and test.

    In this order: texts of test are dropped from train, and from a validation part of the source's own: a checkpoint
    that they selected would be tested on them; without one, validation is carved off by class; texts of validation are
    dropped from train; the training part is reduced to `train_limit` by class (None: all).

    Raises:
        DataError: A split is empty, or a class has no training review.
    """
    test = _whole(raw.test.texts, raw.test.labels)
    train = _whole(raw.train.texts, raw.train.labels)
    _require_reviews(train, "training")
    _require_reviews(test, "test")
    pool, dropped_for_test = _drop_texts(train, test.texts)
    dropped_of_validation, versions = 0, [raw.draw_version]
    if raw.validation is not None:
        own = _whole(raw.validation.texts, raw.validation.labels)
        (validation, dropped_of_validation), rest = _drop_texts(own, test.texts), pool
    else:
        count = held_out_count(len(pool), validation_fraction)
        held_out, version = draw_stratified(pool.labels, count, split_seed, VALIDATION_STREAM)
        versions.append(version)
        validation, rest = pool.take(held_out), pool.take(_others(len(pool), held_out))
    _require_reviews(validation, "validation")
    training, dropped_for_validation = _drop_texts(rest, validation.texts)
    if train_limit is not None and train_limit < len(training):
        chosen, version = draw_stratified(training.labels, train_limit, split_seed, LIMIT_STREAM, staying=0)
        versions.append(version)
        training = training.take(chosen)
    _require_every_class(training, raw.class_names)
    dropped = {
        "train_test": dropped_for_test, "train_validation": dropped_for_validation,
        "validation_test": dropped_of_validation,
    }  # fmt: skip
    return Splits(training, validation, test, dropped, max(versions))


def _whole(texts: list[str], labels: npt.NDArray[np.int64]) -> Part:
    return Part(texts, labels, np.arange(len(texts), dtype=np.int64))


def _others(size: int, chosen: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    return np.setdiff1d(np.arange(size, dtype=np.int64), chosen, assume_unique=True)


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
