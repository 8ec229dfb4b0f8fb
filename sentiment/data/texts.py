"""Unlabelled texts from a user's file or standard input, a few at a time, so that any size fits the memory."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from sentiment.data.rows import (
    JSON_LINES,
    LINE_FORMATS,
    MAX_FIELD_CHARACTERS,
    PARQUET,
    decode_values,
    is_broken,
    open_text,
    parse_json,
    read_fields,
)
from sentiment.errors import DataError

PLAIN = (".txt",)


def read_texts(path: Path, text_column: str) -> Iterator[str]:
    """Read the texts of a file row by row.

    Args:
        path: .csv or .tsv with a line of column names, .jsonl, .parquet, or .txt with one text a line.
        text_column: Column of the text; of no matter in a .txt.

    Yields:
        The texts. An empty text is a text; a row without one is an error.

    Raises:
        DataError: The file cannot be read, lacks the column, or has a bad row: the message names file and row.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in LINE_FORMATS:
            yield from _read_delimited(path, LINE_FORMATS[suffix], text_column)
        elif suffix in JSON_LINES:
            yield from _read_json_lines(path, text_column)
        elif suffix in PARQUET:
            yield from _read_parquet(path, text_column)
        elif suffix in PLAIN:
            with open_text(path) as file:
                yield from read_lines(file, str(path))
        else:
            known = ", ".join([*LINE_FORMATS, *JSON_LINES, *PARQUET, *PLAIN])
            raise DataError(f"{path} has the ending {suffix or '(none)'!r}; give a file that ends in one of {known}")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); check the path and its rights") from error


def read_lines(stream: TextIO, name: str) -> Iterator[str]:
    """Read one text a line.

    Args:
        stream: Open with ``errors="surrogateescape"``, so that a broken byte can be told by its line.
        name: What to call it in a message.

    Raises:
        DataError: A line that is not valid UTF-8.
    """
    for number, line in enumerate(stream, start=1):
        yield check_text(line.rstrip("\r\n"), name, f"line {number}")


def take_chunks(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """Group texts into lists of `size`; the last may be shorter."""
    iterator = iter(texts)
    while chunk := list(islice(iterator, size)):
        yield chunk


def check_text(text: Any, name: str, place: str) -> str:
    """Give a text back if it is one.

    Raises:
        DataError: It is none, or not valid UTF-8.
    """
    fault = None
    if text is None:
        fault = "the text is missing"
    elif not isinstance(text, str):
        fault = f"the text is no string but {text!r:.60}"
    elif is_broken(text):
        fault = "the text is not valid UTF-8"
    if fault is not None:
        raise DataError(f"{name}, {place}: {fault}; mend or remove it")
    return str(text)


def _require_column(path: Path, columns: Iterable[str], text_column: str) -> None:
    columns = list(columns)
    if columns.count(text_column) != 1:
        problem = "has no column" if text_column not in columns else "has more than one column"
        raise DataError(
            f"{path} {problem} {text_column!r}; its columns are {', '.join(map(repr, columns))}: "
            "name one with --text-column"
        )


def _read_delimited(path: Path, delimiter: str, text_column: str) -> Iterator[str]:
    limit_before = csv.field_size_limit(MAX_FIELD_CHARACTERS)
    try:
        with open_text(path) as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            columns = next(reader, [])
            _require_column(path, columns, text_column)
            index = columns.index(text_column)
            for place, fields in read_fields(reader):
                if isinstance(fields, str):
                    raise DataError(f"{path}, {place}: {fields}")
                if len(fields) != len(columns):
                    raise DataError(f"{path}, {place}: it has {len(fields)} fields instead of {len(columns)}; mend it")
                yield check_text(fields[index], str(path), place)
    except csv.Error as error:
        raise DataError(f"{path}: the first line, with the columns' names, cannot be read ({error})") from error
    finally:
        csv.field_size_limit(limit_before)


def _read_json_lines(path: Path, text_column: str) -> Iterator[str]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            raw = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if not raw.strip():
                continue
            value = parse_json(raw)
            if isinstance(value, str):
                raise DataError(f"{path}, line {number}: {value}; mend or remove it")
            if text_column not in value:
                raise DataError(
                    f"{path}, line {number}: no key {text_column!r}; its keys are {', '.join(map(repr, value))}: "
                    "name one with --text-column"
                )
            yield check_text(value[text_column], str(path), f"line {number}")


def _read_parquet(path: Path, text_column: str) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _require_column(path, file.schema_arrow.names, text_column)
            row = 0
            for batch in file.iter_batches(batch_size=1000, columns=[text_column]):
                for value in decode_values(batch.column(0)):
                    row += 1
                    yield check_text(value, str(path), f"row {row}")
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} cannot be read as Parquet ({error}); write it again") from error
