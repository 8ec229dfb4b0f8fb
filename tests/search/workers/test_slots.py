"""How a machine is shared out: devices, places on them, CPU threads."""

from __future__ import annotations

import os
from collections import Counter
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from sentiment.errors import ConfigError
from sentiment.search.engine import build_executor
from sentiment.search.plugin.sweeper import StudyEndedError
from sentiment.search.workers import processes, slots
from sentiment.search.workers.slots import list_devices, take_slots

CORES = len(os.sched_getaffinity(0))


@pytest.fixture
def deal(monkeypatch, tmp_path):
    """Deals slots whose locks are the test's own."""
    monkeypatch.setattr(slots, "make_own_folder", lambda prefix: tmp_path)

    def deal_(count, devices=("0", "1"), per_device=2, threads=None, each=1):
        options = SimpleNamespace(
            trials_per_device=per_device, threads_per_job=threads, devices_per_trial=each, devices="auto"
        )
        return take_slots(options, devices, count)

    return deal_


@pytest.fixture
def no_gpu(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(slots, "DEVICE_FILES", tmp_path / "dev" / "nvidia[0-9]*")


def test_listed_devices_are_taken_as_they_are_named(no_gpu):
    assert list_devices([0, 3, "GPU-8f"]) == ["0", "3", "GPU-8f"]
    assert list_devices("none") == list_devices("unused") == []


@pytest.mark.parametrize(
    ("visible", "devices"),
    [("2,3", ["2", "3"]), ("", []), ("-1", []), ("0,-1,1", ["0"]), (" 1 , GPU-8f", ["1", "GPU-8f"])],
)
def test_what_the_environment_allows_is_what_there_is(monkeypatch, visible, devices):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert list_devices("auto") == devices


def test_no_driver_means_no_device(no_gpu):
    assert list_devices("auto") == []


@pytest.mark.parametrize(("exit_code", "devices"), [(0, ["0", "1"]), (9, [])])
def test_the_driver_lists_the_devices(no_gpu, monkeypatch, tmp_path, exit_code, devices):
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\necho 0\necho 1\nexit {exit_code}\n", encoding="utf-8")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list_devices("auto") == devices


def test_without_the_driver_s_command_its_files_tell(no_gpu, tmp_path):
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev" / name).touch()
    assert list_devices("auto") == ["0", "1"]
    assert list_devices("none") == list_devices("unused") == []


def test_a_driver_that_does_not_answer_is_a_fault(no_gpu, monkeypatch, tmp_path):
    command = tmp_path / "nvidia-smi"
    command.write_text("#!/bin/sh\nexec /bin/sleep 9\n", encoding="utf-8")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(slots, "LISTING_SECONDS", 0.1)
    with pytest.raises(ConfigError, match="nvidia-smi has not listed the GPUs"):
        list_devices("auto")
    monkeypatch.setattr(slots, "_list_gpus", lambda command: pytest.fail("asked, though the GPUs do not matter"))
    options = SimpleNamespace(
        devices="none", n_jobs=1, threads_per_job=None, fresh_processes=False,
        trial_timeout=None, progress_timeout=None, trials_per_device=1, devices_per_trial=1,
    )  # fmt: skip
    search = SimpleNamespace(options=options, has_launcher=False, study_dir=tmp_path)
    monkeypatch.setattr(processes, "WorkerProcesses", lambda runner, slots, *_, **__: slots)
    (slot,) = build_executor(search, runner=None)
    assert slot.environment()["CUDA_VISIBLE_DEVICES"] == ""


def test_a_device_is_named_once():
    with pytest.raises(ConfigError, match="0 is named twice"):
        list_devices([0, 1, 0])


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_slots_are_dealt_evenly_over_the_devices(deal, count):
    slots = deal(count)
    loads = Counter(slot.device for slot in slots)
    assert [slot.index for slot in slots] == list(range(count))
    assert sum(loads.values()) == count
    assert max(loads.values()) - min(loads[device] for device in "01") <= 1


def test_threads_are_shared_out(deal):
    assert {slot.threads for slot in deal(CORES, devices=())} == {1}
    assert {slot.threads for slot in deal(1, devices=())} == {CORES}
    assert {slot.threads for slot in deal(10 * CORES, devices=())} == {1}
    assert {slot.threads for slot in deal(2, devices=(), threads=3)} == {3}


def test_a_worker_gets_its_share_through_its_environment(deal):
    one, other = deal(2, threads=3)
    assert one.environment() == {**other.environment(), "CUDA_VISIBLE_DEVICES": "0"}
    assert one.environment()["OMP_NUM_THREADS"] == one.environment()["MKL_NUM_THREADS"] == "3"
    assert "CUDA_VISIBLE_DEVICES" not in deal(1, devices=())[0].environment()


def test_a_second_command_takes_the_places_that_are_left(deal):
    mine = deal(3)
    (left,) = deal(1)
    assert Counter(slot.device for slot in [*mine, left]) == {"0": 2, "1": 2}
    for slot in mine:
        slot.release()
    assert len(deal(3)) == 3


@pytest.fixture
def driver(no_gpu, monkeypatch, tmp_path):
    """Makes a driver that lists GPUs by number and UUID."""

    def make(*uuids):
        lines = "\n".join(f"echo '{index}, {uuid}'" for index, uuid in enumerate(uuids))
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{lines}\n", encoding="utf-8")
        (tmp_path / "nvidia-smi").chmod(0o755)
        slots._list_gpus.cache_clear()  # a process asks once

    monkeypatch.setenv("PATH", str(tmp_path))
    return make


def test_a_gpu_is_known_by_what_it_is_and_not_by_what_a_job_calls_it(driver, deal):
    """Slurm numbers the GPUs of each of its jobs from 0."""
    held = []
    for uuids in (["GPU-8f1"], ["GPU-3c2"]):
        driver(*uuids)
        held += deal(1, devices=["0"], per_device=1)
    driver("GPU-3c2", "GPU-8f1")
    for name in ("0", "1", "GPU-8f"):
        with pytest.raises(ConfigError, match="1 of them taken by another command"):
            deal(1, devices=[name], per_device=1)
    assert [slot.environment()["CUDA_VISIBLE_DEVICES"] for slot in held] == ["0", "0"]


def test_a_gpu_that_the_command_may_see_is_named_by_number_or_uuid(driver, monkeypatch):
    driver("GPU-8f1", "GPU-3c2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert list_devices(["GPU-8f1"]) == ["GPU-8f1"]
    with pytest.raises(ConfigError, match="GPU-3c2 is none of CUDA_VISIBLE_DEVICES=0"):
        list_devices(["GPU-3c2"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,GPU-3c2")
    assert list_devices([0, 1]) == ["0", "GPU-3c2"], "CUDA may count in another order than the driver"
    with pytest.raises(ConfigError, match="GPU-3c2 is named twice"):
        list_devices([1, "GPU-3c2"])


def test_gpus_that_the_command_may_not_see_are_refused(no_gpu, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert list_devices([3]) == ["3"]
    with pytest.raises(ConfigError, match="0, 1 is none of CUDA_VISIBLE_DEVICES=2,3"):
        list_devices([0, 1, 2])


def test_a_trial_on_several_devices_takes_all_of_them(deal):
    """Five GPUs are two pairs, twice; the fifth is left to whoever needs one."""
    devices = ("0", "1", "2", "3", "4")
    slots = deal(4, devices, each=2)
    assert [slot.environment()["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["0,1", "2,3"] * 2
    (other,) = deal(1, devices)
    assert other.device == "4"
    for slot in slots:
        slot.release()
    assert len(deal(4, devices, each=2)) == 4


@pytest.mark.parametrize(
    ("count", "each", "key", "problem"),
    [
        (2, 2, "n_jobs", "2 jobs, but 3 GPUs with 1 trials each, 2 to a trial, give 1 slots"),
        (1, 4, "devices_per_trial", "a trial needs 4 GPUs, and there are 3"),
    ],
)
def test_trials_that_need_more_devices_than_there_are_take_none(deal, count, each, key, problem):
    with pytest.raises(ConfigError) as caught:
        deal(count, ("0", "1", "2"), 1, each=each)
    (fault,) = caught.value.faults
    assert (fault.key, fault.problem) == (f"hydra.sweeper.{key}", problem)
    assert len(deal(3, ("0", "1", "2"), 1)) == 3


@pytest.mark.parametrize(("count", "taken"), [(5, 0), (2, 3)])
def test_a_shortage_is_said_and_takes_no_place(deal, count, taken):
    held = deal(taken) if taken else []
    with pytest.raises(ConfigError) as caught:
        deal(count)
    (fault,) = caught.value.faults
    assert fault.key == "hydra.sweeper.n_jobs"
    assert ("3 of them taken by another command" in fault.problem) == bool(taken)
    assert f"n_jobs={4 - taken}" in fault.remedy
    assert len(deal(4 - len(held))) == 4 - taken


def read_marks(file):
    """Give device, threads and time of every job that began."""
    return [line.split()[1:4] for line in file.read_text(encoding="utf-8").splitlines()]


def test_a_full_temporary_folder_is_explained(sweep, monkeypatch):
    monkeypatch.setattr(processes, "Scratch", raise_full := Mock(side_effect=OSError(28, "No space left on device")))
    with pytest.raises(StudyEndedError, match=r"Preparing workers, whose files are in .*\n  -> free some disk space"):
        sweep("x=interval(-5,5)", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2", "hydra.sweeper.devices=none")
    assert raise_full.called


@pytest.mark.slow
def test_a_command_deals_its_jobs_over_the_devices(start_toy, tmp_path):
    mark = tmp_path / "marks.txt"
    places = ["hydra.sweeper.devices=[0,1]", "hydra.sweeper.trials_per_device=2", "hydra.sweeper.n_jobs=4"]
    command = start_toy(*places, "x=interval(-5,5)", "hydra.sweeper.n_trials=8", "seconds=0.5", f"mark={mark}")
    output, _ = command.communicate(timeout=120)
    assert command.returncode == 0, output
    assert "(GPU 0)" in output
    marks = read_marks(mark)
    assert {threads for _, threads, _ in marks} == {str(max(1, CORES // 4))}
    loads = Counter(device for device, *_ in marks)
    assert loads.keys() == {"0", "1"}
    assert sum(loads.values()) == 8


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.slow
def test_without_devices_a_job_sees_none_of_those_that_there_are(start_toy, tmp_path, monkeypatch, n_jobs):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    mark = tmp_path / "marks.txt"
    options = ["hydra.sweeper.devices=none", f"hydra.sweeper.n_jobs={n_jobs}", "x=interval(-5,5)", f"mark={mark}"]
    command = start_toy(*options, "hydra.sweeper.n_trials=2")
    output, _ = command.communicate(timeout=120)
    assert command.returncode == 0, output
    assert [line.split(" ")[1] for line in mark.read_text(encoding="utf-8").splitlines()] == ["", ""]


@pytest.mark.slow
def test_a_study_that_uses_no_device_is_not_counted_by_those_that_there_are(start_toy, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    mark = tmp_path / "marks.txt"
    options = ["hydra.sweeper.devices=unused", "hydra.sweeper.devices_per_trial=2", "x=interval(-5,5)", f"mark={mark}"]
    command = start_toy(*options, "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2")
    output, _ = command.communicate(timeout=120)
    assert command.returncode == 0, output
    assert len(read_marks(mark)) == 2


def test_a_command_without_a_place_left_says_so(start_toy, tmp_path):
    one_place = ["hydra.sweeper.devices=[0]", "x=interval(-5,5)", "hydra.sweeper.n_trials=2"]
    command = start_toy(*one_place, "hydra.sweeper.n_jobs=2")
    output, _ = command.communicate(timeout=120)
    assert command.returncode == 1
    assert "2 jobs, but 1 GPUs with 1 trials each give 1 slots" in output
    assert "hydra.sweeper.n_jobs=1" in output


@pytest.mark.slow
def test_the_place_of_a_killed_worker_is_given_to_the_next_trial(start_toy, tmp_path):
    mark = tmp_path / "marks.txt"
    options = ["hydra.sweeper.devices=[0]", "hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=2", "x=interval(-5,5)"]
    command = start_toy(
        *options, "hydra.sweeper.max_failure_rate=1", "hydra.sweeper.retry=none", "accident=kill", f"mark={mark}"
    )
    output, _ = command.communicate(timeout=120)
    assert output.count("failed: the worker process was killed by SIGKILL") == 2
    assert [device for device, *_ in read_marks(mark)] == ["0", "0"]
