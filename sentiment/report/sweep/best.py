"""The best trial of a sweep: which one it is, and what is left of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sentiment.errors import SentimentError
from sentiment.report.sweep.ranking import Direction
from sentiment.report.sweep.table import SweepRow, SweepTable
from sentiment.tracking.result_file import ResultRecord

CPU_THREADS = re.compile(r"cpu \((\d+) threads?\)")
"""How `sentiment.training.device.name_device` names a processor."""


class BestError(SentimentError):
    """There is no such trial, or nothing is left of it."""


@dataclass(frozen=True)
class BestTrial:
    """One trial of a sweep, chosen by its rank.

    Attributes:
        sweep: Name of the sweep.
        number: Number of the trial.
        rank: Its rank.
        ranked: How many trials have one.
        objective: Metric that ranks.
        direction: Which way is better.
        value: The trial's value: over its repeats, where it has several.
        run_value: The value of `record`, which is the trial's first repeat.
        record: What became of its run.
    """

    sweep: str
    number: int
    rank: int
    ranked: int
    objective: str
    direction: Direction
    value: float
    run_value: float
    record: ResultRecord

    @property
    def threads(self) -> int | None:
        """CPU threads that the run had; None where nobody knows, or it ran on a GPU."""
        match = CPU_THREADS.fullmatch(self.record.tags.get("device", ""))
        return None if match is None else int(match[1])

    def describe(self) -> list[str]:
        """Say where it comes from, a line each, without anything of this machine."""
        commit = self.record.tags.get("git.commit", "unknown")
        dirty = " with uncommitted changes" if self.record.tags.get("git.dirty") == "true" else ""
        lines = [
            f"Trial {self.number} of {self.sweep}: {self.objective} {self.value!r}, rank {self.rank} of {self.ranked}.",
            f"Made by commit {commit}{dirty}.",
        ]
        if self.run_value != self.value:
            lines.insert(1, f"That is over its repeats; this is the first of them, with {self.run_value!r}.")
        return lines


def choose_best(table: SweepTable, sweep_dir: Path | None, rank: int = 1) -> BestTrial:
    """Choose the best trial of a sweep, or the one of another rank.

    The best is the study's own choice: by the first objective, among the trials that keep every limit.

    Args:
        table: The sweep.
        sweep_dir: Its folder; None where it is not on this machine.
        rank: 1 for the best.

    Raises:
        BestError: No trial has this rank, it breaks a limit of its study, or its settings are lost.
        TrackingError: The store that was asked for a lost record cannot be read.
    """
    ranked = [row for row in table.rows if row.rank is not None]
    row = next((row for row in ranked if row.rank == rank), None)
    if row is None:
        raise BestError(
            f"{table.name} has no trial of rank {rank}: {len(ranked)} of {len(table.rows)} trials finished.\n  -> "
            + (f"choose --rank 1 to {len(ranked)}" if ranked else "let one finish first: start its command again")
        )
    if row.reason is not None:
        raise BestError(
            f"Trial {row.number} of {table.name} has rank {rank}, but it {row.reason}.\n"
            "  -> raise the limit in a new study, or choose a trial that keeps it by a smaller --rank"
        )
    record = row.record or _recover_record(row, sweep_dir)
    if record is None:
        raise BestError(
            f"Trial {row.number} of {table.name} is the one, but its folder is gone, and MLflow has no run of it.\n"
            f"  -> its parameters were {_write_parameters(row)}; or choose the next one: --rank {rank + 1}"
        )
    objective = table.objectives[0]
    value = row.values[objective]
    return BestTrial(
        sweep=table.name,
        number=row.number,
        rank=rank,
        ranked=len(ranked),
        objective=objective,
        direction=table.directions[0],
        value=value,
        run_value=record.metrics.get(objective, value),
        record=record,
    )


def name_experiment(best: BestTrial) -> str:
    """Name the experiment of a trial: ``STUDY_best``, or ``STUDY_rank3``."""
    study = re.sub(r"[^A-Za-z0-9_.-]", "_", best.sweep)
    return f"{study}_best" if best.rank == 1 else f"{study}_rank{best.rank}"


def name_model(best: BestTrial) -> str:
    """Name the registered model: one a data set, because champions of different data cannot be compared."""
    return f"sentiment-{best.record.params.get('data.name', 'unknown')}"


def _recover_record(row: SweepRow, sweep_dir: Path | None) -> ResultRecord | None:
    """Ask MLflow for the record of a trial whose folder is gone."""
    if sweep_dir is None:
        return None
    from sentiment.tracking.mlflow.parent import read_parent
    from sentiment.tracking.mlflow.results import read_child_results

    parent = read_parent(sweep_dir)
    if parent is None:
        return None
    number = row.number if row.reused_from is None else row.reused_from
    runs = read_child_results(parent.uri, parent.run_id)
    return next((run for run in runs if run.job_number == number and run.status == "FINISHED"), None)


def _write_parameters(row: SweepRow) -> str:
    return " ".join(f"{key}={value}" for key, value in row.parameters.items()) or "the defaults"
