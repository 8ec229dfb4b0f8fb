"""What is made of what Slurm says, here by stand-ins for its commands; tests/end_to_end/test_slurm.py has Slurm."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from hydra.core.utils import JobStatus
from optuna.trial import TrialState

from sentiment.search.plugin.sweeper import StudyEndedError
from sentiment.search.workers import slurm
from sentiment.search.workers.executor import LauncherError
from sentiment.search.workers.job import TrialTask
from sentiment.search.workers.slurm import QueueWatcher, collect_losses, explain_refusal

Say = Callable[..., None]

needs_submitit = pytest.mark.skipif(
    importlib.util.find_spec("hydra_plugins.hydra_submitit_launcher") is None,
    reason="the extra that brings submitit is not installed",
)


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Makes a command of Slurm's that says something, and ends with a code."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def make(command: str, words: str = "", *, code: int = 0) -> None:
        (folder / command).write_text(f"#!/bin/sh\ncat <<'END' >&{2 if code else 1}\n{words}\nEND\nexit {code}\n")
        (folder / command).chmod(0o755)

    return make


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD"])
def test_a_job_that_is_in_the_queue_is_not_over(state: str, say: Say) -> None:
    watcher = QueueWatcher()
    watcher.register_job("7")
    say("squeue", f"7|{state}|None")
    assert not watcher.is_done("7")
    assert watcher.get_state("7") == state


@pytest.mark.parametrize(
    ("queue", "state"), [("12_3|OUT_OF_MEMORY|OutOfMemory", "OUT_OF_MEMORY"), ("12_4|RUNNING|None", "unknown to Slurm")]
)
def test_a_job_is_over_when_slurm_says_so_or_has_forgotten_it(queue: str, state: str, say: Say) -> None:
    watcher = QueueWatcher()
    watcher.register_job("12_3")
    say("squeue", "12_3|RUNNING|None")
    assert not watcher.is_done("12_3")
    say("squeue", queue)
    assert watcher.is_done("12_3", "force")
    assert watcher.get_state("12_3") == state


def test_a_job_that_no_look_has_listed_is_over_only_after_some_time(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = QueueWatcher()
    watcher.register_job("7")
    say("squeue", "6|RUNNING|None")
    assert not watcher.is_done("7")
    assert watcher.get_state("7") == "UNKNOWN"
    monkeypatch.setattr(slurm, "UNLISTED_SECONDS", 0)
    assert watcher.is_done("7", "force")
    assert watcher.get_state("7") == "unknown to Slurm"


def test_the_queue_is_read_whole_whatever_the_environment_asks_for(
    tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQUEUE_PARTITION", "other")
    say("squeue")
    (tmp_path / "bin/squeue").write_text('#!/bin/sh\n[ "$2$SQUEUE_PARTITION" = --all ] && echo "7|PENDING|None"\n')
    watcher = QueueWatcher()
    watcher.register_job("7")
    assert not watcher.is_done("7")
    assert watcher.get_state("7") == "PENDING"


def test_a_queue_that_cannot_be_read_ends_no_job(say: Say, caplog: pytest.LogCaptureFixture) -> None:
    watcher = QueueWatcher()
    watcher.register_job("7")
    say("squeue", "7|RUNNING|None")
    assert not watcher.is_done("7")
    say("squeue", "slurm_load_jobs error: Unable to contact slurm controller", code=1)
    assert not watcher.is_done("7", "force")
    assert "Unable to contact slurm controller" in caplog.text


def test_a_job_that_slurm_holds_is_told_once(say: Say, caplog: pytest.LogCaptureFixture) -> None:
    watcher = QueueWatcher()
    watcher.register_job("7")
    say("squeue", "7|PENDING|launch failed requeued held")
    assert not watcher.is_done("7")
    assert not watcher.is_done("7", "force")
    assert caplog.text.count("scontrol release 7") == 1


@pytest.mark.parametrize(
    ("reason", "is_stuck"),
    [
        ("PartitionTimeLimit", True),
        ("QOSMaxWallDurationPerJobLimit", True),
        ("AssocMaxCpuPerJobLimit", True),
        ("QOSMaxMemoryPerJob", True),
        ("QOSMaxJobsPerUserLimit", False),
        ("Resources", False),
    ],
)
def test_why_slurm_never_starts_jobs_that_it_took_is_told_once(
    reason: str, is_stuck: bool, say: Say, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = QueueWatcher()
    for job_id in ("7", "8"):
        watcher.register_job(job_id)
    say("squeue", f"7|PENDING|{reason}\n8|PENDING|{reason}")
    assert not watcher.is_done("7")
    assert not watcher.is_done("8", "force")
    assert caplog.text.count(f"does not start job 7 as it is ({reason})") == is_stuck
    assert "job 8" not in caplog.text


def test_a_grid_that_is_too_large_for_an_array_is_told_how_to_go_on(say: Say) -> None:
    say("scontrol", "MaxArraySize            = 1001")
    text = str(explain_refusal("sbatch: error: Batch job submission failed: Invalid job array specification", 1002))
    assert "the grid has 1002 jobs, and an array has at most 1001 here" in text
    assert "search=grid" in text
    assert "hydra.sweeper.max_batch_size=1001" in text


def test_a_study_with_more_jobs_than_slurm_lets_a_person_have_is_told_so() -> None:
    words = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
    for line in (f"sbatch: error: Batch job submission failed: {words}", "sbatch: error: QOSMaxSubmitJobPerUserLimit"):
        assert "hydra.sweeper.n_jobs=NUMBER" in explain_refusal(line, 1).remedy


@needs_submitit
def test_what_slurm_may_have_taken_is_submitted_again_where_a_job_runs_once(
    say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job of a study waits for its double; those of a grid would write into each other's folders."""
    from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher
    from submitit.slurm.slurm import SlurmJob

    answers: list[str | None] = []

    def launch(self: object, job_overrides: object, initial_job_idx: int) -> str:
        words = answers.pop(0)
        if words is None:
            return "done"
        raise RuntimeError from subprocess.CalledProcessError(1, "sbatch", stderr=f"sbatch: error: {words}")

    for command in ("sbatch", "srun"):
        say(command)
    monkeypatch.setattr(SlurmLauncher, "launch", launch)
    monkeypatch.setattr(SlurmJob, "watcher", None)
    monkeypatch.setattr(slurm, "RETRY_SECONDS", 0)
    slurm.prepare()
    launch_patiently: Any = SlurmLauncher.launch
    job, silence = SimpleNamespace(task_function=TrialTask(print, Mock(), 1)), "Socket timed out on send/recv operation"
    answers[:] = [silence, "Unable to contact slurm controller (connect failure)", None]
    assert launch_patiently(job, [["x=1"]], 0) == "done"
    grid = SimpleNamespace(task_function=print)
    answers[:] = ["Unable to contact slurm controller (connect failure)", None]
    assert launch_patiently(grid, [["x=1"], ["x=2"]], 0) == "done"
    answers[:] = [silence]
    with pytest.raises(LauncherError, match=r"not said whether it took the jobs: Socket timed out(.|\n)*squeue --me"):
        launch_patiently(grid, [["x=1"], ["x=2"]], 0)


