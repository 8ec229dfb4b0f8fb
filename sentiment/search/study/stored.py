"""A study in its storage, shared by any number of processes: claim the next trial, settle it, take over the dead.

The number of trials is a total: claims of all processes are made under one lock, and a trial whose process died is run
again as the same trial, so that no claim is ever lost or made twice.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sentiment.search.storage.lease import Heartbeat, Lease, Watch
from sentiment.search.study.definition import Definition, compare
from sentiment.search.study.limits import CONSTRAINT_KEY, exceed, keeps_limits
from sentiment.search.study.outcome import Outcome, RepeatPlan, finish, read_outcomes_of
from sentiment.search.study.trial import HEARTBEAT_SECONDS, JOB_KEY, OWNER_KEY

log = logging.getLogger(__name__)

CONTROLLER_KEY = "study:controller:{id}"
DEFINITION_KEY = "study:definition"
"""System attributes of a study: the card of each command that works on it, and what the study is about."""

SERVED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class Claim:
    """A trial that this process is to run.

    Attributes:
        trial: Optuna's trial.
        values: Its parameters by name.
        outcomes: Repeats that an earlier process finished.
        earlier: All trials as they stood when it was taken.
    """

    trial: optuna.Trial
    values: Mapping[str, Any]
    outcomes: Mapping[int, Outcome]
    earlier: Sequence[FrozenTrial] = ()


class StoredStudy:
    """One process' hold on a study; use as a context manager.

    Args:
        storage: The open storage.
        name: Name of the study.
        directions: ``minimize`` or ``maximize`` for every objective.
        pruner: The pruner.
        sampler: Draws the trials.
        lock: Makes the lock that all processes of this study share.
        total: Trials of the study.
        suggest: Draws a trial's parameters.
        repeats: Jobs of a trial.
        grace_seconds: Silence after which a process elsewhere counts as dead.
        limits: Upper bounds on numbers that trials describe.
        metric_names: Names of the objectives, for people.
    """

    def __init__(
        self,
        storage: BaseStorage,
        name: str | None,
        directions: Sequence[str],
        pruner: BasePruner,
        sampler: BaseSampler,
        *,
        lock: Callable[[str], AbstractContextManager[Any]],
        total: int,
        suggest: Callable[[optuna.Trial], Mapping[str, Any]],
        repeats: RepeatPlan,
        grace_seconds: float,
        limits: Mapping[str, float] | None = None,
        metric_names: Sequence[str] | None = None,
    ) -> None:
        self.total = total
        self._storage = storage
        self._suggest = suggest
        self._repeats = repeats
        self._limits = limits or {}
        self._watch = Watch(grace_seconds)
        self._study = self._create(name, directions, pruner, sampler, lock, metric_names)
        self.name = self._study.study_name
        self._lock = lock
        self._lease = Lease.take("controller")
        self._heartbeat = Heartbeat(self._write_card, self._lease, HEARTBEAT_SECONDS)

    def __enter__(self) -> StoredStudy:
        self._heartbeat.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._heartbeat.stop()
        self._lease.release()

    @property
    def directions(self) -> list[str]:
        """``minimize`` or ``maximize``, for every objective."""
        return [direction.name.lower() for direction in self._study.directions]

    @property
    def metric_names(self) -> list[str] | None:
        """Names of the objectives, where they have some."""
        return self._study.metric_names

    @property
    def owner(self) -> str:
        """Name of this process' hold."""
        return str(self._lease.card()["id"])

    def define(self, definition: Definition, *, allow_changes: bool, ignored: Collection[str] = ()) -> None:
        """Hold the definition against the stored one, but for ignored keys, and store it where it is new.

        Raises:
            StudyChangedError: They differ and changes are not allowed.
        """
        with self._lock(self.name):
            stored = self._storage.get_study_system_attrs(self._study._study_id).get(DEFINITION_KEY)
            if stored is not None and not allow_changes:
                compare(self.name, Definition.from_json(stored), definition, ignored)
            if stored != definition.to_json():
                self._storage.set_study_system_attr(self._study._study_id, DEFINITION_KEY, definition.to_json())

    def claim(self) -> Claim | None:
        """Take the next trial: one that waits (its process died), else a new one.

        Returns:
            The trial; None where all trials are taken.
        """
        with self._lock(self.name):
            self._take_over()
            trials = self.trials()
            waiting = [trial for trial in trials if trial.state == TrialState.WAITING]
            if not waiting and len(trials) >= self.total:
                return None
            trial = self._study.ask()
            self._storage.set_trial_system_attr(trial._trial_id, OWNER_KEY, self.owner)
            # An earlier job's card must not speak for the next job.
            if JOB_KEY in self._storage.get_trial(trial._trial_id).system_attrs:
                self._storage.set_trial_system_attr(trial._trial_id, JOB_KEY, None)
            try:
                values = self._suggest(trial)
            except Exception as error:
                self._fail(trial._trial_id, Outcome("failed", kind="exception", reason=f"no point drawn: {error}"))
                raise
        stored = self._storage.get_trial(trial._trial_id)
        return Claim(trial, values, read_outcomes_of(stored), trials)

    def settle(self, trial_id: int, outcome: Outcome) -> None:
        """Tell the study how a trial ended."""
        with self._lock(self.name):
            stored = self._storage.get_trial(trial_id)
            if stored.state.is_finished() or stored.system_attrs.get(OWNER_KEY) != self.owner:
                # This process was silent for so long that another took its trial over; the other one's result counts.
                log.warning("Trial %d was taken over by another process; its result here is dropped.", stored.number)
                return
            if stored.state == TrialState.WAITING:  # given up for dead, but not started again yet
                self._storage.set_trial_state_values(trial_id, TrialState.RUNNING)
            self._tell(stored, outcome)

    def release(self, trial_id: int) -> None:
        """Give a trial back that was stopped: it waits, with its parameters, for the next process.

        If its jobs ended all the same, just before they were stopped, their result counts.
        """
        with self._lock(self.name):
            stored = self._storage.get_trial(trial_id)
            if stored.state == TrialState.RUNNING and stored.system_attrs.get(OWNER_KEY) == self.owner:
                self._tell_or_requeue(stored)

    def read_outcomes(self, trial_id: int) -> dict[int, Outcome]:
        """Give what the trial's jobs have kept, by repeat."""
        return read_outcomes_of(self._storage.get_trial(trial_id))

    def read(self, trial_id: int) -> FrozenTrial:
        """Give one trial as it stands."""
        return self._storage.get_trial(trial_id)

    def trials(self) -> list[FrozenTrial]:
        """List all trials; they are the storage's own, not to be changed."""
        return self._study.get_trials(deepcopy=False)

    def count(self) -> Counter[str]:
        """Count the trials by state: complete, pruned, fail, running, waiting."""
        return Counter(trial.state.name.lower() for trial in self.trials())

    @property
    def is_served(self) -> bool:
        """Whether all trials have ended."""
        trials = self.trials()
        return len(trials) >= self.total and all(trial.state in SERVED for trial in trials)

    def best(self, trials: Sequence[FrozenTrial] | None = None) -> list[FrozenTrial]:
        """Give the best trial, or the Pareto front of several objectives, among those that keep the limits.

        Args:
            trials: All trials, where the caller has read them already.

        Returns:
            Empty while there is none; of several equally good ones the first.
        """
        known = self.trials() if trials is None else trials
        good = [trial for trial in known if trial.state == TrialState.COMPLETE and keeps_limits(trial)]
        if not good:
            return []
        if len(self._study.directions) > 1:
            return self._study.best_trials
        choose = max if self._study.direction == StudyDirection.MAXIMIZE else min
        return [choose(good, key=lambda trial: trial.values[0])]

    def note(self, trial_id: int, key: str, value: Any) -> None:
        """Write a user attribute of a trial."""
        self._storage.set_trial_user_attr(trial_id, key, value)

    def write(self, trial_id: int, key: str, value: Any) -> None:
        """Write a system attribute of a trial."""
        self._storage.set_trial_system_attr(trial_id, key, value)

    def _create(
        self,
        name: str | None,
        directions: Sequence[str],
        pruner: BasePruner,
        sampler: BaseSampler,
        lock: Callable[[str], AbstractContextManager[Any]],
        metric_names: Sequence[str] | None,
    ) -> optuna.Study:
        with lock(name or "unnamed"), warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # of samplers and pruners that people chose
            study = optuna.create_study(
                storage=self._storage,
                study_name=name,
                directions=[StudyDirection[direction.upper()] for direction in directions],
                sampler=sampler,
                pruner=pruner,
                load_if_exists=True,
            )
            if metric_names is not None and study.metric_names != list(metric_names):
                study.set_metric_names(list(metric_names))
        return study

    def _take_over(self) -> None:
        """Deal with running trials whose processes are dead: settle what they finished, let the rest run again."""
        for trial in self.trials():
            if trial.state == TrialState.RUNNING and self._is_dead(trial):
                if self._tell_or_requeue(trial):
                    log.info("Trial %d had finished when its process died; its result counts.", trial.number)
                else:
                    log.info("Trial %d is run again: its process is dead.", trial.number)

    def _tell_or_requeue(self, trial: FrozenTrial) -> bool:
        """Settle a trial that nobody works on any more by what its jobs left, else let it run again."""
        outcome = finish(read_outcomes_of(trial), self._repeats)
        if outcome is None:
            self._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
            return False
        self._tell(trial, outcome)
        return True

    def _is_dead(self, trial: FrozenTrial) -> bool:
        """Tell whether nobody works on a trial.

        Claims write the owner under the lock, so a trial without one belongs to a claim that was cut off.
        """
        owner = trial.system_attrs.get(OWNER_KEY)
        if owner == self.owner:
            return False
        job = trial.system_attrs.get(JOB_KEY)
        has_ended = finish(read_outcomes_of(trial), self._repeats) is not None
        if job is not None and not has_ended and not self._watch.is_dead(job):
            return False
        attributes = self._storage.get_study_system_attrs(self._study._study_id)
        controller = attributes.get(CONTROLLER_KEY.format(id=owner))
        return controller is None or self._watch.is_dead(controller)

    def _tell(self, trial: FrozenTrial, outcome: Outcome) -> None:
        if self._limits and outcome.state != "failed":
            self._write_excess(trial, outcome)
        if outcome.reused_from is not None:
            self.note(trial._trial_id, "reused_from", outcome.reused_from)
        if outcome.state == "failed":
            self._fail(trial._trial_id, outcome)
        elif outcome.state == "pruned":
            self._study.tell(trial.number, state=TrialState.PRUNED)
        else:
            self._study.tell(trial.number, list(outcome.values))

    def _write_excess(self, trial: FrozenTrial, outcome: Outcome) -> None:
        """Write by how much a trial is above the limits, for Optuna's samplers and its choice of the best."""
        described = trial.user_attrs
        if outcome.reused_from is not None:  # its job did not run; the equal one described it
            described = {**self.trials()[outcome.reused_from].user_attrs, **described}
        is_complete = outcome.state == "complete"
        known = {name: bound for name, bound in self._limits.items() if is_complete or name in described}
        for name, excess in exceed(trial, described, known).items():
            self.write(trial._trial_id, CONSTRAINT_KEY.format(name=name), excess)
            self.note(trial._trial_id, name, described[name])

    def _fail(self, trial_id: int, outcome: Outcome) -> None:
        for key in ("kind", "reason", "traceback"):
            value = getattr(outcome, key)
            if value:
                self.note(trial_id, f"failure.{key}", value)
        self._study.tell(self._storage.get_trial(trial_id).number, state=TrialState.FAIL)

    def _write_card(self, card: Mapping[str, Any]) -> None:
        key = CONTROLLER_KEY.format(id=card["id"])
        self._storage.set_study_system_attr(self._study._study_id, key, dict(card))
