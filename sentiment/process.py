"""Limit the cores and the memory that torch's libraries keep without using them; set before torch is imported."""

from __future__ import annotations

import ctypes
import gc
import os
import platform

SPINS = 1000
"""Rounds for which a thread of OpenMP that waits keeps its core: some microseconds, the time between two operations."""

RETURNED_BYTES = 2**20
"""Size of a block from which glibc returns it to the system when it is freed."""

USUAL_THRESHOLDS = gc.get_threshold()

COLLECTED_AFTER = 10_000, 3, 1
"""Further objects after which Python looks for cycles among them, 700 by default; for all as often as by default."""

M_MMAP_THRESHOLD = -3
"""The name of that size in malloc.h."""


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
