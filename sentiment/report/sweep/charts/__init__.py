"""The charts of a sweep's report, each a pure function from the table to a chart."""

from __future__ import annotations

from sentiment.report.draw.chart import Chart
from sentiment.report.sweep.charts.costs import make_fronts
from sentiment.report.sweep.charts.parameters import make_importances, make_pairs, make_parallel, make_slices
from sentiment.report.sweep.charts.trials import make_curves, make_history, make_runs
from sentiment.report.sweep.table import SweepTable

FAMILIES = (
    make_runs, make_history, make_importances, make_slices, make_pairs, make_parallel, make_curves, make_fronts,
)  # fmt: skip
"""In the order of the report. A family gives None where there is nothing to show."""


def make_charts(table: SweepTable) -> list[Chart]:
    """Make every chart that a sweep has something to show for."""
    return [chart for family in FAMILIES if (chart := family(table)) is not None]
