from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment.data.files.formats import read_file
from sentiment.data.files.records import Quoting, ReadOptions, Row, name_class
from sentiment.errors import DataError

FORMATS = [".csv", ".tsv", ".jsonl", ".parquet"]


def write(path: Path, rows: list[tuple[Any, Any]]) -> Path:
    """Write (text, label) rows with a column that nobody asked for."""
    if path.suffix == ".parquet":
        texts, labels = ([row[index] for row in rows] for index in (0, 1))
        pq.write_table(pa.table({"id": list(range(len(rows))), "text": texts, "label": labels}), path)
    elif path.suffix == ".jsonl":
        lines = (json.dumps({"id": n, "text": text, "label": label}) for n, (text, label) in enumerate(rows))
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    else:
        buffer = io.StringIO()
        writer = csv.writer(buffer, delimiter="," if path.suffix == ".csv" else "\t")
        writer.writerows([("id", "text", "label"), *((n, *row) for n, row in enumerate(rows))])
        path.write_bytes(buffer.getvalue().encode())
    return path


def write_bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def read(path: Path, *columns: str, quoting: Quoting | None = None) -> list[Row]:
    """Return the records, without the blank lines."""
    reading, _ = read_file(path, ReadOptions(*(columns or ("text", "label")), quoting=quoting))
    return [row for row in reading.rows if row is not None]


def faults(path: Path) -> list[tuple[int, str]]:
    return [(row.number, row.fault) for row in read(path) if row.fault is not None]


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)
names = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=8)


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=60)
@given(rows=st.lists(st.tuples(texts, names), min_size=1, max_size=8))
def test_every_text_comes_back_as_it_was(suffix: str, rows: list[tuple[str, str]]):
    """Quotes, separators, line ends within a text, any script."""
    with tempfile.TemporaryDirectory() as folder:
        found = read(write(Path(folder) / f"reviews{suffix}", rows), quoting="double")
    assert [(row.text, name_class(row.label), row.fault) for row in found] == [
        (text, name_class(label), None) for text, label in rows
    ]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    ("labels", "expected"),
    [([1, 0], ["1", "0"]), (["pos", " neg "], ["pos", "neg"])],
)
def test_labels_become_class_names(tmp_path: Path, suffix: str, labels: list[Any], expected: list[str]):
    found = read(write(tmp_path / f"reviews{suffix}", [("a", labels[0]), ("b", labels[1])]))
    assert [row.label for row in found] == expected


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize(
    ("labels", "expected"), [([True, False], ["true", "false"]), ([1.0, 0.0], ["1", "0"]), ([12, -1], ["12", "-1"])]
)
def test_typed_labels_become_class_names(tmp_path: Path, suffix: str, labels: list[Any], expected: list[str]):
    found = read(write(tmp_path / f"reviews{suffix}", [("a", labels[0]), ("b", labels[1])]))
    assert [name_class(row.label) for row in found] == expected


def test_a_byte_order_mark_is_no_part_of_a_column(tmp_path: Path):
    for name, content in (("a.csv", "text,label\na,b\n"), ("a.jsonl", '{"text": "a", "label": "b"}\n')):
        assert read(write_bytes(tmp_path / name, b"\xef\xbb\xbf" + content.encode()))[0][1:] == ("a", "b", None)


def test_a_very_long_review_is_read(tmp_path: Path):
    text = "word " * 100_000
    limit = csv.field_size_limit()
    assert read(write(tmp_path / "long.csv", [(text, "pos")]))[0].text == text
    assert csv.field_size_limit() == limit


def test_blank_lines_are_no_rows(tmp_path: Path):
    assert len(read(write_bytes(tmp_path / "a.csv", b"text,label\n\na,b\n\n"))) == 1
    assert len(read(write_bytes(tmp_path / "a.jsonl", b'\n{"text": "a", "label": "b"}\n  \n'))) == 1


def test_bad_rows_of_csv_have_the_line_that_an_editor_shows(tmp_path: Path):
    content = (
        b'text,label\n"two\nlin\xc3\xa9s",pos\n,pos\n   ,pos\nno label,\nblank label," "\ncaf\xe9,neg\n'
        b'good,caf\xe9\none\na,b,c\nfin\xc3\xa9,neg\nbad "quote",neg\n"bad"quote,neg\nlast,pos\n"never closed,pos\n'
    )
    path = write_bytes(tmp_path / "reviews.csv", content)
    found = faults(path)
    assert found[:8] == [
        (4, "the text is missing"),
        (5, "the text is blank"),
        (6, "the label is missing"),
        (7, "the label is missing"),
        (8, "the text is not valid UTF-8"),
        (9, "the label is not valid UTF-8"),
        (10, "it has 1 fields instead of 2"),
        (11, "it has 3 fields instead of 2"),
    ]
    assert [(place, fault[:17]) for place, fault in found[8:]] == [
        (14, "it cannot be read"),
        (16, "it cannot be read"),
    ]
    assert [row.text for row in read(path) if row.fault is None] == ["two\nlinés", "finé", 'bad "quote"', "last"]


