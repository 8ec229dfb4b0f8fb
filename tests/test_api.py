"""The commands from Python: the same command line, and what it leaves as objects."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sentiment import api
from sentiment.config import home
from sentiment.errors import SentimentError
from sentiment.tracking import runs
from sentiment.tracking.result_file import ResultRecord, write_result


@pytest.fixture
def called(monkeypatch, tmp_path):
    """Note the commands, and leave a finished run where they would."""
    monkeypatch.setattr(runs, "MULTIRUN_DIR", tmp_path)
    monkeypatch.setattr(home, "PROJECT_DIR", tmp_path)
    calls = []

    def call(arguments):
        calls.append(list(arguments))
        for line in arguments:
            key, _, folder = line.partition("=")
            if key == "hydra.run.dir":
                write_result(Path(folder), ResultRecord("rnn", "rnn", "FINISHED", "", metrics={"val/accuracy": 0.9}))

    monkeypatch.setattr(api, "_call", call)
    return calls


def test_a_run_has_its_metrics_and_its_folder(called, tmp_path):
    run = api.run(["model=rnn"])
    assert called[0][0] == "model=rnn"
    assert run.folder.parent == tmp_path
    assert run.metrics == {"val/accuracy": 0.9}
    found = api.load(run.folder.name)
    assert isinstance(found, api.Run)
    assert found.folder == run.folder


def test_a_folder_that_is_named_is_kept(called, tmp_path):
    assert api.run([f"hydra.run.dir={tmp_path}/here"]).folder == tmp_path / "here"
    assert called[0] == [f"hydra.run.dir={tmp_path}/here"]


def test_the_same_search_is_the_same_study(called, tmp_path):
    first, again = (api.search("rnn", ["trainer.max_epochs=2"], n_trials=number) for number in (3, 5))
    assert first.folder == again.folder
    assert first.folder.parent == tmp_path / "multirun"
    assert api.search("rnn").folder == tmp_path / "multirun/rnn"
    assert api.search("rnn", "seed=1").folder == api.search("rnn", ["seed=1"]).folder, "one alone needs no list"
    assert called[0][:2] == ["-m", "search=rnn"]
    assert "hydra.sweeper.n_trials=3" in called[0]
    for line, name in (
        ("hydra.sweeper.study_name=mine", "mine"), ("++hydra.sweeper.study_name='my own'", "my own"),
        ("++hydra.sweeper.n_trials=5", "rnn"), ("experiment=heads", "heads"),
    ):  # fmt: skip
        assert api.search("rnn", [line]).folder == tmp_path / "multirun" / name, "as on the command line"
    assert api.search("imdb_rnn", ["data.path=/d"]).folder == tmp_path / "multirun/imdb_rnn"


def test_a_sweep_is_loaded_by_every_name_that_it_has(called, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    sweep, parent = tmp_path / "sweep", "f" * 32
    for job in range(2):
        write_result(sweep / str(job), ResultRecord("rnn", "rnn", "FINISHED", "", job_number=job))
    (sweep / "parent_run.json").write_text(json.dumps({"uri": "", "experiment_id": "1", "run_id": parent}))
    assert {api.load(name) for name in ("sweep", sweep, "~/sweep", parent)} == {api.Sweep(sweep)}
    assert api.load("sweep/1").record.job_number == 1


def test_a_sweep_of_another_machine_is_not_taken_for_its_first_run(called, monkeypatch, tmp_path):
    records = [ResultRecord("rnn", "rnn", "FINISHED", "", job_number=job, run_id=str(job) * 32) for job in range(2)]
    monkeypatch.setattr(
        runs, "_fetch_runs", lambda run_id, uri: [runs.StoredRun(record, tmp_path, uri) for record in records]
    )
    with pytest.raises(SentimentError, match=r"sweep of 2 runs(.|\n)*python -m sentiment report f{32}"):
        api.load("f" * 32)
    del records[1]
    assert api.load("0" * 32).tracking_uri == runs.choose_tracking_uri(None), "whose model is fetched from there"


def test_what_a_command_has_against_its_arguments_is_raised():
    with pytest.raises(api.CommandFailedError, match=r"did you mean model\.heads"):
        api.run(["model.hed=3"])


def test_the_best_of_tries_is_none_of_them(called, tmp_path):
    started, params = "2026-01-01T00:00:00+00:00", {"objective": "val/accuracy", "trainer.debug": "fast"}
    record = ResultRecord("rnn", "rnn", "FINISHED", started, params=params, job_number=0)
    write_result(tmp_path / "tries/0", replace(record, metrics={"val/accuracy": 0.9}))
    with pytest.raises(SentimentError, match="train without debug"):
        api.Sweep(tmp_path / "tries").best  # noqa: B018
    write_result(tmp_path / "tries/1", replace(record, params={}, job_number=1, metrics={"val/accuracy": 0.8}))
    assert api.Sweep(tmp_path / "tries").best.folder == tmp_path / "tries/1"
