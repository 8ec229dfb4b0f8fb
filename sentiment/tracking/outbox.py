"""All that MLflow is to record of a run is noted in the run's folder first, so that MLflow cannot delay or end a run.

``mlflow.jsonl`` has a line for everything that is to be delivered, in order; ``mlflow.json`` says how far delivery has
come, and which run in MLflow it goes to. Who runs a job writes the first, who delivers (the command that started the
run or the sweep, or ``python -m sentiment sync``) the second.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import pydantic

from sentiment.config.home import read_portable, write_portable
from sentiment.credentials import is_same_store
from sentiment.errors import TrackingError, explaining
from sentiment.format import mask_passwords
from sentiment.json_file import parse_dataclass, read_dataclass, write_json
from sentiment.paths import OWN_FOLDER
from sentiment.tracking.ending import Ending

log = logging.getLogger(__name__)

BUNDLE_SETTINGS = "settings.json"
"""The file by which a folder is known to be a bundle: `sentiment.models.bundle` would bring torch along."""

OUTBOX_FILE = "mlflow.jsonl"

DELIVERY_FILE = "mlflow.json"

SILENT_SECONDS = 2.0
"""A longer wait is told."""

POLL_SECONDS = 0.05
"""Time between two attempts at a lock that somebody holds."""

Note = dict[str, Any]
"""One line: its ``kind``, its ``time`` in MLflow's unit (ms), and what belongs to it."""


Point = Annotated[tuple[str, float, int, int], pydantic.Field(strict=False)]
"""Name, value, time in ms, step; JSON has a list for it."""

Told = Annotated[dict[str, Any], pydantic.AfterValidator(partial(parse_dataclass, Ending))]
"""What `ending_to_json` says of an ending."""

FIELDS: Mapping[str, Mapping[str, Any]] = {
    "start": {
        **dict.fromkeys(("key", "uri", "experiment", "artifact_dir", "name", "resolved_yaml"), str),
        **dict.fromkeys(("first_tags", "params", "tags"), dict[str, str]),
        "run_id": str | None,
        "overrides": list[str],
    },
    "tags": {"tags": dict[str, str]},
    "metrics": {"points": list[Point]},
    "files": {"files": dict[str, str | None]},
    "model": {"bundle": str, "class_names": list[str], "points": list[Point]},
    "end": {"ending": Told, "is_job": bool},
    "standing": {"tags": dict[str, str], "metrics": dict[str, float]},
    "sweep_end": {"ending": Told, "files": list[str], "texts": dict[str, str]},
}
"""Kinds of notes to what each has; all have their ``time``. Those of files have their ``digests`` by name, and starts
their ``folder``; earlier versions noted neither."""


OTHER_FOLDER = "choose another folder: hydra.run.dir=FOLDER, for a sweep hydra.sweep.dir=FOLDER"
"""The remedy where a folder cannot be taken; a multirun does not read the first key, nor a single run the second."""


@dataclass(frozen=True)
class Delivery:
    """How far the delivery of an outbox has come."""

    offset: int = 0  # bytes of the outbox that are delivered
    run_id: str | None = None  # the run in MLflow; None: there is none yet, or none any more
    uri: str | None = None  # its store, as it may be written down: without a password, the project's folder portable
    key: str | None = None  # what the run calls itself; None for a parent run

    @property
    def is_deleted(self) -> bool:
        """Whether the run was deleted in its store."""
        return self.run_id is None and self.uri is not None


def writing(file: Path) -> AbstractContextManager[None]:
    """Explain why a file in the folder of a run or of a sweep cannot be written, as a `TrackingError`."""
    return explaining(f"{file} cannot be written", f"free space, or {OTHER_FOLDER}", TrackingError)


