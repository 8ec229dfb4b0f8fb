from __future__ import annotations

import itertools
import struct

import numpy as np
import pytest
from matplotlib.figure import Figure

from sentiment.report.draw import matplotlib
from sentiment.report.draw.chart import Axis, Chart, Panel, Series
from sentiment.report.draw.matplotlib import draw_static, write_png

pytestmark = pytest.mark.usefixtures("_drawn_whole")


def test_every_chart_becomes_a_picture(example_charts, tmp_path):
    for chart in example_charts:
        write_png(chart, tmp_path / f"{chart.name}.png")
        head = (tmp_path / f"{chart.name}.png").read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", head[16:])
        assert min(width, height) > 250
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(f"{chart.name}.png" for chart in example_charts)


def test_the_points_are_the_tables(example_charts):
    history, *_, curves, _ = example_charts
    axes, _ = draw_static(history).axes
    assert [list(map(float, point)) for point in axes.collections[0].get_offsets()] == [
        [0, 0.8], [1, 0.84], [2, 0.82], [3, 0.87],
    ]  # fmt: skip
    (best,) = axes.lines
    assert (list(best.get_ydata()), best.get_drawstyle()) == ([0.8, 0.84, 0.84, 0.87], "steps-post")
    (axes,) = draw_static(curves).axes
    assert [list(line.get_ydata()) for line in axes.lines][:2] == [[0.7, 0.8, 0.81], [0.6, 0.7, 0.71]]


def test_empty_cells_stay_empty(example_charts):
    cells = draw_static(example_charts[3]).axes[0].collections[0].get_array()
    assert np.ma.getmaskarray(cells).ravel().tolist() == [False, False, False, True, False, False]


def test_a_legend_names_each_series_once(example_charts):
    (legend,) = draw_static(example_charts[0]).legends
    assert [text.get_text() for text in legend.get_texts()] == ["trials", "pruned", "failed", "best so far"]


@pytest.mark.parametrize(
    "names",
    [
        [f"transformer keep={keep} depth={depth}" for keep in ("head", "tail", "head_tail") for depth in (1, 2)],
        ["best: rnn cell=gru pooling=mean_max dropout=0.2536 word_dropout=0.1 lr=0.0041 max_tokens=1024 $"],
        ["validation accuracy, each seed", "test accuracy, each seed", "mean over seeds, lowest to highest"],
    ],
)
def test_the_whole_legend_is_in_the_picture(names):
    series = tuple(Series(name, "line", (0.0, 1.0), (0.1, 0.2)) for name in names)
    figure = draw_static(Chart("c", "C", "", (Panel(Axis("x"), Axis("y"), series),)))
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box, whole = legend.get_window_extent(), figure.bbox
    assert whole.x0 <= box.x0 < box.x1 <= whole.x1
    assert whole.y0 <= box.y0 < box.y1 <= figure.axes[0].get_window_extent().y0
    shown = [text.get_text().replace("\n", " ").replace(r"\$", "$") for text in legend.get_texts()]
    assert shown == names


def test_a_long_category_is_cut_and_not_left_out():
    path = "/a/folder/of/which/the/name/is/longer/than/there/is/room"
    points = Series("", "markers", (0.1, 0.2), (path, "short"))
    chart = Chart("c", "C", "", (Panel(Axis("x"), Axis("", categories=(path, "short")), (points,)),))
    (axes,) = draw_static(chart).axes
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert shown == ["/a/folder/of/which/the/name/is/longer/ …", "short"]


def test_categories_that_begin_alike_are_told_apart_and_have_the_room():
    """The runs of a grid over several seeds are named by their settings alone."""
    names = tuple(
        f"embedding_size=32 depth=1 pooling={pooling} lr={lr}" for pooling in ("max", "mean") for lr in (1, 2)
    )
    points = Series("", "markers", (0.1, 0.2, 0.3, 0.4), names)
    figure = draw_static(Chart("c", "C", "", (Panel(Axis("x"), Axis("", categories=names), (points,)),)))
    (axes,) = figure.axes
    labels = axes.get_yticklabels()
    assert [label.get_text().replace("\n", " ") for label in labels] == list(names)
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in labels]  # downwards
    assert all(lower.y1 < upper.y0 for upper, lower in itertools.pairwise(boxes))


@pytest.mark.parametrize(("rows", "most", "is_fine"), [(500, 2**16 - 1, True), (100, 2000, False)])
def test_a_list_of_any_length_is_a_picture_that_matplotlib_draws(tmp_path, monkeypatch, rows, most, is_fine):
    """Names have fewer lines where there are many; where that is not enough, the picture is less fine."""
    asked = []

    def save(figure, file, *, format, dpi):
        asked.append((max(figure.get_size_inches()) * dpi, dpi))

    monkeypatch.setattr(Figure, "savefig", save)
    monkeypatch.setattr(matplotlib, "MOST_PIXELS", min(most, matplotlib.MOST_PIXELS))
    names = tuple(f"{'a_setting=1 ' * 40}{row}" for row in range(rows))
    points = Series("", "markers", tuple(range(rows)), names)
    write_png(Chart("c", "C", "", (Panel(Axis("x"), Axis("", categories=names), (points,)),)), tmp_path / "c.png")
    [(side, dpi)] = asked
    assert round(side) <= most
    assert (dpi == matplotlib.DPI) == is_fine


def test_few_lines_of_very_long_categories_are_shown():
    names = tuple("x" * 100_000 + end for end in "ab")
    points = Series("", "markers", (0.1, 0.2), names)
    figure = draw_static(Chart("c", "C", "", (Panel(Axis("x"), Axis("", categories=names), (points,)),)))
    assert figure.get_size_inches()[1] < 10
