"""Labelled reviews for a model that is there: every label is one of its classes, or the command says so."""

from __future__ import annotations

import pytest

from sentiment.__main__ import build_parser
from sentiment.config.command_line import compose_settings
from sentiment.data.labelled import read_data_set, read_labelled_file
from sentiment.errors import DataError

CLASSES = ("negative", "positive")


@pytest.fixture
def reviews(tmp_path):
    file = tmp_path / "reviews.csv"
    file.write_text("text,label\nA great film.,pos\nA dull film.,neg\nSo so.,unsure\n", encoding="utf-8")
    return file


def test_what_says_nothing_about_the_file_is_refused(reviews):
    columns = reviews.with_suffix(".ft")
    columns.write_text("__label__positive Fine.\n__label__negative Dull.\n")
    for given, ignored in (
        ({"label_column": "stars"}, "--label-column=stars"),
        ({"text_column": "review"}, "--text-column=review"),
        ({"reading": {"delimiter": ";"}}, "--read delimiter=;"),
    ):
        with pytest.raises(DataError, match=f"{ignored} says nothing about"):
            read_labelled_file(columns, CLASSES, {}, **given)


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
    given = ["a=b=negative", "a=c=c=1", "==", "pos=c=1"]
    options = build_parser().parse_args(["evaluate", "--file", "x", *(f"--label={one}" for one in given)])
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
