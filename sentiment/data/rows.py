"""Rows of a user's CSV, TSV, JSON lines or Parquet file, each with its place in the file and what is wrong with it.

The readers go row by row with the standard library where a faster parser would not say in which line a row stands:
a message must lead to the line that an editor shows.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from sentiment.errors import DataError

LINE_FORMATS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
PARQUET = (".parquet", ".pq")
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
SURROGATE = re.compile("[\ud800-\udfff]")
MAX_FIELD_CHARACTERS = 2**31 - 1  # the csv module's own limit of 131,072 is less than a long review needs


class Row(NamedTuple):
    """A row as read.

    Attributes:
        place: ``line 7`` or ``row 7``, counted from 1.
        text: The text; empty where there is a fault.
        label: The label as a class name; empty where there is a fault.
        fault: What is wrong with the row; None: nothing.
    """

    place: str
    text: str
    label: str
    fault: str | None


def read_rows(path: Path, text_column: str, label_column: str) -> list[Row]:
    """Read the text and the label of every row; a bad row is returned with its fault.

    Labels may be strings, whole numbers or truth values; their class names are the string (without surrounding
    blanks), the number in digits, ``true`` or ``false``.

    Raises:
        DataError: The file cannot be read at all, or lacks a column.
    """
    try:
        if path.suffix.lower() in LINE_FORMATS:
            return list(_read_delimited(path, LINE_FORMATS[path.suffix.lower()], text_column, label_column))
        if path.suffix.lower() in JSON_LINES:
            return _read_json_lines(path, text_column, label_column)
        if path.suffix.lower() in PARQUET:
            return list(_read_parquet(path, text_column, label_column))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); check the path and its rights") from error
    known = ", ".join([*LINE_FORMATS, *JSON_LINES, *PARQUET])
    raise DataError(f"{path} has the ending {path.suffix or '(none)'!r}; give a file that ends in one of {known}")


def _row(place: str, text: Any, label: Any) -> Row:
    fault = _text_fault(text) or _label_fault(label)
    return Row(place, "", "", fault) if fault else Row(place, text, _class_name(label), None)


def _text_fault(text: Any) -> str | None:
    if text is None or text == "":
        return "the text is missing"
    if not isinstance(text, str):
        return f"the text is no string but {_shorten(text)}"
    if is_broken(text):
        return "the text is not valid UTF-8"
    return None if text.strip() else "the text is blank"


def _label_fault(label: Any) -> str | None:
    if label is None or label != label or (isinstance(label, str) and not label.strip()):  # a NaN equals nothing
        return "the label is missing"
    if isinstance(label, str):
        return "the label is not valid UTF-8" if is_broken(label) else None
    if isinstance(label, bool | int) or (isinstance(label, float) and label.is_integer()):
        return None
    return f"the label is no string, whole number or truth value but {_shorten(label)}"


def _class_name(label: str | int | float | bool) -> str:
    if isinstance(label, str):
        return label.strip()
    return str(label).lower() if isinstance(label, bool) else str(int(label))


def is_broken(text: str) -> bool:
    """Find bytes that were no UTF-8 (kept as lone surrogates) and halves of an escaped pair."""
    return SURROGATE.search(text) is not None


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _require_columns(path: Path, columns: Iterable[str], text_column: str, label_column: str) -> None:
    columns = list(columns)
    for key, wanted in (("data.text_column", text_column), ("data.label_column", label_column)):
        if columns.count(wanted) != 1:
            problem = "has no column" if wanted not in columns else "has more than one column"
            raise DataError(
                f"{path} {problem} {wanted!r}; its columns are {', '.join(map(repr, columns))}: "
                f"set {key} to one of them"
            )


def open_text(path: Path) -> TextIO:
    """Open a UTF-8 file; bytes that are none become lone surrogates, which `is_broken` finds.

    Raises:
        DataError: The file is UTF-16.
    """
    with path.open("rb") as file:
        if file.read(2) in UTF16_MARKS:
            raise DataError(f"{path} is UTF-16; save it as UTF-8")
    # newline="" leaves line ends inside fields alone; surrogateescape keeps broken bytes until their row is known
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _read_delimited(path: Path, delimiter: str, text_column: str, label_column: str) -> Iterator[Row]:
    limit_before = csv.field_size_limit(MAX_FIELD_CHARACTERS)
    try:
        with open_text(path) as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            columns: Sequence[str] = next(reader, [])
            _require_columns(path, columns, text_column, label_column)
            text_index, label_index = columns.index(text_column), columns.index(label_column)
            for place, fields in read_fields(reader):
                if isinstance(fields, str):
                    yield Row(place, "", "", fields)
                elif len(fields) != len(columns):
                    yield Row(place, "", "", f"it has {len(fields)} fields instead of {len(columns)}")
                else:
                    yield _row(place, fields[text_index], fields[label_index])
    except csv.Error as error:
        raise DataError(f"{path}: the first line, with the columns' names, cannot be read ({error})") from error
    finally:
        csv.field_size_limit(limit_before)


def read_fields(reader: Any) -> Iterator[tuple[str, list[str] | str]]:
    """Yield where each row starts, and its fields or why it cannot be read; blank lines are no rows."""
    while True:
        place = f"line {reader.line_num + 1}"
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield place, f"it cannot be read ({error}; look for a quotation mark that is not doubled or not closed)"
            continue
        if fields:
            yield place, fields


def _read_json_lines(path: Path, text_column: str, label_column: str) -> list[Row]:
    rows = []
    columns: dict[str, None] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            raw = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if raw.strip():
                value = parse_json(raw)
                if isinstance(value, dict):
                    columns.update(dict.fromkeys(value))
                    rows.append(_row(f"line {number}", value.get(text_column), value.get(label_column)))
                else:
                    rows.append(Row(f"line {number}", "", "", value))
    if columns or not rows:  # where no line is an object at all, the rows' faults say more
        _require_columns(path, columns, text_column, label_column)
    return rows


def parse_json(line: bytes) -> dict[str, Any] | str:
    """Read one object, or say what is wrong with the line."""
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return "it is not valid UTF-8"
    except (ValueError, RecursionError) as error:
        return f"it is no JSON ({error})"
    return value if isinstance(value, dict) else f"it is no JSON object but {_shorten(value)}"


def _read_parquet(path: Path, text_column: str, label_column: str) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        _require_columns(path, pq.read_schema(path).names, text_column, label_column)
        table = pq.read_table(path, columns=[text_column, label_column], partitioning=None)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} cannot be read as Parquet ({error}); write it again") from error
    columns = zip(decode_values(table.column(text_column)), decode_values(table.column(label_column)), strict=True)
    for number, (text, label) in enumerate(columns, start=1):
        yield _row(f"row {number}", text, label)


def decode_values(column: Any) -> Iterator[Any]:
    """Give the values of a Parquet column; strings by way of their bytes, because nobody has checked their encoding."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        yield from column.to_pylist()
        return
    for value in column.cast(pa.large_binary()).to_pylist():
        yield None if value is None else value.decode("utf-8", errors="surrogateescape")
