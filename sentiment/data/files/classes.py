"""From tables of texts and labels to splits: which class a label is, which rows are bad, what is held out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sentiment.data.class_report import fold, write_label_map
from sentiment.data.files.records import Table, name_class, suggest
from sentiment.data.reviews import RawSplits, Reviews
from sentiment.data.splits import TEST_STREAM, hold_out
from sentiment.errors import DataError
from sentiment.format import join_names, list_first

SHOWN_ROWS = 10
Label = str | int | float | bool

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LabelledData:
    """A data set of one's own: what becomes of its columns, labels and bad rows."""

    text_column: str | int  # column of the text: its name, or its number from 1
    label_column: str | int  # column of the label
    # Class names in index order; None: those of the training rows, sorted (numbers by value).
    labels: tuple[str, ...] | None
    label_map: Mapping[Label, Label | None] | None = None  # class that a label stands for; None: its rows are left out
    # ``error``: bad rows stop the run; ``skip``: they are counted, logged and left out.
    on_bad_row: Literal["error", "skip"]
    test_fraction: float  # without a test split: share of the training rows held out by class
    split_seed: int  # seed of that draw

    def __post_init__(self) -> None:
        """Take labels as a list too, as settings hold them."""
        object.__setattr__(self, "labels", None if self.labels is None else tuple(self.labels))

    def rename(self) -> dict[str, str | None]:
        """Return `label_map` by class name.

        Raises:
            DataError: It names a label twice.
        """
        names: dict[str, str | None] = {}
        for label, target in (self.label_map or {}).items():
            if name_class(label) in names:
                raise DataError(f"data.label_map names the label {name_class(label)!r} twice; name each once")
            names[name_class(label)] = None if target is None else name_class(target)
        return names

    def list_label_map(self) -> list[tuple[str, str]]:
        """Return `label_map` for a fingerprint; a class that is called None has other marks than no class."""
        return sorted(
            (label, f"'{target}'" if target is not None and target.strip("'") == "None" else str(target))
            for label, target in self.rename().items()
        )


def make_splits(
    train: Sequence[Table], validation: Sequence[Table] | None, test: Sequence[Table] | None, rules: LabelledData
) -> RawSplits:
    """Return the reviews of each split, with class indices.

    Raises:
        DataError: Bad rows, unless they are skipped; fewer than two classes; rules that name labels that are not there.
    """
    tables = [*train, *(validation or ()), *(test or ())]
    names = tuple(map(name_class, rules.labels or ()))
    if len(set(names)) != len(names):
        raise DataError(f"data.labels={list(rules.labels or ())} names a class twice; name each once")
    _require_known_labels(tables, rules)
    names = names or sort_names({label for table in train for label in table.labels})
    index = {name: position for position, name in enumerate(names)}
    skipped = _report_bad_rows(tables, index, rules)
    if len(names) < 2:
        found = f"only the class {names[0]!r}" if names else "no usable row"
        raise DataError(
            f"{train[0].name} holds {found} in column {rules.label_column!r}; a classifier needs two classes or more: "
            "check data.label_column"
        )
    reviews, own_validation = _join(train, index), None if validation is None else _join(validation, index)
    if test is not None:
        held_out = _join(test, index)
    else:
        reviews, held_out = hold_out(reviews, rules.test_fraction, rules.split_seed, TEST_STREAM)
    notes = tuple(table.describe() for table in tables)
    return RawSplits(reviews, own_validation, held_out, names, skipped_rows=skipped, notes=notes)


def sort_names(names: set[str]) -> tuple[str, ...]:
    """Sort class names, by value where all are whole numbers: 2 comes before 10."""
    try:
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    except ValueError:
        return tuple(sorted(names))


def _require_known_labels(tables: Sequence[Table], rules: LabelledData) -> None:
    seen = {label for table in tables for label in table.seen}
    for label in rules.rename():
        if label not in seen:
            raise DataError(f"data.label_map names the label {label!r}, which no row has{suggest(label, seen)}")


def _report_bad_rows(tables: Sequence[Table], index: Mapping[str, int], rules: LabelledData) -> int:
    """Raise about bad rows, unless they are skipped: then log them, and return how many there are."""
    reports, count, strange = [], 0, set()
    for table in tables:
        unknown = [
            (number, label) for number, label in zip(table.numbers, table.labels, strict=True) if label not in index
        ]
        strange |= {label for _, label in unknown}
        told = f"is none of the classes {join_names(list(index))}"
        bad = sorted([*table.bad, *((number, f"the label {label!r} {told}") for number, label in unknown)])
        count += len(bad)
        if bad:
            file = table.name.rpartition("/")[2]
            some = f"{len(bad):,} of {table.records:,} rows of {table.name} are bad:"
            heading = some if len(bad) > 1 else f"1 row of {table.name} is bad:"
            lines = [f"{file}, {table.unit} {number}: {fault}" for number, fault in bad]
            reports.append(f"{heading}\n{list_first(lines, SHOWN_ROWS)}")
    for label in sorted(strange):
        same = [name for name in index if fold(name) == fold(label)]
        if same:
            remedy = write_label_map({label: same[0]})
            reports.append(f"Labels that differ only in case, blanks or form in Unicode are one class with {remedy}.")
    if count and rules.on_bad_row == "error":
        remedy = "Mend them, or set data.on_bad_row=skip to leave them out (they are counted and logged)."
        raise DataError("\n".join([*reports, remedy]))
    for report in reports:
        log.warning("Left out: %s", report)
    return count


def _join(tables: Sequence[Table], index: Mapping[str, int]) -> Reviews:
    """Put the tables of a split behind one another, without labels that are no class."""
    pairs = [(table, position) for table in tables for position, label in enumerate(table.labels) if label in index]
    texts = [table.texts[position] for table, position in pairs]
    return Reviews(texts, np.array([index[table.labels[position]] for table, position in pairs], dtype=np.int64))
