"""Text in columns: comma-, tab- or otherwise separated, with or without quotation marks and a line of names.

Two passes, line by line. The first one finds the dialect by counting, over the whole file, what each reading makes of
it; the second one reads. Neither holds more than one record: any size fits the memory. Each physical line belongs to
exactly one record or is blank, so that no record is lost. A quotation mark that is never closed spoils its own line
only: reading goes on with the next one.
"""

from __future__ import annotations

import csv
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from sentiment.data.files.encoding import choose_encoding, read_lines
from sentiment.data.files.records import (
    NUMBER,
    Quoting,
    Reading,
    ReadOptions,
    Row,
    find_columns,
    make_row,
    name_class,
)
from sentiment.errors import DataError

DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";", "pipe": "|"}
USUAL = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
MAX_FIELD_CHARACTERS = 2**31 - 1  # the csv module's own limit of 131,072 is less than a long review needs
SAMPLE_RECORDS = 200
ENOUGH = 10  # records that show a custom; fewer may be chance
UNREADABLE = "look for a quotation mark that is not doubled or not closed"
REMEDY = "look for a quotation mark that is not doubled or not closed"

SEPARATOR_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)
"""The first line by which spreadsheets tell each other the delimiter."""


@dataclass(frozen=True)
class Dialect:
    """How a file in columns is written.

    Attributes:
        encoding: Encoding.
        delimiter: What separates fields.
        quoting: See `ReadOptions`.
        header: Whether the first record holds names.
        skipped: Physical lines before the first record: none, or that of ``sep=;``.
        width: Number of fields of a record.
        text: Index of the text's field.
        label: Index of the label's field; None: there is none.
        labels: Classes that the file holds; None: a text over several lines is never doubted.
    """

    encoding: str
    delimiter: str
    quoting: Quoting
    header: bool
    skipped: int
    width: int
    text: int
    label: int | None
    labels: frozenset[str] | None

    def describe(self) -> str:
        """Say what it is, as people read it."""
        name = "tab" if self.delimiter == "\t" else self.delimiter
        columns = [] if self.width == 1 else [f"{name}-separated"]
        marks = ["quotation marks as text"] if self.quoting == "none" else []
        return ", ".join([*columns, *marks, self.encoding, "header" if self.header else "no header"])

    def find_inner_labels(self, lines: list[str]) -> set[str]:
        """Return the labels of those lines of a record that look like records themselves."""
        pieces = [line.rstrip("\r\n").split(self.delimiter) for line in lines]
        whole = [piece for piece in pieces if len(piece) == self.width > 1]
        if self.label is None:
            return {""} if len(whole) == len(lines) else set()
        # The line with the record's own label does not count: the last one where the label stands after the text.
        own = pieces[0] if self.label < self.text else pieces[-1]
        return {name_class(piece[self.label].strip('" ')) for piece in whole if piece is not own}

    def swallows(self, lines: list[str]) -> bool:
        """Tell whether a record over several lines seems to have swallowed others."""
        if self.labels is None:
            return False
        inner = self.find_inner_labels(lines)
        return bool(inner) if self.label is None else not inner.isdisjoint(self.labels)


class Record(NamedTuple):
    """Fields of a record, or why it has none.

    Attributes:
        number: Its first line, from 1.
        fields: Its fields; empty where there is a fault.
        fault: Why it cannot be read; None: it can.
        lines: Its physical lines.
    """

    number: int
    fields: list[str]
    fault: str | None
    lines: list[str]


def read_delimited(path: Path, options: ReadOptions, prior: Dialect | None) -> tuple[Reading, Dialect]:
    """Find the dialect of a file and prepare its reading.

    Args:
        path: The file.
        options: What is known already.
        prior: Dialect of the file read before, which decides where this one leaves it open.

    Raises:
        DataError: A column is missing, or two dialects give different records.
    """
    dialect = _Survey(path, options, prior).find_dialect()
    return Reading(dialect.describe(), "line", _read_rows(path, dialect, options)), dialect


