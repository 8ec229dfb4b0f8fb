"""Record one run wherever the configuration says: its folder always, MLflow and TensorBoard as chosen."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from sentiment.config.schema import Settings
from sentiment.tracking.ending import FINISHED, Ending, ending_of
from sentiment.tracking.flatten import flatten
from sentiment.tracking.folder import FolderRecorder
from sentiment.tracking.result_file import read_unfinished
from sentiment.tracking.run_context import RunContext
from sentiment.training.reporter import Reporter, Reporters
from sentiment.training.result import RunResult

__all__ = ["Recorder", "Recorders", "RunContext", "open_recorder"]

log = logging.getLogger(__name__)


class Recorder(Reporter, Protocol):
    """A reporter that also learns what a run is made of and how it ends."""

    def describe(self, tags: Mapping[str, str]) -> None:
        """Take tags that are known only once data is read, e.g. ``data.fingerprint`` and ``device``."""

    def finished(self, result: RunResult) -> None:
        """Take what the run leaves behind, once, when it went well."""

    def close(self, ending: Ending) -> None:
        """Take the ending and let go of files and connections; the last call."""


class Recorders(Reporters):
    """Pass everything on to several recorders, in order."""

    def __init__(self) -> None:
        super().__init__(())
        self._recorders: list[Recorder] = []

    def add(self, recorder: Recorder) -> None:
        """Pass everything from now on to this recorder too."""
        self._recorders.append(recorder)
        self.reporters = tuple(self._recorders)

    def describe(self, tags: Mapping[str, str]) -> None:
        """Pass on tags."""
        for recorder in self._recorders:
            recorder.describe(tags)

    def finished(self, result: RunResult) -> None:
        """Pass on the result."""
        for recorder in self._recorders:
            recorder.finished(result)

    def close(self, ending: Ending) -> None:
        """Close in reverse order: the folder, added first, has the last word."""
        while self._recorders:
            self._recorders[-1].close(ending)
            self._recorders.pop()

    def close_after(self, error: BaseException) -> None:
        """Close after a failure; whatever fails now is logged, so that the first error is the one people see."""
        ending = ending_of(error)
        while self._recorders:
            recorder = self._recorders.pop()
            try:
                recorder.close(ending)
            except Exception:
                log.exception("%s could not record that the run ended: %s", type(recorder).__name__, ending.reason)


@contextmanager
def open_recorder(settings: Settings, context: RunContext) -> Iterator[Recorder]:
    """Record a run for as long as the ``with`` block lasts.

    Leaving the block marks the run FINISHED; an exception marks it FAILED, an interruption (Ctrl-C, SystemExit)
    KILLED, the end that a search decided PRUNED, with the reason, and goes on to the caller. An interrupted run that
    is started again in its folder goes on in the same records.

    Raises:
        TrackingError: A store cannot be opened or written, or the folder holds a finished run.
    """
    recorders = Recorders()
    try:
        _open_all(recorders, settings, context)
        yield recorders
        recorders.close(FINISHED)
    except BaseException as error:
        recorders.close_after(error)
        raise


def _open_all(recorders: Recorders, settings: Settings, context: RunContext) -> None:
    earlier = read_unfinished(context.output_dir, flatten(settings))
    folder = FolderRecorder(settings, context, earlier)
    recorders.add(folder)
    if settings.tracking.tensorboard:  # torch and mlflow take seconds to import: only where they are used
        from sentiment.tracking.tensorboard import TensorBoardRecorder

        recorders.add(TensorBoardRecorder(settings, context))
    if settings.tracking.mlflow:
        from sentiment.tracking.mlflow.recorder import MlflowRecorder

        recorders.add(MlflowRecorder(settings, context, earlier, folder.link))
