"""Studies of the toy application as real processes, to be killed, stopped and started again."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from sentiment.config.home import PROJECT_DIR
from sentiment.search.space.points import REPLACES_KEY
from sentiment.search.storage.opening import close_storage, open_storage

APP = PROJECT_DIR / "tests" / "search" / "toy" / "app.py"

WAIT_SECONDS = 60.0

PROMOTION = ("hydra/sweeper/pruner=promotion", "steps=9", "checkpoint=true")
"""Trials of nine steps that pause after one and after three."""


def list_children(process_id: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()]


class Command:
    """One command on a study: a process group of its own, whose output goes to a file."""

    def __init__(self, arguments: list[str], output: Path) -> None:
        self._output = output
        with output.open("w") as file:
            self._process = subprocess.Popen(
                arguments,
                cwd=PROJECT_DIR,
                env={**os.environ, "PYTHONPATH": str(PROJECT_DIR), "PYTHONWARNINGS": "default"},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def has_processes(self) -> bool:
        """Whether any process of it lives, workers that outlived it included."""
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, group = stat.read_text().rpartition(")")[2].split()[:3]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(group) == self._process.pid and state != "Z":
                return True
        return False

    def list_workers(self) -> list[int]:
        """Process ids of its workers: children of the process that multiprocessing forks them from."""
        try:
            helpers = list_children(self._process.pid)
            [server] = [one for one in helpers if b"forkserver" in Path(f"/proc/{one}/cmdline").read_bytes()]
            return list_children(server)
        except (FileNotFoundError, ValueError):  # it or a child has just ended, or not begun
            return []

    def send(self, number: signal.Signals) -> None:
        """Signal the command alone."""
        self._process.send_signal(number)

    def send_all(self, number: signal.Signals) -> None:
        """Signal the command and its workers, as a terminal does."""
        os.killpg(self._process.pid, number)

    def finish(self, timeout_seconds: float = WAIT_SECONDS) -> int:
        """Wait for its end, and give the exit code."""
        try:
            return self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout_seconds:g} s:\n{self.output}") from None

    def end(self) -> None:
        """Kill what is left of it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@dataclass(frozen=True)
class Mark:
    """What a job of the toy notes when it starts."""

    number: int  # its trial's number
    device: str  # its CUDA_VISIBLE_DEVICES
    threads: str  # its OMP_NUM_THREADS
    done: int  # steps that its checkpoint had
    x: float  # its point

    @classmethod
    def read(cls, line: str) -> Mark:
        number, device, threads, _, done, x, _ = line.split()
        return cls(int(number), device, threads, int(done), float(x))


