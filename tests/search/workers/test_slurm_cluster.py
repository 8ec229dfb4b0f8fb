"""Studies of the toy application on a real Slurm: whatever it does to jobs, each step is run once.

bash tests/slurm.sh python -m pytest -n 0 -m slow tests/search/workers/test_slurm_cluster.py
"""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial

from sentiment.search.storage.opening import open_storage
from tests.cluster import WAIT_SECONDS, _cluster_is_whole, call, list_running, needs_slurm  # noqa: F401 - the fixture

StartToy = Callable[..., "subprocess.Popen[str]"]

pytestmark = needs_slurm

ON_SLURM = ("hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1", "hydra.sweeper.n_jobs=2")

STEPS = 20


def read_trials(study_dir: Path) -> list[FrozenTrial]:
    return optuna.load_study(study_name="study", storage=open_storage(None, study_dir)).trials


def count_lines(file: Path) -> Counter[str]:
    return Counter(file.read_text().splitlines()) if file.exists() else Counter()


def end(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0, output
    return output


def requeue(job: str) -> None:
    call("scontrol", "requeue", job)


def preempt(job: str) -> None:
    call("sbatch", "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")


def set_node_down(job: str) -> None:
    node = call("squeue", "--noheader", f"--jobs={job}", "--format=%N")
    call("scontrol", "update", f"nodename={node}", "state=down", "reason=test")


def suspend(job: str) -> None:
    call("scontrol", "suspend", job)
    time.sleep(12)  # longer than between two looks at the queue
    call("scontrol", "resume", job)


@pytest.mark.parametrize(("disturb", "restarts"), [(requeue, 1), (preempt, 2), (set_node_down, 1), (suspend, 0)])
def test_a_disturbed_job_goes_on_from_its_checkpoint(
    disturb: Callable[[str], None], restarts: int, start_toy: StartToy, study_dir: Path, tmp_path: Path
) -> None:
    started, ended, stepped = tmp_path / "started", tmp_path / "ended", tmp_path / "stepped"
    command = start_toy(
        *(*ON_SLURM, "x=interval(-5,5)", "hydra.sweeper.n_trials=3", f"steps={STEPS}", "seconds=10", "checkpoint=true"),
        *(f"mark={started}", f"end_mark={ended}", f"step_mark={stepped}"),
    )
    deadline = time.monotonic() + WAIT_SECONDS
    while not {"0 2", "1 2"} <= count_lines(stepped).keys():
        assert time.monotonic() < deadline
        assert command.poll() is None, command.communicate()
        time.sleep(0.1)
    disturb(list_running()[0])
    end(command)

    assert [(trial.number, trial.state.name) for trial in read_trials(study_dir)] == [(n, "COMPLETE") for n in range(3)]
    assert sum(count_lines(started).values()) == 3 + restarts
    assert count_lines(ended) == {"0": 1, "1": 1, "2": 1}
    assert count_lines(stepped) == {f"{number} {step}": 1 for number in range(3) for step in range(STEPS)}


def test_promoted_trials_go_on_in_further_jobs_and_are_counted_exactly(
    start_toy: StartToy, study_dir: Path, tmp_path: Path
) -> None:
    started, stepped = tmp_path / "started", tmp_path / "stepped"
    end(
        start_toy(
            *(*ON_SLURM, "hydra/sweeper/pruner=promotion", "x=interval(-5,5)", "hydra.sweeper.n_trials=5"),
            *("steps=3", "checkpoint=true", f"mark={started}", f"step_mark={stepped}"),
        )
    )
    trials = read_trials(study_dir)
    states = Counter(trial.state.name for trial in trials)
    assert len(trials) == 5
    assert states["COMPLETE"] >= 1
    assert states["COMPLETE"] + states["PRUNED"] == 5
    assert set(count_lines(stepped).values()) == {1}, "each step once"
    assert count_lines(stepped) == {
        f"{trial.number} {step}": 1 for trial in trials for step in trial.intermediate_values
    }
    jobs = Counter(line.split()[0] for line in started.read_text().splitlines())
    assert jobs == {str(trial.number): 2 if trial.state.name == "COMPLETE" else 1 for trial in trials}
