"""What MLflow holds of a run is what its own folder holds: a sweep whose folder is elsewhere can be read from it."""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sentiment.__main__ import main
from sentiment.config.identity import ADDED
from sentiment.errors import Reached, RunPruned, TrackingError
from sentiment.job import adopt
from sentiment.report.sweep.callback import describe_parent
from sentiment.report.sweep.collect import collect_parent, collect_records
from sentiment.tracking.ending import FINISHED, Ending
from sentiment.tracking.folder import FolderRecorder
from sentiment.tracking.mlflow.delivery import Deliverer
from sentiment.tracking.mlflow.parent import start_sweep
from sentiment.tracking.mlflow.read import read_child_records, read_parent_run, read_record
from sentiment.tracking.mlflow.recorder import MlflowRecorder
from sentiment.tracking.mlflow.store import open_store
from sentiment.tracking.parent_file import note_standing
from sentiment.tracking.recorder import open_recorder
from sentiment.tracking.result_file import (
    ADOPTED_TAG,
    COPIED_TAG,
    ResultRecord,
    is_of_another_study,
    read_result,
    write_result,
)


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
    project.deliver()
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


def test_a_command_that_is_too_long_for_a_tag_is_read_whole(project, monkeypatch):
    words = ["run.py", "-m", f"seed={','.join(map(str, range(3000)))}"]
    monkeypatch.setattr("sys.argv", words)
    started = start_sweep(
        uri=project.uri, experiment="sentiment", artifact_dir=f"{project.folder}/mlartifacts",
        sweep_dir=project.sweep_dir, project_dir=project.folder, overrides=words[2:], base_yaml="",
    )  # fmt: skip
    assert read_parent_run(project.uri, started.run_id).command == " ".join(["python", *words])


def test_a_report_needs_no_folder(project, parent):
    table = collect_parent(parent.run_id, project.uri)
    assert [(row.number, row.state, row.parameters) for row in table.rows] == [
        (0, "complete", {"model.heads": 1}), (1, "pruned", {"model.heads": 2}), (2, "failed", {"model.heads": 4}),
    ]  # fmt: skip
    assert table.command == "python run.py -m model.heads=1,2,4"
    assert table.best_command == "python run.py model.heads=1 tracking.experiment=sentiment"


def test_a_study_that_has_not_told_mlflow_of_itself_is_reported_on_with_a_word(project, parent):
    assert not collect_parent(parent.run_id, project.uri).notes
    study = replace(collect_parent(parent.run_id, project.uri), is_study=True)
    tags, _ = describe_parent(study)
    project.client().set_tag(parent.run_id, "study", tags["study"])
    (note,) = collect_parent(parent.run_id, project.uri).notes
    assert "which trials break a limit is unknown" in note


def test_runs_that_were_taken_over_from_another_sweep_are_read_with_its_own(project, parent, tmp_path):
    """They stand below the other parent; the job's number is the one here. A run that is gone is left out."""
    own = read_child_records(project.uri, parent.run_id)[0]
    (tmp_path / "7").mkdir()
    write_result(tmp_path / "7", replace(own, job_number=3))
    adopt(tmp_path / "7", 7)
    adopted = read_result(tmp_path / "7/result.json")
    gone = replace(adopted, job_number=8, run_id="0123" * 8)
    copied = replace(own, job_number=9, tags={**own.tags, ADOPTED_TAG: "its own name", COPIED_TAG: "true"})
    read = tell_another(project, tmp_path, [adopted, gone, copied, replace(own, job_number=10)])
    marks = {ADOPTED_TAG: own.run_id}
    expected = [{**own.tags, **marks}, {**own.tags, **marks, COPIED_TAG: "true"}]
    assert read == [replace(own, job_number=job, tags=tags) for job, tags in zip((7, 9), expected, strict=True)]
    assert [is_of_another_study(record) for record in read] == [True, False]


def tell_another(project, tmp_path, records):
    """Tell MLflow of another sweep with these jobs, and read them back."""
    other = start_sweep(
        uri=project.uri, experiment="sentiment", artifact_dir=f"{project.folder}/mlartifacts",
        sweep_dir=tmp_path / "other", project_dir=project.folder, overrides=[], base_yaml="",
    )  # fmt: skip
    note_standing(tmp_path / "other", *describe_parent(collect_records(records, "other")))
    assert Deliverer(tmp_path / "other").deliver()
    return read_child_records(project.uri, other.run_id)


def test_a_run_that_was_taken_over_before_mlflow_had_it_is_found_by_its_key(project, parent, tmp_path):
    shutil.copytree(project.sweep_dir / "0", tmp_path / "7")
    (tmp_path / "7/mlflow.json").unlink()  # as it was while the store was away
    for job in (6, 7):  # and taken over from there once more
        adopt(tmp_path / "7", job)
    adopted = read_result(tmp_path / "7/result.json")
    assert adopted.run_id is None
    own = read_child_records(project.uri, parent.run_id)[0]
    key = adopted.tags[ADOPTED_TAG]
    assert tell_another(project, tmp_path, [adopted]) == [
        replace(own, job_number=7, tags={**own.tags, ADOPTED_TAG: key})
    ]


