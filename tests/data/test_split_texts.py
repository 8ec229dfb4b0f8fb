"""The texts behind a run's predictions, and the refusal of any other data."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from sentiment.config.group import TokenizerSettings
from sentiment.config.schema import FilesDataSettings, ImdbDataSettings, SyntheticDataSettings
from sentiment.data.build import build_corpus
from sentiment.data.split_texts import read_split_texts, relocate_data
from sentiment.errors import DataError

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
