"""Where a classifier is wrong, as tables: confusion, calibration, length, negation and contrast, wrong reviews.

Shapes: N reviews, K classes. Whatever draws or prints starts from these tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sentiment.data.phenomena import find_contrasts, find_negations
from sentiment.errors import SentimentError
from sentiment.format import format_count
from sentiment.report.errors.measures import Calibration, Slice, bin_by_rank, calibrate, compare_slices
from sentiment.report.statistics import Flags, Share, share_of
from sentiment.training.measures import count_confusion

LENGTH_BINS = 8

SUM_TOLERANCE = 1e-3
"""How far the probabilities of a review may be from one; half precision is not exact."""


@dataclass(frozen=True)
class LabelledPredictions:
    """Reviews with what a model said about them."""

    texts: Sequence[str]  # N texts
    labels: npt.NDArray[np.int64]  # (N,) true class indices
    probabilities: npt.NDArray[np.float32]  # (N, K) class probabilities
    lengths: npt.NDArray[np.int64]  # (N,) lengths in tokens, before a model cuts them
    class_names: tuple[str, ...]  # K names in index order
    max_tokens: int | None = None  # most tokens that the model sees of a review; None: it sees all of them
    # (N,) number of each review in the file or split that it comes from, from 0; None: their order here.
    rows: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        reviews, classes = len(self.texts), len(self.class_names)
        shapes = (self.labels.shape, self.probabilities.shape, self.lengths.shape)
        if shapes != ((reviews,), (reviews, classes), (reviews,)) or not reviews:
            raise SentimentError(
                f"{reviews} texts of {classes} classes, but labels, probabilities and lengths of shapes {shapes}: they "
                "are of different runs or splits, or there is nothing to analyse",
                "give the predictions of one model on the reviews that it predicted, one at least",
            )
        if not np.isfinite(self.probabilities).all() or abs(self.probabilities.sum(axis=1) - 1).max() > SUM_TOLERANCE:
            raise SentimentError(
                "Some probabilities are no numbers or do not add up to one over the classes.",
                "predict again; a model whose loss became NaN has no errors to look at",
            )

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """(N,) most probable class indices; of equal ones the first."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @property
    def confidences(self) -> npt.NDArray[np.float64]:
        """(N,) probability of the predicted class."""
        return np.asarray(self.probabilities.max(axis=1), dtype=np.float64)

    @property
    def correct(self) -> Flags:
        """(N,) whether each review was classified right."""
        return np.asarray(self.predicted == self.labels)


@dataclass(frozen=True)
class LengthBin:
    """Reviews of like length."""

    shortest: int  # least length, in tokens
    longest: int  # largest length, in tokens
    cut: int  # reviews of which the model did not see all
    share: Share  # how many were right


@dataclass(frozen=True)
class WrongReview:
    """A review that was classified wrong."""

    position: int  # its number in the file or split that it comes from, from 0
    text: str  # the review
    label: str  # True class
    predicted: str  # predicted class
    confidence: float  # probability of the predicted class
    label_probability: float  # probability of the true class
    tokens: int  # length in tokens
    has_negation: bool  # it holds a cue of negation
    has_contrast: bool  # it holds a cue of contrast


@dataclass(frozen=True)
class ErrorTables:
    """Everything about where a model is wrong."""

    class_names: tuple[str, ...]  # K names in index order
    overall: Share  # all reviews
    confusion: npt.NDArray[np.int64]  # (K, K) counts; rows are true classes, columns predicted ones
    equal_width: Calibration  # calibration in bins of equal width
    equal_mass: Calibration  # calibration in bins of equally many reviews
    lengths: tuple[LengthBin, ...]  # accuracy by length
    # Every part that was compared with the rest: negation and contrast (see below), classes, lengths.
    slices: tuple[Slice, ...]
    # Those that were classified wrong with the most confidence, the most confident first.
    wrong_reviews: tuple[WrongReview, ...]

    @property
    def negation(self) -> Slice:
        """Reviews with negation against those without."""
        return self.slices[0]

    @property
    def contrast(self) -> Slice:
        """Reviews with contrast against those without."""
        return self.slices[1]

    @property
    def combinations(self) -> tuple[Slice, ...]:
        """Reviews with neither, negation only, contrast only, and both, each against all others."""
        return self.slices[2:6]


def tabulate_errors(predictions: LabelledPredictions, shown: int = 12) -> ErrorTables:
    """Compute all tables."""
    negation, contrast = (
        np.array([bool(find(text)) for text in predictions.texts]) for find in (find_negations, find_contrasts)
    )
    bin_numbers = bin_by_rank(predictions.lengths, LENGTH_BINS)
    length_bins = [np.asarray(bin_numbers == number) for number in np.unique(bin_numbers)]
    parts = [
        ("with negation", negation),
        ("with contrast", contrast),
        ("with neither negation nor contrast", ~negation & ~contrast),
        ("with negation only", negation & ~contrast),
        ("with contrast only", contrast & ~negation),
        ("with negation and contrast", negation & contrast),
        *((f"that are {name}", predictions.labels == index) for index, name in enumerate(predictions.class_names)),
        *((_name_lengths(predictions.lengths[members]), members) for members in length_bins if not members.all()),
    ]
    if predictions.max_tokens is not None and (cut := predictions.lengths > predictions.max_tokens).any():
        parts.append((f"that were cut (over {predictions.max_tokens:,} tokens)", cut))
    slices = compare_slices(predictions.correct, parts)
    return ErrorTables(
        class_names=predictions.class_names,
        overall=share_of(predictions.correct),
        confusion=count_confusion(predictions.labels, predictions.probabilities),
        equal_width=calibrate(predictions.confidences, predictions.correct),
        equal_mass=calibrate(predictions.confidences, predictions.correct, equal_mass=True),
        lengths=tuple(_describe_bin(predictions, members) for members in length_bins),
        slices=tuple(slices),
        wrong_reviews=tuple(_list_wrong(predictions, negation, contrast, shown)),
    )


def _name_lengths(lengths: npt.NDArray[np.int64]) -> str:
    low, high = int(lengths.min()), int(lengths.max())
    return f"of {format_count(high, 'token') if low == high else f'{low:,} to {high:,} tokens'}"


def _describe_bin(predictions: LabelledPredictions, members: Flags) -> LengthBin:
    lengths = predictions.lengths[members]
    limit = predictions.max_tokens
    cut = 0 if limit is None else int((lengths > limit).sum())
    return LengthBin(int(lengths.min()), int(lengths.max()), cut, share_of(predictions.correct[members]))


def _list_wrong(predictions: LabelledPredictions, negation: Flags, contrast: Flags, shown: int) -> list[WrongReview]:
    wrong = np.flatnonzero(~predictions.correct)
    worst = wrong[np.argsort(-predictions.confidences[wrong], kind="stable")][:shown]
    return [
        WrongReview(
            position=int(position if predictions.rows is None else predictions.rows[position]),
            text=predictions.texts[position],
            label=predictions.class_names[predictions.labels[position]],
            predicted=predictions.class_names[predictions.predicted[position]],
            confidence=float(predictions.confidences[position]),
            label_probability=float(predictions.probabilities[position, predictions.labels[position]]),
            tokens=int(predictions.lengths[position]),
            has_negation=bool(negation[position]),
            has_contrast=bool(contrast[position]),
        )
        for position in worst
    ]
