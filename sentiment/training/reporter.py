"""What training tells the outside while it runs.

Training knows neither MLflow nor Optuna: it reports to this class. A recorder writes the numbers down; a
search may raise from `validated` to end the run early.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partialmethod
from typing import Any

PROGRESS_SECONDS = 2.0
"""Time between two tellings of progress within an epoch: each may be a write to a study's storage."""


class Reporter:
    """Receives the metrics of one run, and how far it is; a subclass takes what it has use for.

    `step` counts optimizer steps from 1; `epoch` is a float: 0.5 is halfway through the first pass.
    Metric names are full names such as ``val/accuracy``.
    """

    def trained(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Take training metrics (``train/loss``, ``train/lr``), every ``trainer.log_every_n_steps`` steps."""

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
