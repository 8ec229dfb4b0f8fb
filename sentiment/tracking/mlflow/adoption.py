"""Results that were taken over from another study before MLflow had their runs: found there once it has them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from sentiment.errors import TrackingError
from sentiment.tracking.mlflow.one_delivery import is_away
from sentiment.tracking.mlflow.store import Store, open_client, reading
from sentiment.tracking.mlflow.write import search_by_key
from sentiment.tracking.result_file import ADOPTED_TAG, RESULT_FILE, ResultRecord, amend_result, read_result

log = logging.getLogger(__name__)


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
    if is_settled(record):
        return record.run_id
    key = record.tags[ADOPTED_TAG]
    client = open_client(uri)
    with reading(uri):
        experiment = client.get_experiment_by_name(record.params["tracking.experiment"])
        runs = [] if experiment is None else search_by_key(client, experiment.experiment_id, key)
    if not runs:
        return None
    run_id = str(runs[0].info.run_id)
    if record.folder is not None:
        amend_result(record.folder, run_id=run_id)
    return run_id


def is_settled(record: ResultRecord) -> bool:
    """Return whether there is nothing to look for: a result has its id, or no key by which MLflow knows its run."""
    return record.run_id is not None or record.tags.get(ADOPTED_TAG, "true") == "true"


def settle_all_adopted(folder: Path, opening: Callable[[str, str, str], Store]) -> None:
    """Do so with all results in a folder and below it, each in the store that it was recorded in.

    What cannot be looked up stays as it is, and the log says why: all that was noted is delivered without it.

    Args:
        folder: Of a run or of a sweep, or above several.
        opening: Opens a store; see `sentiment.tracking.mlflow.delivery.Deliverer.open`.
    """
    problems: dict[str, None] = {}
    away: set[str] = set()  # stores that do not answer, each time after seconds
    for file in sorted(folder.rglob(RESULT_FILE)):
        if ADOPTED_TAG.encode() not in file.read_bytes():
            continue
        uri = ""
        try:
            record = read_result(file)
            if not is_settled(record) and (uri := record.params["tracking.uri"]) not in away:
                settle_adopted(record, opening(uri, "", "").uri)
        except TrackingError as error:
            problems[str(error)] = None
            if is_away(error, file.parent):
                away.add(uri)
    for problem in problems:
        log.warning("Results that were taken over do not have the ids of their MLflow runs yet. %s", problem)
