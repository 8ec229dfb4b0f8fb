"""The table of a study while it runs."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import optuna
import pytest

from sentiment.report.sweep import collect
from sentiment.report.sweep.collect import RunningStudy, collect_sweep
from sentiment.report.sweep.page import render_page
from sentiment.search.storage.address import JOURNAL_NAME
from sentiment.search.storage.opening import open_storage
from sentiment.tracking.result_file import read_result, write_result

OBJECTIVES = {"val/accuracy": "maximize"}


@pytest.fixture
def study(tmp_path):
    """A study with three trials, the second of which breaks a limit."""
    study = optuna.create_study(storage=open_storage(None, tmp_path), study_name="mine", direction="maximize")
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        study.set_metric_names(["val/accuracy"])
    for value, seconds in ((0.7, 1.0), (0.9, 9.0), (0.8, 1.0)):
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        study._storage.set_trial_system_attr(trial._trial_id, "constraints:time/fit_seconds", seconds - 5)
        study.tell(trial, value)
    return study


def stand(study):
    return SimpleNamespace(trials=study.get_trials(deepcopy=False), replaced=())


def test_it_agrees_with_what_is_collected_at_the_end(study, make_record, tmp_path):
    for number, accuracy in enumerate((0.7, 0.9, 0.8)):
        write_result(tmp_path / str(number), make_record(number, "rnn", accuracy=accuracy))
    now = RunningStudy("mine", tmp_path, OBJECTIVES, 1).collect(stand(study))
    end = collect_sweep(tmp_path)
    assert [(row.number, row.rank, row.on_front) for row in now.rows] == [(2, 1, True), (0, 2, False), (1, None, False)]
    clock = {"started_seconds": None, "ended_seconds": None, "measured_seconds": None}
    assert replace(now.best, **clock) == replace(end.best, **clock)
    left_out = {**clock, "metrics": {}, "curve": (), "runs": ()}
    assert [replace(row, **left_out) for row in now.rows] == [replace(row, **left_out) for row in end.rows]
    assert [run.run_id for run in now.records] == [run.run_id for run in end.records]
    assert (now.name, now.objectives, now.varied, now.is_study) == (end.name, end.objectives, end.varied, end.is_study)


def test_a_trial_that_ends_has_its_own_file_read_and_no_other(study, make_record, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(collect, "read_result", lambda file: opened.append(file.parent.name) or read_result(file))
    for number in (0, 1, 2):
        write_result(tmp_path / str(number), make_record(number, "rnn", accuracy=0.7))
    running_study = RunningStudy("mine", tmp_path, OBJECTIVES, 1)
    running_study.collect(stand(study))
    assert sorted(opened) == ["0", "1", "2", "2"]  # the best one, number 2, in full
    for number in range(3, 20):
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        write_result(tmp_path / "nested" / str(number), make_record(number, "rnn", accuracy=0.5))
        attempt = {"count": 1, "folder": f"nested/{number}", "log": None}
        study._storage.set_trial_system_attr(trial._trial_id, "study:attempt:0", attempt)
        opened.clear()
        running_study.collect(stand(study))
        assert opened == ["2"]  # a trial that runs is not looked at
        study.tell(trial, 0.5)
        opened.clear()
        table = running_study.collect(stand(study))
        assert sorted(opened) == sorted([str(number), "2"])
        assert len(table.rows) == number + 1


def test_a_journal_cut_in_half_is_reported_with_what_the_folder_proves(study, make_record, tmp_path):
    for number, accuracy in enumerate((0.7, 0.9, 0.8)):
        write_result(tmp_path / str(number), make_record(number, "rnn", accuracy=accuracy))
    journal = tmp_path / JOURNAL_NAME
    whole = journal.read_bytes()
    began = whole.index(b'"op_code":4')  # the study is there, its first trial has only begun
    journal.write_bytes(whole[: whole.index(b"\n", began) + 20])
    table = collect_sweep(tmp_path)
    assert [(row.number, row.state, row.values["val/accuracy"]) for row in table.rows] == [
        (1, "complete", 0.9), (2, "complete", 0.8), (0, "complete", 0.7),
    ]  # fmt: skip
    assert table.best is None
    page = render_page(table, [])
    assert "No trial has finished in the study&#39;s storage, so there is no best one." in page
    assert "no result of trials 0, 1, 2, but the runs&#39; records have" in page


def test_a_try_has_no_rank_while_its_study_runs(study, make_record, tmp_path):
    for number, accuracy in enumerate((0.7, 0.9, 0.8)):
        debug = {"trainer.debug": "fast" if number == 2 else "null"}
        write_result(tmp_path / str(number), make_record(number, "rnn", accuracy=accuracy, params=debug))
    now = RunningStudy("mine", tmp_path, OBJECTIVES, 1).collect(stand(study))
    assert [(row.number, row.rank) for row in now.rows] == [(0, 1), (1, None), (2, None)]
