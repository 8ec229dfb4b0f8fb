"""Measures of a split beyond accuracy, F1 and AUROC, by numpy alone.

Shapes: labels (N,) int64, probabilities (N, K) float32. A class without a review does not count in a mean.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]

Probabilities = npt.NDArray[np.float32]


CALIBRATION_BINS = 15
"""As in Guo et al. 2017, "On Calibration of Modern Neural Networks"."""


def count_confusion(labels: Labels, probabilities: Probabilities) -> npt.NDArray[np.int64]:
    """Count the (K, K) confusion matrix: rows are true classes."""
    classes = probabilities.shape[1]
    return np.bincount(labels * classes + probabilities.argmax(axis=1), minlength=classes**2).reshape(classes, classes)


def measure_macro_f1(labels: Labels, probabilities: Probabilities) -> float:
    """Return the mean over the classes of their F1."""
    confusion = count_confusion(labels, probabilities)
    support, called, right = confusion.sum(axis=1), confusion.sum(axis=0), confusion.diagonal()
    is_there = support > 0
    return float((2 * right[is_there] / (support + called)[is_there]).mean())


def measure_balanced_accuracy(labels: Labels, probabilities: Probabilities) -> float:
    """Return the mean over the classes of the share of their reviews that is right."""
    confusion = count_confusion(labels, probabilities)
    support = confusion.sum(axis=1)
    return float((confusion.diagonal()[support > 0] / support[support > 0]).mean())


def measure_mcc(labels: Labels, probabilities: Probabilities) -> float:
    """Return Matthews' correlation of labels and answers (Gorodkin 2004 for several classes).

    It is 0 where all answers are one class, and NaN where all reviews are.
    """
    confusion = count_confusion(labels, probabilities).astype(np.float64)
    support, called, total = confusion.sum(axis=1), confusion.sum(axis=0), confusion.sum()
    spread, spread_called = total**2 - support @ support, total**2 - called @ called
    if spread == 0:
        return float("nan")
    return (
        float((confusion.trace() * total - support @ called) / np.sqrt(spread * spread_called))
        if spread_called
        else 0.0
    )


def measure_brier(labels: Labels, probabilities: Probabilities) -> float:
    """Return the mean squared error of the probabilities (Brier 1950), of two classes that of class 1."""
    truth = np.eye(probabilities.shape[1])[labels]
    squares = ((probabilities - truth) ** 2).sum(axis=1)
    return float(squares.mean() / (2 if probabilities.shape[1] == 2 else 1))


def measure_calibration_error(labels: Labels, probabilities: Probabilities) -> float:
    """Return the expected calibration error: mean distance of confidence and accuracy over bins, weighted by reviews.

    By hand, because torchmetrics gives a confidence of exactly 1 a bin of its own, beside that of all just below it.
    """
    confidences = probabilities.max(axis=1).astype(np.float64)
    return average_gaps(confidences, probabilities.argmax(axis=1) == labels, bin_by_width(confidences))


def bin_by_width(confidences: npt.NDArray[np.floating], bins: int = CALIBRATION_BINS) -> npt.NDArray[np.int64]:
    """Return the (N,) bins of equal width that confidences fall in: [low, high), and 1 in the last."""
    return np.minimum((confidences * bins).astype(np.int64), bins - 1)


def average_gaps(
    confidences: npt.NDArray[np.floating], correct: npt.NDArray[np.bool_], bins: npt.NDArray[np.int64]
) -> float:
    """Return the mean distance of confidence and accuracy over the (N,) bins of N reviews, weighted by reviews."""
    gaps = np.bincount(bins, weights=correct - confidences.astype(np.float64))
    return float(np.abs(gaps).sum() / len(confidences))