def test_a_key_that_stands_twice_in_an_object_is_a_bad_row(tmp_path: Path):
    lines = [b'{"text": "a", "label": "x"}', b'{"text": "a", "label": "x", "label": "y"}']
    [(number, fault)] = faults(write_bytes(tmp_path / "reviews.jsonl", b"\n".join(lines)))
    assert number == 2
    assert "the key 'label' stands there twice" in fault


def test_bad_rows_of_json_lines(tmp_path: Path):
    lines = [
        b'{"text": "caf\xc3\xa9", "label": "pos"}',
        b'{"text": null, "label": "pos"}',
        b'{"label": "pos"}',
        b'{"text": 3, "label": "pos"}',
        b'{"text": "no label"}',
        b'{"text": "a", "label": NaN}',
        b'{"text": "a", "label": 0.5}',
        b'{"text": "a", "label": ["pos"]}',
        b'{"text": "half a pair \\ud83d", "label": "pos"}',
        b'{"text": "caf\xe9", "label": "pos"}',
        b'["text", "label"]',
        b'{"text": "a", ',
    ]
    found = faults(write_bytes(tmp_path / "reviews.jsonl", b"\n".join(lines)))
    assert found[:10] == [
        (2, "the text is missing"),
        (3, "the text is missing"),
        (4, "the text is no string but 3"),
        (5, "the label is missing"),
        (6, "the label is missing"),
        (7, "the label is no string, whole number or truth value but 0.5"),
        (8, "the label is no string, whole number or truth value but ['pos']"),
        (9, "the text is not valid UTF-8"),
        (10, "the text is not valid UTF-8"),
        (11, "it is no JSON object but ['text', 'label']"),
    ]
    assert found[10][0] == 12
    assert found[10][1].startswith("it is no JSON (Expecting")


def test_bad_rows_of_parquet(tmp_path: Path):
    broken = pa.array([b"good", b"caf\xe9", None, b"fine", b"end"], pa.binary())
    text = pa.StringArray.from_buffers(5, *broken.buffers()[1:], broken.buffers()[0])  # nobody checks the bytes
    label = pa.array([1.0, 1.0, 0.0, float("nan"), None])
    path = tmp_path / "reviews.parquet"
    pq.write_table(pa.table({"text": text, "label": label}), path)
    assert faults(path) == [
        (2, "the text is not valid UTF-8"),
        (3, "the text is missing"),
        (4, "the label is missing"),
        (5, "the label is missing"),
    ]


def test_dictionary_columns_of_parquet_are_read(tmp_path: Path):
    table = pa.table({"text": ["a", "b"], "label": pa.array(["x", "y"]).dictionary_encode()})
    pq.write_table(table, tmp_path / "reviews.parquet")
    assert [row.label for row in read(tmp_path / "reviews.parquet")] == ["x", "y"]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(("asked", "key"), [(("review", "label"), "text"), (("text", "stars"), "label")])
def test_a_missing_column_is_an_error_that_names_those_there_are(
    tmp_path: Path, suffix: str, asked: tuple[str, str], key: str
):
    path = write(tmp_path / f"reviews{suffix}", [("a", "b")])
    with pytest.raises(DataError, match=rf"columns are 'id', 'text', 'label': set data.{key}_column to one of them"):
        read(path, *asked)


def test_a_column_that_is_there_twice_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="has more than one column 'text'"):
        read(write_bytes(tmp_path / "a.csv", b"text,text,label\na,b,c\n"))


@pytest.mark.parametrize("name", ["empty.csv", "empty.tsv", "empty.jsonl", "empty.parquet"])
def test_an_empty_file_is_an_error(tmp_path: Path, name: str):
    told = name if name.endswith("parquet") else f"{name} is empty, it has neither columns nor rows: [^;]*$"
    with pytest.raises(DataError, match=told):
        read(write_bytes(tmp_path / name, b""))


def test_an_unknown_ending_is_an_error_that_names_the_known_ones(tmp_path: Path):
    with pytest.raises(DataError, match=r"has the ending '.xlsx'; .*\.csv, \.tsv, \.jsonl, \.ndjson, \.parquet"):
        read(write_bytes(tmp_path / "a.xlsx", b"x"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_wide_encodings_are_read(tmp_path: Path, encoding: str):
    path = write_bytes(tmp_path / "a.csv", "text,label\nété,b\n".encode(encoding))
    assert [row[1:3] for row in read(path)] == [("été", "b")]


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=r"folder.csv is a folder of files, and one is read; give one of them"):
        read(tmp_path / "folder.csv")