class ToyStudy:
    """A study of the toy application in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.app = APP
        self.storage_url: str | None = None
        self.wait_seconds = WAIT_SECONDS
        self.study_dir = folder / "study"
        self._starts, self._ends = folder / "starts.txt", folder / "ends.txt"
        self._commands: list[Command] = []

    def arguments(self, *overrides: str, n_trials: int, n_jobs: int = 1, seconds: float = 0.0) -> list[str]:
        """Return what comes after ``python``."""
        storage = [f"hydra.sweeper.storage='{self.storage_url}'", "hydra.sweeper.study_name=toy"]
        return [
            *(str(self.app), "-m"),
            *("hydra/sweeper=study", "x=interval(-5,5)", "y=interval(-5,5)"),
            *(f"hydra.sweeper.n_trials={n_trials}", f"hydra.sweeper.n_jobs={n_jobs}", f"seconds={seconds}"),
            "hydra.sweeper.ignore=[seconds,mark,end_mark]",  # a resumed command may be quicker
            *(f"hydra.sweep.dir={self.study_dir}", f"mark={self._starts}", f"end_mark={self._ends}"),
            *(storage if self.storage_url else []),
            *overrides,
        ]

    def start(self, *overrides: str, n_trials: int, n_jobs: int = 1, seconds: float = 0.0) -> Command:
        """Start a command."""
        arguments = self.arguments(*overrides, n_trials=n_trials, n_jobs=n_jobs, seconds=seconds)
        command = Command([sys.executable, *arguments], self.folder / f"{len(self._commands)}.txt")
        self._commands.append(command)
        return command

    def run(self, *overrides: str, n_trials: int, n_jobs: int = 1, seconds: float = 0.0) -> tuple[int, str]:
        """Run a command to its end; gives its exit code and its output."""
        command = self.start(*overrides, n_trials=n_trials, n_jobs=n_jobs, seconds=seconds)
        return command.finish(self.wait_seconds), command.output

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Wait for something that the commands bring about."""
        deadline = time.monotonic() + self.wait_seconds
        while not is_so():
            is_going = time.monotonic() < deadline and any(command.has_processes for command in self._commands)
            assert is_going or is_so(), "\n".join(command.output for command in self._commands)
            time.sleep(0.02)

    @property
    def marks(self) -> list[Mark]:
        """Every start of a job."""
        lines = self._starts.read_text().splitlines() if self._starts.exists() else []
        return [Mark.read(line) for line in lines]

    @property
    def starts(self) -> list[tuple[int, float]]:
        """Every start of a job: its trial's number and x."""
        return [(mark.number, mark.x) for mark in self.marks]

    @property
    def ends(self) -> Counter[int]:
        """How often each trial ran to its end."""
        return Counter(map(int, self._ends.read_text().split())) if self._ends.exists() else Counter()

    @property
    def job_folders(self) -> list[int]:
        return sorted(int(path.name) for path in self.study_dir.iterdir() if path.name.isdigit())

    def trials(self) -> list[FrozenTrial]:
        """Read the stored trials with Optuna."""
        storage = open_storage(self.storage_url, self.study_dir)
        try:
            (summary,) = optuna.get_all_study_summaries(storage)
            return optuna.load_study(study_name=summary.study_name, storage=storage).get_trials()
        finally:
            close_storage(storage)

    def states(self) -> Counter[str]:
        return Counter(trial.state.name for trial in self.trials())

    def require_whole(self, n_trials: int) -> None:
        """Require that every trial was counted once, has its one folder, and kept its parameters.

        A trial that failed may have been tried again by a later command: then the later one counts.
        """
        trials = self.trials()
        assert [trial.number for trial in trials] == list(range(len(trials)))
        standing = {trial.number for trial in trials} - {trial.user_attrs.get(REPLACES_KEY) for trial in trials}
        assert len(standing) == n_trials
        assert all(trial.state == TrialState.FAIL for trial in trials if trial.number not in standing)
        assert all(trial.state.is_finished() for trial in trials)
        failed = {trial.number for trial in trials if trial.state == TrialState.FAIL}  # perhaps before its job began
        assert set(range(len(trials))) - failed <= set(self.job_folders) <= set(range(len(trials)))
        for trial in trials:
            drawn = {x for number, x in self.starts if number == trial.number}
            assert drawn == {trial.params["x"]} or (not drawn and trial.number in failed)
            if trial.state == TrialState.COMPLETE:
                assert trial.value == pytest.approx(trial.params["x"] ** 2 + trial.params["y"] ** 2)
                assert self.ends[trial.number] >= 1

    def require_promoted(self, n_trials: int) -> None:
        """Require of a study with PROMOTION that every trial went up rung by rung, each step run once."""
        self.require_whole(n_trials)
        climbs = {1: [0], 3: [0, 1], 9: [0, 1, 3]}  # from which step on each job of a trial that came so far went on
        for trial in self.trials():
            done = [mark.done for mark in self.marks if mark.number == trial.number]
            assert done == climbs[len(trial.intermediate_values)]
            is_complete = len(trial.intermediate_values) == 9
            assert trial.state == (TrialState.COMPLETE if is_complete else TrialState.PRUNED)
            assert self.ends[trial.number] == is_complete
        assert self.states()["COMPLETE"] >= 1

    def end(self) -> None:
        for command in self._commands:
            command.end()


@pytest.fixture
def is_one_screen() -> Callable[[str], bool]:
    """Whether a message is for people: short, without a traceback, with a remedy."""

    def judge(output: str) -> bool:
        message = [line for line in output.splitlines() if not re.match(r"\[.*\]\[HYDRA\]", line)]
        return len(message) <= 24 and any("->" in line for line in message) and "Traceback" not in output

    return judge


@pytest.fixture
def study(tmp_path: Path) -> Iterator[ToyStudy]:
    toy = ToyStudy(tmp_path)
    yield toy
    toy.end()


@pytest.fixture
def other_study(tmp_path: Path) -> Iterator[ToyStudy]:
    """A second study, to compare with."""
    folder = tmp_path / "other"
    folder.mkdir()
    toy = ToyStudy(folder)
    yield toy
    toy.end()
