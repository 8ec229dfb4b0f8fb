"""Unlabelled texts from a user's file or standard input, a few at a time, so that any size fits the memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, get_args

from sentiment.data.files.delimited import DELIMITERS
from sentiment.data.files.encoding import explain_failure
from sentiment.data.files.formats import is_record, read_file, split_texts
from sentiment.data.files.records import USUAL, FileFormat, Quoting, ReadOptions, Row, shorten
from sentiment.errors import DataError

READ_VALUES = {"format": get_args(FileFormat), "quoting": get_args(Quoting), "header": ("true", "false")}


def make_options(text_column: str, pairs: Mapping[str, str]) -> ReadOptions:
    """Turn the ``KEY=VALUE`` of a command line into settings.

    Raises:
        DataError: One is not known.
    """
    values: dict[str, Any] = {}
    for key, value in pairs.items():
        is_delimiter = key == "delimiter" and (len(value) == 1 or value in DELIMITERS)
        if not (is_delimiter or (key == "encoding" and value) or value in READ_VALUES.get(key, ())):
            known = "; ".join(f"{name}={'|'.join(choices)}" for name, choices in READ_VALUES.items())
            raise DataError(
                f"--read {key}={value} is not known; give {known}; "
                f"delimiter={'|'.join(DELIMITERS)} or one character; or encoding=cp1252"
            )
        values[key] = value == "true" if key == "header" else value
    return ReadOptions(text_column, None, **values, is_command=True)


def read_texts(path: Path, options: ReadOptions) -> Iterator[str]:
    """Read the texts of a file record by record.

    The file is of any kind that `data=files` reads, or a .txt with one text per line. An empty text is a text where it
    stands in a column; a blank line is none.

    Raises:
        DataError: The file cannot be read, lacks the column, or has a bad record: the message names file and record.
    """
    with explain_failure(path, options):
        path.stat()
    reading, _ = read_file(path, options)
    options.require_used(path, reading.used)
    yield from take_texts(reading.rows, str(path), reading.unit)


def read_lines(stream: TextIO, name: str) -> Iterator[str]:
    """Read one text per line; a blank line is no text.

    The stream is open with ``errors="surrogateescape"``, so that a broken byte can be told by its line.

    Raises:
        DataError: A line that is not valid UTF-8, or the first one is a record with more than a text.
    """
    texts = take_texts(split_texts(stream), name, "line")
    for text in islice(texts, 1):
        if is_record(text, str(USUAL["text_column"])):
            raise DataError(
                f"{name} does not hold one text per line, but begins with {shorten(text)}; give it as --file FILE, "
                "with the ending of what it is: .csv, .tsv, .jsonl or .ft; or, if these are texts, as --file FILE.txt "
                "--read format=lines"
            )
        yield text
    yield from texts


def take_texts(rows: Iterable[Row | None], name: str, unit: str) -> Iterator[str]:
    """Yield the texts of records, of which None is none.

    Raises:
        DataError: A record is bad.
    """
    for row in rows:
        if row is not None and row.fault is not None:
            raise DataError(f"{name}, {unit} {row.number}: {row.fault}; mend or remove it")
        if row is not None:
            yield row.text


def take_chunks(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """Group texts into lists of `size`; the last may be shorter."""
    iterator = iter(texts)
    while chunk := list(islice(iterator, size)):
        yield chunk
