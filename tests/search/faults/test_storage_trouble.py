"""A storage that is locked, read-only or full: one clear message, and a study that goes on once that is mended."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

DISK_BYTES = 4 * 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs root to mount a small disk: {error}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("n_jobs", [2, pytest.param(1, marks=pytest.mark.slow)])
def test_a_full_disk_ends_the_study_in_a_message_and_leaves_it_whole(study, small_disk: Path, is_one_screen, n_jobs: int):
    study.study_dir = small_disk / "study"
    command = study.start(n_trials=10, n_jobs=n_jobs, seconds=0.3)
    study.wait_until(lambda: len(study.ends) >= 2)
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    assert command.finish() == 1, command.output
    assert "No space left on device" in command.output
    assert "free some disk space" in command.output
    assert is_one_screen(command.output), command.output

    known = {trial.number: trial.value for trial in study.trials() if trial.value is not None}
    filler.unlink()
    code, output = study.run(n_trials=10, n_jobs=n_jobs)
    assert code == 0, output
    study.require_whole(10)
    assert known.items() <= {trial.number: trial.value for trial in study.trials()}.items()


@pytest.mark.slow  # SQLite waits for a minute
def test_a_locked_sqlite_file_ends_the_study_in_a_message_and_leaves_it_whole(study, is_one_screen):
    database = study.folder / "study.db"
    study.storage_url = f"sqlite:///{database}"
    command = study.start(n_trials=6, n_jobs=2, seconds=0.5)
    study.wait_until(lambda: len(study.ends) >= 1)
    intruder = sqlite3.connect(database, timeout=60)
    intruder.execute("BEGIN IMMEDIATE")
    code = command.finish(240)
    assert code == 1, command.output
    assert "database is locked" in command.output
    assert "another program holds the file" in command.output
    assert is_one_screen(command.output), command.output

    intruder.close()
    code, output = study.run(n_trials=6, n_jobs=2)
    assert code == 0, output
    study.require_whole(6)


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root may write everywhere")
def test_a_read_only_folder_is_said_before_anything_starts(study, unprivileged_dir: Path, is_one_screen):
    study.study_dir = unprivileged_dir / "closed" / "study"
    study.study_dir.parent.mkdir()
    study.study_dir.parent.chmod(0o500)
    code, output = study.run(n_trials=2)
    assert code == 1
    assert "ermission denied" in output
    assert is_one_screen(output), output
    assert study.starts == []
