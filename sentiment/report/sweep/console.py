"""Print the ranked table: in colour on a terminal, as plain aligned text into a file or a pipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sentiment.report.draw.console import PADDING, open_console
from sentiment.report.sweep.ranking import RankedRun, Ranking, explain
from sentiment.tracking.run_name import shorten_value

IMPORTANCE = (
    "test/accuracy", "time", "parameters", "test/f1", "test/auroc", "val/accuracy", "val/f1", "val/auroc", "test/loss",
    "val/loss",
)  # fmt: skip
"""Which columns are kept where the line is too short for all, after rank, model, settings and objective."""


@dataclass(frozen=True)
class Column:
    """A column of the table: its heading, the cell of a row, and whether no line may be too short for it."""

    heading: str
    cell: Callable[[RankedRun], str]
    is_text: bool = False
    is_kept: bool = False

    def width(self, ranking: Ranking) -> int:
        """Characters that the column takes, with the space to the next one."""
        return PADDING + max(len(self.heading), *(len(self.cell(row)) for row in _shown(ranking)))


def print_ranking(ranking: Ranking, console: Console | None = None) -> None:
    """Print finished and pruned jobs as a table and the others, with their reasons, beneath it.

    No value is cut: columns that do not fit are left out, the least telling first; ``ranking.csv`` has them all.

    Args:
        ranking: The table.
        console: Where to print; by default standard output.
    """
    console = console or open_console()
    if _shown(ranking):
        better = "higher" if ranking.direction == "maximize" else "lower"
        heading = f"\n{len(ranking.finished)} finished, ranked by {ranking.objective} ({better} is better)"
        console.print(Text(heading + (f"; {len(ranking.pruned)} pruned" if ranking.pruned else "")))
        console.print(_make_table(ranking, choose_columns(ranking, console.width), console.is_terminal))
    if ranking.unfinished:
        console.print(Text(f"\n{len(ranking.unfinished)} not finished"))
        for row in ranking.unfinished:
            job = "" if row.record.job_number is None else f"job {row.record.job_number}: "
            line = Text(f"  {job}{row.label}: {row.record.status}: {explain(row.record)}")
            console.print(line, soft_wrap=True)


def choose_columns(ranking: Ranking, width: int) -> list[Column]:
    """Choose the columns that fit into so many characters, in the order in which they are printed."""
    columns = _columns(ranking)
    free = width + PADDING - sum(column.width(ranking) for column in columns if column.is_kept)
    chosen = {column.heading for column in columns if column.is_kept}
    order = {heading: place for place, heading in enumerate(IMPORTANCE)}
    for column in sorted(columns, key=lambda column: order.get(column.heading, len(order))):
        if column.heading not in chosen and column.width(ranking) <= free:
            chosen.add(column.heading)
            free -= column.width(ranking)
    return [column for column in columns if column.heading in chosen]


def _columns(ranking: Ranking) -> list[Column]:
    keys = list(dict.fromkeys(key for row in _shown(ranking) for key in row.changed))
    last_parts = Counter(key.rpartition(".")[2] for key in keys)
    names = {key: last if last_parts[last := key.rpartition(".")[2]] == 1 else key for key in keys}
    return [
        Column("", lambda row: "pruned" if row.rank is None else str(row.rank), is_kept=True),
        Column("model", lambda row: row.record.model, is_text=True, is_kept=True),
        *(Column(names[key], partial(_setting, key), is_text=True, is_kept=True) for key in keys),
        *(Column(name, partial(_number, name), is_kept=name == ranking.objective) for name in ranking.metrics),
        Column("parameters", lambda row: "-" if row.record.parameters is None else f"{row.record.parameters:,}"),
        Column("time", lambda row: _duration(row.record.seconds or 0.0)),
    ]


def _make_table(ranking: Ranking, columns: list[Column], in_colour: bool) -> Table:
    table = Table(box=None, padding=(0, PADDING, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            Text(column.heading),
            justify="left" if column.is_text else "right",
            no_wrap=not column.is_text,
            overflow="fold",
            style="bold" if column.heading == ranking.objective else None,
        )
    for row in _shown(ranking):
        cells = [Text(column.cell(row)) for column in columns]
        table.add_row(*cells, style=_style(row) if in_colour else None)
    return table


def _shown(ranking: Ranking) -> tuple[RankedRun, ...]:
    return (*ranking.finished, *ranking.pruned)


def _style(row: RankedRun) -> str | None:
    return "dim" if row.rank is None else ("green" if row.rank == 1 else None)


def _setting(key: str, row: RankedRun) -> str:
    return shorten_value(row.changed.get(key, "-"))


def _number(name: str, row: RankedRun) -> str:
    value = row.record.metrics.get(name)
    return "-" if value is None else f"{value:.4f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02}m"
    return f"{minutes}m {rest:02}s" if minutes else f"{seconds:.1f}s"
