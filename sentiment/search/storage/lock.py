"""Mutual exclusion between the processes that claim trials of one study, on any machine that shares its storage."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sentiment.search.storage.address import Address, explain_held_lock, storage_errors

POLL_SECONDS = 0.005


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
            lock.acquire(timeout=timeout_seconds, poll_interval=POLL_SECONDS)
        except Timeout as error:
            holder = f"a stopped or stalled process; `fuser {lock_path}` names it"
            raise explain_held_lock(str(lock_path), timeout_seconds, holder) from error
    try:
        yield
    finally:
        lock.release()
