"""Record a run in its own folder: ``result.json``, test predictions, confusion matrix."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sentiment.atomic import replacing
from sentiment.config.run_context import RunContext
from sentiment.errors import Reached
from sentiment.format import format_percent, write_csv_cell
from sentiment.picture import write_figure
from sentiment.tracking.ending import FINAL, Ending
from sentiment.tracking.environment import describe_environment
from sentiment.tracking.outbox import Outbox
from sentiment.tracking.params import flatten_settings
from sentiment.tracking.result_file import (
    ADOPTED_TAG,
    BEHIND_NAMES,
    EARLIER_COMMITS_TAG,
    EPOCHS,
    FINGERPRINT_TAG,
    TRAINED_ON_TAG,
    ResultRecord,
    list_commits,
    read_left,
    refuse_overwriting,
    write_result,
)
from sentiment.tracking.run_name import name_recorded
from sentiment.training.result import RunResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PREDICTIONS_FILE = "predictions/test.npz"

LARGEST_ANNOTATED = 20
"""With more classes K the numbers would not be readable; the CSV has them."""

READ_TAGS = (FINGERPRINT_TAG, *BEHIND_NAMES)
"""Tags of what a run reads; one that goes on has read the same before."""


class FolderRecorder:
    """Keeps the folder up to date after every validation, so that a killed run still shows how far it came.

    Attributes:
        earlier: What an interrupted attempt at the same run left in the folder; None where this is the first.
        goes_on: There is something in the folder that the run may go on from.
        is_copy: The folder of that attempt is another one, of which this one is a copy: the run in MLflow is not its.
        inherited: Tags that the run has from what it goes on from; none where it begins anew.
        is_held: The folder keeps the record of a run that can go on: nothing is written before this one has trained a
            whole epoch, and what ends it before leaves no trace.

    Raises:
        TrackingError: The folder holds a finished run or a damaged record, or cannot be written.
    """

    def __init__(self, context: RunContext, *, is_inner: bool = False) -> None:
        settings, params = context.settings, flatten_settings(context.settings)
        code = describe_environment(context.project_dir)
        self._folder = context.output_dir
        is_typed = context.job_number is None and not is_inner
        before, is_shorter, self.is_held = read_left(context.output_dir, params, is_typed=is_typed)
        # One that trains on has a run of its own in MLflow, where parameters are written once.
        self.earlier = earlier = None if is_shorter else before
        self.inherited = {} if before is None else _inherit(before, params, code["git.commit"])
        self.goes_on = before is not None
        # A finished run in the folder is gone on from, or not replaced at all.
        self._kept = before if before is not None and before.status in FINAL else None
        self._read = {} if before is None else {tag: text for tag, text in before.tags.items() if tag in READ_TAGS}
        uri = None if earlier is None else earlier.params.get("tracking.uri")
        is_copy = Outbox(context.output_dir).is_copy
        self.is_copy = earlier is not None and (is_copy or ADOPTED_TAG in earlier.tags)
        is_same_store = settings.tracking.mlflow and uri == params["tracking.uri"] and not self.is_copy
        self._record = ResultRecord(
            name=name_recorded(context),
            model=settings.model.name,
            status="RUNNING",
            started=earlier.started if earlier else datetime.now(timezone.utc).isoformat(timespec="seconds"),
            run_id=earlier.run_id if earlier and is_same_store else None,
            history=before.history if before else (),
            overrides=context.overrides,
            params=params,
            job_number=context.job_number,
            tags={**code, **self._read},
        )
        self._write()

    @property
    def history(self) -> tuple[Mapping[str, float], ...]:
        """Every validation of the run, those of attempts before this one included."""
        return self._record.history

    @property
    def run_id(self) -> str | None:
        """The MLflow run that the attempts before this one had in the same store."""
        return self._record.run_id

    def describe(self, tags: Mapping[str, str]) -> None:
        """Note tags; what was validated on other data is no part of the run's history.

        Raises:
            TrackingError: So it is with a finished run, which would be overwritten.
        """
        if self.is_of_other_data(tags):
            self._begin_anew("what it reads has changed since")
            self._record = replace(self._record, run_id=None)
        self._record = replace(self._record, tags={**self._record.tags, **tags})
        self._write()  # whatever ends it before the first validation, the next attempt sees what this one read

    def is_of_other_data(self, tags: Mapping[str, str]) -> bool:
        """Whether tags say that what is read has changed since an interrupted attempt, which is begun anew then."""
        return any(tags.get(tag, text) != text for tag, text in self._read.items())

    def _begin_anew(self, why: str = "the warning says what is wrong with its checkpoint") -> None:
        if self._kept is not None:
            raise refuse_overwriting(self._folder, self._kept, why)
        self._record, self.inherited = replace(self._record, history=()), {}

    def saved(self, *, epoch: float) -> None:
        """Take it that the run goes on.

        It may go on from a checkpoint whose record is lost: then nobody knows by which code it was trained so far. (The
        study tells that of its jobs, and a copy in a population has the record of its origin.)
        """
        is_alone = not self.goes_on and self._record.job_number is None
        is_unknown = is_alone and epoch > 0 and not self._record.history
        if is_unknown:
            self._record = replace(self._record, tags={**self._record.tags, EARLIER_COMMITS_TAG: "unknown"})
            self._write()
        self._kept = None

    def trained(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Leave training metrics to the trackers: they are too many for a file that is rewritten.

        Raises:
            TrackingError: The run began anew, in the folder of a finished one.
        """
        if self._kept is not None:
            self._begin_anew()

    def validated(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Add a validation to the history; one that an interrupted attempt made from here on is made again.

        After the first whole epoch the folder is this run's: its checkpoint is next.

        Raises:
            TrackingError: The run began anew, in the folder of a finished one.
        """
        self.trained(metrics, step=step, epoch=epoch)
        kept = [point for point in self._record.history if point["step"] < step]
        if not kept:
            self._begin_anew()
        point = {"step": step, "epoch": epoch, **metrics}
        self._record = replace(self._record, history=(*kept, point))
        self.is_held = self.is_held and epoch % 1 != 0
        self._write()

    def tested(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Nothing yet: the run's result holds the test metrics."""

    def finished(self, result: RunResult) -> None:
        """Write the result; where the run was tested, predictions and confusion matrix too."""
        self.is_held = False
        if result.test is not None:
            write_confusion(self._folder, result.test.confusion(), result.class_names)
            write_predictions(self._folder / PREDICTIONS_FILE, result)
            self._record = replace(self._record, test_reviews=len(result.test.labels))
        self._note(result)
        self._write()

    def close(self, ending: Ending) -> None:
        """Write how the run ended; a pruned one keeps what it reached."""
        if ending.reached is not None:
            self._note(ending.reached)
        self._record = replace(self._record, status=ending.status, kind=ending.kind, reason=ending.reason)
        self._write()

    def _note(self, reached: Reached) -> None:
        self._record = replace(
            self._record,
            metrics=dict(reached.metrics),
            parameters=reached.parameters,
            seconds=reached.seconds,
            epochs=reached.epochs,
            best_epoch=reached.best_epoch,
        )

    def _write(self) -> None:
        if not self.is_held:
            write_result(self._folder, replace(self._record, tags={**self._record.tags, **self.inherited}))


def _inherit(before: ResultRecord, params: Mapping[str, str], commit: str) -> dict[str, str]:
    """Return the tags that a run has from what it goes on from: an interrupted attempt, or a run of fewer epochs."""
    done = before.epochs or max((point["epoch"] for point in before.history), default=0)  # it may have stopped early
    whole = None if before.params.get(EPOCHS) == params.get(EPOCHS) else f"{int(done)}"
    epochs = [before.tags.get(TRAINED_ON_TAG), whole]
    commits = [one for one in dict.fromkeys(list_commits(before)) if one != commit]
    tags = {TRAINED_ON_TAG: ", ".join(filter(None, epochs)), EARLIER_COMMITS_TAG: ", ".join(commits)}
    changed = {"git.dirty": "true"} if before.tags.get("git.dirty") == "true" else {}
    return {name: text for name, text in tags.items() if text} | changed


def write_predictions(file: Path, result: RunResult) -> None:
    """Write ``labels`` (N,), ``probabilities`` (N, K) and ``class_names`` (K,), so that runs can be compared in pairs.

    The arrays are plain numbers and text: ``numpy.load`` reads them without pickle.
    """
    assert result.test is not None
    with replacing(file) as unfinished, unfinished.open("wb") as stream:
        np.savez_compressed(
            stream,
            labels=result.test.labels,
            probabilities=result.test.probabilities,
            class_names=np.array(result.class_names, dtype=np.str_),
        )


def write_confusion(folder: Path, counts: npt.NDArray[np.int64], class_names: Sequence[str]) -> None:
    """Write ``confusion_matrix.png`` and ``confusion_matrix.csv``; (K, K) counts, rows are true classes."""
    write_figure(draw_confusion(counts, class_names), folder / "confusion_matrix.png", 150)
    with replacing(folder / "confusion_matrix.csv") as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["true \\ predicted", *map(write_csv_cell, class_names)])
        writer.writerows([write_csv_cell(name), *row] for name, row in zip(class_names, counts.tolist(), strict=True))


