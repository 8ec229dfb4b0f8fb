"""Several runs in one folder, one after the other: each has its own record, whoever is asked for it."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from sentiment.config.home import PROJECT_DIR
from sentiment.data.batching import Cut
from sentiment.data.tokenizer import train_tokenizer
from sentiment.errors import TrackingError
from sentiment.job import adopt
from sentiment.models.build import build_model
from sentiment.models.bundle import WEIGHTS_FILE, save_bundle
from sentiment.report.sweep.closing import describe_parent
from sentiment.report.sweep.collect import collect_parent, collect_sweep
from sentiment.tracking.ending import FINISHED, Ending
from sentiment.tracking.folder import PREDICTIONS_FILE, FolderRecorder
from sentiment.tracking.mlflow.delivery import Deliverer, settle_all_adopted
from sentiment.tracking.mlflow.parent import start_sweep
from sentiment.tracking.mlflow.read import fetch_artifact, fetch_run_bundle, read_child_records, read_record
from sentiment.tracking.mlflow.recorder import MlflowRecorder
from sentiment.tracking.outbox import Outbox, write_folder
from sentiment.tracking.parent_file import note_standing
from sentiment.tracking.recorder import close_settled, open_recorder
from sentiment.tracking.result_file import ADOPTED_TAG, is_of_another_study, read_result, read_results
from sentiment.tracking.runs import StoredRun
from sentiment.training.result import TestPredictions
from tests.tracking.conftest import Project

KILLED = Ending("KILLED", "interrupted", "Ctrl-C")


@pytest.fixture
def attempt(project, result):
    """Make an attempt at a run: of some data, with validations by step and epoch of one accuracy."""

    def make(
        *overrides, data="one", points=((1, 0.5), (2, 1.0)), accuracy=0.8, ending=FINISHED, job=None, bundle=None,
        output_dir=None,
    ):  # fmt: skip
        context = project.context(project.settings(*overrides), *overrides, job_number=job)
        if output_dir is not None:
            context = replace(context, output_dir=output_dir, sweep_dir=None if job is None else output_dir.parent)
        folder = FolderRecorder(context)
        recorders = [folder, *([MlflowRecorder(context, folder)] if context.settings.tracking.mlflow else [])]
        for one in recorders:
            one.describe({"data.fingerprint": data})
            folder.saved(epoch=1.0)
            for step, epoch in points:
                one.validated({"val/accuracy": accuracy, "val/loss": 0.5}, step=step, epoch=epoch)
            if ending is FINISHED or bundle is not None:
                whole = replace(result, metrics={**result.metrics, "val/accuracy": accuracy})
                if context.settings.trainer.test:
                    sure = np.array([[1 - accuracy, accuracy]] * 4, dtype=np.float32)
                    whole = replace(whole, test=TestPredictions(np.array([0, 1, 1, 1]), sure))
                else:
                    whole = replace(whole, test=None)
                one.finished(replace(whole, bundle=bundle or whole.bundle))
        for one in reversed(recorders):
            one.close(ending)
        return context

    return make


def begin_sweep(project, experiment="sentiment", sweep_dir=None):
    return start_sweep(
        uri=project.uri, experiment=experiment, artifact_dir=f"{project.folder}/mlartifacts",
        sweep_dir=sweep_dir or project.sweep_dir, project_dir=project.folder, overrides=[], base_yaml="",
    )  # fmt: skip


def test_other_data_is_another_run(project, attempt):
    attempt(data="old", points=[(5, 1.0), (10, 2.0), (15, 3.0)], accuracy=0.55, ending=KILLED)
    attempt(data="new", points=[(7, 1.0), (14, 2.0)], accuracy=0.9)
    own = [(7, 1.0, 0.9), (14, 2.0, 0.9)]
    before, run = project.runs()
    record = read_result(project.output_dir() / "result.json")
    known = read_record(project.uri, run.info.run_id)
    for one in (record, known):
        assert [(point["step"], point["epoch"], point["val/accuracy"]) for point in one.history] == own
        assert one.tags["data.fingerprint"] == "new"
    assert (known.epochs, record.run_id) == (2.0, run.info.run_id)
    assert (before.info.status, before.data.tags["data.fingerprint"]) == ("KILLED", "old")
    assert "its data has changed" in before.data.tags["failure.reason"]


def test_the_same_data_is_the_same_run(project, attempt):
    attempt(points=[(5, 1.0), (10, 2.0)], ending=KILLED)
    attempt(points=[(10, 2.0), (15, 3.0)])
    known = read_record(project.uri, project.run().info.run_id)
    assert [point["step"] for point in known.history] == [5, 10, 15]


@pytest.mark.parametrize("is_delivered", [True, False])
def test_a_copy_of_a_run_goes_on_as_another_run(project, attempt, is_delivered):
    original = attempt(points=[(1, 0.5)], ending=KILLED).output_dir
    if is_delivered:
        project.deliver()
    copy = shutil.copytree(original, original.with_name("copy"))
    attempt(points=[(2, 1.0)], accuracy=0.9, ending=KILLED, output_dir=copy)
    assert read_result(copy / "result.json").run_id is None, "that of the original is none of its"
    attempt(points=[(3, 1.5)], accuracy=0.9, output_dir=copy)
    attempt(points=[(2, 1.0)], accuracy=0.7)
    assert len(project.runs()) == 2
    known = {
        folder: read_record(project.uri, read_result(folder / "result.json").run_id) for folder in (original, copy)
    }
    found = {folder: [point["val/accuracy"] for point in record.history] for folder, record in known.items()}
    assert found == {original: [0.8, 0.7], copy: [0.8, 0.9, 0.9]}


def test_a_run_whose_folder_was_moved_goes_on_in_its_record(project, attempt):
    original = attempt(points=[(1, 0.5)], ending=KILLED).output_dir
    moved = shutil.move(original, original.with_name("moved"))
    attempt(accuracy=0.7, data="other")  # another run where it was
    attempt(points=[(2, 1.0)], output_dir=moved)
    assert [len(read_record(project.uri, run.info.run_id).history) for run in project.runs()] == [2, 2]


def test_a_copy_of_a_sweep_goes_on_under_a_parent_of_its_own_and_leaves_the_runs_of_the_original_alone(
    project, attempt, caplog
):
    first = begin_sweep(project)
    for job, ending in enumerate([FINISHED, Ending("PAUSED", reason="a rung"), Ending("PAUSED", reason="a rung")]):
        attempt(job=job, ending=ending)
    project.deliver()
    before = read_child_records(project.uri, first.run_id)
    os.utime(project.output_dir(0) / "result.json", (1000, 1000))
    copy = shutil.copytree(project.sweep_dir, project.sweep_dir.with_name("copy"))

    with caplog.at_level("INFO"):
        second = begin_sweep(project, sweep_dir=copy)
    assert f"{copy} is a copy" in caplog.text
    assert (copy / "0/result.json").stat().st_mtime == 1000, "it is no later run for that"
    close_settled(copy / "1", 1, Ending("PRUNED", reason="it was given up"))
    settle_all_adopted(copy, Deliverer(copy, [project.uri]).open)
    attempt(job=2, points=[(3, 1.5)], output_dir=copy / "2")
    attempt(job=3, accuracy=0.9, output_dir=copy / "3")
    note_standing(copy, *describe_parent(collect_sweep(copy)))
    project.deliver()
    assert read_child_records(project.uri, first.run_id) == before
    found = read_child_records(project.uri, second.run_id)
    assert [(run.job_number, len(run.history)) for run in found] == [(0, 2), (1, 2), (2, 3), (3, 2)]
    assert [run.run_id for run in found[:2]] == [run.run_id for run in before[:2]]
    assert not any(map(is_of_another_study, found))
    assert (begin_sweep(project).run_id, begin_sweep(project, sweep_dir=copy)) == (first.run_id, second)


def test_a_copied_sweep_has_trained_what_its_original_trained(project, attempt):
    begin_sweep(project)
    attempt(job=0)
    shutil.copytree(project.sweep_dir / "0", project.sweep_dir / "1")
    adopt(project.sweep_dir / "1", 1)
    copy = shutil.copytree(project.sweep_dir, project.sweep_dir.with_name("copy"))
    attempt("tracking=none", job=2, output_dir=copy / "2")
    begin_sweep(project, sweep_dir=copy)
    trained, adopted, unrecorded = read_results(copy)[0]
    assert [is_of_another_study(run) for run in (trained, adopted, unrecorded)] == [False, True, False]
    assert ADOPTED_TAG not in unrecorded.tags
    for job in (0, 2):
        adopt(copy / str(job), job)
        assert is_of_another_study(read_result(copy / str(job) / "result.json"))


def test_a_sweep_that_was_moved_keeps_its_parent_and_a_copy_of_it_gets_another(project):
    first = begin_sweep(project)
    moved = shutil.move(project.sweep_dir, project.sweep_dir.with_name("moved"))
    assert begin_sweep(project, sweep_dir=moved).run_id == first.run_id
    copy = shutil.copytree(moved, moved.with_name("copy"))
    assert begin_sweep(project, sweep_dir=copy).run_id != first.run_id


def test_the_folder_of_a_run_moves_with_the_project_where_its_store_does():
    folder = PROJECT_DIR / "multirun" / "sweep"
    assert write_folder(folder, f"sqlite:///{PROJECT_DIR}/mlflow.db") == "${project_dir:}/multirun/sweep"
    assert write_folder(folder, "http://localhost:5000") == str(folder)


def test_a_run_that_trained_on_says_so_in_mlflow_too(project, attempt):
    context = attempt("trainer.max_epochs=2")
    (context.output_dir / "checkpoints").mkdir()
    (context.output_dir / "checkpoints/last.ckpt").touch()
    attempt("trainer.max_epochs=3", points=[(3, 1.5)])
    tags = [run.data.tags for run in project.runs()]
    assert [one.get("trainer.trained_on") for one in tags] == [None, "2"]
    assert read_result(context.output_dir / "result.json").tags["trainer.trained_on"] == "2"


def test_the_model_in_mlflow_is_that_of_the_attempt_that_ended(project, attempt):
    overrides = ("tracking.log_model=true", "model.embedding_size=8", "model.heads=1", "model.depth=1")
    settings = project.settings(*overrides)
    tokenizer = train_tokenizer(["a good film", "a bad film"], "word", 50, 1, lowercase=True)
    for seed, ending in enumerate((KILLED, FINISHED)):
        torch.manual_seed(seed)
        most = settings.data.max_tokens
        network = build_model(settings.model, vocabulary_size=tokenizer.vocabulary_size, classes=2, max_tokens=most)
        bundle = save_bundle(
            project.output_dir() / "model", network, settings.model, tokenizer.to_json(), ("negative", "positive"),
            Cut.of(settings.data),
        )  # fmt: skip
        attempt(*overrides, ending=ending, bundle=bundle)
        project.deliver()
        project.deliver()
    fetched = fetch_run_bundle(project.uri, project.run().info.run_id)
    assert fetched is not None
    assert (fetched / WEIGHTS_FILE).read_bytes() == (bundle / WEIGHTS_FILE).read_bytes()
    assert fetch_run_bundle(project.uri, project.run().info.run_id) == fetched, "a study asks with every trial"


@pytest.mark.parametrize("longer", [None, "trainer.max_epochs=30"])
def test_a_logged_model_has_the_metrics_of_its_validation_whichever_attempt_made_it(project, attempt, longer):
    overrides = ("tracking.log_model=true", "trainer.max_epochs=20")
    context = attempt(*overrides, points=[(1, 0.5), (2, 1.0), (3, 1.5)], ending=KILLED if longer is None else FINISHED)
    (context.output_dir / "checkpoints").mkdir()
    (context.output_dir / "checkpoints/last.ckpt").touch()
    last = attempt(*overrides[:1], longer or overrides[1], points=[(3, 1.5), (4, 2.0)], accuracy=0.7)
    [note] = [note for _, note in Outbox(last.output_dir).read() if note["kind"] == "model"][longer is not None :]
    told = {(name, value, step) for name, value, _, step in note["points"]}
    assert told == {("val/accuracy", 0.8, 2), ("val/loss", 0.5, 2)}


def test_a_run_that_begins_anew_has_its_own_points_whatever_the_one_before_it_measured(project, attempt):
    context = attempt("trainer.max_epochs=2")
    (context.output_dir / "checkpoints").mkdir()
    (context.output_dir / "checkpoints/last.ckpt").touch()
    attempt("trainer.max_epochs=3", points=[(3, 1.5)], ending=KILLED)
    attempt("trainer.max_epochs=3", points=[(1, 0.5), (2, 1.0), (3, 1.5)])  # its checkpoint was damaged
    runs = {run.data.params["trainer.max_epochs"]: run.info.run_id for run in project.runs()}
    assert [point["step"] for point in read_record(project.uri, runs["3"]).history] == [1, 2, 3]


def test_a_job_that_was_run_again_counts_once_from_mlflow_too(project, attempt):
    parent = begin_sweep(project)
    attempt("model.heads=1", job=0, ending=Ending("FAILED", "exception", "boom", "trace"))
    attempt("model.heads=2", job=1, accuracy=0.9)
    project.deliver()
    shutil.rmtree(project.sweep_dir / "1")
    assert begin_sweep(project) == parent
    attempt("model.heads=4", job=0, accuracy=0.7)
    attempt("model.heads=8", job=1, accuracy=0.75)
    project.deliver()
    tables = [collect_sweep(project.sweep_dir), collect_parent(parent.run_id, project.uri)]
    for table in tables:
        assert [(row.number, row.state, dict(row.parameters), row.values["val/accuracy"]) for row in table.rows] == [
            (1, "complete", {"model.heads": 8}, 0.75), (0, "complete", {"model.heads": 4}, 0.7),
        ]  # fmt: skip


def test_a_sweep_that_went_on_under_another_experiment_is_whole(project, attempt):
    parent = begin_sweep(project)
    attempt("model.heads=2", job=0, accuracy=0.7)
    project.deliver()
    begin_sweep(project, "other")
    attempt("model.heads=4", "tracking.experiment=other", job=1, accuracy=0.9)
    project.deliver()
    table = collect_parent(parent.run_id, project.uri)
    assert [(row.number, row.values["val/accuracy"]) for row in table.rows] == [(1, 0.9), (0, 0.7)]


def test_an_untested_run_has_no_predictions_of_a_run_before_it(project, attempt, result):
    context = attempt("optimizer.lr=1e-3", ending=KILLED)
    FolderRecorder(context).finished(result)
    assert (context.output_dir / "predictions/test.npz").exists()
    attempt("optimizer.lr=1e-2", "trainer.test=false")
    stored = StoredRun(read_result(context.output_dir / "result.json"), context.output_dir)
    with pytest.raises(TrackingError, match="it left the test split alone"):
        stored.read_test_predictions()


def test_files_of_a_run_without_tracking_are_not_delivered_as_those_of_the_one_before(project, attempt, caplog):
    context = attempt("trainer.max_epochs=2", accuracy=0.25)
    (context.output_dir / "checkpoints").mkdir()
    (context.output_dir / "checkpoints/last.ckpt").touch()
    attempt("trainer.max_epochs=4", "tracking=none", accuracy=0.75)
    run = project.run()
    assert run.data.params["trainer.max_epochs"] == "2"
    assert not fetch_artifact(project.uri, run.info.run_id, PREDICTIONS_FILE)
    assert "replaced files before MLflow had them" in caplog.text


@pytest.mark.parametrize("longer", ["tracking=none", "tracking=mlflow"])
def test_files_are_delivered_while_a_longer_run_has_not_replaced_them(project, attempt, longer):
    context = attempt("trainer.max_epochs=2", accuracy=0.25)
    (context.output_dir / "checkpoints").mkdir()
    (context.output_dir / "checkpoints/last.ckpt").touch()
    attempt("trainer.max_epochs=4", longer, ending=KILLED)
    shorter = next(run for run in project.runs() if run.data.params["trainer.max_epochs"] == "2")
    with np.load(fetch_artifact(project.uri, shorter.info.run_id, PREDICTIONS_FILE)) as content:
        assert content["probabilities"][0].tolist() == [0.75, 0.25]


def test_data_that_changed_before_the_first_validation_is_another_run(project, attempt):
    """Long epochs: MLflow has points of the training, and the folder's record nothing but what it read."""
    with pytest.raises(KeyboardInterrupt), open_recorder(project.context(project.settings(), job_number=0)) as recorder:  # noqa: PT012
        recorder.describe({"data.fingerprint": "old"})
        recorder.trained({"train/loss": 0.5}, step=1, epoch=0.1)
        assert read_result(project.output_dir(0) / "result.json").tags["data.fingerprint"] == "old", "it may be killed"
        raise KeyboardInterrupt
    attempt(data="new", job=0)
    assert [run.data.tags["data.fingerprint"] for run in project.runs()] == ["old", "new"]


