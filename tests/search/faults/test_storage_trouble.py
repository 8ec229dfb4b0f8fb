"""A storage that is locked, read-only or full: one clear message, and a study that goes on once that is mended."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.faults.disk import fill, small_disk

__all__ = ["small_disk"]

pytestmark = pytest.mark.slow


@pytest.fixture
def read_only_folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    if os.geteuid() == 0:  # permissions do not count for root
        folder: Path = request.getfixturevalue("small_disk")
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    else:
        folder = tmp_path / "closed"
        folder.mkdir(mode=0o500)
    return folder


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_full_disk_ends_the_study_and_leaves_it_whole(study, small_disk: Path, is_one_screen, n_jobs: int):
    study.study_dir = small_disk / "study"
    command = study.start(n_trials=10, n_jobs=n_jobs, seconds=0.3)
    study.wait_until(lambda: len(study.ends) >= 2)
    filler = small_disk / "filler"
    fill(filler)
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


def test_a_locked_sqlite_file_ends_the_study_and_leaves_it_whole(study, is_one_screen):
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


def test_a_read_only_folder_is_said_before_anything_starts(study, read_only_folder: Path, is_one_screen):
    study.study_dir = read_only_folder / "study"
    code, output = study.run(n_trials=2)
    assert code == 1
    assert "Read-only file system" in output or "Permission denied" in output
    assert is_one_screen(output), output
    assert study.starts == []
