"""``result.json``: what became of one run, in its own folder, whatever the tracking is.

A sweep's table is made from these files: they exist with every kind of tracking and for every job, in whichever
process it ran, and an interrupted sweep still has them. A process that is killed outright leaves RUNNING behind.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from sentiment.config.identity import keep_determining, read_recorded
from sentiment.errors import FailureKind, TrackingError, first_line
from sentiment.json_file import parse_dataclass, read_json, write_json
from sentiment.tracking.ending import FINAL, Status
from sentiment.tracking.outbox import OTHER_FOLDER, Outbox, find_run_id, writing
from sentiment.tracking.run_name import name_option

log = logging.getLogger(__name__)

RESULT_FILE = "result.json"

FINGERPRINT_TAG = "data.fingerprint"
"""Tells which data a run read; runs of another fingerprint do not compare."""

EPOCHS = "trainer.max_epochs"

RESUME = "trainer.resume"

DEBUG = "trainer.debug"

LAST_CHECKPOINT = Path("checkpoints", "last.ckpt")
"""What a run goes on from, in its folder."""

CONTINUES_TAG = "trial.continues"
"""Tag of a run that went on from the checkpoint of another one of its study, at other settings: that one's folder."""

TRAINED_ON_TAG = "trainer.trained_on"
"""Tag of a run that trained on in its folder: after how many epochs. Its learning rate was another one than that of a
run in one piece, so it stands among the settings."""

EARLIER_COMMITS_TAG = "git.commit.earlier"
"""Tag of a run that went on by another commit: those of the attempts before it."""

TRIAL_TAG, REPEAT_TAG = "trial.number", "trial.repeat"
"""Tags of a job of a study: its trial, and which of the trial's repeats it is, from 0."""

ADOPTED_TAG = "trial.adopted"
"""The run was another study's, and was taken over with its folder; MLflow keeps it under that study's parent. Its value
is the key by which MLflow knows the run, or will; ``true`` without one."""

COPIED_TAG = "sweep.copied"
"""With `ADOPTED_TAG`: the run is no other study's, but its sweep's folder is a copy, and MLflow keeps it under the
parent of the original."""

EVALUATED_TAG = "evaluation.of"
"""Tag of a run that only evaluated a model: the run that trained it."""

PARENT_FILE = "parent_run.json"
"""Names a sweep's parent run, in the sweep's folder; see `sentiment.tracking.mlflow.parent`."""

CPU_THREADS = re.compile(r"(?:\d+ x )?cpu \((\d+) threads?\)")
"""How `sentiment.training.device.name_device` names a processor, with the threads of each process."""

RUN_ID = re.compile("[0-9a-f]{32}")
"""What MLflow's run ids look like."""


WORDS_TAG = "pretrain.words"
"""Tag of a run that started from learned words: their fingerprint, which is the name of their folder."""

START_TAG = "init_from.model"
"""Tag of a run that started from a trained model: hash of its weights."""

LESSONS_TAG = "teachers.lessons"
"""Tag of a run with teachers: fingerprint of what they are and which reviews they answered."""

KNOWN_TAGS = {"validation": "validation.known", "test": "test.known"}
"""Tags of a run with a start or teachers: how many of its reviews of a split these know, e.g. ``120 of 200``; or
`NONE_KNOWN`. A run without the tag has no such models, or is of a version that told it in the log alone."""

NONE_KNOWN = "none"

BEHIND_NAMES = {
    WORDS_TAG: "started from words that were learned from different texts",
    START_TAG: "started from different models of one name",
    LESSONS_TAG: "learned from different teachers of one name, or different reviews without labels",
}
"""Tags of what names among the settings stood for, and what is said of runs that differ in one: these are no seeds of
one setting. A run of a version without the tag differs from none."""


