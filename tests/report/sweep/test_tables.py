from __future__ import annotations

import csv
import dataclasses
import math

from hypothesis import given
from hypothesis import strategies as st

from sentiment.report.draw.table import write_table
from sentiment.report.sweep.table import SweepRow, SweepTable
from sentiment.report.sweep.tables import (
    find_cost_front,
    make_failures,
    make_front,
    make_pareto,
    make_ranking,
    make_tables,
    make_trials,
)


def read(table, file):
    write_table(table, file)
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_ranking_has_the_columns_of_the_multiruns_own_and_numbers_in_full(example_table, tmp_path):
    rows = read(make_ranking(example_table), tmp_path / "ranking.csv")
    assert {"rank", "job", "run_id", "model", "model.heads", "optimizer.lr", "status", "val/accuracy", "test/accuracy",
            "parameters", "seconds", "epochs", "best_epoch", "reason"} <= set(rows[0])  # fmt: skip
    assert [row["rank"] for row in rows] == [*map(str, range(1, 10)), "", "", ""]
    assert float(rows[2]["optimizer.lr"]) == 1e-4 * 3
    assert rows[-1]["reason"] == example_table.rows[-1].reason
    assert [row["status"] for row in rows[-3:]] == ["PRUNED", "PRUNED", "FAILED"]
    assert make_ranking(example_table).marked == {0}


def test_what_a_command_line_takes_is_shown_as_one_would_type_it(example_table):
    row = dataclasses.replace(example_table.rows[0], number=1234, parameters={"seed": 12345}, reused_from=1111)
    table = dataclasses.replace(example_table, rows=(row,), varied=("seed",), is_study=True)
    for made in (make_ranking(table), make_trials(table), make_front(table)):
        shown = {column.name: column.show(cell) for column, cell in zip(made.columns, made.rows[0], strict=True)}
        assert (shown["trial"], shown["seed"]) == ("1234", "12345")
        assert shown.get("reused_from", "1111") == "1111"


def test_a_failed_trial_without_a_record_is_listed_with_a_reason(example_table):
    lost = dataclasses.replace(example_table.rows[-1], runs=(), reason=None, state="killed")
    table = dataclasses.replace(example_table, rows=(lost,))
    ((trial, state, reason, kind, _),) = make_failures(table).rows
    assert (trial, state, kind) == (11, "killed", None)
    assert "killed from outside" in reason
    assert make_ranking(table).rows[0][2] == "rnn"  # the model is known from what was drawn


def test_the_trials_are_in_order_and_say_whose_result_they_share(example_table):
    shared = dataclasses.replace(example_table.rows[3], reused_from=1)
    rows = tuple(reversed((*example_table.rows[:3], shared)))
    table = make_trials(dataclasses.replace(example_table, rows=rows))
    assert [row[0] for row in table.rows] == [0, 1, 2, 3]
    assert table.rows[3][-1] == 1


def test_quality_against_cost(example_table):
    table = make_pareto(example_table)
    names = [column.name for column in table.columns]
    on_front = names.index("on_front_model/parameters")
    assert all(row[on_front] for row in table.rows)  # each better trial is larger
    seconds = names.index("on_front_time/fit_seconds")
    assert [row[seconds] for row in table.rows] == [True] + [False] * 8  # the best is the fastest, too
    assert "time/latency_ms" not in names  # nobody measured it


def test_what_has_no_place_among_costs_is_on_no_front_and_beats_nobody():
    measured = [(0.9, 0.0), (0.5, 10.0), (0.6, 200.0), (0.4, 300.0), (math.inf, 5.0)]
    rows = tuple(
        SweepRow(number, "", "complete", number + 1, {}, {"val/accuracy": value}, {"model/parameters": cost})
        for number, (value, cost) in enumerate(measured)
    )
    table = make_pareto(SweepTable("s", None, ("val/accuracy",), ("maximize",), rows, ()))
    assert [row[-1] for row in table.rows] == [None, True, True, False, None]


def test_every_report_has_the_same_tables_and_rows_as_wide_as_their_headings(example_table):
    tables = make_tables(example_table)
    assert [table.name for table in tables] == [
        "ranking",
        "failures",
        "trials",
        "importance",
        "pareto",
        "learning_curves",
    ]
    assert all(len(row) == len(table.columns) for table in tables for row in table.rows)
    assert [table.name for table in make_tables(dataclasses.replace(example_table, rows=()))] == [
        t.name for t in tables
    ]


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5)), min_size=1, max_size=12), st.booleans())
def test_a_front_is_what_no_other_dominates(points, is_minimized):
    direction = "minimize" if is_minimized else "maximize"
    rows = tuple(
        SweepRow(number, "", "complete", number + 1, {}, {"val/loss": float(value)}, {"cost": float(cost)})
        for number, (cost, value) in enumerate(points)
    )
    table = SweepTable("s", None, ("val/loss",), (direction,), rows, ())
    front = find_cost_front(table, table.ranked, "cost")
    sign = -1 if is_minimized else 1
    assert any(front.values())
    for number, (cost, value) in enumerate(points):
        dominated = any(c <= cost and sign * v >= sign * value and (c, v) != (cost, value) for c, v in points)
        assert front[number] == (not dominated)
