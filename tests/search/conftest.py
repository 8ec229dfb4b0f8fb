"""Storages to test against: a journal file, SQLite, and PostgreSQL where a server is at hand (tests/postgresql.sh)."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy
from optuna.storages import BaseStorage

from sentiment.config.home import PROJECT_DIR
from sentiment.search.address import read_address
from sentiment.search.storage import close_storage, open_storage

POSTGRESQL = "SENTIMENT_TEST_POSTGRESQL"

StartPython = Callable[..., "subprocess.Popen[str]"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "postgresql: needs a server; run under `bash tests/postgresql.sh`")


@pytest.fixture
def study_dir(tmp_path: Path) -> Path:
    return tmp_path / "study"


@pytest.fixture
def postgresql_url() -> Iterator[str]:
    """A fresh database on the server that tests/postgresql.sh started."""
    server_url = os.environ.get(POSTGRESQL)
    if server_url is None:
        pytest.skip(f"{POSTGRESQL} is not set: run `bash tests/postgresql.sh python -m pytest`")
    name = f"test_{uuid.uuid4().hex}"
    engine = sqlalchemy.create_engine(
        read_address(server_url, Path()).connection_url, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool
    )
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    yield sqlalchemy.make_url(server_url).set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(params=["journal", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def storage_url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """The storage setting of a new, empty storage: each kind in turn."""
    if request.param == "journal":
        return None
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.db'}"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
def storage(storage_url: str | None, study_dir: Path) -> Iterator[BaseStorage]:
    opened = open_storage(storage_url, study_dir)
    yield opened
    close_storage(opened)


@pytest.fixture
def start_python() -> Iterator[StartPython]:
    """Starts Python on a piece of code with arguments; what still runs at the end of the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=PROJECT_DIR,
            env={**os.environ, "PYTHONPATH": str(PROJECT_DIR)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def unprivileged_dir() -> Iterator[Path]:
    """A folder in which permissions count, for the tests' user; root becomes another user meanwhile."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # pytest's own folders are closed to other users
        folder = Path(name)
        is_root = os.geteuid() == 0
        if is_root:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if is_root:
                os.seteuid(0)
            folder.chmod(0o700)
