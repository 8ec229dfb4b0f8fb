from __future__ import annotations

import time
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from sentiment.search.storage.address import StorageError
from sentiment.search.storage.opening import WholeLineJournal

DIE_IN_MID_APPEND = """
import os, signal, sys
from pathlib import Path
import optuna
from sentiment.search.storage.opening import WholeLineJournal
from optuna.storages import JournalStorage

study = optuna.load_study(study_name="s", storage=JournalStorage(WholeLineJournal(Path(sys.argv[1]))))
trial = study.ask()
write = os.write

def write_half(descriptor, content):
    write(descriptor, content[: len(content) // 2])
    os.kill(os.getpid(), signal.SIGKILL)

os.write = write_half
study.tell(trial, 1.0)
"""

FILL_THE_DISK = """
import os, resource, sys
from pathlib import Path
import optuna
from sentiment.search.storage.address import StorageError
from sentiment.search.storage.opening import WholeLineJournal
from optuna.storages import JournalStorage

path = Path(sys.argv[1])
study = optuna.load_study(study_name="s", storage=JournalStorage(WholeLineJournal(path)))
trial = study.ask()
size = path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
try:
    study.tell(trial, 1.0)
except StorageError as error:
    assert path.stat().st_size == size
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
study.tell(trial, 2.0)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.log"


def create_study(path: Path) -> optuna.Study:
    storage = JournalStorage(WholeLineJournal(path))
    return optuna.create_study(study_name="s", storage=storage, load_if_exists=True)


def values(path: Path) -> list[float | None]:
    return [trial.value for trial in create_study(path).trials]


@pytest.mark.parametrize("tail", [b'{"op_code":6,"torn', b"\0" * 100, b"x" * 200_000], ids=["half", "zeros", "long"])
def test_a_torn_last_line_is_cut_before_the_next_append(path: Path, tail: bytes):
    before = create_study(path)
    before.tell(before.ask(), 1.0)
    with path.open("ab") as file:
        file.write(tail)
    before.tell(before.ask(), 2.0)  # a process that had the file open all along
    create_study(path).tell(create_study(path).ask(), 3.0)
    assert values(path) == [1.0, 2.0, 3.0]
    assert tail not in path.read_bytes()


def test_without_the_cut_the_journal_would_be_lost(path: Path):
    create_study(path)
    with path.open("ab") as file:
        file.write(b'{"op_code":6,"torn')
    plain = JournalFileBackend(str(path))
    for _ in range(2):
        plain.append_logs([{"op_code": 0}])
    with pytest.raises(ValueError, match="delimiter"):
        list(JournalFileBackend(str(path)).read_logs(0))


def test_a_journal_that_is_one_torn_line_starts_anew(path: Path):
    path.write_bytes(b'{"op_code":0')
    assert values(path) == []


def test_a_writer_killed_in_mid_append_costs_nothing_that_was_acknowledged(
    path: Path, start_python, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sentiment.search.storage.opening.GRACE_SECONDS", 3)
    study = create_study(path)
    study.tell(study.ask(), 1.0)
    assert start_python(DIE_IN_MID_APPEND, path).wait(30) == -9
    assert not path.read_bytes().endswith(b"\n")
    assert path.with_name("journal.log.lock").is_symlink()
    started = time.monotonic()
    study.tell(study.ask(), 3.0)  # breaks the lock that the killed process held
    assert time.monotonic() - started < 20
    assert values(path) == [1.0, None, 3.0]


def test_a_link_that_was_left_behind_where_the_journal_lay_before_is_no_lock_for_ever(
    path: Path, start_python, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sentiment.search.storage.opening.GRACE_SECONDS", 3)
    create_study(path)
    assert start_python(DIE_IN_MID_APPEND, path).wait(30) == -9
    moved = path.parent / "moved"
    moved.mkdir()
    for file in list(path.parent.glob("journal.log*")):
        file.rename(moved / file.name)
    create_study(moved / path.name).tell(0, 2.0)
    assert values(moved / path.name) == [2.0]
    (moved / "journal.log.lock").symlink_to("/nowhere/journal.log")  # as an earlier version left it
    create_study(moved / path.name).ask()
    assert values(moved / path.name) == [2.0, None]


def test_a_full_disk_leaves_the_journal_as_it_was(path: Path, start_python):
    create_study(path)
    process = start_python(FILL_THE_DISK, path)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert f"Writing to the journal file {path} failed" in output
    assert values(path) == [2.0]


def test_a_damaged_line_is_named_with_its_file(path: Path):
    create_study(path)
    with path.open("ab") as file:
        file.write(b"no json\n{}\n")
    with pytest.raises(StorageError, match=f"{path} is damaged"):
        create_study(path)


def test_a_lock_broken_by_another_process_is_no_failure(path: Path, monkeypatch: pytest.MonkeyPatch):
    study = create_study(path)
    journal = study._storage._backend
    release = journal._lock.release

    def broken() -> None:
        release()
        raise RuntimeError("Error: did not possess lock")

    monkeypatch.setattr(journal._lock, "release", broken)
    study.tell(study.ask(), 1.0)
    assert values(path) == [1.0]


def test_read_only_is_said_at_once(unprivileged_dir: Path):
    path = unprivileged_dir / "journal.log"
    study = create_study(path)
    path.chmod(0o400)
    with pytest.raises(StorageError, match="writable"):
        create_study(path)
    path.chmod(0o600)
    unprivileged_dir.chmod(0o500)
    with pytest.raises(StorageError, match="writable"):
        create_study(path)
    with pytest.raises(StorageError, match=r"Writing to .* failed: .*Permission denied"):
        study.ask()


def test_a_removed_study_does_not_come_back_as_an_empty_file(path: Path):
    study = create_study(path)
    path.unlink()
    with pytest.raises(StorageError, match="No such file"):
        study.ask()
    assert not path.exists()
