"""What is printed when a run ends: its metrics, its folder, and the commands that come next."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from pathlib import Path

from sentiment.config.objective import METRICS, list_objectives, select_objective
from sentiment.errors import TrackingError
from sentiment.format import format_duration, format_metric, format_number
from sentiment.paths import find_files
from sentiment.tracking import runs as stored_runs
from sentiment.tracking.result_file import FINGERPRINT_TAG, RESULT_FILE, ResultRecord, read_result

LOOKED_AT = 100
"""Earlier runs among which the last comparable one is looked for."""


def write_summary(record: ResultRecord, folder: Path, *, is_result: bool = True) -> list[str]:
    """Return the last lines of a finished run; after one that was a try alone, no command goes on from it."""
    name = name_folder(folder)
    run = (
        [f"MLflow      run {record.run_id} of {record.params['tracking.experiment']}: mlflow ui"]
        if record.run_id
        else []
    )
    commands = list(_list_commands(record, folder, name)) if is_result else []
    return [
        "",
        f"{write_selection(record)}; {record.parameters or 0:,} parameters, {format_duration(record.seconds or 0.0)}",
        *_write_metrics(record),
        f"Folder      {folder}",
        *run,
        *(f"{'Next' if index == 0 else '':<12}{command}" for index, command in enumerate(commands)),
    ]


def write_selection(record: ResultRecord) -> str:
    """Return which checkpoint was selected, and by what."""
    objective = select_objective(list_objectives(record.params["objective"]))
    best, epochs = (format_number(math.nan if one is None else one) for one in (record.best_epoch, record.epochs))
    return f"Selected: epoch {best} of {epochs} by {objective}"


def name_run(record: ResultRecord, folder: Path) -> str:
    """Return what a run is called in commands: as its folder, but the path where its number would be taken for another.

    That of a trial, whose jobs have others; see `is_numbered_otherwise`.
    """
    return str(folder) if stored_runs.is_numbered_otherwise(record) else name_folder(folder)


def name_folder(folder: Path) -> str:
    """Return what the folder of a run or sweep is called in commands: its name under ``multirun/``, or its path."""
    root = stored_runs.MULTIRUN_DIR
    return str(folder.relative_to(root) if folder.is_relative_to(root) else folder)


def _write_metrics(record: ResultRecord) -> Iterator[str]:
    measures = {name.rpartition("/")[2] for name in record.metrics if name.startswith(("val/", "test/"))}
    ordered = [name for name in METRICS if name in measures] + sorted(measures - {*METRICS})
    cells = [["", *ordered]]
    for prefix, split in (("val/", "validation"), ("test/", "test")):
        values = {name: record.metrics.get(f"{prefix}{name}") for name in ordered}
        if any(value is not None for value in values.values()):
            cells.append(
                [split, *("-" if value is None else format_metric(name, value) for name, value in values.items())]
            )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for first, *others in cells:
        yield "  ".join(
            [f"{first:<{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True))]
        )


def _list_commands(record: ResultRecord, folder: Path, name: str) -> Iterator[str]:
    yield shlex.join(["python", "-m", "sentiment", "errors", name])
    yield shlex.join(["python", "-m", "sentiment", "predict", "--model", name]) + ' "Not a dull moment."'
    # Without their tests, one run each allows no conclusion.
    other = None if record.test_reviews is None else find_comparable(record, folder)
    if other is not None:
        yield shlex.join(["python", "-m", "sentiment", "compare", name, other])


def find_comparable(record: ResultRecord, folder: Path) -> str | None:
    """Return what commands call the run that ended last on the same data, tested as this one was; None without one."""
    files = sorted(find_files(stored_runs.MULTIRUN_DIR, RESULT_FILE), key=lambda file: -file.stat().st_mtime)
    for file in [file for file in files if file.parent != folder][:LOOKED_AT]:
        try:
            other = read_result(file)
        except TrackingError:
            continue  # a damaged record of another run is no matter here
        is_same = other.tags.get(FINGERPRINT_TAG) == record.tags.get(FINGERPRINT_TAG)
        if other.status == "FINISHED" and is_same and (other.test_reviews is None) == (record.test_reviews is None):
            return name_run(other, file.parent)
    return None