def lock(descriptor: int, file: Path, *, waits: bool = False) -> None:
    """Lock an open file until it is closed; on a file system that has no locks, only say that it has none.

    Raises:
        BlockingIOError: Somebody else has locked it, and it was not to be waited for.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        _tell_no_locks(next(folder for folder in file.absolute().parents if folder.is_mount()), str(error))


@cache  # once a file system
def _tell_no_locks(folder: Path, error: str) -> None:
    log.warning(
        "The file system at %s has no locks (%s): a second command on a study or a run there would not be noticed.\n"
        "  -> start it with tracking=none, and no `sync` before the first one has ended: else both deliver to MLflow, "
        "and runs may lose what they noted there",
        folder,
        error,
    )


class Outbox:
    """The two files in the folder of a run, or of a sweep for its parent run.

    Args:
        folder: The folder.
        is_held: Notes wait until `release`.
    """

    def __init__(self, folder: Path, *, is_held: bool = False) -> None:
        self.folder = folder
        self._file = folder / OUTBOX_FILE
        self._held = b"" if is_held else None

    def note(self, kind: str, **content: Any) -> None:
        """Add a line; several commands may do so at once.

        Raises:
            TrackingError: The folder cannot be written.
        """
        note = {"kind": kind, "time": int(time.time() * 1000), **content}
        line = json.dumps(note, ensure_ascii=False).encode() + b"\n"
        if self._held is None:
            self._write(line)
        else:
            self._held += line

    def release(self) -> None:
        """Write the notes that wait, and further ones at once.

        Raises:
            TrackingError: The folder cannot be written.
        """
        held, self._held = self._held, None
        if held:
            self._write(held)

    def _write(self, line: bytes) -> None:
        with writing(self._file):
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab+", buffering=0) as file:
                lock(file.fileno(), self._file, waits=True)
                end = file.seek(0, 2)
                file.seek(max(0, end - 1))
                if end and file.read(1) != b"\n":  # its writer was killed within the line
                    line = b"\n" + line
                if file.write(line) < len(line):  # no error: the disk took what it had room for
                    file.truncate(end)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def read(self, offset: int = 0) -> list[tuple[int, Note]]:
        """Return the whole lines from an offset on, each with the offset of its end; damaged ones are left out."""
        return list(self._read(offset))

    def _read(self, offset: int) -> Iterator[tuple[int, Note]]:
        if not self._file.exists():
            return
        with self._file.open("rb") as file:
            file.seek(offset)
            for line in file:
                offset += len(line)
                try:
                    note = json.loads(line)
                    yield offset, note if is_sound(note) else {"kind": "damaged"}
                except (ValueError, RecursionError):
                    if line.endswith(b"\n"):  # else its writer is at it
                        yield offset, {"kind": "damaged"}

    def find_begin(self, key: str) -> int:
        """Find the offset at which the first attempt at a run starts."""
        begin = 0
        for end, note in self._read(0):
            if note["kind"] == "start" and note["key"] == key:
                break
            begin = end
        return begin

    @property
    def is_copy(self) -> bool:
        """Whether the run that began last did so in another folder, of which this one is a copy."""
        starts = [note for _, note in self.read() if note["kind"] == "start"]
        return bool(starts) and is_copy(self._file, starts[-1].get("folder"), starts[-1]["key"])

    @property
    def delivery(self) -> Delivery:
        """How far delivery has come; from the start where nobody knows: what is delivered twice counts once."""
        return read_delivery(self.folder)

    def save(self, delivery: Delivery) -> None:
        """Write how far delivery has come.

        Raises:
            OSError: It cannot be written.
        """
        write_json(self.folder / DELIVERY_FILE, asdict(delivery))

    def begin(self, run_id: str, uri: str) -> None:
        """Take a run in MLflow for what is noted from now on.

        Raises:
            OSError: It cannot be written.
        """
        size = self._file.stat().st_size if self._file.exists() else 0
        self.save(Delivery(size, run_id, write_uri(uri)))

    @property
    def stores(self) -> set[str]:
        """Where what is noted goes to, as it may be written down."""
        noted = {note["uri"] for _, note in self.read() if note["kind"] == "start"}
        return noted | {uri for uri in [self.delivery.uri] if uri is not None}

    @property
    def is_used(self) -> bool:
        """Whether anything was ever noted."""
        return self._file.exists()

    @property
    def waiting(self) -> Note | None:
        """The note that is to be delivered next; None where nothing waits."""
        offset = self.delivery.offset
        if not self._file.exists() or offset >= self._file.stat().st_size:
            return None
        return next((note for _, note in self._read(offset)), None)

    @property
    def is_delivered(self) -> bool:
        """Whether nothing waits."""
        return self.waiting is None

    @property
    def store(self) -> str | None:
        """Where the note goes that is to be delivered next; None where nobody knows."""
        note = self.waiting or {}
        return note["uri"] if note.get("kind") == "start" else self.delivery.uri

    @contextmanager
    def delivering(self, *, waits: bool = False) -> Iterator[bool]:
        """Keep others from delivering the same, and from giving it a run; False where somebody else is at it.

        Args:
            waits: Wait until nobody is.

        Raises:
            TrackingError: The folder cannot be written.
        """
        sign, began, is_told = self.folder / f".{DELIVERY_FILE}.lock", time.monotonic(), False
        while True:
            with writing(sign):
                file = sign.open("w")  # anew for each look: a person may have removed it
            with file:
                try:
                    lock(file.fileno(), sign)
                except BlockingIOError:
                    if not waits:
                        yield False
                        return
                else:
                    yield True
                    return
            if not is_told and time.monotonic() - began > SILENT_SECONDS:
                log.info(
                    "Another command holds %s, and delivers to MLflow; waiting for its end.\n"
                    "  -> only where that command's machine is gone for good, remove the file",
                    sign,
                )
                is_told = True
            time.sleep(POLL_SECONDS)

    def remove(self) -> None:
        """Remove it: the folder is a copy, and what it records is delivered from the original."""
        for name in (OUTBOX_FILE, DELIVERY_FILE):
            (self.folder / name).unlink(missing_ok=True)


def is_sound(note: Any) -> bool:
    """Return whether a line is a note as `Outbox.note` writes it: who delivers need not look again."""
    try:
        _check_note(note["kind"]).model_validate(note)
    except (KeyError, TypeError, ValueError):
        return False
    return True


@cache
def _check_note(kind: str) -> type[pydantic.BaseModel]:
    fields: Any = {name: (field, ...) for name, field in FIELDS[kind].items()}
    fields |= {"time": (int, ...), "digests": (dict[str, str | None], {}), "folder": (str, "")}
    return pydantic.create_model(kind, __config__=pydantic.ConfigDict(strict=True), **fields)


def read_delivery(folder: Path) -> Delivery:
    """Read how far the delivery of a folder has come; nothing is delivered where it does not say so."""
    file = folder / DELIVERY_FILE
    try:
        return read_dataclass(Delivery, file)
    except FileNotFoundError:
        return Delivery()
    except (OSError, ValueError, TypeError) as error:
        log.warning("%s cannot be read (%s): its run is delivered again, and counts once.", file, error)
        return Delivery()


def find_run_id(folder: Path) -> str | None:
    """Return the MLflow run of what a folder holds; None where MLflow does not know of it yet.

    A run that trains on in the folder of a shorter one is another: until it is delivered, that one's id is none of its.
    """
    outbox = Outbox(folder)
    delivery = outbox.delivery
    waiting = [] if outbox.is_delivered else outbox.read(delivery.offset)
    keys = [note["key"] for _, note in waiting if note["kind"] == "start"]
    return delivery.run_id if keys[-1:] in ([], [delivery.key]) else None


def hash_file(file: Path) -> str | None:
    """Return the digest by which a noted file is known again; of a bundle, that of the checksums of its files."""
    one = file / BUNDLE_SETTINGS if file.is_dir() else file
    return hashlib.sha256(one.read_bytes()).hexdigest() if one.is_file() else None


def write_uri(uri: str) -> str:
    """Write a store's address as it may be kept."""
    return write_portable(mask_passwords(uri))


