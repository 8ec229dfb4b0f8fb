"""Importance of parameters whose importance is known, because it was planted."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sentiment.search.study.importance import LEAST_POINTS, ImportanceError, measure_importances


def draw_points(count, seed=0):
    generator = random.Random(seed)
    return [
        {
            "heads": generator.choice([1, 2, 4, 8]),
            "cell": generator.choice(["lstm", "gru"]),
            "lr": 10 ** generator.uniform(-4, -1),
        }
        for _ in range(count)
    ]


def as_table(rows):
    return {name: (mean, low, high) for name, mean, low, high in rows}


@pytest.mark.parametrize(
    ("name", "objective"),
    [("heads", lambda point: point["heads"]), ("cell", lambda point: point["cell"] == "gru")],
)
def test_a_parameter_that_alone_decides_explains_nearly_all(name, objective):
    points = draw_points(30)
    rows = measure_importances(points, [float(objective(point)) for point in points], ["lr"], resamples=5)
    assert rows[0][0] == name
    assert as_table(rows)[name][0] > 0.8
    assert {row[0] for row in rows} == {"heads", "cell", "lr"}


def test_a_logarithmic_parameter_is_measured_on_its_scale():
    points = draw_points(40)
    values = [math.log10(point["lr"]) for point in points]
    on_scale = as_table(measure_importances(points, values, ["lr"], resamples=5))["lr"][0]
    off_scale = as_table(measure_importances(points, values, [], resamples=5))["lr"][0]
    assert on_scale > 0.8
    assert on_scale > off_scale


def test_fewer_points_leave_a_wider_interval():
    generator = random.Random(1)
    points = draw_points(60, seed=2)
    values = [0.1 * point["heads"] + generator.gauss(0, 0.1) for point in points]

    def width(count):
        rows = measure_importances(points[:count], values[:count], ["lr"], resamples=12)
        return sum(high - low for _, _, low, high in rows)

    assert width(10) > 1.5 * width(60)


def test_the_same_trials_say_the_same():
    points = draw_points(12)
    values = [point["lr"] for point in points]
    first = measure_importances(points, values, ["lr"], resamples=3)
    assert first == measure_importances(points, values, ["lr"], resamples=3)


def test_a_parameter_that_never_changed_is_left_out():
    points = [{**point, "depth": 2} for point in draw_points(10)]
    rows = measure_importances(points, [point["heads"] for point in points], [], resamples=2)
    assert "depth" not in as_table(rows)


@pytest.mark.parametrize(
    ("count", "value", "message"),
    [(LEAST_POINTS - 1, None, "7 trials have a result: with fewer than 8"), (10, 0.5, "the same objective")],
)
def test_where_nothing_can_be_said_it_says_why(count, value, message):
    points = draw_points(count)
    values = [point["lr"] if value is None else value for point in points]
    with pytest.raises(ImportanceError, match=message):
        measure_importances(points, values, [])


def test_one_point_tried_often_has_no_importance():
    with pytest.raises(ImportanceError, match="no parameter has two values"):
        measure_importances([{"x": 1.0}] * 9, [float(number) for number in range(9)], [])


@settings(max_examples=8)
@example(values=[*[0.0] * 8, 4.6e-124, 1.0])  # its square is none
@given(values=st.lists(st.floats(-1, 1, allow_nan=False), min_size=10, max_size=14).filter(lambda vs: len(set(vs)) > 2))
def test_shares_are_shares(values):
    points = draw_points(len(values))
    rows = measure_importances(points, values, ["lr"], resamples=2)
    assert all(0 <= low <= mean <= high <= 1 for _, mean, low, high in rows)
    assert sum(mean for _, mean, _, _ in rows) <= 1 + 1e-6
    assert [row[1] for row in rows] == sorted((row[1] for row in rows), reverse=True)


def test_a_value_without_a_logarithm_keeps_its_place_below_the_others():
    """Zero is the least of a grown space's values; among the logarithms of the others it would be the largest."""
    points = [{"decay": 0.0 if number < 10 else 10 ** (-5 + number % 5), "other": number % 3} for number in range(30)]
    values = [point["decay"] for point in points]
    expected = measure_importances(points, values, [], resamples=3)
    assert measure_importances(points, values, ["decay", "nowhere"], resamples=3) == expected


@pytest.mark.parametrize("often", [9, 30])
def test_a_point_that_nearly_all_trials_share_leaves_resamples_of_it_alone(often):
    """A forest of such a resample has no split, and Optuna refuses it: as when one model was drawn nearly always."""
    points = [{"heads": 8}] * often + [{"heads": 4}]
    rows = measure_importances(points, [0.95 + 0.001 * number for number in range(len(points))], [])
    assert [row[0] for row in rows] == ["heads"]
    assert rows[0][2] > 0


@pytest.mark.parametrize("unit", [1e-200, 3.5e307])
def test_shares_do_not_depend_on_the_unit_of_the_objective(unit):
    plain = measure_importances(draw_points(10), [float(number) for number in range(-5, 5)], [], resamples=3)
    assert measure_importances(draw_points(10), [unit * number for number in range(-5, 5)], [], resamples=3) == plain
