"""Workers that are forked from a process which has imported what their jobs need."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace

import pytest

from sentiment.errors import SentimentError
from sentiment.search.application import Application
from sentiment.search.study.outcome import Outcome
from sentiment.search.workers.job import Job
from sentiment.search.workers.processes import Worker, WorkerProcesses
from sentiment.search.workers.slots import Slot

PRELOADED = "xmlrpc.client"  # nothing else here imports it

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")


def make_runner():
    """Make a runner whose jobs tell of their process; within a function, so that it travels by value."""

    class Runner:
        def task(self, config):
            pass

        task.application = Application(preload=(PRELOADED,))

        def run(self, job):
            import os
            import sys

            facts = PRELOADED in sys.modules, os.environ["OMP_NUM_THREADS"], os.getppid(), os.getpid()
            return Outcome("complete", tuple(map(float, facts)))

    return Runner()


def run_jobs(slots, log_dir, count):
    """Run jobs in processes of their own; whether the module was there, threads, parent's and own id of each."""
    workers = WorkerProcesses(make_runner(), slots, log_dir, fresh_processes=True)
    facts = []
    try:
        for number in range(count):
            workers.submit(Job(number, (), None, None))
            while not (finished := workers.wait(10.0)):
                pass
            facts.append(finished[0].outcome.values)
    finally:
        workers.stop()
    return facts


def test_a_worker_that_was_asked_to_end_takes_no_other_job(tmp_path):
    """Its job may have ended just before; the next one would die with it."""
    worker, workers = object.__new__(Worker), WorkerProcesses(make_runner(), [Slot(0, None, 1)], tmp_path)
    worker.job = job = Job(0, (), None, None)
    worker.process = SimpleNamespace(is_alive=lambda: True, terminate=lambda: None)
    worker.connection, worker.killed_at = SimpleNamespace(closed=False), None
    assert worker.is_alive
    workers._workers[0] = worker
    workers.end(job)
    assert not worker.is_alive


@pytest.fixture
def workers(tmp_path):
    workers = WorkerProcesses(make_runner(), [Slot(0, None, 1)], tmp_path / "workers")
    yield workers
    workers.stop()


def finish(workers, job):
    workers.submit(job)
    while not (finished := workers.wait(10.0)):
        pass
    return finished[0].outcome


class Unreadable:
    """What cannot be unpickled, as where its module was edited since."""

    def __reduce__(self):
        return (exec, ("def",))


def test_a_job_that_its_worker_cannot_read_fails_for_the_reason_and_the_next_one_runs(workers):
    outcome = finish(workers, Job(0, (), Unreadable(), None))
    assert (outcome.state, outcome.kind) == ("failed", "exception")
    assert outcome.reason.startswith("SyntaxError: ")
    assert finish(workers, Job(1, (), None, None)).state == "complete"


def test_a_task_that_cannot_be_sent_is_refused_with_the_remedy(tmp_path):
    runner = make_runner()
    runner.console = threading.RLock()
    with pytest.raises(
        SentimentError, match=r"sent to worker processes: cannot pickle '_thread.RLock' object\n  -> make"
    ):
        WorkerProcesses(runner, [Slot(0, None, 1)], tmp_path)


def test_a_worker_starts_though_a_cleaner_has_removed_what_it_runs(workers):
    shutil.rmtree(workers._work.folder)
    assert finish(workers, Job(0, (), None, None)).state == "complete"


def test_what_jobs_import_is_imported_once_for_all_workers(tmp_path):
    facts = run_jobs([Slot(0, None, 1)], tmp_path, 3)
    is_there, threads, parents, own = map(set, zip(*facts, strict=True))
    assert (is_there, threads) == ({1.0}, {1.0})
    assert parents == {forkserver._forkserver._forkserver_pid}
    assert len(own) == 3
    server = Path(f"/proc/{int(parents.pop())}")
    assert len(list((server / "task").iterdir())) == 1, "a fork copies one thread alone"


@pytest.mark.slow
def test_other_threads_or_a_gpu_take_a_python_of_their_own(tmp_path):
    run_jobs([Slot(0, None, 1)], tmp_path, 1)
    for slot in (Slot(0, None, 2), Slot(0, "0", 1)):
        ((is_there, threads, parent, _),) = run_jobs([slot], tmp_path, 1)
        assert (is_there, threads, parent) == (0.0, slot.threads, os.getpid())
