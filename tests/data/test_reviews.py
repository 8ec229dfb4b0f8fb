"""What a source hands over is a data set, or is refused before anything is split by it."""

from __future__ import annotations

import numpy as np
import pandas
import pytest

from sentiment.data.reviews import RawSplits, Reviews
from sentiment.errors import DataError

GOOD = Reviews(["a film", "a plot", "the end"], np.array([0, 1, 1]))
NAMES = ("negative", "positive")


@pytest.mark.parametrize(
    ("texts", "labels", "told"),
    [
        (GOOD.texts, np.array([0, 1, 1, 0]), r"there are 3 texts, and labels of shape \(4,\)"),
        (GOOD.texts, np.array([0, 1]), r"there are 3 texts, and labels of shape \(2,\)"),
        (GOOD.texts, np.array([[0, 1, 1]]), r"there are 3 texts, and labels of shape \(1, 3\)"),
        (GOOD.texts, np.array([1, 2, 1]), "review 1 has the label 2, and the 2 classes are 0 to 1"),
        (GOOD.texts, np.array([0, 1, -1]), "review 2 has the label -1"),
        (GOOD.texts, np.array([0.0, 1.0, 1.0]), "the labels are no numpy array of int64, but float64"),
        (GOOD.texts, np.array([False, True, True]), "the labels are no numpy array of int64, but bool"),
        (GOOD.texts, np.array([0, 1, 1], dtype=np.uint64), "the labels are no numpy array of int64, but uint64"),
        (GOOD.texts, [0, 1, 1], "the labels are no numpy array of int64, but list"),
        ("all", GOOD.labels, "the texts are no list, but str"),
        (b"all", GOOD.labels, "the texts are no list, but bytes"),
        (pandas.Series(GOOD.texts, index=[2, 0, 1]), GOOD.labels, "the texts are no list, but Series"),
        (dict.fromkeys(GOOD.texts).keys(), GOOD.labels, "the texts are no list, but dict_keys"),
        (["a film", None, "the end"], GOOD.labels, "of review 1 the text is missing"),
        (["a film", b"a plot", "the end"], GOOD.labels, "of review 1 the text is no string but"),
        (["a film", "a plot", "the \ud800"], GOOD.labels, "of review 2 the text is not valid UTF-8"),
    ],
)
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_labels_that_do_not_fit_their_texts_are_refused(split, texts, labels, told):
    """With one label too many, each review from the gap on was trained by its neighbour's; by those of a Series, whose
    numbers are labels of its index, by any other's."""
    parts = {"train": GOOD, "validation": None, "test": GOOD} | {split: Reviews(texts, labels)}
    with pytest.raises(DataError, match=rf"in {split}, {told}(.|\n)*-> correct load\(\)"):
        RawSplits(**parts, class_names=NAMES)


@pytest.mark.parametrize(
    ("split", "given", "told"),
    [
        ("test", None, "in test, there are no Reviews, but None; where the data has no such split, take some of train"),
        ("train", None, "in train, there are no Reviews, but None"),
        ("validation", ([], []), r"in validation, there are no Reviews, but \(\[\], \[\]\)"),
    ],
)
def test_only_validation_may_be_absent(split, given, told):
    with pytest.raises(DataError, match=told):
        RawSplits(**{"train": GOOD, "validation": GOOD, "test": GOOD} | {split: given}, class_names=NAMES)


@pytest.mark.parametrize("names", [("a",), ("a", "a"), (0, 1), ()])
def test_classes_are_two_or_more_different_names(names):
    with pytest.raises(DataError, match=r"the class names are .*, not two or more different texts"):
        RawSplits(GOOD, None, GOOD, names)


def test_labels_of_any_whole_numbers_do():
    small = Reviews(GOOD.texts, np.array([0, 1, 1], dtype=np.uint8))
    assert RawSplits(small, GOOD, Reviews([], np.empty(0, dtype=np.int64)), NAMES).train is small
