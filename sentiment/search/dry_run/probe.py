"""Measures one job of a search, in a process of its own, only as long as it takes to know its pace and its memory."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict

from sentiment.errors import RunPruned
from sentiment.search.study.current import JobTrial
from sentiment.search.study.outcome import Outcome
from sentiment.search.workers.job import Job, JobRunner, number_job
from sentiment.search.workers.processes import WorkerProcesses
from sentiment.search.workers.slots import Slot

PATIENCE = 6
"""A job that does not tell how far it is may run so many times the seconds of the probe, before it is stopped."""


@dataclass(frozen=True)
class Sample:
    """How far a job was seen to be, and with how much memory."""

    seconds: float  # time since the job began
    fraction: float | None  # share of the job that was done; None: it had told nothing
    # Peak memory so far of its process and of those that it has started, which count when they have ended.
    host_bytes: int
    device_bytes: int | None  # peak memory of its process on the GPU; None: it uses none


@dataclass(frozen=True)
class Measured:
    """What a probe found out about one job."""

    seconds: float  # time that the whole job takes
    is_bound: bool  # the job was stopped before its pace was known: it takes more than `seconds`
    host_bytes: int | None  # peak memory of its processes; None: unknown
    device_bytes: int | None  # peak memory on the GPU; None: it uses none; 0: unknown, as others use it for it
    failure: str | None = None  # why the job failed; None: it did not


class Probe(JobTrial):
    """Stands in for a trial and its address in a dry run: stops the job once its pace is known, and keeps nothing else.

    Args:
        file: Takes the samples, line by line, so that they outlive a process that is killed.
        seconds: Time of training in which the pace shows: what comes before it tells that nothing is done.
        devices: Devices of the job, for each of which it may start a process.
    """

    number = repeat = trial_id = 0
    attempt = 1
    is_to_pause = False
    limited = ()
    origin = None

    def __init__(self, file: Path, seconds: float, devices: int = 1) -> None:
        self._file = file
        self._seconds = seconds
        self._devices = devices
        self._began = time.monotonic()
        self._first: float | None = None

    @contextmanager
    def attend(self) -> Iterator[Probe]:
        """Take a sample at the beginning and, however it comes, at the end."""
        self._began = time.monotonic()
        self.sample(None)
        try:
            yield self
        finally:
            self.sample(None)

    def begin(self, folder: Path, log_file: Path | None) -> None:
        """Note the folder."""
        self.folder = folder

    def progress(self, fraction: float, note: str = "") -> None:
        """Take a sample.

        Raises:
            RunPruned: Enough is known.
        """
        now = self.sample(fraction)
        if self._first is None and fraction > 0:
            self._first = now
        if fraction >= 1 or (self._first is not None and now - self._first >= self._seconds):
            raise RunPruned("the probe has seen enough")

    def sample(self, fraction: float | None) -> float:
        """Write a sample, and return its time."""
        now = time.monotonic() - self._began
        host = _read_host_peak(resource.RUSAGE_SELF)
        if self._devices > 1:  # else none of the processes that it has started trains
            # Of these the system knows the largest one's, which is at least that of the process that started it.
            host += self._devices * _read_host_peak(resource.RUSAGE_CHILDREN)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps([now, fraction, host, _read_device_peak()]) + "\n")
        return now


def measure(
    runner: JobRunner,
    overrides: tuple[str, ...],
    config: DictConfig,
    slot: Slot,
    *,
    folder: Path,
    seconds: float,
    devices: int,
) -> Measured:
    """Run one job on so many devices until its pace is known, which shows some `seconds` after the first sample.

    Everything that the job writes goes to `folder`.
    """
    folder.mkdir(parents=True)
    with open_dict(config):
        config.hydra.sweep.dir = str(folder / "jobs")
    samples = folder / "samples.jsonl"
    job = Job(0, overrides, number_job(config, 0), Probe(samples, seconds, devices))
    workers = WorkerProcesses(runner, [slot], folder / "log")
    try:
        outcome = _wait(workers, job, samples, seconds * PATIENCE)
    finally:
        workers.stop()
    measured = interpret(_read_samples(samples), outcome)
    if devices > 1 and measured.device_bytes is not None:  # of words and teachers, or nothing: others train
        measured = replace(measured, device_bytes=0)
    if devices > 1 and outcome is None:  # a process that was killed has taken no sample at its end
        measured = replace(measured, host_bytes=None)
    if outcome is None and measured.is_bound:
        return replace(measured, seconds=max(measured.seconds, seconds * PATIENCE))
    return measured


def interpret(samples: list[Sample], outcome: Outcome | None) -> Measured:
    """Make an estimate from a job's samples: the time up to its training, then its pace from there.

    Args:
        samples: What the job told, in order; those at its beginning and its end tell no fraction.
        outcome: How it ended; None: it was stopped, as it had told too little.
    """
    host = max((sample.host_bytes for sample in samples), default=None)
    device = max((sample.device_bytes for sample in samples if sample.device_bytes is not None), default=None)
    elapsed = samples[-1].seconds if samples else 0.0
    if outcome is not None and outcome.state == "failed":
        return Measured(elapsed, True, host, device, outcome.reason)
    if outcome is not None and outcome.state == "complete":
        return Measured(elapsed, False, host, device)
    told = [(sample.seconds, sample.fraction) for sample in samples if sample.fraction is not None]
    told = told[max(0, sum(fraction <= 0 for _, fraction in told) - 1) :]  # words, teachers: nothing is done yet
    if told and told[-1][1] >= 1:
        return Measured(told[-1][0], False, host, device)
    if len(told) < 2 or told[-1][1] <= told[0][1]:
        return Measured(elapsed, True, host, device)
    (first, begun), (last, done) = told[0], told[-1]
    return Measured(first + (last - first) / (done - begun) * (1 - begun), False, host, device)


def _wait(workers: WorkerProcesses, job: Job, samples: Path, seconds: float) -> Outcome | None:
    """Wait for the job; the seconds count from its own beginning, not from that of its process."""
    workers.submit(job)
    deadline: float | None = None
    while deadline is None or time.monotonic() < deadline:
        finished = workers.wait(0.1)
        if finished:
            return finished[0].outcome
        if deadline is None and samples.exists():
            deadline = time.monotonic() + seconds
    return None


def _read_samples(file: Path) -> list[Sample]:
    if not file.exists():  # the process died before the job began
        return []
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    return [Sample(*json.loads(line)) for line in lines if line.endswith("\n")]


def _read_host_peak(of: int) -> int:
    peak = resource.getrusage(of).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts kibibytes


def _read_device_peak() -> int | None:
    torch: Any = sys.modules.get("torch")  # only where the application has imported it
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    return int(torch.cuda.max_memory_allocated())
