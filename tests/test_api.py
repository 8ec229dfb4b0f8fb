"""The commands from Python: the same command line, and what it leaves as objects."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sentiment import api
from sentiment.config.run_context import CALLER, take_answer_file
from sentiment.errors import SentimentError
from sentiment.tracking import runs
from sentiment.tracking.result_file import ResultRecord, write_result


@pytest.fixture
def called(monkeypatch, tmp_path):
    """Runs are looked for below `tmp_path`."""
    monkeypatch.setattr(runs, "MULTIRUN_DIR", tmp_path)


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Let a script stand for `run.py`, and return its file."""
    monkeypatch.setattr(api, "PROJECT_DIR", tmp_path)
    monkeypatch.setattr(runs, "MULTIRUN_DIR", tmp_path)
    return tmp_path / "run.py"


def test_a_run_and_a_search_are_where_their_command_says(command, tmp_path):
    write_result(tmp_path / "one", ResultRecord("rnn", "rnn", "FINISHED", "2026-01-01", metrics={"val/accuracy": 0.9}))
    command.write_text(
        "import json, os, pathlib, sys\n"
        "kind, _, file = os.environ['SENTIMENT_CALLER'].partition(':')\n"
        f"folder = pathlib.Path({str(tmp_path)!r}, dict(run='one', sweep='several')[kind])\n"
        "pathlib.Path(file).write_text(str(folder))\n"
        "print(json.dumps(sys.argv[1:]))\n"
    )
    run = api.run("model=rnn")
    assert (run.folder, run.metrics) == (tmp_path / "one", {"val/accuracy": 0.9})
    assert api.load("one").folder == run.folder
    assert api.search("rnn", ["--config-dir", "mine"], n_trials=3).folder == tmp_path / "several"


def test_the_command_is_as_it_was_typed(command, capfd):
    command.write_text("import sys; print(sys.argv[1:])")
    flags = ["--config-dir", "mine", "hydra.run.dir=${project_dir:}/here"]
    with pytest.raises(api.CommandFailedError, match=r"started no run(.|\n)*--cfg"):
        api.run(flags)
    with pytest.raises(api.CommandFailedError, match="started no sweep"):
        api.search("rnn", "seed=1", n_trials=3)
    wanted = [flags, ["-m", "search=rnn", "seed=1", "hydra.sweeper.n_trials=3"]]
    assert capfd.readouterr().out.splitlines() == [str(one) for one in wanted]


def test_ctrl_c_shows_what_the_command_says_at_its_end(command, monkeypatch):
    command.write_text(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        "try:\n    print('begun', flush=True)\n    time.sleep(60)\n"
        "finally:\n    time.sleep(1)\n    print('the table')\n"
    )
    shown = []

    def interrupt(line, **_):
        shown.append(line)
        if len(shown) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(api, "print", interrupt, raising=False)
    with pytest.raises(KeyboardInterrupt):
        api.run()
    assert shown == ["begun\n", "the table\n"]


def test_the_other_kind_is_refused_and_commands_below_are_asked_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv(CALLER, f"run:{tmp_path}/a:b")
    assert take_answer_file("run") == tmp_path / "a:b"
    assert take_answer_file("run") is None
    monkeypatch.setenv(CALLER, f"run:{tmp_path}/folder")
    with pytest.raises(SentimentError, match=r"api\.run is for a run, and these overrides make a sweep(.|\n)*-> "):
        take_answer_file("sweep")


def test_a_sweep_is_loaded_by_every_name_that_it_has(called, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    sweep, parent = tmp_path / "sweep", "f" * 32
    for job in range(2):
        write_result(sweep / str(job), ResultRecord("rnn", "rnn", "FINISHED", "2026-01-01", job_number=job))
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


def test_a_sweep_is_read_as_it_stands(tmp_path):
    sweep = api.Sweep(tmp_path)
    for job, accuracy in enumerate((0.7, 0.9)):
        record = ResultRecord("rnn", "rnn", "FINISHED", "2026-01-01T00:00:00+00:00", job_number=job)
        write_result(tmp_path / str(job), replace(record, metrics={"val/accuracy": accuracy}))
        assert (len(sweep.table.rows), sweep.best.folder) == (job + 1, tmp_path / str(job))
