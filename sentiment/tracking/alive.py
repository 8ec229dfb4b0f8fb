"""The sign that a process works in a folder, of a run or of a multirun: no second one writes the same files."""

from __future__ import annotations

import fcntl
import logging
import math
import os
import socket
import time
from pathlib import Path

from sentiment.errors import TrackingError
from sentiment.tracking.outbox import OTHER_FOLDER, POLL_SECONDS, lock, writing

log = logging.getLogger(__name__)

ALIVE_FILE = ".alive"
"""Sign of the command of a plain multirun."""

RUN_FILE = ".running"
"""Sign of the process of a run."""

LOOK_SECONDS = 1.0
"""Longest time for which somebody locks a sign who only looks at it."""


class Alive:
    """A file that is locked as long as its process lives: the kernel lets it go, whatever ends that.

    Args:
        folder: Where it works.
        name: The file.
        waits: Wait for the end of whoever works there; else that is an error.

    Attributes:
        is_heir: Whoever worked there before was killed: the sign was left behind.

    Raises:
        TrackingError: Another process works there, or the folder cannot be written.
    """

    def __init__(self, folder: Path, name: str, *, waits: bool = False) -> None:
        self._sign = folder / name
        until = time.monotonic() + LOOK_SECONDS
        while not self._take():
            if time.monotonic() > until:
                where = f"works in {folder}, on {self._holder or 'some machine'}"
                if not waits:
                    raise TrackingError(
                        f"Another command {where}.",
                        f"let it end, or {OTHER_FOLDER}. Only where that machine is gone for good, remove {self._sign}",
                    )
                log.info("Another process %s; waiting for its end.", where)
                until = math.inf
            time.sleep(POLL_SECONDS)

    def _take(self) -> bool:
        with writing(self._sign):
            self._sign.parent.mkdir(parents=True, exist_ok=True)
            self.is_heir = self._sign.exists()
            self._descriptor = os.open(self._sign, os.O_RDWR | os.O_CREAT, 0o666)  # a group may share it
        try:
            lock(self._descriptor, self._sign)
            is_own = os.path.samestat(os.fstat(self._descriptor), self._sign.stat())  # else it was taken away meanwhile
        except (BlockingIOError, FileNotFoundError):
            is_own = False
        if not is_own:
            self._holder = os.read(self._descriptor, 256).decode()
            os.close(self._descriptor)
            return False
        try:
            with writing(self._sign):
                os.ftruncate(self._descriptor, 0)
                os.write(self._descriptor, socket.gethostname().encode())
        except TrackingError:
            self.end()  # else a process that lives on would wait for itself
            raise
        return True

    def end(self) -> None:
        """Take it away: the work has ended by itself."""
        try:
            self._sign.unlink(missing_ok=True)
        finally:
            os.close(self._descriptor)


def is_alive(folder: Path, name: str) -> bool:
    """Return whether a process works in a folder: it holds its sign locked."""
    try:
        with (folder / name).open() as sign:
            fcntl.flock(sign, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
