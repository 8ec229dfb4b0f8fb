"""Records of a file, each with its number and what is wrong with it, and the settings by which files are read."""

from __future__ import annotations

import re
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from sentiment.errors import DataError
from sentiment.nearest import nearest

FileFormat = Literal["csv", "json", "parquet", "fasttext", "lines"]
Quoting = Literal["double", "none"]

SURROGATE = re.compile("[\ud800-\udfff]")
"""A byte that the encoding does not know (kept as a lone surrogate), or half of an escaped pair."""
NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


USUAL = {"text_column": "text", "label_column": "label"} | dict.fromkeys(
    ("format", "delimiter", "quoting", "encoding", "header")
)
"""Settings that say how files are read, as they stand where nobody sets them."""


@dataclass(frozen=True)
class ReadOptions:
    """How files are read; what is None is detected."""

    text_column: str | int  # name of the text's column, or its number from 1
    label_column: str | int | None  # the same for the label; None: the texts have none
    format: FileFormat | None = None  # kind of file; None: by its ending
    delimiter: str | None = None  # what separates the columns of a ``csv``
    # ``double``: a field in quotation marks may hold anything, and ``""`` is a quotation mark; ``none``: quotation
    # marks are text, and every line is a record.
    quoting: Quoting | None = None
    encoding: str | None = None  # name of the encoding
    header: bool | None = None  # whether the first record holds the columns' names
    is_command: bool = False  # whether messages name the arguments of ``predict`` rather than keys of ``data``

    def name(self, setting: str, value: object = None) -> str:
        """Return a setting as one types it: ``data.quoting=none``."""
        key = f"data.{setting}"
        if self.is_command:
            key = f"--{setting.replace('_', '-')}" if setting.endswith("_column") else f"--read {setting}"
        return key if value is None else f"{key}={value}"

    def wanted(self) -> dict[str, str]:
        """Return each wanted column under its key."""
        columns = {"text_column": self.text_column, "label_column": self.label_column}
        return {self.name(key): str(column) for key, column in columns.items() if column is not None}

    def require_used(self, name: object, used: Collection[str]) -> None:
        """Insist that every setting says something about how the files of a name are read.

        Args:
            name: What was read.
            used: The settings that decided how: `Reading.used` of all files.

        Raises:
            DataError: One would be ignored.
        """
        for key, usual in USUAL.items():
            value = getattr(self, key)
            if value not in (None, usual) and key not in used:
                given = self.name(key, str(value).lower() if isinstance(value, bool) else value)
                other = "" if key == "format" else f", or say what it is with {self.name('format', 'csv')}"
                raise DataError(f"{given} says nothing about {name}, as it is read; leave it out{other}")


class Row(NamedTuple):
    """A record as read."""

    number: int  # its first line, or its row, from 1
    text: str  # the text; empty where there is a fault, as is the label
    label: str  # the label as it is spelled; empty, too, where none is wanted
    fault: str | None  # what is wrong with the record; None: nothing


@dataclass(frozen=True)
class Reading:
    """A file that is about to be read."""

    how: str  # what was detected, as people read it: ``;-separated, cp1252, header``
    unit: str  # what numbers count: ``line`` or ``row``
    rows: Iterator[Row | None]  # the records; None stands for a blank line
    used: Collection[str] = ()  # the settings of `ReadOptions` that decide how a file of its kind is read


@dataclass
class Table:
    """A file that was read: texts + bad + left_out are all its records, and blank lines are none."""

    name: str  # the file
    how: str  # see `Reading`, as for `unit`
    unit: str
    texts: list[str] = field(default_factory=list)  # texts of the N good records; then their N labels and N numbers
    labels: list[str] = field(default_factory=list)
    numbers: array[int] = field(default_factory=lambda: array("q"))
    bad: list[tuple[int, str]] = field(default_factory=list)  # numbers and faults of the bad records
    left_out: int = 0  # records whose label `data.label_map` maps to null
    blank: int = 0  # blank lines
    seen: set[str] = field(default_factory=set)  # labels that stand in the file, as class names
    # Spellings of each class that has several: ``1.1`` and ``1.10``.
    joined: dict[str, list[str]] = field(default_factory=dict)
    # What its description calls it, which is kept for as long as the content: a file may be moved.
    title: str | None = None

    @property
    def records(self) -> int:
        """Number of records, good or not."""
        return len(self.texts) + len(self.bad) + self.left_out

    def describe(self) -> str:
        """Return how the file was read, and what was in it."""
        counts = [f"{self.records:,} rows"]
        counts += [f"{self.left_out:,} of them left out by data.label_map"] if self.left_out else []
        counts += [f"{self.blank:,} blank lines"] if self.blank else []
        counts += [f"{' and '.join(spelled)} taken for one class" for spelled in self.joined.values()]
        return f"{self.title or self.name} read as: {self.how}, {', '.join(counts)}"


