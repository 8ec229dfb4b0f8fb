"""Read runs back from an MLflow store: their record, their test predictions, their model."""

from __future__ import annotations

import json
import re
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import cast

from sqlalchemy.exc import SQLAlchemyError

from sentiment.errors import TrackingError
from sentiment.tracking.ending import FailureKind, Status
from sentiment.tracking.folder import PREDICTIONS_FILE
from sentiment.tracking.mlflow.client import MlflowClient, MlflowException, Run, quiet
from sentiment.tracking.mlflow.recorder import END_TAGS, PARENT_TAG
from sentiment.tracking.mlflow.store import require_server, sqlite_file
from sentiment.tracking.result_file import ResultRecord

LONG_PARAMS_FILE = "config/long_params.json"

PAGE_SIZE = 1000

OVERRIDE_START = re.compile(r"\s(?=[+~]{0,2}[A-Za-z_][\w./]*(?:@[\w.]*)?=)")
"""Where the next override begins in the tag, which joins them with blanks."""


def open_client(uri: str) -> MlflowClient:
    """Open a store to read from; unlike `open_store` it makes none.

    Raises:
        TrackingError: There is no store, or it cannot be reached.
    """
    database = sqlite_file(uri)
    if database is not None and not database.exists():
        raise TrackingError(
            f"There is no MLflow store at {uri}.\n"
            "  -> name the store that the runs were recorded in: --tracking-uri URI, or MLFLOW_TRACKING_URI"
        )
    with reading(uri), quiet():
        if uri.startswith(("http://", "https://")):
            require_server(uri)
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


@contextmanager
def reading(uri: str) -> Iterator[None]:
    """Turn the many errors of a failing store into one that names the store and the remedies."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise TrackingError(
            f"MLflow cannot read from {uri}: {error}\n"
            "  -> see that the store is there and whole; --tracking-uri or MLFLOW_TRACKING_URI names another one"
        ) from error


def list_children(client: MlflowClient, parent: Run) -> list[Run]:
    """List the runs that hang from a parent run, oldest first."""
    runs: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs(
            [parent.info.experiment_id],
            f"tags.`{PARENT_TAG}` = '{parent.info.run_id}'",
            max_results=PAGE_SIZE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        runs += page
        token = page.token
        if not token:
            return runs


def fetch_record(client: MlflowClient, run: Run) -> ResultRecord:
    """Put together from MLflow what the run's own ``result.json`` says."""
    tags, metrics, params = run.data.tags, run.data.metrics, _fetch_params(client, run)
    best = {name.removeprefix("best/"): value for name, value in metrics.items() if name.startswith("best/val/")}
    costs = {name: value for name, value in metrics.items() if name == "time/latency_ms"}
    tests = {name: value for name, value in metrics.items() if name.startswith("test/")}
    pruned = tags.get("trial.state") == "PRUNED"
    return ResultRecord(
        name=run.info.run_name or run.info.run_id,
        model=params.get("model.name", ""),
        status="PRUNED" if pruned else _status(run.info.status),
        started=datetime.fromtimestamp(run.info.start_time / 1000, timezone.utc).isoformat(timespec="seconds"),
        overrides=tuple(part for part in OVERRIDE_START.split(tags.get("overrides", "")) if part),
        params=params,
        job_number=int(tags["job"]) if "job" in tags else None,
        kind=cast("FailureKind | None", tags.get("failure.kind")),
        reason=tags.get("pruned.reason") if pruned else tags.get("failure.reason"),
        run_id=run.info.run_id,
        metrics={**best, **tests, **costs},
        history=_fetch_history(client, run),
        parameters=int(metrics["model/parameters"]) if "model/parameters" in metrics else None,
        seconds=metrics.get("time/fit_seconds"),
        epochs=metrics.get("epoch"),
        best_epoch=metrics.get("best/epoch"),
        tags=_own_tags(tags),
    )


def fetch_predictions(client: MlflowClient, run_id: str, folder: Path) -> bool:
    """Download ``predictions/test.npz`` into a folder; False where the run has none."""
    if PREDICTIONS_FILE not in {
        file.path for file in client.list_artifacts(run_id, str(Path(PREDICTIONS_FILE).parent))
    }:
        return False
    file = folder / PREDICTIONS_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    Path(client.download_artifacts(run_id, PREDICTIONS_FILE, str(folder))).replace(file)
    return True


def find_model(client: MlflowClient, run: Run) -> str | None:
    """Give the place of the model that the run logged last; None where it logged none."""
    outputs = run.outputs.model_outputs if run.outputs else []
    models = [client.get_logged_model(output.model_id) for output in outputs]
    ready = [model for model in models if str(model.status) == "READY"]
    return str(max(ready, key=lambda model: model.creation_timestamp).artifact_location) if ready else None


def _status(name: str) -> Status:
    return cast(Status, name if name in ("FINISHED", "FAILED", "KILLED") else "RUNNING")


def _fetch_params(client: MlflowClient, run: Run) -> dict[str, str]:
    params = dict(run.data.params)
    if any(value.endswith(f"see the artifact {LONG_PARAMS_FILE})") for value in params.values()):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(client.download_artifacts(run.info.run_id, LONG_PARAMS_FILE, folder))
            content = json.loads(file.read_text(encoding="utf-8"))
        params.update({name: value for name, value in content.items() if name in params})
    return params


def _fetch_history(client: MlflowClient, run: Run) -> tuple[Mapping[str, float], ...]:
    """Gather every validation by its step, with the epoch that was recorded at the same step."""
    names = [name for name in run.data.metrics if name.startswith("val/")]
    points: dict[int, dict[str, float]] = {}
    for name in names:
        for point in client.get_metric_history(run.info.run_id, name):
            points.setdefault(point.step, {})[name] = point.value
    epochs = {point.step: point.value for point in client.get_metric_history(run.info.run_id, "epoch")} if names else {}
    return tuple({"step": step, "epoch": epochs.get(step, float("nan")), **points[step]} for step in sorted(points))


def _own_tags(tags: Mapping[str, str]) -> dict[str, str]:
    apart = {*END_TAGS, "job", "overrides"}
    return {
        name: value
        for name, value in tags.items()
        if name not in apart and (not name.startswith("mlflow.") or name == "mlflow.source.git.commit")
    }
