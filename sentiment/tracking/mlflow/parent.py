"""The parent run of a sweep: one MLflow run that the runs of all jobs hang from.

Its tags and numbers are computed elsewhere, from the sweep's table. Here they are written, and those that an earlier
start wrote and that no longer hold are deleted.
"""

from __future__ import annotations

import logging
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from sentiment.config.home import write_portable
from sentiment.credentials import name_server
from sentiment.format import mask_passwords, write_own_command
from sentiment.json_file import write_json
from sentiment.tracking.ending import Ending, ending_of
from sentiment.tracking.environment import describe_environment
from sentiment.tracking.mlflow.store import Store, find_run, open_store, recording
from sentiment.tracking.mlflow.write import create_run, reopen, replace_tags, write_tags
from sentiment.tracking.outbox import Outbox, is_copy, tell_other_store, write_folder, writing
from sentiment.tracking.parent_file import NOTE_TAG, VIEW_TAG, Parent, read_parent
from sentiment.tracking.result_file import PARENT_FILE, leave_originals
from sentiment.tracking.run_name import name_sweep

log = logging.getLogger(__name__)

ADOPTED, COPIED = "adopted", "copied"
"""Tags: job to the MLflow run that another study's job had, or that of the original of a copied sweep, as JSON. Earlier
versions wrote both into the first."""

STANDING = ("trials", "best", "front", "jobs", ADOPTED, COPIED)
"""First parts of the tags that say how a sweep stands. Nothing writes ``jobs`` any more, earlier versions did."""

FAILURE = "failure"

TOLD_AT_END = (FAILURE, NOTE_TAG)
"""Tags that tell how a sweep ended."""

HISTORY_ARTIFACT = "study_history.json"
"""What a study's storage tells of it, for reports on a machine that reaches neither the storage nor the folder."""


def start_sweep(
    *,
    uri: str,
    experiment: str,
    artifact_dir: str,
    sweep_dir: Path,
    project_dir: Path,
    overrides: Sequence[str],
    base_yaml: str,
    study: str | None = None,
) -> Parent:
    """Start the parent run of a multirun and write ``parent_run.json`` into the sweep's folder.

    Store, experiment and parent are made here, once, before the jobs fan out. A second call with the same folder
    takes the same parent up again, also that of another command which starts at the same moment. In a copy of the
    folder of another one, the sweep gets a parent of its own.

    Args:
        uri: Tracking URI.
        experiment: MLflow experiment.
        artifact_dir: Folder for artifacts, as in `open_store`.
        sweep_dir: Folder of the multirun.
        project_dir: The checkout.
        overrides: The command line's overrides, sweeps unexpanded: ``model=transformer,rnn``.
        base_yaml: The composed configuration that the jobs' overrides apply to.
        study: The study's name, where it was given one of its own; the parent's begins with it.

    Returns:
        The parent run.

    Raises:
        TrackingError: The store cannot be opened or written.
    """
    name_server(uri)
    store = open_store(uri, experiment, artifact_dir)
    with writing(sweep_dir):
        sweep_dir.mkdir(parents=True, exist_ok=True)
    outbox = Outbox(sweep_dir)
    with recording(uri):
        known = _find_own(store, sweep_dir)  # without the lock: who delivers holds it as long as a server takes
        if known is None or outbox.delivery.run_id != known.run_id:
            with outbox.delivering(waits=True):  # two commands may start a study at the same moment
                known = _find_own(store, sweep_dir)
                if known is None:
                    _leave_earlier(sweep_dir, uri)
                    return _make(store, sweep_dir, project_dir, overrides, base_yaml, study)
                if outbox.delivery.run_id != known.run_id:  # an earlier version wrote to MLflow itself
                    outbox.begin(known.run_id, uri)
        reopen(store.client, known.run_id, TOLD_AT_END)
        return _write(replace(known, folder=write_folder(sweep_dir, uri)), sweep_dir)


def _find_own(store: Store, sweep_dir: Path) -> Parent | None:
    """Return the parent that an earlier start made in this store; None where it is gone, or another folder's."""
    known = read_parent(sweep_dir)
    if known is None or known.uri != store.uri or is_copy(sweep_dir / PARENT_FILE, known.folder, known.run_id):
        return None
    return known if find_run(store.client, known.run_id) else None


