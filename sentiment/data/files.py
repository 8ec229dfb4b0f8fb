"""``data=files``: the user's own CSV, TSV, JSON lines or Parquet, any number of classes."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from sentiment.data.fingerprint import hash_contents
from sentiment.data.reviews import RawSplits, Reviews, as_path
from sentiment.data.rows import Row, read_rows
from sentiment.data.splits import TEST_STREAM, draw_stratified, held_out_count
from sentiment.errors import DataError

READER_VERSION = 1  # raise it when the same file would give other reviews
SHOWN_ROWS = 10

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FilesSource:
    """Reviews from files with a text column and a label column.

    Attributes:
        path: Training file.
        validation_path: Validation file; None: validation is split off the training file later.
        test_path: Test file; None: a part of the training file.
        test_fraction: Without `test_path`: share of the training file held out by class.
        split_seed: Seed of that draw.
        text_column: Column of the text.
        label_column: Column of the label.
        labels: Class names in index order; None: the training file's, sorted (numbers by value).
        on_bad_row: ``error``: bad rows stop the run; ``skip``: they are counted, logged and left out.
    """

    path: Path
    validation_path: Path | None
    test_path: Path | None
    test_fraction: float
    split_seed: int
    text_column: str
    label_column: str
    labels: tuple[str, ...] | None
    on_bad_row: Literal["error", "skip"]

    def __post_init__(self) -> None:
        """Take paths as text and labels as a list too, as settings hold them."""
        for name in ("path", "validation_path", "test_path"):
            object.__setattr__(self, name, as_path(getattr(self, name)))
        object.__setattr__(self, "labels", None if self.labels is None else tuple(self.labels))

    def describe(self) -> str:
        """Say which files these reviews come from."""
        return f"your reviews from {', '.join(str(path) for path in self._paths().values())}"

    def fingerprint(self) -> str:
        """Identify the content of the files and everything that decides how they are read.

        Raises:
            DataError: A file is missing.
        """
        paths = self._paths()
        for key, path in paths.items():
            if not path.is_file():
                what = "is a folder" if path.is_dir() else "does not exist"
                raise DataError(f"{key}={path} {what} (looked at {path.absolute()}); give the path of a file")
        carved = None if self.test_path else [self.test_fraction, self.split_seed]
        settings = [
            READER_VERSION, carved, self.text_column, self.label_column, self.labels, self.on_bad_row,
            [path.suffix.lower() for path in paths.values()],
        ]  # fmt: skip
        return f"files:{hash_contents(paths.items())}:{json.dumps(settings)}"

    def load(self) -> RawSplits:
        """Read all files.

        Raises:
            DataError: A file or a column is missing; bad rows, unless they are skipped; fewer than two classes.
        """
        if self.labels is not None and len(set(self.labels)) != len(self.labels):
            raise DataError(f"data.labels={list(self.labels)} names a class twice; name each once")
        rows = {key: read_rows(path, self.text_column, self.label_column) for key, path in self._paths().items()}
        class_names = self.labels or _sorted_names({row.label for row in rows["data.path"] if row.fault is None})
        checked = {key: [_check_label(row, class_names) for row in found] for key, found in rows.items()}
        skipped = self._report_bad_rows(checked)
        self._require_two_classes(class_names)
        reviews = {key: _reviews(found, class_names) for key, found in checked.items()}
        train, test = reviews["data.path"], reviews.get("data.test_path")
        if test is None:
            train, test = _carve(train, self.test_fraction, self.split_seed)
        validation = reviews.get("data.validation_path")
        return RawSplits(train, validation, test, class_names=class_names, skipped_rows=skipped)

    def _paths(self) -> dict[str, Path]:
        """Map the key that names each file to its path."""
        paths = {
            "data.path": self.path,
            "data.validation_path": self.validation_path,
            "data.test_path": self.test_path,
        }
        return {key: path for key, path in paths.items() if path is not None}

    def _require_two_classes(self, class_names: Sequence[str]) -> None:
        if len(class_names) < 2:
            found = f"only the class {class_names[0]!r}" if class_names else "no usable row"
            raise DataError(
                f"{self.path} holds {found} in column {self.label_column!r}; a classifier needs two classes or more: "
                "check data.label_column"
            )

    def _report_bad_rows(self, rows: dict[str, list[Row]]) -> int:
        """Raise about bad rows or log them; return how many there are."""
        reports = []
        count = 0
        for key, path in self._paths().items():
            bad = [row for row in rows[key] if row.fault]
            count += len(bad)
            if bad:
                reports.append(_list_bad_rows(path, bad, total=len(rows[key])))
        if reports and self.on_bad_row == "error":
            remedy = "Mend them, or set data.on_bad_row=skip to leave them out (they are counted and logged)."
            raise DataError("\n".join([*reports, remedy]))
        for report in reports:
            log.warning("Left out: %s", report)
        return count


def _sorted_names(names: set[str]) -> tuple[str, ...]:
    """Sort class names, by value where all are whole numbers: 2 comes before 10."""
    try:
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    except ValueError:
        return tuple(sorted(names))


def _check_label(row: Row, class_names: Sequence[str]) -> Row:
    if row.fault is None and row.label not in class_names:
        return row._replace(fault=f"the label {row.label!r} is none of the classes {', '.join(class_names)}")
    return row


def _list_bad_rows(path: Path, bad: Sequence[Row], total: int) -> str:
    lines = [f"{len(bad)} of {total} rows of {path} are bad:" if len(bad) > 1 else f"1 row of {path} is bad:"]
    lines += [f"  {path.name}, {row.place}: {row.fault}" for row in bad[:SHOWN_ROWS]]
    if len(bad) > SHOWN_ROWS:
        lines.append(f"  and {len(bad) - SHOWN_ROWS} more")
    return "\n".join(lines)


def _reviews(rows: Sequence[Row], class_names: Sequence[str]) -> Reviews:
    index = {name: position for position, name in enumerate(class_names)}
    good = [row for row in rows if row.fault is None]
    return Reviews([row.text for row in good], np.array([index[row.label] for row in good], dtype=np.int64))


def _carve(train: Reviews, fraction: float, seed: int) -> tuple[Reviews, Reviews]:
    """Hold a stratified part of the training reviews out; returns what stays and what is held out."""
    held_out = draw_stratified(train.labels, held_out_count(len(train), fraction), seed, TEST_STREAM)
    stays = np.setdiff1d(np.arange(len(train)), held_out)
    kept, taken = (
        Reviews([train.texts[index] for index in indices], train.labels[indices]) for indices in (stays, held_out)
    )
    return kept, taken
