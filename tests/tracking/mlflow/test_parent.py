"""The parent run of a multirun: started once, taken up again, told how it stands."""

from __future__ import annotations

import fcntl
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from mlflow import MlflowClient

from sentiment.errors import TrackingError
from sentiment.tracking.ending import FINISHED, Ending
from sentiment.tracking.environment import describe_environment
from sentiment.tracking.mlflow.parent import start_sweep
from sentiment.tracking.outbox import Outbox
from sentiment.tracking.parent_file import NOTE_TAG, VIEW_TAG, note_standing, note_sweep_end, read_parent
from sentiment.tracking.result_file import PARENT_FILE
from tests.tracking.conftest import Project


def start(project):
    return start_sweep(
        uri=project.uri,
        experiment="sentiment",
        artifact_dir=str(project.folder / "mlartifacts"),
        sweep_dir=project.sweep_dir,
        project_dir=project.folder,
        overrides=["model=transformer,rnn", "seed=0"],
        base_yaml="seed: 0\n",
    )


def test_a_parent_from_start_to_end(project, monkeypatch):
    monkeypatch.setattr("sys.argv", ["run.py", "-m", "model=transformer,rnn"])
    parent = start(project)
    assert read_parent(project.sweep_dir) == parent
    run = project.run()
    assert run.info.run_id == parent.run_id
    assert run.info.status == "RUNNING"
    assert run.info.run_name == "sweep model=transformer,rnn seed=0"
    assert run.data.tags["command"] == "python run.py -m model=transformer,rnn"
    assert run.data.tags["overrides"] == "model=transformer,rnn seed=0"
    assert project.artifact(parent.run_id, "config/base.yaml").read_text(encoding="utf-8") == "seed: 0\n"

    note_standing(project.sweep_dir, {"trials": "2", "best.value": "90.00 %"}, {"best/val/accuracy": 0.9})
    picture = project.sweep_dir / "comparison.png"
    picture.write_bytes(b"picture")
    note_sweep_end(project.sweep_dir, Ending("FAILED", "exception", "1 of 2 jobs: 1 failed"), [picture])
    run = project.run()
    assert run.info.status == "FAILED"
    assert (run.data.tags["trials"], run.data.tags["best.value"]) == ("2", "90.00 %")
    assert run.data.metrics["best/val/accuracy"] == 0.9
    assert run.data.tags["failure.reason"] == "1 of 2 jobs: 1 failed"
    assert "comparison.png" in project.artifacts(parent.run_id)


def test_the_experiment_keeps_the_view_of_a_sweep_and_is_one_of_model_training(project):
    parent = start(project)
    note_standing(project.sweep_dir, {"trials": "1", VIEW_TAG: "{}"}, {})
    assert VIEW_TAG not in project.run().data.tags
    tags = project.client().get_experiment(parent.experiment_id).tags
    assert tags[f"{VIEW_TAG}.{parent.run_id}"] == "{}"
    assert tags["mlflow.experimentKind"] == "custom_model_development"


def test_nothing_of_an_earlier_start_stays(project):
    parent = start(project)
    earlier = {"jobs": "2", "jobs.killed": "1", "best.name": "a", "trials.running": "1", "front": "0", "mine": "kept"}
    for name, value in earlier.items():
        project.client().set_tag(parent.run_id, name, value)
    note_sweep_end(project.sweep_dir, Ending("KILLED", "interrupted", "interrupted (Ctrl-C)"))
    assert project.run().data.tags["failure.kind"] == "interrupted"
    start(project)
    assert not any(name.startswith("failure") for name in project.run().data.tags)
    note_sweep_end(project.sweep_dir, Ending("KILLED", "interrupted", "interrupted (Ctrl-C)"))
    note_standing(project.sweep_dir, {"trials": "2", "trials.complete": "2"}, {})
    note_sweep_end(project.sweep_dir, FINISHED)
    families = ("jobs", "best", "trials", "front", "failure", "mine")
    left = {name: value for name, value in project.run().data.tags.items() if name.partition(".")[0] in families}
    assert left == {"trials": "2", "trials.complete": "2", "mine": "kept"}


def test_an_answer_that_got_lost_leaves_no_second_parent(project, monkeypatch):
    """mlflow sends a request again whose answer did not come."""
    create = MlflowClient.create_run

    def create_twice(*arguments, **named):
        create(*arguments, **named)
        return create(*arguments, **named)

    monkeypatch.setattr(MlflowClient, "create_run", create_twice)
    parent = start(project)
    assert project.run().info.run_id == parent.run_id


def test_a_second_start_takes_the_parent_up_again(project):
    first = start(project)
    note_standing(project.sweep_dir, {"trials": "1", NOTE_TAG: "Trial 0 is the best."}, {})
    note_sweep_end(project.sweep_dir, FINISHED)
    assert project.run().data.tags[NOTE_TAG] == "Trial 0 is the best."
    assert start(project) == first
    assert project.run().info.status == "RUNNING"
    assert NOTE_TAG not in project.run().data.tags, "it told how the sweep ended, and it goes on"


