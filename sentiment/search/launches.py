"""Jobs under Hydra's launchers (joblib, Ray, submitit, Slurm), without their batches.

`Launcher.launch` blocks until all jobs of a call are done. So every call here is one job, and as many calls are in
flight as the study has jobs, each in a thread that does nothing but wait.
"""

from __future__ import annotations

import copy
import queue
import threading
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sentiment.search.job import Finished, Job, read_return
from sentiment.search.outcome import Outcome, failed
from sentiment.search.task import TrialTask

_composing = threading.RLock()
"""Hydra composes with state of the whole process, so that one thread at a time may."""


class Launches:
    """Runs every job as a launch of its own."""

    blocking = False

    def __init__(
        self, capacity: int, task: TaskFunction, objectives: int, context: HydraContext, study: DictConfig
    ) -> None:
        self.capacity = capacity
        self._task = task
        self._objectives = objectives
        self._context = _with_lock(context)
        self._study = study
        self._ended: queue.SimpleQueue[Finished] = queue.SimpleQueue()
        self._running: dict[int, Job] = {}

    @property
    def running(self) -> list[Job]:
        """Jobs in flight."""
        return list(self._running.values())

    def submit(self, job: Job) -> None:
        """Launch a job; its thread waits for it. A daemon: it must not hold up the end of an interrupted study."""
        self._running[job.number] = job
        threading.Thread(target=self._launch, args=(job,), name=f"launch-{job.number}", daemon=True).start()

    def wait(self, timeout_seconds: float) -> list[Finished]:
        """Give the jobs that ended."""
        if not self._running:
            return []
        try:
            finished = [self._ended.get(timeout=timeout_seconds)]
        except queue.Empty:
            return []
        while not self._ended.empty():
            finished.append(self._ended.get())
        for one in finished:
            del self._running[one.job.number]
        return finished

    def place(self, job: Job) -> str:
        """Name the launcher; where it places a job is its own business."""
        return str(self._study.hydra.runtime.choices.get("hydra/launcher", "launcher"))

    def stop(self) -> list[Job]:
        """Let go. A cluster may go on with its jobs: they keep their lease, and a later command takes their results."""
        return []

    def _launch(self, job: Job) -> None:
        self._ended.put(Finished(job, self._launch_one(job)))

    def _launch_one(self, job: Job) -> Outcome:
        try:
            with _composing:
                launcher = Plugins.instance().instantiate_launcher(
                    hydra_context=self._context,
                    task_function=TrialTask(self._task, job.address, self._objectives),
                    config=self._study,
                )
            returned = launcher.launch([job.overrides], initial_job_idx=job.number)
            return read_return(returned[0])
        except Exception as error:  # a job that timed out, a node that died: the launcher raises, the study goes on
            return failed(error)


class _LockedLoader:
    """A config loader whose compositions take turns."""

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        with _composing:
            return self._loader.load_sweep_config(master_config, sweep_overrides)

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":  # while it is unpickled, before it has its attributes
            raise AttributeError(name)
        return getattr(self._loader, name)


def _with_lock(context: HydraContext) -> HydraContext:
    locked = copy.copy(context)
    locked.config_loader = _LockedLoader(context.config_loader)  # type: ignore[assignment]
    return locked
