"""What tests on a real Slurm share: `bash tests/slurm.sh` starts one of two nodes and sets `SLURM`."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Iterator

import pytest

SLURM = "SENTIMENT_TEST_SLURM"

WAIT_SECONDS = 250

needs_slurm = [
    pytest.mark.slow,
    pytest.mark.skipif(SLURM not in os.environ, reason=f"{SLURM} is not set: run it by `bash tests/slurm.sh`"),
    pytest.mark.skipif(
        importlib.util.find_spec("hydra_plugins.hydra_submitit_launcher") is None,
        reason="the extra that brings submitit is not installed",
    ),
]


def call(*command: str) -> str:
    """Run a command; return what it writes."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def list_running() -> list[str]:
    """Return the numbers of the jobs that run, those of an array with their places."""
    return call("squeue", "--array", "--noheader", "--states=running", "--format=%i").split()


@pytest.fixture(autouse=True)
def _cluster_is_whole() -> Iterator[None]:
    """Leaves the cluster as it was."""
    yield
    subprocess.run(["scancel", "--me"], check=True)
    subprocess.run(["scontrol", "update", "nodename=one,two", "state=resume"], check=False, capture_output=True)
