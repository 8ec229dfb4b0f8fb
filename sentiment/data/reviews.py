"""The form in which every data source hands over its reviews."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Reviews:
    """Labelled texts.

    Attributes:
        texts: N raw texts, untouched (tags such as ``<br />`` kept).
        labels: (N,) class indices, int64.
    """

    texts: list[str]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class RawSplits:
    """What a source holds before validation is split off and duplicates are dropped.

    Attributes:
        train: Training reviews.
        validation: The source's own validation reviews; None: split them off train.
        test: Test reviews.
        class_names: K names in index order.
        skipped_rows: Bad rows left out at the user's wish (``data.on_bad_row=skip``).
        notes: How files were read, a sentence each; printed at the start of a run.
        draw_version: Where test reviews were drawn from train: see `sentiment.data.splits.Splits`.
    """

    train: Reviews
    validation: Reviews | None
    test: Reviews
    class_names: tuple[str, ...]
    skipped_rows: int = 0
    notes: tuple[str, ...] = ()
    draw_version: int = 1


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
