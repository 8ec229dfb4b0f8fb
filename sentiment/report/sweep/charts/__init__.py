"""The charts of a sweep's report: one file a family, each a pure function from the table to a chart."""

from __future__ import annotations

from collections.abc import Callable

from sentiment.report.draw.chart import Chart
from sentiment.report.sweep.charts.curves import make_curves
from sentiment.report.sweep.charts.fronts import make_fronts
from sentiment.report.sweep.charts.history import make_history
from sentiment.report.sweep.charts.importances import make_importances
from sentiment.report.sweep.charts.pairs import make_pairs
from sentiment.report.sweep.charts.parallel import make_parallel
from sentiment.report.sweep.charts.runs import make_runs
from sentiment.report.sweep.charts.slice import make_slices
from sentiment.report.sweep.table import SweepTable

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
