"""The page on a sweep."""

from __future__ import annotations

from collections.abc import Sequence

from sentiment.report.draw.chart import Chart
from sentiment.report.draw.page import render
from sentiment.report.sweep.summary import summarize
from sentiment.report.sweep.table import SweepTable
from sentiment.report.sweep.tables import make_tables

MOST_ROWS = 500
"""Rows of a table that the page shows; the CSV file has them all, and the page says so."""


def render_page(table: SweepTable, charts: Sequence[Chart]) -> str:
    """Render the report on a sweep.

    Args:
        table: The sweep.
        charts: What to draw, in order.

    Returns:
        The page as HTML; nothing outside it is needed to show it.
    """
    return render(
        "sweep",
        charts,
        name=table.name,
        table=table,
        summary=summarize(table),
        tables={data.name: data for data in make_tables(table)},
        most_rows=MOST_ROWS,
    )
