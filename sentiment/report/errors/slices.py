"""Accuracy on parts of a split, and whether a part is worse than the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

LEVEL = 0.95
"""Level of every interval."""

Flags = npt.NDArray[np.bool_]
"""(N,) one truth value a review."""


@dataclass(frozen=True)
class Share:
    """How many of some reviews were classified right.

    Attributes:
        right: Reviews classified right.
        reviews: Reviews N.
        accuracy: The share; NaN where there is no review.
        low: Lower end of its Wilson interval (Wilson 1927); 0 where there is no review.
        high: Upper end; 1 where there is no review.
    """

    right: int
    reviews: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Slice:
    """A part of the reviews against all others.

    Attributes:
        name: What its reviews have in common, as it follows "reviews": ``with negation``, ``of 5 to 20 tokens``.
        inside: The part.
        rest: All other reviews.
        difference: Accuracy of the part minus that of the rest; NaN where either is empty.
        low: Lower end of the difference's interval, at `LEVEL` for all slices of a table together.
        high: Upper end.
    """

    name: str
    inside: Share
    rest: Share
    difference: float
    low: float
    high: float


def count_share(right: int, reviews: int, level: float = LEVEL) -> Share:
    """Make a share with its Wilson interval, which stays within 0 and 1 and is right for few reviews too."""
    if not reviews:
        return Share(0, 0, math.nan, 0.0, 1.0)
    interval = binomtest(right, reviews).proportion_ci(level, method="wilson")
    # rounding may put an end a hair beyond the share itself, where all or none are right
    accuracy = right / reviews
    return Share(right, reviews, accuracy, min(float(interval.low), accuracy), max(float(interval.high), accuracy))


def share_of(correct: Flags) -> Share:
    """Count a share from (N,) flags."""
    return count_share(int(correct.sum()), len(correct))


def compare_slices(correct: Flags, parts: Sequence[tuple[str, Flags]]) -> list[Slice]:
    """Compare each part with the rest of the reviews.

    Whoever looks for the worst of many parts finds one by chance, so the intervals of the differences hold for all
    parts together (Bonferroni); those of the accuracies hold one by one.

    Args:
        correct: (N,) whether each review was classified right.
        parts: Name and (N,) membership of each part.
    """
    level = 1 - (1 - LEVEL) / max(len(parts), 1)
    return [_compare(name, correct[members], correct[~members], level) for name, members in parts]


def find_worst(slices: Sequence[Slice]) -> Slice | None:
    """Find the part that is most surely worse than the rest.

    That is the one whose difference is lowest at its upper end, so that a handful of reviews that happen to be wrong
    do not win over a large part that is.

    Returns:
        The part; None where no part is shown to be worse, i.e. every interval reaches zero.
    """
    worse = [part for part in slices if part.high < 0]
    return min(worse, key=lambda part: part.high, default=None)


def _compare(name: str, inside: Flags, rest: Flags, level: float) -> Slice:
    first, second = share_of(inside), share_of(rest)
    if not first.reviews or not second.reviews:
        return Slice(name, first, second, math.nan, -1.0, 1.0)
    low, high = difference_interval(first, second, level)
    return Slice(name, first, second, first.accuracy - second.accuracy, low, high)


def difference_interval(first: Share, second: Share, level: float = LEVEL) -> tuple[float, float]:
    """Give the interval of the difference of two independent shares, first minus second.

    Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10: made from the
    two Wilson intervals. scipy has no interval for a difference, and a package for this one formula would be much.
    """
    one, two = (count_share(share.right, share.reviews, level) for share in (first, second))
    difference = one.accuracy - two.accuracy
    below = math.hypot(one.accuracy - one.low, two.high - two.accuracy)
    above = math.hypot(one.high - one.accuracy, two.accuracy - two.low)
    return max(-1.0, difference - below), min(1.0, difference + above)