def take_rows(reading: Reading, name: str, label_map: Mapping[str, str | None]) -> Table:
    """Read a file to its end; `label_map` is the class that a label stands for; None: its records are left out.

    Raises:
        DataError: The file cannot be read.
    """
    table = Table(name, reading.how, reading.unit)
    names: dict[str, str] = {}  # of each spelling; one string per label rather than one per record
    for row in reading.rows:
        if row is None:
            table.blank += 1
            continue
        if row.fault is not None:
            table.bad.append((row.number, row.fault))
            continue
        name = names.get(row.label) or names.setdefault(row.label, name_class(row.label))
        if (label := label_map.get(name, name)) is None:
            table.left_out += 1
        else:
            table.texts.append(row.text)
            table.labels.append(label)
            table.numbers.append(row.number)
    table.seen = set(names.values())
    spellings: dict[str, list[str]] = {}
    for spelled, name in names.items():
        spellings.setdefault(name, []).append(spelled)
    table.joined = {name: spelled for name, spelled in spellings.items() if len(spelled) > 1}
    return table


def make_row(number: int, text: Any, label: Any, has_label: bool = True, encoding: str = "utf-8") -> Row:
    """Check the values of one record; where no label is wanted, the empty text is a text."""
    if not has_label:
        fault = find_text_fault(text, encoding)
        return Row(number, "" if fault else text, "", fault)
    fault = "the text is missing" if text == "" else find_text_fault(text, encoding)
    fault = fault or (None if text.strip() else "the text is blank") or _find_label_fault(label, encoding)
    return Row(number, "", "", fault) if fault else Row(number, text, _spell(label), None)


LONGEST_TEXT = 2_000_000
"""Characters of a review: a long novel. On much longer words the tokenizer's expressions run out of their stack."""


def find_text_fault(text: Any, encoding: str = "utf-8") -> str | None:
    """Return why a value is no text; the empty text is one."""
    if text is None:
        return "the text is missing"
    if not isinstance(text, str):
        return f"the text is no string but {shorten(text)}"
    if len(text) > LONGEST_TEXT:
        return f"the text has {len(text):,} characters, and at most {LONGEST_TEXT:,} are read"
    return f"the text is not valid {encoding.upper()}" if not text.isascii() and SURROGATE.search(text) else None


def _find_label_fault(label: Any, encoding: str) -> str | None:
    if label is None or label != label or (isinstance(label, str) and not label.strip()):  # a NaN equals nothing
        return "the label is missing"
    if isinstance(label, str):
        return f"the label is not valid {encoding.upper()}" if SURROGATE.search(label) else None
    if isinstance(label, bool | int) or (isinstance(label, float) and label.is_integer()):
        return None
    return f"the label is no string, whole number or truth value but {shorten(label)}"


def _spell(label: str | int | float | bool) -> str:
    return str(label).lower() if isinstance(label, bool) else str(label).strip()


@lru_cache(maxsize=4096, typed=True)
def name_class(label: str | int | float | bool) -> str:
    """Return the class that a label names: without blanks around it, and the same for equal numbers: ``1.0``, ``1``."""
    name = _spell(label)
    if not NUMBER.fullmatch(name):
        return name
    whole, _, fraction = name.lstrip("+-").partition(".")
    number = ".".join(filter(None, [whole.lstrip("0") or "0", fraction.rstrip("0")]))
    return f"-{number}" if name.startswith("-") and number != "0" else number


def shorten(value: object) -> str:
    """Return a value in at most 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def require_columns(name: object, columns: Iterable[str], options: ReadOptions) -> list[str]:
    """Return the names of the wanted columns, text first; see `find_columns`."""
    names = list(columns)
    return [names[index] for index in find_columns(name, names, options)]


def find_columns(name: object, columns: list[str], options: ReadOptions) -> list[int]:
    """Return the indices of the wanted columns, text first: of that name, or else at the place of that number, from 1.

    Raises:
        DataError: There is none at all; one is not there, stands there twice, or is both text and label.
    """
    if not columns:
        raise DataError(f"{name} is empty, it has neither columns nor rows: name another file, or fill it")
    found = []
    for key, column in options.wanted().items():
        if column not in columns and column.isdecimal() and 1 <= int(column) <= len(columns):
            found.append(int(column) - 1)
        elif columns.count(column) == 1:
            found.append(columns.index(column))
        else:
            problem = "has no column" if column not in columns else "has more than one column"
            raise DataError(
                f"{name} {problem} {column!r}; its columns are {', '.join(map(repr, columns))}: "
                f"set {key} to one of them{suggest(column, columns)}"
            )
    if len(set(found)) < len(found):
        text, label = options.wanted()
        raise DataError(
            f"{text} and {label} both name the column {columns[found[0]]!r} of {name}: a text would be its own label; "
            f"its columns are {', '.join(map(repr, columns))}: set {label} to another one"
        )
    return found


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``, e.g. NAME`` with the nearest known name, or nothing."""
    guess = nearest(name, sorted(known))
    return f", e.g. {guess}" if guess else ""
