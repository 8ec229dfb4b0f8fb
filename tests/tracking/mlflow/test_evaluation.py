"""The evaluation of a trained model is a run of its own, linked with the run that trained it."""

from __future__ import annotations

import shutil

import pytest
from mlflow import MlflowClient

from sentiment.errors import TrackingError
from sentiment.tracking.mlflow.evaluation import record_evaluation


@pytest.fixture
def uri(empty_store, tmp_path):
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


def test_an_evaluation_names_model_reviews_and_figures(uri, tmp_path):
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("e", artifact_location=str(tmp_path / "artifacts"))
    trained = client.create_run(experiment, run_name="rnn").info.run_id
    page = tmp_path / "page" / "errors.html"
    page.parent.mkdir()
    page.write_text("page")
    metrics = {"accuracy": 0.75, "auroc": float("nan")}
    counts = {"learned": 3, "left_out": 2, "left_out_labels": 1}
    evaluated = record_evaluation(uri, trained, "/data/rev.csv", "d" * 32, metrics, [page], page.parent, **counts)
    run = client.get_run(evaluated)
    assert run.data.metrics == {"eval/accuracy": 0.75}
    assert run.data.tags["evaluation.of"] == trained
    assert [run.data.tags[f"evaluation.{name}"] for name in counts] == ["3", "2", "1"]
    assert (run.info.status, run.info.experiment_id) == ("FINISHED", experiment)
    assert run.inputs.dataset_inputs[0].dataset.digest == "d" * 32
    assert [file.path for file in client.list_artifacts(evaluated, "evaluation")] == ["evaluation/errors.html"]


def test_a_model_of_another_store_is_refused(uri, tmp_path):
    with pytest.raises(TrackingError, match="--tracking-uri"):
        record_evaluation(uri, "f" * 32, "rev.csv", "d", {}, [], tmp_path)
