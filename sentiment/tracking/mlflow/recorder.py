"""Record a run in MLflow: all that it is to have is noted in the run's folder, and delivered beside the training.

Nothing here imports mlflow, which takes seconds: a job of a sweep only notes, the sweep's command delivers.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import time
import uuid
from collections.abc import Iterable, Mapping

from sentiment.config.home import read_portable, write_portable
from sentiment.config.run_context import RunContext
from sentiment.errors import Reached
from sentiment.tracking.ending import Ending, ending_to_json
from sentiment.tracking.environment import describe_environment
from sentiment.tracking.folder import PREDICTIONS_FILE, FolderRecorder
from sentiment.tracking.outbox import Outbox, Point, hash_file, tell_other_store, write_folder, write_uri
from sentiment.tracking.params import flatten_settings
from sentiment.tracking.parent_file import PARENT_TAG, read_parent
from sentiment.tracking.run_name import name_recorded
from sentiment.training.result import RunResult

log = logging.getLogger(__name__)

NOTE_SECONDS = 2.0
"""Longest time that training metrics wait to be noted."""

OTHER_DATA = "interrupted; its data has changed since, so that the run in its folder is another one"

OF_THE_WHOLE = ("best/", "model/", "test/")
"""How metrics begin that are of a run as a whole: those of its last attempt count."""


class MlflowRecorder:
    """One MLflow run.

    An interrupted run is taken up again. What its attempts have in common, the steps after the checkpoint it goes on
    from, is recorded once; where it measures something else there, as after a change of the code, that is added. Where
    its data has changed, or its folder is a copy of another one, it is another run. As long as the folder keeps the
    record of a run that can go on, there is none (`FolderRecorder.is_held`).
    """

    def __init__(self, context: RunContext, folder: FolderRecorder) -> None:
        self._settings, self._context, self._folder = context.settings, context, folder
        self._outbox = Outbox(context.output_dir, is_held=folder.is_held)
        self._waiting: list[Point] = []  # training metrics not yet noted
        self._test: list[Point] = []  # for the logged model
        self._noted_at = time.monotonic()
        before = {} if folder.earlier is None else folder.earlier.params
        if before.get("tracking.mlflow") == "true":
            tell_other_store(read_portable(before["tracking.uri"]), self._settings.tracking.uri)
        self._is_whole = False  # earlier attempts may have been recorded elsewhere
        if folder.is_copy:
            log.info("%s is a copy, whose original has its run in MLflow: this one gets another.", context.output_dir)
        key, self._known = self._read_attempts(is_same=folder.earlier is not None and not folder.is_copy)
        self._note_start(key, folder.run_id)

    def _note_start(self, key: str, run_id: str | None) -> None:
        context, tracking = self._context, self._settings.tracking
        self._outbox.note(
            "start",
            key=key,
            run_id=run_id,
            uri=write_uri(tracking.uri),
            folder=write_folder(context.output_dir, tracking.uri),
            experiment=tracking.experiment,
            artifact_dir=write_portable(tracking.artifact_dir),
            name=name_recorded(context),
            first_tags=self._first_tags(),
            params=flatten_settings(self._settings),
            tags=dict(describe_environment(context.project_dir)),
            overrides=list(context.overrides),
            resolved_yaml=context.resolved_yaml,
        )

    def describe(self, tags: Mapping[str, str]) -> None:
        """Note tags."""
        if self._known and self._folder.is_of_other_data(tags):
            note_end(self._outbox, Ending("KILLED", reason=OTHER_DATA), is_job=self._context.job_number is not None)
            self._known = set()
            self._note_start(uuid.uuid4().hex, None)
        self._outbox.note("tags", tags=dict(tags))

    def trained(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Buffer training metrics; note them every few seconds."""
        self._waiting += self._new(_points({**metrics, "epoch": epoch}, step))
        if time.monotonic() - self._noted_at >= NOTE_SECONDS:
            self._note_points()

    def validated(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Note metrics of a validation, and the training metrics before them."""
        self._follow_folder()
        self._add_earlier(step)
        self._waiting += self._new(_points({"epoch": epoch, **metrics}, step))
        self._note_points()

    def _follow_folder(self) -> None:
        """Let go of what was noted so far once the folder holds this run."""
        if not self._folder.is_held:
            self._outbox.release()

    def _add_earlier(self, step: float) -> None:
        """Add the validations before a step that attempts made which were recorded elsewhere, or nowhere but here."""
        if self._is_whole:
            return
        self._is_whole = True
        for point in self._folder.history:
            if point["step"] < step:
                metrics = {name: value for name, value in point.items() if name != "step"}
                self._waiting += self._new(_points(metrics, int(point["step"])))

    def tested(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Note metrics of the test; the epoch of the selected checkpoint is not where the run stands."""
        self._test = _points(metrics, step)
        self._waiting += self._new(self._test)
        self._note_points()

    def finished(self, result: RunResult) -> None:
        """Note what the run leaves behind: summary metrics, pictures, predictions, the model."""
        self._follow_folder()
        self._add_earlier(math.inf)
        self._summarise(result)
        self._note_points()
        if result.test is not None:
            files = {"confusion_matrix.png": None, "confusion_matrix.csv": None, PREDICTIONS_FILE: "predictions"}
            self._outbox.note("files", files=files, digests=self._hash(files))
        if self._settings.tracking.log_model:
            bundle = os.path.relpath(result.bundle, self._context.output_dir)
            points = [*self._find_selected(result.best_epoch), *self._test]
            names = list(result.class_names)
            self._outbox.note("model", bundle=bundle, class_names=names, points=points, digests=self._hash([bundle]))

    def _hash(self, names: Iterable[str]) -> dict[str, str | None]:
        return {name: hash_file(self._context.output_dir / name) for name in names}

    def _find_selected(self, epoch: float) -> list[Point]:
        """Find the noted points of a validation, whichever attempt made it: MLflow links those that it has already."""
        wanted = {
            (name, repr(float(value)), point["step"])
            for point in self._folder.history
            for name, value in point.items()
            if point["epoch"] == epoch and name != "epoch"
        }
        notes = [note for _, note in self._outbox.read() if note["kind"] == "metrics"]
        noted = {_name(one): one for note in notes for one in note["points"]}
        return [point for key, point in noted.items() if key in wanted]

    def close(self, ending: Ending) -> None:
        """Note what is still waiting, and how the run ended."""
        if ending.reached is not None:
            self._summarise(ending.reached)
        self._note_points()
        if self._folder.inherited:  # now it is known whether the run went on or began anew
            self._outbox.note("tags", tags=self._folder.inherited)
        note_end(self._outbox, ending, is_job=self._context.job_number is not None)

    def _read_attempts(self, *, is_same: bool) -> tuple[str, set[tuple[str, str, int]]]:
        """Return the key of the run in its store, and all points that earlier attempts at it noted."""
        notes = [note for _, note in self._outbox.read()] if is_same else []
        starts = [(place, note) for place, note in enumerate(notes) if note["kind"] == "start"]
        if not starts or starts[-1][1]["uri"] != write_uri(self._settings.tracking.uri):
            return uuid.uuid4().hex, set()
        key = starts[-1][1]["key"]
        first = next(place for place, start in starts if start["key"] == key)  # before it, the folder was another's
        points = [point for note in notes[first:] if note["kind"] == "metrics" for point in note["points"]]
        return key, {_name(point) for point in points if not point[0].startswith(OF_THE_WHOLE)}

    def _first_tags(self) -> dict[str, str]:
        tags = {"mlflow.source.name": sys.argv[0], "mlflow.source.type": "LOCAL"}
        if self._context.job_number is not None:
            tags["job"] = str(self._context.job_number)
        if self._context.sweep_dir is None:
            return tags
        parent, uri = read_parent(self._context.sweep_dir), self._settings.tracking.uri
        if parent is not None and write_uri(parent.uri) == write_uri(uri):
            return {**tags, PARENT_TAG: parent.run_id}
        log.warning("No parent run of this multirun is recorded in %s: this run stands alone.", write_uri(uri))
        return tags

    def _new(self, points: list[Point]) -> list[Point]:
        return [point for point in points if _name(point) not in self._known]

    def _note_points(self) -> None:
        if self._waiting:
            self._outbox.note("metrics", points=self._waiting)
        self._waiting, self._noted_at = [], time.monotonic()

    def _summarise(self, reached: Reached) -> None:
        """Add what stands for the run as a whole; test metrics have their own points."""
        summary = {"best/epoch": reached.best_epoch, "model/parameters": reached.parameters}
        summary["time/fit_seconds"] = reached.seconds
        # MLflow shows the last value of a metric, but the selected checkpoint may be an earlier one.
        summary |= {f"best/{name}": value for name, value in reached.metrics.items() if name.startswith("val/")}
        summary |= {name: value for name, value in reached.metrics.items() if name.startswith("time/")}
        self._waiting += _points(summary, 0)


def _name(point: Point) -> tuple[str, str, int]:
    """Return what makes two points one, whenever they were noted; a NaN equals no other, but by its name."""
    return point[0], repr(float(point[1])), point[3]


def note_end(outbox: Outbox, ending: Ending, *, is_job: bool) -> None:
    """Note how a run ended."""
    outbox.note("end", ending=ending_to_json(ending), is_job=is_job)


def _points(metrics: Mapping[str, float], step: int) -> list[Point]:
    now = int(time.time() * 1000)
    return [(name, float(value), now, step) for name, value in metrics.items()]
