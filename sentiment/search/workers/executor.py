"""What runs jobs: the contract, and the simplest kind, in the process of the study itself."""

from __future__ import annotations

from typing import Protocol

from sentiment.search.workers.job import Finished, Job, JobRunner


class Executor(Protocol):
    """Runs up to `capacity` jobs at once.

    Attributes:
        capacity: Jobs in flight at most.
        blocking: Whether `wait` runs the jobs itself, so that nothing goes on between two calls.
    """

    capacity: int
    blocking: bool

    @property
    def running(self) -> list[Job]:
        """Jobs in flight."""

    def submit(self, job: Job) -> None:
        """Start a job; the caller keeps to the capacity."""

    def wait(self, timeout_seconds: float) -> list[Finished]:
        """Return the jobs that ended, as soon as there is one; empty after the timeout."""

    def name_slot(self, job: Job) -> str:
        """Return where a job runs, in a word."""

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

    def stop(self) -> list[Job]:
        """Return the job that an interruption ended."""
        stopped = self.running
        self._job = None
        return stopped
