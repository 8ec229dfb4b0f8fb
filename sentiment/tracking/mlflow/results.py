"""The results of a sweep's jobs from MLflow, for a machine that does not have the sweep's folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import cast

from sentiment.errors import TrackingError
from sentiment.tracking.ending import FailureKind, Status
from sentiment.tracking.mlflow.client import MlflowClient, Run
from sentiment.tracking.mlflow.store import find_run, recording
from sentiment.tracking.result_file import ResultRecord

PARENT_TAG = "mlflow.parentRunId"

KEPT_TAGS = ("git.", "version.", "hardware", "data.", "device")

NEXT_OVERRIDE = re.compile(r" (?=[+~]{0,2}[A-Za-z_][\w./@-]*=|~)")
"""The space between two overrides of the tag ``overrides``; a value may hold spaces itself."""


@dataclass(frozen=True)
class ParentRun:
    """What a parent run says of its sweep.

    Attributes:
        name: Readable name.
        command: The command that started it; None where it was not noted.
        experiment_id: Experiment of the parent and its children.
    """

    name: str
    command: str | None
    experiment_id: str


def read_parent_run(uri: str, run_id: str) -> ParentRun:
    """Read a parent run.

    Raises:
        TrackingError: The store cannot be read, or does not know the run.
    """
    with recording(uri):
        run = find_run(MlflowClient(tracking_uri=uri), run_id)
    if run is None:
        raise TrackingError(
            f"The MLflow store {uri} knows no run {run_id}.\n"
            "  -> copy the id from MLflow's page of the run, or name the store with tracking.uri=... or --tracking-uri"
        )
    return ParentRun(run.info.run_name or run_id, run.data.tags.get("command"), run.info.experiment_id)


def read_child_results(uri: str, parent_run_id: str) -> list[ResultRecord]:
    """Read what became of each job below a parent run, in the order of their numbers.

    Raises:
        TrackingError: The store cannot be read, or does not know the parent.
    """
    parent = read_parent_run(uri, parent_run_id)
    with recording(uri):
        client = MlflowClient(tracking_uri=uri)
        records = [_read_record(client, run) for run in _list_children(client, parent.experiment_id, parent_run_id)]
    return sorted(records, key=lambda record: (record.job_number is None, record.job_number or 0, record.started))


def _list_children(client: MlflowClient, experiment_id: str, parent_run_id: str) -> Iterator[Run]:
    token = None
    while True:
        page = client.search_runs([experiment_id], f"tags.`{PARENT_TAG}` = '{parent_run_id}'", page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _read_record(client: MlflowClient, run: Run) -> ResultRecord:
    tags, metrics, params = run.data.tags, run.data.metrics, run.data.params
    status = _read_status(run)
    # While a run goes on MLflow has the last validation only; what was selected is told at the end, as best/...
    selected = {name.removeprefix("best/"): value for name, value in metrics.items() if name.startswith("best/val/")}
    others = {name: value for name, value in metrics.items() if name.startswith(("test/", "time/"))}
    costs = ("time/fit_seconds",)
    size = metrics.get("model/parameters")
    job = tags.get("job")
    return ResultRecord(
        name=run.info.run_name or run.info.run_id,
        model=params.get("model.name", ""),
        status=status,
        started=datetime.fromtimestamp(run.info.start_time / 1000, timezone.utc).isoformat(timespec="seconds"),
        overrides=tuple(NEXT_OVERRIDE.split(tags["overrides"])) if tags.get("overrides") else (),
        params=dict(params),
        job_number=None if job is None else int(job),
        kind=cast("FailureKind | None", tags.get("failure.kind")),
        reason=tags.get("failure.reason") or tags.get("pruned.reason"),
        run_id=run.info.run_id,
        metrics={**selected, **{name: value for name, value in others.items() if name not in costs}},
        history=_read_history(client, run.info.run_id, metrics),
        parameters=None if size is None else int(size),
        seconds=metrics.get("time/fit_seconds"),
        epochs=metrics.get("epoch"),
        best_epoch=metrics.get("best/epoch"),
        tags={name: value for name, value in tags.items() if name.startswith(KEPT_TAGS)},
    )


def _read_status(run: Run) -> Status:
    if "pruned.reason" in run.data.tags:
        return "PRUNED"  # MLflow has no such state and says FINISHED
    status = str(run.info.status)
    return "RUNNING" if status == "SCHEDULED" else cast(Status, status)


def _read_history(client: MlflowClient, run_id: str, metrics: Mapping[str, float]) -> tuple[Mapping[str, float], ...]:
    epochs = {point.step: point.value for point in client.get_metric_history(run_id, "epoch")} if metrics else {}
    points: dict[int, dict[str, float]] = {}
    for name in sorted(metrics):
        if name.startswith("val/"):
            for point in client.get_metric_history(run_id, name):
                points.setdefault(point.step, {})[name] = point.value
    return tuple(
        {"step": float(step), "epoch": epochs[step], **points[step]} for step in sorted(points) if step in epochs
    )
