"""The charts of a sweep's report, each a pure function from the table to a chart."""

from __future__ import annotations

from dataclasses import replace

from sentiment.report.draw.chart import Chart
from sentiment.report.sweep.charts.axes import MOST_MARKS
from sentiment.report.sweep.charts.parameters import make_importances, make_pairs, make_parallel, make_slices
from sentiment.report.sweep.charts.trials import make_curves, make_fronts, make_history, make_runs
from sentiment.report.sweep.table import SweepTable

FAMILIES = (
    make_runs, make_history, make_importances, make_slices, make_pairs, make_parallel, make_curves, make_fronts,
)  # fmt: skip
"""In the order of the report. A family gives None where there is nothing to show."""

NAMES = (
    "runs", "optimisation_history", "parameter_importance", "slices", "pairs", "parallel_coordinates",
    "learning_curves", "pareto_fronts",
)  # fmt: skip
"""The names of their charts: what a report may have written."""


def make_charts(table: SweepTable) -> list[Chart]:
    """Make every chart that a sweep has something to show for; where not every trial is marked, its caption says so."""
    charts = [chart for family in FAMILIES if (chart := family(table)) is not None]
    return [replace(chart, caption=f"{chart.caption}{_tell_left_out(table, chart)}") for chart in charts]


def _tell_left_out(table: SweepTable, chart: Chart) -> str:
    marks = [len(series.x) for panel in chart.panels for series in panel.series if series.trials is not None]
    if max(marks, default=0) < MOST_MARKS or len(table.rows) <= MOST_MARKS:
        return ""
    return (
        f" Of {len(table.rows):,} trials, {MOST_MARKS:,} of a kind are marked: the best half, and others taken evenly; "
        "lines and cells count all."
    )
