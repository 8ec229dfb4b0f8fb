"""All that a report on a sweep tells, as one plain table: computed here, drawn elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sentiment.report.sweep.ranking import Direction
from sentiment.tracking.result_file import ResultRecord

State = Literal["complete", "pruned", "failed", "killed", "running", "waiting"]


@dataclass(frozen=True)
class CurvePoint:
    """One validation of a trial."""

    epoch: float
    value: float


@dataclass(frozen=True)
class SweepRow:
    """One trial of a study, or one job of a grid.

    Attributes:
        number: Number of the trial or job.
        label: Model and changed settings, for people.
        state: How it stands or ended.
        rank: 1 for the best; None without a result.
        parameters: What was varied: full key to value (a number where the value is one). Keys of another branch are
            missing.
        values: Objective to value, of the selected checkpoint (the best validation, for a pruned trial); empty without.
        metrics: All numbers of the run: ``val/...``, ``test/...``, ``model/parameters``, ``time/...``.
        curve: Validations of the first objective, in order.
        started_seconds: Start, seconds after the sweep's first start; None if it never started.
        ended_seconds: End, on the same clock; None while it runs.
        reason: Why it was pruned, failed or killed; None otherwise.
        reused_from: Number of the equal trial whose result it shares; None if it was trained itself.
        record: The run's own record (of its first repeat); None where it left none.
    """

    number: int
    label: str
    state: State
    rank: int | None
    parameters: Mapping[str, float | str]
    values: Mapping[str, float]
    metrics: Mapping[str, float]
    curve: tuple[CurvePoint, ...] = ()
    started_seconds: float | None = None
    ended_seconds: float | None = None
    reason: str | None = None
    reused_from: int | None = None
    record: ResultRecord | None = None


@dataclass(frozen=True)
class Importance:
    """How much of the objective's variation a parameter explains, with its uncertainty.

    Attributes:
        parameter: Full key.
        mean: Mean share over resampled trials, 0 to 1.
        low: Lower end of the 90 % interval over the resamples.
        high: Upper end.
        group: Branch in which it was measured (``model=rnn``); None: over all trials.
    """

    parameter: str
    mean: float
    low: float
    high: float
    group: str | None = None


@dataclass(frozen=True)
class SweepTable:
    """A sweep.

    Attributes:
        name: Study's name, or the multirun's folder.
        command: The command that started it; None where nobody knows.
        objectives: Metrics that were optimised; the first one ranks.
        directions: Which way is better, one an objective.
        rows: Trials: ranked first, then pruned, then the others.
        varied: Keys of the varied parameters, in order of appearance.
        importances: Most important first; empty where too few trials ended to say anything.
        importance_note: Why there are none, or how they were measured.
        best_command: Command that reruns the best trial; None while there is none.
        facts: Name to text: commit, hardware, data, versions, and whether the runs differ in them.
        log_scaled: Varied keys that were drawn on a logarithmic scale.
    """

    name: str
    command: str | None
    objectives: tuple[str, ...]
    directions: tuple[Direction, ...]
    rows: tuple[SweepRow, ...]
    varied: tuple[str, ...]
    importances: tuple[Importance, ...]
    importance_note: str
    best_command: str | None
    facts: Mapping[str, str] = field(default_factory=dict)
    log_scaled: frozenset[str] = frozenset()
