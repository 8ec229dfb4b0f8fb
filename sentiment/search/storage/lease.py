"""Who is alive: a lease ends with its process, and others see it without comparing clocks of machines."""

from __future__ import annotations

import logging
import math
import os
import re
import socket
import stat
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from sentiment.errors import SentimentError, explaining

logger = logging.getLogger(__name__)

FOLDER_PREFIX = "sentiment-leases-"

MOST_FOLDERS = 100

HEARTBEAT_SECONDS = 12.0
"""Time between two heartbeats of a command, or of a job."""

LITTER_SECONDS = 7 * 24 * 3600
"""Files of leases that ended longer ago than this are removed."""

SILENT_SECONDS = 120
"""After so long without a heartbeat from another machine, people are told that nobody works there."""

OWN_LOCK = re.compile(r"[0-9a-f]{32}\.lock")

_held: dict[str, int] = {}
"""The leases held here, with the process that took them: a forked child is not its parent. A module's state, because
it is the process that holds a lock: every `Watch` in it has to know its own leases."""

_heard: dict[str, tuple[int, float]] = {}
"""Leases of other machines that people asked for: the count of each, and when it was seen to rise."""


class LeaseError(SentimentError):
    """A lease cannot be taken, or its holder cannot tell others that it is alive."""


class Lease:
    """The proof that a process lives, as long as it lives.

    On the holder's machine the proof is a locked file: the kernel drops the lock with the process, at once and
    whatever ended it. Elsewhere it is a counter that the holder raises and writes where others can read it
    (`Heartbeat`), so no clock is compared with another's.
    """

    def __init__(self, kind: str, lease_id: str, lock: FileLock) -> None:
        self.kind = kind
        self.lease_id = lease_id
        self._lock = lock
        self._started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._since, self._since_monotonic = time.time(), time.monotonic()
        self._pid = os.getpid()
        self._beats = 0
        self.is_ending = False

    @classmethod
    def take(cls, kind: str) -> Lease:
        """Take a new lease for this process.

        Args:
            kind: What the holder is, for people: ``controller``, ``worker``, ``job``.

        Raises:
            LeaseError: If the file that proves it cannot be locked.
        """
        lease_id = uuid.uuid4().hex
        where, remedy = tempfile.gettempdir(), "make it writable, or set TMPDIR to a local folder"
        with explaining(f"No lease can be taken in {where}", remedy, LeaseError):
            folder = make_own_folder(FOLDER_PREFIX)
            if kind == "controller":  # not each job
                _remove_litter(folder)
            # Shared by all threads: the heartbeat's thread and the owner's hold one lease.
            lock = FileLock(str(folder / f"{lease_id}.lock"), thread_local=False, fallback_to_soft=False)
            lock.acquire(blocking=False)
        _held[lease_id] = os.getpid()
        return cls(kind, lease_id, lock)

    def record(self) -> dict[str, Any]:
        """Return what others need to see whether this lease lives; plain JSON."""
        return {
            "kind": self.kind,
            "id": self.lease_id,
            "host": socket.gethostname(),
            "pid": self._pid,
            "lock_path": self._lock.lock_file,
            "started": self._started,
            "since": self._since,
            "until": time.time(),
            # Neither a clock that is set back nor one that stands while the machine sleeps takes any of it away.
            "seconds": max(time.time() - self._since, time.monotonic() - self._since_monotonic),
            "beat": self._beats,
            **({"ending": True} if self.is_ending else {}),
        }

    def beat(self) -> None:
        """Raise the count of heartbeats; the record that is written next shows it."""
        self._beats += 1
        # A cleaner of old temporary files must not take this one for forgotten. If one did, the file must not come
        # back, unlocked: without it, others go by the count of heartbeats.
        with suppress(FileNotFoundError):
            os.utime(self._lock.lock_file)

    def release(self, *, forget: bool = False) -> None:
        """End the lease. The unlocked file stays: it tells others at once what its absence would not.

        Args:
            forget: Remove the file too, because nobody will ask any more: the holder has told how it ended.
        """
        _held.pop(self.lease_id, None)
        if forget:
            Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release()

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()


class Watch:
    """Decides which leases are dead.

    Args:
        grace_seconds: For how long the count from another machine may stay the same. A holder must raise it at least
            four times as often.
    """

    def __init__(self, grace_seconds: float = 60) -> None:
        self._grace_seconds = grace_seconds
        self._seen: dict[str, tuple[int, float]] = {}
        self._ended: set[str] = set()

    def is_dead(self, record: Mapping[str, Any], now_seconds: float | None = None) -> bool:
        """Return whether the process that took the lease has ended, or given it back.

        With the holder's lock file on this machine the answer is exact. Otherwise (another machine, or a temporary
        folder that was emptied) a lease is dead when its count has not changed for `grace_seconds` since this watch
        first saw it, by this process' own clock; until it changes again, as that of a machine that was asleep.

        Args:
            record: What the holder wrote last.
            now_seconds: The time by `time.monotonic`; read from it unless given.
        """
        lease_id = str(record["id"])
        if _held.get(lease_id) == os.getpid():
            return False
        if lease_id in self._ended:
            return True
        lock_path = _find_lock_file(record)
        if lock_path is not None:
            if _is_unlocked(lock_path):
                self._ended.add(lease_id)  # for good: ids are never used again
            return lease_id in self._ended
        now_seconds = time.monotonic() if now_seconds is None else now_seconds
        beats, since_seconds = self._seen.get(lease_id, (None, now_seconds))
        if beats != record["beat"]:
            since_seconds = now_seconds
        self._seen[lease_id] = (record["beat"], since_seconds)
        return now_seconds - since_seconds >= self._grace_seconds


