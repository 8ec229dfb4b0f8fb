"""Text in columns: comma-, tab- or otherwise separated, with or without quotation marks and a line of names.

A file is read once to find its dialect, and once more for its records; neither holds more than one record: any size
fits the memory. Each physical line belongs to exactly one record or is blank, so that no record is lost. A quotation
mark that is never closed spoils its own line only: reading goes on with the next one.
"""

from __future__ import annotations

import csv
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from sentiment.data.files.encoding import choose_encoding, read_lines
from sentiment.data.files.records import Quoting, Reading, ReadOptions, Row, find_columns, make_row, name_class
from sentiment.errors import DataError

TAB = "\t"
DELIMITERS = {"comma": ",", "tab": TAB, "semicolon": ";", "pipe": "|"}
USUAL = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
MAX_FIELD_CHARACTERS = 2**31 - 1  # the csv module's own limit of 131,072 is less than a long review needs
SAMPLE_RECORDS = 200
ENOUGH = 10  # records that show a custom; fewer may be chance

SEPARATOR_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)
"""The first line by which spreadsheets tell each other the delimiter."""


@dataclass(frozen=True)
class Dialect:
    """How a file in columns is written."""

    encoding: str  # encoding
    delimiter: str  # what separates fields
    quoting: Quoting  # see `ReadOptions`
    header: bool  # whether the first record holds names
    skipped: int  # physical lines before the first record: none, or that of ``sep=;``
    width: int  # number of fields of a record
    text: int  # index of the text's field
    label: int | None  # index of the label's field; None: there is none
    # Classes that the file holds; None: a text over several lines is never doubted.
    labels: frozenset[str] | None = None

    def describe(self) -> str:
        """Return what people read of it."""
        columns = [] if self.width == 1 else [f"{'tab' if self.delimiter == TAB else self.delimiter}-separated"]
        marks = ["quotation marks as text"] if self.quoting == "none" else []
        return ", ".join([*columns, *marks, self.encoding, "header" if self.header else "no header"])

    def swallows(self, lines: list[str]) -> bool:
        """Return whether a record over several lines seems to have swallowed others: a line within has a label."""
        if self.labels is None:
            return False
        pieces = [line.rstrip("\r\n").split(self.delimiter) for line in lines]
        whole = [piece for piece in pieces if len(piece) == self.width > 1]
        if self.label is None:
            return len(whole) == len(lines)
        # The line with the record's own label does not count: the last one where the label stands after the text.
        own = pieces[0] if self.label < self.text else pieces[-1]
        return any(name_class(piece[self.label].strip('" ')) in self.labels for piece in whole if piece is not own)

    def split(self, path: Path, swallows: Callable[[list[str]], bool] = lambda lines: False) -> Iterator[Record | None]:
        """Split a file into records; see `split_records`."""
        lines = islice(read_lines(path, self.encoding), self.skipped, None)
        return split_records(lines, self.delimiter, self.quoting, swallows, start=self.skipped)


class Record(NamedTuple):
    """Fields of a record, or why it has none."""

    number: int  # its first line, from 1
    fields: list[str]  # its fields; empty where there is a fault
    fault: str | None  # why it cannot be read; None: it can
    lines: list[str]  # its physical lines


def read_delimited(path: Path, options: ReadOptions, prior: Dialect | None) -> tuple[Reading, Dialect]:
    """Find the dialect of a file and prepare its reading.

    `prior` is the dialect of the file read before, which decides where this one leaves it open.

    Raises:
        DataError: A column is missing, or two dialects give different records.
    """
    dialect = find_dialect(path, options, prior)
    return Reading(dialect.describe(), "line", _read_rows(path, dialect, options)), dialect


def _read_rows(path: Path, dialect: Dialect, options: ReadOptions) -> Iterator[Row | None]:
    hint = f"; where such marks are text: {options.name('quoting', 'none')}"
    hint += "" if dialect.labels is None else ", where it is one text: =double"
    is_header = dialect.header
    for record in dialect.split(path, dialect.swallows):
        if record is None:
            yield None
        elif is_header:
            is_header = False
        elif record.fault is not None:
            yield Row(record.number, "", "", f"{record.fault}{hint}")
        elif len(record.fields) != dialect.width:
            yield Row(record.number, "", "", f"it has {len(record.fields)} fields instead of {dialect.width}")
        else:
            label = None if dialect.label is None else record.fields[dialect.label]
            yield make_row(
                record.number, record.fields[dialect.text], label, dialect.label is not None, dialect.encoding
            )


