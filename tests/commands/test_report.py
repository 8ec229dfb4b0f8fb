"""``python -m sentiment report``."""

from __future__ import annotations

import json
import os

import pytest

import sentiment.tracking.runs
from sentiment.__main__ import main
from sentiment.errors import SentimentError
from sentiment.report.sweep.names import find_latest, find_sweep, list_sweeps
from sentiment.tracking.result_file import PARENT_FILE, ResultRecord, write_result


def make_record(number, accuracy):
    return ResultRecord(
        name=f"rnn {number}",
        model="rnn",
        status="FINISHED",
        started=f"2026-01-01T00:0{number}:00+00:00",
        overrides=("model=rnn", f"seed={number}"),
        job_number=number,
        run_id=f"run{number}",
        parameters=1000,
        seconds=9.0,
        epochs=1.0,
        best_epoch=1.0,
        metrics={"val/accuracy": accuracy, "val/loss": 0.5},
        params={
            "objective": "val/accuracy",
            "direction": "maximize",
            "objectives": '["val/accuracy"]',
            "directions": '["maximize"]',
            "seed": str(number),
        },
        history=({"step": 1, "epoch": 1.0, "val/accuracy": accuracy, "val/loss": 0.5},),
    )


@pytest.fixture
def multirun_dir(tmp_path, monkeypatch):
    """A folder with two sweeps of two runs and a single run; the sweep `later` was written last."""
    folder = tmp_path / "multirun"
    for place, sweep in enumerate(("later", "transformer")):
        for number in (0, 1):
            write_result(folder / sweep / str(number), make_record(number, 0.7 + number / 10))
            os.utime(folder / sweep / str(number) / "result.json", (10_000 - place, 10_000 - place))
    write_result(folder / "single", make_record(0, 0.7))
    monkeypatch.setattr(sentiment.tracking.runs, "MULTIRUN_DIR", folder)
    return folder


def test_the_latest_sweep_is_reported_on(multirun_dir, capsys):
    main(["report"])
    printed = capsys.readouterr().out
    assert "Trial 1 is the best of 2 that finished: val/accuracy 80.00 %." in printed
    assert str(multirun_dir / "later/report/report.html") in printed
    assert (multirun_dir / "later/report/report.html").exists()
    assert not (multirun_dir / "transformer/report").exists()


def test_a_name_and_another_place_for_the_page(multirun_dir, tmp_path, capsys):
    main(["report", "transformer", "--output", str(tmp_path / "out")])
    assert str(tmp_path / "out/report.html") in capsys.readouterr().out
    assert (tmp_path / "out/ranking.csv").exists()
    assert not (multirun_dir / "transformer/report").exists()


def test_sweeps_are_folders_that_hold_runs_and_the_latest_comes_first(multirun_dir):
    assert list_sweeps(multirun_dir) == ["later", "transformer"]
    assert find_latest(multirun_dir) == multirun_dir / "later"
    assert find_sweep(str(multirun_dir / "transformer"), multirun_dir) == multirun_dir / "transformer"


def test_a_sweep_is_found_by_the_id_of_its_parent_run(multirun_dir):
    """For `stop` and `watch` too, which need its folder."""
    (multirun_dir / "later" / PARENT_FILE).write_text(json.dumps({"run_id": "c" * 32}))
    assert find_sweep("c" * 32, multirun_dir) == multirun_dir / "later"
    with pytest.raises(SentimentError, match="nor the parent run of one there"):
        find_sweep("d" * 32, multirun_dir)


def test_a_folder_that_only_holds_a_report_hides_no_parent_run(multirun_dir):
    """`report` of a sweep of another machine writes into one of the id's name."""
    (multirun_dir / ("c" * 32) / "report").mkdir(parents=True)
    with pytest.raises(SentimentError, match="no such folder"):
        find_sweep("c" * 32, multirun_dir)
    (multirun_dir / "later" / PARENT_FILE).write_text(json.dumps({"run_id": "c" * 32}))
    assert find_sweep("c" * 32, multirun_dir) == multirun_dir / "later"


def test_a_folder_of_no_sweep_hides_none_of_its_name(multirun_dir, tmp_path, monkeypatch):
    (tmp_path / "here/transformer").mkdir(parents=True)
    (tmp_path / "here/new").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert find_sweep("transformer", multirun_dir) == multirun_dir / "transformer"
    assert find_sweep("new", multirun_dir) == tmp_path / "here/new"


def test_an_empty_name_is_not_the_current_folder(multirun_dir, monkeypatch):
    monkeypatch.chdir(multirun_dir / "transformer")
    for command in (["report", ""], ["best", "", "--no-register"], ["stop", ""]):
        with pytest.raises(SentimentError, match="no sweep called ''"):
            main(command)


def test_an_unknown_name_is_answered_with_near_ones(multirun_dir):
    with pytest.raises(SentimentError, match=r"called transfomer(.|\n)*did you mean transformer\?"):
        find_sweep("transfomer", multirun_dir)
    with pytest.raises(SentimentError, match="the latest are later, transformer"):
        find_sweep("0123", multirun_dir)


def test_where_there_is_no_sweep_the_remedy_is_to_start_one(tmp_path):
    for find in (lambda: find_latest(tmp_path / "none"), lambda: find_sweep("x", tmp_path / "none")):
        with pytest.raises(SentimentError, match=r"python run\.py -m"):
            find()


def test_a_job_is_no_sweep_in_which_it_would_be_the_best(multirun_dir):
    for command in (["report"], ["best", "--no-register"], ["stop"]):
        with pytest.raises(SentimentError, match=rf"later/0 is job 0 of a sweep.*\n  -> .*{multirun_dir}/later;"):
            main([*command, "later/0"])
    assert not (multirun_dir / "later/0/report").exists()


@pytest.mark.usefixtures("multirun_dir")
def test_a_folder_without_runs_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SentimentError, match="holds no run"):
        main(["report", str(tmp_path / "empty")])