def test_a_run_of_other_data_does_not_have_the_mlflow_run_of_the_one_before_it(project, attempt):
    """Until MLflow has its own: what is logged to its run meanwhile would go to the other one."""
    attempt(data="old", ending=KILLED)
    project.deliver()
    context = attempt(data="new")
    assert read_result(context.output_dir / "result.json").run_id is None
    _, run = project.runs()
    assert read_result(context.output_dir / "result.json").run_id == run.info.run_id


@pytest.mark.parametrize("delivered", [True, False])
def test_a_store_that_records_a_run_from_its_middle_on_has_all_of_it(project, attempt, delivered, caplog):
    """The attempts before were recorded nowhere, or in another store."""
    caplog.set_level("INFO")
    other = Project(project.folder / "other")
    other.folder.mkdir()
    shutil.copy(project.folder / "mlflow.db", other.folder / "mlflow.db")
    attempt("tracking=none", points=[(1, 0.5)], ending=KILLED)
    attempt(points=[(2, 1.0)], ending=KILLED)
    if delivered:
        project.deliver()
    assert "was recorded in" not in caplog.text
    context = attempt(f"tracking.uri={other.uri}", points=[(3, 1.5)])
    assert f"It was recorded in {project.uri} so far, and goes on in {other.uri}" in caplog.text
    Deliverer(project.folder, [project.uri, other.uri]).deliver()
    records = [read_record(one.uri, one.run().info.run_id) for one in (project, other)]
    assert [[point["step"] for point in record.history] for record in records] == [[1, 2], [1, 2, 3]]
    own = read_result(context.output_dir / "result.json")
    assert own.history == records[1].history
    assert own.run_id == other.run().info.run_id


