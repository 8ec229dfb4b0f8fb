"""How long a trained network takes for one review."""

from __future__ import annotations

import logging
import math
import time
from contextlib import AbstractContextManager
from statistics import median

import torch
from torch import nn

from sentiment.errors import OutOfMemoryError
from sentiment.training.lightning_setup import memory_errors

log = logging.getLogger(__name__)

WARM_UP_PASSES = 5
MEASURED_PASSES = 30

BUDGET_SECONDS = 0.6
"""Every run measures itself, so it stops after this time: a slow network shows its pace in few passes."""

LEAST_PASSES = 4
"""Passes that are made whatever they take."""


def measure_latency_ms(
    network: nn.Module,
    *,
    tokens: int,
    vocabulary_size: int,
    device: torch.device,
    precision: AbstractContextManager[None],
    is_objective: bool = False,
) -> float:
    """Measure the median wall time in milliseconds of one forward pass: batch size 1, a review of full length.

    It is a wall time: jobs that run beside this one on the same cores make it longer.

    NaN, with a warning, where the memory is too small: perhaps no review of the data was so long, and the rest of the
    run's result stands. Not so where it `is_objective`: a study has no use for a trial without it.

    The review has T = `tokens` tokens, all ids of the vocabulary in turn. The network maps tokens (1, T) and a mask
    (1, T) to logits; it is moved to the device and back to the CPU. The run computes in the context `precision`.

    Raises:
        OutOfMemoryError: The memory is too small for an objective.
    """
    review = (torch.arange(tokens) % vocabulary_size).unsqueeze(0).to(device)  # (1, T)
    mask = torch.ones_like(review, dtype=torch.bool)  # (1, T)
    was_training = network.training
    network.to(device).eval()
    milliseconds = []
    try:
        with memory_errors("lower data.max_tokens"), torch.inference_mode(), precision:
            begun = time.perf_counter()
            for passes in range(WARM_UP_PASSES + MEASURED_PASSES):
                started = time.perf_counter()
                if passes >= LEAST_PASSES and started - begun > BUDGET_SECONDS:
                    break
                network(review, mask)
                if device.type != "cpu":  # kernels are queued: the call returns before they are done
                    torch.accelerator.synchronize(device)
                milliseconds.append(1000 * (time.perf_counter() - started))
    except OutOfMemoryError as error:
        if is_objective:
            raise
        log.warning("There is no time/latency_ms, of a review of %s tokens: %s", f"{tokens:,}", error)
        return math.nan
    finally:
        network.cpu().train(was_training)
    # Cut short, the first half is the warm-up.
    return median(milliseconds[min(WARM_UP_PASSES, len(milliseconds) // 2) :])
