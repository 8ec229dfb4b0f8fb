"""A dry run tells about a search and leaves nothing behind: the toy application as a real process."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

from sentiment.search.dry_run.estimate import expect
from sentiment.search.dry_run.page import ProbeError, print_estimate
from sentiment.search.dry_run.probe import Measured
from sentiment.search.space.parameters import LabelledPoint

SMALL = ["x=choice(1,2,3)", "y=range(1,5)"]


def read(command):
    output, _ = command.communicate(timeout=60)
    return output


def dry_run(start_toy, *overrides):
    command = start_toy("hydra.sweeper.dry_run=true", "hydra.sweeper.probe_seconds=0.4", *overrides)
    output = read(command)
    assert command.returncode == 0, output
    return output


def find_line(output, start):
    return next(line for line in output.splitlines() if line.startswith(start))


@pytest.mark.slow
def test_it_tells_what_is_searched_how_and_where_and_leaves_nothing(start_toy, study_dir, tmp_path):
    output = dry_run(
        start_toy, *SMALL, "seconds=50", "steps=1000", "noise=0.5", "mark=null", "hydra/sweeper/pruner=median",
        "hydra.sweeper.constraints=['x + y < 6']", "hydra.sweeper.n_trials=12", "hydra.sweeper.n_jobs=3",
        "hydra.sweeper.limits={size: 9}", "hydra.sweeper.repeats=2",
    )  # fmt: skip
    assert all(len(line) <= 80 for line in output.splitlines()), output
    assert find_line(output, "x ").split(None, 1)[1].strip() == "choice(1, 2, 3)"
    assert find_line(output, "y ").split(None, 1)[1].strip() == "whole numbers from 1 to 4"
    for label, content in (
        ("points", "12, of them 9 satisfy the constraints"),
        ("constraint", "x + y < 6"),
        ("limit", "size <= 9"),
        ("trials", "12 in all, 3 at a time, 2 seeds each (mean)"),
        ("objective", "minimize"),
        ("sampler", "multivariate_tpe ("),
        ("pruner", "median (n_startup_trials=5"),
        ("storage", "journal file"),
        ("study", "study, new"),
        ("workers", "3 on the CPU; 1 CPU thread each"),
    ):
        assert content in find_line(output, label)
    assert not study_dir.exists()
    assert list(tmp_path.iterdir()) == []
    # 50 seconds in 1000 even steps; a loaded machine makes them longer, never shorter.
    times = re.findall(r"^(?:smallest|largest) +about (?:(\d+) min )?([\d.]+) s", output, re.MULTILINE)
    assert len(times) == 2, output
    assert all(49 <= 60 * int(minutes or 0) + float(seconds) <= 120 for minutes, seconds in times), output
    assert "12 trials, 3 at a time: about " in output
    assert re.search(r"Memory: up to \d+ MiB", output)


@pytest.mark.parametrize(
    ("device_bytes", "shown", "told"),
    [(None, "-", None), (0, "?", None), (2**30, "1,024 MiB", "GPU memory: up to 1,024 MiB on one GPU")],
)
def test_memory_that_nobody_has_seen_is_none(device_bytes, shown, told):
    measured = Measured(10.0, False, 2**29, device_bytes)
    left = SimpleNamespace(is_done=False, interrupted=0, retried=0, new=4, paused=0)
    search = SimpleNamespace(options=SimpleNamespace(limit=None, n_jobs=2, trials_per_device=1, devices_per_trial=2))
    console = Console(file=io.StringIO(), width=100)
    expectation = expect([measured], trials=4, slots=2)
    print_estimate([(LabelledPoint("largest", {}), measured)], expectation, 4, left, search, [], console)
    output = console.file.getvalue()
    assert find_line(output, "largest").split() == ["largest", "about", "10.0", "s", "512", "MiB", *shown.split()]
    line = "Memory: up to 1,024 MiB for all jobs together"
    assert find_line(output, "Memory") == (f"{line}." if told is None else f"{line}; {told}.")


def test_a_probe_that_fails_altogether_fails():
    measured = Measured(1.0, False, 2**29, None, failure="DeviceError: no GPU")
    left = SimpleNamespace(is_done=False)
    console = Console(file=io.StringIO(), width=100)
    with pytest.raises(ProbeError, match=r"every probe failed.\n  -> the study would fail alike"):
        print_estimate([(LabelledPoint("largest", {}), measured)], None, 0, left, SimpleNamespace(), [], console)
    assert "largest failed: DeviceError: no GPU" in console.file.getvalue()


@pytest.mark.slow
def test_a_stored_study_is_counted_and_stays_as_it_is(start_toy, study_dir):
    assert "3 done of 3" in read(start_toy(*SMALL, "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=1"))
    before = {path: path.read_bytes() for path in study_dir.rglob("*") if path.is_file()}
    output = dry_run(start_toy, *SMALL, "hydra.sweeper.n_trials=5", "hydra.sweeper.n_jobs=1")
    assert "study, stored: 3 complete" in output
    assert "2 trials, 1 at a time" in output
    assert {path: path.read_bytes() for path in study_dir.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_a_job_that_fails_and_one_that_never_tells_are_reported_as_such(start_toy):
    output = dry_run(
        start_toy, "accident=choice(none,memory)", "seconds=30", "hydra.sweeper.probe_overrides=['steps=0']"
    )
    assert re.search(r"^smallest +more than", output, re.MULTILINE), output
    assert re.search(r"^largest +failed", output, re.MULTILINE), output
    assert "largest failed: MemoryError: no memory left" in output
    assert "20 trials, 2 at a time: more than" in output


@pytest.mark.slow
def test_a_storage_elsewhere_is_not_created(start_toy, tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    output = dry_run(start_toy, "x=choice(1)", f"hydra.sweeper.storage='{url}'", "hydra.sweeper.study_name=mine")
    assert "mine, new" in output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_faulty_overrides_of_the_probe_are_a_fault_of_the_configuration(start_toy):
    command = start_toy("x=choice(1,2)", "hydra.sweeper.dry_run=true", "hydra.sweeper.probe_overrides=['nothing=1']")
    output = read(command)
    assert command.returncode != 0
    assert "hydra.sweeper.probe_overrides: cannot be composed with" in output
    assert "nothing=1" in output
    assert "Traceback" not in output
