"""``python -m sentiment best``: an experiment that is the run again, and a model in the registry."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from sentiment.__main__ import main
from sentiment.config import home
from sentiment.config.reading import read_settings
from sentiment.errors import SentimentError
from sentiment.tracking import runs as stored_runs
from sentiment.tracking.anew import VERSIONS_TAG
from sentiment.tracking.mlflow import registry
from sentiment.tracking.mlflow.store import open_store
from sentiment.tracking.mlflow.write import KEY_TAG
from sentiment.tracking.params import flatten_settings
from sentiment.tracking.result_file import ADOPTED_TAG, ResultRecord, read_result, write_result

PROJECT_DIR = home.PROJECT_DIR


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a sweep of two runs that nobody recorded in MLflow."""
    shutil.copytree(PROJECT_DIR / "conf", tmp_path / "conf")
    monkeypatch.setattr(home, "PROJECT_DIR", tmp_path)
    monkeypatch.setattr(stored_runs, "MULTIRUN_DIR", tmp_path / "multirun")
    for number, (depth, accuracy) in enumerate([(1, 0.8), (3, 0.9)]):
        with initialize_config_dir(str(tmp_path / "conf")):
            settings = read_settings(compose("config", [f"model.depth={depth}", "trainer.test=false"]), tmp_path)
        record = ResultRecord(
            name=f"transformer depth={depth}", model="transformer", status="FINISHED",
            started="2026-01-01T00:00:00+00:00", overrides=(f"model.depth={depth}",), params=flatten_settings(settings),
            job_number=number, metrics={"val/accuracy": accuracy}, tags={"device": "cpu (1 thread)"},
        )  # fmt: skip
        write_result(tmp_path / "multirun" / "sweep" / str(number), record)
    return tmp_path


def link_runs(project, run_id="a" * 32):
    """Let the runs' records name an MLflow run."""
    for file in (project / "multirun").rglob("result.json"):
        write_result(file.parent, replace(read_result(file), run_id=run_id))


def test_the_best_run_becomes_an_experiment(project, capsys):
    main(["best", "sweep", "--no-register"])
    printed = capsys.readouterr().out
    assert "Trial 1 of sweep: val/accuracy 90.00 %, rank 1 of 2." in printed
    assert "python run.py experiment=sweep_best trainer.threads=1" in printed
    content = (project / "conf" / "experiment" / "sweep_best.yaml").read_text()
    assert "depth: 3" in content
    assert "test: true" in content
    assert str(project) not in content


def test_without_mlflow_the_rest_is_done_and_the_reason_said(project, capsys):
    main(["best", "sweep", "--rank", "2", "--name", "second"])
    assert "Not registered. The run is not in MLflow" in capsys.readouterr().out
    assert "depth: 1" in (project / "conf" / "experiment" / "second.yaml").read_text()


@pytest.mark.slow
def test_a_registration_that_was_asked_for_by_name_must_succeed(project):
    with pytest.raises(registry.RegistryError, match="not in MLflow"):
        main(["best", "sweep", "--register-as", "reviews"])
    assert (project / "conf" / "experiment" / "sweep_best.yaml").exists()


def test_the_run_is_registered_with_its_own_figure(project, monkeypatch, capsys):
    calls = []

    def register(uri, name, run_id, **options):
        calls.append((uri, name, run_id, options))
        return registry.Registration(name, 3, registry.CHALLENGER, "the champion stays", True)

    link_runs(project)
    monkeypatch.setattr(registry, "register_champion", register)
    main(["best", "sweep", "--force", "--tracking-uri", "sqlite:///elsewhere.db"])
    options = {
        "objective": "val/accuracy", "value": 0.9, "direction": "maximize", "study": "sweep", "force": True,
    }  # fmt: skip
    assert calls == [(f"sqlite:///{Path.cwd()}/elsewhere.db", "sentiment-synthetic", "a" * 32, options)]
    assert "sentiment-synthetic version 3 as challenger: the champion stays." in capsys.readouterr().out


