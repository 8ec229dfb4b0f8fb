"""Put files beside a run that is over: what was found out about it later belongs to its record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sentiment.errors import TrackingError
from sentiment.tracking.mlflow.read import open_client
from sentiment.tracking.mlflow.store import find_run, recording


def attach_files(uri: str, run_id: str, files: Sequence[Path], folder: Path, artifact_path: str) -> None:
    """Log files as artifacts of a run, replacing those of the same names.

    Args:
        uri: MLflow store.
        run_id: The run.
        files: Files under `folder`.
        folder: Their places below it are kept.
        artifact_path: Folder among the run's artifacts.

    Raises:
        TrackingError: The store knows no such run, or cannot be written.
    """
    client = open_client(uri)
    with recording(uri):
        if find_run(client, run_id) is None:
            raise TrackingError(
                f"MLflow at {uri} has no run {run_id}, so nothing was logged.\n"
                "  -> name the store that it was recorded in (--tracking-uri URI), or leave it out: --no-log"
            )
        for file in files:
            below = file.relative_to(folder).parent
            client.log_artifact(run_id, str(file), (Path(artifact_path) / below).as_posix())
