"""Opening a study's storage: a journal file in its folder, another journal, an SQLite file or a server."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage, JournalStorage, RDBStorage

from sentiment.search.storage.address import Address, StorageError, read_address, storage_errors
from sentiment.search.storage.journal import WholeLineJournal
from sentiment.search.storage.lock import hold_lock

SQLITE_WAIT_SECONDS = 60
"""How long a write waits for another process' write to the same SQLite file."""

CREATION_WAIT_SECONDS = 120


def open_storage(url: str | None, study_dir: Path, working_dir: Path | None = None) -> BaseStorage:
    """Open the storage, and create it if it is new; any number of processes may do so at once.

    Args:
        url: None for the journal in `study_dir`; see `sentiment.search.storage.address.read_address`.
        study_dir: The study's folder, made if missing.
        working_dir: Where a relative SQLite path starts; the current folder unless given.

    Raises:
        StorageError: If the URL cannot be read, a driver is missing, the server does not answer, or the file is
            locked, damaged or read-only.
    """
    address = read_address(url, study_dir, working_dir)
    if address.dialect == "journal":
        assert address.path is not None
        return JournalStorage(WholeLineJournal(address.path))
    if address.path is not None:
        _check_writable(address.path)
    # Optuna looks whether its tables exist and then creates them, so two first openings would collide.
    with hold_lock(address, "create tables", CREATION_WAIT_SECONDS), storage_errors(f"Opening {address}"):
        try:
            return RDBStorage(address.connection_url, engine_kwargs=_engine_options(address))
        except RuntimeError as error:  # tables of another version of Optuna
            raise StorageError(
                f"{address} cannot be used: {error}\n    -> upgrade it with optuna storage upgrade, or name another"
            ) from error


def close_storage(storage: BaseStorage) -> None:
    """Close the connections that `open_storage` opened, before the process goes on to other things."""
    if isinstance(storage, RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


def _engine_options(address: Address) -> dict[str, Any]:
    if address.dialect == "sqlite":
        return {"connect_args": {"timeout": SQLITE_WAIT_SECONDS}}
    return {"pool_pre_ping": True}  # servers close idle connections, and a trial may take hours


def _check_writable(path: Path) -> None:
    # SQLite opens a read-only file readily and fails at the first result; it also needs to write beside the file.
    with storage_errors(f"Opening the SQLite file {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
        if path.exists():
            path.open("r+b").close()