def _leave_earlier(sweep_dir: Path, uri: str) -> None:
    """Say where what goes on was recorded so far; of a copy, leave that to the original."""
    known = read_parent(sweep_dir)
    if known is not None:
        tell_other_store(known.uri, uri)
        if is_copy(sweep_dir / PARENT_FILE, known.folder, known.run_id):
            log.info("%s is a copy, whose original has its run in MLflow: this one gets another.", sweep_dir)
            leave_originals(sweep_dir)


def _make(
    store: Store, sweep_dir: Path, project_dir: Path, overrides: Sequence[str], base_yaml: str, study: str | None
) -> Parent:
    tags = {"mlflow.source.name": sys.argv[0], "mlflow.source.type": "LOCAL"}
    run = create_run(store.client, store.experiment_id, uuid.uuid4().hex, name_sweep(overrides, study), tags)
    parent = Parent(store.uri, store.experiment_id, run.info.run_id, write_folder(sweep_dir, store.uri))
    try:
        tags = {"command": write_own_command(), "overrides": mask_passwords(" ".join(overrides))}
        write_tags(store.client, parent.run_id, {**tags, **describe_environment(project_dir)})
        store.client.log_text(parent.run_id, base_yaml, "config/base.yaml")
        _write(parent, sweep_dir)
        Outbox(sweep_dir).begin(parent.run_id, store.uri)
    except BaseException as error:
        store.client.set_terminated(parent.run_id, ending_of(error).status)
        raise
    return parent


def _write(parent: Parent, sweep_dir: Path) -> Parent:
    with writing(sweep_dir / PARENT_FILE):
        write_json(sweep_dir / PARENT_FILE, {**asdict(parent), "uri": write_portable(parent.uri)})
    return parent


def update_sweep(
    client: MlflowClient, run_id: str, tags: Mapping[str, str], metrics: Mapping[str, float], time_ms: int
) -> None:
    """Write how the sweep stands, as it goes on: what is not said any more is deleted, an earlier failure too.

    A parent run that is over is taken up again: another command on the study has ended it, and this one works on.

    Args:
        client: Client of its store.
        run_id: The parent run.
        tags: All tags of the families in `STANDING`.
        metrics: Numbers of the best trial so far.
        time_ms: When it stood so.
    """
    if client.get_run(run_id).info.status != "RUNNING":
        reopen(client, run_id, TOLD_AT_END)
    own = {name: value for name, value in tags.items() if name != VIEW_TAG}
    replace_tags(client, run_id, own, (*STANDING, FAILURE))
    client.log_batch(run_id, metrics=[Metric(name, value, time_ms, 0) for name, value in metrics.items()])
    if VIEW_TAG in tags:
        with suppress(MlflowException):  # who may write runs may not change the experiment everywhere
            experiment_id = client.get_run(run_id).info.experiment_id
            client.set_experiment_tag(experiment_id, f"{VIEW_TAG}.{run_id}", tags[VIEW_TAG])


def finish_sweep(
    client: MlflowClient,
    run_id: str,
    ending: Ending,
    files: Iterable[Path],
    texts: Mapping[str, str],
    time_ms: int,
) -> None:
    """Log the sweep's files on the parent and end it.

    Args:
        client: Client of its store.
        run_id: The parent run.
        ending: How the sweep ended.
        files: Files; of a folder, all that it holds is logged under its name. Those that are gone are left out.
        texts: Name of an artifact to its content.
        time_ms: When it ended.
    """
    failure = {} if ending.reason is None else {"failure.kind": str(ending.kind), "failure.reason": ending.reason}
    for file in files:
        if file.is_dir():
            client.log_artifacts(run_id, str(file), artifact_path=file.name)
        elif file.exists():
            client.log_artifact(run_id, str(file))
    for name, text in texts.items():
        client.log_text(run_id, text, name)
    replace_tags(client, run_id, failure, (FAILURE,))
    client.set_terminated(run_id, ending.status, time_ms)