def split_records(
    lines: Iterable[str],
    delimiter: str,
    quoting: Quoting,
    swallows: Callable[[list[str]], bool] = lambda lines: False,
    start: int = 0,
) -> Iterator[Record | None]:
    """Split lines into records; None stands for a blank line.

    Args:
        lines: Physical lines with their ends.
        delimiter: What separates fields.
        quoting: See `ReadOptions`.
        swallows: Whether a record over several lines has swallowed others.
        start: Lines before the first one.
    """
    source, pending, taken = iter(lines), deque[str](), list[str]()
    limit_before = csv.field_size_limit(MAX_FIELD_CHARACTERS)
    style: Literal[0, 3] = csv.QUOTE_NONE if quoting == "none" else csv.QUOTE_MINIMAL

    def take() -> Iterator[str]:
        while pending or (line := next(source, None)) is not None:
            taken.append(pending.popleft() if pending else line)  # type: ignore[arg-type]
            yield taken[-1]

    def open_reader() -> Iterator[list[str]]:
        # Strict: it stops at the first mark that is out of order, so that no line is looked at often.
        return csv.reader(take(), delimiter=delimiter, strict=True, quoting=style)

    reader, number = open_reader(), start + 1
    try:
        while True:
            taken, fault = [], None
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                fault = f"it cannot be read ({error}; look for a quotation mark that is not doubled or not closed)"
            if fault is None and len(taken) > 1 and swallows(taken):
                fault = f"its text goes on over {len(taken)} lines that look like rows of their own"
            if fault is not None:
                fields = []
                pending.extendleft(reversed(taken[1:]))
                del taken[1:]
                reader = open_reader()
            is_blank = fault is None and len(fields) < 2 and not taken[0].strip()
            yield None if is_blank else Record(number, fields, fault, taken)
            number += len(taken)
    finally:
        csv.field_size_limit(limit_before)


def find_dialect(path: Path, options: ReadOptions, prior: Dialect | None) -> Dialect:
    """Find how a file is written; see `read_delimited`."""
    encoding = choose_encoding(path, options, prior.encoding if prior and prior.encoding[:3] != "utf" else None)
    separator = SEPARATOR_LINE.fullmatch(next(read_lines(path, encoding), ""))
    draft = Dialect(encoding, ",", options.quoting or "double", False, 1 if separator else 0, 0, 0, None)
    given = options.delimiter or (separator[1] if separator else None)
    marks = list(DELIMITERS.values()) if given is None else [DELIMITERS.get(given, given)]
    samples = {mark: _take_sample(path, replace(draft, delimiter=mark)) for mark in marks}
    delimiter = _choose_delimiter(path, samples, options)
    sample = samples[delimiter]
    header = _find_header(path, sample, options)
    width = len(sample[0]) if header else Counter(map(len, sample)).most_common(1)[0][0]
    columns = sample[0] if header else [str(number) for number in range(1, width + 1)]
    text, *label = find_columns(path, columns, options)
    draft = replace(draft, delimiter=delimiter, width=width, text=text, label=label[0] if label else None)
    quoted = _count(path, replace(draft, quoting="double"), skip_first=bool(header))
    if header is None:
        header = _is_header(path, quoted, options, prior)
    known = quoted.labels | (set() if header or not quoted.first_label else {quoted.first_label})
    if prior and prior.labels:
        known |= prior.labels
    return replace(
        draft,
        header=header,
        quoting=options.quoting or _choose_quoting(path, draft, quoted, header, options, prior),
        labels=None if options.quoting == "double" else frozenset(known),
    )


def _take_sample(path: Path, dialect: Dialect) -> list[list[str]]:
    records = islice(filter(None, dialect.split(path)), SAMPLE_RECORDS)
    return [record.fields or record.lines[0].rstrip("\r\n").split(dialect.delimiter) for record in records] or [[]]


def _choose_delimiter(path: Path, samples: dict[str, list[list[str]]], options: ReadOptions) -> str:
    """Choose the one that gives the wanted columns; where none does, the one that nearly does: its fault says more."""
    wanted = options.wanted().values()
    least = 0
    if all(map(str.isdecimal, wanted)):  # places, although a record may hold such values
        least = max(2, *map(int, wanted))
        fitting = [mark for mark, rows in samples.items() if len(rows[0]) >= least and len(set(map(len, rows))) == 1]
    else:
        fitting = [mark for mark, rows in samples.items() if set(wanted) <= set(rows[0])]
        usual = next((USUAL[suffix.lower()] for suffix in path.suffixes if suffix.lower() in USUAL), ",")
        if len(wanted) == 1 and usual in fitting:  # a name alone in its line is found whatever the delimiter
            return usual
    if len(fitting) > 1:
        names = [name for name, mark in DELIMITERS.items() if mark in fitting]
        raise DataError(
            f"{path} can be read as separated by {' or by '.join(names)}, with other columns; "
            f"set {options.name('delimiter')} to one of them"
        )
    return fitting[0] if fitting else max(samples, key=lambda mark: _rate(samples[mark], least))


