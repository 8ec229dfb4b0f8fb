"""A sweep whose folder is elsewhere, read from MLflow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sentiment.errors import Reached, TrackingError
from sentiment.report.sweep.collect import collect_parent
from sentiment.tracking.ending import FINISHED, Ending
from sentiment.tracking.folder import FolderRecorder
from sentiment.tracking.mlflow.parent import start_sweep
from sentiment.tracking.mlflow.read import read_child_records, read_parent_run
from sentiment.tracking.mlflow.recorder import MlflowRecorder


@pytest.fixture
def parent(project, result, monkeypatch):
    """A parent with three jobs: one finished, one pruned, one failed."""
    monkeypatch.setattr("sys.argv", ["run.py", "-m", "model.heads=1,2,4"])
    started = start_sweep(
        uri=project.uri, experiment="sentiment", artifact_dir=f"{project.folder}/mlartifacts",
        sweep_dir=project.sweep_dir, project_dir=project.folder, overrides=["model.heads=1,2,4"], base_yaml="",
    )  # fmt: skip
    endings = [
        FINISHED,
        Ending("PRUNED", reason="pruned at step 1", reached=Reached({"val/accuracy": 0.6}, 1.0, 0.5, 3.0, 99)),
        Ending("FAILED", "out_of_memory", "no memory left", "Traceback"),
    ]
    for number, ending in enumerate(endings):
        overrides = (f"model.heads={2**number}", "tracking.experiment=sentiment")
        context = project.context(project.settings(*overrides), *overrides, job_number=number)
        recorder = MlflowRecorder(context, FolderRecorder(context))
        recorder.describe({"data.fingerprint": "f1"})
        for step, accuracy in enumerate([0.6, 0.8]):
            recorder.validated({"val/accuracy": accuracy, "val/loss": 0.5}, step=step, epoch=(step + 1) / 2)
        if ending is FINISHED:
            recorder.finished(replace(result, test=None, metrics={**result.metrics, "time/latency_ms": 1.5}))
        recorder.close(ending)
    return started


def test_the_children_become_records(project, parent):
    finished, pruned, failed = read_child_records(project.uri, parent.run_id)
    assert [record.job_number for record in (finished, pruned, failed)] == [0, 1, 2]
    assert (finished.status, finished.model, finished.parameters, finished.seconds) == (
        "FINISHED", "transformer", 1234, 5.5,
    )  # fmt: skip
    assert finished.metrics == {"val/accuracy": 0.8, "val/loss": 0.5, "time/latency_ms": 1.5}
    assert finished.history == (
        {"step": 0, "epoch": 0.5, "val/accuracy": 0.6, "val/loss": 0.5},
        {"step": 1, "epoch": 1.0, "val/accuracy": 0.8, "val/loss": 0.5},
    )
    assert finished.overrides == ("model.heads=1", "tracking.experiment=sentiment")
    assert finished.params["model.heads"] == "1"
    assert finished.tags["data.fingerprint"] == "f1"
    assert (pruned.status, pruned.reason, pruned.metrics) == ("PRUNED", "pruned at step 1", {"val/accuracy": 0.6})
    assert (failed.status, failed.kind, failed.reason) == ("FAILED", "out_of_memory", "no memory left")
    assert failed.metrics == {}


def test_a_report_needs_no_folder(project, parent):
    table = collect_parent(parent.run_id, project.uri)
    assert [(row.number, row.state, row.parameters) for row in table.rows] == [
        (0, "complete", {"model.heads": 1}), (1, "pruned", {"model.heads": 2}), (2, "failed", {"model.heads": 4}),
    ]  # fmt: skip
    assert table.command == "python run.py -m model.heads=1,2,4"
    assert table.best_command == "python run.py model.heads=1 tracking.experiment=sentiment"


def test_an_unknown_parent_is_named(project):
    with pytest.raises(TrackingError, match=r"no run 0123.*\n.*copy the id"):
        read_parent_run(project.uri, "0123" * 8)