@dataclass(frozen=True)
class ResultRecord:
    """One run."""

    name: str  # readable name
    model: str  # ``model.name``
    status: Status  # how it stands or ended
    started: str  # start, ISO 8601 in UTC
    overrides: tuple[str, ...] = ()  # what the command line changed
    params: Mapping[str, str] = field(default_factory=dict)  # every resolved setting, flattened
    job_number: int | None = None  # number of the job in its multirun; None for a single run
    kind: FailureKind | None = None  # kind of failure
    reason: str | None = None  # why it failed, was killed or pruned, in a line
    # MLflow run; None where MLflow is off, or does not know of it yet. See `sentiment.tracking.outbox`.
    run_id: str | None = None
    # ``val/...`` and ``test/...`` of the selected checkpoint, ``val/...`` of a pruned run's best validation; empty
    # until the run finishes or is pruned.
    metrics: Mapping[str, float] = field(default_factory=dict)
    history: tuple[Mapping[str, float], ...] = ()  # every validation in order: ``step``, ``epoch`` and the metrics
    parameters: int | None = None  # trainable parameters
    seconds: float | None = None  # wall time of fitting, without the test
    epochs: float | None = None  # passes over the training data
    best_epoch: float | None = None  # epoch of the selected checkpoint
    test_reviews: int | None = None  # reviews N of the test split; None where it was left alone
    # What it was made with (code, versions, hardware) and on (device, data fingerprint).
    tags: Mapping[str, str] = field(default_factory=dict)
    # Folder that the record was read from, whatever its jobs are called; None elsewhere, and never stored.
    folder: Path | None = field(default=None, compare=False)

    @property
    def option(self) -> str:
        """The option of ``model`` as it was typed, else its name; see `name_option`."""
        return name_option(self.model, self.overrides)

    @property
    def shares(self) -> dict[str, str]:
        """Settings that split its sums of floats: devices and nodes, where it had several; CPU threads, where known."""
        several = {key: self.params.get(key, "1") for key in ("trainer.devices", "trainer.nodes")}
        found = {key: count for key, count in several.items() if count != "1"}
        if match := CPU_THREADS.fullmatch(self.tags.get("device", "")):
            found["trainer.threads"] = str(int(match[1]) * int(several["trainer.devices"]))  # which devices share out
        return found

    @property
    def settings(self) -> dict[str, str]:
        """Every setting, and what else made it what it is: epochs after which it trained on, whose copy it is."""
        return {**self.params, **{tag: self.tags.get(tag, "null") for tag in (TRAINED_ON_TAG, CONTINUES_TAG)}}

    @property
    def numbers(self) -> dict[str, float]:
        """All metrics, and what the run cost under the names that an objective may have."""
        costs = {"model/parameters": self.parameters, "time/fit_seconds": self.seconds}
        return {**self.metrics, **{name: float(value) for name, value in costs.items() if value is not None}}

    @property
    def is_try(self) -> bool:
        """Whether it was made to try a run; see `is_try`."""
        return is_try(self.params)


def is_try(params: Mapping[str, str]) -> bool:
    """Return whether a run was made with ``trainer.debug``: it is no result, and nothing ranks or compares it."""
    return params.get(DEBUG, "null") != "null"


def differ_in(tag: str, records: Iterable[ResultRecord]) -> bool:
    """Return whether those of the records that have a tag differ in it."""
    return len({record.tags[tag] for record in records if tag in record.tags}) > 1


def write_commit(record: ResultRecord) -> str:
    """Return the commits that the attempts at a run were made by, and whether there were changes beside them."""
    changed = " with uncommitted changes" if record.tags.get("git.dirty") == "true" else ""
    return f"{', then '.join(list_commits(record) or ['unknown'])}{changed}"


def list_commits(record: ResultRecord) -> list[str]:
    """List the commits that the attempts at a run were made by, the last one last; empty where nobody knows."""
    commits = record.tags.get(EARLIER_COMMITS_TAG, "").split(", ")
    return list(filter(None, [*commits, record.tags.get("git.commit")]))


def write_result(output_dir: Path, record: ResultRecord) -> None:
    """Write ``result.json``; a reader sees the old file or the new one, never half of one.

    Raises:
        TrackingError: The folder cannot be written.
    """
    file = output_dir / RESULT_FILE
    with writing(file):
        write_json(file, list_facts(record))


def amend_result(output_dir: Path, **changes: Any) -> None:
    """Change fields in ``result.json`` of a run that is over; it keeps its date, by which the latest run is found.

    Raises:
        TrackingError: The file is damaged, or the folder cannot be written.
    """
    file = output_dir / RESULT_FILE
    record, found = read_result(file), file.stat()
    write_result(output_dir, replace(record, **changes))
    with writing(file):
        os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))


