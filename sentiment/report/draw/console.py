"""Tables on a terminal, or as plain aligned text in a file or a pipe."""

from __future__ import annotations

import os

from rich.console import Console
from rich.table import Table
from rich.text import Text

PADDING = 2
"""Characters between two columns."""

PLAIN_WIDTH = 120
"""Characters of a line where the output is no terminal and COLUMNS says nothing."""


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
