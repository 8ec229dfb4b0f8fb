"""Texts come out as written; a bad row, a label that is no class and data that is not the run's are told."""

from __future__ import annotations

import csv
import io
import json
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment.__main__ import build_parser
from sentiment.config.command_line import compose_settings
from sentiment.config.group import TokenizerSettings
from sentiment.config.schema import FilesDataSettings, ImdbDataSettings, SyntheticDataSettings
from sentiment.data.build import build_corpus
from sentiment.data.texts import (
    make_options,
    read_data_set,
    read_labelled_file,
    read_lines,
    read_split_texts,
    read_texts,
    relocate_data,
    take_chunks,
)
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


CLASSES = ("negative", "positive")


@pytest.fixture
def reviews(tmp_path):
    file = tmp_path / "reviews.csv"
    file.write_text("text,label\nA great film.,pos\nA dull film.,neg\nSo so.,unsure\n", encoding="utf-8")
    return file


def test_what_says_nothing_about_the_file_is_refused(reviews):
    columns = reviews.with_suffix(".ft")
    columns.write_text("__label__positive Fine.\n__label__negative Dull.\n")
    for options, ignored in (
        ({"label_column": "stars"}, "--label-column=stars"),
        ({"text_column": "review"}, "--text-column=review"),
        ({"reading": {"delimiter": ";"}}, "--read delimiter=;"),
    ):
        with pytest.raises(DataError, match=f"{ignored} says nothing about"):
            read_labelled_file(columns, CLASSES, {}, **options)


def test_labels_are_matched_with_classes(reviews):
    found = read_labelled_file(reviews, CLASSES, {"pos": "positive", "neg": "negative", "unsure": ""})
    assert found.texts == ["A great film.", "A dull film."]
    assert found.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("label_map", "problem"),
    [
        ({"pos": "positive", "neg": "negative"}, r"no class of the model: 'unsure' \(1\)"),
        (
            {"pos": "positiv", "neg": "negative", "unsure": ""},
            r"of the model: positiv\.\n  -> did you mean positive\? its",
        ),
        ({"pos": "good", "neg": "negative", "unsure": ""}, "--label names what is no class of the model: good"),
        ({"pos": "positive", "neg": "negative", "unsure": "", "x": "positive"}, "no label there: x"),
    ],
)
def test_what_is_no_class_is_refused_with_the_classes(reviews, label_map, problem):
    with pytest.raises(DataError, match=problem) as caught:
        read_labelled_file(reviews, CLASSES, label_map)
    assert "its classes are negative, positive" in str(caught.value)


def test_signs_in_labels_and_classes_are_told_from_the_one_between_them(tmp_path):
    path, classes = tmp_path / "reviews.csv", ("negative", "c=1")
    path.write_text("text,label\na film,a=b\nno film,a=c\nso so,=\nfine,pos\n")
    typed = ["a=b=negative", "a=c=c=1", "==", "pos=c=1"]
    options = build_parser().parse_args(["evaluate", "--file", "x", *(f"--label={one}" for one in typed)])
    assert read_labelled_file(path, classes, options.label).labels.tolist() == [0, 1, 1]
    with pytest.raises(DataError, match="gives pos two classes, c=1 and negative"):
        read_labelled_file(path, classes, {**options.label, "pos": "negative"})


def test_other_columns_and_bad_records_are_told(reviews):
    with pytest.raises(DataError, match="review"):
        read_labelled_file(reviews, CLASSES, {}, text_column="review")
    reviews.write_text("text,label\n,pos\nA dull film.,neg\n\nfine,\n", encoding="utf-8")
    with pytest.raises(DataError, match="bad in all"):
        read_labelled_file(reviews, CLASSES, {"pos": "positive", "neg": "negative"})


@pytest.mark.parametrize(
    "content", ["text\tlabel\ngood\tpositive\nbad\tnegative\n", "__label__positive a\n__label__negative b\n"]
)
def test_a_text_file_is_what_it_is_in_training(tmp_path, content):
    path = tmp_path / "reviews.txt"
    path.write_text(content)
    assert sorted(read_labelled_file(path, CLASSES, {}).labels) == [0, 1]
    path.write_text("a film\nno film\n")
    with pytest.raises(DataError, match="without labels; give a file that holds both"):
        read_labelled_file(path, CLASSES, {"": "positive"})


def test_the_test_reviews_of_a_data_set():
    settings = compose_settings(["data.test_size=40", "data.train_size=100"]).data
    found = read_data_set(settings, CLASSES, {})
    assert len(found.texts) == len(found.labels) == 40
    assert found.digest != read_data_set(settings.model_copy(update={"generator_seed": 9}), CLASSES, {}).digest


SHARED = {
    "tokenizer": TokenizerSettings(kind="word", vocabulary_size=200, min_frequency=1, lowercase=True),
    "max_tokens": 32, "keep": "head", "head_fraction": 0.5, "batch_size": 8, "validation_fraction": 0.2,
    "split_seed": 0, "train_limit": 30,
}  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> SyntheticDataSettings:
    return SyntheticDataSettings(
        name="synthetic", train_size=60, test_size=20, min_sentences=1, max_sentences=2, difficulty=0.5,
        label_noise=0.1, generator_seed=3, cache_dir=str(tmp_path / "cache"), **SHARED,
    )  # fmt: skip