def list_facts(record: ResultRecord) -> dict[str, Any]:
    """Return a record as JSON stores it."""
    return {name: value for name, value in asdict(record).items() if name != "folder"}


def make_record(content: Mapping[str, Any]) -> ResultRecord:
    """Make a record of what JSON says of it.

    Raises:
        TypeError, ValueError, KeyError: It is of another form.
    """
    lists = {name: tuple(content[name]) for name in ("overrides", "history")}
    record = parse_dataclass(ResultRecord, {**content, **lists})
    datetime.fromisoformat(record.started)
    if not all({"step", "epoch"} <= point.keys() for point in record.history):
        raise ValueError("history: a validation has no step or no epoch")
    return record


def read_result(file: Path) -> ResultRecord:
    """Read one ``result.json``.

    Raises:
        TrackingError: The file is damaged or of another version.
    """
    try:
        record = make_record(read_json(file))
        is_told = record.params.get("tracking.mlflow") != "false"  # else what is delivered is of a run before it
        run_id = (find_run_id(file.parent) if is_told else None) or record.run_id
        return replace(record, params=read_recorded(record.params), run_id=run_id, folder=file.parent)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TrackingError(
            f"{file} cannot be read as the result of a run ({type(error).__name__}: {error}).",
            "it was edited, cut off or written by another version: remove it to leave this run out",
        ) from error


def is_of_another_study(record: ResultRecord) -> bool:
    """Return whether a study took a run over from another one."""
    return ADOPTED_TAG in record.tags and COPIED_TAG not in record.tags


def adopt_record(record: ResultRecord, job_number: int, key: str = "true") -> ResultRecord:
    """Return the record of an equal run of another study as that of a job here; `key` as of `ADOPTED_TAG`."""
    own = (TRIAL_TAG, REPEAT_TAG, COPIED_TAG)  # of its own study
    kept = {ADOPTED_TAG: key, **{name: text for name, text in record.tags.items() if name not in own}}
    return replace(record, job_number=job_number, tags=kept)


class Left(NamedTuple):
    """What a run finds in its folder."""

    # What it may go on from: an interrupted attempt at it, or a run of fewer epochs. That one has finished, or trained
    # on from a finished one and was cut off.
    record: ResultRecord | None
    is_shorter: bool = False  # it is a run of fewer epochs
    # The folder keeps what it holds, a run that can go on, until this one has trained a whole epoch.
    stays: bool = False


def read_left(output_dir: Path, params: Mapping[str, str], *, is_typed: bool = True) -> Left:
    """Read what a run may go on from in its folder.

    Nothing of another run: its settings differ from `params`, those of the run that starts now, in more than where and
    how a run is done. Yet a single run that was cut off stays for the command that it is of, as long as this one has
    nothing to show: the wrong one may have been typed. Nobody types the command of a job, or of the words that a run
    learns first: False in `is_typed`.

    Raises:
        TrackingError: A run has already finished in this folder, and does not go on.
    """
    record = _read_own(output_dir)
    has_checkpoint = (output_dir / LAST_CHECKPOINT).exists()
    if record is None or record.status not in FINAL:
        if record is not None and _raises_epochs(record, params) and has_checkpoint:
            return Left(record, is_shorter=True, stays=True)
        if record is not None and _is_same_run(output_dir, record, params):
            return Left(record)
        return Left(None, stays=record is not None and has_checkpoint and is_typed)
    if not _raises_epochs(record, params):
        raise refuse_overwriting(output_dir, record)
    if not has_checkpoint:
        why = f"{output_dir / LAST_CHECKPOINT} is missing: train with {RESUME}=keep"
        raise refuse_overwriting(output_dir, record, why)
    if params.get(RESUME) == "false":
        raise refuse_overwriting(output_dir, record, f"{RESUME} is false")
    return Left(record, is_shorter=True, stays=True)


