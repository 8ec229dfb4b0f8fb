from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.storages import BaseStorage

from sentiment.search.storage.address import Address, StorageError, read_address
from sentiment.search.storage.opening import close_storage, hold_lock, open_storage
from sentiment.search.study.history import read_study

WORKERS = 2

CLAIM_TRIALS = """
import sys, time
from pathlib import Path
import optuna
from sentiment.search.storage.address import read_address
from sentiment.search.storage.opening import hold_lock, open_storage

url, folder, total = sys.argv[1] or None, Path(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
storage = open_storage(url, folder)
study = optuna.create_study(study_name="s", storage=storage, load_if_exists=True)
while True:
    with hold_lock(read_address(url, folder), "s"):
        if len(study.get_trials(deepcopy=False)) >= total:
            break
        trial = study.ask()
    print(trial.number, flush=True)
    study.tell(trial, trial.suggest_float("x", 0, 1))
"""

HOLD_FOR_EVER = """
import sys, time
from pathlib import Path
from sentiment.search.storage.address import read_address
from sentiment.search.storage.opening import hold_lock

with hold_lock(read_address(sys.argv[1] or None, Path(sys.argv[2])), "s"):
    print("held", flush=True)
    time.sleep(600)
"""

COUNT = """
import sys
from pathlib import Path
from sentiment.search.storage.address import read_address
from sentiment.search.storage.opening import hold_lock

counter = Path(sys.argv[3])
for _ in range(100):
    with hold_lock(read_address(sys.argv[1] or None, Path(sys.argv[2])), "s"):
        counter.write_text(str(int(counter.read_text()) + 1))
"""


def test_a_study_is_found_again(storage: BaseStorage, storage_url: str | None, study_dir: Path):
    study = optuna.create_study(study_name="s", storage=storage)
    study.tell(study.ask(), 0.5)
    again = open_storage(storage_url, study_dir)
    assert [trial.value for trial in optuna.load_study(study_name="s", storage=again).trials] == [0.5]
    close_storage(again)


@pytest.mark.slow
def test_processes_that_start_together_share_one_study(storage_url: str | None, study_dir: Path, start_python):
    processes = [start_python(CLAIM_TRIALS, storage_url or "", study_dir, 25) for _ in range(WORKERS)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * WORKERS
    assert Counter(" ".join(outputs).split()) == {str(number): 1 for number in range(25)}
    storage = open_storage(storage_url, study_dir)
    trials = optuna.load_study(study_name="s", storage=storage).trials
    assert [trial.state for trial in trials] == [optuna.trial.TrialState.COMPLETE] * 25
    close_storage(storage)


def test_a_journal_elsewhere(tmp_path: Path):
    open_storage(f"journal://{tmp_path}/shared/a.log", tmp_path / "study")
    assert (tmp_path / "shared/a.log").exists()
    assert not (tmp_path / "study").exists()


def test_a_relative_sqlite_file_starts_at_the_working_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    storage = open_storage("sqlite:///deep/a.db", tmp_path / "study")
    assert (tmp_path / "deep/a.db").exists()
    close_storage(storage)


def test_what_a_killed_process_was_writing_to_sqlite_is_rolled_back(tmp_path: Path):
    """The file and its journal, as a SIGKILL leaves them in the middle of a write."""
    storage = open_storage(f"sqlite:///{tmp_path}/a.db", tmp_path)
    optuna.create_study(study_name="s", storage=storage).add_trial(optuna.trial.create_trial(value=0.5))
    close_storage(storage)
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = 1")  # so that pages are written before the transaction ends
        connection.execute("BEGIN")
        connection.execute("DELETE FROM trial_values")
        for number in range(100):
            connection.execute("INSERT INTO studies (study_name) VALUES (?)", (f"{number}" * 200,))
        for reader in "bc":
            for ending in ("db", "db-journal"):
                shutil.copy(tmp_path / f"a.{ending}", tmp_path / f"{reader}.{ending}")
    assert [trial.state for trial in read_study(f"sqlite:///{tmp_path}/b.db", tmp_path).trials] == ["complete"]
    again = open_storage(f"sqlite:///{tmp_path}/c.db", tmp_path)
    assert [trial.value for trial in optuna.load_study(study_name=None, storage=again).trials] == [0.5]
    close_storage(again)


def test_a_read_only_sqlite_file_is_said_at_once(unprivileged_dir: Path):
    url = f"sqlite:///{unprivileged_dir}/a.db"
    close_storage(open_storage(url, unprivileged_dir))
    (unprivileged_dir / "a.db").chmod(0o400)
    with pytest.raises(StorageError, match=r"a\.db failed: .*\n  -> make the file and its folder writable"):
        open_storage(url, unprivileged_dir)
    (unprivileged_dir / "a.db").chmod(0o600)
    unprivileged_dir.chmod(0o500)
    with pytest.raises(StorageError, match="make the file and its folder writable"):
        open_storage(url, unprivileged_dir)


def test_a_locked_sqlite_file_is_said_after_the_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sentiment.search.storage.opening.SQLITE_WAIT_SECONDS", 0.2)
    other = sqlite3.connect(tmp_path / "a.db")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageError, match=r"database is locked\n  -> another program"):
        open_storage(f"sqlite:///{tmp_path}/a.db", tmp_path)
    other.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path):
    (tmp_path / "a.db").write_text("something else entirely " * 100)
    with pytest.raises(StorageError, match="file is not a database"):
        open_storage(f"sqlite:///{tmp_path}/a.db", tmp_path)


def test_a_server_that_does_not_answer(tmp_path: Path):
    started = time.monotonic()
    with pytest.raises(StorageError, match="check that the server runs") as raised:
        open_storage("postgresql+psycopg://me:secret@127.0.0.1:1/db", tmp_path)
    assert time.monotonic() - started < 15
    assert "me@127.0.0.1:1/db" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_missing_driver_names_what_to_install(tmp_path: Path):
    with pytest.raises(StorageError, match="pip install pymysql"):
        open_storage("mysql://me@127.0.0.1/db", tmp_path)


def test_an_unknown_driver_is_refused(tmp_path: Path):
    with pytest.raises(StorageError, match=r"postgresql\.nonsense"):
        open_storage("postgresql+nonsense://127.0.0.1/db", tmp_path)


@pytest.mark.postgresql
def test_a_database_that_does_not_exist(postgresql_url: str, tmp_path: Path):
    with pytest.raises(StorageError, match=r"create the database first"):
        open_storage(postgresql_url + "_missing", tmp_path)


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
