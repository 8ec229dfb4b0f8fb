"""Sweeps on a real Slurm: what it does to jobs costs no epoch, and nothing is there twice.

bash tests/slurm.sh python -m pytest -n 0 -m slow tests/end_to_end/test_slurm.py
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from sentiment.search.study.history import read_study
from tests.cluster import WAIT_SECONDS, _cluster_is_whole, call, list_running, needs_slurm  # noqa: F401 - the fixture

pytestmark = needs_slurm

ON_SLURM = ("-m", "hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1")

EPOCHS = 20


def wait_for(condition, command) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        assert command.poll() is None, command.communicate()
        time.sleep(0.1)


def read_runs(checkout):
    """The parent run, and its children by job."""
    client = MlflowClient(tracking_uri=checkout.store)
    runs = client.search_runs([client.get_experiment_by_name("sentiment").experiment_id])
    [parent] = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = {int(run.data.tags["job"]): run for run in runs if run is not parent}
    assert len(children) == len(runs) - 1, "a job has one run"
    return parent, children


def require_each_epoch_once(checkout, folder: Path, run, epochs: int) -> None:
    record = json.loads((folder / "result.json").read_text())
    assert [point["epoch"] for point in record["history"]] == [float(epoch) for epoch in range(1, epochs + 1)]
    history = MlflowClient(tracking_uri=checkout.store).get_metric_history(run.info.run_id, "val/accuracy")
    assert sorted(point.step for point in history) == [point["step"] for point in record["history"]]


@pytest.fixture(scope="module")
def small(tiny):
    """A study that leaves the size of its model open to the search, and has time to be disturbed."""
    open_keys = ("model.embedding_size", "model.depth", "trainer.max_epochs", "data.train_size")
    return [item for item in tiny if not item.startswith(open_keys)] + ["trainer.patience=null"]


def test_a_grid_is_recorded_whole_and_keeps_to_its_share_of_the_cluster(fresh_checkout, tiny):
    command = fresh_checkout.start(
        *(*ON_SLURM, "hydra.launcher.array_parallelism=2", "hydra.sweep.dir=multirun/grid", *tiny),
        "seed=0,1,2",
    )
    at_once = set()
    while command.poll() is None:
        at_once.add(len(list_running()))
        time.sleep(0.2)
    output, errors = command.communicate()
    assert command.returncode == 0, output + errors
    assert max(at_once) == 2
    assert "3 finished, ranked by val/accuracy" in output
    parent, children = read_runs(fresh_checkout)
    assert (parent.info.status, parent.data.tags["trials.complete"]) == ("FINISHED", "3")
    assert [child.info.status for child in children.values()] == ["FINISHED"] * 3


def test_a_grid_larger_than_an_array_is_refused_with_the_remedy(fresh_checkout, tiny):
    command = (*ON_SLURM, "hydra.sweep.dir=multirun/grid", *tiny, "seed=0,1,2,3,4,5,6")
    result = fresh_checkout.run(*command)
    assert result.returncode == 1
    assert "the grid has 7 jobs, and an array has at most 6 here" in result.stderr
    assert "add search=grid hydra.sweeper.n_jobs=NUMBER" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list_running()


def test_a_job_of_a_grid_that_is_cancelled_costs_itself_alone(fresh_checkout, tiny):
    study_dir = fresh_checkout.folder / "multirun" / "grid"
    command = fresh_checkout.start(
        *(*ON_SLURM, f"hydra.sweep.dir={study_dir}", *tiny, "trainer.max_epochs=1,400", "trainer.patience=null")
    )
    wait_for(lambda: (study_dir / "1" / "checkpoints" / "last.ckpt").exists(), command)
    [job] = [job for job in call("squeue", "--array", "--noheader", "--format=%i").split() if job.endswith("_1")]
    call("scancel", job)
    output, errors = command.communicate(timeout=WAIT_SECONDS)
    assert command.returncode == 1
    assert "1 finished" in output, output + errors
    assert "has ended without a result (state: CANCELLED)" in errors
    _, children = read_runs(fresh_checkout)
    assert children[0].info.status == "FINISHED"
    assert children[1].info.status in ("KILLED", "FAILED")  # it may have had the time to say so itself


def test_a_study_that_pauses_and_promotes_counts_exactly(fresh_checkout, small):
    trials = 5
    command = fresh_checkout.start(
        *(*ON_SLURM, *small, "search=transformer", "hydra.sweep.dir=multirun/study"),
        *(f"hydra.sweeper.n_trials={trials}", "hydra.sweeper.n_jobs=2", "trainer.max_epochs=3", "data.train_size=200"),
    )
    output, errors = command.communicate(timeout=2 * WAIT_SECONDS)
    assert command.returncode == 0, output + errors
    study_dir = fresh_checkout.folder / "multirun" / "study"
    found = read_study(None, study_dir).trials
    parent, children = read_runs(fresh_checkout)
    assert parent.info.status == "FINISHED"
    assert sorted(children) == [trial.number for trial in found] == list(range(trials))
    assert {child.info.status for child in children.values()} == {"FINISHED"}
    for trial in found:
        epochs = len(trial.intermediate)
        assert epochs == 3 if trial.state == "complete" else epochs in (1, 3)
        require_each_epoch_once(fresh_checkout, study_dir / str(trial.number), children[trial.number], epochs)
    states = [trial.state for trial in found]
    assert states.count("complete") >= 1
    assert set(states) == {"complete", "pruned"}
    jobs = list((study_dir / ".submitit").glob("*/*_submitted.pkl"))
    assert len(jobs) > trials, "a promoted trial goes on in a further job of Slurm's"


def test_a_study_goes_on_from_a_checkpoint_where_a_job_is_requeued(fresh_checkout, small):
    study_dir = fresh_checkout.folder / "multirun" / "study"
    command = fresh_checkout.start(
        *(*ON_SLURM, *small, "search=transformer", "hydra/sweeper/pruner=none", "hydra.sweep.dir=multirun/study"),
        *("hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2", f"trainer.max_epochs={EPOCHS}", "data.train_size=1000"),
    )
    wait_for(lambda: all((study_dir / str(n) / "checkpoints" / "last.ckpt").exists() for n in range(2)), command)
    call("scontrol", "requeue", list_running()[0])
    output, errors = command.communicate(timeout=2 * WAIT_SECONDS)
    assert command.returncode == 0, output + errors

    logs = "".join(path.read_text() for path in study_dir.glob("*/run.log"))
    assert logs.count("Goes on after epoch") == 1, logs
    found = read_study(None, study_dir).trials
    assert [(trial.number, trial.state) for trial in found] == [(0, "complete"), (1, "complete")]
    parent, children = read_runs(fresh_checkout)
    assert parent.info.status == "FINISHED"
    assert {number: child.info.status for number, child in children.items()} == {0: "FINISHED", 1: "FINISHED"}
    for number, run in children.items():
        require_each_epoch_once(fresh_checkout, study_dir / str(number), run, EPOCHS)
