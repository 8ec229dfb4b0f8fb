"""Record one run wherever the configuration says: its folder always, the trackers that `tracking` names beside it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partialmethod
from pathlib import Path
from typing import Protocol, cast

from sentiment.config.option import choice_of, find_option
from sentiment.config.run_context import RunContext
from sentiment.config.schema import Settings
from sentiment.errors import FailureKind
from sentiment.tracking.alive import RUN_FILE, Alive
from sentiment.tracking.ending import FINISHED, Ending, Status, ending_of
from sentiment.tracking.folder import FolderRecorder
from sentiment.tracking.outbox import Outbox
from sentiment.tracking.result_file import TRAINED_ON_TAG, amend_result, read_result_of
from sentiment.training.result import CHECKPOINTS, Reporters, RunResult

log = logging.getLogger(__name__)


class Recorder(Protocol):
    """Learns what a run is made of, its metrics, and how it ends.

    One is made per run, and called from one thread in this order: `describe` at any time, `trained` and `validated`
    while the run is trained, `tested` at most once, `finished` once where the run went well, and `close` last and
    always, once. Calls are made between training steps: one that takes long slows training down. An exception fails
    the run; raise `TrackingError` with a remedy for what the person can put right.
    """

    def describe(self, tags: Mapping[str, str]) -> None:
        """Take tags that are known only once data is read, e.g. ``data.fingerprint`` and ``device``."""

    def trained(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Take training metrics; see `sentiment.training.result.Reporter`, as for the next two."""

    def validated(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Take validation metrics."""

    def tested(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Take the test metrics of the selected checkpoint."""

    def finished(self, result: RunResult) -> None:
        """Take what the run leaves behind, once, when it went well; its files are in the run's folder already."""

    def close(self, ending: Ending) -> None:
        """Take the ending and let go of files and connections; the last call."""


RecorderBuilder = Callable[[RunContext, FolderRecorder], Recorder]
"""Opens a recorder for a run. The folder's recorder says what an interrupted attempt at the run left (`earlier`)."""


class Recorders(Reporters):
    """Pass everything on to several recorders, in order.

    Attributes:
        goes_on: There is something in the run's folder that it may go on from; see `FolderRecorder`.
        trains_on: The record says that the run trains on after fewer epochs, should it go on.
    """

    reporters: list[Recorder]
    goes_on = trains_on = False

    def __init__(self) -> None:
        super().__init__([])

    describe = partialmethod(Reporters.pass_on, "describe")
    finished = partialmethod(Reporters.pass_on, "finished")

    def close(self, ending: Ending, *, is_after_error: bool = False) -> None:
        """Close in reverse order: the folder, added first, has the last word.

        After an error, whatever fails now is logged, so that the first error is the one people see.
        """
        while self.reporters:
            recorder = self.reporters[-1]
            try:
                recorder.close(ending)
            except Exception:
                if not is_after_error:
                    raise
                log.exception("%s could not record that the run ended: %s", type(recorder).__name__, ending.reason)
            self.reporters.pop()


@contextmanager
def open_recorder(context: RunContext, *, is_inner: bool = False) -> Iterator[Recorders]:
    """Record a run for as long as the ``with`` block lasts.

    Leaving the block marks the run FINISHED; an exception marks it FAILED, an interruption (Ctrl-C, SystemExit)
    KILLED, the end that a search decided PRUNED, or PAUSED where it may go on, with the reason, and goes on to the
    caller. An interrupted or paused run that is started again in its folder goes on in the same records.
    A job waits for a process that still works in its folder, e.g. one of a command that was killed.

    Args:
        context: The run.
        is_inner: As in `sentiment.tracking.mlflow.delivery.delivering`.

    Raises:
        TrackingError: A store cannot be opened or written, the folder holds a finished run, or another command works
            there.
    """
    recorders = Recorders()
    with ExitStack() as after:
        after.callback(Alive(context.output_dir, RUN_FILE, waits=context.job_number is not None).end)
        try:
            folder = FolderRecorder(context, is_inner=is_inner)
            recorders.reporters.append(folder)
            recorders.goes_on, recorders.trains_on = folder.goes_on, TRAINED_ON_TAG in folder.inherited
            if context.settings.tracking.mlflow and context.sweep_dir is None:
                from sentiment.tracking.mlflow.delivery import delivering  # with mlflow: seconds

                # Left after the recorders: while it waits for MLflow, the folder says already how the run ended.
                after.enter_context(delivering(context, is_inner=is_inner))
            for build in list_recorders(context.settings):
                recorders.reporters.append(build(context, folder))
            yield recorders
            recorders.close(FINISHED)
        except BaseException as error:
            recorders.close(ending_of(error), is_after_error=True)
            raise


def list_recorders(settings: Settings) -> list[RecorderBuilder]:
    """Return what opens the recorders that `tracking` names, beside the folder's; only those are imported."""
    builders: list[RecorderBuilder] = []
    if settings.tracking.tensorboard:  # torch and mlflow take seconds to import
        from sentiment.tracking.tensorboard import TensorBoardRecorder

        builders.append(TensorBoardRecorder)
    if settings.tracking.mlflow:
        from sentiment.tracking.mlflow.recorder import MlflowRecorder

        builders.append(MlflowRecorder)
    if choice_of(type(settings.tracking)) is not None:
        builders.append(_build_extension)
    return builders


def _build_extension(context: RunContext, folder: FolderRecorder) -> Recorder:
    settings = context.settings.tracking
    return cast(Recorder, find_option(settings).build(settings, context=context, earlier=folder.earlier))


def close_abandoned(output_dir: Path, kind: FailureKind, reason: str) -> None:
    """Mark a run as failed whose process was killed and could not do so, in its folder and for MLflow, if it is there.

    A run that was killed before it recorded anything has no record to close. `reason` says how its process died; one
    that was ended because it hung may have noted itself that it was asked to.

    Raises:
        TrackingError: The record is damaged, or the folder cannot be written.
    """
    _close(output_dir, ["RUNNING", "KILLED"] if kind == "timed_out" else ["RUNNING"], Ending("FAILED", kind, reason))


def close_settled(output_dir: Path, job: int, ending: Ending) -> bool:
    """Write how a search has ended a run that was paused, stopped or killed; of a pruned one, remove the checkpoints.

    Not where another job has come to its folder, or its end is written.

    Returns:
        Whether it was written.

    Raises:
        TrackingError: The record is damaged, or the folder cannot be written.
    """
    open_states: set[Status] = {"PAUSED", "RUNNING", "KILLED"}
    is_closed = _close(output_dir, open_states - {ending.status}, ending, job)
    if is_closed and ending.status == "PRUNED":
        shutil.rmtree(output_dir / CHECKPOINTS, ignore_errors=True)
    return is_closed


def note_successor(output_dir: Path, number: int) -> None:
    """Note for MLflow, if it is there, by which trial a failed one was replaced: that one counts, this run does not."""
    outbox, tags = Outbox(output_dir), {"trial.replaced_by": str(number)}
    if outbox.is_used and all(note.get("tags") != tags for _, note in outbox.read()):
        outbox.note("tags", tags=tags)


def _close(output_dir: Path, states: Collection[Status], ending: Ending, job: int | None = None) -> bool:
    """Write how a run ended in the place of its own process, where its record says one of the states; return that."""
    record = read_result_of(output_dir)
    if record is None or record.status not in states or job not in (None, record.job_number):
        return False
    amend_result(output_dir, status=ending.status, kind=ending.kind, reason=ending.reason)
    outbox = Outbox(output_dir)
    if outbox.is_used:
        from sentiment.tracking.mlflow.recorder import note_end

        note_end(outbox, ending, is_job=True)
    return True
