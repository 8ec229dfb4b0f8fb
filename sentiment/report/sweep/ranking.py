"""Rank the jobs of a multirun: first the table, then whatever prints or draws it."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sentiment.tracking.result_file import ResultRecord
from sentiment.tracking.run_name import parse_overrides, shorten

Direction = Literal["maximize", "minimize"]

KILLED_OUTRIGHT = "the process ended without a word (killed from outside, or still running)"


@dataclass(frozen=True)
class RankedRun:
    """One row of the table.

    Attributes:
        rank: 1 for the best; None for a run that was pruned or did not finish.
        label: Model and changed settings.
        changed: Overrides that differ between the jobs, ``model`` apart.
        record: The run.
    """

    rank: int | None
    label: str
    changed: dict[str, str]
    record: ResultRecord


@dataclass(frozen=True)
class Ranking:
    """The jobs of a multirun, best first; then those that a search pruned, then those that did not finish.

    Attributes:
        objective: Metric that ranks.
        direction: Which way is better.
        rows: One row a job.
        metrics: Names of the metrics that any job has: the objective, other ``val/``, ``test/``, then ``time/``.
    """

    objective: str
    direction: Direction
    rows: tuple[RankedRun, ...]
    metrics: tuple[str, ...]

    @property
    def finished(self) -> tuple[RankedRun, ...]:
        """Rows with a rank."""
        return tuple(row for row in self.rows if row.rank is not None)

    @property
    def pruned(self) -> tuple[RankedRun, ...]:
        """Rows of jobs that a search ended early, by their best validation; no failures."""
        return tuple(row for row in self.rows if row.record.status == "PRUNED")

    @property
    def unfinished(self) -> tuple[RankedRun, ...]:
        """Rows of failed and killed jobs."""
        return tuple(row for row in self.rows if row.rank is None and row.record.status != "PRUNED")

    @property
    def best(self) -> ResultRecord | None:
        """The winner; None where no job finished."""
        return self.finished[0].record if self.finished else None


def rank(records: Sequence[ResultRecord], objective: str, direction: Direction) -> Ranking:
    """Rank jobs by the objective of their selected checkpoint, on validation: the test split ranks nothing.

    Jobs with equal objectives keep the order of their numbers. An objective that is no number comes last.
    """
    changed = find_changed(records)
    sign = -1.0 if direction == "maximize" else 1.0

    def place(pair: tuple[ResultRecord, dict[str, str]]) -> float:
        value = sign * pair[0].metrics.get(objective, math.nan)
        return math.inf if math.isnan(value) else value

    pairs = list(zip(records, changed, strict=True))
    finished = sorted((pair for pair in pairs if _has_result(pair[0], objective)), key=place)
    pruned = sorted((pair for pair in pairs if pair[0].status == "PRUNED"), key=place)
    rest = [pair for pair in pairs if pair[0].status != "PRUNED" and not _has_result(pair[0], objective)]
    rows = [
        RankedRun(number if number <= len(finished) else None, shorten(record.model, settings), settings, record)
        for number, (record, settings) in enumerate([*finished, *pruned, *rest], start=1)
    ]
    return Ranking(objective, direction, tuple(rows), _metric_names(records, objective))


def find_changed(records: Sequence[ResultRecord]) -> list[dict[str, str]]:
    """Find the overrides that differ between jobs, for each job its own.

    What was typed for every job alike is left out, and so are the settings that merely follow from another model:
    a Transformer and an RNN differ in every ``model.`` key, which would tell nobody anything.
    """
    typed = [parse_overrides(record.overrides) for record in records]
    keys = dict.fromkeys(key for overrides in typed for key in overrides if key != "model")  # in order of appearance
    differing = [key for key in keys if len({overrides.get(key) for overrides in typed}) > 1]
    return [{key: overrides[key] for key in differing if key in overrides} for overrides in typed]


def explain(record: ResultRecord) -> str:
    """Say why a job has no rank."""
    if record.status == "RUNNING":
        return KILLED_OUTRIGHT
    return record.reason or "it ended without a value of the objective"


def write_csv(ranking: Ranking, file: Path) -> None:
    """Write the table, numbers in full."""
    settings = list(dict.fromkeys(key for row in ranking.rows for key in row.changed))
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([
            *("rank", "job", "run_id", "model"), *settings, "status", *ranking.metrics,
            *("parameters", "seconds", "epochs", "best_epoch", "reason"),
        ])  # fmt: skip
        for row in ranking.rows:
            record = row.record
            writer.writerow([
                *(row.rank, record.job_number, record.run_id, record.model),
                *(row.changed.get(key) for key in settings),
                record.status,
                *(record.metrics.get(name) for name in ranking.metrics),
                *(record.parameters, record.seconds, record.epochs, record.best_epoch),
                None if row.rank is not None else explain(record),
            ])  # fmt: skip


def _metric_names(records: Sequence[ResultRecord], objective: str) -> tuple[str, ...]:
    names = dict.fromkeys(name for record in records for name in record.metrics if name != objective)
    validation = [name for name in names if name.startswith("val/")]
    test = [name for name in names if name.startswith("test/")]
    costs = [name for name in names if name.startswith("time/")]
    return (objective, *validation, *test, *costs)


def _has_result(record: ResultRecord, objective: str) -> bool:
    return record.status == "FINISHED" and objective in record.metrics
