"""The record of a run whose process was killed is closed by others."""

from __future__ import annotations

import pytest
from mlflow import MlflowClient

from sentiment.tracking.folder import close_abandoned
from sentiment.tracking.mlflow.store import open_store
from sentiment.tracking.result_file import RESULT_FILE, ResultRecord, read_ended, read_result, write_result


def make_record(**changes: object) -> ResultRecord:
    base = {"name": "rnn", "model": "rnn", "status": "RUNNING", "started": "2026-01-01T00:00:00+00:00"}
    return ResultRecord(**{**base, **changes})


def test_folder_and_mlflow_both_say_how_the_process_died(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/mlflow.db", "abandoned", str(tmp_path / "artifacts"))
    run = store.client.create_run(store.experiment_id)
    write_result(tmp_path / "0", make_record(run_id=run.info.run_id))
    close_abandoned(tmp_path / "0", "killed by SIGKILL", store.uri)

    record = read_result(tmp_path / "0" / RESULT_FILE)
    assert (record.status, record.kind, record.reason) == ("FAILED", "worker_died", "killed by SIGKILL")
    recorded = MlflowClient(tracking_uri=store.uri).get_run(run.info.run_id)
    assert recorded.info.status == "FAILED"
    assert recorded.data.tags["failure.reason"] == "killed by SIGKILL"
    assert recorded.data.tags["trial.state"] == "FAIL"


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "PRUNED", "KILLED"])
def test_a_run_that_ended_itself_keeps_its_record(tmp_path, status):
    write_result(tmp_path, make_record(status=status))
    close_abandoned(tmp_path, "killed", "sqlite:////nowhere")
    assert read_result(tmp_path / RESULT_FILE).status == status


def test_a_run_that_was_killed_before_it_recorded_anything_has_nothing_to_close(tmp_path):
    close_abandoned(tmp_path, "killed", "sqlite:////nowhere")
    assert list(tmp_path.iterdir()) == []


def test_an_ended_run_is_found_again_by_its_settings(tmp_path):
    assert read_ended(tmp_path, {}) is None
    write_result(tmp_path, make_record(status="RUNNING", params={"seed": "1"}))
    assert read_ended(tmp_path, {"seed": "1"}) is None
    ended = make_record(
        status="FINISHED", params={"seed": "1"}, metrics={"val/accuracy": 0.9, "test/accuracy": 0.8}, parameters=10,
        seconds=2.0,
    )  # fmt: skip
    write_result(tmp_path, ended)
    found = read_ended(tmp_path, {"seed": "1"})
    assert found is not None
    assert found.describe_outcome() == {"val/accuracy": 0.9, "model/parameters": 10.0, "time/fit_seconds": 2.0}
    assert read_ended(tmp_path, {"seed": "2"}) is None, "another run"
