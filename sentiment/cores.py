"""CPU cores that this process may use, and how busy they are."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")

BUSY = 2.0
"""Runnable threads per core from which a machine is called busy: beside them a run has at most half of its cores."""


def count_cores() -> int:
    """Return how many cores: those of the affinity, or fewer where a control group (container, cluster) has a quota.

    torch, like `os.cpu_count`, does not know of quotas: eight threads that share two cores' time wait for each other.
    `joblib.cpu_count` reads the quota of the outermost control group only, not of a job's own.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *map(math.ceil, _read_quotas())]))


def describe_load() -> str | None:
    """Return a sentence where other processes keep the cores busy, by the mean of the last minute; None: they do not.

    The number of threads does not follow it: sums of floats depend on it, so that a result would depend on who else
    was on the machine.
    """
    try:
        cores, load = count_cores(), os.getloadavg()[0]
    except OSError:  # /proc is hidden
        return None
    if load < BUSY * cores:
        return None
    return f"the machine is busy: {load:.0f} threads want its {cores} core{'s' * (cores > 1)}; this takes longer"


def _read_quotas() -> Iterator[float]:
    """Yield the quotas, in cores, of this process's control group and of those around it (versions 1 and 2)."""
    if not OWN_CGROUP.exists():
        return
    for line in OWN_CGROUP.read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = CGROUPS / controllers
        group = root / path.strip("/")
        for folder in [group, *group.parents][: len(group.relative_to(root).parts) + 1]:
            yield from _read_quota(folder)


def _read_quota(folder: Path) -> Iterator[float]:
    names = ["cpu.max"] if (folder / "cpu.max").exists() else ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
    if not all((folder / name).exists() for name in names):
        return  # the outermost group of version 2; or a container, which sees its own group as the outermost
    quota, period = " ".join((folder / name).read_text(encoding="utf-8") for name in names).split()
    if quota not in ("max", "-1"):
        yield int(quota) / int(period)
