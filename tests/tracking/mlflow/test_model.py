"""The logged model predicts on its own, far from this checkout."""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND
from packaging.requirements import Requirement
from pydantic import BaseModel

from sentiment.config.option import Option
from sentiment.data.batching import Cut
from sentiment.data.tokenizer import train_tokenizer
from sentiment.models.build import build_model
from sentiment.models.bundle import Predictor, save_bundle
from sentiment.tracking.mlflow.delivery import Deliverer
from sentiment.tracking.mlflow.model import _pack_code, requirements
from sentiment.tracking.outbox import DELIVERY_FILE
from sentiment.tracking.recorder import open_recorder
from sentiment.tracking.result_file import read_result

TEXTS = ["a great film", "a terrible, terrible film", "great acting but a boring plot", ""]

PREDICT = """
import json, sys
import mlflow
import pandas as pd

uri, model, texts = json.loads(sys.argv[1])
mlflow.set_tracking_uri(uri)
loaded = mlflow.pyfunc.load_model(model)
table = loaded.predict(pd.DataFrame({"text": texts}))
used = [module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] == "sentiment"]
print("PREDICTED", json.dumps({"table": table.to_dict(orient="split"), "used": used}))
"""


@pytest.fixture
def recorded(project, result):
    """A project with a recorded run whose model is real, though untrained."""
    torch.manual_seed(0)
    settings = project.settings("tracking.log_model=true")
    tokenizer = train_tokenizer(TEXTS[:3], "word", vocabulary_size=64, min_frequency=1, lowercase=True)
    network = build_model(
        settings.model, vocabulary_size=tokenizer.vocabulary_size, classes=2, max_tokens=settings.data.max_tokens
    )
    context = project.context(settings)
    bundle = context.output_dir / "model"
    save_bundle(
        bundle,
        network,
        settings.model,
        tokenizer.to_json(),
        result.class_names,
        Cut.of(settings.data),
    )
    with open_recorder(context) as recorder:
        recorder.validated({"val/accuracy": 0.8, "val/auroc": math.nan}, step=10, epoch=result.best_epoch)
        recorder.validated({"val/accuracy": 0.7}, step=20, epoch=result.best_epoch + 1)
        recorder.tested({"test/accuracy": 0.75}, step=20, epoch=result.best_epoch)
        recorder.finished(replace(result, bundle=bundle))
    return project, bundle


def record_job(project, result, bundle):
    """Record a job with this model in an experiment of its own; nothing of it is delivered yet."""
    context = project.context(project.settings("tracking.log_model=true", "tracking.experiment=full"), job_number=0)
    with open_recorder(context) as recorder:
        recorder.validated({"val/accuracy": 0.8}, step=10, epoch=result.best_epoch)
        recorder.tested({"test/accuracy": 0.75}, step=20, epoch=result.best_epoch)
        recorder.finished(replace(result, bundle=shutil.copytree(bundle, context.output_dir / "model")))
    return context


def read_job(project):
    """Read the run of that job, and all its logged models."""
    experiment = project.client().get_experiment_by_name("full").experiment_id
    (run,) = project.client().search_runs([experiment])
    return run, project.client().search_logged_models([experiment])


@pytest.mark.slow
def test_round_trip_in_a_process_elsewhere(recorded, tmp_path, project_dir):
    project, bundle = recorded
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    arguments = json.dumps([project.uri, f"runs:/{project.run().info.run_id}/model", TEXTS])
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "MLFLOW"))}
    done = subprocess.run(
        [sys.executable, "-I", "-c", PREDICT, arguments],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("PREDICTED ")]
    answer = json.loads(line.removeprefix("PREDICTED "))
    assert answer["table"]["columns"] == ["label", "probability_negative", "probability_positive"]
    expected = Predictor.load(bundle).predict(TEXTS)
    assert [row[0] for row in answer["table"]["data"]] == expected.labels
    np.testing.assert_allclose([row[1:] for row in answer["table"]["data"]], expected.probabilities, atol=1e-6)
    assert len(answer["used"]) > 5
    assert not [file for file in answer["used"] if Path(file).is_relative_to(project_dir)]  # the copy in the model
    assert list(elsewhere.iterdir()) == []  # nothing is left where it was used


