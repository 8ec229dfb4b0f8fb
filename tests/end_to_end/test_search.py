"""Searches end to end: real training in worker processes, recorded, pruned, killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState

from sentiment.format import format_percent
from sentiment.search.storage.opening import open_storage

PARENT_TAG = "mlflow.parentRunId"
STUDY = ("-m", "hydra.sweeper.progress=lines")


def read_study(folder: Path) -> optuna.Study:
    [journal] = folder.glob("multirun/*/journal.log")
    storage = open_storage(None, journal.parent)
    [summary] = optuna.get_all_study_summaries(storage)
    return optuna.load_study(study_name=summary.study_name, storage=storage)


def read_runs(checkout):
    client = MlflowClient(tracking_uri=checkout.store)
    runs = client.search_runs([client.get_experiment_by_name("sentiment").experiment_id])
    children = {int(run.data.tags["job"]): run for run in runs if PARENT_TAG in run.data.tags}
    [parent] = [run for run in runs if PARENT_TAG not in run.data.tags]
    assert len(children) == len(runs) - 1, "no job is recorded twice"
    assert {run.data.tags[PARENT_TAG] for run in children.values()} == {parent.info.run_id}
    return parent, children


@pytest.mark.slow
def test_a_search_over_both_models_prunes_and_shows_the_best_on_the_parent(fresh_checkout, tiny):
    result = fresh_checkout.run(
        *STUDY, "search=both", *tiny, "trainer.max_epochs=2", "hydra.sweeper.n_trials=5", "hydra.sweeper.n_jobs=2",
        "hydra/sweeper/pruner=percentile", "hydra.sweeper.pruner.percentile=1",
        "hydra.sweeper.pruner.n_startup_trials=2",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    study = read_study(fresh_checkout.folder)
    states = [trial.state for trial in study.trials]
    assert len(states) == 5
    assert set(states) == {TrialState.COMPLETE, TrialState.PRUNED}
    assert {trial.params["model"] for trial in study.trials} == {"transformer", "rnn"}
    assert all(("model.cell" in trial.params) == (trial.params["model"] == "rnn") for trial in study.trials)

    parent, children = read_runs(fresh_checkout)
    assert {number: run.data.tags["trial.state"] for number, run in children.items()} == {
        trial.number: trial.state.name for trial in study.trials
    }
    assert {run.info.status for run in children.values()} == {"FINISHED"}, "pruning is no failure"
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["best.run_id"] == children[study.best_trial.number].info.run_id
    assert parent.data.metrics["best/val/accuracy"] == study.best_value
    tags = parent.data.tags
    counts = Counter(state.name.lower() for state in states)
    assert {name: tags[name] for name in tags if name.startswith("trials")} == {
        "trials": "5", "trials.complete": str(counts["complete"]), "trials.pruned": str(counts["pruned"]),
    }, "nothing of the running trials stays"  # fmt: skip
    assert study.best_trial.user_attrs["model/parameters"] > 0
    assert not any(name.startswith("test/") for run in children.values() for name in run.data.metrics)
    assert "pruned" in result.stdout
    assert f"best {format_percent(study.best_value)} (#{study.best_trial.number})" in result.stdout


@pytest.mark.slow
def test_a_killed_search_goes_on_from_the_checkpoint_and_in_the_same_records(fresh_checkout, tiny):
    epochs = 120  # longer than the time between two deliveries
    command = (
        *STUDY, "search=rnn", *tiny, f"trainer.max_epochs={epochs}", "trainer.patience=null",
        "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1", "hydra/sweeper/pruner=none",
    )  # fmt: skip
    process = fresh_checkout.start(*command)
    deadline = time.monotonic() + 120
    # A checkpoint to go on from, and the run delivered to MLflow, which happens beside the training.
    job = "multirun/*/0"
    while not all(
        list(fresh_checkout.folder.glob(f"{job}/{name}")) for name in ("checkpoints/last.ckpt", "mlflow.json")
    ):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before = read_study(fresh_checkout.folder).trials[0]
    assert before.state == TrialState.RUNNING
    killed_parent, killed = read_runs(fresh_checkout)

    result = fresh_checkout.run(*command)
    assert result.returncode == 0, result.stderr
    study = read_study(fresh_checkout.folder)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    assert study.trials[0].params == before.params
    parent, children = read_runs(fresh_checkout)
    assert parent.info.run_id == killed_parent.info.run_id
    assert children[0].info.run_id == killed[0].info.run_id
    assert {run.info.status for run in (parent, *children.values())} == {"FINISHED"}
    assert parent.data.tags["trials.complete"] == parent.data.tags["trials"] == "2"
    assert not any(name.startswith(("trials.running", "failure")) for name in parent.data.tags)
    [first] = fresh_checkout.folder.glob("multirun/*/0/result.json")
    record = json.loads(first.read_text())
    assert record["epochs"] == epochs
    assert [point["epoch"] for point in record["history"]] == [float(epoch) for epoch in range(1, epochs + 1)]
    assert "Goes on after epoch" in result.stdout, "from the checkpoint, not anew"
