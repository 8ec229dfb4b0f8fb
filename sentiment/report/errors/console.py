"""Print where a run is wrong: the findings as sentences, and its parts as a small table."""

from __future__ import annotations

import textwrap

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sentiment.format import format_percent, format_points
from sentiment.report.draw.table import open_console, open_table
from sentiment.report.errors.analysis import RunErrors
from sentiment.report.errors.slices import Slice
from sentiment.report.errors.summary import summarize
from sentiment.report.errors.tables import ErrorTables

WIDEST_LINE = 110

SHOWN_SLICES = 8


def print_findings(analysis: RunErrors, console: Console | None = None) -> None:
    """Print the main findings, and the parts of the reviews that are most surely worse than the rest.

    Args:
        analysis: Where a run is wrong.
        console: Where to print; by default standard output.
    """
    console = console or open_console()
    width = min(console.width, WIDEST_LINE)
    console.print(Text(f"{analysis.name}\n"))
    for sentence in summarize(analysis):
        console.print(Text(textwrap.fill(sentence, width, initial_indent="- ", subsequent_indent="  ")))
    console.print()
    console.print(_make_table(analysis.tables))


def _make_table(tables: ErrorTables) -> Table:
    ordered = sorted(tables.slices, key=lambda part: part.high)
    table = open_table("reviews")
    for heading in ("count", "right", "95 % interval", "the rest", "difference"):
        table.add_column(heading, justify="right")
    for part in ordered[:SHOWN_SLICES]:
        table.add_row(*_cells(part), style="bold" if part.high < 0 else None)
    return table


def _cells(part: Slice) -> list[Text]:
    inside, rest = part.inside, part.rest
    texts = (
        part.name,
        f"{inside.reviews:,}",
        format_percent(inside.accuracy) if inside.reviews else "–",
        f"{format_percent(inside.low)} to {format_percent(inside.high)}" if inside.reviews else "–",
        format_percent(rest.accuracy) if rest.reviews else "–",
        format_points(part.difference, is_signed=True) if inside.reviews and rest.reviews else "–",
    )
    return [Text(text) for text in texts]