def test_two_commands_that_start_at_the_same_moment_have_one_parent(project, monkeypatch):
    describe, flock = "sentiment.tracking.mlflow.parent.describe_environment", fcntl.flock
    has_come, second = threading.Event(), []

    def start_another(project_dir):
        monkeypatch.setattr(describe, describe_environment)
        monkeypatch.setattr(fcntl, "flock", lock)
        second.append(pool.submit(start, project))
        second[0].add_done_callback(lambda _: has_come.set())
        assert has_come.wait(60)
        return describe_environment(project_dir)

    def lock(file, operation):
        try:
            flock(file, operation)
        except BlockingIOError:
            has_come.set()  # it waits from here on
            raise

    monkeypatch.setattr(describe, start_another)
    with ThreadPoolExecutor() as pool:
        first = start(project)
        assert second[0].result() == first
    assert project.run().info.run_id == first.run_id == read_parent(project.sweep_dir).run_id


def test_a_start_that_finds_its_parent_waits_for_nobody_who_delivers(project):
    """Who delivers holds the lock as long as the server takes, or for ever: its machine is gone."""
    first = start(project)
    with ThreadPoolExecutor() as pool, Outbox(project.sweep_dir).delivering():
        assert pool.submit(start, project).result(timeout=60) == first


def test_a_start_that_has_to_wait_for_another_one_says_so(project, monkeypatch, caplog):
    monkeypatch.setattr("sentiment.tracking.outbox.SILENT_SECONDS", 0.1)
    project.sweep_dir.mkdir(parents=True)
    until = time.monotonic() + 60
    with caplog.at_level("INFO"), ThreadPoolExecutor() as pool:
        with Outbox(project.sweep_dir).delivering():
            second = pool.submit(start, project)
            while not caplog.messages and time.monotonic() < until:
                time.sleep(0.05)
            assert f"Another command holds {project.sweep_dir}/.mlflow.json.lock" in caplog.text
        assert second.result() == read_parent(project.sweep_dir)


def test_a_lock_that_cannot_be_written_is_no_fault_of_the_store(project):
    (project.sweep_dir / ".mlflow.json.lock").mkdir(parents=True)
    with pytest.raises(TrackingError, match=r"^\S*/.mlflow.json.lock cannot be written: .*\n  -> free space"):
        start(project)


@pytest.mark.parametrize("ending", [FINISHED, Ending("KILLED", "interrupted", "interrupted (Ctrl-C)")])
def test_a_study_on_which_another_command_has_ended_goes_on(project, ending):
    start(project)
    note_standing(project.sweep_dir, {"trials": "2", NOTE_TAG: "Trial 0 is the best."}, {})
    note_sweep_end(project.sweep_dir, ending)
    assert project.run().info.status == ending.status
    note_standing(project.sweep_dir, {"trials": "3"}, {})
    run = project.run()
    assert (run.info.status, run.data.tags["trials"]) == ("RUNNING", "3")
    assert not {NOTE_TAG, "failure.kind", "failure.reason"} & run.data.tags.keys()
    note_standing(project.sweep_dir, {"trials": "3", NOTE_TAG: "Trial 2 is the best."}, {})
    note_sweep_end(project.sweep_dir, FINISHED)
    run = project.run()
    assert (run.info.status, run.data.tags[NOTE_TAG]) == ("FINISHED", "Trial 2 is the best.")


def test_another_store_than_before_is_told(project, caplog):
    start(project)
    other = Project(project.folder / "other")
    other.sweep_dir.parent.mkdir(parents=True)
    shutil.move(project.sweep_dir, other.sweep_dir)
    with caplog.at_level("INFO"):
        start(other)
        assert caplog.messages == [
            f"It was recorded in {project.uri} so far, and goes on in {other.uri}; "
            f"tracking.uri={project.uri} goes on in the first."
        ]
        start(other)
    assert len(caplog.messages) == 1


def test_a_deleted_parent_is_replaced(project, caplog):
    first = start(project)
    project.client().delete_run(first.run_id)
    note_standing(project.sweep_dir, {"trials": "1"}, {})
    project.deliver()
    told = "-> to have it in MLflow all the same, restored or made anew: remove "
    assert told in caplog.text
    assert "a study or a grid makes another one when its command is started again" in caplog.text
    second = start(project)
    assert second.run_id != first.run_id
    assert read_parent(project.sweep_dir) == second
    note_standing(project.sweep_dir, {"trials": "2"}, {})
    assert project.run().data.tags["trials"] == "2"


def test_a_file_of_an_earlier_version_is_read(tmp_path):
    content = '{\n "uri": "sqlite:///mlflow.db",\n "experiment_id": "1",\n "run_id": "abc"\n}\n'
    (tmp_path / PARENT_FILE).write_text(content, encoding="utf-8")
    parent = read_parent(tmp_path)
    assert (parent.uri, parent.experiment_id, parent.run_id) == ("sqlite:///mlflow.db", "1", "abc")


def test_no_parent_and_a_damaged_one(tmp_path):
    assert read_parent(tmp_path) is None
    (tmp_path / PARENT_FILE).write_text('{"uri": 1', encoding="utf-8")
    with pytest.raises(TrackingError, match="remove it"):
        read_parent(tmp_path)


def test_a_parent_that_cannot_be_described_is_not_left_running(project):
    (project.folder / "mlartifacts").touch()  # a file where the folder should be
    with pytest.raises(TrackingError):
        start(project)
    assert project.run().info.status == "FAILED"
    assert read_parent(project.sweep_dir) is None
