"""The whole search is composed and validated before its first trial."""

from __future__ import annotations

import pytest

from sentiment.errors import ConfigError, Fault
from sentiment.search import register
from sentiment.search.compose.corner_check import check_corners
from sentiment.search.plugin.sweeper import StudyEndedError


def find_square(config):
    return [Fault("x", f"{config.x} is too far out", "stay within 3")] if abs(config.x) > 3 else []


def test_the_faults_of_all_corners_are_listed_each_once(sweep, study_dir):
    register(find_faults=find_square)
    with pytest.raises(StudyEndedError) as caught:
        sweep("x=interval(-5,4)", "y=choice(1,2)")
    faults = caught.value.__cause__.faults
    assert [fault.problem for fault in faults] == ["-5.0 is too far out", "4.0 is too far out"]
    assert not study_dir.exists()


def test_an_application_that_checks_itself_is_not_checked_again(sweep):
    register(find_faults=find_square, is_checked=True)
    assert len(sweep("x=interval(-5,4)", "hydra.sweeper.n_trials=1").trials) == 1


def test_a_choice_that_does_not_compose_is_named(sweep, study_dir):
    with pytest.raises(StudyEndedError) as caught:
        sweep("x=interval(-5,5)", "+hydra.sweeper.params={no_such_key:1}")
    assert "no_such_key" in str(caught.value)
    with pytest.raises(StudyEndedError, match="shape: cannot be composed with shape=triangle"):
        sweep("shape=flat,triangle")
    assert not study_dir.exists()


def test_a_search_without_faults_passes():
    composed = []
    check_corners([{"x": 1}, {"x": 2}], lambda point: (f"x={point['x']}",), composed.append, lambda config: [])
    assert composed == [("x=1",), ("x=2",)]


def test_faults_of_composing_and_of_validating_come_together(sweep):
    register(find_faults=find_square)
    with pytest.raises(StudyEndedError) as caught:
        sweep("shape=flat,triangle", "x=4")
    cause = caught.value.__cause__
    assert isinstance(cause, ConfigError)
    assert {fault.key for fault in cause.faults} == {"shape", "x"}
