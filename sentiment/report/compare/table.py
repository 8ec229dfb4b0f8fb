"""A comparison as a plain table: groups of runs, and every pair of them held against each other."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sentiment.config.objective import Direction
from sentiment.errors import SentimentError
from sentiment.report.statistics import Difference, Estimate


class Writer(Protocol):
    """What `csv.writer` makes."""

    def writerow(self, row: Iterable[object], /) -> object:
        """Write a row."""


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
    """Two groups held against each other.

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
    mcnemar: float | None
    better: str | None


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


def write_csv(comparison: Comparison, file: Path) -> None:
    """Write the groups, a line a run, then the pairs, numbers in full; atomically.

    Raises:
        TableFileError: The file cannot be written.
    """
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("w", encoding="utf-8", newline="") as stream:
            _write_rows(comparison, csv.writer(stream))
        unfinished.replace(file)
    except OSError as error:
        raise TableFileError(f"{file} cannot be written: {error}\n  -> name another file: --csv FILE") from error


def _write_rows(comparison: Comparison, writer: Writer) -> None:
    writer.writerow([
        *("kind", "metric", "group", "run", "seed", "value", "other_group", "low", "high", "count"),
        *("p_value", "corrected_p_value", "mcnemar_p_value", "test", "better"),
    ])  # fmt: skip
    empty = [None] * 5
    for group in comparison.groups:
        for run, seed, value in zip(group.runs, group.seeds, group.values, strict=True):
            writer.writerow(["run", comparison.metric, group.name, run, seed, value, None, None, None, None, *empty])
        mean = group.estimate
        interval = (mean.low, mean.high) if mean.count > 1 else (None, None)
        writer.writerow(
            ["mean", comparison.metric, group.name, None, None, mean.mean, None, *interval, mean.count, *empty]
        )
    for pair in comparison.pairs:
        found = pair.difference
        if found is not None:
            writer.writerow([
                *("difference", comparison.metric, pair.first, None, None, found.value, pair.second),
                *(found.low, found.high, found.count),
                *(found.p_value, pair.p_value, pair.mcnemar, found.test, pair.better),
            ])  # fmt: skip
