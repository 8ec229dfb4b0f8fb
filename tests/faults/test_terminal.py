"""A terminal that is closed while a command runs in it: the kernel hangs up, and nothing goes on behind its back."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sentiment.config.home import PROJECT_DIR
from tests.end_to_end.conftest import TINY, make_checkout
from tests.search.faults.conftest import ToyStudy

pytestmark = pytest.mark.slow

SECONDS = 120


def start_in_terminal(arguments: list[str], folder: Path, **environment: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a command as the leader of a terminal of its own; give it and the other end of the terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", LEADER, *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(PROJECT_DIR), **environment},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    return process, ours


LEADER = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # the terminal is this session's: closing it hangs up its processes
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def list_session(leader: int) -> list[int]:
    """List the living processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(session) == leader and state != "Z":
            found.append(int(stat.parent.name))
    return found


def wait_until(condition: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        assert process.poll() is None, "it ended before the terminal was closed"
        time.sleep(0.05)


def close_terminal(process: subprocess.Popen[bytes], terminal: int) -> int:
    """Close the terminal; give the command's exit code once none of its processes is left."""
    try:
        os.close(terminal)
        code = process.wait(SECONDS)
        deadline = time.monotonic() + 30
        while list_session(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert list_session(process.pid) == []
        return code
    finally:
        for left in list_session(process.pid):
            os.kill(left, signal.SIGKILL)


def test_a_run_ends_as_killed(tmp_path: Path):
    checkout = make_checkout(tmp_path / "checkout")
    run_dir = tmp_path / "run"
    arguments = [str(checkout.folder / "run.py"), *TINY, "trainer.max_epochs=1000", f"hydra.run.dir={run_dir}"]
    process, terminal = start_in_terminal(arguments, checkout.folder, PYTHONPATH="")
    os.set_blocking(terminal, False)

    def has_begun() -> bool:
        drain(terminal)
        return bool(list(run_dir.glob("checkpoints/*.ckpt")))

    wait_until(has_begun, process)
    assert close_terminal(process, terminal) == 129
    record = json.loads((run_dir / "result.json").read_text(encoding="utf-8"))
    assert record["status"] == "KILLED"
    assert "SIGHUP" in record["reason"]


def drain(terminal: int) -> None:
    """Read what the command wrote: a terminal that nobody reads blocks it."""
    try:
        while os.read(terminal, 65536):
            pass
    except BlockingIOError:
        pass


def test_a_study_gives_its_trials_back_and_no_worker_is_left(tmp_path: Path):
    study = ToyStudy(tmp_path)
    process, terminal = start_in_terminal(study.arguments(n_trials=4, n_jobs=2, seconds=30), PROJECT_DIR)
    os.set_blocking(terminal, False)

    def has_begun() -> bool:
        drain(terminal)
        return len(study.starts) == 2

    wait_until(has_begun, process)
    assert len(list_session(process.pid)) >= 3
    assert close_terminal(process, terminal) == 129
    assert study.states() == {"WAITING": 2}
