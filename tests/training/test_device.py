"""A run says which device it takes, refuses one that is not there, and measures how long a review takes on it."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import nn

from sentiment.config.home import PROJECT_DIR
from sentiment.config.reading import read_settings
from sentiment.training import device
from sentiment.training.device import DeviceError, measure_latency_ms, name_device


@pytest.fixture
def without_gpu(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)


def test_auto_takes_the_cpu_where_there_is_nothing_else(small_settings, without_gpu):
    settings = small_settings("model=rnn", "trainer=auto", "trainer.accelerator=auto")
    assert name_device(settings) == "cpu (1 thread)"


def test_a_gpu_that_is_not_there_is_an_error_with_the_remedy(small_settings, without_gpu):
    with pytest.raises(DeviceError, match=r"finds no GPU.*\n  -> use trainer=auto"):
        name_device(small_settings("model=rnn", "trainer.accelerator=gpu"))


def test_a_precision_that_the_cpu_does_not_have_is_an_error_and_not_another_one(small_settings, without_gpu):
    for accelerator in ("auto", "cpu"):
        settings = small_settings("model=rnn", f"trainer.accelerator={accelerator}", "trainer.precision=16-mixed")
        with pytest.raises(DeviceError, match=r"16-mixed is for GPUs.*\n  -> use trainer.precision=bf16-mixed"):
            name_device(settings)


def test_a_gpu_is_taken_where_there_is_one(small_settings, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    assert name_device(small_settings("model=rnn", "trainer.accelerator=auto")) == "a card"
    assert name_device(small_settings("model=rnn", "trainer.accelerator=cpu")) == "cpu (1 thread)"


def test_the_gpu_of_a_mac_is_taken_where_it_is_asked_for_and_never_for_a_deterministic_run(small_settings, monkeypatch):
    """On it torch refuses the RNN's backward pass, and lets a Transformer's differ from run to run."""
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("mps"))
    assert name_device(small_settings("model=rnn", "trainer.accelerator=auto")) == "cpu (1 thread)"
    assert name_device(small_settings("model=rnn", "trainer.accelerator=gpu", "trainer.deterministic=false")) == "mps"
    with pytest.raises(DeviceError, match=r"deterministic=true, .* Mac.\n  -> use trainer.deterministic=false"):
        name_device(small_settings("model=rnn", "trainer.accelerator=gpu", "trainer.deterministic=true"))


def test_several_devices_share_the_threads_of_the_machine(small_settings, without_gpu):
    settings = small_settings("model=rnn", "trainer.devices=2", "trainer.threads=5")
    assert name_device(settings) == "2 x cpu (2 threads)"


def test_more_gpus_than_there_are_is_an_error(small_settings, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    with pytest.raises(DeviceError, match=r"trainer.devices=2, but torch finds 1 cuda"):
        name_device(small_settings("model=rnn", "trainer.devices=2", "trainer.accelerator=auto"))


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, r"trainer.nodes=2 needs an allocation of Slurm .* there is none.\n  -> sbatch --nodes=2"),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "1"}, r"there is one of 1"),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "2"}, r"srun started this .* 2 t"),
    ],
)
def test_nodes_that_are_not_there_are_an_error(small_settings, without_gpu, monkeypatch, variables, message):
    for name in ("SLURM_JOB_ID", "SLURM_JOB_NUM_NODES", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DeviceError, match=message):
        name_device(small_settings("model=rnn", "trainer.nodes=2"))


def test_the_ngram_classifier_is_fitted_on_the_cpu_whatever_there_is(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        config = compose("config", ["model=ngram", "trainer=gpu", "trainer.threads=3"])
    assert name_device(read_settings(config, Path.cwd())) == "cpu (3 threads)"


class Sleeping(nn.Module):
    """Takes five milliseconds, and a hundred where it is cold."""

    def __init__(self):
        super().__init__()
        self.shapes, self.was_training = [], []

    def forward(self, tokens, mask):
        time.sleep(0.1 if not self.shapes else 0.005)
        self.shapes.append((tuple(tokens.shape), bool(mask.all()), int(tokens.max())))
        self.was_training.append(self.training)
        assert torch.is_inference_mode_enabled()
        return tokens


@pytest.fixture
def few_passes(monkeypatch):
    monkeypatch.setattr(device, "WARM_UP_PASSES", 2)
    monkeypatch.setattr(device, "MEASURED_PASSES", 5)


def test_the_median_of_warm_passes_over_one_full_review(few_passes):
    network = Sleeping()
    measured = measure_latency_ms(
        network, tokens=40, vocabulary_size=30, device=torch.device("cpu"), precision=nullcontext()
    )
    assert 5 <= measured < 100
    assert network.shapes == [((1, 40), True, 29)] * 7
    assert network.was_training == [False] * 7
    assert network.training  # as it was before


def test_a_slow_network_is_measured_in_few_passes(monkeypatch):
    monkeypatch.setattr(device, "BUDGET_SECONDS", 0.02)
    network = Sleeping()
    measured = measure_latency_ms(
        network, tokens=40, vocabulary_size=30, device=torch.device("cpu"), precision=nullcontext()
    )
    assert len(network.shapes) == device.LEAST_PASSES
    assert 5 <= measured < 100  # the cold pass is not counted


def test_a_review_that_does_not_fit_the_memory_costs_the_figure_and_not_the_run(caplog):
    class TooLarge(nn.Module):
        def forward(self, tokens, mask):
            raise torch.OutOfMemoryError("CUDA out of memory.")

    network = TooLarge()
    measured = measure_latency_ms(
        network, tokens=65_536, vocabulary_size=30, device=torch.device("cpu"), precision=nullcontext()
    )
    assert math.isnan(measured)
    assert network.training
    assert "no time/latency_ms, of a review of 65,536 tokens: Out of memory: CUDA out of memory" in caplog.text
