"""Build a folder once for all processes that need its content: token caches, learned words."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

WAIT_SECONDS = 2.0
"""Time between two looks whether another process is done."""

T = TypeVar("T")


class DamagedError(Exception):
    """It is there but cannot be used; it is built again."""


def read_or_build(
    folder: Path,
    *,
    name: str,
    is_there: Callable[[], bool],
    read: Callable[[], T],
    build: Callable[[], None],
    guard: Callable[[], AbstractContextManager[None]],
    tell: Callable[[float], None] = lambda seconds: None,
) -> T:
    """Read what a folder keeps, or build it first; never while another process does.

    What is whole is read without a lock. Who builds holds one beside the folder, which the system lets go with the
    process, however that ends.

    Args:
        folder: Its name changes with everything that its content depends on.
        name: What it is, for people.
        is_there: Whether one was finished; it may have been damaged since.
        read: Returns it, or raises `DamagedError`.
        build: Builds it; first it clears what a damaged one, or a builder that was killed, has left.
        guard: Context in which the folder is made, and read after the building: explains what cannot be written.
        tell: Hears from time to time for how many seconds another process has been waited for.
    """
    if is_there():
        try:
            return read()
        except DamagedError as error:  # said below: another process may be building it again
            log.debug("%s: %s", folder, error)
    with guard():
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = _acquire(folder, name, tell)
    with lock:
        if is_there():  # another process may have built it while this one waited
            try:
                return read()
            except DamagedError as error:
                log.warning("The %s in %s is damaged (%s) and built again.", name, folder, error)
        build()
        with guard():
            return read()


def _acquire(folder: Path, name: str, tell: Callable[[float], None]) -> AbstractContextManager[object]:
    """Take the lock; wait for whoever has it, and say so once."""
    lock, began, is_told = FileLock(folder.with_name(f"{folder.name}.lock")), time.monotonic(), False
    while True:
        try:
            return lock.acquire(timeout=WAIT_SECONDS if is_told else 0)
        except Timeout:
            if not is_told:
                log.info("Another run builds the %s in %s; waiting for it.", name, folder)
            is_told = True
            tell(time.monotonic() - began)
