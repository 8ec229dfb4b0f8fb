"""Tables of where a model is wrong, on planted errors and against independent implementations.

Confidence is held against torchmetrics and against what must hold; cues of negation and contrast in English reviews
are found, and not what only looks like one.
"""

from __future__ import annotations

import math
import random
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix
from torchmetrics.classification import MulticlassCalibrationError

from sentiment.data.grammar import DENIALS, OPPOSITIONS, draw_plot, draw_review
from sentiment.data.synthetic import SyntheticSource
from sentiment.errors import SentimentError
from sentiment.report.errors.tables import (
    CONTRAST_CUES,
    NEGATION_CUES,
    NOT_CONTRASTIVE,
    NOT_NEGATIVE,
    LabelledPredictions,
    calibrate,
    compare_slices,
    find_contrasts,
    find_negations,
    find_worst,
    tabulate_errors,
)
from sentiment.training.measures import CALIBRATION_BINS, measure_calibration_error


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


def test_the_worst_part_is_the_one_that_is_most_surely_worse():
    correct = np.ones(1000, dtype=bool)
    correct[:120] = False  # 120 of the 300 in the large part
    correct[990:992] = False  # 2 of the 2 in the tiny one
    large, tiny, other = (np.zeros(1000, dtype=bool) for _ in range(3))
    large[:300], tiny[990:992], other[300:600] = True, True, True
    slices = compare_slices(correct, [("tiny", tiny), ("large", large), ("other", other)])
    worst = find_worst(slices)
    assert worst is not None
    assert worst.name == "large"
    assert worst.inside.accuracy == pytest.approx(0.6)
    assert worst.rest.right == 698
    assert worst.difference == pytest.approx(0.6 - 698 / 700)
    assert worst.low < worst.difference < worst.high < 0


@pytest.mark.slow
def test_the_worst_of_many_equal_parts_is_seldom_called_worse():
    random = np.random.default_rng(1)
    alarms = 0
    for _ in range(30):
        correct = random.random(800) < 0.85
        group = random.integers(0, 16, 800)
        alarms += find_worst(compare_slices(correct, [(str(k), group == k) for k in range(16)])) is not None
    assert alarms <= 3  # at 95 % for all parts together; each by itself would alarm about ten times


def test_a_part_of_all_or_of_none_is_compared_with_nothing():
    correct = np.array([True, False])
    for members in (np.array([True, True]), np.array([False, False])):
        (part,) = compare_slices(correct, [("part", members)])
        assert math.isnan(part.difference)
        assert (part.low, part.high) == (-1.0, 1.0)
        assert find_worst([part]) is None
    assert find_worst([]) is None


def test_the_calibration_error_is_the_one_that_runs_record():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet([0.4, 0.4, 0.4], 2000).astype(np.float32)
    labels = random.integers(0, 3, len(probabilities))

    def measure(kept):
        correct = probabilities[kept].argmax(1) == labels[kept]
        found = calibrate(probabilities[kept].max(1).astype(np.float64), correct).ece
        assert found == pytest.approx(measure_calibration_error(labels[kept], probabilities[kept]), abs=1e-9)
        return found

    is_sure = probabilities.max(1) == 1  # torchmetrics gives these a bin of their own
    recorded = MulticlassCalibrationError(3, CALIBRATION_BINS, norm="l1")
    expected = recorded(torch.from_numpy(probabilities[~is_sure]), torch.from_numpy(labels[~is_sure])).item()
    assert measure(~is_sure) == pytest.approx(expected, abs=1e-4)
    probabilities[:500] = np.eye(3)[0]
    assert measure(np.full(len(labels), True)) > 0


@given(st.lists(st.tuples(st.floats(0.34, 1), st.booleans()), min_size=1, max_size=200), st.booleans())
def test_calibration_bins_hold_every_review_once_between_their_edges(points, equal_mass):
    confidences = np.array([confidence for confidence, _ in points])
    correct = np.array([right for _, right in points])
    found = calibrate(confidences, correct, equal_mass=equal_mass)
    assert sum(part.share.reviews for part in found.bins) == len(points)
    assert sum(part.share.right for part in found.bins) == correct.sum()
    assert all(part.low - 1e-9 <= part.confidence <= part.high + 1e-9 for part in found.bins)
    assert all(a.high <= b.low for a, b in zip(found.bins, found.bins[1:], strict=False))
    assert 0 <= found.ece <= 1
    assert found.ece >= abs(confidences.mean() - correct.mean()) - 1e-9  # binning can only add up distances