def write_csv(file: Path, start: int, count: int) -> None:
    with file.open("w", newline="") as stream:
        rows = [(f"review {n} is {'good' if n % 2 else 'bad'}", n % 2) for n in range(start, start + count)]
        csv.writer(stream).writerows([("text", "label"), *rows])


@pytest.fixture
def files(tmp_path: Path) -> FilesDataSettings:
    write_csv(tmp_path / "train.csv", 0, 40)
    write_csv(tmp_path / "test.csv", 100, 10)
    return FilesDataSettings(
        name="files", path=str(tmp_path / "train.csv"), validation_path=None, test_path=str(tmp_path / "test.csv"),
        test_fraction=0.1, text_column="text", label_column="label", labels=None, on_bad_row="error",
        cache_dir=str(tmp_path / "cache"), **SHARED,
    )  # fmt: skip


@pytest.mark.parametrize("split", ["test", "validation"])
def test_texts_are_those_that_the_corpus_encoded_in_its_order(settings, split):
    corpus = build_corpus(settings)
    found, class_names = read_split_texts(settings, split, corpus.fingerprint)
    encoded = getattr(corpus, split)
    assert np.array_equal(found.labels, encoded.labels)
    assert np.array_equal(found.rows, encoded.rows)
    assert class_names == corpus.class_names
    ours = corpus.tokenizer.encode(found.texts)
    assert all(np.array_equal(ours[place], encoded[place]) for place in range(len(encoded)))


def test_other_data_is_refused_and_both_are_named(settings):
    recorded = build_corpus(settings).fingerprint
    changed = settings.model_copy(update={"generator_seed": 4})
    with pytest.raises(DataError, match=f"{recorded}.*has [0-9a-f]{{32}}.*synthetic.*\n.*--data-path"):
        read_split_texts(changed, "test", recorded)


def test_moved_files_are_read_where_they_lie_now(files, tmp_path):
    corpus = build_corpus(files)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).rename(moved / name)
    with pytest.raises(DataError, match="does not exist"):
        read_split_texts(files, "test", corpus.fingerprint)
    found, _ = read_split_texts(relocate_data(files, moved), "test", corpus.fingerprint)
    assert found.texts[0] == "review 100 is bad"
    assert len(found.texts) == 10


def test_one_file_cannot_stand_for_two(files, tmp_path):
    with pytest.raises(DataError, match=r"what the run read: train\.csv, test\.csv; give the folder"):
        relocate_data(files, tmp_path / "train.csv")
    alone = files.model_copy(update={"test_path": None})
    assert relocate_data(alone, tmp_path / "test.csv").path == str(tmp_path / "test.csv")


def test_imdb_is_moved_by_its_folder_and_generated_data_not_at_all(settings, tmp_path):
    imdb = ImdbDataSettings(
        name="imdb", path=None, repository="a/b", revision="0" * 40, cache_dir=str(tmp_path), **SHARED
    )
    assert relocate_data(imdb, tmp_path).path == str(tmp_path)
    with pytest.raises(DataError, match="has no path"):
        relocate_data(settings, tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        relocate_data(imdb, tmp_path / "nowhere")


def test_moved_files_that_are_called_alike_are_told_apart_by_their_folders(files, tmp_path):
    for split in ("train", "test"):
        (tmp_path / "data" / split).mkdir(parents=True)
        (tmp_path / f"{split}.csv").rename(tmp_path / "data" / split / "reviews.csv")
    named = {"path": str(tmp_path / "data" / "train" / "*.csv"), "test_path": str(tmp_path / "data/test/reviews.csv")}
    apart = files.model_copy(update=named)
    fingerprint = build_corpus(apart).fingerprint
    (tmp_path / "data").rename(tmp_path / "moved")
    found, _ = read_split_texts(relocate_data(apart, tmp_path / "moved"), "test", fingerprint)
    assert found.texts[0] == "review 100 is bad"


def test_a_moved_folder_is_named_itself_or_as_what_holds_it(files, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "train.csv").rename(tmp_path / "old" / "train.csv")
    folder = files.model_copy(update={"path": str(tmp_path / "old"), "test_path": None})
    fingerprint = build_corpus(folder).fingerprint
    (tmp_path / "place").mkdir()
    (tmp_path / "old").rename(tmp_path / "place" / "new")
    assert read_split_texts(relocate_data(folder, tmp_path / "place" / "new"), "test", fingerprint)[0].texts
    (tmp_path / "place" / "new").rename(tmp_path / "place" / "old")
    assert read_split_texts(relocate_data(folder, tmp_path / "place"), "test", fingerprint)[0].texts


def test_reviews_without_labels_may_be_left_behind(files, tmp_path):
    """They are the large part of many data sets, and no text of them is asked for here."""
    (tmp_path / "more.txt").write_text("one\ntwo\n")
    taught = files.model_copy(update={"unlabelled_path": str(tmp_path / "more.txt")})
    fingerprint = build_corpus(taught).fingerprint
    (tmp_path / "more.txt").unlink()
    assert len(read_split_texts(taught, "test", fingerprint)[0].texts) == 10
    (tmp_path / "moved").mkdir()
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).rename(tmp_path / "moved" / name)
    assert len(read_split_texts(relocate_data(taught, tmp_path / "moved"), "test", fingerprint)[0].texts) == 10
    (tmp_path / "moved" / "test.csv").unlink()
    with pytest.raises(DataError, match=r"does not hold what the run read: test\.csv; give the folder"):
        relocate_data(taught, tmp_path / "moved")
