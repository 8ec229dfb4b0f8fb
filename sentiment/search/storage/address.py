"""Where a study is stored: how the storage setting is read, for opening, locking and describing."""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from optuna.exceptions import StorageInternalError

from sentiment.credentials import STORAGE_PASSWORD, read_password
from sentiment.errors import SentimentError, explaining
from sentiment.format import mask_passwords
from sentiment.paths import expand_home

if TYPE_CHECKING:
    import sqlalchemy  # imported where a URL is: a fifth of a worker's start, and a journal needs none of it

JOURNAL_NAME = "journal.log"

PORTS = {"postgresql": 5432, "mysql": 3306, "mariadb": 3306}
"""The servers whose locks are known (see `sentiment.search.storage.opening`), and where they listen unless told."""

WRITABLE = "make the file and its folder writable, or name another storage"
USER = "check the user and the password in the URL, and that the user may open this database"
PASSWORD = f"set {STORAGE_PASSWORD}_FILE, or {STORAGE_PASSWORD}, where this runs: the command and its jobs need it"
CROWD = "give the study fewer jobs (hydra.sweeper.n_jobs), or the server more connections (max_connections)"
DATABASE = "create the database first, or correct its name in the URL"
SPACE = "free some disk space and run the same command again; the study goes on where it stopped"
REMEDIES = {
    "database is locked": "another program holds the file; close it, or use the default journal file or a server",
    "readonly database": WRITABLE,
    "attempt to write a readonly": WRITABLE,
    "unable to open database file": "check that the folder exists and that you may write to it",
    "no space left": SPACE,
    "quota": SPACE,
    "disk is full": SPACE,
    "(permission|command) denied (for|to)": "let the user in the URL make, read and write tables there (GRANT)",
    "permission denied": WRITABLE,
    "read-only file system": "name a storage on a writable file system",
    r"no password supplied|using password: no\b": PASSWORD,
    "too many (clients|connections)|connection slots|max_user_connections": CROWD,
    "authentication failed|access denied for user": USER,
    'role ".*" does not exist': USER,
    'database ".*" does not exist|unknown database': DATABASE,
    "resolve": "check the host's name in the URL",
    "connect": "check that the server runs and that host, port and firewall allow the connection",
}
"""What to do about a failure, by a pattern in the library's own message; the first that fits counts."""


class StorageError(SentimentError):
    """The study's storage cannot be opened, read, written or locked."""


def explain_held_lock(locked: str, timeout_seconds: float, holder: str) -> StorageError:
    """Return the error of a lock that another worker holds for longer than one waits for it."""
    problem = f"Waited {timeout_seconds:g} s for {locked}, which another worker of this study holds."
    return StorageError(problem, f"it is held for milliseconds as a rule, so look for {holder}, and end it")


WAITING = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
"""How long libpq waits for PostgreSQL, in seconds, the last in milliseconds: a machine that is gone is noticed within a
minute or two, instead of the two hours that a system takes."""


@dataclass(frozen=True)
class Address:
    """A storage, resolved: either a file of this machine (or of a shared folder) or a server."""

    dialect: str  # ``journal``, ``sqlite``, ``postgresql``, ``mysql`` or ``mariadb``
    path: Path | None  # the journal's or the SQLite database's absolute path; None for a server
    url: sqlalchemy.URL | None  # what SQLAlchemy connects to, with the password; None for a journal

    @property
    def connection_url(self) -> str:
        """What SQLAlchemy connects to, password included: never print it."""
        assert self.url is not None, "a journal file has no URL"
        url = self.url
        if self.dialect == "postgresql" and url.get_driver_name().startswith("psycopg"):
            url = url.update_query_dict({name: value for name, value in WAITING.items() if name not in url.query})
        return url.render_as_string(hide_password=False)

    @property
    def place(self) -> tuple[object, ...]:
        """Where it is: addresses of one place are one storage, whoever opens it and by which driver."""
        if self.path is not None:
            return self.dialect, self.path.resolve()
        assert self.url is not None
        return self.dialect, self.url.host, self.url.port or PORTS[self.dialect], self.url.database

    def __str__(self) -> str:
        if self.url is None:
            return f"journal file {self.path}"
        return mask_passwords(self.url.render_as_string(hide_password=False))


