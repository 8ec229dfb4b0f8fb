"""The charts of a sweep's report: one file a family, each a pure function from the table to a chart."""

from __future__ import annotations

from collections.abc import Callable

from sentiment.report.chart import Chart
from sentiment.report.charts.curves import make_curves
from sentiment.report.charts.fronts import make_fronts
from sentiment.report.charts.history import make_history
from sentiment.report.charts.importances import make_importances
from sentiment.report.charts.pairs import make_pairs
from sentiment.report.charts.parallel import make_parallel
from sentiment.report.charts.runs import make_runs
from sentiment.report.charts.slice import make_slices
from sentiment.report.sweep_table import SweepTable

FAMILIES: tuple[Callable[[SweepTable], Chart | None], ...] = (
    make_runs,
    make_history,
    make_importances,
    make_slices,
    make_pairs,
    make_parallel,
    make_curves,
    make_fronts,
)
"""In the order of the report. A family gives None where there is nothing to show."""


def make_charts(table: SweepTable) -> list[Chart]:
    """Make every chart that a sweep has something to show for."""
    return [chart for family in FAMILIES if (chart := family(table)) is not None]
