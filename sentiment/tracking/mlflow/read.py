"""Read runs back from an MLflow store: their records, test predictions and models. The inverse of the recorder."""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList

from sentiment.config.identity import read_recorded
from sentiment.errors import FailureKind, ModelFileError, TrackingError, explaining
from sentiment.scratch import make_temporary_folder
from sentiment.tracking.ending import Status
from sentiment.tracking.mlflow.parent import ADOPTED, COPIED
from sentiment.tracking.mlflow.store import connect, find_run, get_run, look_up_run, open_client, quiet, reading
from sentiment.tracking.mlflow.write import END_TAGS, KEY_TAG, LONG_PARAMS_FILE, POINTER, search_by_key, split_overrides
from sentiment.tracking.outbox import DELIVERY_FILE
from sentiment.tracking.parent_file import PARENT_TAG
from sentiment.tracking.result_file import ADOPTED_TAG, COPIED_TAG, ResultRecord, adopt_record, job_order

Found = TypeVar("Found")

PAGE_SIZE = 1000

FIND_RUN = "copy the id from MLflow's page of the run; --tracking-uri or MLFLOW_TRACKING_URI names another store"

NO_MODEL = (
    "it was deleted there, or the run recorded with tracking.log_model=false: run it again with "
    "tracking.log_model=true; or the server is of MLflow 2, which takes none: update it, remove "
    f"{DELIVERY_FILE} in the run's folder, then python -m sentiment sync"
)
"""What to do where a run has no model in MLflow."""

MLMODEL_FILE = "MLmodel"


@dataclass(frozen=True)
class ParentRun:
    """What a parent run says of its sweep: a readable name, its command, if that was noted, and its kind."""

    name: str
    command: str | None
    is_study: bool


def read_parent_run(uri: str, run_id: str) -> ParentRun:
    """Read a parent run.

    Raises:
        TrackingError: The store cannot be read, or does not know the run.
    """
    with _open_run(uri, run_id) as (client, run):
        tags = _read_whole(client, run, run.data.tags)
        return ParentRun(run.info.run_name or run_id, tags.get("command"), "study" in tags)


def read_child_records(uri: str, parent_run_id: str) -> list[ResultRecord]:
    """Read what became of each run below a parent run, in the order of their numbers; none where it is no parent.

    Runs that its study took over from another one, or its folder, a copy, from the original, stand below that one's
    parent; they are read too, with what a folder's records say of them.

    Raises:
        TrackingError: The store cannot be read, or does not know the parent.
    """
    with _open_run(uri, parent_run_id) as (client, parent):
        records = [_read_record(client, run) for run in _list_children(client, parent)]
        place = parent.info.experiment_id
        with _understanding(parent):
            tags = _read_whole(client, parent, parent.data.tags)
            told = {kind: json.loads(tags.get(kind, "{}")) for kind in (ADOPTED, COPIED)}
            taken = [(int(job), str(name), kind) for kind, runs in told.items() for job, name in runs.items()]
        for job, name, kind in taken:
            run = find_run(client, name) or next(iter(search_by_key(client, place, name)), None)
            if run is not None:  # nobody has deleted it
                record = _read_record(client, run)
                adopted = adopt_record(record, job, name)
                copied = replace(record, job_number=job, tags={**record.tags, ADOPTED_TAG: name, COPIED_TAG: "true"})
                records.append(copied if kind == COPIED else adopted)
        # A job that was run again with other settings has another run: the last one is the job's, as in its folder.
        latest = {record.run_id if record.job_number is None else record.job_number: record for record in records}
        return sorted(latest.values(), key=job_order)


def read_record(uri: str, run_id: str) -> ResultRecord:
    """Read from MLflow what a run's own ``result.json`` says, but the number of its test reviews.

    Raises:
        TrackingError: The store cannot be read, or does not know the run.
    """
    with _open_run(uri, run_id) as (client, run):
        return _read_record(client, run)


def fetch_artifact(uri: str, run_id: str, name: str) -> Path | None:
    """Download a file that was logged with a run into a temporary folder; None where the run has none of this name.

    Raises:
        TrackingError: The store cannot be read.
    """
    client = open_client(uri)
    with reading(uri):
        known = {found.path for found in client.list_artifacts(run_id, name.rpartition("/")[0] or None)}
        if name not in known:
            return None
        return Path(client.download_artifacts(run_id, name, str(make_temporary_folder())))


@contextmanager
def _open_run(uri: str, run_id: str) -> Iterator[tuple[MlflowClient, Run]]:
    client = open_client(uri)
    run = get_run(client, uri, run_id, FIND_RUN)
    with reading(uri):
        yield client, run


