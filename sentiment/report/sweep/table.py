"""A sweep as one table: everything that is printed, written or recorded about a sweep is read from it."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sentiment.composing import write_override
from sentiment.config.experiment_file import TESTED_KEY
from sentiment.config.objective import SELECTING, Direction
from sentiment.config.run_context import list_config_flags
from sentiment.format import format_metric
from sentiment.report.run_summary import name_run
from sentiment.tracking.anew import explain_other, pin_models
from sentiment.tracking.result_file import CONTINUES_TAG, ResultRecord, job_order

if TYPE_CHECKING:
    from sentiment.search.study.history import State

STATES: tuple[State, ...] = ("complete", "pruned", "paused", "failed", "killed", "running", "waiting")

"""In the order in which they are counted for people."""

STOPPED = ("pruned", "paused")
"""States of a trial that has a value, but did not come to its end."""

COPIES_LEFT_OUT = "copies are left out: what they have is due to the settings of those they went on from, too"
"""What is said where trials are placed or measured by their settings; see `SweepRow.is_copy`."""


def choose_followed(objectives: Collection[str]) -> str:
    """Return the objective of learning curves: the first one on validation, as a cost has none; else the first."""
    return next((name for name in objectives if name.startswith(SELECTING)), next(iter(objectives)))


@dataclass(frozen=True)
class CurvePoint:
    """One validation of a trial."""

    epoch: float
    value: float


@dataclass(frozen=True)
class SweepRow:
    """One trial of a study, or one job of a plain multirun."""

    number: int  # number of the trial or job
    label: str  # model and changed settings, for people
    state: State  # how it stands or ended
    rank: int | None  # 1 for the best; None without a result, and where it breaks a limit
    # What was varied: full key to value (a number where the value is one). Keys of another branch are missing.
    parameters: Mapping[str, float | str]
    # Objective to value, of the selected checkpoint (the best validation, for a pruned trial); empty without. The mean
    # of repeats.
    values: Mapping[str, float]
    # Numbers of the run: ``val/...``, ``test/...``, ``model/parameters``, ``time/...``; means of repeats. Without the
    # objectives where there are no values.
    metrics: Mapping[str, float]
    curve: tuple[CurvePoint, ...] = ()  # validations of the objective that `choose_followed` names, in order
    started_seconds: float | None = None  # start, seconds after the sweep's first start; None if it never started
    # End, on the same clock; None while it runs. Of a job of a plain multirun, that of its training.
    ended_seconds: float | None = None
    # When a trial of a study was measured last, on the same clock; None where nobody knows.
    measured_seconds: float | None = None
    reason: str | None = None  # why it has no rank: it breaks a limit, was pruned, failed or killed; None otherwise
    # Limit to by how much it is broken; empty where all are kept.
    excess: Mapping[str, float] = field(default_factory=dict)
    reused_from: int | None = None  # number of the equal trial whose result it shares; None if it was trained itself
    # Folders of the equal jobs of other studies whose results it has; None if it was trained itself.
    adopted_from: str | None = None
    runs: tuple[ResultRecord, ...] = ()  # records of its runs, one per repeat; those that left none are missing
    # Numbers of the jobs whose results it has, one per repeat: its own, or equal ones that ran before; empty in a plain
    # multirun.
    jobs: tuple[int, ...] = ()
    model: str = ""  # the model's name; empty where nobody knows
    # No other trial is as good in every objective and better in one. With one objective: the best trial.
    on_front: bool = False
    # The study's storage has no result of it, but its runs' records do; whether it keeps the limits is unknown, so it
    # has no rank.
    is_lost: bool = False
    # Number of the trial from whose checkpoint it went on; None: it began anew, or only its runs tell.
    continues: int | None = None
    # Objective to the bound of the repeats, where the study optimised that and not their mean; else empty.
    bounds: Mapping[str, float] = field(default_factory=dict)

    @property
    def scores(self) -> Mapping[str, float]:
        """What ranks it: its bounds, where the study optimised those, else its values."""
        return self.bounds or self.values

    @property
    def origin(self) -> str | None:
        """The trial from whose checkpoint it went on, a copy in a population; None: it began anew."""
        tags = [run.tags[CONTINUES_TAG] for run in self.runs if CONTINUES_TAG in run.tags]
        return next(iter(tags), None) if self.continues is None else str(self.continues)

    @property
    def is_copy(self) -> bool:
        """Whether it went on from another trial's checkpoint: what it has is due to that one's settings, too."""
        return self.origin is not None

    @property
    def record(self) -> ResultRecord | None:
        """The record of its first run; None where there is none."""
        return self.runs[0] if self.runs else None

    @property
    def is_try(self) -> bool:
        """Whether its runs only tried whether they work: it has no rank."""
        return any(run.is_try for run in self.runs)

    def value_of(self, metric: str) -> float | None:
        """Return an objective or another number of the run; None where it was not measured."""
        return self.values.get(metric, self.metrics.get(metric))

    def bound_of(self, objective: str) -> float | None:
        """Return the bound that a study computes of a complete trial's repeats; where all agree, it is the value."""
        return self.scores.get(objective) if self.state == "complete" and not self.is_lost else None


