"""The commands from Python: the same command line, and what it leaves as objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentiment import api
from sentiment.tracking import runs
from sentiment.tracking.result_file import ResultRecord, write_result


@pytest.fixture
def called(monkeypatch, tmp_path):
    """Note the commands, and leave a finished run where they would."""
    monkeypatch.setattr(runs, "MULTIRUN_DIR", tmp_path)
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
    assert first.folder.parent == tmp_path
    assert api.search("rnn").folder == tmp_path / "rnn"
    assert api.search("rnn", "seed=1").folder == api.search("rnn", ["seed=1"]).folder, "one alone needs no list"
    assert called[0][:2] == ["-m", "search=rnn"]
    assert "hydra.sweeper.n_trials=3" in called[0]
    assert api.search("rnn", ["hydra.sweeper.study_name=mine"]).folder == tmp_path / "mine"


def test_what_a_command_has_against_its_arguments_is_raised():
    with pytest.raises(api.CommandFailedError, match=r"did you mean model\.heads"):
        api.run(["model.hed=3"])
