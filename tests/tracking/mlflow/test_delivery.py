"""Records reach MLflow once and in order, whatever its server does, and training never waits for it."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

from sentiment.__main__ import main
from sentiment.errors import ConfigError, TrackingError
from sentiment.tracking.ending import Ending, ending_to_json
from sentiment.tracking.mlflow import delivery, store
from sentiment.tracking.mlflow.delivery import Deliverer
from sentiment.tracking.mlflow.parent import start_sweep
from sentiment.tracking.mlflow.read import read_record
from sentiment.tracking.outbox import OUTBOX_FILE, Outbox, find_outboxes
from sentiment.tracking.recorder import open_recorder
from sentiment.tracking.result_file import read_result
from sentiment.tracking.runs import find_stored_runs
from sentiment.training.result import TestPredictions
from tests.tracking.mlflow.fake_server import FakeServer

EPOCHS = 8


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # mlflow's own pauses are not what is tested
    monkeypatch.setattr(delivery, "EVERY_SECONDS", 0.05)
    server = FakeServer()
    yield server
    server.gate.set()
    server.die()


def context_of(project, server, job_number=None):
    return project.context(project.settings(f"tracking.uri={server.uri}"), "seed=0", job_number=job_number)


def train(context, result, *, first=1, between=lambda epoch: None):
    with open_recorder(context) as recorder:
        recorder.saved(epoch=0.0)
        for epoch in range(first, EPOCHS + 1):
            recorder.trained({"train/loss": 1 / epoch}, step=epoch, epoch=float(epoch))
            recorder.validated({"val/accuracy": epoch / 10}, step=epoch, epoch=float(epoch))
            between(epoch)
        recorder.finished(result)


def check_whole(server):
    """One run, FINISHED, every point once and in order."""
    [run] = [run for run in server.runs.values() if run["info"]["lifecycle_stage"] == "active"]
    assert run["info"]["status"] == "FINISHED"
    for name in ("val/accuracy", "train/loss"):
        assert [step for key, step, *_ in run["points"] if key == name] == list(range(1, EPOCHS + 1))
    assert run["params"]["seed"] == "0"
    assert {name.rpartition("/")[2] for name in server.files} >= {"resolved.yaml", "test.npz", "confusion_matrix.csv"}
    return run


def test_a_run_is_delivered_whole_with_few_requests(project, server, result):
    train(context_of(project, server), result)
    run = check_whole(server)
    assert read_result(project.output_dir() / "result.json").run_id == run["info"]["run_id"]
    assert len(server.requests) <= 30  # without a model, which takes another dozen


def test_training_waits_for_no_answer(project, server, result):
    """The server answers nothing until the run is over: what waited for it would hang."""
    server.gate.clear()
    deliverer = Deliverer(project.folder / "multirun", [server.uri]).start()
    train(context_of(project, server, job_number=0), result)
    assert read_result(project.output_dir(0) / "result.json").status == "FINISHED"
    assert server.runs == {}
    server.gate.set()
    deliverer.finish(60)
    check_whole(server)


def test_a_server_that_dies_in_mid_training_costs_the_run_nothing(project, server, result, caplog, capsys):
    folder = project.output_dir()
    train(context_of(project, server), result, between=lambda epoch: epoch == 3 and server.die())
    record = read_result(folder / "result.json")
    assert (record.status, len(record.history)) == ("FINISHED", EPOCHS)
    assert f"python -m sentiment sync {folder}" in caplog.text
    with pytest.raises(TrackingError, match=r"(?s)Of 1 run, 1 not delivered.*see that the store answers"):
        main(["sync", str(folder)])
    server.start()
    main(["sync", str(folder)])
    assert capsys.readouterr().out == "1 delivered.\n"
    check_whole(server)
    main(["sync", str(folder)])
    assert capsys.readouterr().out == "Everything is delivered.\n"


def test_what_mlflow_would_only_queue_is_not_taken_for_delivered(project, server, monkeypatch):
    """Its own variable lets its client return before it has sent anything."""
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "true")
    deliverer = Deliverer(project.folder, [server.uri])
    with open_recorder(context_of(project, server, job_number=0)) as recorder:
        assert deliverer.deliver()
        server.die()
        recorder.validated({"val/accuracy": 0.5}, step=1, epoch=1.0)
        assert not deliverer.deliver()
        server.start()
        assert deliverer.deliver()
    [run] = server.runs.values()
    assert ("val/accuracy", 1, 0.5) in [point[:3] for point in run["points"]]


@pytest.mark.parametrize("is_starting", [False, True], ids=["an old server", "a proxy whose server is starting"])
def test_a_server_that_knows_no_models_has_the_runs_without_them(
    project, server, result, monkeypatch, caplog, is_starting
):
    """It is one of MLflow 2; the first run with a model would keep all that come after it waiting."""
    answer = server._do

    def answer_as_a_proxy(method, path, query, body):
        is_away = is_starting and any("logged-models" in before for before in server.requests)
        return (
            (404, {"error_code": "ENDPOINT_NOT_FOUND", "message": ""}) if is_away else answer(method, path, query, body)
        )

    monkeypatch.setattr(server, "_do", answer_as_a_proxy)
    for number in range(2):
        settings = project.settings(f"tracking.uri={server.uri}", "tracking.log_model=true")
        context = project.context(settings, job_number=number)
        bundle = context.output_dir / "model"
        bundle.mkdir(parents=True)
        train(context, replace(result, bundle=bundle))
    assert Deliverer(project.folder, [server.uri]).deliver() is not is_starting
    statuses = [run["info"]["status"] for run in server.runs.values()]
    assert statuses == (["RUNNING"] if is_starting else ["FINISHED", "FINISHED"])
    assert caplog.text.count("takes no models, as those before MLflow 3") == (not is_starting)


@pytest.mark.parametrize("seed", range(5))
def test_a_flaky_server_gets_everything_once_and_in_order(project, server, result, seed):
    """Of all requests 15 % fail, half of them after they were done: those are done again, and count once."""
    server.error_rate, server.random = 0.15, server.random.__class__(seed)
    train(context_of(project, server, job_number=0), result)
    deliverer = Deliverer(project.folder, [server.uri])
    assert any(deliverer.deliver() for _ in range(50))
    check_whole(server)


def test_a_process_that_ends_within_a_delivery_delivers_nothing_twice(project, server, result):
    """What is done but not noted as done is done again; the run is found by its key."""
    train(context_of(project, server, job_number=0), result)
    assert Deliverer(project.folder, [server.uri]).deliver()
    Outbox(project.output_dir(0)).folder.joinpath("mlflow.json").unlink()
    assert Deliverer(project.folder, [server.uri]).deliver()
    check_whole(server)


def train_on(project, result, epochs, *settings):
    """Train in the folder of a run of fewer epochs, delivering nothing; return the record."""
    own = project.settings(f"trainer.max_epochs={epochs}", "trainer.resume=keep", *settings)
    train(replace(project.context(own), sweep_dir=project.sweep_dir), result)
    (project.output_dir() / "checkpoints").mkdir(exist_ok=True)
    (project.output_dir() / "checkpoints" / "last.ckpt").touch()
    return read_result(project.output_dir() / "result.json")


def test_a_run_that_trains_on_is_not_taken_for_the_shorter_one(project, result, caplog):
    train_on(project, result, 2)
    assert Deliverer(project.folder).deliver()
    shorter = read_result(project.output_dir() / "result.json").run_id
    assert shorter is not None
    assert train_on(project, result, 4, "tracking=none").run_id is None
    [found] = find_stored_runs(shorter, project.folder / "multirun", project.uri)
    assert found.record.params["trainer.max_epochs"] == "2", "read from MLflow"
    assert train_on(project, result, 8).run_id is None, "MLflow has not heard of it"
    assert Deliverer(project.folder).deliver()
    assert read_result(project.output_dir() / "result.json").run_id not in (None, shorter)
    assert "replaced" not in caplog.text


def test_files_that_a_longer_run_replaced_are_not_delivered_as_those_of_the_shorter_one(project, result, caplog):
    train_on(project, result, 2)
    train_longer_and_check_whose_files_are_delivered(project, result, caplog)


def train_longer_and_check_whose_files_are_delivered(project, result, caplog):
    better = TestPredictions(result.test.labels, result.test.probabilities[:, ::-1])
    train_on(project, replace(result, test=better), 4)
    assert Deliverer(project.folder).deliver()
    found = {run.data.params["trainer.max_epochs"]: project.artifacts(run.info.run_id) for run in project.runs()}
    assert found == {"2": {"config"}, "4": {"config", "confusion_matrix.csv", "confusion_matrix.png", "predictions"}}
    assert "replaced files before MLflow had them" in caplog.text


def test_files_that_an_earlier_version_noted_are_not_delivered_once_another_run_has_begun(project, result, caplog):
    """It noted no digests: whose files they are by now, nobody knows."""
    train_on(project, result, 2)
    file = project.output_dir() / OUTBOX_FILE
    notes = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert any(note.pop("digests", None) for note in notes)
    file.write_text("".join(f"{json.dumps(note)}\n" for note in notes), encoding="utf-8")
    train_longer_and_check_whose_files_are_delivered(project, result, caplog)


def test_a_run_that_was_deleted_there_keeps_nothing_waiting(project, result, caplog, capsys):
    for number in (0, 1):
        context = project.context(project.settings(), "seed=0", job_number=number)
        train(context, result)
    first, second = find_outboxes(project.folder)
    assert Deliverer(project.folder).deliver()
    deleted = first.delivery.run_id
    project.client().delete_run(deleted)
    for value in ("yes", "too"):
        for outbox in (first, second):
            outbox.note("tags", tags={"later": value})
        main(["sync", str(project.folder)])
        assert capsys.readouterr().out == "1 delivered.\n"
        assert (first.is_delivered, second.is_delivered) == (True, True)
        assert project.client().get_run(second.delivery.run_id).data.tags["later"] == value
    assert caplog.text.count(f"MLflow run {deleted} was deleted") == 1
    assert read_result(project.output_dir(0) / "result.json").run_id is None


@pytest.mark.parametrize("is_restored", [False, True])
def test_a_deleted_run_is_delivered_whole_where_a_person_asks_for_it(project, result, caplog, is_restored):
    train(project.context(project.settings(), "seed=0", job_number=0), result)
    [outbox] = find_outboxes(project.folder)
    assert Deliverer(project.folder).deliver()
    deleted = outbox.delivery.run_id
    project.client().delete_run(deleted)
    outbox.note("tags", tags={"later": "yes"})
    assert Deliverer(project.folder).deliver()
    file = caplog.text.partition("remove ")[2].partition(", then")[0]
    Path(file).unlink()
    if is_restored:
        project.client().restore_run(deleted)
    run = project.run()
    assert (run.info.run_id == deleted) is is_restored
    assert (run.info.status, run.data.tags["later"]) == ("FINISHED", "yes")
    assert [point["step"] for point in read_record(project.uri, run.info.run_id).history] == list(range(1, EPOCHS + 1))


@pytest.mark.parametrize("becomes", ["left out", "not asked for", "restored"])
def test_a_further_attempt_at_a_deleted_run_has_the_history_of_the_attempts_before(project, result, becomes):
    context = project.context(project.settings(), "seed=0", job_number=0)
    with pytest.raises(KeyboardInterrupt):
        train(context, result, between=lambda epoch: (_ for _ in ()).throw(KeyboardInterrupt) if epoch == 4 else None)
    outbox = Outbox(project.output_dir(0))
    project.deliver()
    deleted = outbox.delivery.run_id
    project.client().delete_run(deleted)
    if becomes != "not asked for":
        outbox.note("tags", tags={"later": "yes"})
        project.deliver()
    if becomes == "restored":
        project.client().restore_run(deleted)
    train(context, result, first=5)
    run = project.run()
    assert (run.info.run_id == deleted) is (becomes == "restored")
    assert (run.info.status, run.data.tags.get("later")) == (
        "FINISHED",
        None if becomes == "not asked for" else "yes",
    )
    assert [point["step"] for point in read_record(project.uri, run.info.run_id).history] == list(range(1, EPOCHS + 1))


@pytest.mark.parametrize("is_experiment", [True, False])
def test_a_run_that_is_made_anew_is_where_the_attempt_that_makes_it_records(project, result, is_experiment):
    """The parent and the experiment of the attempts before may be gone."""

    def begin(experiment="sentiment"):
        parent = start_sweep(
            uri=project.uri, experiment=experiment, artifact_dir=f"{project.folder}/mlartifacts",
            sweep_dir=project.sweep_dir, project_dir=project.folder, overrides=[], base_yaml="",
        )  # fmt: skip
        return parent.run_id, project.context(project.settings(f"tracking.experiment={experiment}"), job_number=0)

    client = project.client()
    first, context = begin()
    for start, end in ((1, 3), (4, 4)):
        with pytest.raises(KeyboardInterrupt):
            train(
                context, result, first=start,
                between=lambda epoch, end=end: (_ for _ in ()).throw(KeyboardInterrupt) if epoch == end else None,
            )  # fmt: skip
    project.deliver()
    known = Outbox(context.output_dir).delivery.run_id
    if is_experiment:
        client.delete_experiment(client.get_experiment_by_name("sentiment").experiment_id)
    else:
        client.delete_run(first)
        client.delete_run(known)
    experiment = "other" if is_experiment else "sentiment"
    second, context = begin(experiment)
    train(context, result, first=5)
    project.deliver()
    run = client.get_run(Outbox(context.output_dir).delivery.run_id)
    assert run.info.run_id != known
    assert run.info.experiment_id == client.get_experiment_by_name(experiment).experiment_id
    assert (run.data.tags["mlflow.parentRunId"], second == first) == (second, False)
    assert len(client.get_metric_history(run.info.run_id, "val/accuracy")) == EPOCHS


def test_a_run_that_its_store_does_not_know_for_now_is_waited_for(project, result, empty_store, capsys):
    train(project.context(project.settings(), "seed=0", job_number=0), result)
    [outbox] = find_outboxes(project.folder)
    project.deliver()
    outbox.note("tags", tags={"later": "yes"})
    database, right, run_id = project.folder / "mlflow.db", project.folder / "right.db", outbox.delivery.run_id

    def put(source, target):
        """Replace a database that this process has open."""
        with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
            one.backup(other)

    put(database, right)
    put(empty_store, database)
    with pytest.raises(TrackingError, match=f"does not know the run {run_id} at all.*remove .*mlflow.json"):
        main(["sync", str(project.folder)])
    put(right, database)
    main(["sync", str(project.folder)])
    assert capsys.readouterr().out == "1 delivered.\n"
    assert project.client().get_run(run_id).data.tags["later"] == "yes"


def test_what_is_delivered_is_not_opened_again(project, result, monkeypatch):
    """A search has thousands of runs, and delivers every few seconds."""
    for number in range(3):
        train(project.context(project.settings(), "seed=0", job_number=number), result)
    deliverer = Deliverer(project.folder)
    assert deliverer.deliver()
    opened = []
    read = Outbox.read
    monkeypatch.setattr(Outbox, "read", lambda outbox, offset=0: opened.append(outbox.folder) or read(outbox, offset))
    monkeypatch.setattr("sentiment.tracking.mlflow.delivery.OneDelivery", lambda outbox, opening: opened.append(outbox))
    assert deliverer.deliver()
    assert opened == []
    monkeypatch.undo()
    first, *_ = find_outboxes(project.folder)
    first.note("tags", tags={"later": "yes"})
    train(project.context(project.settings(), "seed=0", job_number=3), result)
    assert deliverer.deliver()
    assert all(outbox.is_delivered for outbox in find_outboxes(project.folder))
    assert project.client().get_run(first.delivery.run_id).data.tags["later"] == "yes"


def test_two_commands_do_not_deliver_the_same_at_once(project, server, result):
    train(context_of(project, server, job_number=0), result)
    with Outbox(project.output_dir(0)).delivering() as is_mine:
        assert is_mine
        assert not Deliverer(project.folder, [server.uri]).deliver()
    assert server.requests == []


def test_a_note_that_does_not_fit_is_no_note(tmp_path):
    """A disk that fills up within a write takes a part of it, without an error."""
    outbox = Outbox(tmp_path)
    outbox.note("tags", tags={"a": "1"})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / OUTBOX_FILE).stat().st_size + 100, before[1]))
    try:
        with pytest.raises(TrackingError, match="No space left"):
            outbox.note("tags", tags={"b": "2" * 1000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    outbox.note("tags", tags={"c": "3"})
    assert [note["tags"] for _, note in outbox.read()] == [{"a": "1"}, {"c": "3"}]


def test_a_line_that_was_cut_off_is_left_out_and_the_next_one_whole(tmp_path):
    outbox = Outbox(tmp_path)
    outbox.note("tags", tags={"a": "1"})
    with (tmp_path / "mlflow.jsonl").open("ab") as file:
        file.write(b'{"kind": "tags", "ta')
    assert [note["kind"] for _, note in outbox.read()] == ["tags"]
    outbox.note("tags", tags={"b": "2"})
    notes = outbox.read()
    assert [note["kind"] for _, note in notes] == ["tags", "damaged", "tags"]
    assert notes[-1][0] == (tmp_path / "mlflow.jsonl").stat().st_size


DAMAGED = [
    "[]", "3", "{}", '{"kind": "tags"}', '{"kind": ["tags"], "time": 1}', '{"kind": "open", "time": 1}',
    '{"kind": "tags", "time": 1, "tags": {"a": 3}}', '{"kind": "tags", "time": "now", "tags": {}}',
    '{"kind": "metrics", "time": 1, "points": [["a", "high", 1, 1]]}', '{"kind": "end", "time": 1, "is_job": true}',
    '{"kind": "end", "time": 1, "is_job": true, "ending": {"status": "NOPE"}}', '{"kind":' + "[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("line", DAMAGED, ids=range(len(DAMAGED)))
def test_a_line_that_is_no_note_is_left_out(line: str, tmp_path):
    outbox = Outbox(tmp_path)
    outbox.note("tags", tags={"a": "1"})
    (tmp_path / OUTBOX_FILE).write_text((tmp_path / OUTBOX_FILE).read_text() + line + "\n")
    outbox.note("end", ending=ending_to_json(Ending("FAILED", "exception", "no")), is_job=True)
    assert [note["kind"] for _, note in outbox.read()] == ["tags", "damaged", "end"]


def test_what_lies_outside_the_folder_is_not_uploaded(project, server, result, tmp_path, caplog):
    """Named by a note that somebody else wrote, or by a link."""
    (tmp_path / "key").write_text("planted")
    train(context_of(project, server, job_number=0), result)
    run = project.output_dir(0)
    (run / "link").symlink_to(tmp_path / "key")
    names = dict.fromkeys([os.path.relpath(tmp_path / "key", run), str(tmp_path / "key"), "link"])
    Outbox(run).note("files", files=names)
    assert Deliverer(run, [server.uri]).deliver()
    assert Outbox(run).is_delivered
    assert not [content for content in server.files.values() if b"planted" in content]
    assert caplog.text.count("leads out of the run's folder") == 3


def test_no_password_is_written(project, server, monkeypatch):
    monkeypatch.setenv("SENTIMENT_TRACKING_PASSWORD", "planted-secret")
    uri = server.uri.replace("http://", "http://user@")
    context = project.context(project.settings(f"tracking.uri={uri}"), job_number=0)
    with open_recorder(context):
        pass
    start = json.loads((project.output_dir(0) / "mlflow.jsonl").read_text().splitlines()[0])
    assert start["uri"] == uri
    with pytest.raises(ConfigError, match="holds a password"):
        project.settings(f"tracking.uri={uri.replace('user@', 'user:planted-secret@')}")


def test_who_ends_the_wait_for_mlflow_ends_no_run(project, server, result, caplog, capsys, monkeypatch):
    """All is done by then: the folder says so while the command waits, and after Ctrl-C."""
    finish, seen, deliverers = Deliverer.finish, [], []

    def interrupted(deliverer, seconds):
        seen.append(read_result(project.output_dir() / "result.json").status)
        deliverers.append(deliverer)
        threading.Timer(0.5, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)).start()
        finish(deliverer, 1e6)  # the store never answers: nothing else ends the wait

    monkeypatch.setattr(Deliverer, "finish", interrupted)
    train(context_of(project, server), result, between=lambda epoch: epoch == EPOCHS and server.gate.clear())
    assert (seen, read_result(project.output_dir() / "result.json").status) == (["FINISHED"], "FINISHED")
    assert f"python -m sentiment sync {project.output_dir()}" in caplog.text
    server.gate.set()
    deliverers[0]._thread.join()
    main(["sync", str(project.output_dir())])
    capsys.readouterr()
    check_whole(server)


def test_each_store_and_each_folder_stands_for_itself(project, server, result, monkeypatch, capsys):
    """One server that is gone for good, one deleted experiment, one folder that cannot be written: the rest arrives."""
    away = f"tracking.uri={server.uri}"
    for number, override in enumerate([away, away, "tracking.experiment=gone", "seed=3", "seed=4"]):
        train(project.context(project.settings(override), override, job_number=number), result)
    client = project.client()
    client.delete_experiment(client.create_experiment("gone"))
    (project.output_dir(3) / ".mlflow.json.lock").mkdir()
    server.die()
    tried = []
    require_server = store.require_server
    monkeypatch.setattr(store, "require_server", lambda uri: tried.append(uri) or require_server(uri))
    with pytest.raises(TrackingError) as caught:
        main(["sync", str(project.folder)])
    told = str(caught.value).splitlines()
    assert told[0] == "Of 5 runs, 4 not delivered:"
    assert [line.partition(":")[0].rpartition("/")[2] for line in told[1:5]] == ["0", "1", "2", "3"]
    assert ("MLflow cannot record" in told[1], told[1].partition(": ")[2]) == (True, told[2].partition(": ")[2])
    assert ("'gone'" in told[3], ".mlflow.json.lock" in told[4]) == (True, True)
    assert Outbox(project.output_dir(4)).is_delivered
    assert tried == [server.uri], "the second run for it is not tried after the first"


@pytest.mark.parametrize(
    ("error", "is_of_store"),
    [
        (lambda file: PermissionError(13, "Permission denied", str(file)), False),
        (lambda file: shutil.Error([(str(file), "/tmp/a", "Permission denied")]), False),
        (lambda file: OSError(28, "No space left on device", "/mlartifacts/1"), True),
        (lambda file: make_http_error(413), False),
        (lambda file: make_http_error(401), True),
        (lambda file: make_http_error(429), True),
        (lambda file: make_http_error(503), True),
        (lambda file: requests.ConnectionError("refused"), True),
        (lambda file: MlflowException("not yours", PERMISSION_DENIED), False),
        (lambda file: MlflowException("database is locked"), True),
    ],
)
def test_what_fails_of_one_run_keeps_no_other_one_waiting(project, result, monkeypatch, error, is_of_store):
    """A file of its own that cannot be read, or what the server refuses of it; and what says that the store is away."""
    for number in (0, 1):
        train(project.context(project.settings(), "seed=0", job_number=number), result)
    first, second = find_outboxes(project.folder)
    upload = MlflowClient.log_artifact

    def log_artifact(client, run_id, file, *place):
        if Path(file).is_relative_to(first.folder):
            raise error(file)
        upload(client, run_id, file, *place)

    monkeypatch.setattr(MlflowClient, "log_artifact", log_artifact)
    deliverer = Deliverer(project.folder)
    assert not deliverer.deliver()
    assert (first.is_delivered, second.is_delivered) == (False, not is_of_store)


def make_http_error(status):
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(f"{status} for http://host", response=response)


def test_what_lies_below_the_folder_of_a_run_is_delivered_too(tmp_path):
    """Folders that people name lie where they like; and a sweep may have lost the file that names its parent."""
    outboxes = [Outbox(tmp_path / name) for name in ("a", "a/b/0", "a/b", "c")]
    for outbox in outboxes:
        outbox.note("tags", tags={"a": "1"})
    assert Deliverer(tmp_path).deliver()
    assert all(outbox.is_delivered for outbox in outboxes)


def test_half_a_line_of_a_killed_process_waits_for_nobody(tmp_path, capsys):
    Outbox(tmp_path).note("tags", tags={"a": "1"})
    with (tmp_path / OUTBOX_FILE).open("ab") as file:
        file.write(b'{"kind": "tags", "ta')
    for said in ("1 delivered.\n", "Everything is delivered.\n"):
        main(["sync", str(tmp_path)])
        assert capsys.readouterr().out == said


def test_the_store_of_a_run_is_named_as_it_was_for_the_run(project, result, monkeypatch, capsys):
    monkeypatch.chdir(project.folder)
    with open_recorder(project.context(project.settings("tracking.uri=sqlite:///own.db"), job_number=0)) as recorder:
        recorder.finished(result)
    main(["sync", str(project.folder / "multirun"), "--tracking-uri", "sqlite:///own.db"])
    assert capsys.readouterr().out == "1 delivered.\n"


def test_an_address_with_a_name_is_used_for_a_record_without_it(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(delivery, "open_client", opened.append)
    deliverer = Deliverer(tmp_path, ["http://me@host:5000"])
    for noted in ("http://host:5000", "http://host:5000/", "http://host:6000", "http://host:5000/other"):
        deliverer.open(noted, "", "")
    assert opened == [*["http://me@host:5000"] * 2, "http://host:6000", "http://host:5000/other"]