def read_address(url: str | None, study_dir: Path, working_dir: Path | None = None) -> Address:
    """Read the storage setting.

    Args:
        url: None for the journal in `study_dir`, ``journal:///folder/file.log`` for a journal elsewhere, or any
            SQLAlchemy URL that Optuna takes.
        study_dir: The study's folder.
        working_dir: Where a relative SQLite path starts; the current folder unless given. Launchers change the
            folder, so whoever starts workers passes them the folder of the command.

    Raises:
        StorageError: If the URL cannot be read, or names a storage that several processes cannot share.
    """
    working_dir = (working_dir or Path.cwd()).absolute()
    if url is None:
        return Address("journal", working_dir / study_dir / JOURNAL_NAME, None)
    if url.startswith("journal:"):
        return Address("journal", _journal_path(url), None)
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:  # ValueError: a port that is no number
        # The text itself may hold a password that could not be told apart, so the message leaves it out.
        raise StorageError(
            "The storage is not a URL that can be read.",
            "write for example sqlite:///study.db, "
            "postgresql://user@host/database, journal:///shared/study.log, or null for a journal in the study's folder",
        ) from error
    dialect = parsed.get_backend_name()
    if dialect == "sqlite":
        return _sqlite_address(parsed, working_dir)
    if dialect not in PORTS:
        raise StorageError(
            f"The storage {mask_passwords(url)} is of a kind ({dialect}) on which workers cannot exclude each other.",
            "use a journal file, sqlite, postgresql, mysql or mariadb",
        )
    return Address(dialect, None, _add_password(_choose_driver(parsed)))


def _journal_path(url: str) -> Path:
    parts = urlsplit(url)
    path = Path(unquote(parts.path))
    if parts.netloc or not path.is_absolute() or not path.name:
        raise StorageError(
            f"The storage {url!r} does not name a journal by its absolute path.",
            "write journal:///folder/file.log, with three slashes",
        )
    return path


def _sqlite_address(parsed: sqlalchemy.URL, working_dir: Path) -> Address:
    database = parsed.database
    if not database or database == ":memory:" or database.startswith("file:"):
        raise StorageError(
            f"The storage {parsed} is not a plain file, so several processes cannot share it.",
            "write sqlite:///study.db, or null for a journal in the study's folder",
        )
    path = working_dir / expand_home(database)
    return Address("sqlite", path, parsed.set(database=str(path)))


def _add_password(parsed: sqlalchemy.URL) -> sqlalchemy.URL:
    if parsed.password or any("passw" in name.lower() for name in parsed.query):
        return parsed
    return parsed.set(password=read_password(STORAGE_PASSWORD))


def _choose_driver(parsed: sqlalchemy.URL) -> sqlalchemy.URL:
    # SQLAlchemy takes a plain postgresql:// for psycopg2. Where only its successor psycopg 3 is installed, that is
    # the one that is meant.
    if parsed.drivername == "postgresql" and find_spec("psycopg2") is None and find_spec("psycopg") is not None:
        return parsed.set(drivername="postgresql+psycopg")
    return parsed


@contextmanager
def storage_errors(description: str) -> Iterator[None]:
    """Turn what Optuna, SQLAlchemy and the file system raise about a storage into a `StorageError`.

    Args:
        description: What was being done to which storage, e.g. ``"Telling trial 3 to journal file ..."``.

    Raises:
        StorageError: With the reason and a remedy, in place of the library's error.
    """
    try:
        yield
    except storage_failures() as error:
        reason = _read_reason(error)
        other = "put that right and run the same command again; the study goes on"
        remedy = next(
            (remedy for pattern, remedy in REMEDIES.items() if re.search(pattern, reason, re.IGNORECASE)), other
        )
        raise StorageError(f"{description} failed: {reason}", remedy) from error


def storage_failures() -> tuple[type[Exception], ...]:
    """Return what Optuna, the file system, SQLite, and SQLAlchemy where it is imported, raise about a storage."""
    module = sys.modules.get("sqlalchemy.exc")
    return (StorageInternalError, OSError, sqlite3.Error, *(() if module is None else (module.SQLAlchemyError,)))


def explaining_damage(path: Path) -> AbstractContextManager[None]:
    """Say of a journal with a line that is no JSON, or that has no newline, what helps."""
    remedy = (
        "restore it from a backup, or remove the damaged line by hand; the lines before and after it are "
        "independent operations"
    )
    return explaining(f"The journal file {path} is damaged", remedy, StorageError, ValueError)


def explaining_version(address: Address) -> AbstractContextManager[None]:
    """Say of a database with tables of another version of Optuna what helps."""
    remedy = "upgrade it with optuna storage upgrade, or name another"
    return explaining(f"{address} cannot be used", remedy, StorageError, RuntimeError)


def _read_reason(error: BaseException) -> str:
    # Optuna wraps SQLAlchemy, which wraps the driver: the innermost says what happened.
    while isinstance(error, storage_failures()) and not isinstance(error, OSError):
        inner = getattr(error, "orig", None) or error.__cause__
        if inner is None:
            break
        error = inner
    return " ".join(str(error).split()) or type(error).__name__