def find_model(client: MlflowClient, run: Run) -> LoggedModel | None:
    """Return the model that a run logged last; None where it logged none, or none wholly, or they were deleted."""
    ready = []
    for output in run.outputs.model_outputs if run.outputs else []:
        try:
            model = client.get_logged_model(output.model_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            continue  # the run names it still
        if str(model.status) == "READY":
            ready.append(model)
    return max(ready, key=lambda model: model.creation_timestamp, default=None)


def fetch_run_bundle(uri: str, run_id: str) -> Path | None:
    """Return the folder of the bundle of the model that a run logged, see `fetch_bundle`; None where it logged none.

    Raises:
        TrackingError: The store cannot be read, or does not know the run.
    """
    with _open_run(uri, run_id) as (client, run):
        model = find_model(client, run)
        return None if model is None else fetch_bundle(uri, str(model.artifact_location))


def fetch_logged_bundle(uri: str, model_id: str) -> tuple[ResultRecord | None, Path]:
    """Return the record of the run that logged a model, and the folder of its bundle, see `fetch_bundle`.

    A model stays where its run is deleted: the record has no id then, and there is none once MLflow has forgotten it.

    Raises:
        TrackingError: The store cannot be read, or does not know the model.
        ModelFileError: It is no model of this project.
    """
    client = open_client(uri)
    with reading(uri):
        try:
            model = client.get_logged_model(model_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise TrackingError(f"There is no model {model_id} in the MLflow store {uri}.", FIND_RUN) from error
        run = look_up_run(client, model.source_run_id) if model.source_run_id else None
        record = None
        if run is not None:
            is_there = run.info.lifecycle_stage == "active"
            record = replace(_read_record(client, run), run_id=run.info.run_id if is_there else None)
        return record, fetch_bundle(uri, str(model.artifact_location))


@cache
def fetch_bundle(uri: str, location: str) -> Path:
    """Download the bundle of a logged model into a temporary folder, without letting MLflow load the model.

    Once per process: what was logged does not change, and a study asks for it with every trial.

    ``mlflow.pyfunc.load_model`` runs code that lies in the model, and for many flavours it unpickles. A bundle is
    weights and settings only, so that part alone is downloaded, and read by this package's own code.

    Args:
        uri: Tracking URI of the store, for models that lie on its server.
        location: URI of the model's files.

    Raises:
        ModelFileError: It is no model of this project.
    """
    from mlflow.models import Model  # imports pandas: only where a model is fetched

    folder = make_temporary_folder()
    flavors: dict[str, Any] = Model.load(str(_download(uri, f"{location}/{MLMODEL_FILE}", folder))).flavors
    artifacts = flavors.get("python_function", {}).get("artifacts") or {}
    path = artifacts.get("bundle", {}).get("path")
    if not isinstance(path, str):
        raise ModelFileError(
            f"The model at {location} is none of this project's: its flavours are {', '.join(sorted(flavors))}, and it "
            "has no bundle. Other flavours are loaded by running or unpickling what lies in them, which can run any "
            "code, so they are refused.",
            "name a model that a run of this project logged; mlflow.pyfunc.load_model loads others, if you trust "
            "their source",
        )
    return _download(uri, f"{location}/{path}", folder)


def _download(uri: str, artifact: str, folder: Path) -> Path:
    """Download a file or folder of the store; MLflow's global state and the environment have no say."""
    import mlflow.artifacts

    with quiet():
        found = mlflow.artifacts.download_artifacts(
            artifact_uri=artifact, dst_path=str(folder), tracking_uri=connect(uri), registry_uri=connect(uri)
        )
    return Path(found)


def _list_children(client: MlflowClient, parent: Run) -> list[Run]:
    """List the runs below a parent, the oldest first; a sweep may have gone on under another experiment."""
    children, in_order = f"tags.`{PARENT_TAG}` = '{parent.info.run_id}'", ["attributes.start_time ASC"]
    found = _read_pages(lambda token: client.search_experiments(max_results=PAGE_SIZE, page_token=token))
    experiments = [experiment.experiment_id for experiment in found]
    return _read_pages(
        lambda token: client.search_runs(experiments, children, ViewType.ACTIVE_ONLY, PAGE_SIZE, in_order, token)
    )


def _read_pages(search: Callable[[str | None], PagedList[Found]]) -> list[Found]:
    """Return all that a search finds, by the token of each page."""
    page = search(None)
    found = list(page)
    while page.token:
        page = search(page.token)
        found += page
    return found


def _read_value(value: float) -> float:
    """Return a metric as it was recorded: a database of MLflow keeps the largest float for infinity."""
    return math.copysign(math.inf, value) if abs(value) >= sys.float_info.max else value


def _understanding(run: Run) -> AbstractContextManager[None]:
    """Explain what another program wrote into a run, or people into its tags."""
    remedy = "name a run that this project recorded; where its tags were edited in MLflow, correct them there"
    causes = (ValueError, TypeError, KeyError, AttributeError)
    return explaining(f"The MLflow run {run.info.run_id} cannot be read", remedy, TrackingError, causes)


def _read_record(client: MlflowClient, run: Run) -> ResultRecord:
    with _understanding(run):
        return _make_record(client, run)


def _make_record(client: MlflowClient, run: Run) -> ResultRecord:
    metrics = {name: _read_value(value) for name, value in run.data.metrics.items()}
    params, tags = _read_whole(client, run, run.data.params), _read_whole(client, run, run.data.tags)
    has_ended = "best/epoch" in metrics  # before that, MLflow has the latest of every metric, not the selected
    best = {name.removeprefix("best/"): value for name, value in metrics.items() if name.startswith("best/val/")}
    others = {name: value for name, value in metrics.items() if name.startswith(("test/", "time/"))}
    seconds = others.pop("time/fit_seconds", None)
    status, epochs = _read_status(run), _read_epochs(client, run)
    return ResultRecord(
        name=run.info.run_name or run.info.run_id,
        model=params.get("model.name", ""),
        status=status,
        started=datetime.fromtimestamp(run.info.start_time / 1000, timezone.utc).isoformat(timespec="seconds"),
        overrides=split_overrides(tags.get("overrides", "")),
        params=read_recorded(params),
        job_number=int(tags["job"]) if "job" in tags else None,
        kind=cast("FailureKind | None", tags.get("failure.kind")),
        reason=tags.get("pruned.reason" if status in ("PRUNED", "PAUSED") else "failure.reason"),
        run_id=run.info.run_id,
        metrics={**best, **others} if has_ended else {},
        history=_read_history(client, run, epochs),
        parameters=int(metrics["model/parameters"]) if "model/parameters" in metrics else None,
        seconds=seconds,
        epochs=max(epochs.values(), default=None) if has_ended else None,
        best_epoch=metrics.get("best/epoch"),
        tags=_select_tags(tags),
    )


def _read_status(run: Run) -> Status:
    tags, status = run.data.tags, run.info.status
    if status == "SCHEDULED":
        return "PAUSED"
    if tags.get("trial.state") == "PRUNED" or "pruned.reason" in tags:
        return "PRUNED"  # MLflow has no such status and says FINISHED
    return cast(Status, status if status in ("FINISHED", "FAILED", "KILLED") else "RUNNING")


def _read_whole(client: MlflowClient, run: Run, values: Mapping[str, str]) -> dict[str, str]:
    """Return params or tags with those in full that are too long for MLflow and lie in an artifact."""
    whole = dict(values)
    pointers = {name: found["artifact"] for name, text in values.items() if (found := POINTER.fullmatch(text))}
    if not pointers:
        return whole
    with tempfile.TemporaryDirectory() as folder:
        contents = {
            artifact: Path(client.download_artifacts(run.info.run_id, artifact, folder)).read_text(encoding="utf-8")
            for artifact in set(pointers.values())
        }
    for name, artifact in pointers.items():
        content = contents[artifact]
        whole[name] = json.loads(content)[name] if artifact == LONG_PARAMS_FILE else content
    return whole


def _read_epochs(client: MlflowClient, run: Run) -> dict[int, float]:
    """Return the epoch at every step; earlier versions noted that of the selected checkpoint too, at the last one."""
    epochs: dict[int, float] = {}
    for point in client.get_metric_history(run.info.run_id, "epoch") if "epoch" in run.data.metrics else ():
        epochs[point.step] = max(point.value, epochs.get(point.step, 0.0))
    return epochs


def _read_history(client: MlflowClient, run: Run, epochs: Mapping[int, float]) -> tuple[Mapping[str, float], ...]:
    """Gather every validation by its step, with the epoch that was recorded at the same step."""
    points: dict[int, dict[str, float]] = {}
    for name in (name for name in run.data.metrics if name.startswith("val/")):
        for point in sorted(client.get_metric_history(run.info.run_id, name), key=lambda point: point.timestamp):
            points.setdefault(point.step, {})[name] = _read_value(point.value)
    # A validation whose epoch is missing was cut off while it was written.
    return tuple({"step": step, "epoch": epochs[step], **points[step]} for step in sorted(points) if step in epochs)


def _select_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Select what ``result.json`` keeps as tags."""
    own = tags.keys() - {*END_TAGS, KEY_TAG, "job", "overrides"}
    kept = {name for name in own if not name.startswith("mlflow.") or name == "mlflow.source.git.commit"}
    return {name: value for name, value in tags.items() if name in kept}
