"""Print the ranked table: in colour on a terminal, as plain aligned text into a file or a pipe."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sentiment.format import format_duration, format_metric, format_setting, shorten_keys
from sentiment.report.draw.table import PADDING, open_console, open_table
from sentiment.report.sweep.table import STOPPED, SweepRow, SweepTable
from sentiment.report.sweep.tables import explain_row, order_metrics, state_in_capitals

IMPORTANCE = (
    "trial", "job", "test/accuracy", "time", "parameters", "test/f1", "test/auroc", "val/accuracy", "val/f1",
    "val/auroc", "test/loss", "val/loss",
)  # fmt: skip
"""Which columns are kept where the line is too short for all, after rank, front, model, objectives, settings, and what
a trial breaks a limit on."""

OWN = {"model/parameters": "parameters", "time/fit_seconds": "time"}
"""Metrics with a heading of their own."""

MOST_ROWS = 100
"""Rows that are printed; the files have them all."""


@dataclass(frozen=True)
class PrintedColumn:
    """A column of the table."""

    heading: str  # what stands above it, in lines; a line of the table may be much shorter than the name of a setting
    cell: Callable[[SweepRow], str]  # returns the cell of a row
    is_text: bool = False  # whether it is aligned to the left
    is_setting: bool = False  # whether it is what was searched, and not what came out
    is_broken: bool = False  # whether its heading may be broken between words
    is_kept: bool = False  # whether no line may be too short for it
    is_bold: bool = False  # whether it stands out

    def width(self, rows: tuple[SweepRow, ...]) -> int:
        """Characters that the column takes, with the space to the next one."""
        heading = max(map(len, self.write_heading(rows).splitlines()), default=0)
        return PADDING + max(heading, *(len(self.cell(row)) for row in rows))

    def write_heading(self, rows: tuple[SweepRow, ...]) -> str:
        """Return the heading; a broken one in lines of its words, as far as all of its cells are shorter."""
        words = re.findall(r"[^_]+_*", self.heading) if self.is_broken else [self.heading]
        most = max([*(len(self.cell(row)) for row in rows), *map(len, words)])
        lines = [""]
        for word in words:
            lines = [*lines, word] if len(lines[-1] + word) > most else [*lines[:-1], lines[-1] + word]
        return "\n".join(filter(None, lines))


def print_table(table: SweepTable, console: Console | None = None) -> None:
    """Print complete, pruned and paused trials as a table, and beneath it, with their reasons, those that have no rank.

    No value is cut: columns that do not fit are left out, the least telling first; ``ranking.csv`` has them all.
    """
    console = console or open_console()
    ended = tuple(row for row in table.rows if row.state in ("complete", *STOPPED))
    shown = ended[:MOST_ROWS]
    if shown:
        console.print(Text(f"\n{_write_heading(table)}"))
        columns = choose_columns(table, shown, console.width)
        console.print(_make_table(shown, columns, console.is_terminal))
        _print_more(console, len(ended))
        there = {column.heading for column in columns}
        missing = [one.heading for one in _list_columns(table) if one.is_setting and one.heading not in there]
        if missing:
            told = f"The line is too short for {', '.join(missing)}: ranking.csv and the report have all settings."
            console.print(Text(told), soft_wrap=True)
    _print_reasons(console, table, "over a limit", tuple(row for row in ended if row.excess))
    _print_reasons(console, table, "without a rank", tuple(row for row in ended if row.is_try))
    left = tuple(row for row in table.rows if row.state not in ("complete", *STOPPED))
    _print_reasons(console, table, "not finished", left)
    for note in table.notes:
        console.print(Text(f"\n{note}"), soft_wrap=True)


def choose_columns(table: SweepTable, rows: tuple[SweepRow, ...], width: int) -> list[PrintedColumn]:
    """Choose the columns that fit into so many characters, in the order in which they are printed.

    Headings of settings are broken where there is no room for all settings without.
    """
    columns = _list_columns(table)
    needed = sum(column.width(rows) for column in columns if column.is_kept or column.is_setting)
    if needed > width + PADDING:
        columns = [replace(column, is_broken=column.is_setting) for column in columns]
    free = width + PADDING - sum(column.width(rows) for column in columns if column.is_kept)
    chosen = {column.heading for column in columns if column.is_kept}
    limited = {OWN.get(name, name) for row in rows for name in row.excess}
    order = {name: place for place, name in enumerate(IMPORTANCE)} | dict.fromkeys(limited, -1)
    for column in sorted(columns, key=lambda column: (not column.is_setting, order.get(column.heading, len(order)))):
        if column.heading not in chosen and column.width(rows) <= free:
            chosen.add(column.heading)
            free -= column.width(rows)
    return [column for column in columns if column.heading in chosen]


def _list_columns(table: SweepTable) -> list[PrintedColumn]:
    names = shorten_keys(key for key in table.varied if key != "model")
    front = [PrintedColumn("front", lambda row: "yes" if row.on_front else "", is_kept=True)]
    settings = [(name, partial(_write_setting, key)) for key, name in names.items()]
    value, bound = (partial(_write_number, read) for read in (SweepRow.value_of, SweepRow.bound_of))
    measured = [name for name in order_metrics(table) if name not in OWN]
    measured += [name for name in OWN if name not in table.objectives]
    return [
        PrintedColumn("", _write_rank, is_kept=True),
        *(front if len(table.objectives) > 1 else ()),
        PrintedColumn(table.noun, lambda row: str(row.number)),
        PrintedColumn("model", lambda row: row.model, is_text=True, is_kept=True),
        *(PrintedColumn(name, cell, is_text=True, is_setting=True) for name, cell in settings),
        *(PrintedColumn(one, partial(value, one), is_kept=True, is_bold=True) for one in table.objectives),
        *(PrintedColumn(f"bound of\n{one}", partial(bound, one), is_kept=True) for one in table.bounded),
        *(PrintedColumn(OWN.get(name, name), partial(value, name)) for name in measured),
    ]


def _make_table(rows: tuple[SweepRow, ...], columns: list[PrintedColumn], in_colour: bool) -> Table:
    printed = open_table()
    for column in columns:
        printed.add_column(
            Text(column.write_heading(rows)),
            justify="left" if column.is_text else "right",
            no_wrap=True,
            overflow="fold",
            style="bold" if column.is_bold else None,
        )
    for row in rows:
        cells = [Text(column.cell(row)) for column in columns]
        style = "dim" if row.rank is None else "green" if row.rank == 1 or row.on_front else None
        printed.add_row(*cells, style=style if in_colour else None)
    return printed


def _write_heading(table: SweepTable) -> str:
    better = "higher" if table.directions[0] == "maximize" else "lower"
    states = table.count_states()
    is_tried = not table.ranked and any(row.is_try for row in table.rows)
    ranks = f"{'the bound of ' if table.bounded else ''}{table.objectives[0]}"
    how = "" if is_tried else f", ranked by {ranks} ({better} is better)"
    parts = [f"{states.get('complete', 0)} finished{how}"]
    if len(table.objectives) > 1 and table.front:
        parts.append(f"{len(table.front)} on the front with {' and '.join(table.objectives[1:])}")
    parts += [f"{states[state]} {state}" for state in STOPPED if state in states]
    return "; ".join(parts)


def _print_reasons(console: Console, table: SweepTable, heading: str, rows: tuple[SweepRow, ...]) -> None:
    if rows:
        console.print(Text(f"\n{len(rows)} {heading}"))
    for row in rows[:MOST_ROWS]:
        state = None if row.state == "complete" else state_in_capitals(row)
        parts = (f"{table.noun} {row.number}", row.label, state, explain_row(row))
        console.print(Text(f"  {': '.join(filter(None, parts))}"), soft_wrap=True)
    _print_more(console, len(rows))


def _print_more(console: Console, count: int) -> None:
    if count > MOST_ROWS:
        console.print(Text(f"  ... and {count - MOST_ROWS:,} more, in ranking.csv"), soft_wrap=True)


def _write_rank(row: SweepRow) -> str:
    if row.rank is None:
        return "limit" if row.excess else row.state
    return str(row.rank)


def _write_setting(key: str, row: SweepRow) -> str:
    return format_setting(row.parameters[key]) if key in row.parameters else "-"


def _write_number(read: Callable[[SweepRow, str], float | None], name: str, row: SweepRow) -> str:
    value = read(row, name)
    if value is None:
        return "-"
    return format_duration(value) if name == "time/fit_seconds" else format_metric(name, value)
