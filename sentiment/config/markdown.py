"""The few forms of Markdown that generated pages are made of.

Written by hand: a table is three lines of code, and a package for it would not know what GitHub needs escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def make_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Make the lines of a table; cells are Markdown already, only the bars within them are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]


def make_commands(lines: Sequence[str]) -> list[str]:
    """Make a block of shell commands, followed by an empty line; nothing where there is no command."""
    return ["```bash", *lines, "```", ""] if lines else []


def show_value(value: Any) -> str:
    """Show a configured value as one types it, e.g. ``null``, ``[a, b]``; a value that is missing is required."""
    return "required" if value == "???" else f"`{type_value(value)}`"


def show_text(text: str) -> str:
    """Turn a docstring's or description's text into Markdown: one line, its code in GitHub's quotes."""
    return " ".join(text.replace("``", "`").replace("<", "\\<").split())


def type_value(value: Any) -> str:
    """Write a configured value as one types it on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(type_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {type_value(item)}' for key, item in value.items())}}}"
    return str(value) if value != "" else "''"
