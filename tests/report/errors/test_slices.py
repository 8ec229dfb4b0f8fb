"""Accuracy on parts of a split, and the comparison of a part with the rest."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment.report.errors.slices import LEVEL, compare_slices, count_share, difference_interval, find_worst, share_of

counts = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def test_a_share_is_the_textbooks():
    share = count_share(81, 263)  # Newcombe 1998, table I: Wilson 0.2553 to 0.3662
    assert (share.accuracy, share.low, share.high) == pytest.approx((0.3080, 0.2553, 0.3662), abs=5e-5)


def test_no_review_has_no_accuracy_and_could_have_any():
    share = share_of(np.zeros(0, dtype=bool))
    assert math.isnan(share.accuracy)
    assert (share.reviews, share.low, share.high) == (0, 0.0, 1.0)


def test_a_difference_is_the_textbooks():
    # Newcombe 1998, table II, method 10: 56/70 - 48/80 lies in 0.0524 to 0.3339
    assert difference_interval(count_share(56, 70), count_share(48, 80)) == pytest.approx((0.0524, 0.3339), abs=5e-5)


@given(counts, counts)
def test_intervals_hold_their_estimates_and_swap_signs(one, two):
    first, second = count_share(*one), count_share(*two)
    assert 0 <= first.low <= first.accuracy <= first.high <= 1
    low, high = difference_interval(first, second)
    assert low <= first.accuracy - second.accuracy <= high
    assert difference_interval(second, first) == pytest.approx((-high, -low))
    wide = difference_interval(first, second, level=0.999)
    assert wide[0] <= low + 1e-12
    assert wide[1] >= high - 1e-12


def test_intervals_cover_as_often_as_they_say():
    random = np.random.default_rng(0)
    trials = [(random.binomial(60, 0.9), random.binomial(200, 0.8)) for _ in range(250)]
    intervals = [difference_interval(count_share(int(a), 60), count_share(int(b), 200)) for a, b in trials]
    covered = np.mean([low <= 0.1 <= high for low, high in intervals])
    assert LEVEL - 0.04 < covered < LEVEL + 0.04


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
