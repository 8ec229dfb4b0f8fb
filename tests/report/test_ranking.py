from __future__ import annotations

import csv
import math

import pytest

from sentiment.report.sweep.ranking import KILLED_OUTRIGHT, explain, find_changed, rank, write_csv


def test_the_best_on_validation_comes_first_and_failures_come_last(make_record):
    records = [
        make_record(0, status="FAILED", reason="ValueError: no"),
        make_record(1, accuracy=0.7),
        make_record(2, accuracy=0.9),
        make_record(3, status="RUNNING"),
        make_record(4, accuracy=0.8),
    ]
    ranking = rank(records, "val/accuracy", "maximize")
    assert [(row.rank, row.record.job_number) for row in ranking.rows] == [(1, 2), (2, 4), (3, 1), (None, 0), (None, 3)]
    assert ranking.best == records[2]
    assert [explain(row.record) for row in ranking.unfinished] == ["ValueError: no", KILLED_OUTRIGHT]


def test_minimizing_turns_the_order_around(make_record):
    records = [make_record(number, metrics={"val/loss": loss}) for number, loss in enumerate([0.3, 0.1, 0.2])]
    assert [row.record.job_number for row in rank(records, "val/loss", "minimize").rows] == [1, 2, 0]


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_an_objective_that_is_no_number_is_the_worst(make_record, direction):
    records = [make_record(0, accuracy=math.nan), make_record(1, accuracy=0.1), make_record(2, accuracy=0.9)]
    assert rank(records, "val/accuracy", direction).rows[-1].record.job_number == 0


def test_the_test_split_ranks_nothing(make_record):
    low = {"val/accuracy": 0.8, "test/accuracy": 0.1}
    high = {"val/accuracy": 0.7, "test/accuracy": 0.9}
    ranking = rank([make_record(0, metrics=high), make_record(1, metrics=low)], "val/accuracy", "maximize")
    assert ranking.rows[0].record.job_number == 1


def test_a_finished_job_without_the_objective_has_no_rank(make_record):
    ranking = rank([make_record(0, metrics={})], "val/accuracy", "maximize")
    assert ranking.best is None
    assert "without a value" in explain(ranking.unfinished[0].record)


def test_changed_settings_are_those_that_differ(make_record):
    records = [
        make_record(0, "transformer", "data=imdb", "seed=0", "model.heads=8"),
        make_record(1, "rnn", "data=imdb", "seed=1"),
    ]
    assert find_changed(records) == [{"seed": "0", "model.heads": "8"}, {"seed": "1"}]
    assert [row.label for row in rank(records, "val/accuracy", "maximize").rows] == [
        "transformer seed=0 heads=8", "rnn seed=1",
    ]  # fmt: skip


def test_nothing_to_rank():
    ranking = rank([], "val/accuracy", "maximize")
    assert (ranking.rows, ranking.best) == ((), None)


def test_the_csv_holds_every_number_in_full(make_record, tmp_path):
    records = [
        make_record(0, "transformer", "seed=0", accuracy=1 / 3),
        make_record(1, "rnn", "seed=1", status="FAILED", reason="it, broke"),
    ]
    write_csv(rank(records, "val/accuracy", "maximize"), tmp_path / "ranking.csv")
    with (tmp_path / "ranking.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
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
    ranking = rank(records, "val/accuracy", "maximize")
    assert [(row.rank, row.record.job_number) for row in ranking.rows] == [
        (1, 3), (None, 2), (None, 1), (None, 4), (None, 0),
    ]  # fmt: skip
    assert ranking.best == records[3]
    assert [row.record.job_number for row in ranking.pruned] == [2, 1, 4]
    assert [row.record.job_number for row in ranking.unfinished] == [0]
    write_csv(ranking, tmp_path / "ranking.csv")
    with (tmp_path / "ranking.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert (lines[1]["rank"], lines[1]["status"], lines[1]["val/accuracy"]) == ("", "PRUNED", "0.95")
    assert lines[1]["reason"] == "below the median"


def test_the_latency_is_a_column_after_the_metrics(make_record):
    ranking = rank([make_record(0, metrics={"time/latency_ms": 1.0, "val/accuracy": 0.8})], "val/accuracy", "maximize")
    assert ranking.metrics == ("val/accuracy", "time/latency_ms")
