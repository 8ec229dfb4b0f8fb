"""Accuracy on parts of a split, and whether a part is worse than the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sentiment.report.statistics import LEVEL, Flags, Share, difference_interval, share_of


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
