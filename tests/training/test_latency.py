from __future__ import annotations

import math
import time
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from sentiment.training import latency
from sentiment.training.latency import measure_latency_ms


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
    monkeypatch.setattr(latency, "WARM_UP_PASSES", 2)
    monkeypatch.setattr(latency, "MEASURED_PASSES", 5)


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
    monkeypatch.setattr(latency, "BUDGET_SECONDS", 0.02)
    network = Sleeping()
    measured = measure_latency_ms(
        network, tokens=40, vocabulary_size=30, device=torch.device("cpu"), precision=nullcontext()
    )
    assert len(network.shapes) == latency.LEAST_PASSES
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
