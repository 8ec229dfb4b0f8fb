"""A table as plain data: shown on a page, cell by cell as people read it, and written as CSV, numbers in full.

Tables on a terminal are rich's: here are what they have in common.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sentiment.atomic import write_text
from sentiment.format import (
    format_metric,
    format_number,
    format_percent,
    format_points,
    format_setting,
    write_csv_cell,
)

Cell = str | int | float | bool | None

PADDING = 2
"""Characters between two columns of a terminal's table."""

PLAIN_WIDTH = 120
"""Characters of a line where the output is no terminal and COLUMNS says nothing."""


@dataclass(frozen=True)
class Column:
    """A column."""

    # Heading in the CSV file, and in full on the page's hover. Numbers under the name of a metric that is a share of
    # one, e.g. ``val/accuracy``, are shown in percent.
    name: str
    label: str  # heading on the page
    is_number: bool = False  # aligned and sorted as a number
    # Shares of one under another name are shown in percent, their differences in points of a hundred; what a command
    # line takes, settings and numbers of trials, as one would type it.
    unit: Literal["percent", "points", "setting"] | None = None

    def show(self, cell: Cell) -> str:
        """Return a cell as people read it; nothing as a dash."""
        if cell is None or cell == "":
            return "–"
        if isinstance(cell, bool):
            return "yes" if cell else "no"
        if isinstance(cell, str):
            return cell
        if self.unit == "setting":
            return format_setting(cell)
        if isinstance(cell, int):
            return format_number(cell)
        if self.unit == "points":
            return format_points(cell, is_signed=True)
        return format_percent(cell) if self.unit == "percent" else format_metric(self.name, cell)


class Link(NamedTuple):
    """Where a cell leads on a page."""

    text: str  # what is pressed; empty: the cell itself
    address: str  # URL, or path from the page


@dataclass(frozen=True)
class DataTable:
    """A table."""

    name: str  # file name without ending
    title: str  # heading on the page
    columns: tuple[Column, ...]  # columns
    rows: tuple[tuple[Cell, ...], ...]  # cells, as many per row as there are columns
    marked: frozenset[int] = frozenset()  # positions of the rows to emphasise
    # Position of a row and name of a column to the links of the cell, on a page alone.
    links: Mapping[tuple[int, str], tuple[Link, ...]] = field(default_factory=dict)


def write_table(table: DataTable, file: Path) -> None:
    """Write a table as CSV, numbers in full, atomically.

    Raises:
        OSError: The folder cannot be written.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow([write_csv_cell(column.name) for column in table.columns])
    writer.writerows([write_csv_cell(cell) for cell in row] for row in table.rows)
    write_text(file, stream.getvalue())


def write_markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table in Markdown; what would end a cell within it is masked."""
    lines = [" | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in (headings, *rows)]
    heading, *others = [f"| {line} |" for line in lines]
    return [heading, "|" + "---|" * len(headings), *others]


def open_console() -> Console:
    """Open standard output; in a file or a pipe lines have a width of their own, or that of ``COLUMNS``."""
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PLAIN_WIDTH
    return console


def open_table(*headings: str) -> Table:
    """Return an empty table without lines, its headings in bold; cells are broken where the line is too short."""
    table = Table(box=None, padding=(0, PADDING, 0, 0), pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(Text(heading), overflow="fold")
    return table
