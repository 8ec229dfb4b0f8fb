"""Temporary folders that are removed with their process; the next process removes those of a killed one."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

PREFIX = "sentiment-work-"

LOCK = ".lock"


class Scratch:
    """A temporary folder of this process.

    Attributes:
        folder: The folder.
    """

    def __init__(self) -> None:
        _remove_abandoned()
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._lock = (self.folder / LOCK).open("w")  # the kernel unlocks it with the end of the process
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        atexit.register(self.remove)

    def remove(self) -> None:
        """Remove the folder and all that it holds; safe to call again."""
        atexit.unregister(self.remove)
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.close()


def make_temporary_folder() -> Path:
    """Make a folder that is removed when the process ends."""
    return Path(tempfile.mkdtemp(dir=_open_shared().folder))


@cache
def _open_shared() -> Scratch:
    """Make the one that all temporary folders of the process lie in: each holds a file open."""
    return Scratch()


def _remove_abandoned() -> None:
    """Remove the folders of this user whose processes have ended."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with (folder / LOCK).open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # it is in use, just being made, or another process was quicker
            continue
