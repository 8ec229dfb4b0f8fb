"""What a sweep found in words, and the files of its report."""

from __future__ import annotations

import dataclasses
import filecmp
import math

import pytest

from sentiment.errors import SentimentError
from sentiment.report.draw.matplotlib import write_png
from sentiment.report.sweep.page import (
    link_rows,
    measure_seconds,
    render_page,
    report_sweep,
    write_headline,
    write_report,
)

TABLES = {"ranking.csv", "failures.csv", "trials.csv", "importance.csv", "pareto.csv", "learning_curves.csv"}


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
