"""The table of a study while it runs: after a trial only what changed is read and described again."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sentiment.report.sweep.rows import Objectives, make_trial_row, rank_rows
from sentiment.report.sweep.table import SweepRow, SweepTable
from sentiment.search.study.history import read_trial
from sentiment.tracking.result_file import RESULT_FILE, ResultRecord, read_result

if TYPE_CHECKING:
    from sentiment.search.progress import StudyState
    from sentiment.search.study.history import TrialHistory

Stamp = tuple[int, int]
"""Time of the last change in nanoseconds, and size in bytes."""


@dataclass
class RunningStudy:
    """A study that this and perhaps other processes work on.

    Attributes:
        name: Its name.
        sweep_dir: Its folder.
        objectives: What it optimises.
        repeats: Jobs per trial.
    """

    name: str
    sweep_dir: Path
    objectives: Objectives
    repeats: int
    _files: dict[Path, tuple[Stamp, ResultRecord]] = field(default_factory=dict)
    _rows: dict[int, tuple[object, tuple[ResultRecord, ...], SweepRow]] = field(default_factory=dict)

    def collect(self, state: StudyState) -> SweepTable:
        """Collect the table: all that `sentiment.report.sweep.collect` knows of a study, but facts, times and command.

        Args:
            state: The study, with all trials as the storage holds them: a trial that changes is another object.

        Raises:
            TrackingError: A record is damaged or of another version.
        """
        by_job = {record.job_number: record for record in self.read_records()}
        for trial in state.trials:
            jobs = range(trial.number * self.repeats, (trial.number + 1) * self.repeats)
            runs = tuple(by_job[job] for job in jobs if job in by_job)
            known = self._rows.get(trial.number)
            if known is None or known[0] is not trial or known[1] != runs:
                self._rows[trial.number] = trial, runs, self._describe(read_trial(trial), runs)
        rows = rank_rows([row for _, _, row in self._rows.values()], self.objectives)
        for row in rows:  # with its rank: few ranks change after a trial
            self._rows[row.number] = (*self._rows[row.number][:2], row)
        return SweepTable(
            name=self.name,
            command=None,
            objectives=tuple(self.objectives),
            directions=tuple(self.objectives.values()),
            rows=tuple(rows),
            varied=tuple(dict.fromkeys(key for row in rows for key in row.parameters)),
            is_study=True,
            repeats=self.repeats,
        )

    def read_records(self) -> list[ResultRecord]:
        """Return the records of all jobs; files that did not change are not read again."""
        with os.scandir(self.sweep_dir) as entries:
            folders = [Path(entry.path) for entry in entries if entry.is_dir()]
        found = [pair for folder in folders for pair in _find_results(folder)]
        self._files = {file: self._read(file, stamp) for file, stamp in found}
        return [record for _, record in self._files.values()]

    def _read(self, file: Path, stamp: Stamp) -> tuple[Stamp, ResultRecord]:
        known = self._files.get(file)
        return known if known is not None and known[0] == stamp else (stamp, read_result(file))

    def _describe(self, trial: TrialHistory, runs: tuple[ResultRecord, ...]) -> SweepRow:
        source = None if trial.reused_from is None else self._rows.get(trial.reused_from)
        return make_trial_row(trial, runs, self.objectives, source=None if source is None else source[2])


def _find_results(folder: Path) -> list[tuple[Path, Stamp]]:
    """Find the results in a job's folder, or in folders below it, with few looks at the disk: a study has thousands."""
    file = folder / RESULT_FILE
    try:
        return [(file, _read_stamp(file))]
    except FileNotFoundError:
        return [(nested, _read_stamp(nested)) for nested in folder.rglob(RESULT_FILE)]


def _read_stamp(file: Path) -> Stamp:
    state = file.stat()
    return state.st_mtime_ns, state.st_size
