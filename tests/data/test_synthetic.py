"""The synthetic data set: sizes, balance, exact noise, determinism, and what a bag of words can reach."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from sentiment.data.reviews import RawSplits, Reviews
from sentiment.data.synthetic import SyntheticSource
from sentiment.errors import DataError

DEFAULTS: dict[str, Any] = {
    "train_size": 10_000,
    "test_size": 2_000,
    "min_sentences": 2,
    "max_sentences": 4,
    "difficulty": 0.6,
    "label_noise": 0.02,
    "generator_seed": 0,
}
SMALL = {**DEFAULTS, "train_size": 300, "test_size": 100}


def load(**changes: Any) -> RawSplits:
    return SyntheticSource(**{**DEFAULTS, **changes}).load()


@pytest.fixture(scope="module")
def default_splits() -> RawSplits:
    return load()


def digest(splits: RawSplits) -> str:
    content = [*splits.train.texts, *splits.test.texts, splits.train.labels.tolist(), splits.test.labels.tolist()]
    return hashlib.sha256(repr(content).encode()).hexdigest()


def count_accuracy(splits: RawSplits, vectorizer: Any, classifier: Any) -> float:
    pipeline = make_pipeline(vectorizer, classifier).fit(splits.train.texts, splits.train.labels)
    return float(pipeline.score(splits.test.texts, splits.test.labels))


@settings(max_examples=25)
@given(
    train_size=st.integers(20, 200),
    test_size=st.integers(10, 100),
    label_noise=st.floats(0, 0.49),
    generator_seed=st.integers(0, 2**32 - 1),
)
def test_sizes_and_exact_noise(train_size: int, test_size: int, label_noise: float, generator_seed: int) -> None:
    knobs = {**SMALL, "train_size": train_size, "test_size": test_size, "generator_seed": generator_seed}
    noisy = SyntheticSource(**{**knobs, "label_noise": label_noise})
    clean, flipped = SyntheticSource(**{**knobs, "label_noise": 0.0}).load(), noisy.load()
    for size, before, after in (
        (train_size, clean.train, flipped.train),
        (test_size, clean.test, flipped.test),
    ):
        assert before.texts == after.texts
        assert len(after) == len(after.labels) == size
        assert (before.labels != after.labels).sum() == round(label_noise * size)
    assert noisy.best_accuracy == pytest.approx((clean.test.labels == flipped.test.labels).mean())


def test_the_best_accuracy_is_one_minus_the_noise() -> None:
    assert SyntheticSource(**DEFAULTS).best_accuracy == pytest.approx(0.98)


def test_classes_are_balanced_and_named(default_splits: RawSplits) -> None:
    assert default_splits.class_names == ("negative", "positive")
    assert default_splits.validation is None
    for reviews in (default_splits.train, default_splits.test):
        assert reviews.labels.dtype == np.int64
        assert reviews.labels.mean() == pytest.approx(0.5, abs=0.001)


def test_no_text_occurs_twice(default_splits: RawSplits) -> None:
    texts = default_splits.train.texts + default_splits.test.texts
    assert len(set(texts)) == len(texts)


def test_the_same_settings_give_the_same_reviews_in_another_process() -> None:
    code = (
        "import hashlib\nfrom sentiment.data.synthetic import SyntheticSource\n"
        f"s = SyntheticSource(**{SMALL!r}).load()\n"
        "c = [*s.train.texts, *s.test.texts, s.train.labels.tolist(), s.test.labels.tolist()]\n"
        "print(hashlib.sha256(repr(c).encode()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert other.stdout.strip() == digest(load(**SMALL))


def test_another_seed_gives_other_reviews() -> None:
    assert not set(load(**SMALL).test.texts) & set(load(**{**SMALL, "generator_seed": 1}).test.texts)


def test_the_test_split_does_not_depend_on_the_size_of_train() -> None:
    small, large = load(**SMALL), load(**{**SMALL, "train_size": 600})
    assert small.test.texts == large.test.texts
    assert (small.test.labels == large.test.labels).all()


@pytest.mark.parametrize("knob", sorted(DEFAULTS))
def test_the_fingerprint_follows_every_knob(knob: str) -> None:
    source, other = SyntheticSource(**DEFAULTS), SyntheticSource(**{**DEFAULTS, knob: DEFAULTS[knob] / 2 + 1})
    if knob == "min_sentences":
        other = SyntheticSource(**{**DEFAULTS, knob: 3})
    assert source.fingerprint() == SyntheticSource(**DEFAULTS).fingerprint()
    assert source.fingerprint() != other.fingerprint()


def test_the_description_says_what_it_is_and_how_to_get_real_reviews() -> None:
    words = SyntheticSource(**DEFAULTS).describe()
    for part in ("synthetic", "98.00 %", "data=imdb", "data=imdb data.path=FOLDER", "data=files data.path=reviews.csv"):
        assert part in words


def test_too_few_distinct_reviews_are_an_error_that_names_the_knobs() -> None:
    with pytest.raises(DataError, match=r"data\.max_sentences"):
        load(train_size=100_000, min_sentences=1, max_sentences=1, difficulty=0.0)


def test_generation_is_instant() -> None:
    start = time.process_time()
    load()
    assert time.process_time() - start < 3.0  # about 0.3 s on an idle core; the rest is room for a busy one


def test_at_difficulty_zero_a_bag_of_words_suffices() -> None:
    source = SyntheticSource(**{**DEFAULTS, "difficulty": 0.0})
    accuracy = count_accuracy(source.load(), CountVectorizer(), LogisticRegression(max_iter=1000))
    print(f"bag of words at difficulty 0: {accuracy:.4f} of {source.best_accuracy:.4f}")
    assert accuracy > 0.95 * source.best_accuracy


def test_at_difficulty_one_a_bag_of_words_is_at_chance() -> None:
    accuracy = count_accuracy(load(difficulty=1.0), CountVectorizer(), LogisticRegression(max_iter=1000))
    print(f"bag of words at difficulty 1: {accuracy:.4f}")
    assert 0.46 < accuracy < 0.54  # 0.5 and three and a half standard errors of 2000 reviews


@pytest.mark.parametrize(
    ("name", "vectorizer", "classifier"),
    [
        ("counts + logistic regression", CountVectorizer(), LogisticRegression(max_iter=1000)),
        ("tf-idf + logistic regression", TfidfVectorizer(), LogisticRegression(max_iter=1000)),
        ("presence + naive Bayes", CountVectorizer(binary=True), MultinomialNB()),
    ],
)
def test_at_the_defaults_a_bag_of_words_stays_clearly_below_the_ceiling(
    default_splits: RawSplits, name: str, vectorizer: Any, classifier: Any
) -> None:
    accuracy = count_accuracy(default_splits, vectorizer, classifier)
    print(f"bag of words, {name}: {accuracy:.4f}")
    assert 0.6 < accuracy < 0.82


def test_length_tells_nothing(default_splits: RawSplits) -> None:
    def lengths(reviews: Reviews) -> Any:
        return np.array([[len(text.split())] for text in reviews.texts])

    model = LogisticRegression().fit(lengths(default_splits.train), default_splits.train.labels)
    assert model.score(lengths(default_splits.test), default_splits.test.labels) < 0.54


def test_unlabelled_reviews_are_in_no_split_and_change_none():
    source, more = (SyntheticSource(**SMALL, unlabelled_size=size) for size in (None, 200))
    assert (source.fingerprint(), source.fingerprint_unlabelled()) == (more.fingerprint(), None)
    assert more.fingerprint_unlabelled() != SyntheticSource(**SMALL, unlabelled_size=201).fingerprint_unlabelled()
    raw, texts = more.load(), more.load_unlabelled()
    assert raw.train.texts == source.load().train.texts
    assert len({*texts, *raw.train.texts, *raw.test.texts}) == 200 + 300 + 100
    assert texts == more.load_unlabelled()