def write_folder(folder: Path, uri: str) -> str:
    """Write the folder of what goes into a store, for `is_copy`.

    It is portable where the store's address is: a copy of the project has a copy of the store, with the same runs.
    """
    place = str(folder.resolve())
    return write_portable(place) if OWN_FOLDER in write_uri(uri) else place


def is_copy(file: Path, folder: str | None, name: str) -> bool:
    """Return whether a file is a copy, whose original is where it was; of one that was moved there is none.

    Args:
        file: It names a run in MLflow.
        folder: Where it was written, by `write_folder`; None where nobody knows: an earlier version wrote it.
        name: Id or key of the run.
    """
    if folder is None:
        return False
    original = Path(read_portable(folder)) / file.name
    if not os.access(original, os.R_OK) or original.parent.samefile(file.parent):
        return False
    return f'"{name}"'.encode() in original.read_bytes()


def find_outboxes(folder: Path) -> list[Outbox]:
    """List the outboxes in a folder and below it: those of runs in order of their folders, then the sweep's own."""
    files = sorted(folder.rglob(OUTBOX_FILE), key=lambda file: (file.parent == folder, file))
    return [Outbox(file.parent) for file in files]


def tell_other_store(before: str, now: str) -> None:
    """Log where the earlier part of what goes on is recorded, if that is another store."""
    if not is_same_store(before, now):
        told = "It was recorded in %s so far, and goes on in %s; tracking.uri=%s goes on in the first."
        log.info(told, *map(mask_passwords, (before, now, before)))
