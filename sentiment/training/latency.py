"""How long a trained network takes for one review."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from statistics import median

import torch
from torch import nn

WARM_UP_PASSES = 5
MEASURED_PASSES = 30


def measure_latency_ms(
    network: nn.Module,
    *,
    tokens: int,
    vocabulary_size: int,
    device: torch.device,
    precision: AbstractContextManager[None],
) -> float:
    """Measure the median wall time in milliseconds of one forward pass: batch size 1, a review of full length.

    Args:
        network: Maps tokens (1, T) and mask (1, T) to logits; it is moved to the device and back to the CPU.
        tokens: Length T of the review.
        vocabulary_size: Number of token ids; the review holds all of them in turn.
        device: Where to measure.
        precision: Context in which the run computes.
    """
    review = (torch.arange(tokens) % vocabulary_size).unsqueeze(0).to(device)  # (1, T)
    mask = torch.ones_like(review, dtype=torch.bool)  # (1, T)
    was_training = network.training
    network.to(device).eval()
    milliseconds = []
    with torch.inference_mode(), precision:
        for _ in range(WARM_UP_PASSES + MEASURED_PASSES):
            started = time.perf_counter()
            network(review, mask)
            if device.type != "cpu":  # kernels are queued: the call returns before they are done
                torch.accelerator.synchronize(device)
            milliseconds.append(1000 * (time.perf_counter() - started))
    network.cpu().train(was_training)
    return median(milliseconds[WARM_UP_PASSES:])
