"""A probe ends a job once its pace is known, and what its samples say of the whole job."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from sentiment.errors import RunPruned
from sentiment.search.dry_run.probe import Probe, Sample, interpret
from sentiment.search.study.outcome import Outcome

PRUNED, COMPLETE = Outcome("pruned"), Outcome("complete", (1.0,))


def samples(*told, end):
    """Samples of a job that begins at 0, tells fractions at times, and ends."""
    return [Sample(0.0, None, 10, None), *(Sample(*one, 20, None) for one in told), Sample(end, None, 30, None)]


def test_the_pace_counts_from_the_first_sample_on():
    measured = interpret(samples((30.0, 0.1), (32.0, 0.2), (34.0, 0.3), end=34.1), PRUNED)
    assert measured.seconds == pytest.approx(30 + 20 * 0.9)
    assert not measured.is_bound


def test_what_comes_before_the_training_counts_once_and_not_in_its_pace():
    """Words that the first job learns for all, in ten seconds; then 0.02 of the training take two."""
    measured = interpret(samples((2.0, 0.0), (4.0, 0.0), (10.0, 0.0), (12.0, 0.02), end=12.1), PRUNED)
    assert measured.seconds == pytest.approx(10 + 100)
    assert interpret(samples((2.0, 0.0), (12.0, 0.0), end=12.1), None).is_bound


def test_a_job_that_came_to_its_end_took_what_it_took():
    assert interpret(samples((1.0, 0.5), (2.0, 1.0), end=5.0), PRUNED).seconds == 2.0
    assert interpret(samples((1.0, 0.5), end=5.0), COMPLETE).seconds == 5.0
    assert interpret(samples(end=5.0), COMPLETE).seconds == 5.0
    assert interpret(samples((4.0, 1.0), end=4.1), PRUNED).seconds == 4.0


@pytest.mark.parametrize("told", [[], [(50.0, 0.1)], [(50.0, 0.1), (55.0, 0.1)]])
def test_a_job_that_told_too_little_takes_longer_than_it_was_watched(told):
    measured = interpret(samples(*told, end=60.0), None)
    assert (measured.seconds, measured.is_bound) == (60.0, True)


def test_the_peak_of_memory_is_the_highest_of_all_samples():
    measured = interpret([Sample(0.0, None, 10, None), Sample(1.0, 0.5, 50, 7), Sample(2.0, 1.0, 40, 9)], PRUNED)
    assert (measured.host_bytes, measured.device_bytes) == (50, 9)
    assert interpret(samples(end=1.0), COMPLETE).device_bytes is None


def test_a_failure_is_told_with_its_reason_and_what_memory_is_known():
    measured = interpret(samples((1.0, 0.5), end=2.0), Outcome("failed", reason="no memory left"))
    assert (measured.failure, measured.host_bytes) == ("no memory left", 30)
    died = interpret([], Outcome("failed", reason="killed"))
    assert (died.failure, died.host_bytes) == ("killed", None)


def test_a_job_is_ended_when_time_is_up_or_all_is_done(tmp_path):
    file = tmp_path / "samples"
    patient = Probe(file, seconds=1000.0)
    patient.progress(0.1)
    patient.progress(0.2, "a note")
    with pytest.raises(RunPruned):
        patient.progress(1.0)
    hasty = Probe(tmp_path / "others", seconds=0.0)
    hasty.progress(0.0, "words are learned")
    with pytest.raises(RunPruned):
        hasty.progress(0.1)
    assert [json.loads(line)[1] for line in file.read_text().splitlines()] == [0.1, 0.2, 1.0]


def test_a_probe_lets_a_job_report_and_describe_without_a_study(tmp_path):
    probe = Probe(tmp_path / "samples", seconds=1.0)
    probe.report(0.5, step=0)
    probe.describe({"size": 1.0})
    probe.finish_repeat(0.5)
    assert not (tmp_path / "samples").exists()


@pytest.mark.parametrize(("is_used", "peak"), [(True, 4096), (False, None)])
def test_the_memory_of_a_gpu_counts_where_torch_uses_one(tmp_path, monkeypatch, is_used, peak):
    cuda = SimpleNamespace(is_available=lambda: True, is_initialized=lambda: is_used, max_memory_allocated=lambda: 4096)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    Probe(tmp_path / "samples", seconds=1.0).sample(None)
    assert json.loads((tmp_path / "samples").read_text())[3] == peak


@pytest.mark.slow
def test_the_processes_that_train_for_a_job_count_one_for_each_device(tmp_path):
    """Of a job on one device a process that it starts counts not: the system gives it the memory of the job's own."""
    program = """
import subprocess, sys
from pathlib import Path
from sentiment.search.dry_run.probe import Probe
for devices in (1, 3):
    with Probe(Path(sys.argv[1]), seconds=1.0, devices=devices).attend():
        subprocess.run([sys.executable, "-c", f"bytearray({500 * 2**20})"], check=True)
"""
    subprocess.run([sys.executable, "-c", program, tmp_path / "samples"], check=True)
    alone, after, _, last = (json.loads(line)[2] / 2**20 for line in (tmp_path / "samples").read_text().splitlines())
    assert after - alone < 50
    assert 1500 < last - after < 1800
