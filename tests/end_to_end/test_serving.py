"""``mlflow models serve`` answers over HTTP with a registered model, as ``predict`` does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentiment.models.bundle import Predictor

pytestmark = pytest.mark.slow

START_SECONDS = 120
ANSWER_SECONDS = 60
NAME = "reviews"

TEXTS = [
    "a great film",
    "what a bore \U0001f634, 最悪 Ünïcode e\u0301",
    "",
    "  ",
    "<br />",
    "great\n\nbut \x00 far too long",
]


@dataclass(frozen=True)
class Server:
    """A scoring server, and the predictor that it should agree with."""

    address: str
    predictor: Predictor

    def post(self, body: Any, content_type: str = "application/json") -> tuple[int, Any]:
        """Give status and decoded answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}/invocations", data, {"Content-Type": content_type})
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def expect_equal(self, texts: list[str], answer: tuple[int, Any]) -> None:
        status, content = answer
        assert status == 200, content
        rows, expected = content["predictions"], self.predictor.predict(texts)
        assert [row["label"] for row in rows] == expected.labels
        got = [[row[f"probability_{name}"] for name in expected.class_names] for row in rows]
        np.testing.assert_allclose(got, expected.probabilities, atol=1e-6)


@pytest.fixture(scope="module")
def registered(checkout, tiny) -> tuple[str, Path]:
    """Train and register a model; give the store and the bundle."""
    from mlflow import MlflowClient

    from sentiment.tracking.mlflow.registry import register_champion
    from sentiment.tracking.result_file import read_result_of

    folder = checkout.folder / "multirun/served"
    done = checkout.run(*tiny, "tracking.log_model=true", f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    record = read_result_of(folder)
    register_champion(
        checkout.store,
        NAME,
        record.run_id,
        objective="val/accuracy",
        value=record.metrics["val/accuracy"],
        direction="maximize",
    )
    assert MlflowClient(checkout.store).get_model_version_by_alias(NAME, "champion").run_id == record.run_id
    return checkout.store, folder / "model"


@pytest.fixture(scope="module")
def server(registered, tmp_path_factory) -> Iterator[Server]:
    """Serve the champion on a free port of the loopback, from a folder that knows nothing of the project."""
    store, bundle = registered
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("elsewhere")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "PYTHON"))}
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", f"models:/{NAME}@champion"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # it starts uvicorn by its name
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**kept, "PATH": path, "MLFLOW_TRACKING_URI": store},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait_until_up(address, process, folder / "log.txt")
            yield Server(address, Predictor.load(bundle))
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)


def wait_until_up(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/ping", timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    pytest.fail(f"the server did not start:\n{log.read_text()}")


def test_every_form_of_request_gets_the_same_answer_as_predict(server):
    forms = [
        {"dataframe_split": {"columns": ["text"], "data": [[text] for text in TEXTS]}},
        {"dataframe_records": [{"text": text} for text in TEXTS]},
        {"instances": [{"text": text} for text in TEXTS]},
        {"inputs": {"text": TEXTS}},
    ]
    for form in forms:
        server.expect_equal(TEXTS, server.post(form))


@pytest.mark.parametrize("count", [1, 500])
def test_batches(server, count):
    texts = [f"{TEXTS[row % 2]} number {row} " + "very good " * (row % 40) for row in range(count)]
    server.expect_equal(texts, server.post({"dataframe_records": [{"text": text} for text in texts]}))


def test_a_very_long_text(server):
    text = "not a good film at all " * 16_667  # 100,002 words
    server.expect_equal([text], server.post({"inputs": {"text": [text]}}))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"dataframe_records": [{"review": "a great film"}]}, "text"),
        ({"dataframe_records": [{"text": None}]}, "text"),
        ({"dataframe_records": [{"text": 7}]}, "text"),
        ({"dataframe_split": {"columns": ["review"], "data": [["a"]]}}, "text"),
        ({"instances": [{"review": "a great film"}]}, "text"),
        ({"text": ["a great film"]}, "inputs"),
        (b"{no json", "JSON"),
    ],
)
def test_a_wrong_request_is_the_askers_fault_and_says_so(server, body, told):
    status, content = server.post(body)
    assert 400 <= status < 500, content
    assert told in content["message"]
    assert len(content["message"]) < 1000


def test_no_texts_get_no_answers(server):
    status, content = server.post({"dataframe_split": {"columns": ["text"], "data": []}})
    assert (status, content) == (200, {"predictions": []})


def test_predict_finds_the_registered_model(registered, checkout):
    store, bundle = registered
    expected = Predictor.load(bundle).predict(["a great film"])
    for name in (NAME, f"{NAME}/1", f"models:/{NAME}@champion", f"{NAME}@champion"):
        done = subprocess.run(
            [sys.executable, "-m", "sentiment", "predict", "a great film", "--model", name, "--format", "jsonl"],
            cwd=checkout.folder,
            env={**os.environ, "MLFLOW_TRACKING_URI": store},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["label"] == expected.labels[0]
