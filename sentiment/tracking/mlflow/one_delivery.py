"""Deliver to MLflow what one run has noted, in order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Run
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import MAX_METRICS_PER_BATCH

from sentiment.errors import TrackingError
from sentiment.format import mask_passwords
from sentiment.tracking.ending import Ending
from sentiment.tracking.mlflow.parent import finish_sweep, update_sweep
from sentiment.tracking.mlflow.store import Store, find_run, look_up_run, recording
from sentiment.tracking.mlflow.write import (
    END_TAGS,
    create_run,
    join_overrides,
    reopen,
    search_by_key,
    write_ending,
    write_params,
    write_tags,
)
from sentiment.tracking.outbox import DELIVERY_FILE, Delivery, Note, Outbox, hash_file

log = logging.getLogger(__name__)

REFUSALS = (
    "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_PARAMETER_VALUE", "INVALID_STATE", "BAD_REQUEST",
    "PERMISSION_DENIED",
)  # fmt: skip
"""MLflow's codes for what will not be taken at the next attempt either."""

REFUSALS_OF_ALL = (401, 407, 408, 429)
"""HTTP statuses 4xx that say nothing of what was sent: who sends is not let in, or sends too fast or too slowly."""

NOTED_TAG = "sentiment.noted"
"""Tag of a logged model: time of the note by which it was logged, in ms."""


