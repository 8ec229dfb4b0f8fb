"""Accuracy on parts of a split, and the comparison of a part with the rest."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sentiment.report.errors.measures import compare_slices, find_worst


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
