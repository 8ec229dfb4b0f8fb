"""The files of docs/extending.md, taken out of the page, put where it says, and used by real commands."""

from __future__ import annotations

import csv
import itertools
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from sentiment.config.home import PROJECT_DIR
from sentiment.config.reading import read_settings
from sentiment.data.build import build_source
from sentiment.tracking.folder import PREDICTIONS_FILE
from sentiment.tracking.result_file import read_result
from tests.composing import compose_project

PAGE = (PROJECT_DIR / "docs" / "extending.md").read_text(encoding="utf-8")
TINY = (
    "trainer.max_epochs=1", "trainer.threads=1", "trainer.accelerator=cpu", "tracking=none",
)  # fmt: skip
TINY_REVIEWS = ("data.train_size=200", "data.test_size=60", "data.max_sentences=3")
PARTS = (["funny", "warm", "clever"], ["film", "plot", "cast"], ["tonight", "again", "twice"], ["really", "just", "so"])


def read_files() -> dict[str, str]:
    """Give path and content of each file on the page; a block is a file if one of its first two lines is its path."""
    files = {}
    for block in re.findall(r"^```(?:python|yaml)\n(.*?)^```", PAGE, re.M | re.S):
        [path] = [line[2:] for line in block.splitlines()[:2] if re.fullmatch(r"# [\w/]+\.(py|yaml)", line)]
        files[path] = block
    return files


FILES = read_files()


def list_commands() -> list[str]:
    blocks = re.findall(r"^```bash\n(.*?)^```", PAGE, re.M | re.S)
    return [line for block in blocks for line in block.splitlines() if line.startswith("python run.py ")]


@pytest.fixture
def extended(fresh_checkout):
    """A checkout with all files of the page and the data that they read."""
    for path, content in FILES.items():
        (fresh_checkout.folder / path).write_text(content, encoding="utf-8")
    write_reviews(fresh_checkout.folder)
    return fresh_checkout


