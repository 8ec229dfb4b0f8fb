"""Where a classifier is wrong, as tables: confusion, calibration, length, negation and contrast, wrong reviews.

Whatever draws or prints starts from these tables. Shapes: N reviews, K classes.

Negation and contrast, in English reviews, are two phenomena that a model of single words cannot follow. Cues are found
by their words; their scope is not looked at. The cues of negation are the negative words, the contractions in ``n't``
(with and without the apostrophe), the approximate negators ("hardly", "few"; Quirk et al. 1985, section 10.59) and some
phrases that deny what follows ("fails to"). The cues of contrast are connectives of comparison of the Penn Discourse
Treebank (Prasad et al. 2008), and some like them ("despite", "albeit", "that said"), that are seldom anything else:
"while", "still" and "rather" mostly do not contrast and are left out. Expressions that hold a cue and do not mean it
("not only", "no doubt", "nothing but") are listed and passed over.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sentiment.errors import SentimentError
from sentiment.format import format_count
from sentiment.report.statistics import LEVEL, Flags, Share, difference_interval, share_of
from sentiment.training.measures import CALIBRATION_BINS, average_gaps, bin_by_width, count_confusion

LENGTH_BINS = 8

SUM_TOLERANCE = 1e-3
"""How far the probabilities of a review may be from one; half precision is not exact."""

NEGATION_CUES = frozenset((
    "not", "no", "never", "nobody", "none", "nothing", "nowhere", "neither", "nor", "cannot", "hardly", "barely",
    "scarcely", "without", "nought", "rarely", "seldom", "few", "aint", "arent", "cant", "couldnt", "didnt", "doesnt",
    "dont", "hadnt", "hasnt", "havent", "isnt", "shouldnt", "wasnt", "werent", "wouldnt", "no one", "far from",
    "anything but", "by no means", "in no way", "lack of", "fail to", "fails to", "failed to",
))  # fmt: skip
"""What negates, lower case; every contraction in ``n't`` does too."""

CONTRAST_CUES = frozenset((
    "but", "yet", "however", "although", "though", "despite", "nevertheless", "whereas", "albeit", "nonetheless",
    "notwithstanding", "conversely", "in spite of", "even so", "on the other hand", "on the contrary", "in contrast",
    "except that", "that said", "having said that",
))  # fmt: skip
"""What sets one clause against another, lower case."""

NOT_NEGATIVE = (
    "not only", "not just", "not merely", "not to mention", "no doubt", "no wonder", "no matter", "nothing but",
    "nothing short of", "or not", "a few", "last but not least", "couldn't agree more", "could not agree more",
    "can't wait", "cannot wait", "never fails to", "never failed to",
)  # fmt: skip
"""Expressions whose cue negates nothing that a reader would miss."""

NOT_CONTRASTIVE = (
    "nothing but", "anything but", "all but", "everything but", "last but not least", "cannot help but",
    "can't help but", "couldn't help but", "could not help but", "not yet", "yet another", "yet to", "as yet",
)  # fmt: skip
"""Expressions whose cue contrasts no clauses."""


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


def find_negations(text: str) -> list[str]:
    """Find the cues of negation as they are written, in the order of the text; none overlap."""
    return _find_cues(_NEGATION, NOT_NEGATIVE, text)


def find_contrasts(text: str) -> list[str]:
    """Find the cues of contrast likewise."""
    return _find_cues(_CONTRAST, NOT_CONTRASTIVE, text)


def _compile_cues(cues: frozenset[str], exceptions: tuple[str, ...], ending: str | None = None) -> re.Pattern[str]:
    """Build one pattern of both, the longer expression first, so that an exception wins over the cue within it."""
    longest_first = sorted({*cues, *exceptions}, key=lambda phrase: (-len(phrase), phrase))
    options = [r"\s+".join(map(re.escape, phrase.split())) for phrase in longest_first]
    options += [] if ending is None else [ending]
    return re.compile(rf"(?<!{_LETTER})(?<!{_LETTER}')(?:{'|'.join(options)})(?!'?{_LETTER})", re.IGNORECASE)


_LETTER = r"[^\W_]"  # reviewers write _emphasis_ with underscores
_NEGATION = _compile_cues(NEGATION_CUES, NOT_NEGATIVE, ending=rf"{_LETTER}*n't")
_CONTRAST = _compile_cues(CONTRAST_CUES, NOT_CONTRASTIVE)


def _find_cues(pattern: re.Pattern[str], exceptions: tuple[str, ...], text: str) -> list[str]:
    spelled = text.replace("\u2019", "'")  # the typographic apostrophe; offsets stay
    return [
        text[match.start() : match.end()]
        for match in pattern.finditer(spelled)
        if " ".join(match.group().lower().split()) not in exceptions
    ]
