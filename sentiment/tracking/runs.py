"""Find runs that have ended by what people type: a folder, ``NAME/NUMBER``, or an MLflow run id."""

from __future__ import annotations

import difflib
import logging
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path

import numpy as np

from sentiment.config.home import PROJECT_DIR, find_tracking_uri, read_portable
from sentiment.credentials import anchor_store, name_server
from sentiment.errors import TrackingError, explaining, first_line
from sentiment.format import mask_passwords
from sentiment.paths import expand_home, find_files
from sentiment.scratch import make_temporary_folder
from sentiment.tracking.folder import PREDICTIONS_FILE
from sentiment.tracking.outbox import DELIVERY_FILE
from sentiment.tracking.result_file import (
    EVALUATED_TAG,
    PARENT_FILE,
    REPEAT_TAG,
    RESULT_FILE,
    RUN_ID,
    TRIAL_TAG,
    WORDS_TAG,
    ResultRecord,
    job_order,
    read_result,
)
from sentiment.training.result import TestPredictions

log = logging.getLogger(__name__)

BUNDLE_DIR = "model"
"""Folder of the model bundle in a run's folder."""

SHOWN_NAMES = 8

MULTIRUN_DIR = PROJECT_DIR / "multirun"
"""Folder that runs and sweeps write their own folders into."""

OTHER_DIRS = (PROJECT_DIR / "debug", PROJECT_DIR / ".cache" / "pretrained")
"""Folders of the other runs that conf/ gives a place: those with ``debug=...``, and those that learn words."""


UNREADABLE = (
    OSError, ValueError, KeyError, AttributeError, TypeError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error
)  # fmt: skip
"""What `numpy.load` raises of an archive that is damaged; of a plain array, `with` raises one of them, by Python's
version."""


@dataclass(frozen=True)
class StoredRun:
    """One recorded run.

    A run of an MLflow store without a folder here gets a temporary one; its files are downloaded when asked for.
    """

    record: ResultRecord  # what became of it
    folder: Path  # its folder
    tracking_uri: str | None = None  # MLflow store to fetch missing files from; None where the folder is all there is

    @cached_property
    def bundle(self) -> Path:
        """Folder of the model bundle.

        Raises:
            TrackingError: The run has no model.
        """
        folder, record = self.folder / BUNDLE_DIR, self.record
        if folder.is_dir() and record.status == "FINISHED":
            return folder
        if folder.is_dir():  # it trains on from a shorter run
            raise self._lack(
                "model", f"let it finish with the same command, or name that of the run before it: {folder}"
            )
        if WORDS_TAG in record.tags and "val/loss" in record.metrics and "val/accuracy" not in record.metrics:
            raise self._lack("model", "it learned words alone: name a run that started from them")
        from sentiment.tracking.mlflow.read import NO_MODEL, fetch_run_bundle

        return self._fetch("model", fetch_run_bundle, NO_MODEL)

    @property
    def store(self) -> str | None:
        """The MLflow store that has the run: where it was found, or else recorded; None where it is in none."""
        own = self.record.params.get("tracking.uri")
        return None if self.record.run_id is None else self.tracking_uri or (own and read_portable(own))

    def read_test_predictions(self) -> TestPredictions:
        """Read the predictions for the test split.

        Raises:
            TrackingError: The run was not tested, or the file is damaged.
        """
        file = self._predictions
        remedy = "run it again, or copy the file again"
        reading = explaining(f"{file} cannot be read", remedy, TrackingError, UNREADABLE)
        with reading, file.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            return TestPredictions(labels=content["labels"], probabilities=content["probabilities"])

    @cached_property
    def _predictions(self) -> Path:
        file = self.folder / PREDICTIONS_FILE
        if self.record.params.get("trainer.test") == "false":
            remedy = "it left the test split alone (trainer.test=false): run it again with trainer.test=true"
            raise self._lack("test predictions", remedy)
        # What lies in the folder of a run that has not finished is of another one before it.
        if file.is_file() and self.record.status == "FINISHED":
            return file
        from sentiment.tracking.mlflow.read import fetch_artifact

        fetch = partial(fetch_artifact, name=PREDICTIONS_FILE)
        return self._fetch("test predictions", fetch, "they were deleted there: run it again")

    def _lack(self, what: str, remedy: str) -> TrackingError:
        name = f"{self.record.name!r} ({self.record.status}, {self.folder if self.folder.exists() else 'MLflow'})"
        return TrackingError(f"The run {name} has no {what}.", remedy)

    def _fetch(self, what: str, fetch: Callable[[str, str], Path | None], not_there: str) -> Path:
        """Fetch what a run's folder lacks from its store, into a temporary folder: who made room keeps it.

        `not_there` is the remedy where the store is all there is, and lacks it too.

        Raises:
            TrackingError: The run has not finished, or no store has it.
        """
        if self.record.status != "FINISHED":
            raise self._lack(
                what, "only finished runs have that: choose another, or let it finish with the same command"
            )
        missing = "its folder was emptied"
        try:
            if self.store is not None and self.record.run_id is not None:
                if self.tracking_uri is None:
                    _tell_asked(self.store)
                found = fetch(self.store, self.record.run_id)
                if found is not None:
                    return found
        except TrackingError as error:
            if self.tracking_uri is not None:
                raise
            missing += f", and its store does not help ({first_line(error)})"
        raise self._lack(what, f"{missing}: run it again" if self.tracking_uri is None else not_there)


