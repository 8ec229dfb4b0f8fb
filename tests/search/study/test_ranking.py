"""The one rule of the best trial, held against Optuna's own."""

from __future__ import annotations

import math

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment.search.study.ranking import rank_trials

VALUE = st.floats(-3, 3).map(lambda value: round(value, 0))


def rank(*values, directions=("maximize",)):
    return rank_trials(dict(enumerate(values)), directions)


@pytest.mark.parametrize(("direction", "expected"), [("maximize", [1, 2, 0]), ("minimize", [0, 1, 2])])
def test_the_first_objective_ranks_and_equal_trials_keep_their_order(direction: str, expected: list[int]):
    assert rank([0.1], [0.9], [0.9], directions=[direction]) == (expected, set(expected[:1]))


def test_of_trials_that_the_first_objective_cannot_tell_apart_the_best_is_on_the_front():
    found = rank([0.9, 100], [0.9, 50], [0.8, 10], directions=["maximize", "minimize"])
    assert found == ([1, 0, 2], {1, 2})


def test_no_number_comes_last_and_is_never_the_best():
    assert rank([math.nan], [0.1]) == ([1, 0], {1})
    assert rank([math.nan]) == ([0], set())


@settings(max_examples=60)
@given(st.lists(st.tuples(VALUE, VALUE, VALUE), min_size=1, max_size=12), st.permutations(["maximize", "minimize"]))
def test_the_front_is_that_of_optuna(points: list[tuple[float, float, float]], two: list[str]):
    directions = [*two, "maximize"]
    study = optuna.create_study(directions=directions)
    for values in points:
        study.add_trial(optuna.trial.create_trial(values=list(values)))
    _, front = rank(*points, directions=directions)
    assert front == {trial.number for trial in study.best_trials}