def test_a_run_that_was_taken_over_before_mlflow_had_it_is_known_after_a_sync(project, parent, capsys):
    other = project.sweep_dir.parent / "other"
    for job, name in (("7", "0"), ("8", "1")):
        shutil.copytree(project.sweep_dir / name, other / job)
        (other / job / "mlflow.json").unlink()
        adopt(other / job, int(job))
    own, deleted, _ = read_child_records(project.uri, parent.run_id)
    project.client().delete_run(deleted.run_id)
    before = read_result(other / "7/result.json")
    main(["sync", str(project.sweep_dir.parent)])
    assert capsys.readouterr().out == "Everything is delivered.\n"
    assert read_result(other / "7/result.json") == replace(before, run_id=own.run_id)
    assert read_result(other / "8/result.json").run_id is None


def test_what_cannot_be_looked_up_keeps_nothing_else_from_being_delivered(project, parent, capsys, caplog):
    other = project.sweep_dir.parent / "another"
    gone = f"sqlite:///{project.folder}/gone.db"

    def take_over(job, **changes):
        folder = Path(shutil.copytree(project.sweep_dir / "0", other / str(job)))
        (folder / "mlflow.json").unlink()
        adopt(folder, job)
        record = read_result(folder / "result.json")
        params = {**record.params, "tracking.uri": changes.pop("uri", project.uri)}
        write_result(folder, replace(record, params=params, **changes))

    take_over(0, uri=gone, run_id="known")
    take_over(1, uri=gone, tags={ADOPTED_TAG: "true"})
    main(["sync", str(project.sweep_dir.parent)])
    assert not caplog.messages, "there is nothing to look up"
    take_over(2, uri=gone)
    take_over(3, uri=gone)
    take_over(4)
    take_over(5)
    (other / "4/result.json").write_text(f'{{"{ADOPTED_TAG}": ')
    main(["sync", str(project.sweep_dir.parent)])
    assert capsys.readouterr().out == "Everything is delivered.\n" * 2
    no_store, damaged = caplog.messages
    assert f"There is no MLflow store at {gone}." in no_store
    assert "4/result.json cannot be read" in damaged
    assert read_result(other / "5/result.json").run_id == read_child_records(project.uri, parent.run_id)[0].run_id


def test_a_run_of_another_program_or_one_whose_tags_were_edited_is_named(project, parent):
    client = project.client()
    foreign = client.create_run(parent.experiment_id, tags={"job": "nightly"}).info.run_id
    with pytest.raises(TrackingError, match=rf"{foreign} cannot be read: .*nightly(.|\n)*-> name a run that this"):
        read_record(project.uri, foreign)
    for text in ("[7]", "none", '{"first": "0123"}'):
        client.set_tag(parent.run_id, "adopted", text)
        with pytest.raises(TrackingError, match=f"{parent.run_id} cannot be read"):
            read_child_records(project.uri, parent.run_id)


def test_an_unknown_parent_is_named(project):
    with pytest.raises(TrackingError, match=r"no run 0123.*\n.*copy the id"):
        read_parent_run(project.uri, "0123" * 8)


def test_a_server_that_does_not_answer_cannot_be_read():
    started = time.monotonic()
    for read in (read_parent_run, read_child_records, read_record):
        with pytest.raises(TrackingError, match=r"http://127\.0\.0\.1:9 cannot be read[\s\S]*--tracking-uri"):
            read("http://127.0.0.1:9", "0" * 32)
    assert time.monotonic() - started < 5


def test_a_damaged_store_cannot_be_read(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"this is a diary, not a database" * 100)
    with pytest.raises(TrackingError, match="cannot be read"):
        read_record(f"sqlite:///{tmp_path}/mlflow.db", "0" * 32)


def test_a_running_run_has_a_history_and_no_results_yet(project):
    context = project.context(project.settings(), "seed=0", job_number=0)
    recorder = MlflowRecorder(context, FolderRecorder(context))
    recorder.trained({"train/loss": 0.7}, step=3, epoch=0.3)
    recorder.validated({"val/accuracy": 0.6}, step=5, epoch=0.5)
    record = read_record(project.uri, project.run().info.run_id)
    assert (record.status, record.metrics, record.epochs, record.best_epoch) == ("RUNNING", {}, None, None)
    assert record.history == ({"step": 5, "epoch": 0.5, "val/accuracy": 0.6},)
    recorder.close(FINISHED)


LABELS = [f"class number {number} of very many" for number in range(400)]


