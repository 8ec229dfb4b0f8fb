"""A model from a training checkpoint, whose weights are read without running anything that lies in the file."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from sentiment.errors import ModelFileError, explaining
from sentiment.models.bundle import Predictor, require_finite

NETWORK_PREFIX = "network."
"""Where the network stands in the state of the LightningModule."""


def load_checkpoint(file: Path, bundle: Path, device: str | torch.device = "cpu") -> Predictor:
    """Read a Lightning checkpoint of a run; settings and tokenizer come from the bundle of the same run.

    Raises:
        ModelFileError: The file holds more than weights, is damaged or diverged, or is of another network.
    """
    state = read_checkpoint(file).get("state_dict")
    if not isinstance(state, dict):
        raise ModelFileError(f"{file} is no Lightning checkpoint: no state_dict.", "give the run itself: --model RUN")
    predictor = Predictor.load(bundle, device)
    weights = {name[len(NETWORK_PREFIX) :]: value for name, value in state.items() if name.startswith(NETWORK_PREFIX)}
    problem, remedy = f"{file} does not belong to the model in {bundle}", "give a checkpoint of the same run"
    with explaining(problem, remedy, ModelFileError, RuntimeError):
        predictor.network.load_state_dict(weights)
    require_finite(predictor.network, file)
    return predictor


def read_checkpoint(file: Path) -> dict[str, Any]:
    """Read what a checkpoint holds, without running anything that lies in it.

    A checkpoint is a pickle in a ZIP archive. ``weights_only`` reads tensors and plain values from it and refuses
    everything else, because unpickling anything else can run any code. torch writes the archive's checksums but does
    not look at them when it reads: a flipped bit in a weight would go unnoticed.

    Raises:
        ModelFileError: The file holds more than weights, or is damaged.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} differs")
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelFileError(
            f"{file} holds more than weights, and reading that could run code of whoever wrote it. It was not read.",
            "give a checkpoint that a run of this project wrote, or the run itself: --model RUN",
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ModelFileError(
            f"{file} is no checkpoint, or damaged ({error}).", "copy it again, or give the run itself"
        ) from error
    return content if isinstance(content, dict) else {}
