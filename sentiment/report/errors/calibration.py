"""How far a classifier's confidence can be believed, bin by bin."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sentiment.report.statistics import Flags, Share, share_of

CALIBRATION_BINS = 15
"""As many as behind ``test/ece``, and in Guo et al. 2017."""


@dataclass(frozen=True)
class CalibrationBin:
    """Reviews of like confidence.

    Attributes:
        low: Least confidence of the bin.
        high: Largest confidence of the bin.
        confidence: Mean confidence of its reviews.
        share: How many of them were right.
    """

    low: float
    high: float
    confidence: float
    share: Share


@dataclass(frozen=True)
class Calibration:
    """How far confidence can be believed.

    Attributes:
        bins: The bins that hold a review, in order of confidence.
        ece: Expected calibration error (Naeini et al. 2015; Guo et al. 2017): the mean distance between confidence
            and accuracy over the bins, weighted by reviews.
    """

    bins: tuple[CalibrationBin, ...]
    ece: float


def calibrate(
    confidences: npt.NDArray[np.floating],
    correct: Flags,
    bins: int = CALIBRATION_BINS,
    *,
    equal_mass: bool = False,
) -> Calibration:
    """Compare confidence with accuracy, bin by bin.

    Args:
        confidences: (N,) probability of the predicted class.
        correct: (N,) whether the prediction is right.
        bins: Number of bins over [0, 1], or of quantiles.
        equal_mass: Bins of equally many reviews, so that none is nearly empty (Nguyen & O'Connor 2015); equal
            confidences share a bin.
    """
    if equal_mass:
        indices = bin_by_rank(confidences, bins)
    else:
        indices = np.minimum((confidences * bins).astype(np.int64), bins - 1)  # [low, high), and 1 in the last
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
    gaps = [part.share.reviews * abs(part.share.accuracy - part.confidence) for part in found]
    return Calibration(found, math.fsum(gaps) / len(confidences))


def bin_by_rank(values: npt.NDArray[np.generic], bins: int) -> npt.NDArray[np.int64]:
    """Number (N,) values by bins of about as many; equal values share one, so there may be fewer bins."""
    firsts = -(-np.arange(bins) * len(values) // bins)  # rank that each bin begins with
    starts = np.unique(np.sort(values)[np.minimum(firsts, len(values) - 1)])
    return np.searchsorted(starts, values, side="right") - 1
