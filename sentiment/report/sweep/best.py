"""Choose the best trial of a sweep, and read its record."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from sentiment.errors import SentimentError
from sentiment.format import format_metric, format_setting
from sentiment.report.sweep.table import SweepRow, SweepTable
from sentiment.tracking.anew import explain_other
from sentiment.tracking.parent_file import read_parent
from sentiment.tracking.result_file import ResultRecord, write_commit


@dataclass(frozen=True)
class BestTrial:
    """One trial of a sweep, chosen by its rank."""

    table: SweepTable  # the sweep
    row: SweepRow  # the trial
    record: ResultRecord  # what became of its run, or of the first of its repeats

    @property
    def objective(self) -> str:
        """Metric that ranks."""
        return self.table.objectives[0]

    @property
    def run_value(self) -> float:
        """The value of `record`; that of the trial is over its repeats, where it has several."""
        return self.record.numbers.get(self.objective, self.row.values[self.objective])

    def describe(self, *, in_full: bool = False) -> list[str]:
        """Say where it comes from, one sentence per line, without anything of this machine.

        Args:
            in_full: Numbers with all digits, to hold another run against; else as people read them.
        """

        def write(name: str, value: float) -> str:
            return repr(value) if in_full else format_metric(name, value)

        reached = ", ".join(f"{name} {write(name, value)}" for name, value in self.row.values.items())
        lines = [
            f"Trial {self.row.number} of {self.table.name}: {reached}, "
            f"rank {self.row.rank} of {len(self.table.ranked)}."
        ]
        lines += [f"W{front[1:]}."] if (front := self.table.tell_front()) else []
        lines += filter(None, [self.table.tell_repeats(self.row, self.record, write)])
        lines.append(f"Made by commit {write_commit(self.record)}.")
        return [*lines, *filter(None, [explain_other(self.record)])]


def choose_best(table: SweepTable, sweep_dir: Path | None, rank: int = 1) -> BestTrial:
    """Choose the best trial of a sweep, or the one of another rank.

    The best is the study's own choice: by the first objective, among the trials that keep every limit. Its folder may
    be on another machine.

    Raises:
        SentimentError: No trial with a number has this rank, it breaks a limit of its study, or its settings are lost.
        TrackingError: The store that was asked for a lost record cannot be read.
    """
    row = table.find_rank(rank)
    if row is None:
        reason, remedy = _explain_rank(table)
        raise SentimentError(f"{table.name} has no trial of rank {rank}: {reason}.", remedy)
    record = row.record or _recover_record(table.job_of(row), sweep_dir)
    folder = None if sweep_dir is None else sweep_dir / str(table.job_of(row))
    if record is None and folder is not None and folder.is_dir():
        raise SentimentError(
            f"Trial {row.number} of {table.name} is the one, but {folder} has no record of it, as runs of this project "
            "have one, result.json.",
            f"its parameters were {_write_parameters(row)}",
        )
    if record is None:
        raise SentimentError(
            f"Trial {row.number} of {table.name} is the one, but its folder is gone, and MLflow has no run of it.",
            f"its parameters were {_write_parameters(row)}; or choose the next one: --rank {rank + 1}",
        )
    return BestTrial(table, row, record)


def _explain_rank(table: SweepTable) -> tuple[str, str]:
    """Return how many trials have a rank and why others have none, and what helps."""
    finished = [row for row in table.rows if row.state == "complete"]
    broken = [row for row in finished if row.excess]
    reason = f"{len(finished)} of {len(table.rows)} trials finished"
    if lost := [str(row.number) for row in finished if row.is_lost]:
        reason += f", but the study's storage lacks the results of {', '.join(lost)}"
    if tries := [row for row in finished if row.is_try]:
        reason += f", but {len(tries)} of those only tried a run (debug), and nothing ranks them"
    if bad := [row for row in table.ranked if math.isnan(row.values[table.objectives[0]])]:
        reason += f", but {len(bad)} of those have no number for {table.objectives[0]}"
    if broken:
        reason += f", and {len(broken)} of those break a limit, as trial {broken[0].number} {broken[0].reason}"
    if count := len(table.ranked) - len(bad):
        return reason, f"choose --rank 1 to {count}"
    if tries:
        return reason, "train without debug"
    if broken:
        return reason, "raise the limit in a new study, or run more trials"
    return reason, "let one finish first: start its command again"


def name_experiment(best: BestTrial) -> str:
    """Name the experiment of a trial: ``STUDY_best``, or ``STUDY_rank3``."""
    study = re.sub(r"[^A-Za-z0-9_.-]", "_", best.table.name)
    return f"{study}_best" if best.row.rank == 1 else f"{study}_rank{best.row.rank}"


def name_model(best: BestTrial) -> str:
    """Name the registered model: one a data set, because champions of different data cannot be compared."""
    return f"sentiment-{best.record.params.get('data.name', 'unknown')}"


def _recover_record(job: int, sweep_dir: Path | None) -> ResultRecord | None:
    """Ask MLflow for the record of a trial whose folder is gone."""
    parent = None if sweep_dir is None else read_parent(sweep_dir)
    if parent is None:
        return None
    from sentiment.tracking.mlflow.read import read_child_records

    runs = read_child_records(parent.uri, parent.run_id)
    return next((run for run in runs if run.job_number == job and run.status == "FINISHED"), None)


def _write_parameters(row: SweepRow) -> str:
    return " ".join(f"{key}={format_setting(value)}" for key, value in row.parameters.items()) or "the defaults"
