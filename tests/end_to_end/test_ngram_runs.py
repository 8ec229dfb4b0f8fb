"""The linear baseline through the same command as the networks: a grid beside them, a search, the logged model."""

from __future__ import annotations

from dataclasses import asdict

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient

from sentiment.tracking.result_file import read_result

SMALL = (
    "data.train_size=300", "data.test_size=60", "data.max_sentences=3", "data.difficulty=0", "trainer.max_epochs=1",
    "trainer.threads=1", "trainer.accelerator=cpu",
)  # fmt: skip


def read_results(checkout) -> list[dict]:
    return [asdict(read_result(path)) for path in sorted(checkout.folder.glob("multirun/**/result.json"))]


@pytest.mark.slow
def test_networks_and_ngrams_stand_in_one_table_on_the_same_data(fresh_checkout):
    result = fresh_checkout.run("-m", "model=rnn,ngram", *SMALL, "tracking=none")
    assert result.returncode == 0, result.stderr
    rnn, ngram = sorted(read_results(fresh_checkout), key=lambda run: run["model"] == "ngram")
    assert (rnn["status"], ngram["status"]) == ("FINISHED", "FINISHED")
    assert rnn["tags"]["data.fingerprint"] == ngram["tags"]["data.fingerprint"]
    assert set(rnn["metrics"]) == set(ngram["metrics"])
    assert "2 finished, ranked by val/accuracy" in result.stdout


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning")  # of mlflow's own types, at their import
def test_the_logged_model_answers(fresh_checkout):
    result = fresh_checkout.run("model=ngram", *SMALL)
    assert result.returncode == 0, result.stderr
    [run] = read_results(fresh_checkout)
    client = MlflowClient(tracking_uri=fresh_checkout.store)
    [output] = client.get_run(run["run_id"]).outputs.model_outputs
    folder = client.get_logged_model(output.model_id).artifact_location
    answers = mlflow.pyfunc.load_model(folder).predict(pd.DataFrame({"text": ["a good film", ""]}))
    assert list(answers.columns) == ["label", "probability_negative", "probability_positive"]
    assert len(answers) == 2


@pytest.mark.slow
def test_a_search_over_its_settings(fresh_checkout):
    result = fresh_checkout.run(
        "-m", "search=ngram", "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=1", *SMALL, "tracking=none"
    )
    assert result.returncode == 0, result.stderr
    runs = read_results(fresh_checkout)
    assert [run["status"] for run in runs] == ["FINISHED"] * 3
    assert not any(name.startswith("test/") for run in runs for name in run["metrics"])
