from __future__ import annotations

from sentiment.report.statistics import wilson_interval
from sentiment.report.sweep.picture import LARGEST_ROWS, draw_comparison, write_comparison
from sentiment.report.sweep.ranking import rank


def lines_of(axes, marker):
    return [line for line in axes.lines if line.get_marker() == marker and len(line.get_xdata())]


def test_the_picture_shows_the_table(make_record):
    records = [
        make_record(0, "transformer", accuracy=0.8),
        make_record(1, "rnn", accuracy=0.9),
        make_record(2, "rnn", status="FAILED", reason="no"),
    ]
    left, right = draw_comparison(rank(records, "val/accuracy", "maximize")).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["rnn", "transformer"]
    assert [line.get_xdata()[0] for line in lines_of(left, "o")] == [0.9, 0.8]
    assert [line.get_xdata()[0] for line in lines_of(left, "D")] == [0.75, 0.75]
    (interval, _) = [line for line in left.lines if len(line.get_xdata()) == 2]
    assert tuple(interval.get_xdata()) == wilson_interval(0.75, 1000)
    curves = [line for line in right.lines if len(line.get_xdata()) == 2]
    assert sorted(list(line.get_ydata()) for line in curves) == [[0.8, 0.8], [0.9, 0.9]]
    assert list(curves[0].get_xdata()) == [0.5, 1.0]


def test_without_test_metrics_validation_stands_alone(make_record, tmp_path):
    records = [make_record(0, metrics={"val/loss": 0.4}, test_reviews=None)]
    ranking = rank(records, "val/loss", "minimize")
    left, _ = draw_comparison(ranking).axes
    assert lines_of(left, "D") == []
    write_comparison(ranking, tmp_path / "comparison.png")
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_a_long_sweep_stays_readable(make_record):
    records = [make_record(number, "rnn", f"seed={number}") for number in range(LARGEST_ROWS + 20)]
    left, right = draw_comparison(rank(records, "val/accuracy", "maximize")).axes
    assert len(left.get_yticklabels()) == LARGEST_ROWS
    assert len(right.get_legend().get_texts()) <= 8
