"""Record a run in TensorBoard: curves while it runs, and a row of the table of hyper-parameters at the end."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from sentiment.config.run_context import RunContext
from sentiment.config.schema import Settings
from sentiment.errors import TrackingError, explaining
from sentiment.flat import flatten_model
from sentiment.tracking.ending import Ending
from sentiment.tracking.folder import FolderRecorder
from sentiment.tracking.params import flatten_settings
from sentiment.training.result import RunResult

EVENTS = "events.out.tfevents.*"

HELD = ".held"
"""How names of event files end while the folder holds another run (`FolderRecorder.is_held`)."""


class TensorBoardRecorder:
    """One folder of event files, ``<tensorboard_dir>/<run>`` or ``<tensorboard_dir>/<multirun>/<job>``.

    Of a run that lies elsewhere than in ``multirun/`` the name ends with a hash of the place.

    Raises:
        TrackingError: The folder cannot be written.
    """

    def __init__(self, context: RunContext, run: FolderRecorder) -> None:
        settings = context.settings
        folder = Path(settings.tracking.tensorboard_dir) / _name_folder(context)
        self._params = list_hyperparameters(settings)
        self._folder, self._run, self._goes_on = folder, run, run.goes_on
        remedy = "choose another folder with tracking.tensorboard_dir=FOLDER, or tracking=mlflow"
        with explaining(f"TensorBoard cannot record in {folder}", remedy, TrackingError):
            self._remove_held()  # of a run that was killed while the folder held another
            before = list(folder.glob(EVENTS))
            self._others = [] if run.goes_on else before
            is_first = not self._goes_on or not before
            self._writer = SummaryWriter(str(folder), filename_suffix=HELD if run.is_held else "")
            if not run.is_held:
                self._remove_others()
        self._writer.add_text("config", f"```yaml\n{context.resolved_yaml}\n```")
        self._writer.add_text("overrides", " ".join(context.overrides) or "none")
        for point in run.history if is_first else ():  # of attempts that were recorded elsewhere
            for name in point.keys() - {"step"}:
                self._writer.add_scalar(name, point[name], int(point["step"]))

    def _settle(self) -> None:
        """Remove what another run has left in the folder, once it is this run's, and put its own events there."""
        if self._run.is_held or not self._writer.filename_suffix:
            return
        self._remove_others()
        self._writer.close()  # it goes on in another file
        self._writer.filename_suffix = ""
        for file in self._folder.glob(f"{EVENTS}{HELD}"):
            file.rename(file.with_suffix(""))

    def _remove_others(self) -> None:
        for file in self._others:
            file.unlink(missing_ok=True)

    def _remove_held(self) -> None:
        for file in self._folder.glob(f"{EVENTS}{HELD}"):
            file.unlink(missing_ok=True)

    def describe(self, tags: Mapping[str, str]) -> None:
        """Show tags as text."""
        for name, value in tags.items():
            self._writer.add_text(name, value)

    def trained(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Add metrics; the writer has a thread and a buffer of its own."""
        if self._goes_on:  # from this step on, what an interrupted attempt measured counts no more
            self._goes_on = False
            self._writer.close()
            self._writer.purge_step = step
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.add_scalar("epoch", epoch, step)

    def validated(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Add metrics."""
        self._settle()
        self.trained(metrics, step=step, epoch=epoch)

    def tested(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Add metrics; the epoch of the selected checkpoint is not where the run stands."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def finished(self, result: RunResult) -> None:
        """Add the row of hyper-parameters with the selected checkpoint's metrics, under names of their own."""
        self._settle()
        metrics = {f"best/{name}": value for name, value in result.metrics.items()}
        self._writer.add_hparams(self._params, metrics, run_name=".")  # "." is this folder, not one beneath

    def close(self, ending: Ending) -> None:
        """Write what is buffered; a failure or a pruning leaves its reason as text."""
        if ending.reason is not None:
            self._writer.add_text("pruned" if ending.status == "PRUNED" else "failure", ending.reason)
        self._writer.close()
        if self._run.is_held:  # the run that the folder holds goes on as if this one had not been
            self._remove_held()


def list_hyperparameters(settings: Settings) -> dict[str, str | int | float]:
    """Return every setting of the run flat, numbers as numbers (a bool is an int), so that they can be plotted."""
    texts, values = flatten_settings(settings), flatten_model(settings)
    typed = {name: value if isinstance(value, (int, float)) else texts[name] for name, value in values.items()}
    return {name: value for name, value in typed.items() if not name.startswith("tracking.")}


def _name_folder(context: RunContext) -> Path:
    """Return the run's folder under `tensorboard_dir`: two runs never share one, wherever their own folders lie."""
    top = (context.sweep_dir or context.output_dir).resolve()
    project, name = context.project_dir.resolve(), top.name
    if top.parent != (project / "multirun").resolve():  # there, every name is given once
        place = top.relative_to(project) if top.is_relative_to(project) else top
        name = f"{name}-{hashlib.sha256(str(place).encode()).hexdigest()[:8]}"
    if context.sweep_dir is None:
        return Path(name)
    # The job's path may lead to the sweep's through a link, e.g. from multirun/ to a larger disk.
    return Path(name) / context.output_dir.resolve().relative_to(top)
