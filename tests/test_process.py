"""What a process's libraries keep for themselves: cores while threads wait, and memory that was freed."""

import math
import os
import platform
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

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
