"""Temporary folders go with their process, and what a killed one left goes with the next one."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from sentiment.scratch import PREFIX, Scratch, make_temporary_folder

KILL_ITSELF = """
import os, signal
from sentiment.scratch import Scratch
print(Scratch().folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


def test_a_killed_process_leaves_a_folder_that_the_next_one_removes(temporary, project_dir):
    living = Scratch()
    done = subprocess.run(
        [sys.executable, "-c", KILL_ITSELF], cwd=project_dir, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    assert [str(folder) for folder in temporary.iterdir() if folder != living.folder] == [done.stdout.strip()]
    following = Scratch()
    assert set(temporary.iterdir()) == {living.folder, following.folder}
    for scratch in (living, following):
        scratch.remove()
    assert list(temporary.iterdir()) == []


def test_a_link_and_a_folder_without_our_lock_are_left_alone(temporary):
    target = temporary / "target"
    target.mkdir()
    (target / ".lock").touch()
    (temporary / f"{PREFIX}link").symlink_to(target)
    (temporary / f"{PREFIX}other").mkdir()
    Scratch().remove()
    assert {path.name for path in temporary.iterdir()} == {"target", f"{PREFIX}link", f"{PREFIX}other"}


def test_all_temporary_folders_of_a_process_hold_one_file_open():
    first, second = make_temporary_folder(), make_temporary_folder()
    assert first != second
    assert first.parent == second.parent
