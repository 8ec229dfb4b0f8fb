"""What a run leaves in TensorBoard."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer import event_file_writer

from sentiment.errors import TrackingError
from sentiment.tracking.ending import Ending
from sentiment.tracking.folder import FolderRecorder
from sentiment.tracking.recorder import open_recorder
from sentiment.tracking.tensorboard import TensorBoardRecorder, list_hyperparameters

TENSORBOARD = ("tracking.mlflow=false", "tracking.tensorboard=true")


@pytest.fixture(autouse=True)
def _seconds(monkeypatch):
    """Event files are read in the order of the seconds in which they begin: here each begins in another one."""
    seconds = itertools.count(int(time.time()))
    monkeypatch.setattr(event_file_writer, "time", SimpleNamespace(time=lambda: float(next(seconds))))


def read_events(folder):
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return events


def test_train_and_test_metrics_against_step_and_a_row_of_hyperparameters(project, result):
    settings = project.settings(*TENSORBOARD, "model.heads=2")
    with open_recorder(project.context(settings, "model.heads=2")) as recorder:
        recorder.describe({"device": "cpu"})
        for step in (1, 2):
            recorder.trained({"train/loss": 1 / step}, step=step, epoch=step / 2)
        recorder.validated({"val/accuracy": 0.5}, step=2, epoch=1.0)
        recorder.tested({"test/accuracy": 0.75}, step=2, epoch=0.5)
        recorder.finished(result)
    folder = project.folder / "multirun/tensorboard/single"
    events = read_events(folder)
    scalars = {
        name: [(point.step, point.value) for point in events.Scalars(name)]
        for name in ("train/loss", "val/accuracy", "test/accuracy")
    }
    assert scalars == {"train/loss": [(1, 1.0), (2, 0.5)], "val/accuracy": [(2, 0.5)], "test/accuracy": [(2, 0.75)]}
    assert [point.value for point in events.Scalars("epoch")] == [0.5, 1.0, 1.0]
    assert events.Scalars("best/val/accuracy")[0].value == pytest.approx(0.8)
    hyperparameters = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"model.heads" in hyperparameters
    assert [path for path in folder.iterdir() if path.is_dir()] == []  # no run beside the run


def test_a_job_of_a_multirun_has_its_own_folder_and_a_failure_its_reason(project):
    with (
        pytest.raises(ValueError, match="broken"),
        open_recorder(project.context(project.settings(*TENSORBOARD), job_number=3)),
    ):
        raise ValueError("broken")
    events = read_events(project.folder / "multirun/tensorboard/sweep/3")
    assert "ValueError: broken" in str(events.Tensors("failure/text_summary"))


def test_a_job_is_at_home_in_its_sweep_also_through_a_link(project):
    context = project.context(project.settings(*TENSORBOARD), job_number=3)
    disk = project.folder / "disk"
    disk.mkdir()
    (project.folder / "multirun").symlink_to(disk)
    with open_recorder(replace(context, sweep_dir=(disk / "sweep").resolve())) as recorder:
        recorder.validated({"val/accuracy": 0.5}, step=2, epoch=1.0)
    assert read_events(project.folder / "multirun/tensorboard/sweep/3").Scalars("val/accuracy")[0].value == 0.5


@pytest.mark.parametrize("job_number", [None, 3])
def test_runs_of_equal_names_in_other_places_have_folders_of_their_own(project, job_number):
    context = project.context(project.settings(*TENSORBOARD), job_number=job_number)
    for value, place in enumerate(["a", "b"]):
        top = project.folder / place / "same"
        there = (
            replace(context, output_dir=top)
            if job_number is None
            else replace(context, sweep_dir=top, output_dir=top / "3")
        )
        with open_recorder(there) as recorder:
            recorder.validated({"val/accuracy": value / 4}, step=2 + value, epoch=1.0)
    folders = sorted({file.parent for file in (project.folder / "multirun/tensorboard").rglob("events*")})
    curves = [[point.value for point in read_events(folder).Scalars("val/accuracy")] for folder in folders]
    assert sorted(curves) == [[0.0], [0.25]]
    assert all("same-" in str(folder) for folder in folders)


def test_a_folder_that_cannot_be_made_is_told(project):
    (project.folder / "multirun").mkdir()
    (project.folder / "multirun/tensorboard").touch()
    with (
        pytest.raises(TrackingError, match=r"tracking\.tensorboard_dir="),
        open_recorder(project.context(project.settings(*TENSORBOARD))),
    ):
        pytest.fail("the block must not be entered")


def test_numbers_stay_numbers_where_they_are_plotted(project):
    typed = list_hyperparameters(project.settings("optimizer.lr=3e-4", "trainer.patience=null"))
    assert typed["optimizer.lr"] == 3e-4
    assert typed["data.tokenizer.lowercase"] is True
    assert typed["trainer.patience"] == "null"
    assert not any(name.startswith("tracking.") for name in typed)


def record(project, steps, *overrides):
    context = project.context(project.settings(*TENSORBOARD, *overrides))
    with pytest.raises(KeyboardInterrupt), open_recorder(context) as recorder:  # noqa: PT012
        for step, value in steps.items():
            recorder.trained({"train/loss": value}, step=step, epoch=step / 4)
        raise KeyboardInterrupt
    points = read_events(project.folder / "multirun/tensorboard/single").Scalars("train/loss")
    return {point.step: point.value for point in points}, len(points)


def test_a_run_that_goes_on_has_each_step_once(project):
    assert record(project, {1: 0.5, 2: 0.25, 3: 0.125}) == ({1: 0.5, 2: 0.25, 3: 0.125}, 3)
    assert record(project, {3: 0.75, 4: 0.625}) == ({1: 0.5, 2: 0.25, 3: 0.75, 4: 0.625}, 4)
    assert record(project, {1: 0.5}) == ({1: 0.5}, 1), "it began anew"


def test_another_run_in_the_folder_takes_the_place_of_the_one_before(project):
    record(project, {1: 0.5, 2: 0.25}, "seed=1")
    assert record(project, {3: 0.75}, "seed=2") == ({3: 0.75}, 1)


def test_a_run_that_was_recorded_elsewhere_before_is_whole(project):
    for tracking, steps in [(("tracking=none",), (1, 2)), (TENSORBOARD, (3,))]:
        context = project.context(project.settings(*tracking))
        with pytest.raises(KeyboardInterrupt), open_recorder(context) as recorder:  # noqa: PT012
            for step in steps:
                recorder.validated({"val/accuracy": step / 4}, step=step, epoch=float(step))
            raise KeyboardInterrupt
    points = read_events(project.folder / "multirun/tensorboard/single").Scalars("val/accuracy")
    assert [(point.step, point.value) for point in points] == [(1, 0.25), (2, 0.5), (3, 0.75)]


def test_a_run_that_is_killed_while_the_folder_holds_another_leaves_nothing_in_its_curves(project):
    """The record of a run that can go on stays until the other one has a whole epoch; so do its curves."""

    def cut_off(lr, steps, *, is_killed=False):
        context = project.context(project.settings(*TENSORBOARD, f"optimizer.lr={lr}"))
        folder = FolderRecorder(context)
        recorder = TensorBoardRecorder(context, folder)
        for step, epoch in steps.items():
            for one in (folder, recorder):
                one.validated({"val/loss": lr}, step=step, epoch=epoch)
        if is_killed:
            recorder._writer.flush()
        else:
            recorder.close(Ending("KILLED"))

    def read():
        points = read_events(project.folder / "multirun/tensorboard/single").Scalars("val/loss")
        return [(point.step, round(point.value, 3)) for point in points]

    cut_off(0.001, {5: 0.5, 10: 1.0})
    (project.output_dir() / "checkpoints").mkdir()
    (project.output_dir() / "checkpoints/last.ckpt").touch()
    cut_off(0.1, {5: 0.5})
    assert read() == [(5, 0.001), (10, 0.001)]
    cut_off(0.1, {5: 0.5}, is_killed=True)
    cut_off(0.001, {15: 1.5})
    assert read() == [(5, 0.001), (10, 0.001), (15, 0.001)]
    cut_off(0.1, {5: 0.5, 10: 1.0, 15: 1.5})
    assert read() == [(5, 0.1), (10, 0.1), (15, 0.1)]
