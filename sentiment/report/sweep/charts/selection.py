"""Which rows of a table a chart shows, and as what."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sentiment.report.sweep.table import SweepRow, SweepTable


def has_value(table: SweepTable, row: SweepRow) -> bool:
    """Tell whether a row has a number of the first objective to show."""
    return math.isfinite(row.values.get(table.objectives[0], math.nan))


def complete_rows(table: SweepTable) -> list[SweepRow]:
    """Return the complete rows with a number, best first, those that break a limit last."""
    return [row for row in table.rows if row.state == "complete" and has_value(table, row)]


def pruned_rows(table: SweepTable) -> list[SweepRow]:
    """Return the rows that the search ended early, by their best validation."""
    return [row for row in table.rows if row.state == "pruned" and has_value(table, row)]


def value_of(table: SweepTable, row: SweepRow) -> float:
    """Return the first objective of a row that has it."""
    return row.values[table.objectives[0]]


def is_better(table: SweepTable, one: float, other: float) -> bool:
    """Tell whether one value of the first objective is better than another."""
    return one > other if table.directions[0] == "maximize" else one < other


def split_by_model(rows: Sequence[SweepRow], otherwise: str) -> list[tuple[str, list[SweepRow]]]:
    """Split rows by their model; where there is one model only, they are together under another name."""
    models = {row.number: row.model for row in rows}
    names = list(dict.fromkeys(models.values()))
    if len(names) < 2:
        return [(otherwise, list(rows))] if rows else []
    return [(name, [row for row in rows if models[row.number] == name]) for name in names]
