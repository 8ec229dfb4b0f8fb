"""The order of trials at a rung, where there are several objectives."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState, create_trial

from sentiment.search.study.ranking import find_front
from sentiment.search.study.rungs import VALUES_KEY, rank_rung


def trial_at(number, *reports):
    trial = create_trial(
        state=TrialState.RUNNING,
        intermediate_values={step: values[0] for step, values in enumerate(reports)},
        system_attrs={VALUES_KEY.format(step=step): list(values) for step, values in enumerate(reports)},
    )
    trial.number = number
    return trial


def test_fronts_come_one_after_the_other_and_the_ends_of_a_front_first():
    accuracy_and_size = [(0.9, 100), (0.8, 60), (0.85, 90), (0.7, 10), (0.6, 200)]
    trials = [trial_at(number, values) for number, values in enumerate(accuracy_and_size)]
    assert rank_rung(trials, 1, [True, False]) == [0, 3, 1, 2, 4]


def test_trials_stand_at_a_rung_as_they_stood_there():
    trials = [trial_at(0, (0.5, 1), (0.9, 1)), trial_at(1, (0.6, 1))]
    assert rank_rung(trials, 1, [True, False]) == [1, 0]
    assert rank_rung(trials, 2, [True, False]) == [0]


def test_what_is_known_at_the_end_only_does_not_count():
    trials = [trial_at(0, (0.5, math.nan)), trial_at(1, (0.6, math.nan)), trial_at(2, (0.55, 3.0))]
    assert rank_rung(trials, 1, [True, False]) == [1, 2, 0]
    unknown = [trial_at(0, (math.nan, math.nan)), trial_at(1, (math.nan, math.nan))]
    assert rank_rung(unknown, 1, [True, False]) == [0, 1]


def test_a_trial_that_diverged_takes_no_objective_from_the_others():
    loss_and_size = [(0.1, 600), (0.4, 500), (0.5, 400), (0.9, 300), (0.7, 200), (0.8, 150)]
    trials = [trial_at(number, values) for number, values in enumerate(loss_and_size)]
    ranked = rank_rung(trials, 1, [False, False])
    for value in (math.nan, math.inf):
        with_it = rank_rung([*trials, trial_at(6, (value, 250))], 1, [False, False])
        assert [number for number in with_it if number != 6] == ranked
        assert with_it[-1] == 6, "one of its size has a loss, which is better than none"


points = st.lists(st.tuples(*[st.integers(0, 5).map(float)] * 2), min_size=1, max_size=12)


@given(points)
def test_nobody_stands_before_one_that_dominates_it(values):
    trials = [trial_at(number, pair) for number, pair in enumerate(values)]
    ranked = rank_rung(trials, 1, [False, False])
    assert sorted(ranked) == list(range(len(values)))
    left = dict(enumerate(values))
    while left:
        front = find_front(left)
        assert set(ranked[: len(front)]) == front
        ranked = ranked[len(front) :]
        left = {number: pair for number, pair in left.items() if number not in front}


@pytest.mark.parametrize("maximize", [[True], [False]])
def test_one_objective_is_ranked_by_its_best_report(maximize):
    sign = 1 if maximize[0] else -1
    trials = [trial_at(0, (sign * 0.5,), (sign * 0.4,)), trial_at(1, (sign * 0.3,), (sign * 0.6,))]
    assert rank_rung(trials, 2, maximize) == [1, 0]
    assert rank_rung(trials, 1, maximize) == [0, 1]
