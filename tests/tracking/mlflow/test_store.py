"""Opening the store: from nothing, from several processes, and where it cannot be opened."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mlflow import MlflowClient

from sentiment.errors import TrackingError
from sentiment.tracking.mlflow.store import open_store
from sentiment.tracking.recorder import open_recorder
from tests.tracking.mlflow.fake_server import FakeServer

DAY = timedelta(days=1)

PROCESSES = """
import logging, multiprocessing, sys, traceback
from sentiment.tracking.mlflow.store import open_store
from mlflow.entities import Metric  # imported once: forking shares the import, not the store

uri, artifact_dir, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
context = multiprocessing.get_context("fork")
barrier = context.Barrier(count)

def record():
    barrier.wait()
    store = open_store(uri, "sentiment", artifact_dir)
    run_id = store.client.create_run(store.experiment_id).info.run_id
    barrier.wait()
    for batch in range(10):
        steps = range(batch * 50, batch * 50 + 50)
        store.client.log_batch(run_id, metrics=[Metric("train/loss", 1.0, step, step) for step in steps])
    store.client.set_terminated(run_id)

processes = [context.Process(target=record) for _ in range(count)]
for process in processes:
    process.start()
for process in processes:
    process.join()
print([process.exitcode for process in processes])
"""


@pytest.mark.slow
def test_four_processes_start_on_no_database_and_record_at_once(project):
    (project.folder / "mlflow.db").unlink()
    arguments = [project.uri, str(project.folder / "mlartifacts"), "4"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROCESSES, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "[0, 0, 0, 0]\n", done.stderr  # and not a word of the migration
    assert done.stderr == ""
    assert [run.info.status for run in project.runs()] == ["FINISHED"] * 4
    for run in project.runs():
        assert len(project.client().get_metric_history(run.info.run_id, "train/loss")) == 500


def test_a_file_that_is_no_database_is_told_at_once(tmp_path):
    (tmp_path / "mlflow.db").write_text("this is a diary, not a database" * 100, encoding="utf-8")
    started = time.monotonic()
    with pytest.raises(TrackingError, match=r"not a database[\s\S]*tracking=none"):
        open_store(f"sqlite:///{tmp_path}/mlflow.db", "sentiment", str(tmp_path))
    assert time.monotonic() - started < 5


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TrackingError, match=r"tracking\.uri="):
        open_store(f"sqlite:///{tmp_path}/file/mlflow.db", "sentiment", str(tmp_path))


def test_a_server_that_does_not_answer_is_told_at_once():
    started = time.monotonic()
    with pytest.raises(TrackingError, match=r"http://127\.0\.0\.1:9[\s\S]*refused"):
        open_store("http://127.0.0.1:9", "sentiment", "unused")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(("seconds", "waited"), [(None, "0.1"), ("1", "1")])
def test_a_server_that_takes_no_connection_is_waited_for_as_mlflow_is_told(monkeypatch, seconds, waited):
    """MLflow's error advises to set the variable."""
    monkeypatch.setattr("sentiment.tracking.mlflow.store.SERVER_TIMEOUT_SECONDS", 0.1)
    if seconds is not None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", seconds)
    with ExitStack() as stack:
        server, *others = [stack.enter_context(socket.socket()) for _ in range(4)]
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for other in others:  # the queue is full, and who comes next gets no answer
            other.setblocking(False)
            other.connect_ex(server.getsockname())
        with pytest.raises(TrackingError, match=rf"connect timeout={waited}\).*MLFLOW_HTTP_REQUEST_TIMEOUT"):
            open_store(f"http://127.0.0.1:{server.getsockname()[1]}", "sentiment", "unused")


def test_a_server_with_a_certificate_of_its_own_is_known_by_what_mlflow_is_told(tmp_path, monkeypatch):
    certificate = make_certificate(tmp_path / "server.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = FakeServer(context)
    try:
        with pytest.raises(TrackingError, match="CERTIFICATE_VERIFY_FAILED"):
            open_store(server.uri, "sentiment", "unused")
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
        assert open_store(server.uri, "sentiment", "unused").experiment_id == "1"
    finally:
        server.die()


def make_certificate(file):
    """Write a key and a certificate of 127.0.0.1 that nobody else has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + DAY)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False)
    signed = builder.sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + signed.public_bytes(pem))
    return file


def test_an_experiment_that_another_process_makes_at_the_same_moment_is_taken(project, monkeypatch):
    found = MlflowClient.get_experiment_by_name

    def find_just_before(client, name):
        monkeypatch.setattr(MlflowClient, "get_experiment_by_name", found)
        MlflowClient(project.uri).create_experiment(name)

    # An SQLite file is locked, another database is not.
    monkeypatch.setattr("sentiment.tracking.mlflow.store.sqlite_file", lambda uri: None)
    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", find_just_before)
    opened = open_store(project.uri, "new", str(project.folder))
    assert opened.experiment_id == opened.client.get_experiment_by_name("new").experiment_id


def test_a_deleted_experiment_is_told_with_the_remedy(project):
    store = open_store(project.uri, "sentiment", str(project.folder))
    store.client.delete_experiment(store.experiment_id)
    with pytest.raises(TrackingError, match="experiments restore"):
        open_store(project.uri, "sentiment", str(project.folder))


@pytest.mark.slow
def test_a_plain_mlflow_server_in_the_project_shows_runs_and_serves_artifacts(project, result):
    with open_recorder(project.context(project.settings())) as recorder:
        recorder.finished(result)
    run = project.run()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free_port = probe.getsockname()[1]
    base = f"http://127.0.0.1:{free_port}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    command = [sys.executable, "-m", "mlflow", "ui", "--port", str(free_port)]
    server = subprocess.Popen(
        command, cwd=project.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(f"{base}/health")
        search = {"experiment_ids": [run.info.experiment_id], "max_results": 10}
        found = fetch_json(f"{base}/api/2.0/mlflow/runs/search", search)["runs"]
        assert [each["info"]["run_id"] for each in found] == [run.info.run_id]
        listing = fetch_json(f"{base}/api/2.0/mlflow/artifacts/list?run_id={run.info.run_id}")
        assert "confusion_matrix.png" in [file["path"] for file in listing["files"]]
        picture = f"{base}/get-artifact?path=confusion_matrix.png&run_id={run.info.run_id}"
        with urllib.request.urlopen(picture, timeout=30) as response:
            assert response.read().startswith(b"\x89PNG")
        record_over_http(project, result, base)
    finally:
        server.terminate()
        server.wait(timeout=30)


def record_over_http(project, result, base):
    """The same server as the tracking URI: it keeps the artifacts itself."""
    settings = project.settings(f"tracking.uri={base}", "tracking.experiment=remote")
    with open_recorder(replace(project.context(settings), output_dir=project.folder / "multirun/remote")) as recorder:
        recorder.validated({"val/accuracy": 0.5}, step=1, epoch=1.0)
        recorder.finished(result)
    client = open_store(base, "remote", "unused").client
    (run,) = client.search_runs([client.get_experiment_by_name("remote").experiment_id])
    assert (run.info.status, run.data.metrics["val/accuracy"]) == ("FINISHED", 0.5)
    assert "confusion_matrix.png" in [file.path for file in client.list_artifacts(run.info.run_id)]


def wait_for(url):
    deadline = time.monotonic() + 90
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


def fetch_json(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.loads(response.read())
