"""A comparison as a plain table: groups of runs, and every pair of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sentiment.config.objective import Direction
from sentiment.errors import SentimentError
from sentiment.report.draw.table import Cell, Column, DataTable, write_table
from sentiment.report.statistics import Difference, Estimate


@dataclass(frozen=True)
class Group:
    """Runs of one setting.

    Attributes:
        name: What tells it from the other groups.
        runs: Names of its runs.
        seeds: Their seeds, in order.
        values: The metric of each.
        estimate: Mean and interval over the seeds.
    """

    name: str
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    estimate: Estimate


@dataclass(frozen=True)
class Pair:
    """Two groups compared.

    Attributes:
        first: Name of the one.
        second: Name of the other.
        difference: First minus second; None where nothing can be tested.
        p_value: Of the difference, corrected for the number of pairs (Holm); NaN where nothing can be tested.
        mcnemar: p value of McNemar's exact test, for two single runs.
        better: Name of the better one; None where no difference is shown.
    """

    first: str
    second: str
    difference: Difference | None
    p_value: float
    mcnemar: float | None = None
    better: str | None = None


@dataclass(frozen=True)
class Comparison:
    """The table, and what it says.

    Attributes:
        metric: What was compared: ``test/accuracy``.
        direction: Which way is better.
        groups: The groups, best mean first.
        pairs: All pairs, in the order of the groups.
        notes: What the reader must know beside the numbers.
        conclusion: What may be concluded, in a sentence.
    """

    metric: str
    direction: Direction
    groups: tuple[Group, ...]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]
    conclusion: str


class TableFileError(SentimentError):
    """The table cannot be written."""


COLUMNS = (
    "kind", "metric", "group", "run", "seed", "value", "other_group", "low", "high", "count", "p_value",
    "corrected_p_value", "mcnemar_p_value", "test", "better",
)  # fmt: skip


def write_csv(comparison: Comparison, file: Path) -> None:
    """Write the groups, a line per run, then the pairs, numbers in full; atomically.

    Raises:
        TableFileError: The file cannot be written.
    """
    columns = tuple(Column(name, name) for name in COLUMNS)
    rows = [tuple(row.get(name) for name in COLUMNS) for row in _list_rows(comparison)]
    try:
        write_table(DataTable("comparison", comparison.metric, columns, tuple(rows)), file)
    except OSError as error:
        raise TableFileError(f"{file} cannot be written: {error}\n  -> name another file: --csv FILE") from error


def _list_rows(comparison: Comparison) -> Iterator[dict[str, Cell]]:
    for group in comparison.groups:
        row: dict[str, Cell] = {"metric": comparison.metric, "group": group.name}
        for run, seed, value in zip(group.runs, group.seeds, group.values, strict=True):
            yield row | {"kind": "run", "run": run, "seed": seed, "value": value}
        mean = group.estimate
        interval: dict[str, Cell] = {"low": mean.low, "high": mean.high} if mean.count > 1 else {}
        yield row | {"kind": "mean", "value": mean.mean, "count": mean.count} | interval
    for pair in comparison.pairs:
        found = pair.difference
        if found is not None:
            yield {
                "kind": "difference", "metric": comparison.metric, "group": pair.first, "other_group": pair.second,
                "value": found.value, "low": found.low, "high": found.high, "count": found.count,
                "p_value": found.p_value, "corrected_p_value": pair.p_value, "mcnemar_p_value": pair.mcnemar,
                "test": found.test, "better": pair.better,
            }  # fmt: skip
