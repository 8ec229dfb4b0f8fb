"""The Ray cluster that jobs run on: connect to it once, check that it can run them, disconnect."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from sentiment.search.workers.executor import LauncherError

log = logging.getLogger(__name__)

RAY = "hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher"

OOM_RETRIES = "RAY_task_oom_retries"
"""Environment variable of Ray: how often a job is started again that its memory monitor has killed; for ever unless
set, so that a job too large for every node would never end."""

UNCHECKED = ("label_selector", "scheduling_strategy")
"""Options of Ray for which a job may wait for ever."""

USUAL_ATTEMPTS = 3
"""Starts of such a job where `hydra.sweeper.max_attempts` does not say how many: it is a study's."""


def connect(config: DictConfig) -> None:
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
        leave()
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
    have = [_write({name: node.get(name, 0) for name in asked}) for node in nodes]
    return f"A job asks for {_write(asked)}; of that the nodes have: {'; '.join(have) or 'nothing, there are none'}."


def leave() -> None:
    """Disconnect, which ends this command's jobs; left to the end of the process, it would end with another code."""
    import ray

    ray.shutdown()


def _write(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {amount:g}" for name, amount in resources.items())
