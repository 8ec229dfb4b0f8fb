"""Accuracy on parts of a split against the rest; confidence, held against torchmetrics and against what must hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.classification import MulticlassCalibrationError

from sentiment.report.errors.measures import calibrate, compare_slices, find_worst
from sentiment.training.measures import CALIBRATION_BINS, measure_calibration_error


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
