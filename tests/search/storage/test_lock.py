from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import sqlalchemy
from optuna.storages import BaseStorage

from sentiment.search.storage.address import Address, StorageError, read_address
from sentiment.search.storage.lock import hold_lock

HOLD_FOR_EVER = """
import sys, time
from pathlib import Path
from sentiment.search.storage.address import read_address
from sentiment.search.storage.lock import hold_lock

with hold_lock(read_address(sys.argv[1] or None, Path(sys.argv[2])), "s"):
    print("held", flush=True)
    time.sleep(600)
"""

COUNT = """
import sys
from pathlib import Path
from sentiment.search.storage.address import read_address
from sentiment.search.storage.lock import hold_lock

counter = Path(sys.argv[3])
for _ in range(100):
    with hold_lock(read_address(sys.argv[1] or None, Path(sys.argv[2])), "s"):
        counter.write_text(str(int(counter.read_text()) + 1))
"""


@pytest.fixture
def address(storage: BaseStorage, storage_url: str | None, study_dir: Path) -> Address:
    """The address of an open storage."""
    return read_address(storage_url, study_dir)


def test_processes_and_threads_exclude_each_other(
    address: Address, storage_url: str | None, study_dir: Path, tmp_path: Path, start_python
):
    counter = tmp_path / "counter"
    counter.write_text("0")
    processes = [start_python(COUNT, storage_url or "", study_dir, counter) for _ in range(2)]

    def count() -> None:
        for _ in range(50):
            with hold_lock(address, "s"):
                counter.write_text(str(int(counter.read_text()) + 1))

    threads = [threading.Thread(target=count) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(60) for process in processes] == [0, 0]
    assert counter.read_text() == "300"


def test_a_killed_holder_frees_the_lock_and_a_living_one_does_not(
    address: Address, storage_url: str | None, study_dir: Path, start_python
):
    holder = start_python(HOLD_FOR_EVER, storage_url or "", study_dir)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(StorageError, match=r"Waited 0\.2 s for .*\n  -> .* stopped or stalled process"):
        hold_lock(address, "s", timeout_seconds=0.2).__enter__()
    holder.kill()
    started = time.monotonic()
    with hold_lock(address, "s", timeout_seconds=30):
        assert time.monotonic() - started < 5


def test_studies_do_not_wait_for_each_other(address: Address):
    with hold_lock(address, "a"), hold_lock(address, "b", 1):
        pass


def test_an_exception_inside_gives_the_lock_back(address: Address):
    with pytest.raises(KeyError), hold_lock(address, "s"):
        raise KeyError
    with hold_lock(address, "s", timeout_seconds=1):
        pass


@pytest.mark.postgresql
def test_the_lock_survives_a_lost_connection(postgresql_url: str, tmp_path: Path):
    lock = lambda: hold_lock(read_address(postgresql_url, tmp_path), "s", 5)  # noqa: E731
    with lock():
        pass
    end_other_sessions(postgresql_url)
    with lock():
        pass


@pytest.mark.postgresql
def test_a_lock_lost_while_held_is_said(postgresql_url: str, tmp_path: Path):
    with pytest.raises(StorageError, match="Unlocking"), hold_lock(read_address(postgresql_url, tmp_path), "s", 5):
        end_other_sessions(postgresql_url)


def end_other_sessions(url: str) -> None:
    engine = sqlalchemy.create_engine(
        url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool
    )
    with engine.connect() as connection:
        statement = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        connection.execute(sqlalchemy.text(statement)).all()
