"""The project's exceptions, importable from anywhere.

Every message answers three questions: what was wrong, which value, and what to do about it. `run.py`
prints the message alone, without a traceback, and exits non-zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class SentimentError(Exception):
    """Base class: an error whose message is written for the person at the command line."""


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a configuration.

    Attributes:
        key: The key as the user types it, e.g. ``model.heads``.
        problem: What is wrong, with the value.
        remedy: What to type instead.
    """

    key: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.key}: {self.problem}\n    -> {self.remedy}"


class ConfigError(SentimentError):
    """Every fault of a configuration, gathered before anything is read or built."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        count = len(self.faults)
        heading = f"{count} fault{'s' if count != 1 else ''} in the configuration; nothing was started."
        super().__init__("\n".join([heading, "", *(f"  {fault}" for fault in self.faults)]))


class DataError(SentimentError):
    """The data cannot be read or does not have the expected form."""


class ModelFileError(SentimentError):
    """A stored model is missing, incomplete or of another format version."""


class NonFiniteLossError(SentimentError):
    """The training loss became NaN or infinite, so the run cannot go on."""


class TrackingError(SentimentError):
    """The store that records runs cannot be opened or written."""


class OutOfMemoryError(SentimentError):
    """The host or the accelerator ran out of memory during a run."""


@dataclass(frozen=True)
class Reached:
    """How far a run came that a search ended early.

    Attributes:
        metrics: ``val/...`` of the best validation.
        epochs: Passes over the training data that were made.
        best_epoch: Epoch of the best validation.
        seconds: Wall time of fitting.
        parameters: Number of trainable parameters.
    """

    metrics: Mapping[str, float]
    epochs: float
    best_epoch: float
    seconds: float
    parameters: int


class RunPruned(SentimentError):  # noqa: N818 - a way to end, as StopIteration is; not an error
    """A search ended the run early; raised by a reporter's `validated`. It is no failure.

    Attributes:
        reached: How far the run came; training fills it in on the exception's way out.
    """

    reached: Reached | None = None


class JobsFailedError(SentimentError):
    """Some jobs of a multirun failed; the others were finished and recorded."""
