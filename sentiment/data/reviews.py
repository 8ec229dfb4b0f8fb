"""The form in which every data source hands over its reviews."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from sentiment.data.files.records import find_text_fault
from sentiment.errors import DataError

R = TypeVar("R", bound="Reviews")


@dataclass(frozen=True)
class Reviews:
    """Labelled texts."""

    texts: list[str]  # N raw texts, untouched (tags such as ``<br />`` kept)
    labels: npt.NDArray[np.int64]  # (N,) class indices, int64

    def __len__(self) -> int:
        return len(self.texts)

    def take(self: R, indices: npt.NDArray[np.integer]) -> R:
        """Choose reviews by their position among these."""
        return replace(self, texts=[self.texts[index] for index in indices], labels=self.labels[indices])


@dataclass(frozen=True)
class RawSplits:
    """What a source holds before validation is split off and duplicates are dropped; refused where that is no data set.

    Raises:
        DataError: Training or test reviews are absent, labels do not fit their texts or the classes, or a text is none.
    """

    train: Reviews  # training reviews
    validation: Reviews | None  # the source's own validation reviews; None: split them off train
    test: Reviews  # test reviews
    class_names: tuple[str, ...]  # K names in index order
    skipped_rows: int = 0  # bad rows left out at the user's wish (``data.on_bad_row=skip``)
    notes: tuple[str, ...] = ()  # how files were read, a sentence each; printed at the start of a run

    def __post_init__(self) -> None:
        names, fault = self.class_names, None
        if len(names) < 2 or len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
            fault = f"the class names are {names!r:.200}, not two or more different texts"
        for split in ("train", "validation", "test"):
            reviews = getattr(self, split)
            is_left_out = split == "validation" and reviews is None
            if fault is None and not is_left_out and (found := _find_fault(reviews, len(names))):
                fault = f"in {split}, {found}"
        if fault is not None:
            raise DataError(
                f"these reviews are no data set: {fault}.",
                "correct load() of the source: a text and a label of the same row for every review",
            )


def _find_fault(reviews: object, classes: int) -> str | None:
    if not isinstance(reviews, Reviews):
        return f"there are no Reviews, but {reviews!r:.80}; where the data has no such split, take some of train"
    texts, labels = reviews.texts, reviews.labels
    if fault := find_fault_among(texts):
        return fault
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu" or not np.can_cast(labels.dtype, np.int64):
        kind = labels.dtype if isinstance(labels, np.ndarray) else type(labels).__name__
        return f"the labels are no numpy array of int64, but {kind}"
    if labels.shape != (len(texts),):
        return f"there are {len(texts):,} texts, and labels of shape {labels.shape}"
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        return f"review {wrong[0]} has the label {labels[wrong[0]]}, and the {classes} classes are 0 to {classes - 1}"
    return None


def find_fault_among(texts: Sequence[str]) -> str | None:
    """Return why these are no texts of reviews; a single text, whose letters would be reviews, is not either.

    Nor is a pandas Series, which takes numbers for labels of its index: reviews would get the labels of others. A
    sequence, e.g. a column of `datasets`, goes by position.
    """
    if not isinstance(texts, Sequence | np.ndarray) or isinstance(texts, str | bytes):
        return f"the texts are no list, but {type(texts).__name__}"
    faults = ((row, find_text_fault(text)) for row, text in enumerate(texts))
    return next((f"of review {row} {fault}" for row, fault in faults if fault), None)


class Source(Protocol):
    """Where reviews come from."""

    def describe(self) -> str:
        """Return in a sentence what these reviews are; printed at the start of a run."""

    def fingerprint(self) -> str:
        """Identify the content (not the path) cheaply, without parsing it.

        Raises:
            DataError: The data cannot be found; the message names the remedies.
        """

    def load(self) -> RawSplits:
        """Read everything.

        Raises:
            DataError: The data cannot be read; the message names file, row and remedy.
        """


@runtime_checkable
class UnlabelledSource(Protocol):
    """A source that may also have reviews without labels, which a network can learn words from."""

    def fingerprint_unlabelled(self) -> str | None:
        """Identify them, as `Source.fingerprint` does; None: there are none."""

    def load_unlabelled(self) -> list[str]:
        """Read their texts.

        Raises:
            DataError: They cannot be read; the message names file and remedy.
        """


def as_path(path: str | Path | None) -> Path | None:
    """Return a path that settings hold as text; ``~`` is the home folder."""
    return None if path is None else Path(path).expanduser()