@cache  # once a store: all folders of a sweep may have been emptied
def _tell_asked(store: str) -> None:
    """Say it before, as a database that is away is tried for minutes."""
    log.warning("What folders of runs have no more is asked of the MLflow store %s.", mask_passwords(store))


def choose_tracking_uri(option: str | None) -> str:
    """Choose the MLflow store: the option, else what ``tracking.uri`` is where nothing names it."""
    uri = anchor_store(option or find_tracking_uri(), Path.cwd())
    name_server(uri)
    return uri


def find_stored_run(name: str, multirun_dir: Path, tracking_uri: str) -> StoredRun:
    """Find one run; arguments as for `find_stored_runs`.

    Raises:
        TrackingError: There is no such run, or the name stands for several.
    """
    runs = find_stored_runs(name, multirun_dir, tracking_uri)
    if len(runs) > 1:
        one = runs[0].record.run_id if runs[0].tracking_uri else runs[0].folder
        raise TrackingError(
            f"{name} holds {len(runs)} runs, but one is needed.",
            f"name one of them by its folder or MLflow run id: {one}",
        )
    return runs[0]


def find_stored_runs(name: str, multirun_dir: Path, tracking_uri: str) -> list[StoredRun]:
    """Find the runs behind a name: all jobs of a multirun, or a single run.

    Args:
        name: A multirun's or a run's folder, its name under `multirun_dir`, or the MLflow id of a parent or a run.
        multirun_dir: Folder that runs and sweeps write their own folders into.
        tracking_uri: MLflow store, asked where no folder has the id.

    Returns:
        At least one run, in the order of their numbers.

    Raises:
        TrackingError: There is none, or a record is damaged.
    """
    folder = find_folder(name, multirun_dir)
    if folder is not None:
        found = _read_folder(folder)
        if folder != expand_home(name):
            _refuse_mistaken_trial(name, found, folder)
        return found
    if RUN_ID.fullmatch(name):
        known = (_find_id(name, multirun_dir, file) for file in (DELIVERY_FILE, RESULT_FILE))
        folder = next(filter(None, known), None) or find_sweep_folder(name, multirun_dir)
        runs = [] if folder is None else _read_folder(folder)
        # In its folder another run may have trained on since, and have the last word there.
        is_here = runs and (runs[0].folder != folder or runs[0].record.run_id == name)
        return runs if is_here else _fetch_runs(name, tracking_uri)
    near = name_near(name, multirun_dir)
    raise TrackingError(
        f"There is no run {name!r}: neither a folder with a {RESULT_FILE}, nor one under {multirun_dir}, "
        "nor an MLflow run id (32 hexadecimal digits).",
        f"did you mean {', '.join(near)}?" if near else "train one first: python run.py",
    )


def find_sweep_folder(parent_run_id: str, multirun_dir: Path) -> Path | None:
    """Find the folder of the sweep that a parent run belongs to; None where it is not on this machine."""
    return _find_id(parent_run_id, multirun_dir, PARENT_FILE)


