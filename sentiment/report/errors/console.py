"""Print where a run is wrong: the findings as sentences, and its parts as a small table."""

from __future__ import annotations

import textwrap

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sentiment.report.draw.console import open_console
from sentiment.report.errors.analysis import RunMistakes
from sentiment.report.errors.slices import Slice
from sentiment.report.errors.summary import summarize_mistakes
from sentiment.report.errors.tables import MistakeTables

WIDEST_LINE = 110

SHOWN_SLICES = 8


def print_findings(analysis: RunMistakes, console: Console | None = None) -> None:
    """Print the main findings, and the parts of the reviews that are most surely worse than the rest.

    Args:
        analysis: Where a run is wrong.
        console: Where to print; by default standard output.
    """
    console = console or open_console()
    width = min(console.width, WIDEST_LINE)
    console.print(Text(f"{analysis.name}\n"))
    for sentence in summarize_mistakes(analysis):
        console.print(Text(textwrap.fill(sentence, width, initial_indent="- ", subsequent_indent="  ")))
    console.print()
    console.print(_make_table(analysis.tables))


def _make_table(tables: MistakeTables) -> Table:
    ordered = sorted(tables.slices, key=lambda part: part.high)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("reviews")
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
        f"{inside.accuracy:.1%}" if inside.reviews else "–",
        f"{inside.low:.1%} to {inside.high:.1%}" if inside.reviews else "–",
        f"{rest.accuracy:.1%}" if rest.reviews else "–",
        f"{100 * part.difference:+.1f}" if inside.reviews and rest.reviews else "–",
    )
    return [Text(text) for text in texts]
