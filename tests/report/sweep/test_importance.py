"""Importance where not every trial has every parameter."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from sentiment.report.sweep import importance
from sentiment.report.sweep.importance import choose_values, find_opener, measure_branches
from sentiment.report.sweep.table import CurvePoint, SweepRow
from sentiment.tracking.result_file import CONTINUES_TAG

VARIED = ("model", "model.depth", "model.cell", "model.heads")


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(importance, "RESAMPLES", 3)


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
    importances, note = measure_branches(conditional_rows, VARIED, (), "val/accuracy")
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
    expected = measure_branches(conditional_rows, VARIED, (), "val/accuracy")
    ranked = sorted(conditional_rows, key=lambda row: (-row.values["val/accuracy"], -row.number))
    assert measure_branches(ranked, VARIED[::-1], (), "val/accuracy") == expected


def test_the_opener_is_what_decides_the_others(conditional_rows):
    assert find_opener(conditional_rows, ["model.depth", "model"], VARIED) == "model"
    assert find_opener(conditional_rows, ["model.depth"], VARIED) is None


def test_a_small_branch_says_so_and_the_others_speak(conditional_rows):
    rnns = [row for row in conditional_rows if row.parameters["model"] == "rnn"][:3]
    others = [row for row in conditional_rows if row.parameters["model"] != "rnn"]
    importances, note = measure_branches([*rnns, *others], VARIED, (), "val/accuracy")
    assert {item.group for item in importances} == {None, "model=transformer"}
    assert "model=rnn: 3 trials have a result" in note


def test_a_model_that_was_drawn_once_beside_many_of_another_is_measured(conditional_rows, monkeypatch):
    monkeypatch.setattr(importance, "RESAMPLES", 30)
    rows = [row for row in conditional_rows if row.parameters["model"] == "rnn"][:9] + conditional_rows[:1]
    rows = [replace(row, parameters=dict(row.parameters)) for row in rows]
    for row in rows:
        del row.parameters["model.depth"]  # nothing is shared but the model
    importances, _ = measure_branches(rows, VARIED, (), "val/accuracy")
    assert {(item.parameter, item.group) for item in importances} == {("model", None), ("model.cell", "model=rnn")}


def test_a_number_opens_one_branch_in_whichever_type_it_was_read(conditional_rows):
    """A default is read as 1.0, where a choice is drawn as 1."""
    numbers = {"rnn": (1, 1.0), "transformer": ("null", "null")}
    rows = []
    for row in conditional_rows:
        settings = dict(row.parameters)
        opener = numbers[settings.pop("model")][row.number // 2 % 2]
        rows.append(replace(row, parameters={**settings, "clip": opener}))
    importances, _ = measure_branches(rows, ("clip", *VARIED[1:]), (), "val/accuracy")
    assert {item.group for item in importances} == {None, "clip=1", "clip=null"}


def test_parameters_that_are_not_measured_are_named(conditional_rows):
    # Neither the model nor anything else decides who has it.
    rows = [replace(row, parameters={**row.parameters, "a.x": 1.0}) for row in conditional_rows[:5]]
    rows += conditional_rows[5:]
    importances, note = measure_branches(rows, (*VARIED, "a.x"), (), "val/accuracy")
    assert {item.parameter for item in importances} == {"model", "model.depth"}
    assert "Not measured, because only some trials have them: a.x, model.cell, model.heads." in note


def test_shared_results_count_once(conditional_rows):
    copies = [replace(row, reused_from=0) for row in conditional_rows[4:]]
    importances, note = measure_branches([*conditional_rows[:4], *copies], VARIED, (), "val/accuracy")
    assert importances == ()
    assert "4 trials have a result" in note


def stop(row, *values):
    """Let a trial have a learning curve, and be pruned where it is shorter than four validations."""
    curve = tuple(CurvePoint(float(step), value) for step, value in enumerate(values, start=1))
    state = "complete" if len(values) == 4 else "pruned"
    return replace(row, state=state, curve=curve, values={"val/accuracy": max(values)})


def test_what_all_pruned_trials_have_in_common_matters_most():
    """Every complete trial has the right value, so that these alone would say that it does not matter."""
    rows = []
    for number in range(24):
        row, bad = make_row(number, 0.0, a=number % 2, b=number % 3), number % 2
        rows.append(stop(row, 0.5, 0.5) if bad else stop(row, 0.8, 0.85, 0.86, 0.86 + 0.001 * (number % 3)))
    importances, note = measure_branches(rows, ("a", "b"), (), "val/accuracy")
    assert importances[0].parameter == "a"
    assert importances[0].low > 0.9
    assert "24 ended trials, by what each had after epoch 2" in note
    assert choose_values([rows[0]], "val/accuracy")[1] == "complete trials"
    assert "ended trials" not in choose_values(rows, "model/parameters")[1], "its curves are of another objective"


@pytest.mark.parametrize("early", [(0.5,), ()])
def test_trials_that_were_stopped_too_early_say_nothing(early):
    rows = [make_row(number, 0.8 + 0.01 * number, a=number) for number in range(9)]
    rows = [stop(row, 0.1, 0.2, 0.3, row.values["val/accuracy"]) for row in rows]
    last = replace(stop(make_row(9, 0.0, a=9), 0.5), curve=stop(make_row(9, 0.0), *early).curve if early else ())
    values, how = choose_values([*rows, last], "val/accuracy")
    assert set(values) == set(range(9))
    assert "pruned ones are left out" in how


def test_no_trials_no_importance():
    assert measure_branches([], (), (), "val/accuracy") == ((), "No parameter was varied.")


def test_equal_work_is_counted_in_epochs(make_record):
    """Validations may be more in an epoch; what is fitted in one go has one, and a copy's begin in the middle."""

    def draw(row, state, *points):
        return replace(row, state=state, curve=tuple(CurvePoint(epoch, value) for epoch, value in points))

    rows = [make_row(number, 0.9, a=number) for number in range(5)]
    rows = [
        draw(rows[0], "pruned", (1.0, 0.1), (2.0, 0.2)),
        draw(rows[1], "complete", (0.5, 0.3), (1.0, 0.4), (1.5, 0.5), (2.0, 0.6), (2.5, 0.7), (3.0, 0.9)),
        draw(rows[2], "complete", (1.0, 0.9)),
        draw(rows[3], "pruned", (3.0, 0.8)),
    ]
    copy = make_record(3, tags={CONTINUES_TAG: "0"})
    values, how = choose_values([*rows[:3], replace(rows[3], runs=(copy,))], "val/accuracy")
    assert values == {0: 0.2, 1: 0.6, 2: 0.9}
    assert how.startswith("ended trials, by what each had after epoch 2; copies are left out")


def test_a_trial_without_a_finite_value_is_not_counted():
    rows = [make_row(number, math.inf if number == 3 else 0.1 * number, a=number) for number in range(10)]
    assert "over 9 complete trials." in measure_branches(rows, ("a",), (), "val/accuracy")[1]
