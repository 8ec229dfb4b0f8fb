"""Whether a network of one's own answers from its bundle as it does in its run, asked by a few reviews."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from sentiment.config.option import find_option
from sentiment.config.schema import Settings
from sentiment.data.corpus import Corpus
from sentiment.errors import ModelFileError
from sentiment.models.bundle import Predictor

PROBED_REVIEWS = 8

TOLERANCE = 1e-4
"""Probabilities may differ by so much: the same sums can be rounded differently."""


def list_probe(settings: Settings, corpus: Corpus) -> list[npt.NDArray[np.integer]]:
    """Return the training reviews by which a network of one's own is asked; none for a built-in one."""
    count = 0 if find_option(settings.model).code is None else min(PROBED_REVIEWS, len(corpus.train))
    return [corpus.train[row] for row in range(count)]


def require_same_answers(
    network: nn.Module, device: torch.device, probe: Sequence[npt.NDArray[np.integer]], saved: Predictor
) -> None:
    """Insist that what was read from a bundle answers as the network does that it was saved from.

    Both draw the same of torch's random numbers, and leave the caller's as they are. They are switched to evaluation,
    and moved to the device and back to the CPU.

    Raises:
        ModelFileError: A probability differs: the network answers by what is not in its state.
    """
    answers = []
    for one in (replace(saved, network=network), saved):
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            one.network.to(device)
            answers.append(one.answer(probe, batch_size=1)[0])  # (N, K); the run may have room for no more
            one.network.cpu()
    before, after = answers
    if not np.allclose(before, after, rtol=0, atol=TOLERANCE, equal_nan=True):
        raise ModelFileError(
            f"{type(network).__name__} answers otherwise once it was saved and read (a probability differs by "
            f"{np.nanmax(abs(before - after)):.2g}): it answers by what is not in its state_dict().",
            "keep what it draws, counts or learns as a parameter or a buffer: self.register_buffer(NAME, TENSOR)",
        )
