"""Worker processes: each runs one job after the other and never waits for the others.

Hydra has launchers for processes (joblib), but `Launcher.launch` returns when the last job of a batch is done; here a
worker gets its next job when its last one ends, has its GPU and its threads from the start, and its death is noticed at
once and costs its one job.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

import cloudpickle
from hydra.core.singleton import Singleton

from sentiment.errors import explaining
from sentiment.scratch import Scratch
from sentiment.search.application import application_of
from sentiment.search.study.outcome import Outcome, failed
from sentiment.search.workers.job import Finished, Job, JobRunner
from sentiment.search.workers.slots import Slot

POLITE_SIGNALS = {signal.SIGINT, signal.SIGHUP, signal.SIGTERM}

ENGINE_MODULES = ("sentiment.search.workers.processes", "sentiment.search.study.trial")
"""What a worker imports to find its trial."""

POLITE_SECONDS = 20.0
"""Time that a job has to record its end after Ctrl-C or SIGTERM, before it is killed."""


class Worker:
    """One worker process, seen from the study."""

    def __init__(self, slot: Slot, work_file: Path, log_file: Path, preload: Sequence[str]) -> None:
        self.slot = slot
        self.job: Job | None = None
        self.killed_at: float | None = None
        context = choose_start(slot, preload)
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=serve,
            args=(theirs, str(work_file), slot.environment(), str(log_file)),
            name=f"study-worker-{slot.index}",
        )
        resource_tracker.ensure_running()  # starting it would end the deafness
        with deaf(), environment_of(slot):
            self.process.start()
        theirs.close()

    def start(self, job: Job) -> None:
        """Send a job."""
        self.job = job
        with suppress(BrokenPipeError):  # it died while idle: `receive` finds that out and says how
            self.connection.send_bytes(cloudpickle.dumps(job))

    def receive(self) -> Finished:
        """Take the outcome, or say how the worker died; call it when the connection is ready."""
        assert self.job is not None
        job, self.job = self.job, None
        try:
            return Finished(job, self.connection.recv())
        except (EOFError, OSError):  # OSError: it died within its message
            self.process.join(POLITE_SECONDS)
            return Finished(job, Outcome("failed", kind="worker_died", reason=_explain_death(self.process.exitcode)))

    @property
    def is_alive(self) -> bool:
        """Whether it can take another job; not where it was asked to end, and its job ended just before."""
        return self.process.is_alive() and not self.connection.closed and self.killed_at is None


class WorkerProcesses:
    """Runs jobs in worker processes, one for each slot, started when first needed.

    Args:
        runner: What a worker runs its jobs with.
        slots: The shares of the machine, one per worker.
        log_dir: Takes what each worker prints.
        fresh_processes: Whether every job gets a process of its own.
    """

    blocking = False

    def __init__(self, runner: JobRunner, slots: list[Slot], log_dir: Path, *, fresh_processes: bool = False) -> None:
        self.capacity = len(slots)
        self._slots = slots
        with explaining(
            "The task, or a callback or resolver of Hydra, cannot be sent to worker processes",
            "make the object inside the task, or in a module that the script imports; but for dry runs, "
            "hydra.sweeper.n_jobs=1 hydra.sweeper.devices=unused runs one job after the other without them",
            causes=Exception,  # an object of one's own may raise anything
        ):  # by value: tasks usually are in `__main__`
            self._content = cloudpickle.dumps((runner, Singleton.get_state()))
        self._write_work()
        self._log_dir = log_dir
        self._preload = application_of(runner.task).preload
        self._fresh = fresh_processes
        self._workers: dict[int, Worker] = {}

    @property
    def running(self) -> list[Job]:
        """Jobs in flight."""
        return [worker.job for worker in self._workers.values() if worker.job is not None]

    def submit(self, job: Job) -> None:
        """Send a job to a free worker, starting one where needed."""
        busy = {index for index, worker in self._workers.items() if worker.job is not None}
        slot = next(slot for slot in self._slots if slot.index not in busy)
        worker = self._workers.get(slot.index)
        if worker is None or not worker.is_alive:
            self._log_dir.mkdir(parents=True, exist_ok=True)
            if not self._work_file.exists():  # a cleaner of old temporary files took it for forgotten
                self._write_work()
            worker = Worker(slot, self._work_file, self._log_dir / f"worker-{slot.index}.log", self._preload)
            self._workers[slot.index] = worker
        worker.start(job)

    def _write_work(self) -> None:
        """Write what workers run to a file: a pipe would fill up, and this process wait until the worker has booted."""
        self._work = Scratch()
        self._work_file = self._work.folder / "work.pickle"
        self._work_file.write_bytes(self._content)

    def wait(self, timeout_seconds: float) -> list[Finished]:
        """Return the jobs that ended."""
        busy = {worker.connection: worker for worker in self._workers.values() if worker.job is not None}
        finished: list[Finished] = []
        for worker in busy.values():
            if worker.killed_at is not None and time.monotonic() >= worker.killed_at:
                worker.process.kill()
        for ready in wait(list(busy), timeout_seconds):
            assert isinstance(ready, Connection)
            worker = busy[ready]
            finished.append(worker.receive())
            if self._fresh or finished[-1].outcome.kind == "worker_died":
                worker.connection.close()  # it ends when its connection does
        return finished

    def name_slot(self, job: Job) -> str:
        """Return the name of the worker or of its GPU."""
        return next((str(w.slot) for w in self._workers.values() if w.job is job), "")

    def end(self, job: Job) -> None:
        """Ask the worker of a job to end; it is killed where it does not."""
        for worker in self._workers.values():
            if worker.job is job and worker.killed_at is None:
                worker.killed_at = time.monotonic() + POLITE_SECONDS
                worker.process.terminate()

    def stop(self) -> list[Job]:
        """End all workers; a job in flight gets time to record that it was stopped."""
        stopped = self.running
        for worker in self._workers.values():
            if worker.job is not None and worker.process.is_alive():
                worker.process.terminate()
            worker.connection.close()
        deadline = time.monotonic() + POLITE_SECONDS
        for worker in self._workers.values():
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        for slot in self._slots:
            slot.release()
        self._workers.clear()
        self._work.remove()
        return stopped


def choose_start(slot: Slot, preload: Sequence[str]) -> SpawnContext | ForkServerContext:
    """Choose how a worker starts: forked from a process that has imported what its jobs need, else as a new Python.

    Never as a fork of this process, which has locks and connections in mid-use. The process that workers are forked
    from, one for this process and all its studies, has the environment of its first worker: libraries read the number
    of their threads when they are imported. A worker with another number is a new Python; so is one with a GPU, as
    CUDA, once an import has touched it, cannot be used after a fork.
    """
    if slot.device or sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    if _forked_with.setdefault("environment", slot.environment()) != slot.environment():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*ENGINE_MODULES, *preload])
    return context


_forked_with: dict[str, dict[str, str]] = {}
"""Environment of the process that workers are forked from; it lives as long as this process, and so does this."""


@contextmanager
def environment_of(slot: Slot) -> Iterator[None]:
    """Start processes here that have a slot's environment from their first import on."""
    before = {name: os.environ.get(name) for name in slot.environment()}
    os.environ.update(slot.environment())
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def deaf() -> Iterator[None]:
    """Start processes here that no polite signal can end before they have said what they do then.

    The process that workers are forked from never says so: it lives until the last of them has ended.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, POLITE_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(connection: Connection, work_file: str, environment: dict[str, str], log_file: str) -> None:
    """Be a worker: run the jobs that come, one by one, until the connection ends."""
    os.environ.update(environment)  # a new Python has it already; a forked one that of the process it is forked from
    _write_output_to(log_file)
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the study, which then ends its workers in order
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # likewise when the terminal is closed
    signal.pthread_sigmask(signal.SIG_UNBLOCK, POLITE_SIGNALS)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    runner: JobRunner | None = None
    while True:
        try:
            content = connection.recv_bytes()
        except EOFError:
            return
        try:
            if runner is None:
                runner, singletons = cloudpickle.loads(Path(work_file).read_bytes())
                Singleton.set_state(singletons)
            job: Job = cloudpickle.loads(content)
        except Exception as error:  # what it imports was edited since the study began: it is told as any failure is
            connection.send(failed(error))
            continue
        connection.send(runner.run(job))


def _write_output_to(log_file: str) -> None:
    """Send what a worker prints to its own file: several at once would be unreadable on one terminal."""
    file = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(file, stream.fileno())
    os.close(file)


def _terminate(signal_number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signal_number)


def _end_with_parent() -> None:
    """End when the study's process dies, however it dies: nobody waits for this job any more."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(POLITE_SECONDS)
    os._exit(1)


def _explain_death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = "; the system kills like this when memory runs out" if name == "SIGKILL" else ""
        return f"the worker process was killed by {name}{hint}"
    return f"the worker process ended with exit code {exit_code}"
