"""Texts come out as written, and a bad row is told by file and place."""

from __future__ import annotations

import csv
import io
import json
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment.data.texts import make_options, read_lines, read_texts, take_chunks
from sentiment.errors import DataError

TEXTS = ["a great film", "", 'quoted "text", with a comma', "two\nlines", "Ünïcode 最悪 \U0001f634"]


def options(column):
    return make_options(column, {})


def write(path, texts):
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({"other": [1] * len(texts), "text": texts}), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"other": 1, "text": text}) + "\n" for text in texts), encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            rows.writerows([["other", "text"], *([1, text] for text in texts)])
    return path


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_gives_the_texts_as_written(tmp_path, ending):
    assert list(read_texts(write(tmp_path / f"reviews.{ending}", TEXTS), options("text"))) == TEXTS


@pytest.mark.parametrize("content", ["text\tlabel\ngood\tx\n", "__label__x good\n__label__y bad\n"])
def test_lines_that_hold_labels_are_no_texts_unless_somebody_says_so(tmp_path, content):
    path = tmp_path / "reviews.txt"
    path.write_text(content)
    with pytest.raises(DataError, match="does not hold one text per line") as refused:
        list(read_texts(path, make_options("text", {})))
    assert "--read format=lines" in str(refused.value)
    assert list(read_texts(path, make_options("text", {"format": "lines"}))) == content.splitlines()


@pytest.mark.parametrize(
    "pair", [{"delimiter": r"\t"}, {"delimiter": "||"}, {"delimiter": ""}, {"encoding": ""}, {"header": "yes"}]
)
def test_a_value_that_cannot_be_is_refused_with_those_that_can(pair):
    """A tab as everybody writes it ended in a traceback, and none was ignored."""
    [(key, value)] = pair.items()
    with pytest.raises(DataError) as refused:
        make_options("text", pair)
    assert str(refused.value).startswith(f"--read {key}={value} is not known; give ")
    assert "delimiter=comma|tab|semicolon|pipe or one character" in str(refused.value)


@pytest.mark.parametrize("delimiter", ["tab", "\t"])
def test_a_delimiter_is_a_name_or_the_character(tmp_path, delimiter):
    path = write(tmp_path / "reviews.tsv", TEXTS)
    assert list(read_texts(path, make_options("text", {"delimiter": delimiter, "encoding": "utf-8"}))) == TEXTS


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_a_missing_column_names_those_that_are_there(tmp_path, ending):
    with pytest.raises(DataError, match=r"'review'.*'other'.*'text'.*--text-column"):
        list(read_texts(write(tmp_path / f"reviews.{ending}", TEXTS), options("review")))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", b"text\nfine\nbroken \xff byte\n", "line 3.*UTF-8"),
        ("a.csv", b"text,n\nfine,1\nshort\n", "line 3.*1 fields instead of 2"),
        ("a.csv", b'text\n"open\n', "line 2.*quotation mark"),
        ("a.jsonl", b'{"text": "fine"}\n{"text": null}\n', "line 2.*missing"),
        ("a.jsonl", b'{"text": "fine"}\n{"text": 7}\n', "line 2.*no string but 7"),
        ("a.jsonl", b'{"text": "fine"}\n{"n": 7}\n', "line 2.*missing"),
        ("a.json", b'[{"text": "fine"}, {}]', "row 2.*missing"),
        ("a.jsonl", b'{}\n{"text": "fine"}\n', "line 1: the text is missing"),
        ("a.jsonl", b'{"n": 7}\n{"text": "fine"}\n', "first object.*no column 'text'; its columns are 'n'"),
        ("a.jsonl", b'{"text": "fine"}\nno json\n', "line 2.*no JSON"),
        ("a.jsonl", b'{"text": "\\ud83d"}\n', "line 1.*UTF-8"),
        ("a.txt", b"fine\n\xff\n", "line 2.*UTF-8"),
        ("a.parquet", b"PAR0", "Parquet"),
        ("a.docx", b"", r"\.docx.*\.csv"),
    ],
)
def test_a_bad_row_is_told_by_file_and_place(tmp_path, name, content, told):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=told) as caught:
        list(read_texts(path, options("text")))
    assert name in str(caught.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        list(read_texts(tmp_path / "none.csv", options("text")))


def test_rows_before_a_bad_one_are_read_first(tmp_path):
    """Nothing waits for the end of the file: any size fits the memory."""
    path = tmp_path / "a.txt"
    path.write_bytes("été\n".encode() * 3 + b"\xff\n")
    texts = read_texts(path, options("text"))
    assert [next(texts) for _ in range(3)] == ["été"] * 3
    with pytest.raises(DataError, match="line 4"):
        next(texts)


LINE = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"))


@given(st.lists(LINE), st.integers(1, 5))
def test_lines_and_chunks_keep_every_text_and_their_order(texts, size):
    stream = io.StringIO("".join(f"{text}\n" for text in texts))
    chunks = list(take_chunks(read_lines(stream, "standard input"), size))
    assert list(chain.from_iterable(chunks)) == [text for text in texts if text.strip()]
    assert all(len(chunk) == size for chunk in chunks[:-1])
