"""Ctrl-C and SIGTERM: the study says so in a line, gives its trials back, and goes on as if nothing had been."""

from __future__ import annotations

import signal
import time

import pytest

pytestmark = pytest.mark.slow

SEED = "hydra.sweeper.sampler.seed=7"


@pytest.mark.parametrize(
    ("stop", "exit_codes", "n_jobs"),
    [
        pytest.param("ctrl-c", {130, -signal.SIGINT}, 2, id="ctrl-c"),
        pytest.param("ctrl-c", {130, -signal.SIGINT}, 1, id="ctrl-c in-process"),
        pytest.param("ctrl-c twice", {130, -signal.SIGINT}, 2, id="ctrl-c twice"),
        pytest.param("sigterm", {143}, 2, id="sigterm"),
        pytest.param("sigterm", {143}, 1, id="sigterm in-process"),
        pytest.param("terminal closed", {129}, 2, id="terminal closed"),
    ],
)
def test_a_stopped_study_gives_its_trials_back(study, stop: str, exit_codes: set[int], n_jobs: int):
    command = study.start(n_trials=4, n_jobs=n_jobs, seconds=30)
    study.wait_until(lambda: len(study.starts) == n_jobs)
    if stop == "sigterm":
        command.send(signal.SIGTERM)
    elif stop == "terminal closed":
        command.send_all(signal.SIGHUP)
    else:
        command.send_all(signal.SIGINT)
    if stop == "ctrl-c twice":
        time.sleep(0.1)
        command.send_all(signal.SIGINT)
    assert command.finish(15) in exit_codes, command.output
    assert "Traceback" not in command.output
    study.wait_until(lambda: not command.has_processes)  # multiprocessing's own helper ends a moment later
    assert study.states() == {"WAITING": n_jobs}

    code, output = study.run(n_trials=4, n_jobs=n_jobs)
    assert code == 0, output
    study.require_whole(4)
    assert len(study.starts) == 4 + n_jobs


def test_a_stopped_and_resumed_study_draws_the_points_of_one_that_ran_through(study, other_study):
    code, output = other_study.run(SEED, n_trials=14)
    assert code == 0, output
    command = study.start(SEED, n_trials=14, seconds=0.05)
    study.wait_until(lambda: len(study.starts) == 11)
    command.send_all(signal.SIGINT)
    command.finish()
    code, output = study.run(SEED, n_trials=14)
    assert code == 0, output
    study.require_whole(14)
    assert [trial.params for trial in study.trials()] == [trial.params for trial in other_study.trials()]


def test_ctrl_c_at_any_moment_loses_nothing(study):
    """Also while a trial is drawn, handed over or told."""
    for round_number in range(5):
        command = study.start(n_trials=40, n_jobs=2, seconds=0.05)
        seen = len(study.starts)
        study.wait_until(lambda: len(study.starts) > seen)  # noqa: B023 - called at once
        time.sleep(0.061 * round_number)
        command.send_all(signal.SIGINT)
        assert command.finish(15) in {130, -signal.SIGINT}, command.output
        assert "Traceback" not in command.output
        assert study.states().keys() <= {"COMPLETE", "WAITING"}, command.output
    code, output = study.run(n_trials=40, n_jobs=2, seconds=0.05)
    assert code == 0, output
    study.require_whole(40)
    assert study.states() == {"COMPLETE": 40}
