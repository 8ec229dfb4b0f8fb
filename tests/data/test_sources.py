"""What every source promises, held against all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hub_server import parquet_bytes

from sentiment.data.corpus import prepare_corpus
from sentiment.data.files.source import FilesSource
from sentiment.data.imdb import ImdbSource
from sentiment.data.reviews import Source
from sentiment.data.synthetic import SyntheticSource


def make_parquet(folder: Path) -> Source:
    for split in ("train", "test"):
        content = parquet_bytes([f"{split} {n}" for n in range(30)], [n % 2 for n in range(30)])
        (folder / f"{split}-00000-of-00001.parquet").write_bytes(content)
    return ImdbSource(folder, "", "")


def make_tree(folder: Path) -> Source:
    for split in ("train", "test"):
        for kind in ("neg", "pos"):
            (folder / "aclImdb" / split / kind).mkdir(parents=True)
            for number in range(15):
                (folder / "aclImdb" / split / kind / f"{number}_1.txt").write_text(f"{split} {kind} {number}")
    return ImdbSource(folder, "", "")


def make_files(folder: Path) -> Source:
    path = folder / "reviews.csv"
    path.write_text("text,label\n" + "".join(f"review {n},{'abc'[n % 3]}\n" for n in range(60)))
    return FilesSource(
        path=path, validation_path=None, test_path=None, test_fraction=0.2, split_seed=0, text_column="text",
        label_column="label", labels=None, on_bad_row="error",
    )  # fmt: skip


def make_synthetic(folder: Path) -> Source:
    return SyntheticSource(
        train_size=60, test_size=30, min_sentences=1, max_sentences=4, difficulty=0.5, label_noise=0.1, generator_seed=0
    )


MAKERS: list[Callable[[Path], Source]] = [make_parquet, make_tree, make_files, make_synthetic]


@pytest.fixture(params=MAKERS, ids=lambda maker: maker.__name__.removeprefix("make_"))
def make(request: pytest.FixtureRequest) -> Callable[[Path], Source]:
    return request.param


def new_folder(path: Path) -> Path:
    path.mkdir()
    return path


class TestContract:
    def test_splits_hold_labelled_texts_of_every_class(self, make: Callable[[Path], Source], tmp_path: Path):
        raw = make(tmp_path).load()
        assert len(raw.class_names) == len(set(raw.class_names)) >= 2
        for reviews in (raw.train, raw.test):
            assert len(reviews) == len(reviews.texts) == len(reviews.labels) > 0
            assert reviews.labels.dtype == np.int64
            assert set(reviews.labels.tolist()) == set(range(len(raw.class_names)))
            assert all(text.strip() for text in reviews.texts)

    def test_loads_the_same_again(self, make: Callable[[Path], Source], tmp_path: Path):
        source = make(tmp_path)
        first, second = source.load(), source.load()
        assert first.train.texts == second.train.texts
        assert first.test.labels.tolist() == second.test.labels.tolist()

    def test_the_fingerprint_knows_no_place(self, make: Callable[[Path], Source], tmp_path: Path):
        here, there = (make(new_folder(tmp_path / name)) for name in ("here", "there"))
        assert here.fingerprint() == there.fingerprint()

    def test_describes_itself_in_a_sentence(self, make: Callable[[Path], Source], tmp_path: Path):
        assert "reviews" in make(tmp_path).describe()

    def test_becomes_a_corpus(self, make: Callable[[Path], Source], tmp_path: Path):
        tokenizer = {"kind": "word", "vocabulary_size": 300, "min_frequency": 1, "lowercase": True}
        split = {"validation_fraction": 0.2, "split_seed": 0, "train_limit": None}
        corpus = prepare_corpus(make(tmp_path), tokenizer, split, tmp_path / "cache")
        for split in (corpus.train, corpus.validation, corpus.test):
            assert split.lengths.min() >= 1
            assert split.ids.max() < corpus.tokenizer.vocabulary_size


def test_sources_do_not_share_a_fingerprint(tmp_path: Path):
    prints = {maker(new_folder(tmp_path / maker.__name__)).fingerprint() for maker in MAKERS}
    assert len(prints) == len(MAKERS)
