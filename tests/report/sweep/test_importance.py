"""Importance where not every trial has every parameter."""

from __future__ import annotations

import pytest

from sentiment.report.sweep.importance import find_opener, measure_branches
from sentiment.report.sweep.table import SweepRow

VARIED = ("model", "model.depth", "model.cell", "model.heads")


def make_row(number, value, **parameters):
    settings = {key.replace("__", "."): setting for key, setting in parameters.items()}
    return SweepRow(number, f"trial {number}", "complete", None, settings, {"val/accuracy": value}, {})


@pytest.fixture
def conditional_rows():
    """An RNN with cells, of which one is better; a Transformer with heads, the more the better."""
    rows = []
    for number in range(24):
        half = number // 2
        if number % 2:
            cell = "gru" if half % 2 else "lstm"
            rows.append(make_row(number, 0.5 + 0.2 * (half % 2), model="rnn", model__depth=half % 3, model__cell=cell))
        else:
            heads = 1 + half % 4
            rows.append(
                make_row(number, 0.5 + 0.01 * heads, model="transformer", model__depth=half % 3, model__heads=heads)
            )
    return rows


def test_branches_are_measured_each_by_itself(conditional_rows):
    importances, note = measure_branches(conditional_rows, VARIED, (), "val/accuracy", resamples=3)
    by_group = {}
    for item in importances:
        by_group.setdefault(item.group, []).append(item.parameter)
    assert by_group[None] == ["model"]
    assert by_group["model=rnn"][0] == "model.cell"
    assert by_group["model=transformer"][0] == "model.heads"
    assert set(by_group["model=transformer"]) == {"model.heads", "model.depth"}
    assert "24 complete trials" in note
    assert "3 resamples" in note


def test_the_order_of_rows_and_parameters_changes_nothing(conditional_rows):
    expected = measure_branches(conditional_rows, VARIED, (), "val/accuracy", resamples=2)
    ranked = sorted(conditional_rows, key=lambda row: (-row.values["val/accuracy"], -row.number))
    assert measure_branches(ranked, VARIED[::-1], (), "val/accuracy", resamples=2) == expected


def test_the_opener_is_what_decides_the_others(conditional_rows):
    assert find_opener(conditional_rows, ["model.depth", "model"], VARIED) == "model"
    assert find_opener(conditional_rows, ["model.depth"], VARIED) is None


def test_a_small_branch_says_so_and_the_others_speak(conditional_rows):
    rnns = [row for row in conditional_rows if row.parameters["model"] == "rnn"][:3]
    others = [row for row in conditional_rows if row.parameters["model"] != "rnn"]
    importances, note = measure_branches([*rnns, *others], VARIED, (), "val/accuracy", resamples=2)
    assert {item.group for item in importances} == {None, "model=transformer"}
    assert "model=rnn: 3 trials have a result" in note


def test_parameters_that_are_not_measured_are_named(conditional_rows):
    from dataclasses import replace

    # Neither the model nor anything else decides who has it.
    rows = [replace(row, parameters={**row.parameters, "a.x": 1.0}) for row in conditional_rows[:5]]
    rows += conditional_rows[5:]
    importances, note = measure_branches(rows, (*VARIED, "a.x"), (), "val/accuracy", resamples=2)
    assert {item.parameter for item in importances} == {"model", "model.depth"}
    assert "Not measured, because only some trials have them: a.x, model.cell, model.heads." in note


def test_shared_results_count_once(conditional_rows):
    from dataclasses import replace

    copies = [replace(row, reused_from=0) for row in conditional_rows[4:]]
    importances, note = measure_branches([*conditional_rows[:4], *copies], VARIED, (), "val/accuracy", resamples=2)
    assert importances == ()
    assert "4 trials have a result" in note


def test_no_trials_no_importance():
    assert measure_branches([], (), (), "val/accuracy") == ((), "No parameter was varied.")
