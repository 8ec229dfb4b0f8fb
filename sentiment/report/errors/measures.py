"""Accuracy on parts of a split: is a part worse than the rest, and can the confidence be believed?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sentiment.report.statistics import LEVEL, Flags, Share, difference_interval, share_of
from sentiment.training.measures import CALIBRATION_BINS, average_gaps, bin_by_width


@dataclass(frozen=True)
class Slice:
    """A part of the reviews against all others."""

    name: str  # what its reviews have in common, as it follows "reviews": ``with negation``, ``of 5 to 20 tokens``
    inside: Share  # the part
    rest: Share  # all other reviews
    difference: float  # accuracy of the part minus that of the rest; NaN where either is empty
    low: float  # lower end of the difference's interval, at `LEVEL` for all slices of a table together
    high: float  # upper end


def compare_slices(correct: Flags, parts: Sequence[tuple[str, Flags]]) -> list[Slice]:
    """Compare each part with the rest of the reviews.

    Whoever looks for the worst of many parts finds one by chance, so the intervals of the differences hold for all
    parts together (Bonferroni); those of the accuracies hold one by one.

    Args:
        correct: (N,) whether each review was classified right.
        parts: Name and (N,) membership of each part.
    """
    level = 1 - (1 - LEVEL) / max(len(parts), 1)
    slices = []
    for name, members in parts:
        inside, rest = share_of(correct[members]), share_of(correct[~members])
        low, high = -1.0, 1.0
        if inside.reviews and rest.reviews:
            low, high = difference_interval(inside, rest, level)
        slices.append(Slice(name, inside, rest, inside.accuracy - rest.accuracy, low, high))
    return slices


def find_worst(slices: Sequence[Slice]) -> Slice | None:
    """Find the part that is most surely worse than the rest.

    That is the one whose difference is lowest at its upper end, so that a handful of reviews that happen to be wrong
    do not win over a large part that is.

    Returns:
        The part; None where no part is shown to be worse, i.e. every interval reaches zero.
    """
    worse = [part for part in slices if part.high < 0]
    return min(worse, key=lambda part: part.high, default=None)


@dataclass(frozen=True)
class CalibrationBin:
    """Reviews of like confidence."""

    low: float  # least confidence of the bin
    high: float  # largest confidence of the bin
    confidence: float  # mean confidence of its reviews
    share: Share  # how many of them were right


@dataclass(frozen=True)
class Calibration:
    """How far confidence can be believed."""

    bins: tuple[CalibrationBin, ...]  # the bins that hold a review, in order of confidence
    # Expected calibration error (Naeini et al. 2015; Guo et al. 2017): the mean distance between confidence and
    # accuracy over the bins, weighted by reviews.
    ece: float


def calibrate(confidences: npt.NDArray[np.floating], correct: Flags, *, equal_mass: bool = False) -> Calibration:
    """Compare (N,) confidences with accuracy, in bins of equal width.

    Bins of equal mass hold equally many reviews, so that none is nearly empty (Nguyen & O'Connor 2015); equal
    confidences share a bin.
    """
    bins = CALIBRATION_BINS
    indices = bin_by_rank(confidences, bins) if equal_mass else bin_by_width(confidences, bins)
    members = [(index, indices == index) for index in np.unique(indices)]
    found = tuple(
        CalibrationBin(
            low=float(confidences[inside].min()) if equal_mass else index / bins,
            high=float(confidences[inside].max()) if equal_mass else (index + 1) / bins,
            confidence=float(confidences[inside].mean()),
            share=share_of(correct[inside]),
        )
        for index, inside in members
    )
    return Calibration(found, average_gaps(confidences, correct, indices))


def bin_by_rank(values: npt.NDArray[np.generic], bins: int) -> npt.NDArray[np.int64]:
    """Number (N,) values by bins of about as many; equal values share one, so there may be fewer bins."""
    firsts = -(-np.arange(bins) * len(values) // bins)  # rank that each bin begins with
    starts = np.unique(np.sort(values)[np.minimum(firsts, len(values) - 1)])
    return np.searchsorted(starts, values, side="right") - 1
