"""Learned words on disk: trained once, shared by every run and trial that asks for the same ones.

An artifact is a folder of ``weights.safetensors`` and ``words.json``, which says what they are and holds the checksum.
While it is made, the folder also has the checkpoints from which an interrupted training goes on, and its record.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.torch
from torch import Tensor

from sentiment.atomic import write_bytes
from sentiment.data.cache import DamagedError, Tell, read_or_build
from sentiment.errors import ModelFileError, explaining
from sentiment.format import format_duration
from sentiment.json_file import read_dataclass, write_json
from sentiment.tracking.ending import FINAL
from sentiment.tracking.result_file import RESULT_FILE, read_result
from sentiment.training.result import CHECKPOINTS

WEIGHTS_FILE = "weights.safetensors"

FACTS_FILE = "words.json"


@dataclass(frozen=True)
class Facts:
    """What words are, beside their weights."""

    fingerprint: str  # what they depend on, hashed; the folder's name
    settings: Mapping[str, str]  # the settings that they were trained with, flat
    texts: str  # fingerprint of the reviews
    code: str  # digest of the code that trained them; of several, where an attempt went on from one of earlier code
    curve: list[Mapping[str, float]]  # every validation: step, epoch, and metrics
    loss: float  # best mean negative log-likelihood of a word held out
    seconds: float  # wall time of the training
    sha256: str  # checksum of the weights


@dataclass(frozen=True)
class Words:
    """Weights of a part of a network that has learned words, by their names in the network; and where they are kept.

    Whoever asked for them adds the hashes of the reviews without labels among their texts, if there are any.
    """

    folder: Path
    facts: Facts
    weights: Mapping[str, Tensor]
    unlabelled: npt.NDArray[np.uint64] | None = None


def open_words(folder: Path, make: Callable[[], None], tell: Tell) -> Words:
    """Read learned words, or have them made first, by one process at a time.

    Args:
        folder: The artifact's; its name changes with everything that the words depend on.
        make: Trains, going on from checkpoints in the folder, and ends with `save_words`.
        tell: Hears from time to time that another process is waited for.

    Raises:
        ModelFileError: The folder cannot be written.
    """

    def forget() -> None:
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)

    def learn() -> None:
        record = folder / RESULT_FILE
        if (folder / FACTS_FILE).exists() or (record.exists() and read_result(record).status in FINAL):
            forget()  # damaged, or in part; what MLflow is to have of the run before stays
            with _explain_failure_to_write(folder):
                for name in (RESULT_FILE, FACTS_FILE, WEIGHTS_FILE):
                    (folder / name).unlink(missing_ok=True)
        make()
        forget()

    return read_or_build(
        folder,
        name="artifact of learned words",
        is_there=(folder / FACTS_FILE).exists,
        read=partial(read_words, folder),
        build=learn,
        guard=partial(_explain_failure_to_write, folder),
        tell=lambda seconds: tell(f"waits for words, {format_duration(seconds)}"),
    )


def save_words(folder: Path, weights: Mapping[str, Tensor], **facts: Any) -> None:
    """Write an artifact: what it is comes last, so that without it there is none.

    Raises:
        ModelFileError: It cannot be written.
    """
    content = safetensors.torch.save(dict(weights))
    made = Facts(fingerprint=folder.name, sha256=hashlib.sha256(content).hexdigest(), **facts)
    with _explain_failure_to_write(folder):
        write_bytes(folder / WEIGHTS_FILE, content)
        write_json(folder / FACTS_FILE, asdict(made))


def read_words(folder: Path) -> Words:
    """Read an artifact.

    Raises:
        DamagedError: A file is missing, cut off or altered, or it is another artifact's.
    """
    try:
        facts = read_dataclass(Facts, folder / FACTS_FILE)
        content = (folder / WEIGHTS_FILE).read_bytes()
        if facts.fingerprint != folder.name:
            raise ValueError(f"{FACTS_FILE} is of {facts.fingerprint}")
        if hashlib.sha256(content).hexdigest() != facts.sha256:
            raise ValueError(f"the checksum of {WEIGHTS_FILE} differs")
        weights = safetensors.torch.load(content)  # in another order each time, and a hash of them tells a start
        return Words(folder, facts, dict(sorted(weights.items())))
    except (OSError, ValueError, TypeError, KeyError, safetensors.SafetensorError) as error:
        raise DamagedError(f"{type(error).__name__}: {error}") from error


def _explain_failure_to_write(folder: Path) -> AbstractContextManager[None]:
    remedy = "free some space, or choose a folder that you may write: pretrain.cache_dir=FOLDER"
    return explaining(f"learned words cannot be kept in {folder}", remedy, ModelFileError, (OSError, DamagedError))
