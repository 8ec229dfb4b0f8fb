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


def test_an_evaluation_that_was_cut_off_is_done_again_and_counts_once(uri, tmp_path, monkeypatch):
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("e", artifact_location=str(tmp_path / "artifacts"))
    trained = client.create_run(experiment, run_name="rnn").info.run_id
    client.set_terminated(trained)

    def evaluate():
        return record_evaluation(uri, trained, "rev.csv", "d" * 32, {"accuracy": 0.75}, [], tmp_path)

    def fail(*arguments, **more):
        raise OSError("away")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", fail)
        with pytest.raises(TrackingError, match=r"away\n  -> see .* can be written, or leave it: --no-log$"):
            evaluate()
    first, second = evaluate(), evaluate()
    assert first != second, "that one is an evaluation of its own"
    assert {run.info.run_id: run.info.status for run in client.search_runs([experiment])} == dict.fromkeys(
        [trained, first, second], "FINISHED"
    )