def _read_rows(path: Path, dialect: Dialect, options: ReadOptions) -> Iterator[Row | None]:
    lines = islice(read_lines(path, dialect.encoding), dialect.skipped, None)
    records = split_records(lines, dialect.delimiter, dialect.quoting, dialect.swallows, start=dialect.skipped)
    encoding = "UTF-8" if dialect.encoding == "utf-8" else dialect.encoding
    is_first = dialect.header
    for record in records:
        if record is None:
            yield None
        elif is_first:
            is_first = False
        elif record.fault is not None:
            yield Row(record.number, "", "", f"{record.fault}{_hint(dialect, options)}")
        elif len(record.fields) != dialect.width:
            yield Row(record.number, "", "", f"it has {len(record.fields)} fields instead of {dialect.width}")
        else:
            label = None if dialect.label is None else record.fields[dialect.label]
            yield make_row(record.number, record.fields[dialect.text], label, dialect.label is not None, encoding)


def _hint(dialect: Dialect, options: ReadOptions) -> str:
    if dialect.labels is None:
        return f"; where such marks are text: {options.name('quoting', 'none')}"
    return f"; where such marks are text: {options.name('quoting', 'none')}, where it is one text: =double"


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
        swallows: Tells whether a record over several lines has swallowed others.
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
                fields, fault = [], f"it cannot be read ({error}; {UNREADABLE})"
            if fault is None and len(taken) > 1 and swallows(taken):
                fields, fault = [], f"its text goes on over {len(taken)} lines that look like rows of their own"
            if fault is not None:
                pending.extendleft(reversed(taken[1:]))
                del taken[1:]
                reader = open_reader()
            is_blank = fault is None and len(fields) < 2 and not taken[0].strip()
            yield None if is_blank else Record(number, fields, fault, taken)
            number += len(taken)
    finally:
        csv.field_size_limit(limit_before)


@dataclass
class _Counts:
    """What the first pass counts; "quoted" is the reading with quotation marks, "plain" the one without.

    Attributes:
        only_quoted: Records that are whole in the quoted reading and not in the plain one.
        only_plain: The reverse.
        differing: Records of one line that both have, with another text or label.
        doubled: Those of them with a doubled mark.
        several_lines: For each quoted record over several lines: the labels of lines that look like records.
        records: All records but the first.
        marked: Whether there is a header with quotation marks.
        first_label: Label of the first record.
        labels: Labels of the other records.
    """

    only_quoted: int = 0
    only_plain: int = 0
    differing: int = 0
    doubled: int = 0
    several_lines: list[frozenset[str]] = field(default_factory=list)
    records: int = 0
    marked: bool = False
    first_label: str | None = None
    labels: Counter[str] = field(default_factory=Counter)