def _rate(rows: list[list[str]], least: int) -> tuple[int, int]:
    """Return how many rows have the usual number of fields, where that is enough, and the fields of the first."""
    width, count = Counter(map(len, rows)).most_common(1)[0]
    return count if width >= least > 0 else 0, len(rows[0])


def _find_header(path: Path, sample: list[list[str]], options: ReadOptions) -> bool | None:
    """Return whether the first record holds names; None: the columns are numbers, and the labels will tell.

    Raises:
        DataError: A named column is not there.
    """
    by_number = all(map(str.isdecimal, options.wanted().values()))
    if options.header is False and not by_number:
        raise DataError(
            f"{path} has no header, so its columns are numbers from 1 to {len(sample[0])}: "
            f"set {' and '.join(options.wanted())} to numbers{_suggest_numbers(sample, options)}"
        )
    if options.header is not None or by_number:
        return options.header
    try:
        find_columns(path, sample[0], options)
    except DataError as error:
        if not sample[0]:
            raise  # it is empty
        raise DataError(
            f"{error}; or, if its first line is a review already, set {options.name('header', 'false')} and "
            f"columns by number{_suggest_numbers(sample, options)}"
        ) from None
    return True


class _Counts(NamedTuple):
    """What one reading makes of a file."""

    faults: int  # records that are not whole
    records: int  # records that are
    in_marks: int  # those with quotation marks around text and label
    values: int  # hash of all texts and labels: equal for readings that agree
    has_marks: bool  # whether there is a quotation mark at all
    first_line: str  # the first record as it stands
    first_label: str | None  # its label
    labels: set[str]  # labels of the others


def _count(path: Path, dialect: Dialect, skip_first: bool) -> _Counts:
    faults = records = in_marks = values = 0
    has_marks, first_line, first_label = False, "", None
    labels: dict[str, None] = {}
    used = [dialect.text, *([] if dialect.label is None else [dialect.label])]
    for position, record in enumerate(filter(None, dialect.split(path))):
        whole = "".join(record.lines)
        has_marks = has_marks or '"' in whole
        is_whole = len(record.fields) == dialect.width
        label = record.fields[dialect.label] if is_whole and dialect.label is not None else None
        if position == 0:
            first_line, first_label = whole, None if label is None else name_class(label)
            if skip_first:
                continue
        elif label is not None:
            labels[label] = None
        if is_whole:
            chosen = tuple(record.fields[index] for index in used)
            records, values = records + 1, hash((values, chosen))
            in_marks += all(f'"{value}"' in whole for value in chosen)
        else:
            faults += 1
    names = {name_class(label) for label in labels}
    return _Counts(faults, records, in_marks, values, has_marks, first_line, first_label, names)


def _is_header(path: Path, counts: _Counts, options: ReadOptions, prior: Dialect | None) -> bool:
    """Return whether the first record, of which no name is known, is a header: it is none if its label is a class."""
    if counts.first_label in counts.labels:
        return False
    if prior:
        return prior.header
    raise DataError(
        f"{path}: it cannot be told whether the first line is a header; set {options.name('header')} to true or false"
    )


def _choose_quoting(
    path: Path, draft: Dialect, quoted: _Counts, header: bool, options: ReadOptions, prior: Dialect | None
) -> Quoting:
    """Read a tab-separated file both ways: where they differ, the one without a fault is right.

    By custom, files with other delimiters do not take marks as text.
    """
    if draft.delimiter != TAB or not quoted.has_marks or (header and '"' in quoted.first_line):
        return "double"
    plain = _count(path, replace(draft, quoting="none"), skip_first=header)
    if plain.values == quoted.values and plain.faults == quoted.faults:
        return "double"
    if bool(plain.faults) != bool(quoted.faults):
        return "double" if plain.faults else "none"
    if prior and prior.delimiter == TAB:
        return prior.quoting
    if not quoted.faults and quoted.in_marks == quoted.records >= ENOUGH:
        return "double"
    raise DataError(
        f"{path}: quotation marks can be read in two ways, with other rows; set {options.name('quoting', 'double')} "
        f"where fields stand in quotation marks, or {options.name('quoting', 'none')} where the marks are text"
    )


def _suggest_numbers(sample: list[list[str]], options: ReadOptions) -> str:
    """Return ``, e.g. data.text_column=6 data.label_column=1``: the longest column, and the one that repeats most."""
    columns = list(zip(*(fields for fields in sample if len(fields) == len(sample[0])), strict=True))
    if not columns or len(columns) < len(options.wanted()):
        return ""
    text = max(range(len(columns)), key=lambda index: sum(map(len, columns[index])))
    sizes = {index: len(set(column)) for index, column in enumerate(columns) if index != text}
    label = min(sizes, key=lambda index: (sizes[index] < 2, sizes[index]), default=0)
    places = zip(options.wanted(), (text, label), strict=False)
    return f", e.g. {' '.join(f'{key}={place + 1}' for key, place in places)}"
