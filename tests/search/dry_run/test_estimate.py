"""What a whole search takes, given what a few of its jobs take: those of its smallest and largest configurations."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment.search.dry_run.estimate import _near_first, add_overrides, expect, list_extremes
from sentiment.search.dry_run.probe import Measured
from sentiment.search.space.constraints import any_point
from sentiment.search.space.reading import read_space

SHORT, LONG = Measured(10.0, False, 100, None), Measured(30.0, False, 300, 50)
FAILED = Measured(1.0, True, 900, None, "no memory left")


def test_time_is_the_mean_shared_by_the_places():
    expectation = expect([SHORT, LONG], trials=20, slots=2)
    assert expectation is not None
    assert (expectation.seconds, expectation.least_seconds, expectation.most_seconds) == (200.0, 100.0, 300.0)
    assert not expectation.is_bound


def test_a_job_is_not_cut_in_two():
    expectation = expect([LONG], trials=3, slots=2)
    assert expectation is not None
    assert expectation.most_seconds == 60.0


def test_repeats_of_a_trial_run_one_after_the_other():
    expectation = expect([SHORT], trials=1, slots=4, repeats=3)
    assert expectation is not None
    assert (expectation.seconds, expectation.least_seconds, expectation.most_seconds) == (30.0, 30.0, 30.0)


def test_memory_is_that_of_all_jobs_in_flight():
    assert [expect([SHORT, LONG], trials=trials, slots=4).host_bytes for trials in (8, 2)] == [1200, 600]
    assert expect([SHORT, LONG], trials=8, slots=4).device_bytes == 50
    assert expect([SHORT], trials=8, slots=4).device_bytes is None


def test_one_bound_makes_a_bound_of_the_whole():
    assert expect([SHORT, Measured(60.0, True, None, None)], trials=2, slots=1).is_bound


def test_a_failed_probe_counts_for_memory_alone():
    expectation = expect([SHORT, FAILED], trials=2, slots=1)
    assert (expectation.seconds, expectation.is_bound, expectation.host_bytes) == (20.0, False, 900)
    assert expect([FAILED], trials=2, slots=1) is None


@pytest.mark.parametrize("override", ["tracking=mlflow", "+tracking=mlflow", "++tracking=mlflow"])
def test_the_overrides_of_the_probe_win(override):
    assert add_overrides([override, "x=1"], ["tracking=none"]) == ("x=1", "tracking=none")


def extremes(lines, params=None, branches=None, is_valid=any_point):
    space = read_space(lines, params or {}, branches or {}, None)
    return {extreme.label: extreme.point for extreme in list_extremes(space, is_valid)}


def test_numbers_go_by_their_size_and_other_choices_by_their_order():
    lines = [
        "width=choice(64,32,128)",
        "depth=range(1,9,3)",
        "lr=tag(log,interval(1e-4,1e-1))",
        "cell=choice(lstm,gru,rnn)",
    ]
    assert extremes(lines) == {
        "smallest": {"width": 32, "depth": 1, "lr": 1e-4, "cell": "lstm"},
        "largest": {"width": 128, "depth": 7, "lr": 1e-1, "cell": "rnn"},
    }


def test_every_branch_has_a_pair():
    branches = {"model=a": {"heads": "choice(1,8)"}, "model=b": {"cell": "choice(lstm,gru)"}}
    assert extremes([], {"model": "a,b,c", "width": "range(1,4)"}, branches) == {
        "smallest model=a": {"model": "a", "width": 1, "heads": 1},
        "largest model=a": {"model": "a", "width": 3, "heads": 8},
        "smallest model=b": {"model": "b", "width": 1, "cell": "lstm"},
        "largest model=b": {"model": "b", "width": 3, "cell": "gru"},
        "smallest model=c": {"model": "c", "width": 1},
        "largest model=c": {"model": "c", "width": 3},
    }


def test_the_valid_point_nearest_to_the_extreme_stands_for_it():
    lines = ["width=choice(32,64,100)", "heads=choice(1,2,8)"]
    found = extremes(lines, is_valid=lambda point: point["width"] % point["heads"] == 0 and point["heads"] > 1)
    assert found["smallest"] == {"width": 32, "heads": 2}
    assert found["largest"] in ({"width": 64, "heads": 8}, {"width": 100, "heads": 2})


def test_a_branch_without_a_valid_point_is_left_out():
    branches = {"model=a": {"heads": "choice(1,8)"}}
    found = extremes([], {"model": "a,b"}, branches, is_valid=lambda point: point["model"] == "b")
    assert found == {"smallest model=b": {"model": "b"}}  # one point: it is the largest, too


def test_a_space_of_one_point_is_measured_once():
    assert list(extremes([])) == ["smallest"]


@given(st.lists(st.integers(1, 4), max_size=5))
def test_candidates_come_nearest_first_and_each_once(lengths):
    places = list(_near_first(lengths))
    assert sorted(places) == sorted(itertools.product(*map(range, lengths)))
    assert [sum(place) for place in places] == sorted(sum(place) for place in places)


@pytest.mark.parametrize(("text", "middle"), [("range(1,6)", 3), ("interval(1,5)", 3.0)])
def test_the_middle_of_a_range_may_stand_in(text, middle):
    assert extremes([f"x={text}"], is_valid=lambda point: point["x"] == middle)["smallest"] == {"x": middle}