class OneDelivery:
    """Delivers one outbox as far as it goes, in order; what was delivered is noted at once.

    Every step may be done twice, because a process may be killed between a step and the note of it: points have the
    times of their measurement, by which MLflow knows them again, and a run is found by a key of its own.
    """

    def __init__(self, outbox: Outbox, opening: Callable[[str, str, str], Store]) -> None:
        self._outbox = outbox
        self._opening = opening
        self._state = outbox.delivery
        self._later: list[tuple[int, Note]] = []
        self._anew: Note | None = None  # the start of the attempt that makes the run anew

    def run(self) -> bool:
        """Return whether all is delivered; False where another process is at it."""
        if self._outbox.is_delivered:
            return True
        with self._outbox.delivering() as is_mine:
            if not is_mine:
                return False
            self._state = self._outbox.delivery
            waiting = self._outbox.read(self._state.offset)
            while waiting:
                if self._is_gone(waiting[0][1]):
                    # A new run is to have what the attempts before noted, and one that was restored what was left out.
                    self._anew = waiting[0][1]
                    self._state = Delivery(self._outbox.find_begin(self._anew["key"]))
                    waiting = self._outbox.read(self._state.offset)
                count = count_alike(waiting)
                self._later = waiting[count:]
                self._deliver([note for _, note in waiting[:count]])
                self._state = replace(self._state, offset=waiting[count - 1][0])
                self._outbox.save(self._state)
                waiting = self._later
        return True

    def _deliver(self, notes: list[Note]) -> None:
        """Deliver some lines of one kind."""
        note = notes[-1]
        kind = note["kind"]
        if kind == "damaged":
            log.warning("%s has a damaged line, which is left out.", self._outbox.folder)
            return
        if kind == "start":
            self._start(note)
            return
        run_id, uri = self._state.run_id, self._state.uri
        if self._state.is_deleted:
            return  # which was told
        if run_id is None or uri is None:
            log.warning("%s does not say which run it is of; it is left out.", self._outbox.folder)
            return
        store = self._opening(uri, "", "")
        try:
            with recording(store.uri):
                getattr(self, f"_{kind}")(store.client, store.uri, run_id, notes)
        except TrackingError as error:
            if is_away(error, self._outbox.folder):
                raise
            with recording(store.uri):
                run = look_up_run(store.client, run_id)
            if run is None:  # perhaps for now: an older copy of the store, or another one at its address
                raise TrackingError(
                    f"The MLflow store {mask_passwords(store.uri)} does not know the run {run_id} at all; it is waited "
                    f"for. Where it is gone for good: {self._write_again()}."
                ) from error.__cause__
            if run.info.lifecycle_stage == "active":
                raise
            self._let_go(run_id)

    def _let_go(self, run_id: str) -> None:
        """Leave out what is noted for a run that was deleted: a person may do so at any time, and no attempt helps."""
        self._state = replace(self._state, run_id=None)
        log.warning(
            "MLflow run %s was deleted: what is noted for it in %s from now on is left out there.\n  -> to have it in "
            "MLflow all the same, restored or made anew: %s",
            *(run_id, self._outbox.folder, self._write_again()),
        )

    def _write_again(self) -> str:
        """Write what brings a run to MLflow that is not there any more."""
        folder = self._outbox.folder
        if self._state.key is None:
            leave = f"remove {folder / DELIVERY_FILE}, and what waits is left out"
            return f"{leave}; a study or a grid makes another one when its command is started again"
        return f"remove {folder / DELIVERY_FILE}, then python -m sentiment sync {folder}"

    def _is_gone(self, note: Note) -> bool:
        """Return whether an attempt starts at a run that was delivered, but is not in its store any more."""
        if note["kind"] != "start" or note["key"] != self._state.key:
            return False
        return self._find_known(note)[1] is None

    def _start(self, note: Note) -> None:
        """Create the run, or take it up again, and write what is known of it at its start."""
        if self._anew is not None and self._anew["key"] == note["key"]:  # its parent and experiment may be gone, too
            note = {**note, **{name: self._anew[name] for name in ("uri", "experiment", "artifact_dir", "first_tags")}}
        store, run = self._find_known(note)
        if store is None or run is None:  # to make one takes its experiment, which is asked for here alone
            store = self._opening(note["uri"], note["experiment"], note["artifact_dir"])
        elif run.info.status == "FINISHED":
            # The folder has the last word, and it was not said: the process ended between the two.
            log.warning("MLflow run %s ended before its folder said so: it is done again.", run.info.run_id)
        client = store.client
        with recording(store.uri):
            if run is None:
                found = search_by_key(client, store.experiment_id, note["key"])
                begun = note["name"], note["first_tags"], note["time"]
                run = found[0] if found else create_run(client, store.experiment_id, note["key"], *begun)
            run_id = run.info.run_id
            self._state = replace(self._state, run_id=run_id, uri=note["uri"], key=note["key"])
            self._outbox.save(self._state)
            if run.info.status != "RUNNING" or END_TAGS & set(run.data.tags):
                reopen(client, run_id, END_TAGS)
            # A param cannot be changed: those of an earlier attempt stay, though it may have had other threads.
            write_params(client, run_id, {k: v for k, v in note["params"].items() if k not in run.data.params})
            write_tags(client, run_id, {**note["tags"], "overrides": join_overrides(note["overrides"])})
            client.log_text(run_id, note["resolved_yaml"], "config/resolved.yaml")

    def _find_known(self, note: Note) -> tuple[Store | None, Run | None]:
        """Return the run by the id that it has had so far, and its store."""
        known = self._state.run_id if self._state.key == note["key"] else note["run_id"]
        if known is None:
            return None, None
        store = self._opening(note["uri"], "", "")
        with recording(store.uri):
            return store, find_run(store.client, known)

    def _metrics(self, client: MlflowClient, uri: str, run_id: str, notes: list[Note]) -> None:
        points = [read_point(point) for note in notes for point in note["points"]]
        for start in range(0, len(points), MAX_METRICS_PER_BATCH):
            client.log_batch(run_id, metrics=points[start : start + MAX_METRICS_PER_BATCH])

    def _tags(self, client: MlflowClient, uri: str, run_id: str, notes: list[Note]) -> None:
        write_tags(client, run_id, {name: value for note in notes for name, value in note["tags"].items()})

    def _files(self, client: MlflowClient, uri: str, run_id: str, notes: list[Note]) -> None:
        note = notes[-1]
        for name, artifact_path in note["files"].items():
            file = self._locate(name, note)
            if file is not None:
                client.log_artifact(run_id, str(file), artifact_path)

    def _model(self, client: MlflowClient, uri: str, run_id: str, notes: list[Note]) -> None:
        from sentiment.tracking.mlflow.model import link_metrics, log_model  # pulls in mlflow.pyfunc: another second
        from sentiment.tracking.mlflow.read import find_model

        note = notes[-1]
        run, bundle = client.get_run(run_id), self._locate(note["bundle"], note)
        if bundle is None:
            return
        known, noted = find_model(client, run), str(note["time"])
        if known is not None and known.tags.get(NOTED_TAG, noted) == noted:
            model_id = known.model_id  # the process that logged it ended; one of another time is an earlier attempt's
        else:
            store = Store(client, uri, run.info.experiment_id)
            try:
                model_id = log_model(store, run_id, bundle, note["class_names"], {NOTED_TAG: noted})
            except MlflowException as error:
                if error.error_code != "ENDPOINT_NOT_FOUND":
                    raise
                client.get_run(run_id)  # it answers: this is no proxy whose server is just starting
                _tell_no_models(mask_passwords(uri))
                return
        link_metrics(client, run_id, model_id, [read_point(point) for point in note["points"]])

    def _locate(self, name: str, note: Note) -> Path | None:
        """Return a file or folder that is to be uploaded; None where it is gone, or leads out of the run's folder.

        A note that somebody else wrote shall not upload a person's keys. Nor is a file uploaded that is not the one
        that was noted: another run in the folder has written its own in its place. Where an earlier version noted no
        digest, that is taken for granted where another run has begun there since.
        """
        file, folder = self._outbox.folder / name, self._outbox.folder.resolve()
        if not file.exists():
            log.warning("%s was removed before MLflow had it.", file)
            return None
        if not all(one.resolve().is_relative_to(folder) for one in (file, *file.rglob("*"))):
            log.warning("%s leads out of the run's folder; it is not uploaded.", file)
            return None
        digest = note.get("digests", {}).get(name)
        began = {later["key"] for _, later in self._later if later["kind"] == "start"}
        if began - {self._state.key} if digest is None else digest != hash_file(file):
            log.warning("Another run in %s replaced files before MLflow had them.", self._outbox.folder)
            return None
        return file

    def _end(self, client: MlflowClient, uri: str, run_id: str, notes: list[Note]) -> None:
        note = notes[-1]
        write_ending(client, run_id, Ending(**note["ending"]), is_job=note["is_job"], time_ms=note["time"])

    def _standing(self, client: MlflowClient, uri: str, run_id: str, notes: list[Note]) -> None:
        update_sweep(client, run_id, notes[-1]["tags"], notes[-1]["metrics"], notes[-1]["time"])

    def _sweep_end(self, client: MlflowClient, uri: str, run_id: str, notes: list[Note]) -> None:
        note = notes[-1]
        files = [file for name in note["files"] if (file := self._locate(name, note)) is not None]
        finish_sweep(client, run_id, Ending(**note["ending"]), files, note["texts"], note["time"])


