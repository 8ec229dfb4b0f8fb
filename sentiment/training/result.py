"""What one run leaves behind, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sentiment.errors import Reached
from sentiment.training.measures import count_confusion

BEST_FILE = "best.ckpt"
"""The selected checkpoint."""

LONGER_FILE = "last.ckpt.longer"
"""Lies beside it until a longer run, which trains on after a finished one, has a whole epoch or its end: it may be that
one's."""

CHECKPOINTS = "checkpoints"
"""Folder, in a run's, of what it is selected from and would go on from."""


@dataclass(frozen=True)
class TestPredictions:
    """The selected checkpoint's answers on the test split, in the order of the test split."""

    __test__ = False  # not a pytest class

    labels: npt.NDArray[np.int64]  # (N,) true class indices, int64
    probabilities: npt.NDArray[np.float32]  # (N, K) class probabilities, float32

    def confusion(self) -> npt.NDArray[np.int64]:
        """Count the (K, K) confusion matrix: rows are true classes, columns predicted ones."""
        return count_confusion(self.labels, self.probabilities)


@dataclass(frozen=True)
class RunResult(Reached):
    """The outcome of training one model; its metrics are those of the *selected* checkpoint.

    They are ``val/...``, ``test/...`` if tested, and ``time/latency_ms``. `seconds` is the wall time of fitting and
    testing; data preparation does not count.
    """

    checkpoint: Path  # Lightning checkpoint of the selected weights
    bundle: Path  # folder with weights (safetensors), settings (JSON) and tokenizer: all that prediction needs
    class_names: tuple[str, ...]  # the K class names in index order
    test: TestPredictions | None  # test predictions; None where the test split was left alone


def describe_outcome(metrics: Mapping[str, float], parameters: int | None, seconds: float | None) -> dict[str, float]:
    """Return all numbers of a finished run that a search may optimise, constrain or plot; the test split has none."""
    assert parameters is not None, "a finished run has its size"
    assert seconds is not None, "a finished run has its time"
    seen = {name: value for name, value in metrics.items() if not name.startswith("test/")}
    return {**seen, "model/parameters": float(parameters), "time/fit_seconds": seconds}
