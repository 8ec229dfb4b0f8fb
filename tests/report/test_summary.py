from __future__ import annotations

import dataclasses

import pytest

from sentiment.report.sweep.summary import measure_seconds, summarize, write_seconds, write_setting, write_value


def test_one_finished_trial_is_no_winner_among_many(example_table):
    alone = dataclasses.replace(example_table, rows=example_table.rows[:1])
    assert summarize(alone).headline == "Trial 0 reached val/accuracy 90.00 %; it is the only one that finished."


def test_with_several_objectives_no_single_best_is_claimed(example_table):
    both = dataclasses.replace(
        example_table, objectives=("val/accuracy", "model/parameters"), directions=("maximize", "minimize")
    )
    headline = summarize(both).headline
    assert headline == "Trial 0 has the best val/accuracy, 90.00 %; model/parameters decided too: see the fronts below."


def test_time_runs_from_the_first_start_to_the_last_end(example_table):
    rows = tuple(dataclasses.replace(row, started_seconds=row.number, ended_seconds=None) for row in example_table.rows)
    assert measure_seconds(dataclasses.replace(example_table, rows=rows)) is None
    rows = (*rows, dataclasses.replace(rows[0], started_seconds=5, ended_seconds=90))
    assert measure_seconds(dataclasses.replace(example_table, rows=rows)) == 90


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.23, "8.2 s"), (59.99, "60.0 s"), (750, "12 min 30 s"), (4321, "1 h 12 min")]
)
def test_durations(seconds, text):
    assert write_seconds(seconds) == text


def test_values_and_settings_are_short():
    assert write_value("val/loss", 0.30456789) == "0.3046"
    assert write_value("val/accuracy", float("nan")) == "no number"
    assert [write_setting(value) for value in (2.0, 0.00862393018484974, "gru", "0.00862393018484974")] == [
        "2", "0.008624", "gru", "0.008624",
    ]  # fmt: skip