def test_a_run_that_was_taken_over_before_mlflow_had_it_is_registered(project, monkeypatch):
    store = open_store(f"sqlite:///{project}/mlflow.db", "sentiment", str(project / "mlartifacts"))
    run_id = store.client.create_run(store.experiment_id, tags={KEY_TAG: "its own name"}).info.run_id
    folder = project / "multirun/sweep/1"
    record = read_result(folder / "result.json")
    params = {**record.params, "tracking.uri": store.uri, "tracking.experiment": "sentiment"}
    write_result(folder, replace(record, params=params, tags={**record.tags, ADOPTED_TAG: "its own name"}))
    os.utime(folder / "result.json", (1000, 1000))
    registered = []

    def register(uri, name, run_id, **options):
        registered.append((uri, run_id))
        return registry.Registration(name, 3, registry.CHAMPION, "there was no champion yet", True)

    monkeypatch.setattr(registry, "register_champion", register)
    main(["best", "sweep"])
    assert registered == [(store.uri, run_id)]
    assert read_result(folder / "result.json").run_id == run_id
    assert (folder / "result.json").stat().st_mtime == 1000, "it is no later run for that"


def test_a_sweep_that_is_not_there(project):
    with pytest.raises(SentimentError, match="did you mean sweep"):
        main(["best", "sweeep"])


def test_a_model_that_an_alias_named_is_told_by_its_version(project):
    """The alias may stand for the trial itself by then."""
    names = {"trainer.init_from": "models:/imdb@champion", "trainer.teachers": '["imdb","multirun/a"]'}
    for file in (project / "multirun").rglob("result.json"):
        record = read_result(file)
        tags = {**record.tags, VERSIONS_TAG: '{"models:/imdb@champion": "models:/imdb/3", "imdb": "models:/imdb/3"}'}
        params = {**record.params, **names, "data.unlabelled_size": "9"}
        write_result(file.parent, replace(record, params=params, tags=tags))
    main(["best", "sweep", "--no-register"])
    with initialize_config_dir(str(project / "conf")):
        trainer = compose("config", ["experiment=sweep_best"]).trainer
    assert (trainer.init_from, trainer.teachers) == ("models:/imdb/3", ["models:/imdb/3", "multirun/a"])


@pytest.mark.slow
def test_the_experiment_trains_to_the_same_validation_figures(tmp_path):
    for name in ("conf", "sentiment"):
        shutil.copytree(PROJECT_DIR / name, tmp_path / name)
    shutil.copy(PROJECT_DIR / "run.py", tmp_path)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "HYDRA", "PYTHON"))}

    def call(*arguments):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=kept,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    call(
        "run.py", "-m", "search=both", "hydra.sweeper.study_name=tiny", "hydra.sweeper.n_trials=2",
        "hydra.sweeper.n_jobs=1", "hydra.sweeper.progress=lines", "data.train_size=200", "data.test_size=60",
        "data.max_sentences=3", "trainer.max_epochs=1", "trainer.threads=1",
    )  # fmt: skip
    printed = call("-m", "sentiment", "best", "tiny")
    assert "sentiment-synthetic version 1 as champion" in printed
    (line,) = [line for line in printed.splitlines() if "run.py experiment=tiny_best" in line]
    assert "Registered already: sentiment-synthetic version 1 as champion" in call("-m", "sentiment", "best", "tiny")
    call(*shlex.split(line)[1:], "tracking=none")

    records = [json.loads(file.read_text()) for file in tmp_path.glob("multirun/*/**/result.json")]
    trials = [record for record in records if record["job_number"] is not None]
    (again,) = [record for record in records if record["job_number"] is None]
    best = max(trials, key=lambda record: (record["metrics"]["val/accuracy"], -record["job_number"]))
    validation = {name: value for name, value in best["metrics"].items() if name.startswith("val/")}
    assert {name: again["metrics"][name] for name in validation} == validation
    assert again["test_reviews"] == 60
