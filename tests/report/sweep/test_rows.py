"""The order of a plain multirun's jobs."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace

import pytest
from rich.console import Console

from sentiment.report.compare.comparison import split_runs
from sentiment.report.draw.table import write_table
from sentiment.report.sweep.charts.trials import group_by_settings
from sentiment.report.sweep.collect import collect_records
from sentiment.report.sweep.console import print_table
from sentiment.report.sweep.page import write_headline
from sentiment.report.sweep.rows import KILLED_OUTRIGHT, find_changed, read_param
from sentiment.report.sweep.tables import make_ranking, order_metrics
from sentiment.tracking.runs import StoredRun


def collect(records, objective="val/accuracy"):
    return collect_records(records, "jobs", [objective])


def read_csv(table, folder):
    write_table(make_ranking(table), folder / "ranking.csv")
    with (folder / "ranking.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_best_on_validation_comes_first_and_failures_come_last(make_record):
    records = [
        make_record(0, status="FAILED", reason="ValueError: no"),
        make_record(1, accuracy=0.7),
        make_record(2, accuracy=0.9),
        make_record(3, status="RUNNING"),
        make_record(4, accuracy=0.8),
    ]
    table = collect(records)
    assert [(row.rank, row.number) for row in table.rows] == [(1, 2), (2, 4), (3, 1), (None, 0), (None, 3)]
    assert table.best.record == records[2]
    assert [row.number for row in table.front] == [2]
    assert [row.reason for row in table.rows[3:]] == ["ValueError: no", KILLED_OUTRIGHT]


def test_minimizing_turns_the_order_around(make_record):
    records = [make_record(number, metrics={"val/loss": loss}) for number, loss in enumerate([0.3, 0.1, 0.2])]
    assert [row.number for row in collect(records, "val/loss").rows] == [1, 2, 0]


@pytest.mark.parametrize("objective", ["val/accuracy", "val/loss"])
def test_an_objective_that_is_no_number_is_the_worst(make_record, objective):
    records = [make_record(number, metrics={objective: value}) for number, value in enumerate([math.nan, 0.1, 0.9])]
    assert collect(records, objective).rows[-1].number == 0
    assert collect(records[:1], objective).best is None


def test_the_test_split_ranks_nothing(make_record):
    low = {"val/accuracy": 0.8, "test/accuracy": 0.1}
    high = {"val/accuracy": 0.7, "test/accuracy": 0.9}
    assert collect([make_record(0, metrics=high), make_record(1, metrics=low)]).rows[0].number == 1


def test_a_finished_job_without_the_objective_has_no_rank(make_record):
    table = collect([make_record(0, metrics={})])
    assert table.best is None
    assert (table.rows[0].state, table.rows[0].reason) == ("failed", "it ended without a value of val/accuracy")


def test_changed_settings_are_those_that_differ(make_record):
    records = [
        make_record(0, "transformer", "data=imdb", "seed=0", "model.heads=8"),
        make_record(1, "rnn", "data=imdb", "seed=1"),
    ]
    assert find_changed(records) == [{"seed": "0", "model.heads": "8"}, {"seed": "1"}]
    assert [row.label for row in collect(records).rows] == ["transformer seed=0 heads=8", "rnn seed=1"]


def test_nothing_to_rank():
    table = collect([])
    assert (table.rows, table.best) == ((), None)


def test_the_csv_holds_every_number_in_full(make_record, tmp_path):
    records = [
        make_record(0, "transformer", "seed=0", accuracy=1 / 3),
        make_record(1, "rnn", "seed=1", status="FAILED", reason="it, broke"),
    ]
    first, second = read_csv(collect(records), tmp_path)
    assert (first["rank"], first["job"], first["run_id"], first["seed"]) == ("1", "0", "run0", "0")
    assert float(first["val/accuracy"]) == 1 / 3
    assert float(first["test/auroc"]) == 0.9
    assert (first["reason"], first["parameters"], first["seconds"]) == ("", "2612345", "75.4")
    assert (second["rank"], second["status"], second["reason"]) == ("", "FAILED", "it, broke")


def test_pruned_jobs_stand_between_finished_and_failed_ones_and_are_no_failures(make_record, tmp_path):
    reached = {"val/accuracy": 0.95}
    records = [
        make_record(0, status="FAILED", reason="ValueError: no"),
        make_record(1, status="PRUNED", reason="below the median", metrics={"val/accuracy": 0.3}),
        make_record(2, status="PRUNED", reason="below the median", metrics=reached),
        make_record(3, accuracy=0.7),
        make_record(4, status="PRUNED", reason="at once", metrics={}),
    ]
    table = collect(records)
    assert [(row.rank, row.number) for row in table.rows] == [(1, 3), (None, 2), (None, 1), (None, 4), (None, 0)]
    assert table.best.record == records[3]
    assert table.count_states() == {"complete": 1, "pruned": 3, "failed": 1}
    lines = read_csv(table, tmp_path)
    assert (lines[1]["rank"], lines[1]["status"], lines[1]["val/accuracy"]) == ("", "PRUNED", "0.95")
    assert lines[1]["reason"] == "below the median"


def test_the_latency_is_a_column_after_the_metrics(make_record):
    table = collect([make_record(0, metrics={"time/latency_ms": 1.0, "val/accuracy": 0.8, "val/loss": 0.5})])
    assert order_metrics(table, "time/fit_seconds", "model/parameters") == ["val/loss", "time/latency_ms"]


def test_variants_of_a_model_are_told_apart_by_what_was_typed(make_record):
    """``conf/model/rnn_gru.yaml`` is an option of its own, of the same name: it stands in every table under its own."""
    records = [
        replace(
            make_record(number, "rnn", f"seed={seed}", accuracy=value), overrides=(f"model={option}", f"seed={seed}")
        )
        for number, (option, seed, value) in enumerate(
            [("rnn", 0, 0.9), ("rnn", 1, 0.9), ("rnn_gru", 0, 0.5), ("rnn_gru", 1, 0.5)]
        )
    ]
    table = collect(records)
    assert table.varied == ("model", "seed")
    assert [(row.model, row.parameters["seed"]) for row in sorted(table.rows, key=lambda row: row.number)] == [
        ("rnn", 0), ("rnn", 1), ("rnn_gru", 0), ("rnn_gru", 1),
    ]  # fmt: skip
    groups, left_out = group_by_settings(table, table.rows)
    assert ([(name, len(rows)) for name, rows in groups], left_out) == ([("rnn", 2), ("rnn_gru", 2)], 0)
    assert split_runs([StoredRun(record, None) for record in records], "model").keys() == {"rnn", "rnn_gru"}


def test_runs_of_different_data_are_told_wherever_the_table_is(make_record):
    same = [make_record(number, accuracy=0.7 + number / 10, tags={"data.fingerprint": "aaa"}) for number in range(2)]
    assert collect(same).notes == ()
    [note] = collect([same[0], replace(same[1], tags={"data.fingerprint": "bbb"})]).notes
    assert "did not read the same data" in note


def test_figures_on_reviews_that_a_start_or_teacher_knows_are_told_wherever_the_table_is(make_record):
    none, known, unknown = (
        make_record(number, accuracy=0.7, tags={"validation.known": told, "test.known": "none"})
        for number, told in enumerate(("none", "120 of 200", "unknown"))
    )
    assert collect([none, make_record(3, accuracy=0.8)]).notes == ()
    for record in (known, unknown):
        table = collect([none, record, make_record(3, accuracy=0.8)])
        [note] = table.notes
        assert "knows validation reviews" in note
    assert table.facts["validation reviews known to start or teachers"] == "unknown (jobs 2); none (jobs 0)"


def test_what_only_tried_a_run_has_no_rank_and_says_why(make_record):
    tried = make_record(0, accuracy=0.9, params={"trainer.debug": "fast"})
    table = collect([tried, make_record(1, accuracy=0.8, params={"trainer.debug": "null"})])
    assert [(row.rank, row.number) for row in table.rows] == [(1, 1), (None, 0)]
    alone = collect([tried])
    assert (alone.best, alone.front, alone.best_command) == (None, (), None)
    assert "a try" in write_headline(alone)
    assert make_ranking(alone).rows[0][-1] == "a try (debug), which nothing ranks"
    console = Console(file=io.StringIO(), width=120)
    print_table(alone, console)
    assert console.file.getvalue().split("\n")[1] == "1 finished", "and not: ranked by"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7), ("007", "007"), ("-0", 0), ("0.50", 0.5), ("1e-05", 1e-5), (".5", 0.5), ("00.5", "00.5"),
        ("9e999", "9e999"), ("5.", 5.0), ("null", "null"), ("1_000", "1_000"),
    ],
)  # fmt: skip
def test_a_setting_is_a_number_where_two_texts_cannot_be_one(text, value):
    assert (read_param(text), type(read_param(text))) == (value, type(value))
