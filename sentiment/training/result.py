"""What training tells the outside: metrics while it runs, and in the end what it leaves behind, as plain data.

Training knows neither MLflow nor Optuna: it reports to a `Reporter`. A recorder writes the numbers down; a
search may raise from `validated` to end the run early.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partialmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment.errors import Reached

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PROGRESS_SECONDS = 2.0
"""Time between two tellings of progress within an epoch: each may be a write to a study's storage."""

BEST_FILE = "best.ckpt"
"""The selected checkpoint."""

LONGER_FILE = "last.ckpt.longer"
"""Lies beside it until a longer run, which trains on after a finished one, has a whole epoch or its end: it may be that
one's."""

CHECKPOINTS = "checkpoints"
"""Folder, in a run's, of what it is selected from and would go on from."""


class Reporter:
    """Receives the metrics of one run, and how far it is; a subclass takes what it has use for.

    `step` counts optimizer steps from 1; `epoch` is a float: 0.5 is halfway through the first pass.
    Metric names are full names such as ``val/accuracy``.
    """

    def trained(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Take training metrics (``train/loss``, ``train/lr``).

        They come every ``trainer.log_every_n_steps`` steps, and before each validation.
        """

    def validated(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Take the validation metrics; an exception raised here ends the run and reaches the caller of `fit`."""

    def tested(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Take the test metrics of the selected checkpoint, once."""

    def stepped(self, *, epoch: float) -> None:
        """Learn that a step was made, where reports come rarely; called between steps, so it has to be quick."""

    def saved(self, *, epoch: float) -> None:
        """Learn that the run can go on from here if it is stopped now: after each epoch but the last.

        A run that is taken up from such a point says so again, before its next epoch.

        Raises:
            RunPaused: The run is to stop here.
        """


class Reporters(Reporter):
    """Passes every report on to several reporters, in order, as far as they have a method for it."""

    def __init__(self, reporters: Sequence[object]) -> None:
        self.reporters = reporters

    def pass_on(self, report: str, *metrics: Mapping[str, float], **at: Any) -> None:
        """Call the method of this name of each reporter that has it."""
        for reporter in self.reporters:
            if hasattr(reporter, report):
                getattr(reporter, report)(*metrics, **at)

    trained, validated = partialmethod(pass_on, "trained"), partialmethod(pass_on, "validated")
    tested, saved = partialmethod(pass_on, "tested"), partialmethod(pass_on, "saved")
    stepped = partialmethod(pass_on, "stepped")


@dataclass(frozen=True)
class TestPredictions:
    """The selected checkpoint's answers on the test split, in the order of the test split."""

    __test__ = False  # not a pytest class

    labels: npt.NDArray[np.int64]  # (N,) true class indices, int64
    probabilities: npt.NDArray[np.float32]  # (N, K) class probabilities, float32

    def confusion(self) -> npt.NDArray[np.int64]:
        """Count the (K, K) confusion matrix: rows are true classes, columns predicted ones."""
        from sentiment.training.measures import count_confusion  # here: the study's reporters are imported at the start

        return count_confusion(self.labels, self.probabilities)


@dataclass(frozen=True)
class RunResult(Reached):
    """The outcome of training one model; its metrics are those of the *selected* checkpoint.

    They are ``val/...``, ``test/...`` if tested, and ``time/latency_ms``. `seconds`, which is ``time/fit_seconds``, is
    the wall time of training with its validations, that of interrupted attempts included up to their last whole epoch;
    preparing data, learning words, testing and measuring the latency do not count.
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