@pytest.mark.parametrize("ending", ["finished", "pruned", "failed", "killed"])
def test_a_record_from_the_store_equals_the_one_in_the_folder(project, result, ending):
    (project.folder / "train.csv").write_text("text,label\n", encoding="utf-8")
    overrides = (
        "data=files",
        f"data.path={project.folder}/train.csv",
        f"data.labels={LABELS!r}",
        "~scheduler",
        "a=b c",
    )
    context = project.context(project.settings(*overrides[:3]), *overrides, job_number=3)
    pruned = RunPruned("worse than the median")
    pruned.reached = Reached({"val/accuracy": 0.7}, epochs=0.5, best_epoch=0.5, seconds=9.0, parameters=10)
    errors = {"pruned": pruned, "failed": ValueError("broken"), "killed": KeyboardInterrupt()}
    with contextlib.suppress(*map(type, errors.values())), open_recorder(context) as recorder:
        recorder.describe({"data.fingerprint": "f1", "data.description": "described at length " * 500})
        recorder.validated({"val/accuracy": 0.8}, step=5, epoch=0.5)
        if ending in errors:
            raise errors[ending]
        recorder.tested({"test/accuracy": 0.75, "test/loss": 0.6}, step=5, epoch=0.5)
        recorder.finished(replace(result, metrics={**result.metrics, "time/latency_ms": 1.5}, epochs=0.5))
    project.deliver()
    kept = read_result(context.output_dir / "result.json")
    fetched = read_record(project.uri, kept.run_id)
    # Seconds apart, and the number of test reviews stands in the predictions only.
    assert replace(fetched, started="", test_reviews=None) == replace(kept, started="", test_reviews=None)
    assert fetched.overrides == overrides


def test_an_infinite_metric_is_read_as_it_was_recorded(project, result):
    context = project.context(project.settings())
    with open_recorder(context) as recorder:
        recorder.validated({"val/accuracy": 0.6, "val/loss": math.inf, "val/mcc": -math.inf}, step=0, epoch=1.0)
        recorder.finished(replace(result, test=None, metrics={"val/accuracy": 0.6, "val/loss": math.inf}))
    project.deliver()
    stored = read_result(context.output_dir / "result.json")
    record = read_record(project.uri, stored.run_id)
    assert record.metrics == stored.metrics
    assert (record.metrics["val/loss"], record.history[0]["val/loss"]) == (math.inf, math.inf)
    assert record.history[0]["val/mcc"] == -math.inf


def test_runs_of_an_earlier_version_are_read(project):
    """Tags and metrics as they were written before overrides were lossless and a pruned run had ``trial.state``.

    The test noted the epoch of the selected checkpoint as where the run stood.
    """
    store = open_store(project.uri, "sentiment", f"{project.folder}/mlartifacts")
    run_id = store.client.create_run(
        store.experiment_id, run_name="rnn seed=1", start_time=1767225600000, tags={
            "job": "7", "overrides": "model=rnn ~scheduler seed=1", "git.commit": "abc", "git.dirty": "false",
            "mlflow.source.git.commit": "abc", "mlflow.source.name": "run.py", "mlflow.source.type": "LOCAL",
            "version.python": "3.12.1", "hardware": "a CPU", "data.fingerprint": "f1", "device": "cpu",
            "pruned.reason": "worse than the median",
        },
    ).info.run_id  # fmt: skip
    for name, value in {"model.name": "rnn", "seed": "1"}.items():
        store.client.log_param(run_id, name, value)
    for step, epoch, accuracy in ((5, 0.5, 0.6), (10, 1.0, 0.7)):
        store.client.log_metric(run_id, "val/accuracy", accuracy, step=step)
        store.client.log_metric(run_id, "epoch", epoch, step=step)
    store.client.log_metric(run_id, "epoch", 0.5, step=10)
    for name, value in {
        "best/val/accuracy": 0.7, "best/epoch": 1.0, "model/parameters": 99.0, "time/fit_seconds": 3.5,
    }.items():  # fmt: skip
        store.client.log_metric(run_id, name, value)
    store.client.set_terminated(run_id, "FINISHED")
    params = {"model.name": "rnn", "seed": "1", **dict.fromkeys(ADDED["model=rnn"], "null")}
    assert read_record(project.uri, run_id) == ResultRecord(
        name="rnn seed=1", model="rnn", status="PRUNED", started="2026-01-01T00:00:00+00:00",
        overrides=("model=rnn", "~scheduler", "seed=1"), params=params, job_number=7,
        reason="worse than the median", run_id=run_id, metrics={"val/accuracy": 0.7},
        history=(
            {"step": 5, "epoch": 0.5, "val/accuracy": 0.6}, {"step": 10, "epoch": 1.0, "val/accuracy": 0.7},
        ),
        parameters=99, seconds=3.5, epochs=1.0, best_epoch=1.0,
        tags={
            "git.commit": "abc", "git.dirty": "false", "mlflow.source.git.commit": "abc", "version.python": "3.12.1",
            "hardware": "a CPU", "data.fingerprint": "f1", "device": "cpu",
        },
    )  # fmt: skip