@needs_submitit
def test_a_study_that_slurm_takes_no_job_of_ends_at_once_and_keeps_its_trial(
    say: Say, sweep: Callable[..., object], study_dir: Path
) -> None:
    say("srun")
    say("sbatch", "sbatch: error: invalid partition specified: nowhere", code=1)
    arguments = ("hydra/launcher=submitit_slurm", "x=choice(1)", "hydra.sweeper.n_trials=3")
    with pytest.raises(
        StudyEndedError, match=r"Slurm takes no job: invalid partition specified: nowhere\n  -> look at"
    ):
        sweep(*arguments)
    study = sweep(*arguments[1:], "hydra.sweeper.allow_changes=true")
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3


@needs_submitit
def test_a_command_without_slurm_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sweep: Callable[..., object], study_dir: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StudyEndedError, match="sbatch and srun are not found"):
        sweep("hydra/launcher=submitit_slurm", "x=choice(1)", "hydra.sweeper.n_trials=1")
    assert not study_dir.exists()


@needs_submitit
def test_a_grid_waits_for_all_its_jobs_though_one_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from submitit import LocalExecutor
    from submitit.core.core import Job

    monkeypatch.setattr(Job, "results", Job.results)  # put back afterwards
    collect_losses()
    executor = LocalExecutor(tmp_path)
    dead, alive = executor.submit(os.abort), executor.submit(os.getpid)
    monkeypatch.setattr(type(dead), "_results_timeout_s", 1)
    [lost] = dead.results()
    assert lost.status == JobStatus.FAILED
    with pytest.raises(LauncherError, match="has ended without a result"):
        _ = lost.return_value
    assert isinstance(alive.results()[0], int)
