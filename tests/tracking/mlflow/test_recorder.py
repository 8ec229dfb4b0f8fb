"""What a run leaves in MLflow."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from sentiment.errors import NonFiniteLossError, Reached, RunPruned, TrackingError
from sentiment.tracking.folder import FolderRecorder
from sentiment.tracking.mlflow.parent import start_sweep
from sentiment.tracking.mlflow.read import read_record
from sentiment.tracking.mlflow.recorder import NOTE_SECONDS, MlflowRecorder
from sentiment.tracking.outbox import Outbox
from sentiment.tracking.recorder import open_recorder
from sentiment.tracking.result_file import read_result, write_result


class TestFinishedRun:
    @pytest.fixture(scope="class")
    @classmethod
    def project(cls, tmp_path_factory, make_project, result):
        """One recorded run, looked at by all tests of the class."""
        project = make_project(tmp_path_factory.mktemp("project"))
        settings = project.settings("model.heads=2", "optimizer.lr=3e-4", "trainer.patience=null")
        with open_recorder(project.context(settings, "model=transformer", "model.heads=2")) as recorder:
            recorder.describe({"data.fingerprint": "abc", "device": "cpu"})
            for step in range(1, 5):
                recorder.trained({"train/loss": 1 / step, "train/lr": 1e-3}, step=step, epoch=step / 2)
                if step % 2 == 0:
                    recorder.validated({"val/accuracy": 1 - step / 10}, step=step, epoch=step / 2)
            recorder.tested({"test/accuracy": 0.75}, step=4, epoch=1.0)  # of the selected checkpoint
            recorder.finished(result)
        return project

    def test_state_and_name(self, project):
        assert project.run().info.status == "FINISHED"
        assert project.run().info.run_name == "transformer heads=2"

    def test_every_setting_is_a_param(self, project):
        params = project.run().data.params
        assert params["model.heads"] == "2"
        assert params["data.tokenizer.lowercase"] == "true"
        assert params["trainer.patience"] == "null"
        assert params["optimizer.lr"] == "0.0003"
        assert params["seed"] == "0"
        assert params["tracking.experiment"] == "sentiment"

    def test_metrics_stand_against_step_with_the_epoch_beside_them(self, project):
        client, run_id = project.client(), project.run().info.run_id
        loss = client.get_metric_history(run_id, "train/loss")
        assert [(point.step, point.value) for point in loss] == [(1, 1.0), (2, 0.5), (3, 1 / 3), (4, 0.25)]
        accuracy = client.get_metric_history(run_id, "val/accuracy")
        assert [(point.step, point.value) for point in accuracy] == [(2, 0.8), (4, 0.6)]
        epoch = {point.step: point.value for point in client.get_metric_history(run_id, "epoch")}
        assert epoch == {1: 0.5, 2: 1.0, 3: 1.5, 4: 2.0}
        assert client.get_run(run_id).data.metrics["epoch"] == 2.0

    def test_summary_is_of_the_selected_checkpoint(self, project):
        metrics = project.run().data.metrics
        assert metrics["test/accuracy"] == 0.75
        assert metrics["best/val/accuracy"] == 0.8
        assert metrics["best/epoch"] == 1.0
        assert metrics["model/parameters"] == 1234
        assert metrics["time/fit_seconds"] == 5.5

    def test_tags_tell_where_the_numbers_come_from(self, project):
        tags = project.run().data.tags
        assert tags["overrides"] == "model=transformer model.heads=2"
        assert tags["data.fingerprint"] == "abc"
        assert tags["device"] == "cpu"
        assert tags["git.commit"] == "unknown"  # the project of this test is no checkout
        assert tags["version.torch"].startswith("2.")
        assert "cores" in tags["hardware"]

    def test_artifacts(self, project):
        run_id = project.run().info.run_id
        names = {"config", "confusion_matrix.csv", "confusion_matrix.png", "predictions"}
        assert project.artifacts(run_id) == names
        yaml = project.artifact(run_id, "config/resolved.yaml").read_text(encoding="utf-8")
        assert yaml == "model:\n  name: transformer\n"
        table = project.artifact(run_id, "confusion_matrix.csv").read_text(encoding="utf-8")
        assert table.splitlines()[1:] == ["negative,1,0", "positive,1,2"]

    def test_predictions_can_be_compared_in_pairs_later(self, project, result):
        with np.load(project.artifact(project.run().info.run_id, "predictions/test.npz")) as predictions:
            assert predictions["labels"].tolist() == [0, 1, 1, 1]
            np.testing.assert_array_equal(predictions["probabilities"], result.test.probabilities)
            assert predictions["class_names"].tolist() == ["negative", "positive"]

    def test_the_result_file_names_the_run(self, project):
        record = read_result(project.output_dir() / "result.json")
        assert record.run_id == project.run().info.run_id


def train_and_fail(project, error, before=lambda: None, folder=""):
    context = project.context(project.settings())
    context = replace(context, output_dir=context.output_dir / folder)
    with open_recorder(context) as recorder:
        recorder.trained({"train/loss": 0.5}, step=1, epoch=0.1)
        before()
        raise error


class TestUnfinishedRun:
    def test_an_exception_is_recorded_and_goes_on(self, project):
        with pytest.raises(ValueError, match="no good"):
            train_and_fail(project, ValueError("this is\nno good"))
        run = project.run()
        assert run.info.status == "FAILED"
        assert run.data.tags["failure.kind"] == "exception"
        assert run.data.tags["failure.reason"] == "ValueError: this is no good"
        assert run.data.metrics["train/loss"] == 0.5  # written before the exception left
        traceback = project.artifact(run.info.run_id, "traceback.txt").read_text(encoding="utf-8")
        assert "in train_and_fail" in traceback

    def test_states(self, project):
        cases = [
            (NonFiniteLossError("loss is nan"), "FAILED", "non_finite_loss"),
            (MemoryError(), "FAILED", "out_of_memory"),
            (KeyboardInterrupt(), "KILLED", "interrupted"),
            (SystemExit(143), "KILLED", "interrupted"),
        ]
        for number, (error, _, _) in enumerate(cases):
            with pytest.raises(type(error)):
                train_and_fail(project, error, folder=str(number))
        recorded = [(run.info.status, run.data.tags["failure.kind"]) for run in project.runs()]
        assert recorded == [(status, kind) for _, status, kind in cases]

    def test_a_store_that_fails_too_does_not_hide_the_first_error(self, project, caplog):
        database = project.folder / "mlflow.db"
        with pytest.raises(ValueError, match="first"):
            train_and_fail(project, ValueError("first"), lambda: database.write_bytes(b"no database any more" * 400))
        assert f"python -m sentiment sync {project.output_dir()}" in caplog.text
        assert read_result(project.output_dir() / "result.json").status == "FAILED"

    def test_a_store_that_is_not_there_at_the_start_is_told_at_once(self, project):
        (project.folder / "mlflow.db").write_text("no database " * 100, encoding="utf-8")
        with (
            pytest.raises(TrackingError, match=r"tracking\.uri="),
            open_recorder(project.context(project.settings())),
        ):
            pytest.fail("the block must not be entered")
        assert read_result(project.output_dir() / "result.json").status == "FAILED"


class TestSurroundings:
    def test_a_foreign_run_in_the_environment_changes_nothing(self, project, monkeypatch, result):
        monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
        parent = start_sweep(
            uri=project.uri,
            experiment="sentiment",
            artifact_dir=str(project.folder / "mlartifacts"),
            sweep_dir=project.sweep_dir,
            project_dir=project.folder,
            overrides=["seed=0,1"],
            base_yaml="seed: 0\n",
        )
        with open_recorder(project.context(project.settings(), "seed=0", job_number=0)) as recorder:
            recorder.finished(result)
        recorded_parent, child = project.runs()
        assert recorded_parent.info.run_id == parent.run_id
        assert child.info.run_id != "0" * 32
        assert child.data.tags["mlflow.parentRunId"] == parent.run_id
        assert child.data.tags["job"] == "0"

    def test_a_job_without_a_recorded_parent_says_so(self, project, caplog):
        with open_recorder(project.context(project.settings(), job_number=3)):
            pass
        assert "mlflow.parentRunId" not in project.run().data.tags
        assert "No parent run" in caplog.text

    def test_long_values_are_kept_whole(self, project):
        names = [f"class number {index}" for index in range(600)]
        (project.folder / "reviews.csv").touch()
        overrides = ("data=files", "data.path=reviews.csv", f"data.labels={json.dumps(names)}")
        with open_recorder(project.context(project.settings(*overrides), *overrides)):
            pass
        run = project.run()
        assert run.data.params["data.labels"].endswith("see the artifact config/long_params.json)")
        kept = project.artifact(run.info.run_id, "config/long_params.json").read_text(encoding="utf-8")
        assert json.loads(json.loads(kept)["data.labels"]) == names
        assert run.data.tags["overrides"].endswith("see the artifact config/tag_overrides.txt)")
        kept = project.artifact(run.info.run_id, "config/tag_overrides.txt").read_text(encoding="utf-8")
        assert kept == " ".join(overrides)


class TestBuffer:
    def test_training_metrics_wait_and_are_all_written_in_the_end(self, project, monkeypatch):
        now = [0.0]
        monkeypatch.setattr("sentiment.tracking.mlflow.recorder.time.monotonic", lambda: now[0])
        context = project.context(project.settings(), job_number=0)
        recorder = MlflowRecorder(context, FolderRecorder(context))

        def list_batches():
            notes = [note for _, note in Outbox(context.output_dir).read()]
            return [len(note["points"]) for note in notes if note["kind"] == "metrics"]

        for step in range(1, 101):
            recorder.trained({"train/loss": 1.0, "train/lr": 1.0}, step=step, epoch=0.0)
        assert list_batches() == []
        now[0] += NOTE_SECONDS
        recorder.trained({"train/loss": 1.0, "train/lr": 1.0}, step=101, epoch=0.0)
        assert list_batches() == [303]
        for step in range(102, 602):  # more than one batch of MLflow holds
            recorder.trained({"train/loss": 1.0, "train/lr": 1.0}, step=step, epoch=0.0)
        recorder.validated({"val/loss": 1.0}, step=601, epoch=1.0)
        assert len(project.client().get_metric_history(project.run().info.run_id, "train/loss")) == 601


@pytest.fixture
def sweep(project):
    """A multirun whose parent run is recorded."""
    return start_sweep(
        uri=project.uri,
        experiment="sentiment",
        artifact_dir=str(project.folder / "mlartifacts"),
        sweep_dir=project.sweep_dir,
        project_dir=project.folder,
        overrides=["seed=0,1"],
        base_yaml="seed: 0\n",
    )


def attempt(project, steps, error=None, result=None, number=0, overrides=(), tested=None, scale=10):
    """Report these steps, each a validation too, and end."""
    with open_recorder(project.context(project.settings(*overrides), job_number=number)) as recorder:
        for step in steps:
            recorder.trained({"train/loss": 1 / step}, step=step, epoch=float(step))
            recorder.validated({"val/accuracy": step / scale}, step=step, epoch=float(step))
        if tested is not None:
            recorder.tested({"test/accuracy": tested}, step=steps[-1], epoch=1.0)
        if error is not None:
            raise error
        recorder.finished(result)


def children(project, sweep):
    return [run for run in project.runs() if run.data.tags.get("mlflow.parentRunId") == sweep.run_id]


class TestTrial:
    def test_a_pruned_run_is_no_failure(self, project, sweep):
        pruned = RunPruned("below the median of 3 trials\nat step 2")
        pruned.reached = Reached({"val/accuracy": 0.2}, epochs=2.0, best_epoch=2.0, seconds=3.5, parameters=77)
        with pytest.raises(RunPruned):
            attempt(project, [1, 2], pruned)
        [run] = children(project, sweep)
        assert run.info.status == "FINISHED"
        assert run.data.tags["trial.state"] == "PRUNED"
        assert run.data.tags["pruned.reason"] == "below the median of 3 trials at step 2"
        assert not {name for name in run.data.tags if name.startswith("failure")}
        assert run.data.metrics["best/val/accuracy"] == 0.2
        assert (run.data.metrics["model/parameters"], run.data.metrics["time/fit_seconds"]) == (77, 3.5)
        assert project.artifacts(run.info.run_id) == {"config"}  # no traceback

    def test_every_end_has_its_state(self, project, sweep, result):
        attempt(project, [1], result=result, number=0)
        for number, error in enumerate([ValueError("no"), KeyboardInterrupt()], start=1):
            with pytest.raises(type(error)):
                attempt(project, [1], error, number=number)
        states = {run.data.tags["job"]: run.data.tags["trial.state"] for run in children(project, sweep)}
        assert states == {"0": "COMPLETE", "1": "FAIL", "2": "KILLED"}

    def test_the_latency_has_its_own_name(self, project, sweep, result):
        timed = replace(result, metrics={**result.metrics, "time/latency_ms": 1.25})
        attempt(project, [1], result=timed)
        [run] = children(project, sweep)
        assert run.data.metrics["time/latency_ms"] == 1.25


class TestRestartedRun:
    @pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("out of luck")])
    def test_it_goes_on_in_the_same_record(self, project, sweep, result, error):
        with pytest.raises(type(error)):
            attempt(project, [1, 2, 3], error)
        attempt(project, [3, 4], result=result)  # from the checkpoint after step 2
        [run] = children(project, sweep)
        assert (run.info.status, run.data.tags["trial.state"]) == ("FINISHED", "COMPLETE")
        assert not {name for name in run.data.tags if name.startswith("failure")}
        client = project.client()
        for name in ("train/loss", "val/accuracy", "epoch"):
            steps = [point.step for point in client.get_metric_history(run.info.run_id, name)]
            assert sorted(set(steps)) == [1, 2, 3, 4]
        assert [p.step for p in client.get_metric_history(run.info.run_id, "val/accuracy")] == [1, 2, 3, 4]
        record = read_result(project.output_dir(0) / "result.json")
        assert [point["step"] for point in record.history] == [1, 2, 3, 4]
        assert (record.status, record.run_id) == ("FINISHED", run.info.run_id)

    def test_the_test_of_the_last_attempt_counts(self, project, sweep, result):
        """On other devices it may be another one, and its predictions are the ones that are kept."""
        with pytest.raises(KeyboardInterrupt):
            attempt(project, [1, 2], KeyboardInterrupt(), tested=0.7)
        attempt(project, [2], result=result, tested=0.75)
        [run] = children(project, sweep)
        assert run.data.metrics["test/accuracy"] == 0.75

    def test_an_attempt_that_measures_something_else_is_not_shown_with_the_figures_of_the_one_before(
        self, project, sweep, result
    ):
        """Its data may have changed under the same name, so that it starts anew."""
        with pytest.raises(KeyboardInterrupt):
            attempt(project, [1, 2], KeyboardInterrupt())
        attempt(project, [1, 2, 3], result=result, scale=100)
        [run] = children(project, sweep)
        assert [point["val/accuracy"] for point in read_record(project.uri, run.info.run_id).history] == [
            point["val/accuracy"] for point in read_result(project.output_dir(0) / "result.json").history
        ]

    def test_a_run_killed_before_it_noted_its_id_is_found_again(self, project, sweep, result):
        with pytest.raises(KeyboardInterrupt):
            attempt(project, [1], KeyboardInterrupt())
        folder = project.output_dir(0)
        write_result(folder, replace(read_result(folder / "result.json"), run_id=None, status="RUNNING"))
        attempt(project, [1, 2], result=result)
        [run] = children(project, sweep)
        assert run.info.status == "FINISHED"

    def test_other_threads_are_the_same_run_and_other_settings_another(self, project, sweep, result, caplog):
        with pytest.raises(KeyboardInterrupt):
            attempt(project, [1], KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            attempt(project, [1], KeyboardInterrupt(), overrides=["trainer.threads=2"])
        assert len(children(project, sweep)) == 1
        attempt(project, [1], result=result, overrides=["optimizer.lr=0.5"])
        assert "(optimizer.lr differ)" in caplog.text
        assert len(children(project, sweep)) == 2

    @pytest.mark.parametrize("end", [None, RunPruned("hopeless")])
    def test_a_run_that_is_done_is_not_overwritten(self, project, sweep, result, end):
        if end is None:
            attempt(project, [1], result=result)
        else:
            with pytest.raises(RunPruned):
                attempt(project, [1], end)
        before = (project.output_dir(0) / "result.json").read_text()
        with pytest.raises(
            TrackingError,
            match=r"overwritten.\n  -> choose .* hydra.sweep.dir=FOLDER; or remove",
        ):
            attempt(project, [1], result=result)
        assert (project.output_dir(0) / "result.json").read_text() == before

    def test_a_run_killed_between_the_last_words_of_mlflow_and_of_its_folder(self, project, sweep, result, caplog):
        with pytest.raises(KeyboardInterrupt):
            attempt(project, [1], KeyboardInterrupt())
        [run] = children(project, sweep)
        project.client().set_terminated(run.info.run_id, "FINISHED")
        attempt(project, [1], result=result)
        [again] = children(project, sweep)
        assert again.info.run_id == run.info.run_id
        assert "ended before its folder said so" in caplog.text

    def test_a_run_that_was_deleted_is_recorded_anew(self, project, sweep, result):
        with pytest.raises(KeyboardInterrupt):
            attempt(project, [1], KeyboardInterrupt())
        [run] = children(project, sweep)
        project.client().delete_run(run.info.run_id)
        attempt(project, [1], result=result)
        [other] = children(project, sweep)
        assert other.info.run_id != run.info.run_id