def find_latest_run(multirun_dir: Path) -> StoredRun:
    """Find the finished run with a model that was recorded last; a try is no result.

    Raises:
        TrackingError: There is none.
    """
    files = sorted(find_files(multirun_dir, RESULT_FILE), key=lambda file: -file.stat().st_mtime)
    for file in files:  # the newest first, so that old records need not be read; a write comes after a start
        if (file.parent / BUNDLE_DIR).is_dir():
            record = read_result(file)
            if record.status == "FINISHED" and not record.is_try:
                return StoredRun(record, file.parent)
    raise TrackingError(
        f"There is no finished run with a model under {multirun_dir}.",
        "train one first: python run.py; or name a model: --model RUN",
    )


def find_folder(name: str, multirun_dir: Path) -> Path | None:
    """Find the folder of a run, or of runs, by its path or its name under `multirun_dir`; None where there is none."""
    for folder in (expand_home(name), multirun_dir / name):
        # Not `Path.is_dir`, which raises for many ids joined by commas: the name is too long.
        if name and os.path.isdir(folder) and next(folder.rglob(RESULT_FILE), None) is not None:  # noqa: PTH112
            return folder
    return None


def _find_id(run_id: str, multirun_dir: Path, name: str) -> Path | None:
    """Find the folder whose file names an MLflow run; read as text, so that a damaged record is no hindrance."""
    for file in sorted(find_files(multirun_dir, name)):
        with suppress(PermissionError):  # a run of somebody else, who keeps it closed
            if re.search(rf'"run_id":\s*"{run_id}"', file.read_text(encoding="utf-8", errors="replace")):
                return file.parent
    return None


def _refuse_mistaken_trial(name: str, runs: Sequence[StoredRun], folder: Path) -> None:
    """Refuse NAME/NUMBER where the number of a job is not that of its trial, by which reports call it.

    Raises:
        TrackingError: The run is another trial's.
    """
    record = runs[0].record
    if runs[0].folder != folder or not is_numbered_otherwise(record):
        return
    raise TrackingError(
        f"{name} is job {record.job_number} of its study, and not trial {record.job_number}: it is repeat "
        f"{record.tags[REPEAT_TAG]} of trial {record.tags[TRIAL_TAG]}; each trial has several jobs.",
        f"name the folder of the job that is meant: {folder}",
    )


def is_numbered_otherwise(record: ResultRecord) -> bool:
    """Return whether the number of a job is not that of its trial, so that its folder has to be named as a path."""
    trial, repeat = record.tags.get(TRIAL_TAG), record.tags.get(REPEAT_TAG)
    return trial is not None and repeat is not None and trial != str(record.job_number)


def _read_folder(folder: Path) -> list[StoredRun]:
    own = folder / RESULT_FILE
    files = [own] if own.is_file() else sorted(folder.rglob(RESULT_FILE))
    if not files:
        raise TrackingError(f"{folder} holds no run yet.", "wait for its first job, or name another")
    found = [StoredRun(read_result(file), file.parent) for file in files]
    return sorted(found, key=lambda run: job_order(run.record))


def name_near(name: str, multirun_dir: Path) -> list[str]:
    """Return what is called alike, sweeps before their runs; where nothing is, what was written last."""
    folders = {file.parent: file.stat().st_mtime for file in find_files(multirun_dir, RESULT_FILE)}
    folders |= {file.parent: folders.get(file.parent, 0.0) for file in find_files(multirun_dir, PARENT_FILE)}
    names = [str(folder.relative_to(multirun_dir)) for folder in sorted(folders, key=lambda folder: -folders[folder])]
    near = difflib.get_close_matches(name, sorted(names, key=len), n=SHOWN_NAMES, cutoff=0.6)
    return near or names[:SHOWN_NAMES]


def _fetch_runs(run_id: str, tracking_uri: str) -> list[StoredRun]:
    from sentiment.tracking.mlflow.read import read_child_records, read_record

    records = read_child_records(tracking_uri, run_id) or [read_record(tracking_uri, run_id)]
    if trained := records[0].tags.get(EVALUATED_TAG):
        raise TrackingError(
            f"The run {run_id} trained no model: it is an evaluation of that of the run {trained}.",
            f"name that one: {trained}",
        )
    return [StoredRun(record, make_temporary_folder(), tracking_uri) for record in records]
