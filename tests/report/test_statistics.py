"""Intervals and tests: against scipy, by their symmetries, and by simulation."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from sentiment.errors import SentimentError
from sentiment.report.statistics import (
    LEVEL,
    compare_seeds,
    correct_p_values,
    count_share,
    difference_interval,
    mean_interval,
    paired_bootstrap,
    paired_t,
    share_of,
    welch,
    wilson_interval,
)

VALUES = st.lists(st.floats(0, 1, width=32), min_size=2, max_size=6)
FAST = settings(max_examples=25)


def pairs(low=2, high=6):
    return st.integers(low, high).flatmap(
        lambda size: st.tuples(*[st.lists(st.floats(0, 1, width=32), min_size=size, max_size=size)] * 2)
    )


def negate(difference):
    return replace(difference, value=-difference.value, low=-difference.high, high=-difference.low)


def nan_equal(one, other):
    return one == other or repr(one) == repr(other)


@pytest.mark.parametrize(("right", "count"), [(0, 10), (7, 10), (10, 10), (22_000, 25_000), (1, 1)])
def test_wilson_interval_against_scipy(right, count):
    expected = stats.binomtest(right, count).proportion_ci(method="wilson")
    assert wilson_interval(right / count, count) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_mean_interval_against_scipy():
    values = [0.81, 0.83, 0.86]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    estimate = mean_interval(values)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((np.mean(values), low, high))


def test_a_single_value_has_no_interval():
    estimate = mean_interval([0.8])
    assert estimate.value == 0.8
    assert math.isnan(estimate.low)
    assert math.isnan(estimate.high)


def test_paired_t_against_scipy():
    first, second = [0.81, 0.84, 0.86, 0.80], [0.80, 0.81, 0.86, 0.78]
    expected = stats.ttest_rel(first, second)
    found = paired_t(first, second)
    interval = expected.confidence_interval()
    assert (found.p_value, found.low, found.high) == pytest.approx((expected.pvalue, interval.low, interval.high))


def test_welch_against_scipy():
    first, second = [0.81, 0.84, 0.86], [0.70, 0.81, 0.86, 0.78]
    expected = stats.ttest_ind(first, second, equal_var=False)
    found = welch(first, second)
    interval = expected.confidence_interval()
    assert (found.p_value, found.low, found.high) == pytest.approx((expected.pvalue, interval.low, interval.high))


def test_shared_seeds_are_compared_in_pairs_and_others_as_samples():
    shared = compare_seeds({0: 0.5, 1: 0.6, 2: 0.7}, {1: 0.5, 2: 0.65, 9: 0.1})
    assert shared == welch([0.5, 0.6, 0.7], [0.5, 0.65, 0.1]), "no run is left out"
    same = compare_seeds({0: 0.5, 1: 0.6}, {1: 0.5, 0: 0.45})
    assert same == paired_t([0.5, 0.6], [0.45, 0.5])
    apart = compare_seeds({0: 0.5, 1: 0.6}, {2: 0.4, 3: 0.45})
    assert apart == welch([0.5, 0.6], [0.4, 0.45])


def test_a_single_run_has_no_spread_to_test_by():
    assert compare_seeds({0: 0.5}, {0: 0.6}) is None
    assert compare_seeds({0: 0.5, 1: 0.6}, {0: 0.6}) is None


def test_a_difference_without_any_spread_is_not_judged():
    assert math.isnan(paired_t([0.6, 0.7], [0.5, 0.6]).p_value)
    assert math.isnan(welch([0.6, 0.6], [0.5, 0.5]).p_value)


@FAST
@given(pairs())
def test_paired_t_is_symmetric(values):
    first, second = values
    assert nan_equal(paired_t(first, second), negate(paired_t(second, first)))


@FAST
@given(VALUES, VALUES)
def test_welch_is_symmetric(first, second):
    expected = negate(welch(second, first))
    found = welch(first, second)
    assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
    assert nan_equal(found.p_value, expected.p_value)


@FAST
@given(VALUES)
def test_identical_runs_show_no_difference(values):
    found = paired_t(values, values)
    assert (found.value, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert welch(values, values).p_value == pytest.approx(1.0)


@FAST
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200))
def test_bootstrap_is_symmetric_and_holds_the_difference(right):
    first, second = (np.array(column) for column in zip(*right, strict=True))
    found = paired_bootstrap(first, second)
    again = negate(paired_bootstrap(second, first))
    assert (found.low, found.high, found.p_value) == (again.low, again.high, again.p_value)
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert found.low - 1e-12 <= found.value <= found.high + 1e-12
    assert 0 < found.p_value <= 1


def test_the_same_predictions_show_no_difference():
    right = np.array([True, False] * 50)
    found = paired_bootstrap(right, right)
    assert (found.value, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)
    assert math.copysign(1, found.high) == 1


def test_bootstrap_agrees_with_resampling_the_reviews_one_by_one():
    random = np.random.default_rng(1)
    first, second = random.random(400) < 0.9, random.random(400) < 0.85
    rows = random.integers(0, 400, size=(4000, 400))
    differences = first[rows].mean(axis=1) - second[rows].mean(axis=1)
    found = paired_bootstrap(first, second)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(differences, [0.025, 0.975])), abs=0.004)


def test_seeds_that_both_happen_to_have_do_not_decide_for_the_others():
    """Two shared seeds where the second is better by little, sixteen others where it is worse by much."""
    first = {0: 0.5, 1: 0.51, **{seed: 0.9 + seed / 1000 for seed in range(2, 10)}}
    second = {0: 0.55, 1: 0.561, **{seed: 0.7 + seed / 1000 for seed in range(12, 20)}}
    found = compare_seeds(first, second)
    assert found is not None
    assert found.value == pytest.approx(np.mean(list(first.values())) - np.mean(list(second.values())))


def test_pairs_that_all_differ_by_the_same_are_compared_as_two_samples():
    found = compare_seeds({0: 0.95, 1: 0.96}, {0: 0.94, 1: 0.95})
    apart = compare_seeds({0: 0.95, 1: 0.96}, {2: 0.94, 3: 0.95})
    assert found == replace(apart, test="Welch's t test, 2 and 2 seeds (all pairs differ by the same)")
    assert 0.05 < found.p_value < 1
    assert math.isnan(compare_seeds({0: 0.95, 1: 0.95}, {0: 0.94, 1: 0.94}).p_value)
    assert compare_seeds({0: 0.95, 1: 0.96}, {0: 0.95, 1: 0.96}).p_value == 1.0


@pytest.mark.parametrize(
    ("count", "only_first", "only_second", "p_value"),
    [(1000, 60, 0, 2 * 0.5**60), (60, 5, 0, 0.0625), (25_000, 5, 0, 0.0625), (60, 9, 2, 0.0654297)],
)
def test_the_p_value_is_exact_where_few_reviews_tell_two_runs_apart(count, only_first, only_second, p_value):
    first, second = np.ones(count, dtype=bool), np.ones(count, dtype=bool)
    second[:only_first] = False
    first[only_first : only_first + only_second] = False
    assert paired_bootstrap(first, second).p_value == pytest.approx(p_value, rel=1e-5)


@pytest.mark.parametrize("count", [60, 2000])
def test_the_interval_of_two_runs_holds_zero_where_the_test_shows_no_difference(count):
    for only_first, only_second in itertools.product(range(0, 30, 3), range(0, 30, 2)):
        first, second = np.ones(count, dtype=bool), np.ones(count, dtype=bool)
        second[:only_first] = False
        first[only_first : only_first + only_second] = False
        found = paired_bootstrap(first, second)
        assert (found.low > 0 or found.high < 0) == (found.p_value < 0.05), (only_first, only_second)


def test_bootstrap_of_the_same_predictions_is_the_same():
    first, second = np.arange(300) % 7 > 0, np.arange(300) % 5 > 0
    assert paired_bootstrap(first, second) == paired_bootstrap(first, second)


def test_predictions_of_other_reviews_are_refused():
    with pytest.raises(SentimentError, match="same reviews"):
        paired_bootstrap(np.ones(3, dtype=bool), np.ones(4, dtype=bool))


@FAST
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_monotone_and_never_below_the_raw_p_value(p_values):
    corrected = correct_p_values(p_values)
    assert all(p <= c <= 1 for p, c in zip(p_values, corrected, strict=True))
    ordered = [c for _, c in sorted(zip(p_values, corrected, strict=True))]
    assert ordered == sorted(ordered)
    assert all(c <= min(1.0, p * len(p_values)) + 1e-12 for p, c in zip(p_values, corrected, strict=True))


def test_holm_on_an_example_by_hand():
    assert correct_p_values([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert correct_p_values([0.02]) == [0.02]


def test_a_pair_without_a_test_is_not_counted():
    corrected = correct_p_values([0.02, math.nan, 0.03])
    assert corrected[0] == pytest.approx(0.04)
    assert math.isnan(corrected[1])


@pytest.mark.slow
def test_intervals_cover_as_often_as_they_say():
    random = np.random.default_rng(0)
    rounds = 2000
    covered = {"mean": 0, "paired": 0, "welch": 0}
    for _ in range(rounds):
        first, second = random.normal(0.9, 0.01, 3).tolist(), random.normal(0.88, 0.02, 3).tolist()
        mean, paired, two = mean_interval(first), paired_t(first, second), welch(first, second)
        covered["mean"] += mean.low <= 0.9 <= mean.high
        covered["paired"] += paired.low <= 0.02 <= paired.high
        covered["welch"] += two.low <= 0.02 <= two.high
    for name, count in covered.items():
        assert 0.935 <= count / rounds <= 0.975, name


@pytest.mark.slow
def test_bootstrap_covers_and_rarely_claims_what_is_not_there():
    random = np.random.default_rng(0)
    rounds, count = 1000, 500
    covered = claimed = 0
    for _ in range(rounds):
        hard = random.random(count)  # reviews differ in difficulty, so that the two models err together
        first, second = random.random(count) < 1 - 0.3 * hard, random.random(count) < 1 - 0.4 * hard
        found = paired_bootstrap(first, second)
        covered += found.low <= 0.05 <= found.high
        equal = random.random(count) < 1 - 0.3 * hard
        claimed += paired_bootstrap(first, equal).p_value < 0.05
    assert 0.93 <= covered / rounds <= 0.97
    assert claimed / rounds <= 0.07


@pytest.mark.slow
def test_what_is_called_detectable_shows_in_four_of_five():
    random = np.random.default_rng(0)
    freedom, error = 9, 0.02 * math.sqrt(1 / 10)
    effect = (stats.t.ppf(0.975, freedom) + stats.t.ppf(0.8, freedom)) * error
    shown = np.mean([paired_t(random.normal(effect, 0.02, 10), np.zeros(10)).p_value < 0.05 for _ in range(2000)])
    assert 0.77 <= shown <= 0.85


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


def test_intervals_of_a_difference_cover_as_often_as_they_say():
    random = np.random.default_rng(0)
    trials = [(random.binomial(60, 0.9), random.binomial(200, 0.8)) for _ in range(250)]
    intervals = [difference_interval(count_share(int(a), 60), count_share(int(b), 200)) for a, b in trials]
    covered = np.mean([low <= 0.1 <= high for low, high in intervals])
    assert LEVEL - 0.04 < covered < LEVEL + 0.04


@FAST
@given(pairs())
def test_intervals_of_shares_stay_within_their_bounds_and_hold_their_value(values):
    one, other = values
    found = mean_interval(one, (0.0, 1.0))
    assert 0.0 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= 1.0
    difference = compare_seeds(dict(enumerate(one)), dict(enumerate(other)), (0.0, 1.0))
    assert -1.0 <= difference.low <= difference.value + 1e-9
    assert difference.value - 1e-9 <= difference.high <= 1.0
