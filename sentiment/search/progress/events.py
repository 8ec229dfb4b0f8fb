"""What happens in a study, for those who watch: the terminal, the log, an application's Hydra callbacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from optuna.trial import FrozenTrial

from sentiment.search.workers.job import Finished, Job


@dataclass(frozen=True)
class RunningJob:
    """One job in flight.

    Attributes:
        number: Number of the job.
        trial: Number of its trial.
        slot: Where it runs: a worker, a GPU or a launcher.
        seconds: Time since it was started here.
        values: The trial's parameters.
    """

    number: int
    trial: int
    slot: str
    seconds: float
    values: Mapping[str, Any]


@dataclass(frozen=True)
class StudyState:
    """How a study stands.

    Attributes:
        name: Name of the study.
        study_dir: Its folder.
        directions: ``minimize`` or ``maximize``, for every objective.
        total: Trials of the study.
        trials: All trials so far.
        best: The best trial, or the Pareto front; empty while none is complete.
        running: Jobs in flight in this process.
        seconds: Time since this process began.
        ended_here: Trials that ended in this process.
        metric_names: Names of the objectives; empty where they have none.
    """

    name: str
    study_dir: Path
    directions: Sequence[str]
    total: int
    trials: Sequence[FrozenTrial]
    best: Sequence[FrozenTrial]
    running: Sequence[RunningJob]
    seconds: float
    ended_here: int
    metric_names: Sequence[str] = ()


class Observer(Protocol):
    """Watches a study."""

    def study_started(self, state: StudyState) -> None:
        """The study is open and checked; no job has run yet."""

    def job_started(self, job: Job, trial: RunningJob) -> None:
        """A job was handed over."""

    def job_ended(self, finished: Finished) -> None:
        """A job came back."""

    def trial_ended(self, trial: FrozenTrial, state: StudyState) -> None:
        """A trial was settled."""

    def waited(self, state: StudyState) -> None:
        """Time passed: about every second."""

    def study_ended(self, state: StudyState) -> None:
        """Nothing runs any more, however it ended."""
