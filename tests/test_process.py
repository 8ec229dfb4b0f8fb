"""What a process may use of the machine, and what its libraries keep for themselves: cores, and freed memory."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from sentiment import process
from sentiment.process import COLLECTED_AFTER

SET_HERE = ("OMP_", "GOMP_", "MALLOC_", "THP_")


def run(code, **given):
    """Run Python code with nothing but `given` of the variables that are set here; return what it writes, by stream."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(SET_HERE)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env={**environment, **given}, capture_output=True, text=True, check=True)


def test_other_applications_keep_what_they_have():
    code = """
import gc, os
before = gc.get_threshold()
import sentiment.search.plugin.sweeper
print(os.environ.get("GOMP_SPINCOUNT"), gc.get_threshold() == before)
"""
    assert run(code).stdout == "None True\n"


def test_objects_of_libraries_are_seldom_looked_at_for_garbage():
    """The young ones, that is: networks of trials that have ended are not kept longer than by default."""
    usual, seldom = (
        tuple(map(int, run(f"{code}import gc; print(*gc.get_threshold())").stdout.split()))
        for code in ("", "import sentiment.job; ")
    )
    assert seldom == COLLECTED_AFTER
    assert math.prod(one + 1 for one in seldom) <= math.prod(one + 1 for one in usual)


@pytest.mark.parametrize(
    ("given", "spins"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "passive"}, "0")],
)
def test_waiting_threads_soon_leave_their_core_to_others(given, spins):
    """OpenMP says at its start what it will do; threads that spin took ten times as long beside six busy processes."""
    libraries = sorted(Path(find_spec("torch").origin).parent.glob("lib/libgomp*"))  # torch itself takes seconds
    code = f"import ctypes, sentiment.job; ctypes.CDLL({str(libraries[0])!r})" if libraries else "pass"
    shown = run(code, OMP_DISPLAY_ENV="verbose", **given).stderr
    if "GOMP_SPINCOUNT" not in shown:
        pytest.skip("this build of torch has another OpenMP, which does not tell its settings")
    assert f"GOMP_SPINCOUNT = '{spins}'" in shown


HOLES = """
import sentiment.job, torch
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
torch.zeros(4 * 2**18)  # glibc learns from the first large block that is freed to keep the next ones
before, kept = resident(), []
for size in range(4, 24, 2):  # MiB, freed one by one while small tensors come to lie between them
    large = [torch.ones(size * 2**18) for number in range(4)]
    kept += [torch.ones(256) for number in range(1000)]
    del large
print((resident() - before) // 2**20)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have other allocators")
def test_freed_tensors_leave_the_process():
    assert int(run(HOLES).stdout) < 100, "holes remain where tensors were: memory grows with every new length of texts"
    assert int(run(HOLES, MALLOC_MMAP_THRESHOLD_=str(2**25)).stdout) > 100, "this test cannot fail here"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Pretend eight cores and no control group; return the root of those to come."""
    monkeypatch.setattr(process.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(process, "CGROUPS", tmp_path)
    monkeypatch.setattr(process, "OWN_CGROUP", tmp_path / "own")
    return tmp_path


def write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


V1 = "4:memory:/job\n2:cpu,cpuacct:/slurm/job\n0::/\n"


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, 8),
        ({"own": "0::/\n"}, 8),
        ({"own": "0::/\n", "cpu.max": "max 100000\n"}, 8),
        ({"own": "0::/\n", "cpu.max": "150000 100000\n"}, 2),  # a container, of one and a half cores
        ({"own": "0::/\n", "cpu.max": "10000 100000\n"}, 1),
        ({"own": "0::/a/b\n", "a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),  # set around its own
        ({"own": "0::/a/b\n", "a/cpu.max": "300000 100000", "a/b/cpu.max": "200000 100000"}, 2),
        ({"own": "0::/gone/group\n", "cpu.max": "400000 100000"}, 4),  # a container that sees the host's path
        ({"own": "0::/\n", "cpu.max": "6400000 100000\n"}, 8),
        ({"own": V1, "cpu,cpuacct/slurm/job/cpu.cfs_quota_us": "200000",
          "cpu,cpuacct/slurm/job/cpu.cfs_period_us": "50000"}, 4),
        ({"own": V1, "cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 8),
    ],
)  # fmt: skip
def test_a_quota_counts_as_so_many_cores(machine, files, count):
    write(machine, files)
    assert process.count_cores() == count


def test_a_busy_machine_is_told(machine, monkeypatch):
    monkeypatch.setattr(process.os, "getloadavg", lambda: (15.9, 0, 0))
    assert process.describe_load() is None
    monkeypatch.setattr(process.os, "getloadavg", lambda: (24.0, 0, 0))
    assert process.describe_load() == "the machine is busy: 24 threads want its 8 cores; this takes longer"


def test_a_machine_that_does_not_tell_its_load_is_not_called_busy(monkeypatch):
    def refuse():
        raise OSError("Load averages are unobtainable")

    monkeypatch.setattr(process.os, "getloadavg", refuse)
    assert process.describe_load() is None
