"""Opening a study's storage, and locking it between the processes that claim its trials, on any machine that shares it.

It is a journal file in the study's folder, another journal, an SQLite file or a server.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import sqlite3
import tempfile
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from sentiment.private import make_journal_lock
from sentiment.search.storage.address import (
    Address,
    StorageError,
    explain_held_lock,
    explaining_damage,
    explaining_version,
    read_address,
    storage_errors,
)

logger = logging.getLogger(__name__)

SQLITE_WAIT_SECONDS = 60
"""How long a write waits for another process' write to the same SQLite file."""

GRACE_SECONDS = 10
"""After this time without an append, the link that a killed process left behind is removed from a journal."""

BLOCK_BYTES = 65536

LOCK_POLL_SECONDS = 0.005


def open_storage(url: str | None, study_dir: Path) -> BaseStorage:
    """Open the storage, and create it if it is new; any number of processes may do so at once.

    Args:
        url: None for the journal in `study_dir`; see `sentiment.search.storage.address.read_address`.
        study_dir: The study's folder, made if missing.

    Raises:
        StorageError: If the URL cannot be read, a driver is missing, the server does not answer, or the file is
            locked, damaged or read-only.
    """
    address = read_address(url, study_dir)
    if address.dialect == "journal":
        assert address.path is not None
        return JournalStorage(WholeLineJournal(address.path))
    options: dict[str, Any] = {"pool_pre_ping": True}  # servers close idle connections, and a trial may take hours
    if address.path is not None:
        options = {"connect_args": {"timeout": SQLITE_WAIT_SECONDS}}
        _check_writable(address.path)
        _require_own_database(address.path)
    # Optuna looks whether its tables exist and then creates them, so two first openings would collide.
    with hold_lock(address, "create tables"), storage_errors(f"Opening {address}"), explaining_version(address):
        return RDBStorage(address.connection_url, engine_kwargs=options)


def load_study(storage: BaseStorage, name: str) -> optuna.Study:
    """Load a study in which nothing is drawn or pruned here: what Optuna would build for that takes time and memory."""
    return optuna.load_study(study_name=name, storage=storage, sampler=RandomSampler(), pruner=NopPruner())


def close_storage(storage: BaseStorage) -> None:
    """Close the connections that `open_storage` opened, before the process goes on to other things."""
    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


def hold_lock(
    address: Address, purpose: str, timeout_seconds: float = 120, *, is_once: bool = False
) -> AbstractContextManager[None]:
    """Exclude every other process and thread that locks the same storage for the same purpose; not reentrant.

    The kernel releases a file's lock, and the server a session's lock, when the holder dies however it dies, so
    no lock is ever left behind and none has to be guessed stale. On a shared folder this needs a file system
    that passes locks on between machines (NFS 4 does).

    Args:
        address: The storage.
        purpose: What is locked of it.
        timeout_seconds: Longest wait.
        is_once: Do not keep a server's session for the next time: a server has few, and there may be many jobs.

    Raises:
        StorageError: If the wait was in vain, or the lock cannot be taken or was lost.
    """
    if address.path is not None:
        return _hold_file_lock(address.path, purpose, timeout_seconds)
    from sentiment.search.storage.server_lock import hold_server_lock  # SQLAlchemy: a third of a worker's start

    return hold_server_lock(address, purpose, timeout_seconds, is_once=is_once)


@contextmanager
def _hold_file_lock(path: Path, purpose: str, timeout_seconds: float) -> Iterator[None]:
    # `.lock` alone is the name of Optuna's own lock of a journal.
    lock_path = path.with_name(f"{path.name}.{hashlib.sha256(purpose.encode()).hexdigest()[:8]}.claim")
    # The soft lock that filelock would fall back to survives its holder, so none at all is better.
    lock = FileLock(lock_path, fallback_to_soft=False)
    with storage_errors(f"Locking {lock_path}"):
        try:
            lock.acquire(timeout=timeout_seconds, poll_interval=LOCK_POLL_SECONDS)
        except Timeout as error:
            holder = f"a stopped or stalled process; `fuser {lock_path}` names it"
            raise explain_held_lock(str(lock_path), timeout_seconds, holder) from error
    try:
        yield
    finally:
        lock.release()