def can_go_on(output_dir: Path, params: Mapping[str, str]) -> bool:
    """Return whether a single run that was interrupted goes on from what its folder holds when it is started again."""
    record = read_result_of(output_dir)
    if record is None or not (output_dir / LAST_CHECKPOINT).exists():
        return False
    if not record.history and EARLIER_COMMITS_TAG not in record.tags:  # it has the tag where its history was lost
        return False
    return keep_determining(record.params) == keep_determining(params) or _raises_epochs(record, params)


def refuse_overwriting(output_dir: Path, record: ResultRecord, why: str | None = None) -> TrackingError:
    """Return the refusal to run in the folder of a run that has ended; `why` says why this one cannot train on."""
    reason = "" if why is None else f"; it cannot train on, as {why}"
    return TrackingError(
        f"{output_dir / RESULT_FILE} holds a run that is {record.status}; it would be overwritten.",
        f"{OTHER_FOLDER}; or remove this one to run it again{reason}",
    )


def _raises_epochs(record: ResultRecord, params: Mapping[str, str]) -> bool:
    """Whether a single run has finished once, and the one that starts differs from it in having more epochs alone."""
    now, then = keep_determining(params), keep_determining(record.params)
    epochs, fewer = now.pop(EPOCHS, ""), then.pop(EPOCHS, "")
    is_more = epochs.isdecimal() and fewer.isdecimal() and int(epochs) > int(fewer)
    has_finished = record.status == "FINISHED" or TRAINED_ON_TAG in record.tags
    return is_more and now == then and has_finished and record.job_number is None


def read_ended(output_dir: Path, params: Mapping[str, str]) -> ResultRecord | None:
    """Read the record of the same run where it has already finished or was pruned in its folder.

    That is how a search finds a result whose process was killed between recording and telling it.
    """
    record = _read_own(output_dir)
    is_found = record is not None and record.status in FINAL and _is_same_run(output_dir, record, params)
    return record if is_found else None


def read_result_of(output_dir: Path) -> ResultRecord | None:
    """Read the ``result.json`` of a run's folder; None where it has none.

    Raises:
        TrackingError: The file is damaged.
    """
    file = output_dir / RESULT_FILE
    return read_result(file) if file.exists() else None


def _read_own(output_dir: Path) -> ResultRecord | None:
    """Read the record of the run that is about to start; a damaged one is written anew, as if there were none."""
    try:
        return read_result_of(output_dir)
    except TrackingError as error:
        log.warning("%s\nThe run is recorded anew.", first_line(error))
        return None


def _is_same_run(output_dir: Path, record: ResultRecord, params: Mapping[str, str]) -> bool:
    now, then = keep_determining(params), keep_determining(record.params)
    changed = sorted(name for name in {**now, **then} if now.get(name) != then.get(name))
    if changed:
        told = "%s is of another run (%s differ): nothing of it is taken."
        log.warning(told, output_dir / RESULT_FILE, ", ".join(changed))
    return not changed


def read_results(sweep_dir: Path) -> tuple[list[ResultRecord], list[str]]:
    """Read the results of all jobs under a sweep's folder.

    Returns:
        The results in the order of their numbers, and a sentence on every file that is damaged or of another version.
    """
    records, damaged = [], []
    for file in sorted(sweep_dir.rglob(RESULT_FILE)):
        try:
            records.append(read_result(file))
        except TrackingError as error:
            damaged.append(first_line(error))
    return sorted(records, key=job_order), damaged


def leave_originals(folder: Path) -> None:
    """Leave what MLflow is to have of a folder, which is a copy, to its original: that one delivers it.

    Raises:
        TrackingError: The folder cannot be written.
    """
    for record in read_results(folder)[0]:
        assert record.folder is not None
        outbox = Outbox(record.folder)
        if not outbox.is_used and record.run_id is None:
            continue
        keys = [note["key"] for _, note in outbox.read() if note["kind"] == "start"]
        copied = {} if ADOPTED_TAG in record.tags else {COPIED_TAG: "true"}
        tags = {**record.tags, **copied, ADOPTED_TAG: (keys or [record.tags.get(ADOPTED_TAG, "true")])[-1]}
        amend_result(record.folder, tags=tags)
        outbox.remove()


def job_order(record: ResultRecord) -> tuple[bool, int]:
    """Return the key that sorts records by their job numbers, and single runs last."""
    return record.job_number is None, record.job_number or 0