def write_reviews(folder: Path) -> None:
    rows = []
    for number, words in enumerate(itertools.product(*PARTS)):
        for label, negation in (("bad", "not"), ("good", "very")):
            rows.append((" ".join((negation, *words)), label))
            file = folder / "reviews" / label / f"{number}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(rows[-1][0], encoding="utf-8")
    with (folder / "reviews.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("text", "label"), *rows])


def read_results(checkout) -> dict[str, dict]:
    found = [asdict(read_result(path)) for path in sorted(checkout.folder.glob("multirun/**/result.json"))]
    return {result["params"]["model.name"] + "/" + result["params"]["data.name"]: result for result in found}


def predict(checkout, *arguments: str) -> subprocess.CompletedProcess[str]:
    return command(checkout, "predict", *arguments)


def command(checkout, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "HYDRA", "HF_"))}
    return subprocess.run(
        [sys.executable, "-m", "sentiment", *arguments],
        cwd=checkout.folder, env={**kept, "PYTHONPATH": str(checkout.folder), "COLUMNS": "120"},
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


def test_the_page_has_a_file_for_each_recipe():
    folders = sorted(str(Path(path).parent) for path in FILES)
    assert folders == ["conf/data", "conf/experiment", "conf/search", *["sentiment/extensions"] * 4]
    assert len(list_commands()) >= 12


@pytest.mark.slow
def test_a_broken_file_is_explained_as_the_page_shows(fresh_checkout):
    [shown] = re.findall(r"^```text\n(.*?)^```", PAGE, re.M | re.S)
    path = "sentiment/extensions/cnn.py"
    content = FILES[path].replace(", dropout: float\n", "\n")
    assert content != FILES[path]
    (fresh_checkout.folder / path).write_text(content, encoding="utf-8")
    result = fresh_checkout.run("--help")
    assert (result.returncode, result.stderr.strip()) == (1, shown.strip())


CHECK = """
import shlex, sys
from sentiment.config.command_line import check_command_line
from sentiment.search.plugin.sweeper import STUDY_SWEEPER, list_search_points
from sentiment.tracking.result_file import read_result
import run
for line in sys.stdin.read().splitlines():
    check_command_line(shlex.split(line)[2:], run.CONFIG_DIR, "config", {STUDY_SWEEPER: list_search_points})
    print("valid")
"""


@pytest.mark.slow
def test_every_documented_command_is_valid(extended):
    lines = list_commands()
    result = subprocess.run(
        [sys.executable, "-c", CHECK], cwd=extended.folder, input="\n".join(lines),
        env={**os.environ, "PYTHONPATH": str(extended.folder)},
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert result.stdout.split().count("valid") == len(lines), result.stderr


@pytest.mark.slow
def test_help_completion_and_faults_know_the_options(extended):
    shown = extended.run("--help").stdout
    assert "model: cnn, ngram, rnn, transformer" in shown
    assert "tracking: both, lines, mlflow, none, tensorboard" in shown
    line = "python run.py model=cnn model.fil"
    completed = extended.run("-sc", "query=bash", COMP_LINE=line, COMP_POINT=str(len(line)))
    assert "model.filters=" in completed.stdout
    result = extended.run("model=cnn", "model.filters=0", "data=folder", "tracking=lines", "tracking.flie=x")
    assert result.returncode == 1
    assert "did you mean tracking.file?" in result.stderr
    assert "model.filters: 0 is out of range" in result.stderr
    assert "did you mean data=folders?" in result.stderr


@pytest.mark.slow
def test_the_model_trains_and_predicts_from_its_bundle(extended):
    result = extended.run("model=cnn", "model.filters=8", *TINY_REVIEWS, *TINY, "hydra.run.dir=multirun/one")
    assert result.returncode == 0, result.stderr
    assert read_results(extended)["cnn/synthetic"]["status"] == "FINISHED"
    settings = json.loads((extended.folder / "multirun/one/model/settings.json").read_text())["model"]
    assert settings == {"name": "cnn", "embedding_size": 64, "filters": 8, "spans": [1, 2, 3], "dropout": 0.3}

    texts = build_source(read_settings(compose_project(*TINY_REVIEWS), Path.cwd()).data).load().test.texts
    answer = predict(extended, "--model", "multirun/one/model", "--format", "jsonl", *texts, "")
    assert answer.returncode == 0, answer.stderr
    rows = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [row["text"] for row in rows] == [*texts, ""]
    answers = [[row["probabilities"][name] for name in ("negative", "positive")] for row in rows[:-1]]
    with np.load(extended.folder / "multirun/one" / PREDICTIONS_FILE) as tested:
        np.testing.assert_allclose(answers, tested["probabilities"], atol=1e-5, err_msg="as it was tested")
    explained = predict(extended, "--model", "multirun/one/model", "--explain", "a good film")
    assert explained.returncode == 0, explained.stderr

    (extended.folder / "sentiment/extensions/cnn.py").unlink()
    forgotten = predict(extended, "--model", "multirun/one/model", "a good film")
    assert forgotten.returncode == 1
    assert "Traceback" not in forgotten.stderr
    assert "was made with model=cnn, which is not known here" in forgotten.stderr


@pytest.mark.slow
def test_the_metric_is_recorded_selects_compares_and_is_missed(extended):
    from mlflow import MlflowClient

    small = (*TINY_REVIEWS, *TINY[1:-1], "trainer.max_epochs=3", "tracking.log_model=false")
    done = extended.run(
        "-m", "objective=val/surprise", "model=rnn,cnn", "seed=0,1", *small, "hydra.sweep.dir=multirun/s"
    )
    assert done.returncode == 0, done.stderr
    assert "val/surprise" in done.stdout + done.stderr
    client = MlflowClient(tracking_uri=extended.store)
    table = (extended.folder / "multirun/s/report/ranking.csv").read_text().splitlines()
    assert {"val/surprise", "test/surprise"} <= set(table[0].split(","))
    for job in "0123":
        record = read_result(extended.folder / "multirun/s" / job / "result.json")
        selected = min(record.history, key=lambda point: point["val/surprise"])
        assert (record.best_epoch, record.metrics["val/surprise"]) == (selected["epoch"], selected["val/surprise"])
        recorded = client.get_run(record.run_id).data.metrics
        assert recorded["best/val/surprise"] == record.metrics["val/surprise"]
        assert recorded["test/surprise"] == record.metrics["test/surprise"]
    compared = command(extended, "compare", "multirun/s", "--metric", "test/surprise")
    assert compared.returncode == 0, compared.stderr
    assert "surprise" in compared.stdout

    (extended.folder / "sentiment/extensions/surprise.py").unlink()
    missed = command(extended, "report", "multirun/s")
    assert missed.returncode == 1
    assert "val/surprise is no metric of this project" in missed.stderr


@pytest.mark.slow
def test_the_search_runs_its_trials(extended):
    result = extended.run(
        "-m", "search=cnn", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1", *TINY_REVIEWS, *TINY
    )
    assert result.returncode == 0, result.stderr
    found = [json.loads(path.read_text()) for path in extended.folder.glob("multirun/*/*/result.json")]
    assert len(found) == 2
    for trial in found:
        assert (trial["status"], trial["model"]) == ("FINISHED", "cnn")
        assert int(trial["params"]["model.filters"]) <= 2 * int(trial["params"]["model.embedding_size"])


@pytest.mark.slow
def test_both_kinds_of_data_train(extended):
    for option in ("data=mine", "data=folders data.path=reviews"):
        result = extended.run("model=cnn", *option.split(), *TINY)
        assert result.returncode == 0, result.stderr
    results = read_results(extended)
    assert {name: result["status"] for name, result in results.items()} == {
        "cnn/files": "FINISHED", "cnn/folders": "FINISHED",
    }  # fmt: skip
    path = results["cnn/folders"]["params"]["data.path"]
    assert path == "${project_dir:}/reviews", "found from any folder, wherever the project is"
    assert results["cnn/files"]["params"]["data.tokenizer.vocabulary_size"] == "5000"
    assert len({result["tags"]["data.fingerprint"] for result in results.values()}) == 2


@pytest.mark.slow
def test_the_tracker_records_alone_and_beside_mlflow(extended):
    small = (*TINY_REVIEWS, *TINY[:-1], "tracking=lines", "model=ngram")
    alone = extended.run(*small, "hydra.run.dir=multirun/alone")
    assert alone.returncode == 0, alone.stderr
    assert not (extended.folder / "mlflow.db").exists()
    beside = extended.run(*small, "tracking.mlflow=true", "hydra.run.dir=multirun/beside")
    assert beside.returncode == 0, beside.stderr
    runs: dict[str, list[str]] = {}
    for line in map(json.loads, (extended.folder / "runs.jsonl").read_text().splitlines()):
        runs.setdefault(Path(line["run"]).name, []).append(line["event"])
    events = ["started", "described", "described", "validated", "tested", "finished", "closed"]
    assert runs == {"alone": events, "beside": events}
    for name in runs:
        result = read_result(extended.folder / "multirun" / name / "result.json")
        assert result.params["tracking.name"] == "lines"
        assert (result.run_id is not None) is (name == "beside"), "in MLflow only where it is asked to"


@pytest.mark.slow
def test_the_logged_model_takes_the_extension_along(extended):
    from mlflow import MlflowClient

    result = extended.run("model=cnn", *TINY_REVIEWS, *TINY[:-1])
    assert result.returncode == 0, result.stderr
    [run] = read_results(extended).values()
    client = MlflowClient(tracking_uri=extended.store)
    [output] = client.get_run(run["run_id"]).outputs.model_outputs
    folder = client.get_logged_model(output.model_id).artifact_location
    code = (
        "import sys, mlflow, pandas\n"
        f"answers = mlflow.pyfunc.load_model({folder!r}).predict(pandas.DataFrame({{'text': ['a good film']}}))\n"
        "print(answers.probability_positive[0], sys.modules['sentiment.extensions.cnn'].__file__)"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, timeout=280)
    assert answer.returncode == 0, answer.stderr
    probability, file = answer.stdout.split()
    [bundle] = extended.folder.glob("multirun/**/model")
    answer = predict(extended, "--model", str(bundle), "--format", "jsonl", "a good film")
    assert float(probability) == pytest.approx(json.loads(answer.stdout)["probabilities"]["positive"], abs=1e-5)
    assert "/code.zip/sentiment/" in file, "the copy in the model, not the checkout's"
