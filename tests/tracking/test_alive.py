"""One process works in a folder, and a sign says so as long as it lives."""

from __future__ import annotations

import errno
import fcntl
import socket
import subprocess
import sys
import threading
import time

import pytest

from sentiment.errors import TrackingError
from sentiment.tracking.alive import ALIVE_FILE, RUN_FILE, Alive, is_alive
from sentiment.tracking.outbox import Outbox, _tell_no_locks
from sentiment.tracking.recorder import open_recorder
from sentiment.tracking.result_file import read_result

KILLED = """
import os, signal, sys
from pathlib import Path
from sentiment.tracking.alive import RUN_FILE, Alive
alive = Alive(Path(sys.argv[1]), RUN_FILE)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("name", "key"), [(RUN_FILE, "hydra.run.dir"), (ALIVE_FILE, "hydra.sweep.dir")])
def test_a_second_one_is_refused_until_the_first_has_ended(tmp_path, name, key):
    first = Alive(tmp_path, name)
    with pytest.raises(
        TrackingError, match=rf"Another command works in {tmp_path}, on {socket.gethostname()}.\n  -> .*{key}=FOLDER"
    ):
        Alive(tmp_path, name)
    assert is_alive(tmp_path, name)
    first.end()
    assert not is_alive(tmp_path, name)
    second = Alive(tmp_path, name)
    assert not second.is_heir
    second.end()
    assert list(tmp_path.iterdir()) == []


def test_who_was_killed_leaves_the_folder_to_the_next_one(tmp_path, project_dir):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=project_dir, check=False, timeout=60)
    assert not is_alive(tmp_path, RUN_FILE)
    heir = Alive(tmp_path, RUN_FILE)
    assert heir.is_heir
    heir.end()


def test_who_waits_works_when_the_other_one_has_ended(tmp_path):
    first = Alive(tmp_path, RUN_FILE)
    threading.Timer(0.3, first.end).start()
    second = Alive(tmp_path, RUN_FILE, waits=True)
    assert (second.is_heir, is_alive(tmp_path, RUN_FILE)) == (False, True)
    second.end()


def test_who_only_looks_is_in_nobodys_way(tmp_path):
    (tmp_path / RUN_FILE).touch()
    with (tmp_path / RUN_FILE).open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        threading.Timer(0.2, looking.close).start()
        Alive(tmp_path, RUN_FILE).end()


def test_a_file_system_without_locks_is_worked_on_all_the_same(tmp_path, monkeypatch, caplog):
    def refuse(*arguments):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    _tell_no_locks.cache_clear()
    Alive(tmp_path, ALIVE_FILE).end()
    for job in ("0", "1"):
        outbox = Outbox(tmp_path / job)
        outbox.note("tags", tags={})
        with outbox.delivering() as is_mine:
            assert is_mine
        assert [note["kind"] for _, note in outbox.read()] == ["tags"]
    assert caplog.text.count("would not be noticed") == 1, "a study has thousands of folders"
    assert "start it with tracking=none" in caplog.text


def test_two_runs_do_not_share_a_folder(project, result):
    """Whatever their settings: the second would test the checkpoint of the first, and take its record."""
    none = ("tracking.mlflow=false", "tracking.tensorboard=false")
    with open_recorder(project.context(project.settings(*none))) as recorder:
        for seed in ("seed=0", "seed=1"):
            with (
                pytest.raises(TrackingError, match="Another command works in"),
                open_recorder(project.context(project.settings(*none, seed))),
            ):
                pytest.fail("the block must not be entered")
        recorder.finished(result)
    record = read_result(project.output_dir() / "result.json")
    assert (record.status, record.params["seed"]) == ("FINISHED", "0")


def test_a_job_waits_for_the_process_that_was_at_it(project, result):
    """Of a command that was killed, workers live on for a while: the next command runs their jobs again."""
    context = project.context(project.settings("tracking.mlflow=false", "tracking.tensorboard=false"), job_number=0)
    before, began = Alive(context.output_dir, RUN_FILE), time.monotonic()
    threading.Timer(0.5, before.end).start()
    with open_recorder(context) as recorder:
        assert time.monotonic() - began >= 0.5
        recorder.finished(result)
    assert read_result(context.output_dir / "result.json").status == "FINISHED"
