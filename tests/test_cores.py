"""Quotas of control groups, and a busy machine."""

import pytest

from sentiment import cores


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Pretend eight cores and no control group; return the root of those to come."""
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "CGROUPS", tmp_path)
    monkeypatch.setattr(cores, "OWN_CGROUP", tmp_path / "own")
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
    assert cores.count_cores() == count


def test_a_busy_machine_is_told(machine, monkeypatch):
    monkeypatch.setattr(cores.os, "getloadavg", lambda: (15.9, 0, 0))
    assert cores.describe_load() is None
    monkeypatch.setattr(cores.os, "getloadavg", lambda: (24.0, 0, 0))
    assert cores.describe_load() == "the machine is busy: 24 threads want its 8 cores; this takes longer"


def test_a_machine_that_does_not_tell_its_load_is_not_called_busy(monkeypatch):
    def refuse():
        raise OSError("Load averages are unobtainable")

    monkeypatch.setattr(cores.os, "getloadavg", refuse)
    assert cores.describe_load() is None
