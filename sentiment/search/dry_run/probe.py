"""Measures one job of a search, in a process of its own, only as long as it takes to know its pace and its memory."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict
from optuna.pruners import NopPruner

from sentiment.errors import RunPruned
from sentiment.search.study.outcome import Outcome
from sentiment.search.study.trial import RunningTrial, TrialAddress
from sentiment.search.workers.job import Job, number_job
from sentiment.search.workers.processes import WorkerProcesses
from sentiment.search.workers.slots import Slot

PATIENCE = 6
"""A job that does not tell how far it is may run so many times the seconds of the probe, before it is stopped."""

KIBIBYTE = 1024


@dataclass(frozen=True)
class Mark:
    """What a job was seen to be at.

    Attributes:
        seconds: Time since the job began.
        fraction: Share of the job that was done; None: it had told nothing.
        host_bytes: Peak memory of its process so far.
        device_bytes: Peak memory on the GPU; None: it uses none.
    """

    seconds: float
    fraction: float | None
    host_bytes: int
    device_bytes: int | None


@dataclass(frozen=True)
class Measured:
    """What a probe found out about one job.

    Attributes:
        seconds: Time that the whole job takes.
        is_bound: The job was stopped before its pace was known: it takes more than `seconds`.
        host_bytes: Peak memory of its process; None: unknown.
        device_bytes: Peak memory on the GPU; None: it uses none.
        failure: Why the job failed; None: it did not.
    """

    seconds: float
    is_bound: bool
    host_bytes: int | None
    device_bytes: int | None
    failure: str | None = None


class Probe(RunningTrial):
    """Stands in for a trial while a dry run measures: stops the job once its pace is known.

    Args:
        file: Takes the marks, line by line, so that they outlive a process that is killed.
        seconds: Time after the first mark in which the pace shows.
    """

    def __init__(self, file: Path, seconds: float) -> None:
        self.number = self.repeat = 0
        self._file = file
        self._seconds = seconds
        self._began = time.monotonic()
        self._first: float | None = None

    def report(self, value: float, *, step: int) -> None:
        """Nothing is compared."""

    def finish_repeat(self, value: float) -> None:
        """Nothing is compared."""

    def describe(self, metrics: Mapping[str, float]) -> None:
        """Nothing is kept."""

    def read_outcome(self) -> None:
        """There is none from before."""

    def write_outcome(self, outcome: Outcome) -> None:
        """It comes back from the process."""

    def progress(self, fraction: float, note: str = "") -> None:
        """Mark the time.

        Raises:
            RunPruned: Enough is known.
        """
        now = self.mark(fraction)
        if self._first is None:
            self._first = now
        if fraction >= 1 or now - self._first >= self._seconds:
            raise RunPruned("the probe has seen enough")

    def mark(self, fraction: float | None) -> float:
        """Write a mark, and give its time."""
        now = time.monotonic() - self._began
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps([now, fraction, _read_host_peak(), _read_device_peak()]) + "\n")
        return now


@dataclass(frozen=True)
class ProbeAddress(TrialAddress):
    """The address of a probe; it stands in for a trial's.

    Attributes:
        seconds: See `Probe`.
    """

    seconds: float = 0.0

    @property
    def file(self) -> Path:
        """Where the probe writes its marks."""
        return self.study_dir / "marks.jsonl"

    @contextmanager
    def attend(self) -> Iterator[RunningTrial]:
        """Give the probe; mark the beginning and, however it comes, the end."""
        probe = Probe(self.file, self.seconds)
        probe.mark(None)
        try:
            yield probe
        finally:
            probe.mark(None)


def measure(
    overrides: tuple[str, ...],
    job_config: DictConfig,
    task: TaskFunction,
    objectives: int,
    context: HydraContext,
    config: DictConfig,
    *,
    slot: Slot,
    folder: Path,
    seconds: float,
) -> Measured:
    """Run one job until its pace is known.

    Args:
        overrides: The job's overrides.
        job_config: What they compose.
        task: The application's task.
        objectives: Number of values that it returns.
        context: Hydra's context.
        config: The configuration of the study.
        slot: Device and threads of the job.
        folder: Takes everything that the job writes.
        seconds: Time after the first mark in which the pace shows.
    """
    folder.mkdir(parents=True)
    with open_dict(job_config):
        job_config.hydra.sweep.dir = str(folder / "jobs")
    address = ProbeAddress(None, folder, "probe", 0, 0, 0, "", NopPruner(), seconds)
    job = Job(0, overrides, number_job(job_config, 0), address)
    workers = WorkerProcesses([slot], task, objectives, context, config, folder / "log")
    try:
        outcome = _wait(workers, job, address.file, seconds * PATIENCE)
    finally:
        workers.stop()
    measured = interpret(_read_marks(address.file), outcome)
    if outcome is None and measured.is_bound:  # a process that was killed has not marked its end
        return replace(measured, seconds=max(measured.seconds, seconds * PATIENCE))
    return measured


def interpret(marks: list[Mark], outcome: Outcome | None) -> Measured:
    """Make an estimate of a job's marks: the time to the first mark, then its pace from there.

    Args:
        marks: What the job told, in order; those at its beginning and its end tell no fraction.
        outcome: How it ended; None: it was stopped, as it had told too little.
    """
    host = max((mark.host_bytes for mark in marks), default=None)
    device = max((mark.device_bytes for mark in marks if mark.device_bytes is not None), default=None)
    elapsed = marks[-1].seconds if marks else 0.0
    if outcome is not None and outcome.state == "failed":
        return Measured(elapsed, True, host, device, outcome.reason)
    if outcome is not None and outcome.state == "complete":
        return Measured(elapsed, False, host, device)
    told = [(mark.seconds, mark.fraction) for mark in marks if mark.fraction is not None]
    if told and told[-1][1] >= 1:
        return Measured(told[-1][0], False, host, device)
    if len(told) < 2 or told[-1][1] <= told[0][1]:
        return Measured(elapsed, True, host, device)
    (first, begun), (last, done) = told[0], told[-1]
    return Measured(first + (last - first) / (done - begun) * (1 - begun), False, host, device)


def _wait(workers: WorkerProcesses, job: Job, marks: Path, seconds: float) -> Outcome | None:
    """Wait for the job; the seconds count from its own beginning, not from that of its process."""
    workers.submit(job)
    deadline: float | None = None
    while deadline is None or time.monotonic() < deadline:
        finished = workers.wait(0.1)
        if finished:
            return finished[0].outcome
        if deadline is None and marks.exists():
            deadline = time.monotonic() + seconds
    return None


def _read_marks(file: Path) -> list[Mark]:
    if not file.exists():  # the process died before the job began
        return []
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    return [Mark(*json.loads(line)) for line in lines if line.endswith("\n")]


def _read_host_peak() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * KIBIBYTE


def _read_device_peak() -> int | None:
    torch: Any = sys.modules.get("torch")  # only where the application has imported it
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    return int(torch.cuda.max_memory_allocated())
