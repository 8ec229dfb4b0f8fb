"""The trial that the running job belongs to; apart from `study.trial`, so that asking imports no Optuna.

A Hydra application reports to it from whichever process the job runs in::

    trial = current_trial()  # None where no study runs the job
    if trial is not None:
        trial.report(accuracy, step=epoch)  # raises RunPruned when the pruner says so
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentiment.search.study.outcome import Outcome


class RunningTrial:
    """What a job may tell its trial; where nobody listens, it does nothing."""

    number: int  # number of the trial in its study
    repeat: int  # which of the trial's repeats this job is, from 0
    folder: Path  # the job's folder; the same for every attempt where ``hydra.sweep.dir`` is the same
    # How often the job was begun, from 1: above it, an earlier process was stopped or died, and may have left a
    # checkpoint in the folder.
    attempt: int
    is_to_pause: bool  # whether the trial is to pause at a checkpoint; see `saved`
    # Folder of another trial's job, from whose checkpoint this one goes on where it has none of its own yet: a
    # population-based training made it a copy at other settings; None: it begins anew.
    origin: Path | None
    # Names of the numbers that the study limits. What of them is known ahead is best described at once: a trial that
    # breaks a limit is then not promoted before others.
    limited: Collection[str]

    def report(self, value: float | Sequence[float], *, step: int, error: float = 0.0) -> None:
        """Take the objective at a step (from 0, the same pace in every trial) and decide whether to go on.

        Args:
            value: The objective; of several a list, with NaN for what is known at the end only.
            step: From 0, the same pace in every trial: pruners compare trials at equal steps.
            error: Standard error of the value, where it is known: see ``hydra.sweeper.margin``.

        Raises:
            RunPruned: The pruner ends the trial.
        """

    def saved(self, steps: int | None = None) -> None:
        """Take it that the job can go on from here if it is stopped now: it has written a checkpoint.

        Without such calls a trial is never paused: under ``hydra/sweeper/pruner=promotion`` it runs to its end. A job
        that takes up a checkpoint says so too: an earlier process may have been stopped before it could pause there.
        Not after the last report: a job that has come to its end returns its value, or it would wait without one.

        Args:
            steps: Reports that the checkpoint holds; None: all that this process has made.

        Raises:
            RunPaused: The trial waits here for its promotion.
        """

    def describe(self, metrics: Mapping[str, float]) -> None:
        """Note numbers beside the objective (size, time): for limits, tables and the dashboard."""

    def depends_on(self, *, code: str | None = None, data: str | None = None) -> None:
        """Take it that the result depends on this code or data, in the words of `identify_code` and `identify_data`.

        Where it is another than the job was planned with, no other job takes the result over.
        """

    def progress(self, fraction: float, note: str = "") -> None:
        """Tell how far the job is, 0 to 1, for the live table and the time left, and what a pruned job cost."""

    def stopped_early(self, share: float) -> None:
        """Take it that the job ends complete after a share of its work: a budget of epochs counts no more than that."""


class JobTrial(RunningTrial):
    """A trial as the wrapper of the application's task knows it."""

    def begin(self, folder: Path, log_file: Path | None) -> None:
        """Note that the job starts to work in its folder, and which file is its log."""

    def finish_repeat(self, value: float) -> None:
        """Take the final value of a repeat.

        Raises:
            RunPruned: The further repeats of the trial are not needed.
        """

    def read_outcome(self) -> Outcome | None:
        """Return the outcome that an earlier process of this job wrote; None: it has not ended."""
        return None

    def write_outcome(self, outcome: Outcome) -> None:
        """Keep the outcome."""


_current: ContextVar[RunningTrial | None] = ContextVar("current_trial", default=None)


def current_trial() -> RunningTrial | None:
    """Return the trial that the running job belongs to; None outside a study."""
    return _current.get()


@contextmanager
def running(trial: RunningTrial) -> Iterator[None]:
    """Make a trial the current one."""
    token = _current.set(trial)
    try:
        yield
    finally:
        _current.reset(token)
