"""The time that a study will still take, from what has ended and from what runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from optuna.trial import TrialState, create_trial

from sentiment.search.live_table import estimate_seconds_left
from sentiment.search.progress import RunningJob, StudyState
from sentiment.search.study.trial import ATTEMPT_KEY, PROGRESS_KEY


def make_trial(number, state, seconds=None, **attributes):
    trial = create_trial(state=state, value=0.0 if state == TrialState.COMPLETE else None, user_attrs=attributes)
    trial.number = number
    trial.datetime_start = datetime(2026, 1, 1)
    if seconds is not None:
        trial.datetime_complete = trial.datetime_start + timedelta(seconds=seconds)
    return trial


def estimate(trials, running=(), *, total, slots=1, fractions=None):
    for trial in trials:
        told = (fractions or {}).get(trial.number)
        trial.system_attrs = {} if told is None else {PROGRESS_KEY: [told, ""]}
    jobs = [RunningJob(number, "", seconds, {}) for number, seconds in running]
    return estimate_seconds_left(StudyState("s", Path(), ["minimize"], total, trials, [], jobs, 0.0), slots)


def complete(number, seconds, **attributes):
    return make_trial(number, TrialState.COMPLETE, seconds, **attributes)


def test_new_trials_take_the_mean_of_those_that_ended_shared_by_the_slots():
    trials = [complete(0, 10), make_trial(1, TrialState.PRUNED, 20)]
    assert estimate(trials, total=6) == pytest.approx(4 * 15)
    assert estimate(trials, total=6, slots=2) == pytest.approx(2 * 15)


def test_failures_and_reused_trials_say_nothing_of_the_duration():
    trials = [complete(0, 10), make_trial(1, TrialState.FAIL, 1000), complete(2, 0, reused_from=0)]
    assert estimate(trials, total=4) == pytest.approx(10)


def test_a_running_trial_takes_what_its_own_pace_says():
    trials = [complete(0, 10), make_trial(1, TrialState.RUNNING)]
    assert estimate(trials, [(1, 30.0)], total=2, fractions={1: 0.75}) == pytest.approx(10)


def test_a_running_trial_that_does_not_tell_takes_the_rest_of_the_mean_and_never_less_than_nothing():
    trials = [complete(0, 10), make_trial(1, TrialState.RUNNING)]
    assert estimate(trials, [(1, 4.0)], total=2) == pytest.approx(6)
    assert estimate(trials, [(1, 40.0)], total=2) == 0


def test_before_the_first_trial_ends_the_running_ones_tell():
    trials = [make_trial(0, TrialState.RUNNING)]
    assert estimate(trials, [(0, 5.0)], total=3, fractions={0: 0.25}) == pytest.approx(15 + 2 * 20)
    assert estimate(trials, [(0, 5.0)], total=3) is None


def test_a_trial_that_waits_to_be_run_again_is_still_to_come():
    trials = [complete(0, 10), make_trial(1, TrialState.WAITING)]
    assert estimate(trials, total=2) == pytest.approx(10)


def test_a_trial_of_repeats_takes_the_pace_of_its_job_for_each():
    trial = make_trial(0, TrialState.RUNNING)
    trial.system_attrs = {PROGRESS_KEY: [0.5, "", 1]}
    jobs = [RunningJob(0, "", 10.0, {}, repeat=1)]
    state = StudyState("s", Path(), ["minimize"], 2, [trial], [], jobs, 0.0, repeats=3)
    assert estimate_seconds_left(state, 1) == pytest.approx(10 + 20 + 3 * 20)
    trial.system_attrs = {PROGRESS_KEY: [1.0, "", 0]}  # the first one's
    assert estimate_seconds_left(state, 1) is None


def test_a_job_that_goes_on_takes_the_time_of_its_earlier_attempts_too():
    trial = make_trial(0, TrialState.RUNNING)
    trial.system_attrs = {PROGRESS_KEY: [0.5, "", 0], ATTEMPT_KEY.format(repeat=0): {"count": 2, "seconds": 30.0}}
    state = StudyState("s", Path(), ["minimize"], 1, [trial], [], [RunningJob(0, "", 1.0, {})], 0.0)
    assert estimate_seconds_left(state, 1) == pytest.approx(30)


def test_the_last_trials_are_not_shared_by_idle_slots():
    trials = [complete(0, 10), make_trial(1, TrialState.RUNNING)]
    assert estimate(trials, [(1, 4.0)], total=2, slots=4) == pytest.approx(6)
    assert estimate(trials, [(1, 4.0)], total=3, slots=4) == pytest.approx(10)
