"""Tables of where a model is wrong, on planted errors and against independent implementations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from sentiment.data.phenomena import find_contrasts, find_negations
from sentiment.data.synthetic import SyntheticSource
from sentiment.errors import SentimentError
from sentiment.report.errors.measures import find_worst
from sentiment.report.errors.tables import LabelledPredictions, tabulate_errors


@pytest.fixture(scope="module")
def reviews():
    source = SyntheticSource(20, 600, 1, 4, 0.6, 0.0, 0)
    return source.load().test


def judge(reviews, wrong, confidence=0.9, max_tokens=None):
    """Predict the label with some confidence, but another class where `wrong`."""
    labels = reviews.labels
    predicted = np.where(wrong, 1 - labels, labels)
    probabilities = np.full((len(labels), 2), 1 - confidence, dtype=np.float32)
    probabilities[np.arange(len(labels)), predicted] = confidence
    lengths = np.array([len(text.split()) for text in reviews.texts])
    return LabelledPredictions(reviews.texts, labels, probabilities, lengths, ("negative", "positive"), max_tokens)


def test_errors_planted_on_negation_are_found_there(reviews):
    negated = np.array([bool(find_negations(text)) for text in reviews.texts])
    tables = tabulate_errors(judge(reviews, wrong=negated))
    assert 50 < negated.sum() < 550
    assert tables.negation.inside.accuracy == 0
    assert tables.negation.inside.reviews == negated.sum()
    assert tables.negation.rest.accuracy == 1
    assert tables.negation.difference == -1
    assert find_worst(tables.slices) is tables.negation
    assert all(review.has_negation for review in tables.wrong_reviews)


def test_the_four_combinations_share_the_reviews_out(reviews):
    negated = np.array([bool(find_negations(text)) for text in reviews.texts])
    contrasted = np.array([bool(find_contrasts(text)) for text in reviews.texts])
    tables = tabulate_errors(judge(reviews, wrong=negated & contrasted))
    by_name = {cell.name: cell.inside for cell in tables.combinations}
    assert sum(share.reviews for share in by_name.values()) == len(reviews)
    assert by_name["with negation and contrast"].accuracy == 0
    assert by_name["with negation and contrast"].reviews == (negated & contrasted).sum()
    assert all(share.accuracy == 1 for name, share in by_name.items() if name != "with negation and contrast")


def test_errors_planted_on_long_reviews_are_found_there(reviews):
    lengths = np.array([len(text.split()) for text in reviews.texts])
    limit = int(np.quantile(lengths, 0.8))
    tables = tabulate_errors(judge(reviews, wrong=lengths > limit, max_tokens=limit))
    worst = find_worst(tables.slices)
    assert worst is not None
    assert worst.name == f"that were cut (over {limit:,} tokens)"
    assert sum(part.cut for part in tables.lengths) == (lengths > limit).sum()
    assert tables.lengths[-1].cut == tables.lengths[-1].share.reviews - tables.lengths[-1].share.right
    assert [part.cut for part in tables.lengths if part.longest <= limit] == [0] * sum(
        part.longest <= limit for part in tables.lengths
    )


def test_bins_of_length_hold_every_review_once(reviews):
    tables = tabulate_errors(judge(reviews, wrong=np.zeros(len(reviews), dtype=bool)))
    assert sum(part.share.reviews for part in tables.lengths) == len(reviews)
    assert all(a.longest < b.shortest for a, b in zip(tables.lengths, tables.lengths[1:], strict=False))
    assert all(part.cut == 0 for part in tables.lengths)
    assert tables.wrong_reviews == ()
    assert find_worst(tables.slices) is None


def test_reviews_of_one_length_make_one_bin_and_no_slice():
    predictions = LabelledPredictions(
        ["good", "bad"], np.array([0, 1]), np.eye(2, dtype=np.float32), np.array([1, 1]), ("a", "b")
    )
    tables = tabulate_errors(predictions)
    assert [(part.shortest, part.longest, part.share.reviews) for part in tables.lengths] == [(1, 1, 2)]
    assert not any("tokens" in part.name for part in tables.slices)


def test_confusion_is_sklearns_for_several_classes():
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, 200)
    probabilities = random.dirichlet(np.ones(4), 200).astype(np.float32)
    predictions = LabelledPredictions(
        ["good"] * 200, labels, probabilities, random.integers(1, 9, 200), ("a", "b", "c", "d")
    )
    tables = tabulate_errors(predictions, shown=200)
    assert (tables.confusion == confusion_matrix(labels, probabilities.argmax(1), labels=range(4))).all()
    assert tables.overall.right == np.trace(tables.confusion)
    assert len(tables.wrong_reviews) == 200 - tables.overall.right
    confidences = [review.confidence for review in tables.wrong_reviews]
    assert confidences == sorted(confidences, reverse=True)
    first = tables.wrong_reviews[0]
    assert first.label == predictions.class_names[labels[first.position]] != first.predicted
    assert first.label_probability == probabilities[first.position, labels[first.position]]
    assert len(tabulate_errors(predictions, shown=3).wrong_reviews) == 3


def test_predictions_of_other_reviews_are_refused(reviews):
    predictions = judge(reviews, wrong=np.zeros(len(reviews), dtype=bool))
    with pytest.raises(SentimentError, match=r"599 texts of 2 classes.*\(600,\)"):
        replace(predictions, texts=reviews.texts[:-1])
    with pytest.raises(SentimentError, match="at least"):
        LabelledPredictions(
            [], np.zeros(0, dtype=np.int64), np.zeros((0, 2), np.float32), np.zeros(0, np.int64), ("a", "b")
        )


@pytest.mark.parametrize("value", [float("nan"), 2.0])
def test_probabilities_that_are_none_are_refused(reviews, value):
    predictions = judge(reviews, wrong=np.zeros(len(reviews), dtype=bool))
    broken = predictions.probabilities.copy()
    broken[3, 1] = value
    with pytest.raises(SentimentError, match="add up to one"):
        replace(predictions, probabilities=broken)
