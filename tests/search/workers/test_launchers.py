"""Studies under Hydra's official launchers, with real processes."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from sentiment.search.storage.opening import open_storage
from sentiment.search.study.history import read_study
from sentiment.search.study.outcome import OUTCOME_KEY, Outcome
from sentiment.search.study.trial import JOB_KEY, OWNER_KEY, SupersededError, TrialAddress, hold_study
from tests.search.faults.conftest import PROMOTION, ToyStudy
from tests.search.faults.conftest import study as study

StartToy = Callable[..., "subprocess.Popen[str]"]

PLUGINS = {"joblib": "hydra_joblib_launcher", "ray": "hydra_ray_launcher", "submitit_local": "hydra_submitit_launcher"}

TIME_SECONDS = 90


def needs(launcher: str) -> pytest.MarkDecorator:
    plugin = f"hydra_plugins.{PLUGINS[launcher]}"
    reason = f"the extra that brings hydra/launcher={launcher} is not installed"
    return pytest.mark.skipif(importlib.util.find_spec(plugin) is None, reason=reason)


JOBLIB = pytest.param("joblib", marks=needs("joblib"))
SUBMITIT = pytest.param("submitit_local", marks=needs("submitit_local"))
RAY = pytest.param("ray", marks=needs("ray"))

RAY_HERE = [
    f"+hydra.launcher.ray.init.{option}" for option in ("include_dashboard=false", "object_store_memory=80000000")
]


def launch_with(launcher: str) -> list[str]:
    here = [*RAY_HERE, "+hydra.launcher.ray.init.num_cpus=2"] if launcher == "ray" else []
    return [f"hydra/launcher={launcher}", *here, "hydra.sweeper.n_jobs=2"]


def read_trials(study_dir: Path) -> list[FrozenTrial]:
    return optuna.load_study(study_name="study", storage=open_storage(None, study_dir)).trials


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIME_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def end(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=TIME_SECONDS)
    assert process.returncode == 0, output
    return output


def count_lines(file: Path) -> Counter[str]:
    """How many lines the jobs of each trial wrote."""
    return Counter(line.split()[0] for line in file.read_text().splitlines()) if file.exists() else Counter()


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [JOBLIB, SUBMITIT, RAY])
def test_trials_end_as_anywhere_else_and_nobody_waits_for_a_batch(
    launcher: str, start_toy: StartToy, study_dir: Path
) -> None:
    long_seconds = 3 if launcher == "joblib" else 6  # several starts of a process on a busy machine
    start = [
        *launch_with(launcher),
        "hydra.sweeper.n_trials=5",
        "hydra.sweeper.max_failure_rate=0.5",
        "hydra.sweeper.retry=none",
        "hydra/sweeper/sampler=grid",
        "hydra.sweeper.sampler.seed=0",  # draws x=2 first
        "x=0,1,2,3,4",
        f"+pace=[0.1,0.1,{long_seconds},0.1,0.1]",
        "+fate=[none,none,none,none,error]",
        'seconds="${pace.${x}}"',
        'accident="${fate.${x}}"',
        "steps=2",
        "hydra.sweeper.pruner._target_=optuna.pruners.ThresholdPruner",
        "+hydra.sweeper.pruner.upper=9",
    ]
    output = end(start_toy(*start))

    trials = {int(trial.params["x"]): trial for trial in read_trials(study_dir)}
    states = {x: trial.state for x, trial in trials.items()}
    complete = dict.fromkeys([0, 1, 2], TrialState.COMPLETE)
    assert states == {**complete, 3: TrialState.PRUNED, 4: TrialState.FAIL}, output
    assert trials[2].values == [5.0]
    assert trials[4].user_attrs["failure.reason"] == "RuntimeError: cfg.error is True"
    long = trials[2]
    assert long.datetime_start is not None
    assert long.datetime_complete is not None
    others = [trial.datetime_start for trial in trials.values() if trial is not long]
    assert sum(long.datetime_start < moment < long.datetime_complete for moment in others if moment) >= 2, output


@pytest.mark.slow  # submitit waits 15 s for the result of a job that is gone
@needs("submitit_local")
def test_a_killed_job_costs_its_own_trial_alone(start_toy: StartToy, study_dir: Path) -> None:
    fates = ["x=1,2,3", "+fate=[none,none,kill,none]", 'accident="${fate.${x}}"', "hydra/sweeper/sampler=grid"]
    end(
        start_toy(
            *launch_with("submitit_local"),
            *fates,
            "hydra.sweeper.n_trials=3",
            "hydra.sweeper.max_failure_rate=1",
            "hydra.sweeper.retry=none",
        )
    )

    trials = {int(trial.params["x"]): trial for trial in read_trials(study_dir)}
    assert [trials[x].state.name for x in (1, 2, 3)] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert trials[2].user_attrs["failure.kind"] == "worker_died"


@pytest.mark.slow
@pytest.mark.parametrize(("ending", "is_over"), [(signal.SIGKILL, False), (signal.SIGINT, True)])
@needs("submitit_local")
def test_jobs_that_outlive_their_command_are_not_run_again(
    ending: signal.Signals, is_over: bool, start_toy: StartToy, study_dir: Path, tmp_path: Path
) -> None:
    started, ended = tmp_path / "started", tmp_path / "ended"
    arguments = [
        *launch_with("submitit_local"),
        *("x=interval(-5,5)", "y=interval(-5,5)", "hydra.sweeper.n_trials=3", "seconds=4"),
        *(f"mark={started}", f"end_mark={ended}"),
    ]
    first = start_toy(*arguments)
    wait_for(lambda: len(count_lines(started)) == 2)
    first.send_signal(ending)
    first.wait(timeout=3)  # at once, though its jobs go on
    assert not count_lines(ended)
    if is_over:
        wait_for(lambda: all(OUTCOME_KEY.format(repeat=0) in trial.system_attrs for trial in read_trials(study_dir)))
        told = read_study(None, study_dir)
        assert ([trial.state for trial in told.trials], told.is_at_work) == (["complete"] * 2, False)
    end(start_toy(*arguments))

    assert [trial.state.name for trial in read_trials(study_dir)] == ["COMPLETE"] * 3
    assert count_lines(started) == count_lines(ended) == {"0": 1, "1": 1, "2": 1}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [JOBLIB, RAY])
def test_jobs_of_the_command_itself_end_with_it_and_are_run_again(
    launcher: str, start_toy: StartToy, study_dir: Path, tmp_path: Path
) -> None:
    started, ended = tmp_path / "started", tmp_path / "ended"
    arguments = [*launch_with(launcher), "x=interval(-5,5)", "hydra.sweeper.n_trials=2", f"mark={started}"]
    first = start_toy(*arguments, "seconds=60")
    wait_for(lambda: len(count_lines(started)) == 2)
    time.sleep(2)  # Ray's core ends the process where a thread calls it that was just submitting when it was left
    first.send_signal(signal.SIGINT)
    output, _ = first.communicate(timeout=60)
    assert first.returncode == -signal.SIGINT, output
    end(start_toy(*arguments, f"end_mark={ended}", "hydra.sweeper.allow_changes=true"))

    assert [trial.state.name for trial in read_trials(study_dir)] == ["COMPLETE"] * 2
    assert count_lines(ended) == {"0": 1, "1": 1}


@pytest.mark.slow
@needs("joblib")
def test_trials_are_promoted_under_joblib(study: ToyStudy) -> None:
    code, output = study.run("hydra/launcher=joblib", *PROMOTION, n_trials=9, n_jobs=3, seconds=0.9)
    assert code == 0, output
    study.require_promoted(9)


@pytest.mark.slow
@needs("submitit_local")
def test_a_requeued_job_goes_on_with_its_trial(start_toy: StartToy, study_dir: Path, tmp_path: Path) -> None:
    started, ended = tmp_path / "started", tmp_path / "ended"
    command = start_toy(
        *launch_with("submitit_local"),
        *("x=interval(-5,5)", "hydra.sweeper.n_trials=1", "seconds=3", f"mark={started}", f"end_mark={ended}"),
    )
    wait_for(lambda: len(count_lines(started)) == 1)
    card = read_trials(study_dir)[0].system_attrs[JOB_KEY]
    os.kill(card["pid"], signal.SIGUSR2)  # what submitit and Slurm send before a job's time is over
    end(command)

    (trial,) = read_trials(study_dir)
    assert trial.state == TrialState.COMPLETE
    assert count_lines(started) == {"0": 2}
    assert count_lines(ended) == {"0": 1}


@needs("ray")
def test_a_cluster_out_of_reach_is_said_before_any_trial(start_toy: StartToy, study_dir: Path) -> None:
    process = start_toy(*launch_with("ray"), "hydra.launcher.ray.init.address=auto", "x=interval(-5,5)")
    output, _ = process.communicate(timeout=TIME_SECONDS)
    assert process.returncode == 1
    assert "Ray cannot be started or reached" in output
    assert "ray status" in output
    assert not study_dir.exists(), "a refused command leaves nothing"


@pytest.fixture
def queued(study_dir: Path) -> TrialAddress:
    """A job in a queue whose command is gone; its trial waits for another."""
    study = optuna.create_study(study_name="study", storage=open_storage(None, study_dir))
    trial = study.ask()
    study._storage.set_trial_system_attr(trial._trial_id, OWNER_KEY, "gone")
    study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
    return TrialAddress(None, study_dir, "study", trial._trial_id, trial.number, 0, "gone", optuna.pruners.NopPruner())


def test_a_job_that_starts_late_takes_up_its_trial(queued: TrialAddress, study_dir: Path) -> None:
    with queued.attend():
        assert read_trials(study_dir)[0].state == TrialState.RUNNING


def read_outcome(address: TrialAddress) -> Outcome | None:
    with address.attend() as trial:
        return trial.read_outcome()


def note(study_dir: Path, key: str, value: object) -> None:
    study = optuna.load_study(study_name="study", storage=open_storage(None, study_dir))
    study._storage.set_trial_system_attr(study.trials[0]._trial_id, key, value)


def test_a_job_that_another_command_claims_as_it_starts_leaves_it_alone(queued: TrialAddress, study_dir: Path) -> None:
    """A trial changes hands under one lock: who claims it sees its job, or the job sees who has claimed it."""
    with ThreadPoolExecutor() as pool:
        with hold_study(None, study_dir, "study"):
            job = pool.submit(read_outcome, queued)
            with pytest.raises(TimeoutError):
                job.result(timeout=0.5)
            note(study_dir, OWNER_KEY, "another")
        with pytest.raises(SupersededError, match="taken over by another command"):
            job.result(timeout=TIME_SECONDS)


def test_a_job_that_is_started_twice_runs_once(queued: TrialAddress, caplog: pytest.LogCaptureFixture) -> None:
    """As where Slurm takes a job and its answer is lost, or a node is cut off from the others for a time."""
    with ThreadPoolExecutor() as pool:
        with queued.attend() as first:
            second = pool.submit(read_outcome, queued)
            with pytest.raises(TimeoutError):
                second.result(timeout=1.5)
            first.write_outcome(Outcome("complete", (0.5,)))
        known = second.result(timeout=TIME_SECONDS)
    assert known is not None
    assert known.values == (0.5,)
    assert "Trial 0 is at work in another job" in caplog.text


def test_a_job_that_is_started_again_after_its_trial_was_paused_leaves_it_so(
    queued: TrialAddress, study_dir: Path
) -> None:
    """Nobody would take back what it has woken: its launcher has answered already."""
    with queued.attend() as first:
        first.write_outcome(Outcome("paused", steps=1))
    study = optuna.load_study(study_name="study", storage=open_storage(None, study_dir))
    study._storage.set_trial_state_values(queued.trial_id, TrialState.WAITING)  # as its command does
    known = read_outcome(queued)
    assert known is not None
    assert (known.state, known.steps) == ("paused", 1)
    assert read_trials(study_dir)[0].state == TrialState.WAITING


def test_a_job_waits_no_longer_for_one_that_has_fallen_silent(queued: TrialAddress, study_dir: Path) -> None:
    record = {"id": "a1", "host": "elsewhere", "pid": 1, "lock_path": "/nowhere/a1.lock", "beat": 3, "repeat": 0}
    note(study_dir, JOB_KEY, record)
    began = time.monotonic()
    with replace(queued, grace_seconds=0.5).attend():
        assert time.monotonic() - began >= 0.5


@needs("submitit_local")
@pytest.mark.parametrize("key", ["nodes", "tasks_per_node"])
def test_a_launcher_that_would_start_every_job_twice_is_refused(start_toy: StartToy, study_dir: Path, key: str) -> None:
    toy = start_toy(*launch_with("submitit_local"), f"hydra.launcher.{key}=2", "x=choice(1,2)")
    output = toy.communicate(timeout=TIME_SECONDS)[0]
    assert toy.returncode == 1
    assert f"hydra.launcher.{key}=2 starts every job so many times" in output
    assert not study_dir.exists()


@pytest.mark.slow
@needs("joblib")
def test_a_job_that_ends_its_process_costs_its_own_trial_alone(start_toy: StartToy, study_dir: Path) -> None:
    options = ["x=choice(1,2,3)", "hydra.sweeper.n_trials=3", "hydra/sweeper/sampler=grid", "accident=exit"]
    toy = start_toy(*launch_with("joblib"), *options, "hydra.sweeper.max_failure_rate=1")
    output = toy.communicate(timeout=TIME_SECONDS)[0]
    assert "The run called sys.exit(0)" in output
    assert {trial.state for trial in read_trials(study_dir)} == {TrialState.FAIL}


def test_a_job_whose_trial_has_ended_by_then_says_so(queued: TrialAddress, study_dir: Path) -> None:
    """As where its command took it for lost while it stood in the queue."""
    study = optuna.load_study(study_name="study", storage=open_storage(None, study_dir))
    study._storage.set_trial_state_values(queued.trial_id, TrialState.FAIL)
    with pytest.raises(SupersededError, match="Trial 0 of the study 'study' has ended"), queued.attend():
        pytest.fail("the job must not run")


def test_a_job_that_starts_too_late_leaves_its_trial_alone(queued: TrialAddress, study_dir: Path) -> None:
    study = optuna.load_study(study_name="study", storage=open_storage(None, study_dir))
    trial = study.ask()
    study._storage.set_trial_system_attr(trial._trial_id, OWNER_KEY, "another")
    with pytest.raises(SupersededError, match="taken over by another command"), queued.attend():
        pytest.fail("the job must not run")
