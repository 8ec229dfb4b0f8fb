"""Draw a ranking: where each job ended, and the way it took there."""

from __future__ import annotations

import textwrap
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure  # no pyplot: nothing global, no window system
from matplotlib.ticker import MaxNLocator

from sentiment.report.statistics import wilson_interval
from sentiment.report.sweep.ranking import RankedRun, Ranking

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F3C8D", "#5C5C5C")
"""Okabe & Ito's palette, told apart by colour-blind readers too; yellow is too faint on white and replaced."""

FAINT = "#C8C8C8"

LARGEST_ROWS = 30
"""Most jobs drawn; the table has them all."""

LABEL_WIDTH = 40
"""Characters of a line of a label."""


def draw_comparison(ranking: Ranking) -> Figure:
    """Draw the finished jobs: validation and test beside each other, and the objective over the epochs."""
    rows = ranking.finished[:LARGEST_ROWS]
    height = max(3.6, 1.7 + 0.36 * len(rows))
    figure = Figure(figsize=(12.5, height), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    _draw_ends(left, ranking, rows)
    _draw_ways(right, ranking, rows)
    return figure


def write_comparison(ranking: Ranking, file: Path) -> None:
    """Write the picture as PNG."""
    draw_comparison(ranking).savefig(file, dpi=150)


def _draw_ends(axes: Axes, ranking: Ranking, rows: tuple[RankedRun, ...]) -> None:
    test_name = ranking.objective.replace("val/", "test/")
    for position, row in enumerate(rows):
        colour, metrics = _colour(position), row.record.metrics
        axes.plot(metrics[ranking.objective], position, "o", color="white", mec=colour, mew=2, ms=8, zorder=3)
        if test_name not in metrics:
            continue
        value = metrics[test_name]
        if test_name == "test/accuracy" and row.record.test_reviews:
            low, high = wilson_interval(value, row.record.test_reviews)
            axes.plot([low, high], [position, position], color=colour, lw=2, solid_capstyle="butt", zorder=2)
        axes.plot(value, position, "D", color=colour, ms=7, zorder=4)
    axes.set_yticks(range(len(rows)), [textwrap.fill(row.label, LABEL_WIDTH) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.margins(x=0.12)
    axes.set_xlabel(ranking.objective.removeprefix("val/"))
    axes.set_title("Selected checkpoint", loc="left", fontsize=11)
    _add_key(axes, test_name, rows)
    _tidy(axes, "x")


def _add_key(axes: Axes, test_name: str, rows: tuple[RankedRun, ...]) -> None:
    ink = "#444444"
    axes.plot([], [], "o", color="white", mec=ink, mew=2, ms=8, label="validation")
    if any(test_name in row.record.metrics for row in rows):
        label = "test, with 95 % interval" if test_name == "test/accuracy" else "test"
        axes.plot([], [], "D", color=ink, ms=7, label=label)
    axes.legend(frameon=False, fontsize=9, ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)


def _draw_ways(axes: Axes, ranking: Ranking, rows: tuple[RankedRun, ...]) -> None:
    for position, row in reversed(list(enumerate(rows))):  # the best is drawn last, on top
        points = [(point["epoch"], point[ranking.objective]) for point in row.record.history]
        if not points:
            continue
        epochs, values = zip(*points, strict=True)
        colour, label = _colour(position), textwrap.fill(row.label, LABEL_WIDTH)
        axes.plot(epochs, values, "-o", color=colour, lw=2, ms=4, label=label if position < len(COLOURS) else None)
        if row.record.best_epoch is not None and ranking.objective in row.record.metrics:
            best = (row.record.best_epoch, row.record.metrics[ranking.objective])
            axes.plot(*best, "o", color="white", mec=colour, mew=2, ms=9, zorder=5)
    axes.set_xlabel("epoch")
    axes.set_ylabel(ranking.objective)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title("On the way (ring: selected)", loc="left", fontsize=11)
    if len(rows) > 1:
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], frameon=False, fontsize=9, loc="best")
    _tidy(axes, "y")


def _colour(position: int) -> str:
    return COLOURS[position] if position < len(COLOURS) else FAINT


def _tidy(axes: Axes, grid: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x" if grid == "x" else "y", color="#E6E6E6", lw=0.8)
    axes.set_axisbelow(True)
