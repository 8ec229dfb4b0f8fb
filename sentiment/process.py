"""What this process takes of the machine: how many cores, and what torch's libraries keep without using it."""

from __future__ import annotations

import ctypes
import gc
import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path

SPINS = 1000
"""Rounds for which a thread of OpenMP that waits keeps its core: some microseconds, the time between two operations."""

RETURNED_BYTES = 2**20
"""Size of a block from which glibc returns it to the system when it is freed."""

USUAL_THRESHOLDS = gc.get_threshold()

COLLECTED_AFTER = 10_000, 3, 1
"""Further objects after which Python looks for cycles among them, 700 by default; for all as often as by default."""

M_MMAP_THRESHOLD = -3
"""The name of that size in malloc.h."""

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")

BUSY = 2.0
"""Runnable threads per core from which a machine is called busy: beside them a run has at most half of its cores."""


def prepare_process() -> None:
    """Let waiting threads soon give way, and freed tensors leave the process; the environment may say otherwise.

    To be called before torch is imported, by commands and jobs of this application; other applications that search
    with the engine keep what they have.

    * GNU OpenMP spins 300 times as long by default, which takes the core from those that are waited for wherever other
      processes want it too; threads that sleep at once (``OMP_WAIT_POLICY=passive``) cost a small model a quarter of
      its time on an idle machine (experiments/speed/shared_machine.py).
    * glibc keeps freed blocks of up to 32 MiB for itself. Batches of texts have many lengths, so blocks of many sizes
      leave holes that nothing fits into: a run with 1 GB of tensors held 3.5 GB after three epochs, and grew on. Large
      pages, where the system has them, pay for most of what fresh memory costs.
    * Looking for cycles takes a tenth of the time of importing torch, Lightning and MLflow, whose objects stay.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if gc.get_threshold() == USUAL_THRESHOLDS:
        gc.set_threshold(*COLLECTED_AFTER)
    if platform.libc_ver()[0] == "glibc" and "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, RETURNED_BYTES)


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
