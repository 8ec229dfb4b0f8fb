"""Write the report on a sweep: a page, a picture of each plot, and the tables as CSV."""

from __future__ import annotations

from pathlib import Path

from sentiment.atomic import write_text
from sentiment.errors import SentimentError
from sentiment.report.draw.matplotlib import write_png
from sentiment.report.draw.table import write_table
from sentiment.report.sweep.charts import make_charts
from sentiment.report.sweep.page import render_page
from sentiment.report.sweep.table import SweepTable
from sentiment.report.sweep.tables import make_tables

PAGE_FILE = "report.html"
PLOTS_FOLDER = "plots"


class ReportFileError(SentimentError):
    """The report cannot be written where it should go."""


def write_report(table: SweepTable, folder: Path) -> list[Path]:
    """Write ``report.html``, ``plots/NAME.png`` and the tables as ``NAME.csv``.

    Files of an earlier report are replaced, each at once; a picture whose plot is no more is removed. A sweep without a
    finished run has a page too, which says so.

    Args:
        table: The sweep.
        folder: Where to write; made where it is missing.

    Returns:
        The files, the page first.

    Raises:
        ReportFileError: The folder cannot be written.
    """
    charts = make_charts(table)
    plots = {folder / PLOTS_FOLDER / f"{chart.name}.png": chart for chart in charts}
    tables = {folder / f"{data.name}.csv": data for data in make_tables(table)}
    page = folder / PAGE_FILE
    try:
        (folder / PLOTS_FOLDER).mkdir(parents=True, exist_ok=True)
        for file, data in tables.items():
            write_table(data, file)
        write_text(page, render_page(table, charts))
        for file, chart in plots.items():
            write_png(chart, file)
        for file in set((folder / PLOTS_FOLDER).glob("*.png")) - set(plots):
            file.unlink()
    except OSError as error:
        raise ReportFileError(
            f"The report cannot be written to {folder}: {error}\n"
            "  -> free space there, or choose another place: python -m sentiment report STUDY --output FOLDER"
        ) from error
    return [page, *tables, *plots]
