"""What a sweep found in words, the files of its report, and its description in MLflow."""

from __future__ import annotations

import dataclasses
import filecmp
import json
import math
import shlex
from dataclasses import replace

import pytest
from markupsafe import escape

from sentiment.errors import SentimentError
from sentiment.report.draw.matplotlib import write_png
from sentiment.report.sweep.collect import collect_records
from sentiment.report.sweep.names import open_sweep
from sentiment.report.sweep.page import (
    MOST_CHARACTERS,
    link_rows,
    measure_seconds,
    render_page,
    report_sweep,
    write_headline,
    write_note,
    write_report,
    write_view,
)
from sentiment.search.study.history import StudyHistory, TrialHistory
from sentiment.tracking import runs
from sentiment.tracking.parent_file import Parent
from sentiment.tracking.result_file import write_result

TABLES = {"ranking.csv", "failures.csv", "trials.csv", "importance.csv", "pareto.csv", "learning_curves.csv"}

PARENT = Parent("sqlite:///mlflow.db", "7", "parent")


@pytest.mark.slow
def test_page_pictures_and_tables_are_written_and_written_again(example_table, tmp_path):
    page, *others = write_report(example_table, tmp_path / "report")
    pictures = {file.name for file in others if file.suffix == ".png"}
    assert page.name == "report.html"
    assert {file.name for file in others} - pictures == TABLES
    assert "optimisation_history.png" in pictures
    assert all(file.stat().st_size > 0 for file in (page, *others))
    (tmp_path / "report/plots/mine.png").write_bytes(b"of a person, or of another command")
    fewer = dataclasses.replace(example_table, rows=example_table.rows[-1:])
    write_report(fewer, tmp_path / "report")
    left = {file.name for file in (tmp_path / "report/plots").iterdir()}
    assert "mine.png" in left
    assert "slices.png" not in left
    assert {file.name for file in (tmp_path / "report").iterdir()} == {"report.html", "plots", *TABLES}
    assert "No trial has finished" in page.read_text(encoding="utf-8")


def test_rows_lead_to_their_folders_runs_and_pages_on_errors(example_table, tmp_path):
    (tmp_path / "3" / "errors_test").mkdir(parents=True)
    (tmp_path / "3" / "errors_test" / "errors.html").touch()
    (tmp_path / "parent_run.json").write_text('{"uri": "http://server:5000", "experiment_id": "7", "run_id": "p"}')
    page = render_page(example_table, [], link_rows(example_table, tmp_path, tmp_path / "report"))
    assert '<a href="../3/">3</a> <a href="../3/errors_test/errors.html">errors test</a>' in page
    assert "../4/" not in page  # it is not there
    assert '<a href="http://server:5000/#/experiments/7/runs/run4?workflowType=machine_learning">run4</a>' in page


def test_of_two_objectives_the_page_shows_the_front_and_no_best_trial(example_table):
    assert 'id="best"' in render_page(example_table, [])
    two = dataclasses.replace(
        example_table, objectives=("val/accuracy", "val/loss"), directions=("maximize", "minimize")
    )
    page = render_page(two, [])
    assert 'id="best"' not in page
    assert 'id="table-front"' in page


def test_a_folder_that_cannot_be_written_is_an_error_with_a_remedy(example_table, tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(SentimentError, match=r"cannot be written to .*file(.|\n)*--output FOLDER"):
        write_report(example_table, tmp_path / "file")


def test_the_sweeps_own_table_is_that_of_its_report(example_table, tmp_path, capsys, monkeypatch):
    def draw_comparison(chart, file):  # the report's own pictures take seconds
        write_png(chart, file) if file.name == "comparison.png" else file.touch()

    monkeypatch.setattr("sentiment.report.sweep.page.write_png", draw_comparison)
    files = report_sweep(example_table, tmp_path)
    assert [file.name for file in files] == ["ranking.csv", "comparison.png", "report"]
    assert filecmp.cmp(tmp_path / "ranking.csv", tmp_path / "report/ranking.csv", shallow=False)
    assert (tmp_path / "comparison.png").stat().st_size > 0
    assert "9 finished, ranked by val/accuracy (higher is better); 2 pruned" in capsys.readouterr().out


def test_jobs_that_all_failed_leave_a_table_without_a_picture(example_table, tmp_path, capsys):
    files = report_sweep(dataclasses.replace(example_table, rows=example_table.rows[-1:]), tmp_path)
    assert [file.name for file in files] == ["ranking.csv", "report"]
    assert "FAILED: OSError" in capsys.readouterr().out


def test_no_command_claims_to_make_what_went_on_from_another_trial(example_table):
    best = example_table.rows[0]
    copy = dataclasses.replace(best.record, tags={"trial.continues": "3"})
    rows = (dataclasses.replace(best, runs=(copy,)), *example_table.rows[1:])
    page = render_page(dataclasses.replace(example_table, rows=rows), [])
    assert "training anew at these settings alone gives another model" in page
    assert 'id="best-command"' not in page


def test_one_finished_trial_is_no_winner_among_many(example_table):
    alone = dataclasses.replace(example_table, rows=example_table.rows[:1])
    assert write_headline(alone) == "Trial 0 reached val/accuracy 90.00 %; it is the only one that finished."


def test_no_trial_is_a_winner_over_one_that_is_as_good(example_table):
    first, second, *_ = example_table.rows
    tied = dataclasses.replace(example_table, rows=(first, dataclasses.replace(second, rank=2, values=first.values)))
    expected = f"Trials {first.number}, {second.number} are equally good, and the best of 2 that finished: val/accuracy"
    assert write_headline(tied).startswith(expected)


def test_with_several_objectives_no_single_best_is_claimed(example_table):
    rows = tuple(dataclasses.replace(row, on_front=row.number in (0, 4)) for row in example_table.rows)
    both = dataclasses.replace(
        example_table, objectives=("val/accuracy", "model/parameters"), directions=("maximize", "minimize"), rows=rows
    )
    headline = write_headline(both)
    assert headline == "Trial 0 has the best val/accuracy 90.00 %; with model/parameters, the front is trials 0, 4."


def test_trials_over_a_limit_are_counted_in_words(example_table):
    def put_over_limit(row):
        return dataclasses.replace(row, rank=None, on_front=False, excess={"time/fit_seconds": 1.0})

    first, second, *_ = example_table.rows
    some = dataclasses.replace(example_table, rows=(first, put_over_limit(second)))
    assert "is the best of 2 that finished (1 of them breaks a limit)" in write_headline(some)
    none = dataclasses.replace(example_table, rows=(put_over_limit(first), put_over_limit(second)))
    assert write_headline(none).startswith("None of the 2 trials that finished keeps the limits")


def test_finished_trials_without_a_number_are_not_said_to_break_limits(example_table):
    rows = tuple(dataclasses.replace(row, values={"val/accuracy": math.nan}) for row in example_table.rows[:2])
    headline = write_headline(dataclasses.replace(example_table, rows=rows))
    assert headline == "No trial that finished has a number for val/accuracy, so there is no best one."


def test_time_runs_from_the_first_start_to_the_last_end(example_table):
    rows = tuple(dataclasses.replace(row, started_seconds=row.number, ended_seconds=None) for row in example_table.rows)
    assert measure_seconds(dataclasses.replace(example_table, rows=rows)) is None
    rows = (*rows, dataclasses.replace(rows[0], started_seconds=5, ended_seconds=90))
    assert measure_seconds(dataclasses.replace(example_table, rows=rows)) == 90


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
    assert "[ranking.csv](#/experiments/7/runs/parent/artifacts/ranking.csv?workflowType=machine_learning)" in note
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
