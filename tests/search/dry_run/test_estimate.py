"""What a whole search takes, given what a few of its jobs take."""

from __future__ import annotations

import pytest

from sentiment.search.dry_run.estimate import add_overrides, expect
from sentiment.search.dry_run.probe import Measured

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


@pytest.mark.parametrize("given", ["tracking=mlflow", "+tracking=mlflow", "++tracking=mlflow"])
def test_the_overrides_of_the_probe_win(given):
    assert add_overrides([given, "x=1"], ["tracking=none"]) == ("x=1", "tracking=none")