def _check_writable(path: Path) -> None:
    # SQLite opens a read-only file readily and fails at the first result; it also needs to write beside the file.
    with storage_errors(f"Opening the SQLite file {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
        if path.exists():
            path.open("r+b").close()


def _require_own_database(path: Path) -> None:
    """Refuse a database of another program before anything is written beside it.

    Raises:
        StorageError: The file has tables, but none of a study.
    """
    if not path.exists() or path.stat().st_size == 0:
        return
    with storage_errors(f"Opening the SQLite file {path}"):
        # Not mode=ro: what a killed process was writing has to be rolled back before anything can be read.
        uri = f"{path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=SQLITE_WAIT_SECONDS)) as connection:
            names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if (names and "studies" not in names) or "experiments" in names:
        raise StorageError(
            f"{path} is a database of another program: it has the tables {', '.join(sorted(names)[:5])}.",
            "name another file, or null for a journal in the study's folder",
        )


class WholeLineJournal(JournalFileBackend):
    """A journal in which every line is whole.

    A process killed in the middle of an append, or a power cut, leaves half a line. Optuna's next append would
    glue itself to it, and no process could read the file again. Here each append first cuts such a tail, which
    nobody was ever told had been written, back to the last newline. Readers never consumed it either: they take
    no line without its newline.

    Optuna's own lock, a symbolic link, is kept since other programs (optuna-dashboard) take it too. It can be
    broken while its holder is merely slow, or by two waiters at once, so a kernel lock on the file itself guards
    the cut and the write as well.

    Raises:
        StorageError: If the file or its folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        with storage_errors(f"Opening the journal file {self._path}"):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Readers need neither, so a read-only study would go unnoticed until its first result.
            tempfile.TemporaryFile(dir=self._path.parent).close()
            self._path.open("ab").close()
            self._link = make_journal_lock(self._path, GRACE_SECONDS)
            super().__init__(str(self._path), self._link)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append whole lines and return once they are on the disk, or leave the file as it was.

        Raises:
            StorageError: If the lines cannot be written, e.g. on a full disk.
        """
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with storage_errors(f"Writing to the journal file {self._path}"), self._exclusive() as descriptor:
            end = _cut_torn_tail(descriptor)
            try:
                _write_all(descriptor, lines)
            except OSError:
                os.ftruncate(descriptor, end)
                raise
            # Not cut back if this fails: whole lines may have been read by others already.
            os.fsync(descriptor)

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Yield the entries from the given one on.

        Raises:
            StorageError: If a line in the middle of the file is damaged, or the file is gone.
        """
        with storage_errors(f"Reading the journal file {self._path}"), explaining_damage(self._path):
            yield from super().read_logs(log_number_from)

    @contextmanager
    def _exclusive(self) -> Iterator[int]:
        self._link.acquire()
        try:
            # No O_CREAT: a study whose folder was removed must not come back as an empty file.
            descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield descriptor
            finally:
                os.close(descriptor)  # releases the kernel lock
        finally:
            self._release_link()

    def _release_link(self) -> None:
        try:
            self._link.release()
        except RuntimeError:
            # Another process took this one for dead and removed the link. What was done is done, and the kernel
            # lock kept it whole, so this is no reason to report the append as failed.
            logger.warning("The lock of %s was broken by another process after %s s", self._path, GRACE_SECONDS)


def _write_all(descriptor: int, content: bytes) -> None:
    written = 0
    while written < len(content):  # a full disk first shows as a short write, and as an error on the next one
        written += os.write(descriptor, content[written:])


def _cut_torn_tail(descriptor: int) -> int:
    """Cut the file behind its last newline.

    Returns:
        The file's length.
    """
    length = os.fstat(descriptor).st_size
    end = length
    while end > 0:
        start = max(0, end - BLOCK_BYTES if end < length else end - 1)  # nearly always one byte is enough
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < length:
        logger.warning("Removed %s bytes of an unfinished line from the journal", length - end)
        os.ftruncate(descriptor, end)
    return end