def draw_confusion(counts: npt.NDArray[np.int64], class_names: Sequence[str]) -> Figure:
    """Draw the (K, K) counts; colour is the share of the true class, so classes of any size compare."""
    from matplotlib.figure import Figure  # no pyplot: nothing global, no window system; it takes a second to import

    classes = len(class_names)
    reviews = counts.sum(axis=1, keepdims=True)  # (K, 1)
    shares = np.divide(counts, reviews, out=np.full(counts.shape, np.nan), where=reviews > 0)  # (K, K)
    side = 2.6 + 0.8 * min(classes, 14)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(classes)
    axes.set_xticks(ticks, class_names, rotation=0 if classes <= 3 else 45, ha="center" if classes <= 3 else "right")
    axes.set_yticks(ticks, class_names)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    correct, total = int(np.trace(counts)), int(counts.sum())
    axes.set_title(f"{correct:,} of {total:,} right ({format_percent(correct / max(total, 1))})", fontsize=11)
    for row in ticks if classes <= LARGEST_ANNOTATED else ():
        for column in ticks:
            ink = "white" if shares[row, column] > 0.55 else "#1a1a1a"
            text = f"{counts[row, column]:,}\n{format_percent(shares[row, column])}"
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=11 if classes <= 6 else 7)
    figure.colorbar(image, ax=axes, shrink=0.8, format="{x:.0%}", label="share of the true class")
    return figure