class _Survey:
    """The first pass over a file."""

    def __init__(self, path: Path, options: ReadOptions, prior: Dialect | None) -> None:
        self.path, self.options, self.prior = path, options, prior
        older = prior.encoding if prior and not prior.encoding.startswith("utf") else None
        self.encoding = choose_encoding(path, options, older)
        self.separator = SEPARATOR_LINE.fullmatch(next(read_lines(path, self.encoding), ""))
        self.skipped = 1 if self.separator else 0

    def find_dialect(self) -> Dialect:
        """Find everything; see `read_delimited`."""
        delimiter, sample = self._choose_delimiter()
        header = self._has_header(sample)
        width = len(sample[0]) if header else Counter(map(len, sample)).most_common(1)[0][0]
        columns = sample[0] if header else [str(number) for number in range(1, width + 1)]
        text, *label = find_columns(self.path, columns, self.options, number_first=True)
        index = label[0] if label else None
        draft = Dialect(self.encoding, delimiter, "double", bool(header), self.skipped, width, text, index, None)
        counts = self._count(draft)
        if header is None:
            header = self._is_header(counts)
        counts.marked &= header
        known = set(counts.labels) | {counts.first_label for _ in range(not header) if counts.first_label is not None}
        if self.prior and self.prior.labels:
            known |= self.prior.labels
        return replace(
            draft,
            header=header,
            quoting=self.options.quoting or self._choose_quoting(draft, counts, known),
            labels=None if self.options.quoting == "double" else frozenset(known),
        )

    def _sample(self, delimiter: str) -> list[list[str]]:
        lines = islice(read_lines(self.path, self.encoding), self.skipped, None)
        records = filter(None, split_records(lines, delimiter, self.options.quoting or "double"))
        return [
            record.fields or record.lines[0].rstrip("\r\n").split(delimiter)
            for record in islice(records, SAMPLE_RECORDS)
        ] or [[]]

    def _choose_delimiter(self) -> tuple[str, list[list[str]]]:
        given = self.options.delimiter or (self.separator[1] if self.separator else None)
        if given is not None:
            delimiter = DELIMITERS.get(given, given)
            return delimiter, self._sample(delimiter)
        usual = next((USUAL[suffix.lower()] for suffix in self.path.suffixes if suffix.lower() in USUAL), ",")
        samples = {mark: self._sample(mark) for mark in sorted(DELIMITERS.values(), key=lambda mark: mark != usual)}
        wanted = {str(column) for column in self.options.wanted().values()}
        fitting = [mark for mark, sample in samples.items() if wanted <= set(sample[0])]
        if len(wanted) > 1 or not fitting:  # a name alone in its line is found whatever the delimiter
            usual = ""
        if all(map(str.isdecimal, wanted)):  # places, although a record may hold such values
            least = max(2, *map(int, wanted))
            even = [mark for mark, sample in samples.items() if {len(sample[0])} == set(map(len, sample))]
            fitting = [mark for mark in even if len(samples[mark][0]) >= least]
        if usual in fitting:
            return usual, samples[usual]
        if len(fitting) > 1:
            names = [name for name, mark in DELIMITERS.items() if mark in fitting]
            raise DataError(
                f"{self.path} can be read as separated by {' or by '.join(names)}, with other columns; "
                f"set {self.options.name('delimiter')} to one of them"
            )
        # Where no delimiter fits, the fault is told by the one that finds most columns.
        chosen = fitting[0] if fitting else max(samples, key=lambda mark: len(samples[mark][0]))
        return chosen, samples[chosen]

    def _has_header(self, sample: list[list[str]]) -> bool | None:
        """Return whether the first record holds names; None: the columns are numbers, and the labels will tell.

        Raises:
            DataError: A named column is not there.
        """
        wanted = [str(column) for column in self.options.wanted().values()]
        first = sample[0]
        if self.options.header is False and not all(map(str.isdecimal, wanted)):
            raise DataError(
                f"{self.path} has no header, so its columns are numbers from 1 to {len(first)}: "
                f"set {' and '.join(self.options.wanted())} to numbers{_suggest_numbers(sample, self.options)}"
            )
        if self.options.header is not None:
            return self.options.header
        if all(map(str.isdecimal, wanted)):
            return None
        try:
            find_columns(self.path, first, self.options, number_first=True)
        except DataError as error:
            if not any(not name.strip() or len(name) > 30 or NUMBER.fullmatch(name) or " " in name for name in first):
                raise
            raise DataError(
                f"{error}; or, if its first line is a review already, set {self.options.name('header', 'false')} and "
                f"columns by number{_suggest_numbers(sample, self.options)}"
            ) from None
        return True

    def _count(self, draft: Dialect) -> _Counts:
        counts = _Counts()
        lines = islice(read_lines(self.path, self.encoding), self.skipped, None)
        raw_labels: Counter[str] = Counter()
        for position, record in enumerate(filter(None, split_records(lines, draft.delimiter, "double"))):
            fields, is_whole = record.fields, len(record.fields) == draft.width
            label = fields[draft.label] if is_whole and draft.label is not None else None
            if position == 0:
                counts.first_label = None if label is None else name_class(label)
                counts.marked = is_whole and '"' in record.lines[0]
                if draft.header:
                    continue
            elif label is not None:
                raw_labels[label] += 1
            counts.records += position > 0
            if draft.delimiter == "\t" and (len(record.lines) > 1 or '"' in record.lines[0]):
                _compare_readings(record, draft, counts)
        for raw, count in raw_labels.items():
            counts.labels[name_class(raw)] += count
        return counts

    def _is_header(self, counts: _Counts) -> bool:
        """Tell by its label whether the first record, of which no name is known, is a header."""
        first, labels = counts.first_label, counts.labels
        if first is not None and labels:
            if first in labels:
                return False
            numbers = [NUMBER.fullmatch(label) is not None for label in labels]
            is_odd = all(numbers) and not NUMBER.fullmatch(first)
            if counts.records >= (ENOUGH if is_odd else len(labels) * ENOUGH):
                return True
        if self.prior:
            return self.prior.header
        raise DataError(
            f"{self.path}: it cannot be told whether the first line is a header; set "
            f"{self.options.name('header')} to true or false"
        )

    def _choose_quoting(self, draft: Dialect, counts: _Counts, known: set[str]) -> Quoting:
        """Decide by what both readings make of the file; by custom, only tab-separated files take marks as text."""
        if draft.delimiter != "\t":
            return "double"
        swallowing = sum(bool(labels & known) or draft.label is None for labels in counts.several_lines if labels)
        only_plain = counts.only_plain + swallowing
        if self.prior and self.prior.delimiter == draft.delimiter:
            if self.prior.quoting == "none" and not counts.only_quoted:
                return "none"
            if self.prior.quoting == "double" and not only_plain:
                return "double"
        if counts.only_quoted != only_plain:
            is_quoted = counts.only_quoted > only_plain or (counts.marked and not counts.only_quoted)
            return "double" if is_quoted else "none"
        if only_plain:
            return "double" if counts.marked else "none"
        in_doubt = counts.differing + len(counts.several_lines)
        is_custom = max(counts.doubled, counts.differing // max(counts.records, 1) * counts.records) >= ENOUGH
        if not in_doubt or counts.marked or (is_custom and not counts.several_lines):
            return "double"
        raise DataError(
            f"{self.path}: quotation marks can be read in two ways, and {in_doubt:,} of its rows differ; set "
            f"{self.options.name('quoting', 'double')} where fields stand in quotation marks, or "
            f"{self.options.name('quoting', 'none')} where the marks are part of the text"
        )


def _compare_readings(record: Record, draft: Dialect, counts: _Counts) -> None:
    """Count what the quoted and the plain reading make of a record with quotation marks."""
    fields = record.fields
    whole_text = "".join(record.lines)
    in_order = len(fields) == draft.width and all(
        '"' not in value or '"{}"'.format(value.replace('"', '""')) in whole_text for value in fields
    )
    plain = [line.rstrip("\r\n").split(draft.delimiter) for line in record.lines]
    is_plain = all(len(values) == draft.width for values in plain)
    if not in_order:
        counts.only_plain += is_plain
    elif not is_plain:
        counts.only_quoted += 1
    used = (draft.text,) if draft.label is None else (draft.text, draft.label)
    if in_order and len(record.lines) > 1:
        counts.several_lines.append(frozenset(draft.find_inner_labels(record.lines)))
    elif in_order and is_plain and any(fields[index] != plain[0][index] for index in used):
        counts.differing += 1
        counts.doubled += any('"' in fields[index] for index in used)


def _suggest_numbers(sample: list[list[str]], options: ReadOptions) -> str:
    """Return ``, e.g. data.text_column=6 data.label_column=1``: the longest column, and the one that repeats most."""
    columns = list(zip(*(fields for fields in sample if len(fields) == len(sample[0])), strict=True))
    if not columns or len(columns) < len(options.wanted()):
        return ""
    text = max(range(len(columns)), key=lambda index: sum(map(len, columns[index])))
    found = [options.name("text_column", text + 1)]
    if options.label_column is not None:
        sizes = [len(set(column)) for column in columns]
        label = min((index for index in range(len(columns)) if index != text), key=lambda i: (sizes[i] < 2, sizes[i]))
        found.append(options.name("label_column", label + 1))
    return f", e.g. {' '.join(found)}"