def test_a_model_that_knows_how_sure_it_is_has_no_calibration_error():
    confidences = np.repeat([0.6, 0.9], 100)
    correct = np.concatenate([np.arange(100) < 60, np.arange(100) < 90])
    for equal_mass in (False, True):
        found = calibrate(confidences, correct, equal_mass=equal_mass)
        assert found.ece == pytest.approx(0, abs=1e-9)
        assert [part.share.accuracy for part in found.bins] == pytest.approx([0.6, 0.9])
    assert calibrate(np.full(10, 1.0), np.zeros(10, dtype=bool)).ece == 1


def test_equal_mass_bins_have_about_as_many_reviews():
    random = np.random.default_rng(0)
    confidences = 1 - random.random(1500) ** 4 / 2  # nearly all sure, as trained networks are
    found = calibrate(confidences, random.random(1500) < confidences, equal_mass=True)
    assert {part.share.reviews for part in found.bins} == {100}


@pytest.mark.parametrize(
    ("text", "cues"),
    [
        ("I did not like it", ["not"]),
        ("It isn't good, and it wasnt fun.", ["isn't", "wasnt"]),
        ("It is n’t good; it CAN’T be", ["n’t", "CAN’T"]),
        ("Never dull<br /><br />without a flaw", ["Never", "without"]),
        ("it was _not_ good, 'not' at all", ["not", "not"]),
        ("far\n from perfect, hardly a laugh", ["far\n from", "hardly"]),
        ("few films fail to move", ["few", "fail to"]),
        ("No one could say no", ["No one", "no"]),
        ("anything but dull", ["anything but"]),
    ],
)
def test_negations_are_found_as_they_are_written(text: str, cues: list[str]) -> None:
    assert find_negations(text) == cues


@pytest.mark.parametrize(
    "text",
    [
        "a notable note from Norway's knot",
        "It is not only clever; no doubt the best of a few.",
        "last but not least, nothing but praise",
        "I can't wait, I couldn't agree more",
        "it never fails to please",
        "",
    ],
)
def test_what_only_looks_like_a_negation_is_none(text: str) -> None:
    assert find_negations(text) == []


@pytest.mark.parametrize(
    ("text", "cues"),
    [
        ("Good, BUT long; however, in spite of that...", ["BUT", "however", "in spite of"]),
        ("Although dull, yet clever", ["Although", "yet"]),
        ("Silly.<br />But fun -- that said, long", ["But", "that said"]),
        ("On the other hand, it is far from good", ["On the other hand"]),
    ],
)
def test_contrasts_are_found_as_they_are_written(text: str, cues: list[str]) -> None:
    assert find_contrasts(text) == cues


@pytest.mark.parametrize("text", ["the butler's yeti", "nothing but fun", "yet another sequel", "not yet seen", "."])
def test_what_only_looks_like_a_contrast_is_none(text: str) -> None:
    assert find_contrasts(text) == []


def test_the_grammars_denials_negate_and_its_oppositions_contrast() -> None:
    assert all(find_negations(frame.pattern) for frame in DENIALS)
    assert all(find_contrasts(frame.pattern) for frame in OPPOSITIONS)


@given(st.integers(0, 2**32))
def test_plain_synthetic_opinions_hold_neither(seed: int) -> None:
    rng = random.Random(seed)
    text = draw_review(rng, 1, sentences=1, difficulty=0.0)
    assert not find_negations(text)
    assert not find_contrasts(text)
    plot = draw_plot(rng)
    assert bool(find_negations(plot)) == (" never " in plot or " not " in plot)


@given(st.text(max_size=40), st.sampled_from(sorted(NEGATION_CUES)), st.text(max_size=40))
def test_a_cue_between_other_words_is_found_where_it_stands(before: str, cue: str, after: str) -> None:
    text = f"{before} . {cue} . {after}"
    found = find_negations(text)
    parts = [len(find_negations(part)) for part in (before, after)]
    assert len(found) == sum(parts) + 1
    assert found[parts[0]].endswith(cue)
    assert re.search(".*".join(map(re.escape, found)), text, re.DOTALL), "in the order of the text"


@pytest.mark.parametrize("phrase", [*NOT_NEGATIVE, *NOT_CONTRASTIVE])
def test_every_exception_hides_its_own_cue(phrase: str) -> None:
    hidden = phrase in NOT_NEGATIVE
    assert (find_negations(phrase) if hidden else find_contrasts(phrase)) == []
    single = [cue for cue in (NEGATION_CUES if hidden else CONTRAST_CUES) if " " not in cue]
    held = any(word in single or word.endswith("n't") for word in phrase.split()) or "never fail" in phrase
    assert held, "an exception without a cue does nothing"
