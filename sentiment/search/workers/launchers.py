"""Jobs under Hydra's launchers (joblib, Ray, submitit, Slurm), without their batches.

`Launcher.launch` blocks until all jobs of a call are done. So every call here is one job, and as many calls are in
flight as the study has jobs, each in a thread that does nothing but wait. To a Ray cluster a command connects once, and
checks that it can run the jobs.
"""

from __future__ import annotations

import copy
import logging
import os
import queue
import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf

from sentiment.errors import REASON_LENGTH
from sentiment.search.study.outcome import failed
from sentiment.search.workers import slurm
from sentiment.search.workers.executor import LauncherError
from sentiment.search.workers.job import Finished, Job, JobRunner

log = logging.getLogger(__name__)

JOBLIB = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"

RAY = "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher"

OOM_RETRIES = "RAY_task_oom_retries"
"""Environment variable of Ray: how often a job is started again that its memory monitor has killed; for ever unless
set, so that a job too large for every node would never end."""

UNCHECKED = ("label_selector", "scheduling_strategy")
"""Options of Ray for which a job may wait for ever."""

USUAL_ATTEMPTS = 3
"""Starts of such a job where `hydra.sweeper.max_attempts` does not say how many: it is a study's."""

LOST = {
    "TerminatedWorkerError",  # joblib
    "BrokenProcessPool",
    "UncompletedJobError",  # submitit
    "WorkerCrashedError",  # Ray, here and below
    "NodeDiedError",
    "ActorDiedError",
    "ObjectLostError",
    "OwnerDiedError",
    "LocalRayletDiedError",
    "RaySystemError",
}
"""What launchers raise for a job whose process or machine is gone; told by name, as none of them need be installed."""

_composing = threading.RLock()
"""Hydra composes with state of the whole process, so that one thread at a time may: a lock per process as well."""


class Launches:
    """Runs every job as a launch of its own.

    Args:
        runner: The application's task and Hydra's context.
        capacity: Launches in flight.

    Raises:
        LauncherError: The Ray cluster cannot be reached, or cannot run the jobs; there is no Slurm.
    """

    blocking = False

    def __init__(self, runner: JobRunner, capacity: int) -> None:
        self.capacity = capacity
        self._runner = runner
        self._context = copy.copy(runner.context)
        self._study = runner.config
        folder = str(Path(self._study.hydra.runtime.cwd) / str(self._study.hydra.sweep.dir))
        self._context.config_loader = _LockedLoader(runner.context.config_loader, folder)  # type: ignore[assignment]
        self._is_ray = self._study.hydra.launcher._target_ == RAY
        self._is_joblib = self._study.hydra.launcher._target_ == JOBLIB
        self._ended: queue.SimpleQueue[Finished] = queue.SimpleQueue()
        self._running: dict[int, Job] = {}
        self._shortage: str | None = None
        prepare(self._study)

    @property
    def running(self) -> list[Job]:
        """Jobs in flight."""
        return list(self._running.values())

    def submit(self, job: Job) -> None:
        """Launch a job; its thread waits for it. A daemon: it must not hold up the end of an interrupted study."""
        self._running[job.number] = job
        threading.Thread(target=self._launch, args=(job,), name=f"launch-{job.number}", daemon=True).start()

    def wait(self, timeout_seconds: float) -> list[Finished]:
        """Return the jobs that ended."""
        try:
            finished = [self._ended.get(timeout=timeout_seconds)]
        except queue.Empty:
            self._tell_of_shortage()
            return []
        while not self._ended.empty():
            finished.append(self._ended.get())
        for one in finished:
            del self._running[one.job.number]
        return finished

    def name_slot(self, job: Job) -> str:
        """Return the launcher's name; where it runs a job, it alone knows."""
        return str(self._study.hydra.runtime.choices.get("hydra/launcher", "launcher"))

    def end(self, job: Job) -> None:
        """Nothing: the launcher alone can end a job, and has limits of its own."""

    def stop(self) -> list[Job]:
        """Let go. A cluster may go on with its jobs: they keep their lease, and a later command takes their results.

        Joblib's processes are this command's own, and would hold up its end; Ray's jobs end when it leaves.
        """
        if self._is_joblib:
            _end_joblib()
        elif not self._running:
            return []
        elif self._is_ray:
            leave_ray()
        else:
            log.info("%d jobs are left to the launcher; the same command takes their results.", len(self._running))
            return []
        stopped = self.running
        self._running.clear()
        return stopped

    def _tell_of_shortage(self) -> None:
        """Say when the nodes that could run the jobs are gone: Ray waits for new ones, for ever if need be."""
        known, self._shortage = self._shortage, find_shortage(self._study) if self._is_ray else None
        if self._shortage not in (None, known):
            log.warning(
                "No node of the Ray cluster can run a job any more. %s They wait until one joins; Ctrl-C keeps what "
                "has ended, and the same command goes on.",
                self._shortage,
            )

    def _launch(self, job: Job) -> None:
        try:
            with _composing:
                launcher: Any = Plugins.instance().instantiate_launcher(
                    hydra_context=self._context,
                    task_function=self._runner.wrap(job),
                    config=self._study,
                )
            if self._is_joblib:
                # All launches share one pool, a process for each. With a pool of one, joblib would run its job in this
                # thread, in the middle of the study's own process.
                launcher.joblib["n_jobs"] = max(2, self.capacity)
            if job.number not in self._running:
                return  # stopped meanwhile: Ray would be connected to again
            returned = launcher.launch([job.overrides], initial_job_idx=job.number)
            outcome = self._runner.read_return(returned[0])
        except BaseException as error:  # a job that timed out, a node that died; else the study waits for ever
            outcome = failed(error)
            if isinstance(error, LauncherError):
                outcome = replace(outcome, kind="not_launched", reason=str(error))
            elif {kind.__name__ for kind in type(error).__mro__} & LOST:
                outcome = replace(outcome, kind="worker_died")
            elif self._is_ray and outcome.kind == "out_of_memory":
                reason = f"Ray's memory monitor ended it at each start (hydra.sweeper.max_attempts). {outcome.reason}"
                outcome = replace(outcome, reason=reason[:REASON_LENGTH])
        self._ended.put(Finished(job, outcome))


