"""Random tables, written in random dialects, come back equal or are refused with the key that mends it."""

from __future__ import annotations

import csv
import gzip
import io
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from sentiment.data.files.delimited import split_records
from sentiment.data.files.formats import read_file
from sentiment.data.files.records import ReadOptions, Table, take_rows
from sentiment.errors import DataError

CELLS = st.text(st.sampled_from("ab ,;|\t\"'\n\ré€10"), min_size=1, max_size=12).filter(str.strip)
"""Texts of what dialects are made of."""

WORDS = ["a fine film", "une très belle soirée", "schöne Überraschung", "naïve", "El niño está aquí", "€ 5", "dull"]
LABELS = st.sampled_from(["pos", "neg", "1", "0", "a b"])
TABLES = st.lists(st.tuples(CELLS, LABELS), min_size=1, max_size=8)
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le"])


def read(path: Path, options: ReadOptions) -> Table:
    reading, _ = read_file(path, options)
    return take_rows(reading, path.name, {})


def come_back(content: bytes, name: str, options: ReadOptions, rows: list[tuple[str, str]]) -> None:
    """Hold what is read against what was written."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            table = read(path, options)
        except DataError as error:
            assert "data." in str(error)  # noqa: PT017
            return
    if table.bad:  # an error, too, unless the user wishes otherwise
        assert table.records == len(table.texts) + len(table.bad)
        return
    assert list(zip(table.texts, table.labels, strict=True)) == rows


def encode(text: str, encoding: str, packed: bool) -> bytes:
    content = text.encode(encoding)
    return gzip.compress(content) if packed else content


@settings(max_examples=150, suppress_health_check=[HealthCheck.filter_too_much])
@given(
    rows=TABLES,
    delimiter=st.sampled_from(",\t;|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=ENCODINGS,
    header=st.booleans(),
    label_first=st.booleans(),
    packed=st.booleans(),
    last_end=st.booleans(),
    ending=st.sampled_from([".csv", ".tsv", ".txt"]),
)
def test_with_quotation_marks(rows, delimiter, quoting, end, encoding, header, label_first, packed, last_end, ending):
    if any("\r" in text for text, _ in rows):
        end = "\r\n"  # otherwise the writer leaves it without marks: nobody could read that
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, quoting=quoting, lineterminator=end)
    order: Callable[..., tuple[str, ...]] = (lambda row: row[::-1]) if label_first else (lambda row: row)
    writer.writerows(map(order, [*([("text", "label")] if header else []), *rows]))
    text = buffer.getvalue() if last_end else buffer.getvalue().removesuffix(end)
    columns = ("text", "label") if header else (2, 1) if label_first else (1, 2)
    content = encode(text, encoding, packed)
    come_back(content, f"reviews{ending}{'.gz' if packed else ''}", ReadOptions(*columns), rows)


@settings(max_examples=150)
@given(
    rows=TABLES,
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=ENCODINGS,
    header=st.booleans(),
    label_first=st.booleans(),
)
def test_with_marks_as_text_between_tabs(rows, end, encoding, header, label_first):
    rows = [
        (text, label)
        for text, label in ((re.sub(r"[\t\r\n]", " ", text), label) for text, label in rows)
        if text.strip()
    ]
    assume(rows)
    lines = [*([("text", "label")] if header else []), *rows]
    text = "".join("\t".join(line[::-1] if label_first else line) + end for line in lines)
    columns = ("text", "label") if header else (2, 1) if label_first else (1, 2)
    come_back(text.encode(encoding), "reviews.tsv", ReadOptions(*columns), rows)


@settings(max_examples=300)
@given(
    content=st.text(st.sampled_from('ab,\t"\n\ré0'), max_size=60),
    delimiter=st.sampled_from([",", "\t"]),
    quoting=st.sampled_from(["double", "none"]),
)
def test_every_line_belongs_to_one_record_or_is_blank(content, delimiter, quoting):
    """No line vanishes, none is read twice, and a mark that is never closed spoils its own line only."""
    lines = list(io.StringIO(content, newline=""))
    position = 0
    for record in split_records(lines, delimiter, quoting):
        if record is None:
            assert not lines[position].strip()
            position += 1
        else:
            assert record.number == position + 1
            assert record.lines == lines[position : position + len(record.lines)]
            assert record.fault is None or len(record.lines) == 1
            position += len(record.lines)
    assert position == len(lines)


@settings(max_examples=150)
@given(
    words=st.lists(st.sampled_from(WORDS), min_size=40, max_size=60),
    delimiter=st.sampled_from(",\t;|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    encoding=ENCODINGS,
    header=st.booleans(),
    label_first=st.booleans(),
    packed=st.booleans(),
)
def test_ordinary_tables_need_no_key(words, delimiter, quoting, encoding, header, label_first, packed):
    """Texts without the marks of a dialect come back equal, never refused.

    Where a few euro signs are nearly all that is no ASCII, the encoding cannot be told, and is asked for.
    """
    foreign = sum(character > "\x7f" and character != "€" for word in words for character in word)
    assume(encoding != "cp1252" or "€ 5" not in words or foreign >= 20)
    rows = [(word, ("good", "bad")[place % 2]) for place, word in enumerate(words)]
    buffer = io.StringIO()
    order: Callable[..., tuple[str, ...]] = (lambda row: row[::-1]) if label_first else (lambda row: row)
    lines = map(order, [*([("text", "label")] if header else []), *rows])
    csv.writer(buffer, delimiter=delimiter, quoting=quoting).writerows(lines)
    columns = ("text", "label") if header else (2, 1) if label_first else (1, 2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"reviews.csv{'.gz' if packed else ''}"
        path.write_bytes(encode(buffer.getvalue(), encoding, packed))
        table = read(path, ReadOptions(*columns))
    assert list(zip(table.texts, table.labels, strict=True)) == rows


def test_many_lines_with_marks_out_of_order_take_linear_time():
    """Every line opens a mark that only a far line could close."""
    lines = ['a"b,"c\n', '"never closed,pos\n', '"a""\n', '""""x,pos\n'] * 20_000
    started = time.process_time()
    assert sum(len(record.lines) for record in split_records(lines, ",", "double") if record) == len(lines)
    assert time.process_time() - started < 20


def test_one_ragged_row_among_columns_by_number_is_told_and_no_other_delimiter(tmp_path: Path):
    rows = [f"a film, number {n}, that was {'fine' if n % 2 else 'dull, really'}\t{n % 2}\n" for n in range(40)]
    rows[7] = "a tab\ttoo many\t1\n"
    path = tmp_path / "reviews.tsv"
    path.write_text("".join(rows))
    table = read(path, ReadOptions("1", "2", header=False))
    assert (table.bad, len(table.texts)) == ([(8, "it has 3 fields instead of 2")], 39)
