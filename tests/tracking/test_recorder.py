"""Recording without MLflow and TensorBoard, the order of things where a recorder fails, and a run that was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from mlflow import MlflowClient

from sentiment.errors import Reached, RunPruned, TrackingError
from sentiment.tracking import folder
from sentiment.tracking.ending import FINISHED, ending_of
from sentiment.tracking.mlflow.delivery import Deliverer
from sentiment.tracking.mlflow.store import open_store
from sentiment.tracking.outbox import Outbox
from sentiment.tracking.recorder import Recorders, close_abandoned, open_recorder
from sentiment.tracking.result_file import (
    BEHIND_NAMES,
    RESULT_FILE,
    ResultRecord,
    read_result,
    write_commit,
    write_result,
)

NONE = ("tracking.mlflow=false", "tracking.tensorboard=false")


class Silent:
    """A recorder that keeps nothing but its endings."""

    def __init__(self, error=None):
        self.endings, self.error = [], error

    def describe(self, tags): ...
    def trained(self, metrics, *, step, epoch): ...
    def validated(self, metrics, *, step, epoch): ...
    def tested(self, metrics, *, step, epoch): ...
    def finished(self, result): ...

    def close(self, ending):
        if self.error is not None:
            raise self.error
        self.endings.append(ending.status)


def test_the_folder_alone_tells_how_a_run_went(project, result):
    context = project.context(project.settings(*NONE, "seed=1"), "model=transformer", "seed=1", job_number=4)
    with open_recorder(context) as recorder:
        assert read_result(context.output_dir / "result.json").status == "RUNNING"
        recorder.describe({"data.fingerprint": "abc"})
        recorder.validated({"val/accuracy": 0.7}, step=10, epoch=0.5)
        recorder.finished(result)
    record = read_result(context.output_dir / "result.json")
    assert (record.status, record.reason, record.run_id, record.job_number) == ("FINISHED", None, None, 4)
    assert (record.name, record.model, record.overrides) == (
        "4: transformer seed=1", "transformer", ("model=transformer", "seed=1"),
    )  # fmt: skip
    assert record.params["seed"] == "1"
    assert record.metrics == result.metrics
    assert record.history == ({"step": 10, "epoch": 0.5, "val/accuracy": 0.7},)
    assert (record.parameters, record.seconds, record.best_epoch, record.test_reviews) == (1234, 5.5, 1.0, 4)
    assert record.tags["data.fingerprint"] == "abc"
    assert {"git.commit", "hardware", "version.torch"} <= set(record.tags)
    files = {str(file.relative_to(context.output_dir)) for file in context.output_dir.rglob("*") if file.is_file()}
    assert files == {"result.json", "confusion_matrix.png", "confusion_matrix.csv", "predictions/test.npz"}
    with np.load(context.output_dir / "predictions/test.npz", allow_pickle=False) as predictions:
        np.testing.assert_array_equal(predictions["labels"], result.test.labels)


def test_an_interrupted_run_keeps_its_history(project):
    context = project.context(project.settings(*NONE))
    with pytest.raises(KeyboardInterrupt):
        validate_and_stop(project, context)
    record = read_result(context.output_dir / "result.json")
    assert (record.status, record.kind, record.reason) == ("KILLED", "interrupted", "interrupted (Ctrl-C)")
    assert [point["val/accuracy"] for point in record.history] == [0.7]


def test_a_pruned_run_keeps_what_it_reached(project):
    context, pruned = project.context(project.settings(*NONE)), RunPruned("below the median")
    pruned.reached = Reached({"val/accuracy": 0.7}, epochs=0.5, best_epoch=0.5, seconds=9.0, parameters=10)
    with pytest.raises(RunPruned):
        validate_and_stop(project, context, pruned)
    record = read_result(context.output_dir / "result.json")
    assert (record.status, record.kind, record.reason) == ("PRUNED", None, "below the median")
    assert record.metrics == {"val/accuracy": 0.7}
    assert (record.epochs, record.best_epoch, record.seconds, record.parameters) == (0.5, 0.5, 9.0, 10)
    assert len(record.history) == 1


def test_a_run_that_goes_on_makes_the_rest_of_its_history_anew(project):
    context = project.context(project.settings(*NONE))
    validate_each(project, context, {1: 0.1, 2: 0.2, 3: 0.3})
    validate_each(project, context, {3: 0.4, 4: 0.5})
    history = read_result(context.output_dir / "result.json").history
    assert [(point["step"], point["val/accuracy"]) for point in history] == [(1, 0.1), (2, 0.2), (3, 0.4), (4, 0.5)]


@pytest.mark.parametrize("tag", ["data.fingerprint", *BEHIND_NAMES])
def test_what_was_validated_on_other_data_is_no_history_of_a_run(project, tag):
    context = project.context(project.settings(*NONE))
    validate_each(project, context, {5: 0.1}, {tag: "a"})
    validate_each(project, context, {10: 0.2}, {tag: "a", "device": "another"})
    validate_each(project, context, {15: 0.3}, {tag: "b"})
    assert [point["step"] for point in read_result(context.output_dir / "result.json").history] == [15]


def validate_each(project, context, values, tags=MappingProxyType({})):
    try:
        with open_recorder(context) as recorder:
            recorder.describe(tags)
            recorder.saved(epoch=0.0)
            for step, value in values.items():
                recorder.validated({"val/accuracy": value}, step=step, epoch=step / 10)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return


def test_a_run_names_the_code_of_all_attempts_that_it_is_made_of(project, monkeypatch):
    def attempt(commit, *, is_dirty=False, values):
        tags = {"git.commit": commit, "git.dirty": str(is_dirty).lower()}
        monkeypatch.setattr(folder, "describe_environment", lambda _: tags)
        validate_each(project, context, values)
        return write_commit(read_result(context.output_dir / "result.json"))

    context = project.context(project.settings(*NONE))
    assert attempt("a", is_dirty=True, values={1: 0.1, 2: 0.2}) == "a with uncommitted changes"
    assert attempt("b", values={2: 0.2, 3: 0.3}) == "a, then b with uncommitted changes"
    assert attempt("b", values={3: 0.3}) == "a, then b with uncommitted changes"
    assert attempt("c", values={4: 0.3}) == "a, then b, then c with uncommitted changes"
    assert attempt("c", values={1: 0.1}) == "c", "it began anew"


def test_a_finished_run_is_not_overwritten(project, result):
    with open_recorder(project.context(project.settings(*NONE))) as recorder:
        recorder.finished(result)
    with (
        pytest.raises(TrackingError, match=r"is FINISHED; it would be overwritten\.\n  -> choose another folder"),
        open_recorder(project.context(project.settings(*NONE))),
    ):
        pytest.fail("the block must not be entered")
    assert read_result(project.output_dir() / "result.json").status == "FINISHED"


def test_a_finished_run_goes_on_with_more_epochs_where_it_kept_what_that_takes(project, result):
    def open_with(epochs):
        return open_recorder(project.context(project.settings(*NONE, f"trainer.max_epochs={epochs}")))

    with open_with(2) as recorder:
        recorder.validated({"val/accuracy": 0.7}, step=10, epoch=1.0)
        recorder.finished(replace(result, epochs=1.5))  # it stopped early
    with pytest.raises(TrackingError, match=r"last\.ckpt is missing: train with trainer\.resume=keep"), open_with(3):
        pytest.fail("the block must not be entered")
    (project.output_dir() / "checkpoints").mkdir()
    (project.output_dir() / "checkpoints/last.ckpt").touch()
    with pytest.raises(TrackingError, match="would be overwritten"), open_with(1):
        pytest.fail("the block must not be entered")
    with open_with(3) as recorder:
        recorder.saved(epoch=1.0)
        recorder.validated({"val/accuracy": 0.8}, step=20, epoch=3.0)
        recorder.finished(replace(result, epochs=3.0))
    record = read_result(project.output_dir() / "result.json")
    assert [point["step"] for point in record.history] == [10, 20]
    assert record.settings["trainer.trained_on"] == record.tags["trainer.trained_on"] == "1"
    validate_each(project, project.context(project.settings(*NONE, "trainer.max_epochs=6")), {40: 0.8})
    assert read_result(project.output_dir() / "result.json").tags["trainer.trained_on"] == "1, 3"
    with open_with(6) as recorder:
        recorder.saved(epoch=4.0)
        recorder.validated({"val/accuracy": 0.8}, step=50, epoch=5.0)
        assert read_result(project.output_dir() / "result.json").tags["trainer.trained_on"] == "1, 3"
        recorder.validated({"val/accuracy": 0.8}, step=5, epoch=1.0)  # its checkpoint was damaged
        recorder.finished(result)
    record = read_result(project.output_dir() / "result.json")
    assert ("trainer.trained_on" in record.tags, record.settings["trainer.trained_on"]) == (False, "null")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"resume": "false"}, "trainer.resume is false"),
        ({"fingerprint": "other"}, "what it reads has changed since"),
        ({"report": "trained"}, "the warning says what is wrong with its checkpoint"),
        ({"report": "validated"}, "the warning says what is wrong with its checkpoint"),
        ({"error": KeyboardInterrupt()}, None),
    ],
)
def test_a_finished_run_stays_until_it_is_trained_on(project, result, changes, told):
    """What began anew in its folder would overwrite its record, and in the end its model."""

    def train(epochs, resume="keep", fingerprint="one", report="saved", error=None):
        settings = project.settings(f"trainer.max_epochs={epochs}", f"trainer.resume={resume}")
        with open_recorder(project.context(settings)) as recorder:
            recorder.describe({"data.fingerprint": fingerprint})
            if error is not None:
                raise error
            at = {"epoch": 1.0} if report == "saved" else {"metrics": {"val/accuracy": 0.1}, "step": 10, "epoch": 1.0}
            getattr(recorder, report)(**at)
            recorder.validated({"val/accuracy": 0.8}, step=10 * epochs, epoch=float(epochs))
            recorder.finished(result)

    train(2)
    (project.output_dir() / "checkpoints").mkdir()
    (project.output_dir() / "checkpoints/last.ckpt").touch()
    before, notes = read_result(project.output_dir() / "result.json"), Outbox(project.output_dir()).read()
    with pytest.raises(KeyboardInterrupt if told is None else TrackingError, match=told):
        train(3, **changes)
    assert read_result(project.output_dir() / "result.json") == before
    assert Outbox(project.output_dir()).read() == notes, "MLflow hears of none"
    train(3)
    after = read_result(project.output_dir() / "result.json")
    assert (after.status, len(after.history), after.tags["trainer.trained_on"]) == ("FINISHED", 2, "2")


@pytest.mark.parametrize("tag", [None, "1"])
def test_of_what_was_cut_off_only_a_run_that_trained_on_goes_on_with_more_epochs(project, tag):
    short, long = (project.context(project.settings(*NONE, f"trainer.max_epochs={epochs}")) for epochs in (4, 6))
    validate_each(project, short, {10: 0.1, 20: 0.2})
    file = short.output_dir / "result.json"
    left = read_result(file)
    write_result(short.output_dir, replace(left, tags={} if tag is None else {"trainer.trained_on": tag}))
    (short.output_dir / "checkpoints").mkdir()
    (short.output_dir / "checkpoints/last.ckpt").touch()
    validate_each(project, long, {30: 0.3})
    record = read_result(file)
    assert [point["step"] for point in record.history] == ([30] if tag is None else [10, 20, 30])
    assert record.settings["trainer.trained_on"] == ("null" if tag is None else "1, 2")


def validate_and_stop(project, context, error=KeyboardInterrupt):
    with open_recorder(context) as recorder:
        recorder.validated({"val/accuracy": 0.7}, step=10, epoch=0.5)
        raise error


def test_a_run_whose_recorder_fails_at_the_end_counts_as_failed():
    first, second = Silent(), Silent(TrackingError("disk full"))
    recorders = Recorders()
    recorders.reporters += [first, second]
    with pytest.raises(TrackingError, match="disk full"):
        recorders.close(FINISHED)
    recorders.close(ending_of(TrackingError("disk full")), is_after_error=True)
    assert first.endings == ["FAILED"]


def test_recording_in_the_folder_imports_neither_mlflow_nor_torch(project_dir: Path):
    code = "import sys, sentiment.tracking.recorder; print(sorted({'mlflow', 'torch', 'matplotlib'} & {*sys.modules}))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=project_dir, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def make_record(**changes: object) -> ResultRecord:
    base = {"name": "rnn", "model": "rnn", "status": "RUNNING", "started": "2026-01-01T00:00:00+00:00"}
    return ResultRecord(**{**base, **changes})


def test_folder_and_mlflow_both_say_how_the_process_died(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/mlflow.db", "abandoned", str(tmp_path / "artifacts"))
    run = store.client.create_run(store.experiment_id)
    write_result(tmp_path / "0", make_record())
    Outbox(tmp_path / "0").begin(run.info.run_id, store.uri)
    Outbox(tmp_path / "0").note("tags", tags={"device": "cpu"})
    os.utime(tmp_path / "0" / RESULT_FILE, (1000, 1000))
    close_abandoned(tmp_path / "0", "worker_died", "killed by SIGKILL")
    assert Deliverer(tmp_path).deliver()

    record = read_result(tmp_path / "0" / RESULT_FILE)
    assert (record.status, record.kind, record.reason) == ("FAILED", "worker_died", "killed by SIGKILL")
    assert (tmp_path / "0" / RESULT_FILE).stat().st_mtime == 1000, "it is no later run for that"
    recorded = MlflowClient(tracking_uri=store.uri).get_run(run.info.run_id)
    assert recorded.info.status == "FAILED"
    assert recorded.data.tags["failure.reason"] == "killed by SIGKILL"
    assert recorded.data.tags["trial.state"] == "FAIL"


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "PRUNED", "KILLED"])
def test_a_run_that_ended_itself_keeps_its_record(tmp_path, status):
    write_result(tmp_path, make_record(status=status))
    close_abandoned(tmp_path, "worker_died", "killed")
    assert read_result(tmp_path / RESULT_FILE).status == status


def test_a_run_that_was_killed_before_it_recorded_anything_has_nothing_to_close(tmp_path):
    close_abandoned(tmp_path, "worker_died", "killed")
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_was_taken_for_dead_and_ends_well_has_not_failed_in_mlflow(project, result):
    """As one of another machine may be."""
    context = project.context(project.settings(), job_number=0)
    with open_recorder(context) as recorder:
        close_abandoned(context.output_dir, "worker_died", "the command was killed")
        project.deliver()
        assert project.run().data.tags["failure.reason"] == "the command was killed"
        recorder.finished(result)
    run = project.run()
    assert (run.info.status, run.data.tags["trial.state"]) == ("FINISHED", "COMPLETE")
    assert not [tag for tag in run.data.tags if tag.startswith("failure.")]