def prepare(config: DictConfig) -> None:
    """Make a launcher ready for jobs, be they those of a study or of a grid.

    Raises:
        LauncherError: The Ray cluster cannot be reached, or cannot run the jobs; there is no Slurm; a job would be
            started several times.
    """
    several = [key for key in ("nodes", "tasks_per_node") if (config.hydra.launcher.get(key) or 1) > 1]
    if several:
        raise LauncherError(
            f"hydra.launcher.{several[0]}={config.hydra.launcher[several[0]]} starts every job so many times, all of "
            "them in one folder.",
            "leave it at 1; a run on several devices starts its own processes: "
            "trainer.devices=2 hydra.launcher.gpus_per_node=2",
        )
    if config.hydra.launcher._target_ == RAY:
        connect_ray(config)
    elif config.hydra.launcher._target_ == slurm.SLURM:
        slurm.prepare()


def connect_ray(config: DictConfig) -> None:
    """Connect to Ray once, before the launcher's threads would all do it: two at once end the process.

    Args:
        config: The configuration of the sweep.

    Raises:
        LauncherError: The cluster cannot be reached, or none of its nodes has what a job asks for: Ray would wait.
    """
    attempts = OmegaConf.select(config, "hydra.sweeper.max_attempts") or USUAL_ATTEMPTS
    os.environ.setdefault(OOM_RETRIES, str(attempts - 1))  # Ray reads it while it is imported
    import ray

    if not ray.is_initialized():
        settings: Any = OmegaConf.to_container(config.hydra.launcher.ray.init, resolve=True)
        on_terminate = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(**settings)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise LauncherError(
                f"Ray cannot be started or reached with hydra.launcher.ray.init={settings}: {error}",
                "look with `ray status` whether the cluster runs; hydra.launcher.ray.init.address=auto finds the "
                "one on this machine, and without an address Ray starts one for this command. A cluster that wants a "
                "token (InvalidAuthToken) gets it with RAY_AUTH_MODE=token in the environment",
            ) from error
        signal.signal(signal.SIGTERM, on_terminate)  # Ray takes it over, and would change how the command ends
    shortage = find_shortage(config)
    if shortage is not None:
        leave_ray()
        raise LauncherError(
            f"No node of the Ray cluster can run a job. {shortage}",
            "ask for less with hydra.launcher.ray.remote.num_cpus, num_gpus and resources, or first start a node "
            "that has it: ray start --address=HOST:PORT --num-cpus=... --num-gpus=...",
        )
    for option in UNCHECKED:
        if OmegaConf.select(config, f"hydra.launcher.ray.remote.{option}"):
            log.warning("Whether a node has what hydra.launcher.ray.remote.%s asks for is not checked.", option)


def find_shortage(config: DictConfig) -> str | None:
    """Return why no node that is there now can ever run a job, however long it waits; None where one can."""
    import ray

    remote: Any = OmegaConf.to_container(config.hydra.launcher.ray.remote, resolve=True)
    list_nodes: Any = ray.nodes  # it has no types
    return describe_shortage(remote, [node["Resources"] for node in list_nodes() if node["Alive"]])


def describe_shortage(remote: Mapping[str, Any], nodes: Sequence[Mapping[str, float]]) -> str | None:
    """Return what a job asks for and what the nodes have, where none has all of it; None where one has.

    Args:
        remote: What `hydra.launcher.ray.remote` says.
        nodes: All resources of each node, free or not, by Ray's names.
    """
    cpus = remote.get("num_cpus")
    all_kinds = {"CPU": 1 if cpus is None else cpus, "GPU": remote.get("num_gpus"), "memory": remote.get("memory")}
    all_kinds |= remote.get("resources") or {}
    if remote.get("accelerator_type"):
        all_kinds[f"accelerator_type:{remote['accelerator_type']}"] = 0.001  # as Ray does
    asked = {name: float(amount) for name, amount in all_kinds.items() if amount}
    if any(all(node.get(name, 0) >= amount for name, amount in asked.items()) for node in nodes):
        return None
    have = [_write_resources({name: node.get(name, 0) for name in asked}) for node in nodes]
    there = "; ".join(have) or "nothing, there are none"
    return f"A job asks for {_write_resources(asked)}; of that the nodes have: {there}."


def leave_ray() -> None:
    """Disconnect, which ends this command's jobs; left to the end of the process, it would end with another code."""
    import ray

    ray.shutdown()


def _end_joblib() -> None:
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor(reuse=True).shutdown(wait=True, kill_workers=True)


class _LockedLoader:
    """A config loader whose compositions take turns, and lead to one folder whatever the jobs' working folder is.

    Args:
        loader: What composes.
        folder: The study's folder, absolute: Ray's workers are where Ray was started.
    """

    def __init__(self, loader: ConfigLoader, folder: str) -> None:
        self._loader = loader
        self._folder = folder

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        with _composing:
            config = self._loader.load_sweep_config(master_config, sweep_overrides)
        config.hydra.sweep.dir = self._folder
        return config

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":  # while it is unpickled, before it has its attributes
            raise AttributeError(name)
        return getattr(self._loader, name)


def _write_resources(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {amount:g}" for name, amount in resources.items())
