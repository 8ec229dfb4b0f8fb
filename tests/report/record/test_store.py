"""What is stored of an experiment: enough to make its tables again, and no path of a machine."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import pytest

from sentiment.config.run_context import write_multirun_command
from sentiment.errors import SentimentError
from sentiment.report.record.store import RecordPart, collect_part, differing_keys, read_parts, store_part, strip_paths
from sentiment.search.study.history import StudyHistory, TrialHistory
from sentiment.tracking import runs
from sentiment.tracking.result_file import write_result

PARAMS = {
    "seed": "0", "model.name": "rnn", "model.embedding_size": "32", "model.hidden_size": "32", "optimizer.lr": "0.001",
    "data.path": "/somewhere/imdb", "data.cache_dir": "/somewhere/cache", "tracking.uri": "sqlite:////somewhere/mlflow.db",
    "objective": "val/accuracy", "direction": "maximize", "trainer.threads": "1",
}  # fmt: skip


@pytest.fixture
def make_run(make_record):
    def make(number, model="rnn", status="FINISHED", **params):
        dotted = {key.replace("__", "."): value for key, value in params.items()}
        overrides = [f"{key}={value}" for key, value in dotted.items()]
        return make_record(
            number, model, *overrides, "data.path=/somewhere/imdb", "+tracking.uri=/somewhere",
            status=status, params={**PARAMS, **dotted}, tags={"data.description": "from /somewhere/imdb"},
        )  # fmt: skip

    return make


def make_part(*records, name="rnn"):
    history = StudyHistory("mine", ("val/accuracy",), ("maximize",), (), (), frozenset({"optimizer.lr"}), {})
    return RecordPart(name, "python run.py -m data.path=FOLDER", tuple(records), history)


def test_what_is_stored_comes_back_without_paths(tmp_path, make_run):
    part = make_part(make_run(0, seed="0"), make_run(1, seed="1"), make_run(2, status="PRUNED", seed="2"))
    file = store_part(tmp_path, part)
    assert "somewhere" not in file.read_text(encoding="utf-8")
    [read] = read_parts(tmp_path)
    assert (read.name, read.command, read.history) == (part.name, part.command, part.history)
    assert [record.params["seed"] for record in read.records] == ["0", "1", "2"]
    for stored, given in zip(read.records, part.records, strict=True):
        kept = {key: value for key, value in given.params.items() if "somewhere" not in value}
        assert stored.params == kept
        assert replace(stored, name="", params={}, overrides=(), tags={}, run_id=None) == replace(
            given, name="", params={}, overrides=(), tags={}, run_id=None
        )


def test_the_study_is_stored_without_paths(tmp_path, make_run):
    part = make_part(make_run(0))
    trial = TrialHistory(0, "complete", {"init_from": "/my/model", "x": 1.0}, (0.8,), adopted_from="/my/a/3, /my/b/4")
    store_part(tmp_path, replace(part, history=replace(part.history, trials=(trial,), is_at_work=True)))
    [read] = read_parts(tmp_path)
    hidden = replace(trial, parameters={"init_from": "FOLDER/model", "x": 1.0}, adopted_from="FOLDER/3, FOLDER/4")
    assert read.history == replace(part.history, trials=(hidden,))


def test_settings_that_all_runs_share_are_written_once(tmp_path, make_run):
    file = store_part(tmp_path, make_part(make_run(0, seed="0"), make_run(1, seed="1")))
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content["shared_params"]["optimizer.lr"] == "0.001"
    assert [run["params"] for run in content["runs"]] == [{"seed": "0"}, {"seed": "1"}]


def test_several_parts_come_in_the_order_of_their_names(tmp_path, make_run):
    for name in ("transformer", "rnn"):
        store_part(tmp_path, make_part(make_run(0), name=name))
    assert [part.name for part in read_parts(tmp_path)] == ["rnn", "transformer"]


def test_errors_say_what_to_do(tmp_path, make_run):
    with pytest.raises(SentimentError, match="--collect PART="):
        read_parts(tmp_path)
    with pytest.raises(SentimentError, match="no runs to store"):
        store_part(tmp_path, make_part())
    file = store_part(tmp_path, make_part(make_run(0)))
    file.write_text(file.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    with pytest.raises(SentimentError, match="collect the sweep again"):
        read_parts(tmp_path)


def test_a_setting_that_follows_another_one_is_no_difference(make_run):
    sizes = [make_run(n, model__embedding_size=size, model__hidden_size=size) for n, size in enumerate(("32", "64"))]
    typed = [replace(run, overrides=(f"model.embedding_size={run.params['model.embedding_size']}",)) for run in sizes]
    assert differing_keys(typed) == ["model.embedding_size"]


def test_seed_paths_and_what_comes_with_another_model_are_no_differences(make_run):
    runs = [make_run(0, seed="0"), make_run(1, seed="1", trainer__threads="2")]
    params = {**PARAMS, "model.name": "transformer", "model.heads": "4"}
    other = replace(make_run(2, "transformer", seed="0"), params=params)
    assert differing_keys([*runs, other]) == []


def test_tries_are_not_taken_in(tmp_path, make_run):
    write_result(tmp_path / "0", make_run(0, trainer__debug="fast"))
    with pytest.raises(SentimentError, match="holds tries"):
        collect_part("tries", str(tmp_path))


def test_a_sweep_is_taken_in_by_its_name_and_no_path_of_this_machine_with_it(tmp_path, make_run, monkeypatch):
    monkeypatch.setattr(runs, "MULTIRUN_DIR", tmp_path)
    write_result(tmp_path / "mine/0", make_run(0))
    words = {
        "--config-dir": None, "my/conf": "FOLDER", "--config-path=../other": "--config-path=FOLDER",
        "--config-name": None, "mine": None, "-m": None, "seed=0,1": None, "++data.path=data": "++data.path=FOLDER",
        "trainer.teachers=[/my/a,models:/b@champion,'~/c', /d/]": (
            "trainer.teachers=[FOLDER/a,models:/b@champion,'FOLDER/c', FOLDER/d]"
        ),
        "hydra.searchpath=[pkg://x,file:///my/conf]": "hydra.searchpath=[pkg://x,FOLDER]",
        "hydra.sweep.dir=/my/sweep": "hydra.sweep.dir=FOLDER/sweep", "trainer.init_from=multirun/a/0": None,
        "tracking.uri=sqlite:////my/mlflow.db": "tracking.uri=FOLDER", "data.delimiter=/": None, "~pretrain": None,
        "hydra.sweeper.storage=postgresql+psycopg://me@host/db": "hydra.sweeper.storage=FOLDER",
    }  # fmt: skip
    monkeypatch.setattr("sys.argv", ["/my/run.py", *words])
    write_multirun_command(tmp_path / "mine")
    wanted = ["python", "run.py", *(shown or word for word, shown in words.items())]
    for name in ("mine", str(tmp_path / "mine")):
        assert shlex.split(collect_part("grid", name).command) == wanted
    with pytest.raises(SentimentError, match=r"no sweep called mime(.|\n)*did you mean mine"):
        collect_part("grid", "mime")


def test_names_are_those_of_every_other_place(make_run):
    run = make_run(0, optimizer__lr="0.007834365723786424", model__heads="2", trainer__init_from="/my/model")
    run = strip_paths(run)
    assert run.name == "rnn lr=0.007834 heads=2 init_from=FOLDER/model"
    assert run.params["trainer.init_from"] == "FOLDER/model"
