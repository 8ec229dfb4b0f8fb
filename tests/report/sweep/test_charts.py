"""The charts of a sweep, compared as tables."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment.config.objective import find_direction
from sentiment.format import name_metric
from sentiment.report.draw.look import PALETTE, choose_looks, find_colour_ranges, shade_line
from sentiment.report.sweep.charts import NAMES, make_charts
from sentiment.report.sweep.charts.axes import JITTER, shift
from sentiment.report.sweep.charts.parameters import (
    choose_keys,
    make_importances,
    make_pairs,
    make_parallel,
    make_slices,
)
from sentiment.report.sweep.charts.trials import (
    MOST_CURVES,
    MOST_RUNS,
    make_curves,
    make_fronts,
    make_history,
    make_runs,
)
from sentiment.report.sweep.rows import rank_rows
from sentiment.report.sweep.table import CurvePoint, Importance, SweepRow, SweepTable
from sentiment.report.sweep.tables import find_cost_front

OBJECTIVE = "val/accuracy"


def make_row(number, value=None, state="complete", **changes):
    values = {} if value is None else {OBJECTIVE: value}
    known = {
        "label": f"transformer heads={2**number}", "rank": None, "parameters": {"model.heads": 2**number},
        "metrics": values, "started_seconds": 60.0 * number, "ended_seconds": 60.0 * number + 90,
    }  # fmt: skip
    return SweepRow(number=number, state=state, values=values, **{**known, **changes})


def make_table(*rows, direction="maximize", **changes):
    return SweepTable(
        name="sweep",
        command=None,
        objectives=(OBJECTIVE,),
        directions=(direction,),
        rows=tuple(rank_rows(rows, {OBJECTIVE: direction})),
        varied=tuple(dict.fromkeys(key for row in rows for key in row.parameters)),
        **changes,
    )


def find_series(panel, name):
    (series,) = [one for one in panel.series if one.name == name]
    return series


def test_every_chart_has_its_name_in_the_list_by_which_a_report_removes_pictures(example_table):
    assert {chart.name for chart in make_charts(example_table)} == set(NAMES)


def test_the_best_so_far_over_trials_and_over_time():
    table = make_table(
        make_row(0, 0.6), make_row(1, 0.8, ended_seconds=400.0), make_row(2, 0.7), make_row(3, 0.5, "pruned"),
        make_row(4, state="failed", reason="out of memory"),
    )  # fmt: skip
    trials, times = make_history(table).panels
    best = find_series(trials, "best so far")
    assert (best.x, best.y, best.kind) == ((0, 1, 3), (0.6, 0.8, 0.8), "step")  # it rises with a trial, and ends
    best = find_series(times, "best so far")  # in the order in which they ended
    assert best.x == (1.5, 3.5, pytest.approx(400 / 60))
    assert best.y == (0.6, 0.7, 0.8)
    assert find_series(trials, "pruned").x == (3,)
    failed = find_series(trials, "failed (no value)")
    assert (failed.x, failed.y, failed.role) == ((4,), (0.5,), "failed")
    assert "out of memory" in failed.hover[0]


def test_of_thousands_of_trials_some_are_marked_and_the_caption_says_so(monkeypatch):
    monkeypatch.setattr("sentiment.report.sweep.charts.axes.MOST_MARKS", 20)
    monkeypatch.setattr("sentiment.report.sweep.charts.MOST_MARKS", 20)
    rows = [
        make_row(number, 0.5 + (number * 7 % 60) / 200, parameters={"a": number % 3, "b": number % 2})
        for number in range(60)
    ]
    table = make_table(*rows)
    charts = {chart.name: chart for chart in make_charts(table)}
    history, pairs = charts["optimisation_history"], charts["pairs"]
    assert "Of 60 trials, 20 of a kind are marked" in history.caption
    marked = find_series(history.panels[0], "complete")
    assert len(marked.x) == len(marked.hover) == len(marked.trials) == 20
    best = {row.number for row in sorted(rows, key=lambda row: -row.values["val/accuracy"])[:10]}
    assert best <= set(marked.trials)
    assert find_series(history.panels[0], "best so far").y[-1] == max(row.values["val/accuracy"] for row in rows)
    cells, points = pairs.panels[0].series
    assert len(points.x) == len(points.colour) == 20
    counts = [int(text.split()[2]) for text in cells.hover]
    assert sum(counts) == 60, "cells count all trials"
    bounded = [replace(row, bounds={OBJECTIVE: 1 - row.values[OBJECTIVE]}) for row in rows]
    marked = find_series(make_history(make_table(*bounded)).panels[0], "complete")
    best = {row.number for row in sorted(bounded, key=lambda row: -row.scores[OBJECTIVE])[:10]}
    assert best <= set(marked.trials), "the best are those that rank first"
    few = make_table(*rows[:20])
    assert all("are marked" not in chart.caption for chart in make_charts(few))


def test_a_trial_over_a_limit_is_not_the_best():
    table = make_table(make_row(0, 0.6), make_row(1, 0.9, excess={"size": 2.0}))
    history = make_history(table)
    assert find_series(history.panels[0], "best so far").y == (0.6, 0.6)
    assert "best complete trial so far that keeps every limit" in history.caption


def test_charts_call_nothing_the_best_that_breaks_a_limit():
    rows = [
        costly(n, 0.5 + n / 50, 10.0 + n, parameters={"a": n % 3, "b": 0.1 * n}, excess={"size": 2.0})
        for n in range(20)
    ]
    charts = make_charts(make_table(*[replace(row, curve=curve_of(0.5, 0.6)) for row in rows]))
    assert {chart.name for chart in charts} >= {"runs", "optimisation_history", "slices", "parallel_coordinates"}
    assert not [chart.title for chart in charts if "best" in chart.title]
    assert not [one.name for chart in charts for panel in chart.panels for one in panel.series if "best" in one.name]


def test_less_can_be_better():
    table = make_table(make_row(0, 0.6), make_row(1, 0.4), make_row(2, 0.5), direction="minimize")
    assert find_series(make_history(table).panels[0], "best so far").y == (0.6, 0.4, 0.4)


def test_importances_by_branch():
    rows = [make_row(number, 0.5 + number / 10) for number in range(2)]
    items = (
        Importance("model", 0.5, 0.4, 0.6),
        Importance("model.heads", 0.7, 0.2, 0.9, "model=transformer"),
    )
    chart = make_importances(make_table(*rows, importances=items))
    assert [panel.title for panel in chart.panels] == ["all trials", "model=transformer"]
    bars = chart.panels[1].series[0]
    assert (bars.x, bars.y, bars.low, bars.high) == ((0.7,), ("heads",), (0.2,), (0.9,))
    assert make_importances(make_table(*rows)) is None


def test_slices_place_few_numbers_side_by_side_and_many_on_a_scale():
    rows = [
        make_row(n, 0.5 + n / 100, parameters={"model.heads": (1, 2, 8)[n % 3], "optimizer.lr": 10 ** (-4 + n / 5)})
        for n in range(12)
    ]
    heads, rate = make_slices(make_table(*rows, log_scaled=frozenset({"optimizer.lr"}))).panels
    assert heads.x.categories == ("1", "2", "8")
    assert (rate.x.title, rate.x.is_log, rate.x.categories) == ("lr", True, None)
    best = find_series(heads, "best")
    assert (round(best.x[0]), best.y) == (2, (0.61,))  # trial 11 has 8 heads, the third category
    others = find_series(rate, "complete")
    assert sorted(zip(others.x, others.y, strict=True)) == [
        (pytest.approx(10 ** (-4 + n / 5)), 0.5 + n / 100) for n in range(11)
    ]


def test_slices_leave_out_what_never_varied():
    rows = [make_row(n, 0.5, parameters={"a": 1, "b": n}) for n in range(3)]
    assert [panel.x.title for panel in make_slices(make_table(*rows)).panels] == ["b"]


@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=60, unique=True))
def test_jitter_keeps_points_apart_and_in_their_category(numbers):
    shifts = [shift(number) for number in numbers]
    assert all(abs(one) <= JITTER / 2 for one in shifts)
    assert len(set(shifts)) == len(shifts)
    assert shifts == [shift(number) for number in numbers]


def test_cells_hold_means_and_empty_ones_stay_empty():
    points = [(1, 1, 0.6), (1, 1, 0.8), (1, 2, 0.5), (2, 2, 0.9)]
    rows = [
        make_row(n, value, parameters={"model.depth": depth, "model.heads": heads})
        for n, (depth, heads, value) in enumerate(points)
    ]
    (panel,) = make_pairs(make_table(*rows)).panels
    means, trials = panel.series
    assert (panel.x.title, means.x, panel.y.title, means.y) == ("heads", ("1", "2"), "depth", ("1", "2"))
    assert means.colour[:2] == (pytest.approx(0.7), 0.5)  # depth 1, heads 1 and 2
    assert math.isnan(means.colour[2])
    assert means.colour[3] == 0.9
    assert means.hover[2] == "not tried"
    assert trials.colour == (0.9, 0.8, 0.6, 0.5)
    assert [round(x) for x in trials.x] == [1, 0, 0, 1]


def test_a_result_that_is_shared_counts_once_in_its_cell():
    points = [(1, 1, 0.6, None), (1, 1, 0.8, None), (1, 2, 0.5, None), (2, 2, 0.9, None), (1, 1, 0.8, 1)]
    rows = [
        make_row(n, value, parameters={"model.depth": depth, "model.heads": heads}, reused_from=source)
        for n, (depth, heads, value, source) in enumerate(points)
    ]
    (panel,) = make_pairs(make_table(*rows)).panels
    assert panel.series[0].colour[0] == pytest.approx(0.7)
    assert panel.series[0].hover[0].startswith("mean of 2 trials")


def test_copies_are_placed_by_no_setting_and_it_is_said():
    rows = [
        make_row(number, 0.7 + number / 100, parameters={"a": number % 2, "b": number // 2 % 2}) for number in range(8)
    ]
    copies = [make_row(8, 0.95, parameters={"a": 1, "b": 1}, continues=0)]
    copies.append(make_row(9, 0.9, "pruned", parameters={"a": 0, "b": 1}, continues=0))
    alone, together = make_table(*rows), make_table(*rows, *copies)
    for family in (make_slices, make_pairs, make_parallel):
        chart = family(together)
        drawn = {number for panel in chart.panels for series in panel.series for number in series.trials or ()}
        assert drawn == set(range(8))
        assert "Copies are left out" in chart.caption
        assert "Copies are left out" not in family(alone).caption
    assert make_pairs(alone).panels[0].series[0].colour == make_pairs(together).panels[0].series[0].colour


@pytest.mark.parametrize("count", [4, 11])
def test_a_parameter_drawn_from_a_range_stands_on_a_scale_beside_categories(count):
    rows = [
        make_row(n, 0.5, parameters={"optimizer.lr": 10.0 ** (-n / 2), "model.heads": 1 + n % 2}) for n in range(count)
    ]
    (panel,) = make_pairs(make_table(*rows, log_scaled=frozenset({"optimizer.lr"}))).panels
    assert (panel.x.title, panel.x.categories) == ("heads", ("1", "2"))
    assert (panel.y.title, panel.y.categories, panel.y.is_log) == ("lr", None, True)
    (trials,) = panel.series
    assert sorted(trials.y) == sorted(row.parameters["optimizer.lr"] for row in rows)
    assert trials.colour == (0.5,) * count


def test_the_exercises_parameters_are_paired_first():
    keys = ["model.dropout", "model.cell", "optimizer.lr", "model.embedding_size", "model.depth", "model.heads"]
    rows = [make_row(n, 0.5, parameters=dict.fromkeys(keys, n)) for n in range(3)]
    assert choose_keys(make_table(*rows)) == [
        "model.heads", "model.depth", "model.embedding_size", "optimizer.lr",
    ]  # fmt: skip
    others = [make_row(n, 0.5, parameters={"a.x": n, "a.y": n, "model.depth": n}) for n in range(3)]
    found = choose_keys(make_table(*others, importances=(Importance("a.y", 0.9, 0.8, 1.0),)))
    assert found == ["model.depth", "a.y", "a.x"]


def test_parallel_lines_run_from_the_lowest_to_the_highest():
    rows = [
        make_row(0, 0.5, parameters={"lr": 0.001, "cell": "gru", "heads": 1}),
        make_row(1, 0.7, parameters={"lr": 0.01, "cell": "lstm", "heads": 3}),
        make_row(2, 0.9, parameters={"lr": 0.1, "cell": "lstm"}),
    ]
    chart = make_parallel(make_table(*rows, log_scaled=frozenset({"lr"})))
    (panel,) = chart.panels
    assert panel.y.categories == (
        "lr (0.001 to 0.1, log)", "cell (gru, lstm)", "heads (1 to 3)", "accuracy (50.00 % to 90.00 %)",
    )  # fmt: skip
    worst, middle, best = panel.series
    assert worst.x == (0, 0, 0, 0)
    assert middle.x == (pytest.approx(0.5), 1, 1, pytest.approx(0.5))
    assert (best.role, best.x, len(best.y)) == ("best", (1, 1, 1), 3)  # it has no heads
    assert worst.colour == (0.5,) * 4
    (scale,) = find_colour_ranges(chart).values()
    assert (scale.low, scale.high) == (0.5, 0.9), "the best is between its ends, too"
    assert (shade_line(middle, scale), shade_line(best, scale)) == (pytest.approx(0.5), None)


def test_numbers_beside_a_word_stand_in_their_own_order_on_their_line():
    values = (64, 1024, "null", 128, 256)
    rows = [make_row(n, n / 10, parameters={"max_tokens": value, "heads": n}) for n, value in enumerate(values)]
    (panel,) = make_parallel(make_table(*rows)).panels
    assert "max_tokens (64, 128, 256, 1024, null)" in panel.y.categories


def test_a_number_beside_a_word_has_one_place_in_whichever_type_it_was_read():
    """A default is read as 1.0, where a choice is drawn as 1."""
    values = (1.0, 1, "null", 0.12345678901234567)
    rows = [make_row(n, n / 10, parameters={"clip": value, "heads": n}) for n, value in enumerate(values)]
    for ordered in (rows, [rows[1], rows[0], *rows[2:]]):
        (panel,) = make_parallel(make_table(*ordered)).panels
        assert "clip (0.1235, 1, null)" in panel.y.categories
        places = {series.trials[0]: series.x[0] for series in panel.series}
        assert places == {0: 0.5, 1: 0.5, 2: 1.0, 3: 0.0}


def test_lines_that_are_not_drawn_are_counted(monkeypatch):
    monkeypatch.setattr("sentiment.report.sweep.charts.parameters.MOST_LINES", 3)
    table = make_table(*(make_row(n, n / 10, parameters={"a": n, "b": -n}) for n in range(5)))
    assert "The first 3 of 5 complete trials are drawn." in make_parallel(table).caption


def curve_of(*values):
    return tuple(CurvePoint(epoch, value) for epoch, value in enumerate(values, start=1))


def test_curves_mark_the_pruned_and_the_best():
    table = make_table(
        make_row(0, 0.8, curve=curve_of(0.5, 0.8)), make_row(1, 0.7, curve=curve_of(0.6, 0.7)),
        make_row(2, 0.4, "pruned", curve=curve_of(0.4)),
    )  # fmt: skip
    (panel,) = make_curves(table).panels
    stopped = find_series(panel, "pruned here")
    assert (stopped.x, stopped.y, stopped.role) == ((1,), (0.4,), "pruned")
    assert (panel.series[-1].role, panel.series[-1].y) == ("best", (0.5, 0.8))
    assert find_series(panel, "1: transformer heads=2").role == "plain"
    assert find_series(panel, "best, 0: transformer heads=1").role == "best"


def test_many_curves_are_thinned_and_it_is_said():
    rows = [make_row(n, n / 100, parameters={"a": n}, curve=curve_of(n / 100)) for n in range(90)]
    chart = make_curves(make_table(*rows))
    folded = [series for series in chart.panels[0].series if series.is_folded]  # to be asked for by their rows
    assert len(chart.panels[0].series) - len(folded) == MOST_CURVES
    assert len({series.trials[0] for series in chart.panels[0].series}) == 90
    assert f"{MOST_CURVES} of 90 trials" in chart.caption
    assert chart.panels[0].series[-1].y == (0.89,)  # the best is among them


def costly(number, value, cost, **changes):
    return make_row(number, value, metrics={OBJECTIVE: value, "model/parameters": cost}, **changes)


def test_the_front_is_what_nothing_beats():
    rows = [costly(0, 0.6, 10.0), costly(1, 0.5, 20.0), costly(2, 0.9, 200.0), costly(3, 0.9, 300.0)]
    (panel,) = make_fronts(make_table(*rows)).panels
    line = find_series(panel, "Pareto front")
    assert (line.x, line.y) == ((10, 200, 300), (0.6, 0.9, 0.9))
    assert sorted(find_series(panel, "beaten by another").x) == [20, 300]
    assert panel.x.is_log


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=15),
    st.sampled_from(["maximize", "minimize"]),
)
def test_the_front_agrees_with_its_definition(points, direction):
    rows = [costly(n, float(value), float(cost)) for n, (value, cost) in enumerate(points)]
    table = make_table(*rows, direction=direction)
    sign = 1 if direction == "maximize" else -1
    undominated = {
        (value, cost)
        for value, cost in points
        if not any(
            other_cost <= cost and sign * other >= sign * value and (other, other_cost) != (value, cost)
            for other, other_cost in points
        )
    }
    front = find_cost_front(table, table.ranked, "model/parameters")
    assert {point for number, point in enumerate(points) if front[number]} == undominated


def test_what_cost_nothing_is_neither_drawn_nor_beats_what_is():
    rows = [costly(0, 0.9, 0.0), costly(1, 0.5, 10.0), costly(2, 0.6, 200.0)]
    (panel,) = make_fronts(make_table(*rows)).panels
    line = find_series(panel, "Pareto front")
    assert (line.x, line.y) == ((10, 200, 200), (0.5, 0.6, 0.6))


@pytest.mark.parametrize(
    ("cost", "devices", "is_told"),
    [
        ("time/fit_seconds", ("cpu", "cuda"), True),
        ("time/fit_seconds", ("cpu", "cpu"), False),
        ("model/parameters", ("cpu", "cuda"), False),
    ],
)
def test_times_of_several_machines_are_drawn_with_a_warning(make_record, cost, devices, is_told):
    records = [make_record(number, tags={"device": device}) for number, device in enumerate(devices)]
    rows = [
        make_row(number, 0.5 + number / 10, metrics={cost: 10.0 + number}, runs=(record,))
        for number, record in enumerate(records)
    ]
    assert ("not timed on one hardware and device" in make_fronts(make_table(*rows)).caption) == is_told


def test_a_model_has_one_colour_in_all_charts_of_a_page_and_its_name_where_it_is_alone():
    rows = [
        costly(n, value, cost, model=model, parameters={"model": model, "seed": n})
        for n, (model, value, cost) in enumerate(
            [("transformer", 0.9, 40.0), ("rnn", 0.6, 10.0), ("transformer", 0.5, 30.0), ("rnn", 0.7, 20.0)]
        )
    ]
    table = make_table(*rows)
    charts = [
        make_slices(table),
        make_fronts(table),
        make_fronts(make_table(*rows[:3], costly(4, 0.99, 5.0, model="rnn"))),
    ]
    colours = {
        (series.name, look.colour)
        for chart in charts
        for panel, looks in zip(chart.panels, choose_looks(chart), strict=True)
        for series, look in zip(panel.series, looks, strict=True)
        if series.role == "plain"
    }
    assert colours == {("transformer", PALETTE[1]), ("rnn", PALETTE[2])}


def test_no_cost_no_front():
    assert make_fronts(make_table(make_row(0, 0.5), make_row(1, 0.6))) is None


def test_runs_with_their_test_interval(make_record):
    rows = [
        make_row(n, value, metrics={OBJECTIVE: value, "test/accuracy": 0.75}, runs=(make_record(n),))
        for n, value in enumerate([0.8, 0.9])
    ]
    (panel,) = make_runs(make_table(*rows)).panels
    assert panel.y.categories == ("1: heads=2", "0: heads=1")
    assert panel.x.title == "accuracy"  # of either split
    assert find_series(panel, "validation accuracy").x == (0.9, 0.8)
    assert [series.trials for series in panel.series] == [(1, 0)] * 2  # a chosen range fades them, too
    test = find_series(panel, "test accuracy")
    assert test.low[0] == pytest.approx(0.7223, abs=1e-3)  # Wilson's interval of 750 in 1000
    assert test.high[0] == pytest.approx(0.7759, abs=1e-3)


@pytest.mark.parametrize(("measure", "value"), [("loss", 1.3), ("mcc", -0.02), ("auroc", math.nan)])
def test_what_is_no_share_of_reviews_has_no_interval(make_record, measure, value):
    objective, test = f"val/{measure}", f"test/{measure}"
    row = SweepRow(
        number=0, label="rnn", state="complete", values={objective: 0.7}, rank=1, parameters={},
        metrics={objective: 0.7, test: value}, runs=(make_record(0),), on_front=True,
    )  # fmt: skip
    table = SweepTable("sweep", None, (objective,), (find_direction(objective),), (row,), ())
    (panel,) = make_runs(table).panels
    assert [series.low for series in panel.series] == [None, None]
    assert panel.x.title == name_metric(measure)


def test_runs_over_a_limit_come_last_and_are_named():
    (panel,) = make_runs(make_table(make_row(0, 0.9, excess={"size": 2.0}), make_row(1, 0.8))).panels
    assert panel.y.categories == ("1: heads=2", "0 (over a limit): heads=1")


def test_seeds_share_a_line():
    rows = [
        make_row(n, value, parameters={"model.heads": heads, "seed": n % 2})
        for n, (heads, value) in enumerate([(1, 0.6), (1, 0.7), (2, 0.8), (2, 0.6)])
    ]
    (panel,) = make_runs(make_table(*rows)).panels
    assert panel.y.categories == ("heads=2", "heads=1")
    assert panel.x.title == "validation accuracy"
    assert [series.role for series in panel.series] == ["best", "plain"]  # the last on top: its points are smaller
    means = find_series(panel, "mean over seeds, lowest to highest")
    assert means.x == (pytest.approx(0.7), pytest.approx(0.65))
    assert (means.low, means.high) == ((0.6, 0.6), (0.8, 0.7))


def test_numbers_that_read_alike_are_two_settings():
    rates = [0.00123441, 0.00123441, 0.00123442, 0.00123442]
    rows = [make_row(n, 0.6 + n / 10, parameters={"lr": rate, "seed": n % 2}) for n, rate in enumerate(rates)]
    (panel,) = make_runs(make_table(*rows)).panels
    assert panel.y.categories == ("lr=0.00123442", "lr=0.00123441")
    assert find_series(panel, "mean over seeds, lowest to highest").x == (pytest.approx(0.85), pytest.approx(0.65))


def test_a_seed_that_was_trained_twice_counts_once_in_a_mean():
    rows = [
        make_row(n, value, parameters={"seed": seed}) for n, (seed, value) in enumerate([(0, 0.5), (1, 0.7), (0, 0.9)])
    ]
    chart = make_runs(make_table(*rows))
    assert find_series(chart.panels[0], "mean over seeds, lowest to highest").x == (pytest.approx(0.6),)
    assert "A seed counts once, by its first run: 1 more trained it again." in chart.caption


def test_a_result_that_is_shared_counts_once_in_a_mean():
    rows = [make_row(n, value, parameters={"seed": n % 2}) for n, value in enumerate([0.9, 0.7])]
    rows.append(make_row(2, 0.9, parameters={"seed": 0}, reused_from=0))
    (panel,) = make_runs(make_table(*rows)).panels
    assert find_series(panel, "mean over seeds, lowest to highest").x == (pytest.approx(0.8),)


def test_an_interval_that_nobody_knows_is_not_drawn(make_record):
    """MLflow does not tell of how many reviews a test was."""
    metrics = {OBJECTIVE: 0.8, "test/accuracy": 0.75}
    chart = make_runs(make_table(make_row(0, 0.8, metrics=metrics, runs=(make_record(0, test_reviews=None),))))
    assert find_series(chart.panels[0], "test accuracy").low is None
    assert "interval" not in chart.caption


def test_paused_trials_are_not_called_pruned():
    table = make_table(make_row(0, 0.6), make_row(1, 0.4, "paused", curve=(CurvePoint(1.0, 0.4),)))
    assert find_series(make_history(table).panels[0], "paused").x == (1,)
    assert find_series(make_slices(table).panels[0], "paused").y == (0.4,)
    assert find_series(make_curves(table).panels[0], "paused here").x == (1.0,)


def test_only_the_first_runs_are_shown():
    rows = [make_row(n, n / 100, parameters={"a": n}) for n in range(20)]
    chart = make_runs(make_table(*rows))
    assert len(chart.panels[0].y.categories) == MOST_RUNS
    assert "first 12 of 20" in chart.caption


def test_every_chart_has_a_name_of_its_own_and_teaches():
    rows = [
        costly(n, 0.5 + n / 50, 10.0 + n, parameters={"a": n % 3, "b": 0.1 * n}, curve=curve_of(0.5)) for n in range(9)
    ]
    charts = make_charts(make_table(*rows, importances=(Importance("a", 0.5, 0.4, 0.6),)))
    names = [chart.name for chart in charts]
    assert names == [
        "runs", "optimisation_history", "parameter_importance", "slices", "pairs", "parallel_coordinates",
        "learning_curves", "pareto_fronts",
    ]  # fmt: skip
    assert all(len(chart.caption) > 40 for chart in charts)
    for chart in charts:
        for panel in chart.panels:
            for series in panel.series:
                if series.kind != "heatmap":
                    assert len(series.x) == len(series.y)
                    assert series.hover is None or len(series.hover) == len(series.x)


def test_a_sweep_in_which_all_failed_has_no_charts():
    assert make_charts(make_table(make_row(0, state="failed"), make_row(1, state="running"))) == []


def test_a_single_run_has_nothing_to_vary():
    row = replace(make_row(0, 0.5), parameters={})
    assert {chart.name for chart in make_charts(make_table(row))} == {"runs", "optimisation_history"}
