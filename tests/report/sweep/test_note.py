"""The description of a sweep in MLflow: a sentence, a table in Markdown, what comes next."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import pytest
from markupsafe import escape

from sentiment.report.sweep.collect import collect_records
from sentiment.report.sweep.names import open_sweep
from sentiment.report.sweep.note import MOST_CHARACTERS, write_note, write_view
from sentiment.report.sweep.page import write_report
from sentiment.search.study.history import StudyHistory, TrialHistory
from sentiment.tracking import runs
from sentiment.tracking.parent_file import Parent
from sentiment.tracking.result_file import write_result

PARENT = Parent("sqlite:///mlflow.db", "7", "parent")


def test_the_note_ranks_the_trials_and_says_what_comes_next(make_record):
    records = [make_record(number, "rnn", f"seed={number}", accuracy=0.7 + number / 100) for number in range(12)]
    note = write_note(collect_records(records, "mine", ("val/accuracy",)), PARENT)
    lines = note.splitlines()
    assert lines[0].startswith("**Trial 11 is the best of 12 that finished: val/accuracy 81.00 %.**")
    heading, rule, first = lines[2:5]
    assert heading.startswith("| rank |")
    assert heading.count("|") == rule.count("|") == first.count("|")
    assert "81.00 %" in first
    assert first.startswith("| [1](#/experiments/7/runs/run11?workflowType=machine_learning) |")
    assert "[ranking.csv](#/experiments/7/runs/parent/artifacts/ranking.csv)" in note
    assert "... and 2 more" in lines


def test_the_commands_that_a_sweep_names_find_it_wherever_it_lies(make_record, tmp_path, monkeypatch):
    """Under multirun/ by its name, elsewhere by its folder; what the study is called is no place."""
    monkeypatch.setattr(runs, "MULTIRUN_DIR", tmp_path / "multirun")
    for folder, place in (("multirun/mine", "mine"), ("else where/mine", f"'{tmp_path}/else where/mine'")):
        for number in (0, 1):
            record = replace(make_record(number, "rnn", f"seed={number}"), job_number=number)
            write_result(tmp_path / folder / str(number), record)
        table, sweep_dir = open_sweep(str(tmp_path / folder))
        note, page = write_note(replace(table, name="another"), PARENT), write_report(table, tmp_path, sweep_dir)[0]
        one = shlex.quote(f"{shlex.split(place)[0]}/0")
        for command in (f"best {place}", f"compare {place}", f"errors {one}"):
            assert f"`python -m sentiment {command}`" in note
        assert f"<code>python -m sentiment errors {escape(one)}</code>" in page.read_text()
        [name] = shlex.split(f"{place}/1")
        assert runs.find_stored_run(name, runs.MULTIRUN_DIR, "").folder == tmp_path / folder / "1"


def test_the_view_holds_the_sweeps_own_runs_with_objective_and_what_was_varied(make_record):
    """Of a run's ``val/`` MLflow shows the last one, which the checkpoint that was selected need not be of."""
    records = [make_record(number, "rnn", f"seed={number}") for number in (0, 1)]
    view = json.loads(write_view(collect_records(records, "mine", ("val/loss", "model/parameters")), PARENT))
    assert view["searchFilter"] == "tags.`mlflow.parentRunId` = 'parent'"
    assert (view["orderByKey"], view["orderByAsc"]) == ("metrics.`best/val/loss`", True)
    columns = ["metrics.`best/val/loss`", "metrics.`model/parameters`", "metrics.`test/accuracy`", "params.`seed`"]
    assert view["selectedColumns"] == columns


def test_the_view_shows_the_option_of_a_group_that_was_varied(make_record):
    """A run's parameter is ``model.name``: ``model`` is what was typed."""
    records = [make_record(n, model, params={"model.name": model}) for n, model in enumerate(("rnn", "transformer"))]
    columns = json.loads(write_view(collect_records(records, "mine", ("val/loss",)), PARENT))["selectedColumns"]
    assert columns[-1] == "params.`model.name`"


def test_a_note_that_mlflow_would_not_take_is_the_sentence_alone(make_record):
    long = "x" * MOST_CHARACTERS
    note = write_note(
        collect_records([make_record(n, "rnn", f"data.path={long}{n}") for n in (0, 1)], "mine", ("val/accuracy",)),
        PARENT,
    )
    assert len(note) < MOST_CHARACTERS
    assert note.startswith("**Trial")


def test_the_note_shows_what_ranks_and_says_what_the_reader_must_know(make_record):
    trials = [
        TrialHistory(0, "complete", {}, (0.94,), means=(0.95,)),
        TrialHistory(1, "complete", {}, (0.92,), (0.96,)),
    ]
    history = StudyHistory("mine", ("val/accuracy",), ("maximize",), tuple(trials), (0,), frozenset(), {}, repeats=2)
    table = collect_records([], "mine", history=history)
    table = replace(table, notes=("The runs did not read the same data.", *table.notes))
    lines = write_note(table, PARENT).splitlines()
    assert lines[2] == "The runs did not read the same data."
    assert "one standard error worse (repeat_value=bound)" in lines[4]
    assert lines[6].startswith("| rank | trial | val/accuracy | bound of val/accuracy |")
    assert lines[8].startswith("| 1 | 0 | 95.00 % | 94.00 % |")


@pytest.mark.parametrize("length", [MOST_CHARACTERS, 10])
def test_notes_that_have_no_room_leave_it_to_the_others_and_to_the_table(make_record, length):
    records = [make_record(number, "rnn", f"data.path={'x' * length}{number}") for number in (0, 1)]
    table = collect_records(records, "mine", ("val/accuracy",))
    note = write_note(replace(table, notes=("y" * (MOST_CHARACTERS - 100), "short one")), PARENT)
    assert len(note) <= MOST_CHARACTERS
    assert note.splitlines()[2] == "short one"
    assert ("| rank |" in note) == (length == 10)
