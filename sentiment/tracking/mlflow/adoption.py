"""Results that were taken over from another study before MLflow had their runs: found there once it has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sentiment.tracking.mlflow.store import Store, open_client, reading
from sentiment.tracking.mlflow.write import search_by_key
from sentiment.tracking.result_file import ADOPTED_TAG, RESULT_FILE, ResultRecord, read_result, write_result


def settle_adopted(record: ResultRecord, uri: str) -> str | None:
    """Return the MLflow run of a result, and write it into its record where that has nothing but the run's key.

    Args:
        record: What a folder holds.
        uri: The store of the run.

    Returns:
        Its id; None where MLflow has no run of it, or not yet.

    Raises:
        TrackingError: The store cannot be read, or the folder not written.
    """
    key = record.tags.get(ADOPTED_TAG, "true")
    if record.run_id is not None or key == "true":
        return record.run_id
    client = open_client(uri)
    with reading(uri):
        experiment = client.get_experiment_by_name(record.params["tracking.experiment"])
        runs = [] if experiment is None else search_by_key(client, experiment.experiment_id, key)
    if not runs:
        return None
    run_id = str(runs[0].info.run_id)
    if record.folder is not None:
        write_result(record.folder, replace(read_result(record.folder / RESULT_FILE), run_id=run_id))
    return run_id


def settle_all_adopted(folder: Path, opening: Callable[[str, str, str], Store]) -> None:
    """Do so with all results in a folder and below it, each in the store that it was recorded in.

    Args:
        folder: Of a run or of a sweep, or above several.
        opening: Opens a store; see `sentiment.tracking.mlflow.delivery.Deliverer.open`.

    Raises:
        TrackingError: A store cannot be read, or a folder not written.
    """
    for file in sorted(folder.rglob(RESULT_FILE)):
        if ADOPTED_TAG.encode() in file.read_bytes():
            record = read_result(file)
            settle_adopted(record, opening(record.params["tracking.uri"], "", "").uri)