def post(app, body: bytes) -> tuple[int, dict]:
    """Ask MLflow's scoring server within this process."""
    sent, bodies = [], [{"type": "http.request", "body": body}]

    async def receive():
        return bodies.pop() if bodies else await asyncio.sleep(3600)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/invocations", "query_string": b"", "root_path": ""}
    scope["headers"] = [(b"content-type", b"application/json")]
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of mlflow's server
def test_a_request_that_is_too_large_is_refused_over_http(recorded, monkeypatch):
    from mlflow.pyfunc import load_model, scoring_server

    project, bundle = recorded
    monkeypatch.setattr(sys, "path", list(sys.path))  # the model adds its own copy of the package
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "")  # the server sets it for good
    (model,) = project.client().search_logged_models([project.run().info.experiment_id])
    app = scoring_server.init(load_model(model.artifact_location))
    for texts in (["x" * 20_000_000], ["a good film " * 1_700_000], ["a"] * 10_001, ["x" * 3_000_000] * 4):
        status, answer = post(app, json.dumps({"inputs": {"text": texts}}).encode())
        assert status == 400
        assert "10,000 texts and 10,000,000 characters" in answer["message"]
        assert len(json.dumps(answer)) < 1000
    texts = ["x" * 4_000_000, "a great film " * 400_000]  # cut before they are tokenised
    status, answer = post(app, json.dumps({"inputs": {"text": texts}}).encode())
    assert status == 200
    assert [row["label"] for row in answer["predictions"]] == Predictor.load(bundle).predict(texts).labels


def test_an_answer_has_the_index_of_its_row(recorded, monkeypatch):
    """pandas puts a column into a frame by the index: after a shuffle, all labels would be those of other rows."""
    from mlflow.pyfunc import load_model

    project, bundle = recorded
    monkeypatch.setattr(sys, "path", list(sys.path))  # the model adds its own copy of the package
    (model,) = project.client().search_logged_models([project.run().info.experiment_id])
    frame = pd.DataFrame({"text": TEXTS[:3]}, index=[7, 3, 5])
    answer = load_model(model.artifact_location).predict(frame)
    assert list(answer.index) == [7, 3, 5]
    assert list(answer["label"]) == Predictor.load(bundle).predict(TEXTS[:3]).labels


def test_the_model_holds_no_pickle_and_no_caches(recorded):
    project, _ = recorded
    (model,) = project.client().search_logged_models([project.run().info.experiment_id])
    folder = Path(model.artifact_location.removeprefix("file://"))
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert {"MLmodel", "requirements.txt", "artifacts/model/weights.safetensors"} <= files
    assert not [name for name in files if name.endswith((".pkl", ".pyc", ".pt", ".ckpt"))]
    content = (folder / "MLmodel").read_text(encoding="utf-8")
    assert '"name": "text"' in content
    assert "probability_positive" in content


def test_metrics_of_the_selected_checkpoint_stand_beside_the_model(recorded):
    project, _ = recorded
    (model,) = project.client().search_logged_models([project.run().info.experiment_id])
    shown = {metric.key: metric.value for metric in model.metrics}
    assert shown == {"val/accuracy": 0.8, "test/accuracy": 0.75}  # and nothing undefined as 0
    history = project.client().get_metric_history(project.run().info.run_id, "val/accuracy")
    assert [(point.step, point.value) for point in history] == [(10, 0.8), (20, 0.7)]  # linked, not written twice


@pytest.mark.parametrize("last", ["log_model_artifacts", "log_outputs", "finalize_logged_model"])
def test_a_model_whose_process_was_killed_stands_once_with_its_metrics(recorded, project, result, monkeypatch, last):
    """After the last call that came through, nothing more is sent; another process delivers what waits."""
    record_job(project, result, recorded[1])

    def die(*arguments, **named):
        raise KeyboardInterrupt

    def do_last(*arguments, **named):
        original(*arguments, **named)
        for name in ("log_outputs", "finalize_logged_model", "log_batch"):
            monkeypatch.setattr(MlflowClient, name, die)

    original = getattr(MlflowClient, last)
    monkeypatch.setattr(MlflowClient, last, do_last)
    with pytest.raises(KeyboardInterrupt):
        project.deliver()
    monkeypatch.undo()
    project.deliver()
    run, models = read_job(project)
    (ready,) = (model for model in models if str(model.status) == "READY")
    assert ready.model_id in {output.model_id for output in run.outputs.model_outputs}
    assert sorted(metric.value for metric in ready.metrics) == [0.75, 0.8]


