"""SIGKILL at any moment: the same command goes on to the exact total, and nothing is lost or doubled."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def kill(command, whom: str) -> None:
    """Kill the command alone, one of its workers, or everything."""
    if whom == "everything":
        command.send_all(signal.SIGKILL)
    elif whom == "controller":
        command.send(signal.SIGKILL)
    elif workers := command.list_workers():
        os.kill(workers[0], signal.SIGKILL)


def list_finished(study) -> dict[int, object]:
    """Give what the study knows of trials whose jobs have ended, told or not."""
    return {
        trial.number: (trial.params, trial.value if trial.state.is_finished() else None)
        for trial in study.trials()
        if trial.state.is_finished() or "study:outcome:0" in trial.system_attrs
    }


def kill_and_resume(study, victims: list[str], moments: random.Random, *, n_trials: int, seconds: float) -> None:
    """Kill once for each victim at a random moment, resume each time, and hold the study against what it knew."""
    options = {"n_trials": n_trials, "n_jobs": 2, "seconds": seconds}
    accept = ("hydra.sweeper.max_failure_rate=1", "hydra.sweeper.retry=none", "hydra.sweeper.max_attempts=99")
    finished: dict[int, object] = {}
    for whom in victims:
        seen, ended = len(study.starts), len(finished)
        command = study.start(*accept, **options)
        study.wait_until(lambda: len(study.starts) > seen or not command.is_running)  # noqa: B023 - called at once
        time.sleep(moments.uniform(0, 2 * seconds * (n_trials - ended) / len(victims) / 2))
        kill(command, whom)
        if whom == "worker":
            time.sleep(moments.uniform(0, seconds))
            command.send_all(signal.SIGKILL)
        command.finish()
        study.wait_until(lambda: not command.has_processes)  # noqa: B023
        restarted = {number for number, _ in study.starts[seen:]} & finished.keys()
        assert not restarted, "a finished trial ran again"
        now = list_finished(study)
        for number, (parameters, value) in finished.items():
            assert now[number][0] == parameters
            assert value is None or now[number][1] == value
        finished = now
    seen = len(study.starts)
    assert study.start(*accept, **options).finish() == 0
    assert not {number for number, _ in study.starts[seen:]} & finished.keys()
    study.require_whole(n_trials)
    deaths = [trial for trial in study.trials() if trial.state.name == "FAIL"]
    assert all(trial.user_attrs["failure.kind"] == "worker_died" for trial in deaths)
    assert len(deaths) <= victims.count("worker")


def test_two_kills_of_a_small_study(study):
    kill_and_resume(study, ["controller", "everything"], random.Random(1), n_trials=8, seconds=0.1)


@pytest.mark.parametrize("seed", [0, 1])
def test_ten_kills_of_thirty_trials(study, seed: int):
    moments = random.Random(seed)
    victims = ["controller", "worker", "everything"] * 3 + ["controller"]
    moments.shuffle(victims)
    kill_and_resume(study, victims, moments, n_trials=30, seconds=0.3)


def test_workers_end_with_their_study_and_their_trials_are_run_once_more(study):
    first = study.start(n_trials=4, n_jobs=2, seconds=3)
    study.wait_until(lambda: len(study.starts) == 2)
    workers = first.list_workers()
    first.send(signal.SIGKILL)
    second = study.start(n_trials=4, n_jobs=2, seconds=0.1)
    deadline = time.monotonic() + 5  # the second command may be at its end before
    while (alive := [worker for worker in workers if Path(f"/proc/{worker}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive
    assert second.finish() == 0, second.output
    study.require_whole(4)
    assert sorted(study.ends.elements()) == [0, 1, 2, 3]


def test_a_killed_worker_costs_its_one_trial(study):
    gate = study.folder / "gate"
    gate.touch()
    options = ("hydra.sweeper.max_failure_rate=0.5", "hydra.sweeper.retry=none", f"gate={gate}")
    command = study.start(*options, n_trials=6, n_jobs=2, seconds=0.4)
    study.wait_until(lambda: len(study.starts) == 2)
    os.kill(command.list_workers()[0], signal.SIGKILL)  # in its job, which the gate holds
    gate.unlink()
    assert command.finish() == 0, command.output
    study.require_whole(6)
    (dead,) = [trial for trial in study.trials() if trial.state.name == "FAIL"]
    assert dead.user_attrs["failure.kind"] == "worker_died"
    assert "SIGKILL" in dead.user_attrs["failure.reason"]
    assert len(study.starts) == 6
