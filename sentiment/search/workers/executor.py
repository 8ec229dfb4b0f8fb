"""Executors run jobs: their interface, the one in the study's own process, and what those who wait for jobs need.

That is a judge of how long a job may take, and a hand-over that no signal breaks.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Protocol

from hydra.errors import CompactHydraException

from sentiment.errors import SentimentError
from sentiment.format import format_duration
from sentiment.search.workers.job import Finished, Job, JobRunner

HELD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class LauncherError(SentimentError, CompactHydraException):
    """A launcher cannot be reached, takes no jobs, or has lost one; Hydra prints the message alone."""


class Executor(Protocol):
    """Runs up to `capacity` jobs at once."""

    capacity: int  # jobs in flight at most
    blocking: bool  # whether `wait` runs the jobs itself, so that nothing goes on between two calls

    @property
    def running(self) -> list[Job]:
        """Jobs in flight."""

    def submit(self, job: Job) -> None:
        """Start a job; the caller keeps to the capacity."""

    def wait(self, timeout_seconds: float) -> list[Finished]:
        """Return the jobs that ended, as soon as there is one; empty after the timeout."""

    def name_slot(self, job: Job) -> str:
        """Return where a job runs, in a word."""

    def end(self, job: Job) -> None:
        """End one job, politely first; `wait` returns it when its process is gone."""

    def stop(self) -> list[Job]:
        """End what is in flight, politely first, and return the jobs that certainly run no more."""


class InProcess:
    """Runs one job at a time in this process: for ``n_jobs=1``, for debuggers, and for tasks that are short."""

    capacity = 1
    blocking = True

    def __init__(self, runner: JobRunner) -> None:
        self._runner = runner
        self._job: Job | None = None

    @property
    def running(self) -> list[Job]:
        """The job that `wait` will run."""
        return [] if self._job is None else [self._job]

    def submit(self, job: Job) -> None:
        """Take a job; `wait` runs it."""
        self._job = job

    def wait(self, timeout_seconds: float) -> list[Finished]:
        """Run the job to its end, whatever the timeout."""
        if self._job is None:
            return []
        finished = [Finished(self._job, self._runner.run(self._job))]
        self._job = None
        return finished

    def name_slot(self, job: Job) -> str:
        """Return that it runs nowhere else."""
        return "here"

    def end(self, job: Job) -> None:
        """Nothing: it runs in the very process that would have to end it."""

    def stop(self) -> list[Job]:
        """Return the job that an interruption ended."""
        stopped = self.running
        self._job = None
        return stopped


@dataclass
class Patience:
    """Judges the jobs of a command by the clock of the process that waits for them."""

    timeout_seconds: float | None = None  # longest time of a job; None: any
    progress_seconds: float | None = None  # longest time without a sign of progress; None: any
    _began: dict[int, float] = field(default_factory=dict)
    _signs: dict[int, tuple[Hashable, float]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.timeout_seconds is not None or self.progress_seconds is not None

    def judge(self, number: int, sign: Hashable, now_seconds: float, earlier_seconds: float = 0.0) -> str | None:
        """Return why a job is to be ended; None: it may go on.

        Args:
            number: The job's number.
            sign: Changes whenever the job gets on.
            now_seconds: The time by `time.monotonic`.
            earlier_seconds: How long the job ran in earlier attempts; looked at when the job is new.
        """
        began = self._began.setdefault(number, now_seconds - earlier_seconds)
        known, since = self._signs.get(number, (None, now_seconds))
        if known != sign:
            since = now_seconds
        self._signs[number] = (sign, since)
        if self.timeout_seconds is not None and now_seconds - began >= self.timeout_seconds:
            return f"it took longer than trial_timeout={format_duration(self.timeout_seconds)}"
        if self.progress_seconds is not None and now_seconds - since >= self.progress_seconds:
            return f"it did not get on for progress_timeout={format_duration(self.progress_seconds)}"
        return None

    def forget(self, number: int) -> None:
        """Take a job off, which has ended."""
        self._began.pop(number, None)
        self._signs.pop(number, None)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold the first Ctrl-C, SIGTERM or SIGHUP back until the step is done; a second one is obeyed at once.

    Python handles signals in the main thread, so elsewhere there is nothing to hold.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    handlers = {number: signal.getsignal(number) for number in HELD}

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def hold(number: int, frame: FrameType | None) -> None:
        held.append(number)
        if len(held) > 1:
            restore()
            os.kill(os.getpid(), held.pop())

    for number in HELD:
        if handlers[number] is not signal.SIG_IGN:
            signal.signal(number, hold)
    try:
        yield
    finally:
        restore()
        if held:
            os.kill(os.getpid(), held[0])
