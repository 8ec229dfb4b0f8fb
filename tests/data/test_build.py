from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sentiment.config.schema import FilesDataSettings, ImdbDataSettings, SyntheticDataSettings
from sentiment.data.build import build_corpus, build_source
from sentiment.data.files.source import FilesSource
from sentiment.data.imdb import ImdbSource


@pytest.fixture
def shared(tmp_path: Path) -> dict[str, Any]:
    return {
        "tokenizer": {"kind": "word", "vocabulary_size": 500, "min_frequency": 1, "lowercase": True},
        "max_tokens": 20, "keep": "head", "head_fraction": 0.5, "batch_size": 8, "validation_fraction": 0.1,
        "split_seed": 3, "train_limit": 50, "cache_dir": str(tmp_path / "cache"),
    }  # fmt: skip


FILES = {
    "name": "files", "path": "reviews.csv", "validation_path": None, "test_path": "~/test.csv", "test_fraction": 0.2,
    "text_column": "review", "label_column": "stars", "labels": ["1", "2"], "on_bad_row": "skip",
}  # fmt: skip
SYNTHETIC = {
    "name": "synthetic", "train_size": 100, "test_size": 20, "min_sentences": 1, "max_sentences": 4,
    "difficulty": 0.5, "label_noise": 0.1, "generator_seed": 7,
}  # fmt: skip


@pytest.mark.parametrize(("path", "expected"), [(None, None), ("some/folder", Path("some/folder"))])
def test_builds_imdb(shared: dict[str, Any], path: str | None, expected: Path | None):
    settings = ImdbDataSettings(**shared, name="imdb", path=path, repository="a/b", revision="c" * 40)
    assert build_source(settings) == ImdbSource(path=expected, repository="a/b", revision="c" * 40)


def test_builds_files(shared: dict[str, Any]):
    assert build_source(FilesDataSettings(**shared, **FILES)) == FilesSource(
        path=Path("reviews.csv"), validation_path=None, test_path=Path.home() / "test.csv", test_fraction=0.2,
        split_seed=3, text_column="review", label_column="stars", labels=("1", "2"), on_bad_row="skip",
    )  # fmt: skip


def test_builds_a_corpus_of_synthetic_reviews(shared: dict[str, Any]):
    corpus = build_corpus(SyntheticDataSettings(**shared, **SYNTHETIC))
    assert (len(corpus.train), len(corpus.validation), len(corpus.test)) == (50, 10, 20)
    assert "synthetic" in corpus.description
    assert (corpus.tokenizer.vocabulary_size <= 500, len(corpus.class_names)) == (True, 2)


@pytest.mark.parametrize(
    ("changed", "same_data"),
    [
        ({"max_tokens": 5, "keep": "tail", "head_fraction": 0.1, "batch_size": 2}, True),
        ({"split_seed": 4}, False),
        ({"train_limit": 40}, False),
        ({"validation_fraction": 0.2}, False),
    ],
)
def test_only_what_changes_the_ids_changes_the_cache(shared: dict[str, Any], changed: dict[str, Any], same_data: bool):
    first = build_corpus(SyntheticDataSettings(**shared, **SYNTHETIC))
    second = build_corpus(SyntheticDataSettings(**{**shared, **changed}, **SYNTHETIC))
    assert (first.fingerprint == second.fingerprint) is same_data
    assert len(list(Path(shared["cache_dir"]).glob("*/meta.json"))) == (1 if same_data else 2)