@dataclass(frozen=True)
class Importance:
    """How much of the objective's variation a parameter explains, with its uncertainty."""

    parameter: str  # full key
    mean: float  # mean share over resampled trials, 0 to 1
    low: float  # lower end of the 90 % interval over the resamples
    high: float  # upper end
    group: str | None = None  # branch in which it was measured (``model=rnn``); None: over all trials


@dataclass(frozen=True)
class SweepTable:
    """A sweep; `sentiment.report.sweep.collect` makes it."""

    name: str  # study's name, or the multirun's folder
    command: str | None  # the command that started it; None where nobody knows
    objectives: tuple[str, ...]  # metrics that were optimised; the first one ranks
    directions: tuple[Direction, ...]  # which way is better, one per objective
    rows: tuple[SweepRow, ...]  # trials: ranked first, then those that break a limit, then pruned ones, then the others
    varied: tuple[str, ...]  # keys of the varied parameters, in order of appearance
    importances: tuple[Importance, ...] = ()  # most important first; empty where too few trials ended to say anything
    importance_note: str = ""  # why there are none, or how they were measured
    # Name to text: commit, hardware, data, versions, and whether the runs differ in them.
    facts: Mapping[str, str] = field(default_factory=dict)
    log_scaled: frozenset[str] = frozenset()  # varied keys that were drawn on a logarithmic scale
    is_study: bool = False  # Optuna steers it: its rows are trials, those of a plain multirun are jobs
    repeats: int = 1  # jobs per trial
    notes: tuple[str, ...] = ()  # what the reader must know beside the rows, in sentences
    is_at_work: bool = False  # a command works on it now
    place: str = "STUDY"  # what commands call it, quoted as a shell needs it: its folder, or its MLflow parent run

    @property
    def best(self) -> SweepRow | None:
        """The trial of rank 1; None where no trial is complete and keeps the limits, with a number to show for it."""
        return self.find_rank(1)

    def find_rank(self, rank: int) -> SweepRow | None:
        """Return the trial of a rank; None where there is none, or it has no number to show for it."""
        row = self.rows[rank - 1] if 0 < rank <= len(self.rows) else None
        is_found = row is not None and row.rank == rank and not math.isnan(row.values[self.objectives[0]])
        return row if is_found else None

    @property
    def ties(self) -> tuple[SweepRow, ...]:
        """Trials that share every objective with the best one, it among them; of trials that share one result, one."""
        if self.best is None:
            return ()
        found: dict[int, SweepRow] = {}  # one of those that share a result
        for row in self.ranked:
            if all(row.scores.get(name) == self.best.scores.get(name) for name in self.objectives):
                found.setdefault(row.number if row.reused_from is None else row.reused_from, row)
        return tuple(found.values())

    def tell_scores(self, *names: str) -> str:
        """Say what ranks the best trial, of all objectives or some, as in ``bound of val/loss 0.3``."""
        assert self.best is not None, "no trial ranks where none is the best"
        prefix, scores = "bound of " if self.bounded else "", self.best.scores
        return ", and ".join(f"{prefix}{name} {format_metric(name, scores[name])}" for name in names or scores)

    @property
    def bounded(self) -> tuple[str, ...]:
        """The objectives, where the study ranks by bounds of its repeats and not by their means; else empty."""
        return self.objectives if any(row.bounds for row in self.rows) else ()

    @property
    def ranked(self) -> tuple[SweepRow, ...]:
        """Trials with a rank, best first."""
        return tuple(row for row in self.rows if row.rank is not None)

    @property
    def front(self) -> tuple[SweepRow, ...]:
        """Trials on the front of several objectives, in the order of the table; with one objective the best one."""
        return tuple(row for row in self.rows if row.on_front)

    def tell_front(self) -> str:
        """Say which trials are on the front of several objectives; empty with one."""
        if len(self.objectives) < 2 or not self.front:
            return ""
        numbers = [str(number) for number in sorted(row.number for row in self.front)]
        trials = f"trial{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}"
        return f"with {' and '.join(self.objectives[1:])}, the front is {trials}"

    def tell_repeats(
        self, row: SweepRow, record: ResultRecord | None, write: Callable[[str, float], str] = format_metric
    ) -> str:
        """Say what a trial reached over its repeats, and what the one of them did that `record` is of; empty without.

        `write` writes a metric's value.
        """
        name = self.objectives[0]
        value = row.values[name]
        first = value if record is None else record.numbers.get(name, value)
        if record is None or (self.repeats == 1 and first == value):
            return ""
        mean, one = write(name, value), write(name, first)
        which = "one of them, as the first is gone" if record.job_number not in row.jobs[:1] else "the first of them"
        return f"{name} {mean} is over its repeats; this is {which}, with {one}."

    @property
    def records(self) -> tuple[ResultRecord, ...]:
        """Records of all runs that count, each once, in the order of their jobs."""
        found = {id(run): run for row in self.rows for run in row.runs}  # equal trials share theirs
        return tuple(sorted(found.values(), key=job_order))

    @property
    def best_command(self) -> str | None:
        """Command that trains the best trial again, by itself; None while there is none, or its record is lost.

        As that of ``python -m sentiment best``, it meets the test split, and has as many devices and CPU threads as the
        trial had.
        Registered models are named by the versions that it learned from. None too where its settings alone give another
        model: see `explain_other`.
        """
        record = None if self.best is None else self.best.record
        if record is None or explain_other(record):
            return None
        again = {TESTED_KEY: "true"} if record.params.get(TESTED_KEY) == "false" else {}
        again |= record.shares
        pinned = pin_models(record)
        left_out = ("hydra", *(f"{key}=" for key in (*again, *pinned)))
        kept = [item for item in record.overrides if not item.lstrip("+~").startswith(left_out)]
        kept += [f"{key}={value}" for key, value in again.items()]
        kept += [f"{key}={text}" if text.startswith("[") else write_override(key, text) for key, text in pinned.items()]
        return shlex.join(["python", "run.py", *list_config_flags(self.command or ""), *kept])

    def job_of(self, row: SweepRow) -> int:
        """Return the number of the first job behind a trial: that of its record, or where its record would be."""
        job = None if row.record is None else row.record.job_number
        first = row.jobs[0] if row.jobs else self.repeats * row.number
        return first if job is None else job

    def folder_of(self, row: SweepRow, sweep_dir: Path) -> Path:
        """Return the folder of the first job behind a trial: its record's, or where that would be by default."""
        folder = None if row.record is None else row.record.folder
        return sweep_dir / str(self.job_of(row)) if folder is None else folder

    @property
    def run_place(self) -> str:
        """What commands call the best run, quoted as `place` is; without a folder of its record how runs are called."""
        record = None if self.best is None else self.best.record
        if record is None or record.folder is None:
            return f"{self.place}/NUMBER"
        return shlex.quote(name_run(record, record.folder.absolute()))

    @property
    def noun(self) -> str:
        """What a row is called: ``trial`` or ``job``."""
        return "trial" if self.is_study else "job"

    def count_states(self) -> dict[State, int]:
        """Count the trials by state, in the order of `STATES`; states that no trial has are missing."""
        counts = Counter(row.state for row in self.rows)
        return {state: counts[state] for state in STATES if counts[state]}