def looks_alive(record: Mapping[str, Any]) -> bool:
    """Return whether a lease seems to live, for people.

    Of another machine the first look goes by when it was last heard of, by two clocks; who looks again sees its count
    rise, whatever they show.
    """
    lock_path = _find_lock_file(record)
    if lock_path is not None:
        return not _is_unlocked(lock_path)
    now_seconds = time.monotonic()
    last_seconds: float = record.get("until", 0.0)  # the first versions wrote none: long ago
    beats, heard_seconds = _heard.get(record["id"], (record["beat"], -math.inf))
    if beats != record["beat"]:
        heard_seconds = now_seconds
    _heard[record["id"]] = record["beat"], heard_seconds
    return now_seconds - heard_seconds < SILENT_SECONDS or abs(time.time() - last_seconds) < SILENT_SECONDS


class Heartbeat:
    """Raises a lease's count of heartbeats from a thread of its own, and writes its record where others read it.

    A write that fails is tried again at the next one. If it is the last word, the owner gets its exception from
    `stop`.

    Args:
        write: Writes a lease record; called from the thread, and once by `start` itself.
        lease: The lease whose count is raised.
        every_seconds: The time between two heartbeats.
    """

    def __init__(self, write: Callable[[dict[str, Any]], None], lease: Lease, every_seconds: float) -> None:
        self._write = write
        self._lease = lease
        self._every_seconds = every_seconds
        self._failure: BaseException | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"heartbeat-{lease.kind}", daemon=True)

    def start(self) -> Heartbeat:
        """Write the record, so that others know of the lease when this returns, and start the heartbeat."""
        self._write(self._lease.record())
        self._thread.start()
        return self

    def stop(self, timeout_seconds: float = 120) -> None:
        """End the heartbeat, and raise what the last write raised.

        Raises:
            LeaseError: If the write in progress does not end.
        """
        self._stopping.set()
        self._thread.join(timeout_seconds)
        if self._thread.is_alive():
            raise LeaseError(
                f"The last heartbeat has not ended after {timeout_seconds:g} s.",
                "check that the study's storage answers, then run the same command again",
            )
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while not self._stopping.wait(self._every_seconds):
            try:
                self._lease.beat()
                self._write(self._lease.record())
                self._failure = None
            except Exception as error:
                logger.warning("A heartbeat could not be written and will be tried again: %s", error)
                self._failure = error

    def __enter__(self) -> Heartbeat:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        except Exception as failure:
            if error is None:
                raise
            # The owner's own exception goes first.
            logger.error("The heartbeat failed as well: %s", failure)


def make_own_folder(prefix: str) -> Path:
    """Make a folder for locks in the shared temporary folder: this user's own, and no link.

    Where another user has taken the name first, the next free number is added to it: nobody can block a study.

    Raises:
        OSError: None can be made.
    """
    for number in range(MOST_FOLDERS):
        folder = Path(tempfile.gettempdir()) / f"{prefix}{os.getuid()}{f'-{number}' if number else ''}"
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
            folder.chmod(0o700)
            return folder
    raise PermissionError(f"{folder} and those before it belong to another user, or are links")


def _find_lock_file(record: Mapping[str, Any]) -> Path | None:
    lock_path = Path(record["lock_path"])
    # It is going to be locked, so a record must not be able to name just any file.
    is_lease = lock_path.name == f"{record['id']}.lock" and lock_path.parent.name.startswith(FOLDER_PREFIX)
    here = is_lease and record["host"] == socket.gethostname() and _is_plain(lock_path)
    return lock_path if here else None


def _is_plain(path: Path) -> bool:
    """Return whether a path is a file in a folder, neither of them a link: another user may have planted one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode) and stat.S_ISDIR(path.parent.lstat().st_mode)
    except OSError:
        return False


def _is_unlocked(lock_path: Path, *, remove: bool = False) -> bool:
    """Return whether nobody holds the file. It stays for other watchers, who would have to wait without it."""
    lock = FileLock(lock_path, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    if remove:
        lock_path.unlink(missing_ok=True)
    lock.release()
    return True


@cache
def _remove_litter(folder: Path) -> None:
    """Remove files that nobody has held for long; once a process, as it looks at every file."""
    for lock_path in folder.glob("*.lock"):
        if not OWN_LOCK.fullmatch(lock_path.name):
            continue
        try:
            found = lock_path.lstat()
            is_old = stat.S_ISREG(found.st_mode) and time.time() - found.st_mtime > LITTER_SECONDS
        except FileNotFoundError:  # another process was quicker
            continue
        if is_old:
            _is_unlocked(lock_path, remove=True)