def test_requirements_can_be_installed_anywhere():
    assert all("+" not in requirement for requirement in requirements())
    assert any(requirement.startswith("torch==") for requirement in requirements())


@pytest.mark.slow
def test_what_prediction_imports_comes_with_the_requirements():
    """In an environment of a server's own there is nothing else."""
    code = "import sys, sentiment.models.bundle; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    homes = packages_distributions()
    imported = {home.lower() for name in done.stdout.split() for home in homes.get(name, ()) if name != "sentiment"}
    needed, unread = set(), [requirement.partition("==")[0] for requirement in requirements()]
    while unread:
        name = unread.pop().lower().replace("_", "-")
        if name not in needed:
            needed.add(name)
            found = map(Requirement, requires(name) or () if is_installed(name) else ())
            unread += [one.name for one in found if one.marker is None or one.marker.evaluate({"extra": ""})]
    optional = {"dill", "tqdm"}  # torch takes them where they are
    assert {name.replace("_", "-") for name in imported} - needed <= optional


@pytest.mark.parametrize(
    ("target", "module", "expected"),
    [
        ("a:B", None, set()),
        (type("Net", (), {"__module__": "sentiment.extensions.net"}), "sentiment.extensions.net", {"net", "base"}),
        (torch.nn.Linear, "sentiment.extensions.net", {"net", "base"}),
        (type("Net", (), {"__module__": "library"}), "sentiment.extensions.loading", {"loading", "base"}),
    ],
)
def test_of_the_extensions_those_go_along_that_the_model_needs(tmp_path, monkeypatch, target, module, expected):
    """Any other may import what the server does not have, and would keep all models from being loaded."""
    folder = tmp_path / "sentiment" / "extensions"
    folder.mkdir(parents=True)
    imports = "from sentiment.extensions import (  # what it builds on\n    base,\n)\n# nor does it import kappa"
    files = {"__init__": "", "_part": "", "net": imports, "base": "import torch", "kappa": "import nowhere_installed"}
    loading = "import importlib\nbase = importlib.import_module('sentiment.extensions.base')"
    for name, content in {**files, "loading": loading}.items():
        (folder / f"{name}.py").write_text(content)
    monkeypatch.setattr("sentiment.__file__", str(tmp_path / "sentiment" / "__init__.py"))
    file = _pack_code(tmp_path / "code.zip", Option("model", "net", BaseModel, target, module=module))
    packed = {Path(name).stem for name in zipfile.ZipFile(file).namelist()}
    assert packed == {"__init__", "_part"} | expected


def is_installed(name):
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def test_a_model_that_cannot_be_saved_is_marked_failed_and_the_run_is_none_the_worse(
    recorded, project, result, monkeypatch
):
    def save(*arguments):
        raise OSError("no space left on device")

    monkeypatch.setattr("sentiment.tracking.mlflow.model._save", save)
    context = record_job(project, result, recorded[1])
    assert not Deliverer(project.folder, [project.uri]).deliver()
    assert read_result(context.output_dir / "result.json").status == "FINISHED"
    monkeypatch.undo()
    project.deliver()
    run, models = read_job(project)
    assert run.info.status == "FINISHED"
    assert sorted(str(model.status) for model in models) == ["FAILED", "READY"]


def test_a_run_whose_server_took_no_models_has_its_own_once_that_is_updated(recorded, result, monkeypatch, caplog):
    project, bundle = recorded
    context = record_job(project, result, bundle)

    def refuse(*arguments, **named):
        raise MlflowException("", error_code=ENDPOINT_NOT_FOUND)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_logged_model", refuse)
        project.deliver()
    assert f"update the server, then remove {DELIVERY_FILE} in those folders and " in caplog.text
    assert read_job(project)[1] == []
    (context.output_dir / DELIVERY_FILE).unlink()
    project.deliver()
    run, models = read_job(project)
    assert [(model.source_run_id, str(model.status)) for model in models] == [(run.info.run_id, "READY")]
