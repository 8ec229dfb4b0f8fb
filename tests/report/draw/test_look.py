from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment.report.draw.chart import Axis, Chart, Panel, Series
from sentiment.report.draw.look import PALETTE, ROLES, choose_log_ticks, choose_looks, find_colour_ranges, wrap


def chart_of(*panels):
    return Chart("c", "C", "", tuple(Panel(Axis("x"), Axis("y"), series) for series in panels))


def test_a_name_keeps_its_colour_in_all_panels_and_a_group_shares_one():
    plain = [Series(name, "markers", (0,), (0,)) for name in ("a", "b")]
    grouped = [
        Series(name, "line", (0,), (0,), group="g", role=role) for name, role in (("c", "plain"), ("d", "faint"))
    ]
    looks = choose_looks(chart_of((plain[0], plain[1]), (plain[1], *grouped)))
    assert looks[0][1] == looks[1][0]
    assert [looks[panel][index].colour for panel, index in ((0, 0), (0, 1), (1, 1), (1, 2))] == [
        *PALETTE[:3],
        PALETTE[2],
    ]
    assert looks[1][2].opacity == ROLES["faint"].opacity


def test_a_model_has_its_colour_whichever_is_drawn_first_and_other_series_take_none_of_them():
    chart = replace(chart_of([Series(name, "markers", (0,), (0,)) for name in ("b", "other", "a")]), models=("a", "b"))
    assert [look.colour for look in choose_looks(chart)[0]] == [PALETTE[2], PALETTE[0], PALETTE[1]]


def test_roles_differ_in_shape_or_dash_not_in_colour_alone():
    assert len({(look.mark, look.is_dashed, look.opacity) for look in ROLES.values()}) == len(ROLES)


def test_a_colour_means_the_same_in_all_panels_and_nan_means_nothing():
    one = Series("", "markers", (0,), (0,), colour=(0.5,), colour_axis=Axis("val/accuracy", is_percent=True))
    other = Series(
        "", "heatmap", (0, 1), (0,), colour=(math.nan, 0.9), colour_axis=Axis("val/accuracy", is_percent=True)
    )
    (scale,) = find_colour_ranges(chart_of((one,), (other,))).values()
    assert (scale.low, scale.high, scale.axis.show(scale.high)) == (0.5, 0.9, "90.00 %")
    assert [scale.locate(value) for value in (0.5, 0.7, 2.0)] == [0.0, pytest.approx(0.5), 1.0]


def test_categories_take_their_places_and_jittered_ones_stay_near():
    axis = Axis("heads", categories=("1", "2", "4"))
    assert axis.locate(("4", 1.1, "1")) == [2.0, 1.1, 0.0]


@given(st.floats(1e-9, 1e9), st.floats(1.0, 1e9))
def test_logarithmic_ticks_are_few_and_lie_about_the_points(low, factor):
    panel = Panel(Axis("x", is_log=True), Axis("y"), (Series("", "markers", (low, low * factor), (0, 0)),))
    ticks = choose_log_ticks(panel, panel.x)
    assert 1 <= len(ticks) <= 9
    assert ticks == sorted(ticks)
    assert all(low / 10 <= tick <= low * factor * 10 for tick in ticks)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("embedding_size (32 to 128)", ["embedding_", "size (32", "to 128)"]),
        ("a b", ["a b"]),
        ("a max_size=1", ["a", "max_size=1"]),
        ("", [""]),
        ("/home/somebody_model", ["/home/", "somebody_", "model"]),
        ("answerdotai/ModernBERT", ["answerdota", "i/", "ModernBERT"]),
        ("one two three four five six seven", ["one two", "three four", "five six …"]),
    ],
)
def test_long_names_are_broken_and_then_cut(text, lines):
    assert wrap(text, 10, 3) == lines