def test_what_one_store_has_is_not_noted_again(project, attempt):
    for _ in range(2):
        attempt(points=[(1, 0.5), (2, 1.0)], accuracy=float("nan"), ending=KILLED)
    notes = [note for _, note in Outbox(project.output_dir()).read() if note["kind"] == "metrics"]
    assert sorted((name, step) for note in notes for name, _, _, step in note["points"]) == [
        (name, step) for name in ("epoch", "val/accuracy", "val/loss") for step in (1, 2)
    ]


def test_a_run_that_ends_without_mlflow_has_no_run_there(project, attempt):
    attempt(ending=KILLED)
    project.deliver()
    context = attempt("tracking=none", points=[(3, 1.5)])
    assert read_result(context.output_dir / "result.json").run_id is None


def test_a_model_that_the_next_run_has_written_is_not_logged_as_that_of_the_one_before(project, attempt, caplog):
    """Though that was killed before it could say so: what is in the folder is not what was noted."""
    settings, made = project.settings("model.embedding_size=8", "model.heads=1", "model.depth=1"), []
    for text in ("a good film", "another film altogether"):
        tokenizer = train_tokenizer([text], "word", 50, 1, lowercase=True)
        network = build_model(settings.model, vocabulary_size=tokenizer.vocabulary_size, classes=2, max_tokens=8)
        names, data = ("negative", "positive"), settings.data
        made.append((network, settings.model, tokenizer.to_json(), names, Cut(8, data.keep, data.head_fraction)))
    bundle = save_bundle(project.output_dir() / "model", *made[0])
    attempt("tracking.log_model=true", bundle=bundle)
    save_bundle(bundle, *made[1])
    assert fetch_run_bundle(project.uri, project.run().info.run_id) is None
    assert "replaced files before MLflow had them" in caplog.text
