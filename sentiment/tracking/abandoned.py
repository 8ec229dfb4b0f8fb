"""Closes the record of a run whose process was killed and could not do it itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sentiment.tracking.result_file import RESULT_FILE, read_result, write_result


def close_abandoned(output_dir: Path, reason: str, uri: str) -> None:
    """Mark a run as failed, in its folder and, where it is recorded there, in MLflow.

    Args:
        output_dir: The run's folder; a run that was killed before it recorded anything has no record to close.
        reason: How its process died.
        uri: Tracking URI of MLflow.

    Raises:
        TrackingError: The record is damaged, or MLflow cannot be written.
    """
    file = output_dir / RESULT_FILE
    if not file.exists():
        return
    record = read_result(file)
    if record.status != "RUNNING":
        return
    write_result(output_dir, replace(record, status="FAILED", kind="worker_died", reason=reason))
    if record.run_id is not None:
        from sentiment.tracking.mlflow.client import MlflowClient
        from sentiment.tracking.mlflow.store import recording
        from sentiment.tracking.mlflow.write import write_tags

        with recording(uri):
            client = MlflowClient(tracking_uri=uri)
            tags = {"failure.kind": "worker_died", "failure.reason": reason, "trial.state": "FAIL"}
            write_tags(client, record.run_id, tags)
            client.set_terminated(record.run_id, "FAILED")
