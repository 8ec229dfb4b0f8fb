"""Locks of a database server: a session's lock, which the server releases when the session ends, however it ends."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import sqlalchemy
from sqlalchemy.exc import DBAPIError

from sentiment.errors import explaining
from sentiment.search.storage.address import Address, StorageError, explain_held_lock, storage_errors

LIBPQ_OPTIONS: dict[str, Any] = {
    # Lets the server notice within a minute that a holder's machine is gone, and release its locks.
    "options": "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3",
}

# Per dialect, how a session takes and gives back a lock; the last column is 1 where that worked. PostgreSQL's time
# limit is set in the same round trip; it stays with the session, which does nothing but lock.
TAKE = {
    "postgresql": "SELECT set_config('lock_timeout', :milliseconds, false), pg_advisory_lock(:number), 1",
    "mysql": "SELECT GET_LOCK(:name, :seconds)",
    "mariadb": "SELECT GET_LOCK(:name, :seconds)",
}
GIVE_BACK = {
    "postgresql": "SELECT CAST(pg_advisory_unlock(:number) AS integer)",
    "mysql": "SELECT RELEASE_LOCK(:name)",
    "mariadb": "SELECT RELEASE_LOCK(:name)",
}


@contextmanager
def hold_server_lock(
    address: Address, purpose: str, timeout_seconds: float, *, is_once: bool = False
) -> Iterator[None]:
    """Hold a lock of a server for a purpose; `is_once`: end its session then.

    Raises:
        StorageError: If the wait was in vain, or the lock cannot be taken or was lost.
    """
    assert address.url is not None
    # PostgreSQL names a lock by 64 bits within a database, MySQL by 64 characters within the whole server.
    digest = hashlib.sha256(f"{address.url.database} {purpose}".encode()).hexdigest()
    identity = {"number": int(digest[:15], 16), "name": digest[:60]}
    connection = _take(address, identity, timeout_seconds)
    try:
        yield
    finally:
        _give_back(address, connection, identity, is_once=is_once)


def _take(address: Address, identity: dict[str, object], timeout_seconds: float) -> sqlalchemy.Connection:
    """Open a session that holds the lock, or reuse one."""
    values = {**identity, "milliseconds": str(max(1, round(timeout_seconds * 1000))), "seconds": timeout_seconds}
    holder = "a stopped or stalled process; the server lists its sessions (pg_stat_activity, SHOW PROCESSLIST)"
    with storage_errors(f"Connecting to {address}"):
        engine = _engine(address.connection_url, os.getpid())
        for is_last_attempt in (False, True):
            connection = engine.connect()
            try:
                taken = _run(connection, TAKE[address.dialect], values)
            except BaseException as error:
                # Whether it holds the lock is not known; ending the session makes sure that it does not.
                _end_session(connection)
                if _is_lock_timeout(error):
                    raise explain_held_lock(str(address), timeout_seconds, holder) from error
                # A kept connection does not survive a restart of the server; a new one may.
                if is_last_attempt or not (isinstance(error, DBAPIError) and error.connection_invalidated):
                    raise
                continue
            if not taken:
                connection.close()
                raise explain_held_lock(str(address), timeout_seconds, holder)
            return connection
    raise AssertionError("the last attempt returns or raises")


def _is_lock_timeout(error: BaseException) -> bool:
    # By PostgreSQL's code, for its message is in the server's language; psycopg 3 and 2 name the code differently.
    cause = error.orig if isinstance(error, DBAPIError) else None
    return "55P03" in (getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None))


def _give_back(
    address: Address, connection: sqlalchemy.Connection, identity: dict[str, object], *, is_once: bool
) -> None:
    try:
        with storage_errors(f"Unlocking {address}"):
            released = _run(connection, GIVE_BACK[address.dialect], identity)
    except BaseException:
        _end_session(connection)
        raise
    if is_once:
        _end_session(connection)
    else:
        connection.close()  # back to the engine, which keeps it for the next time
    if not released:
        raise StorageError(
            f"{address} no longer held the lock of this study, so another worker may have claimed the same trial.",
            "connect to the server directly: a pool such as PgBouncer must run in session mode",
        )


def _run(connection: sqlalchemy.Connection, statement: str, values: dict[str, object]) -> bool:
    text = sqlalchemy.text(statement)
    used = {name: value for name, value in values.items() if f":{name}" in statement}
    return bool(connection.execute(text, used).one()[-1] == 1)


def _end_session(connection: sqlalchemy.Connection) -> None:
    connection.invalidate()
    connection.close()


@cache
def _engine(url: str, process_id: int) -> sqlalchemy.Engine:
    """Keep the connections that lock, one for each thread at work; a forked child (`process_id`) makes its own."""
    options = LIBPQ_OPTIONS if "psycopg" in sqlalchemy.make_url(url).get_driver_name() else {}
    problem = f"The driver for {sqlalchemy.make_url(url).drivername} is not installed"
    remedy = "pip install 'psycopg[binary]' (this project's extra `postgresql`), or pip install pymysql and write mysql+pymysql://..."
    with explaining(problem, remedy, StorageError, ImportError):
        # No transactions: they would cost a round trip each, and a lock outlives them.
        return sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT", connect_args=options, max_overflow=-1)
