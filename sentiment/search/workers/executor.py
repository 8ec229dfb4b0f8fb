"""What runs jobs: the contract, and the simplest kind, in the process of the study itself."""

from __future__ import annotations

from typing import Protocol

from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sentiment.search.workers.job import Finished, Job, run_in_place


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
        """Give the jobs that ended, as soon as there is one; empty after the timeout."""

    def place(self, job: Job) -> str:
        """Say where a job runs, in a word."""

    def stop(self) -> list[Job]:
        """End what is in flight, politely first, and give the jobs that certainly run no more."""


class InProcess:
    """Runs one job at a time in this process: for ``n_jobs=1``, for debuggers, and for tasks that are short."""

    capacity = 1
    blocking = True

    def __init__(self, task: TaskFunction, objectives: int, context: HydraContext, study: DictConfig) -> None:
        self._task = task
        self._objectives = objectives
        self._context = context
        self._study = study
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
        outcome = run_in_place(self._job, self._task, self._objectives, self._context, self._study)
        finished = [Finished(self._job, outcome)]
        self._job = None
        return finished

    def place(self, job: Job) -> str:
        """Nowhere else."""
        return "here"

    def stop(self) -> list[Job]:
        """Give the job that an interruption ended."""
        stopped = self.running
        self._job = None
        return stopped
