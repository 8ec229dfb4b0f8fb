"""The parent run of a sweep, as its folder knows it: ``parent_run.json``, and what MLflow is to have of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sentiment.config.home import read_portable
from sentiment.errors import TrackingError, explaining
from sentiment.json_file import read_dataclass
from sentiment.tracking.ending import Ending, ending_to_json
from sentiment.tracking.outbox import Outbox
from sentiment.tracking.result_file import PARENT_FILE

MODEL_TRAINING = "workflowType=machine_learning"
"""What an address of MLflow's pages says to open on model training; without it, they open on generative AI."""

NOTE_TAG = "mlflow.note.content"
"""What MLflow shows as a run's description, in Markdown: that of a sweep tells how it ended."""

VIEW_TAG = "mlflow.sharedViewState"
"""The view of a sweep's runs, as JSON: noted with its tags, and kept by the experiment under the parent's id."""

PARENT_TAG = "mlflow.parentRunId"
"""Tag by which MLflow shows a run below its parent."""


@dataclass(frozen=True)
class Parent:
    """What ``parent_run.json`` says, so that jobs find their parent from any process."""

    uri: str  # tracking URI of the store
    experiment_id: str  # experiment of the parent and of its children
    run_id: str  # the parent run
    # Folder of the sweep, as `write_folder` writes it; None: an earlier version wrote the file.
    folder: str | None = None


def read_parent(sweep_dir: Path) -> Parent | None:
    """Read who the parent is; None where the multirun has none.

    Raises:
        TrackingError: The file is damaged.
    """
    file = sweep_dir / PARENT_FILE
    if not file.exists():
        return None
    remedy = "remove it: the multirun then gets a new parent run"
    with explaining(f"{file} cannot be read", remedy, TrackingError, (OSError, ValueError, TypeError)):
        parent = read_dataclass(Parent, file)
        return replace(parent, uri=read_portable(parent.uri))


def note_standing(sweep_dir: Path, tags: Mapping[str, str], metrics: Mapping[str, float]) -> None:
    """Note how the sweep stands.

    Raises:
        TrackingError: The folder cannot be written.
    """
    Outbox(sweep_dir).note("standing", tags=dict(tags), metrics=dict(metrics))


def note_sweep_end(
    sweep_dir: Path, ending: Ending, files: Sequence[Path] = (), texts: Mapping[str, str] | None = None
) -> None:
    """Note how the sweep ended, with its files and folders, and texts by the names of their artifacts.

    Raises:
        TrackingError: The folder cannot be written.
    """
    names = [os.path.relpath(file, sweep_dir) for file in files]
    Outbox(sweep_dir).note("sweep_end", ending=ending_to_json(ending), files=names, texts=dict(texts or {}))
