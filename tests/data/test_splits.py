from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedShuffleSplit

from sentiment.data.reviews import RawSplits, Reviews
from sentiment.data.splits import Splits, draw_stratified, held_out_count, split_reviews
from sentiment.errors import DataError


def reviews(texts: list[str], labels: list[int] | None = None) -> Reviews:
    return Reviews(texts, np.array(labels or [n % 2 for n in range(len(texts))], dtype=np.int64))


def raw(train: Reviews, test: Reviews, validation: Reviews | None = None, classes: int = 2) -> RawSplits:
    return RawSplits(train, validation, test, tuple(f"class{n}" for n in range(classes)))


def split(data: RawSplits, fraction: float = 0.1, seed: int = 0, limit: int | None = None) -> Splits:
    return split_reviews(data, fraction, seed, limit)


TRAIN = reviews([f"train {n}" for n in range(100)])
TEST = reviews([f"test {n}" for n in range(20)])


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=300), share=st.floats(0, 1), seed=st.integers(0, 5))
def test_a_draw_has_the_asked_size_and_each_class_its_share(labels: list[int], share: float, seed: int):
    array = np.array(labels)
    count = round(share * len(labels))
    drawn = draw_stratified(array, count, seed, 0)
    assert len(drawn) == len(set(drawn.tolist())) == count
    assert (np.diff(drawn) > 0).all()
    for label, size in Counter(labels).items():
        assert abs((array[drawn] == label).sum() - size * count / len(labels)) < 1


def test_a_draw_has_the_class_counts_of_scikit_learn():
    labels = np.random.default_rng(3).choice(3, size=1000, p=[0.6, 0.3, 0.1])
    _, theirs = next(StratifiedShuffleSplit(1, test_size=150, random_state=0).split(labels, labels))
    ours = draw_stratified(labels, 150, 0, 0)
    assert np.bincount(labels[ours]).tolist() == np.bincount(labels[theirs]).tolist()


def test_a_draw_depends_on_seed_and_stream():
    labels = np.zeros(100, dtype=np.int64)
    first = draw_stratified(labels, 50, 1, 0).tolist()
    assert first == draw_stratified(labels, 50, 1, 0).tolist()
    assert first != draw_stratified(labels, 50, 2, 0).tolist()
    assert first != draw_stratified(labels, 50, 1, 1).tolist()


def test_a_draw_cannot_take_more_than_there_is():
    with pytest.raises(ValueError, match="cannot draw 3 of 2 reviews"):
        draw_stratified(np.zeros(2, dtype=np.int64), 3, 0, 0)


@pytest.mark.parametrize(("available", "fraction", "count"), [(100, 0.1, 10), (3, 0.01, 1), (3, 0.99, 2), (1, 0.5, 0)])
def test_holding_out_leaves_something_on_both_sides(available: int, fraction: float, count: int):
    assert held_out_count(available, fraction) == count


def test_validation_is_a_stratified_part_of_train():
    splits = split(raw(TRAIN, TEST))
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (90, 10, 20)
    assert np.bincount(splits.validation.labels).tolist() == [5, 5]
    assert set(splits.train.texts) | set(splits.validation.texts) == set(TRAIN.texts)
    assert splits.dropped == {"train_test": 0, "train_validation": 0, "validation_test": 0}


def test_the_split_depends_on_its_seed_alone():
    first = split(raw(TRAIN, TEST), seed=1).validation.texts
    assert first == split(raw(TRAIN, TEST), seed=1).validation.texts
    assert first != split(raw(TRAIN, TEST), seed=2).validation.texts


def test_rows_lead_back_to_the_source():
    splits = split(raw(TRAIN, TEST))
    for part, origin in ((splits.train, TRAIN), (splits.validation, TRAIN), (splits.test, TEST)):
        assert part.texts == [origin.texts[row] for row in part.rows]
        assert part.labels.tolist() == origin.labels[part.rows].tolist()


def test_texts_of_test_leave_train_before_validation_is_carved():
    shared = [f"test {n}" for n in range(10)] * 5
    splits = split(raw(reviews(TRAIN.texts + shared), TEST), fraction=0.5)
    assert splits.dropped["train_test"] == 50
    assert not (set(splits.train.texts) | set(splits.validation.texts)) & set(TEST.texts)
    assert len(splits.train) + len(splits.validation) == 100
    assert len(splits.test) == 20


def test_texts_of_validation_leave_train():
    twice = reviews([f"train {n // 2}" for n in range(200)], [n // 2 % 2 for n in range(200)])
    splits = split(raw(twice, TEST))
    assert not set(splits.train.texts) & set(splits.validation.texts)
    assert splits.dropped["train_validation"] > 0
    assert len(splits.train) + len(splits.validation) + splits.dropped["train_validation"] == 200
    assert len(splits.validation) == 20


def test_texts_of_test_leave_a_validation_split_of_its_own():
    splits = split(raw(TRAIN, TEST, reviews(["own 0", "test 1", "own 2", "test 3"])))
    assert (splits.validation.texts, splits.validation.labels.tolist()) == (["own 0", "own 2"], [0, 0])
    assert (len(splits.test), splits.dropped["validation_test"]) == (20, 2)
    with pytest.raises(DataError, match="no validation review is left"):
        split(raw(TRAIN, TEST, TEST))


def test_a_validation_split_of_its_own_is_taken_whole():
    own = reviews([f"train {n}" for n in range(4)] + ["own"])
    splits = split(raw(TRAIN, TEST, own))
    assert splits.validation.texts == own.texts
    assert (len(splits.train), splits.dropped["train_validation"]) == (96, 4)


def test_the_limit_is_a_stratified_part_and_leaves_validation_alone():
    whole, limited = split(raw(TRAIN, TEST)), split(raw(TRAIN, TEST), limit=20)
    assert np.bincount(limited.train.labels).tolist() == [10, 10]
    assert set(limited.train.texts) < set(whole.train.texts)
    assert limited.validation.texts == whole.validation.texts


def test_a_limit_above_the_size_takes_all():
    assert len(split(raw(TRAIN, TEST), limit=1000).train) == 90


def test_train_that_stands_in_test_altogether_is_an_error():
    with pytest.raises(DataError, match="no validation review is left"):
        split(raw(TEST, TEST))


@pytest.mark.parametrize(("data", "name"), [(raw(reviews([]), TEST), "training"), (raw(TRAIN, reviews([])), "test")])
def test_an_empty_split_is_an_error(data: RawSplits, name: str):
    with pytest.raises(DataError, match=f"no {name} review is left"):
        split(data)


def test_a_class_without_training_reviews_is_an_error():
    with pytest.raises(DataError, match=r"no training review of class 'class2' is left among 90.*data.train_limit"):
        split(raw(TRAIN, TEST, classes=3))


def test_of_very_many_missing_classes_a_few_are_told():
    with pytest.raises(DataError, match=r"'class9' and 990 more is left.*correct data.label_column"):
        split(raw(TRAIN, TEST, classes=1000))
