from __future__ import annotations

import json

import pytest

from sentiment.report.draw.chart import Axis, Chart, Panel, Series
from sentiment.report.draw.plotly import draw_interactive


@pytest.fixture
def figures(example_charts):
    return {
        chart.name: [json.loads(figure.to_json()) for figure in draw_interactive(chart)] for chart in example_charts
    }


def test_a_panel_is_a_figure_and_has_the_tables_points(figures, example_charts):
    for chart in example_charts:
        assert len(figures[chart.name]) == len(chart.panels)
    trials, *_, best = figures["history"][0]["data"]
    assert (trials["x"], trials["y"], trials["mode"]) == ([0, 1, 2, 3], [0.8, 0.84, 0.82, 0.87], "markers")
    assert (best["line"]["shape"], best["hoverinfo"]) == ("hv", "skip")  # its points are trials: they speak


def test_hover_texts_are_escaped_and_broken_into_lines(figures):
    trials = figures["history"][0]["data"][0]
    assert trials["hovertext"] == ["trial 0", "a &lt; b", "&amp;", "two<br>lines"]


def test_intervals_become_error_bars(figures):
    (bars,) = figures["parameter_importance"][0]["data"]
    assert (bars["orientation"], bars["x"], bars["y"]) == ("h", [0.7, 0.2], [0.0, 1.0])
    assert bars["error_x"]["array"] == pytest.approx([0.2, 0.2])
    assert bars["error_x"]["arrayminus"] == pytest.approx([0.2, 0.1])


def test_a_line_may_have_marks(figures):
    assert [trace["mode"] for trace in figures["curves"][0]["data"]] == ["lines", "lines", "lines+markers", "lines"]


def test_empty_cells_stay_empty_and_cells_share_the_points_colours(figures):
    cells, points = figures["cells"][0]["data"]
    assert cells["z"] == [[0.8, 0.85], [0.82, None], [0.84, 0.88]]
    assert (cells["zmin"], cells["zmax"]) == (points["marker"]["cmin"], points["marker"]["cmax"]) == (0.8, 0.88)


def test_axes_are_logarithmic_in_percent_or_a_list_read_downwards(figures):
    assert figures["slice"][0]["layout"]["xaxis"]["type"] == "log"
    assert figures["slice"][0]["layout"]["yaxis"]["tickformat"].endswith("%")
    assert figures["slice"][1]["layout"]["xaxis"]["ticktext"] == ["1", "2", "4"]
    assert figures["parameter_importance"][0]["layout"]["yaxis"]["range"] == [1.5, -0.5]
    assert figures["cells"][0]["layout"]["yaxis"]["range"] == [-0.5, 2.5]


def test_a_line_takes_the_colour_of_its_value(figures):
    good, bad = (trace["line"]["color"] for trace in figures["parallel"][0]["data"])
    assert good != bad


def test_long_names_are_broken_and_hostile_ones_escaped():
    axis = Axis("", categories=("<b>bold</b>", "transformer heads=2 depth=1 embedding_size=32 lr=0.008624 dropout=0.1"))
    series = Series("s", "markers", (1, 2), axis.categories)
    (figure,) = draw_interactive(Chart("c", "C", "", (Panel(Axis("x"), axis, (series,)),)))
    short, long = figure.layout.yaxis.ticktext
    assert short == "&lt;b&gt;bold&lt;/b&gt;"
    assert all(len(line) <= 48 for line in long.split("<br>"))
    short, long = figure.layout.meta["narrow"]  # for a phone
    assert short == "&lt;b&gt;bold&lt;/b&gt;"
    assert all(len(line) <= 24 for line in long.split("<br>"))
    assert long.endswith("…")


def test_ticks_of_a_logarithmic_axis_are_written_for_people():
    points = Series("", "markers", (20_000.0, 3_000_000.0), (0.5, 0.6))
    (figure,) = draw_interactive(
        Chart("c", "C", "", (Panel(Axis("parameters", is_log=True), Axis("val/accuracy", is_percent=True), (points,)),))
    )
    assert list(figure.layout.xaxis.ticktext) == ["10,000", "100,000", "1,000,000", "10,000,000"]
    assert figure.layout.yaxis.tickformat.endswith("%")
