"""Every kind of file: which one a path is, and its records."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from sentiment.data.files.delimited import Dialect, read_delimited
from sentiment.data.files.encoding import (
    PACKED,
    choose_encoding,
    explain_damage,
    explain_failure,
    open_bytes,
    read_lines,
)
from sentiment.data.files.records import (
    USUAL,
    FileFormat,
    Reading,
    ReadOptions,
    Row,
    make_row,
    require_columns,
    shorten,
)
from sentiment.errors import DataError

ENDINGS: dict[str, FileFormat] = {
    ".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".ndjson": "json", ".parquet": "parquet", ".pq": "parquet",
    ".tab": "csv", ".json": "json", ".txt": "lines", ".ft": "fasttext",
}  # fmt: skip
COLUMNS = ("text_column", "label_column")
USED: dict[FileFormat, tuple[str, ...]] = {
    "csv": tuple(USUAL), "json": ("format", "encoding", *COLUMNS), "parquet": ("format", *COLUMNS),
    "fasttext": ("format", "encoding"), "lines": ("format", "encoding"),
}  # fmt: skip
"""The settings that decide how a file of each kind is read."""
LABEL_MARK = "__label__"
STATE_FILE = "state.json"
"""Of a saved data set: which files hold its rows."""
DATASET_FILES = (STATE_FILE, "dataset_dict.json")
BATCH_ROWS = 1000


def is_dataset(path: Path) -> bool:
    """Return whether a folder is what the `datasets` library saves."""
    return any((path / name).is_file() for name in DATASET_FILES)


def find_format(path: Path, options: ReadOptions) -> FileFormat:
    """Return the kind of a file: the given one, or by its ending, less that of a packed file.

    Raises:
        DataError: The ending says nothing.
    """
    if options.format is not None:
        return options.format
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kinds = [ENDINGS[suffix] for suffix in suffixes[-3:] if suffix in ENDINGS]
    plain = [suffix for suffix in suffixes if suffix not in PACKED]
    if not kinds or (plain and plain[-1] not in ENDINGS):
        raise DataError(
            f"{path} has the ending {path.suffix or '(none)'!r}; give a file that ends in one of {', '.join(ENDINGS)}, "
            f"packed or not ({', '.join(PACKED)}), or say what it is with {options.name('format', 'csv')} (or json, "
            "parquet, fasttext, lines)"
        )
    return "fasttext" if "fasttext" in kinds else kinds[-1]


def read_file(
    path: Path, options: ReadOptions, label_path: Path | None = None, prior: Dialect | None = None
) -> tuple[Reading, Dialect | None]:
    """Find out how a file is written and prepare its reading.

    The path may be a folder that the `datasets` library saved; `label_path` is a file with one label per line, for
    texts that stand one per line; `prior` is the dialect of the file in columns that was read before.

    Returns:
        The reading and, for a file in columns, its dialect.

    Raises:
        DataError: The file cannot be read, lacks a column, or can be read in two ways.
    """
    with explain_failure(path, options):
        if path.is_dir() and is_dataset(path):
            return _read_dataset_folder(path, options), None
        if path.is_dir():
            raise DataError(f"{path} is a folder of files, and one is read; give one of them")
        kind = "lines" if label_path else find_format(path, options)
        if kind == "lines" and label_path is None:
            kind = _look_into(path, options) if options.label_column is not None else _require_texts(path, options)
        dialect = None
        if kind == "csv":
            reading, dialect = read_delimited(path, options, prior)
        elif kind == "json":
            reading = _read_json(path, options)
        elif kind == "parquet":
            reading = Reading("Parquet", "row", _read_parquet(path, options))
        elif kind == "fasttext":
            encoding = choose_encoding(path, options)
            reading = Reading(f"fastText, {encoding}", "line", _read_fasttext(path, encoding))
        else:
            reading = _read_texts(path, options, label_path)
        return _complete(path, reading, kind, options), dialect


def _complete(path: Path, reading: Reading, kind: FileFormat, options: ReadOptions) -> Reading:
    """Let failures to read name the file, although they come later than the preparation."""

    def rows() -> Iterator[Row | None]:
        with explain_failure(path, options):
            yield from reading.rows

    return replace(reading, rows=rows(), used=USED[kind])


def _look_into(path: Path, options: ReadOptions) -> FileFormat:
    """Return what a ``.txt`` with labels is."""
    for line in read_lines(path, choose_encoding(path, options)):
        if line.strip():
            if line.startswith(LABEL_MARK):
                return "fasttext"
            if any(mark in line for mark in "\t,;|") and options.format is None:
                return "csv"
            break
    where = (
        "give a file that holds both"
        if options.is_command
        else f"name the file that holds them, one per line, with {options.name('label_path')}"
    )
    raise DataError(
        f"{path} holds one text per line, without labels; {where}, or say what it is with "
        f"{options.name('format', 'csv')} (or fasttext)"
    )


def _require_texts(path: Path, options: ReadOptions) -> FileFormat:
    """Insist that lines are texts and nothing else, where no label is wanted: labels would be read as words.

    Raises:
        DataError: The first one is none.
    """
    if options.is_command and options.format == "lines":
        return "lines"  # said of this very file
    line = next((line for line in read_lines(path, choose_encoding(path, options)) if line.strip()), "")
    insisting = f", or say that these are texts: {options.name('format', 'lines')}" if options.is_command else ""
    if is_record(line, str(options.text_column)):
        raise DataError(
            f"{path} does not hold one text per line, but begins with {shorten(line.strip())}; give it the ending of "
            f"what it is: .ft for fastText, .csv or .tsv for columns, .jsonl for objects{insisting}"
        )
    return "lines"


def is_record(line: str, text_column: str) -> bool:
    """Return whether the first line of a file is more than a text: fastText's, a JSON object, or columns' names."""
    fields = [field.strip('" ') for field in re.split(r"[\t,;|]", line.strip())]
    names_columns, value = len(fields) > 1 and text_column in fields, _parse(line)
    return line.startswith(LABEL_MARK) or names_columns or (isinstance(value, dict) and bool(value))


def _read_texts(path: Path, options: ReadOptions, label_path: Path | None) -> Reading:
    encoding = choose_encoding(path, options)
    if label_path is None:
        return Reading(f"one text per line, {encoding}", "line", split_texts(read_lines(path, encoding), encoding))
    label_encoding = choose_encoding(label_path, options)
    for file in (path, label_path):
        if not file.is_file():
            raise DataError(f"{file} is no file; texts and labels need one file each")
    texts, labels = read_lines(path, encoding), read_lines(label_path, label_encoding)
    how = f"one text per line, {encoding}, labels in a file of their own"
    return Reading(how, "line", _pair_lines(path, label_path, texts, labels))


def split_texts(lines: Iterable[str], encoding: str = "utf-8") -> Iterator[Row | None]:
    """Yield one text per line; None stands for a blank line, which is no text."""
    for number, line in enumerate(lines, start=1):
        text = line.rstrip("\r\n")
        yield make_row(number, text, None, False, encoding) if text.strip() else None


def _pair_lines(path: Path, label_path: Path, texts: Iterator[str], labels: Iterator[str]) -> Iterator[Row | None]:
    last_text = last_label = 0
    for number, (text, label) in enumerate(zip_longest(texts, labels, fillvalue=""), start=1):
        last_text, last_label = number if text.strip() else last_text, number if label.strip() else last_label
        yield make_row(number, text.rstrip("\r\n"), label) if number in (last_text, last_label) else None
    if last_text != last_label:
        raise DataError(
            f"{path} has {last_text:,} lines and {label_path} {last_label:,} (blank ones at the end not "
            "counted); the label of each text must stand in the same line"
        )


def _read_fasttext(path: Path, encoding: str) -> Iterator[Row | None]:
    for number, line in enumerate(read_lines(path, encoding), start=1):
        words = line.split()
        labels = [word for word in words if word.startswith(LABEL_MARK)]
        if not words:
            yield None
        elif len(labels) == 1 and words[0] == labels[0]:
            text = line.strip("\r\n").strip().removeprefix(labels[0]).lstrip()
            yield make_row(number, text, labels[0].removeprefix(LABEL_MARK), encoding=encoding)
        else:
            yield Row(number, "", "", f"it has {len(labels)} labels {LABEL_MARK}...; it needs one, at the start")


def _read_json(path: Path, options: ReadOptions) -> Reading:
    """Read one object per line, one array of objects, or one object of columns."""
    encoding = choose_encoding(path, options)
    first = next((line for line in read_lines(path, encoding) if line.strip()), "")
    value = _parse(first)
    if not isinstance(value, dict) or isinstance(value.get(str(options.text_column)), dict | list):
        with open_bytes(path) as file:
            whole = _parse(file.read().decode(encoding, errors="surrogateescape").removeprefix("\ufeff"))
        records = _list_records(whole, options)
        if records is not None:
            return Reading(f"JSON, {encoding}, one array", "row", _read_objects(path, enumerate(records, 1), options))
        if isinstance(whole, dict):
            raise DataError(
                f"{path} holds one JSON object with {', '.join(map(repr, whole))}; write one object per line, or an "
                f"array of objects, or name a column that it has: {' and '.join(options.wanted())}"
            )
    lines = enumerate(read_lines(path, encoding), start=1)
    values = ((number, _parse(line) if line.strip() else None) for number, line in lines)
    return Reading(f"JSON, {encoding}, one object per line", "line", _read_objects(path, values, options))


def _parse(text: str) -> Any:
    """Return the value, or a `ValueError` that says what is wrong."""
    try:
        value = json.loads(text, object_pairs_hook=_require_single)
    except (ValueError, RecursionError) as error:
        fault = "it is not valid UTF-8" if any("\ud800" <= character <= "\udfff" for character in text) else None
        return ValueError(fault or f"it is no JSON ({error})")
    return ValueError("it is no JSON object but null") if value is None else value


def _require_single(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object, each of whose keys has to stand there once: Python would keep the last one."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands there twice")
    return found


def _list_records(whole: Any, options: ReadOptions) -> list[Any] | None:
    """Return the records of an array, or of an object with one list or one object of values per column."""
    if isinstance(whole, list):
        return [ValueError("it is no JSON object but null") if value is None else value for value in whole]
    if isinstance(whole, dict):
        columns: dict[str, Any] = {name: whole.get(name) for name in options.wanted().values()}
        columns = {
            name: dict(enumerate(column)) if isinstance(column, list) else column for name, column in columns.items()
        }
        if all(isinstance(column, dict) for column in columns.values()):
            indices = dict.fromkeys(index for column in columns.values() for index in column)
            return [{name: column.get(index) for name, column in columns.items()} for index in indices]
    return None


def _read_objects(path: Path, values: Iterable[tuple[int, Any]], options: ReadOptions) -> Iterator[Row | None]:
    columns: dict[str, None] = {}
    rows = 0
    text, label = str(options.text_column), str(options.label_column)
    for number, value in values:
        if value is None:
            yield None
            continue
        rows += 1
        if isinstance(value, dict):
            if not columns:
                text, label = (_find_key(column, list(value)) for column in (text, label))
                if value and options.is_command and options.label_column is None:  # it does not wait for the file's end
                    require_columns(f"the first object of {path}", value, options)
            columns.update(dict.fromkeys(value))
            yield make_row(number, value.get(text), value.get(label), options.label_column is not None)
        else:
            fault = str(value) if isinstance(value, ValueError) else f"it is no JSON object but {shorten(value)}"
            yield Row(number, "", "", fault)
    if columns or not rows:  # where no line is an object at all, the rows' faults say more
        require_columns(path, columns, options)


def _find_key(column: str, keys: list[str]) -> str:
    """Return the key that a column is: of that name, or at that place in the first object."""
    is_place = column not in keys and column.isdecimal() and 1 <= int(column) <= len(keys)
    return keys[int(column) - 1] if is_place else column


def _read_parquet(path: Path, options: ReadOptions) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_bytes(path) as stream, pq.ParquetFile(stream) as file:
            columns = require_columns(path, file.schema_arrow.names, options)
            batches = file.iter_batches(batch_size=BATCH_ROWS, columns=columns)
            yield from _read_batches(batches, columns)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} cannot be read as Parquet ({error}); write it again") from error


def _read_batches(batches: Iterable[Any], columns: list[str], class_names: list[str] | None = None) -> Iterator[Row]:
    number = 0
    for batch in batches:
        values = [decode_values(batch.column(name)) for name in columns]
        for text, *label in zip(*values, strict=True):
            number += 1
            value = label[0] if label else None
            if class_names is not None and isinstance(value, int) and 0 <= value < len(class_names):
                value = class_names[value]
            yield make_row(number, text, value, bool(label))


def decode_values(column: Any) -> Iterator[Any]:
    """Yield the values of an Arrow column; strings by way of their bytes, because nobody has checked their encoding."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        yield from column.to_pylist()
        return
    for value in column.cast(pa.large_binary()).to_pylist():
        yield None if value is None else value.decode("utf-8", errors="surrogateescape")


def read_dataset(dataset: Any, name: str, how: str, options: ReadOptions) -> Reading:
    """Read a `datasets.Dataset`; a label that is an index of its class names is read as the name."""
    columns = require_columns(name, dataset.column_names, options)
    class_names = getattr(dataset.features[columns[-1]], "names", None) if len(columns) > 1 else None
    batches = dataset.select_columns(columns).with_format("arrow").iter(BATCH_ROWS)
    return Reading(how, "row", _read_batches(batches, columns, class_names), COLUMNS)


def _read_dataset_folder(path: Path, options: ReadOptions) -> Reading:
    import datasets

    with explain_damage(path):
        found = datasets.load_from_disk(str(path))
    if isinstance(found, datasets.DatasetDict):
        raise DataError(f"{path} holds the splits {', '.join(found)}; give one: {path}/{next(iter(found), 'train')}")
    return read_dataset(found, str(path), "data set on disk", options)