@cache  # once a store: a search has thousands of runs
def _tell_no_models(store: str) -> None:
    log.warning(
        "The MLflow server %s takes no models, as those before MLflow 3: runs are recorded there without them, which "
        "their folders have.\n  -> update the server, then remove %s in those folders and python -m sentiment sync; or "
        "do without: tracking.log_model=false",
        *(store, DELIVERY_FILE),
    )


def is_away(error: BaseException, folder: Path) -> bool:
    """Return whether a store does not answer, or can take nothing: not where it refuses a run, or its folder fails."""
    cause = error.__cause__
    if isinstance(cause, MlflowException):
        is_of_run = cause.error_code in REFUSALS
    elif (response := getattr(cause, "response", None)) is not None:  # an HTTPError of `requests`, which sends files
        is_of_run = 400 <= response.status_code < 500 and response.status_code not in REFUSALS_OF_ALL
    else:
        is_of_run = isinstance(cause, OSError) and f"{folder}/" in str(cause)  # a file of the run cannot be read
    return isinstance(error, TrackingError) and cause is not None and not is_of_run


def count_alike(waiting: Sequence[tuple[int, Note]]) -> int:
    """Return how many of the next lines go together: points in one batch, and of several standings the last."""
    kind = waiting[0][1]["kind"]
    if kind not in ("metrics", "standing", "tags"):
        return 1
    return next((index for index, (_, note) in enumerate(waiting) if note["kind"] != kind), len(waiting))


def read_point(point: Sequence[Any]) -> Metric:
    """Read a point: name, value, time in ms, step."""
    return Metric(point[0], float(point[1]), int(point[2]), int(point[3]))
