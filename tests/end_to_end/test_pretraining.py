"""Words that are learned once by whole commands: one training, many runs that start from it."""

from __future__ import annotations

import json

import pytest
from mlflow import MlflowClient

from sentiment.pretraining.run import RUN_TAG
from sentiment.tracking.result_file import WORDS_TAG

LEARNING = (
    "model=rnn", "pretrain=lm", "pretrain.max_epochs=1", "pretrain.cutoffs=[50]", "data.unlabelled_size=100",
    "hydra.sweeper.progress=lines",
)  # fmt: skip


def read_runs(checkout):
    client = MlflowClient(tracking_uri=checkout.store)
    runs = client.search_runs([client.get_experiment_by_name("sentiment").experiment_id])
    jobs = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    learning = [run for run in runs if run.info.run_name == "rnn pretrain=lm"]
    return client, jobs, learning


@pytest.mark.slow
def test_a_sweep_learns_words_once_and_records_that_as_a_run_of_its_own(fresh_checkout, tiny):
    result = fresh_checkout.run("-m", *LEARNING[:-1], *tiny, "model.pooling=mean,max")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("Learns words first") == 1
    assert result.stdout.count("Starts from these words") == 2
    client, jobs, [learning] = read_runs(fresh_checkout)
    assert len(jobs) == 2
    assert learning.info.status == "FINISHED"
    assert len(client.get_metric_history(learning.info.run_id, "val/perplexity")) == 4
    [folder] = [path.parent for path in fresh_checkout.folder.glob(".cache/pretrained/*/words.json")]
    assert {run.data.tags[WORDS_TAG] for run in jobs} == {folder.name}
    assert {run.data.tags[RUN_TAG] for run in jobs} == {learning.info.run_id}
    assert len(json.loads((folder / "words.json").read_text())["curve"]) == 4


@pytest.mark.slow
def test_two_trials_at_once_make_one_training_and_the_other_waits(fresh_checkout, tiny):
    result = fresh_checkout.run(
        "-m", "search=rnn", *LEARNING, *tiny, "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2",
        "hydra/sweeper/pruner=none", "data.unlabelled_size=1500",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    logs = "".join(file.read_text() for file in fresh_checkout.folder.glob("multirun/*/*/*.log"))
    told = result.stdout + logs
    _, jobs, learning = read_runs(fresh_checkout)
    assert (len(jobs), len(learning)) == (2, 1)
    assert "waiting for it" in told
