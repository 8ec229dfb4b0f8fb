"""A study in its storage, shared by any number of processes: claim the next trial, settle it, take over the dead.

The number of trials is a total: claims of all processes are made under one lock, and a trial whose process died is run
again as the same trial, so that no claim is ever lost or made twice.
"""

from __future__ import annotations

import copy
import logging
import random
import time
import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sentiment.errors import RunPruned
from sentiment.private import get_storage, get_study_id, get_trial_id
from sentiment.search.budget import Spending
from sentiment.search.space.parameters import name_key, show_values
from sentiment.search.space.points import REPLACES_KEY, TARGET_KEY, make_key
from sentiment.search.space.sampling import derive_seed
from sentiment.search.storage.lease import HEARTBEAT_SECONDS, Heartbeat, Lease, Watch
from sentiment.search.study.agenda import Agenda, Ledger, Step
from sentiment.search.study.definition import Definition, compare, require_same_limits, require_same_results
from sentiment.search.study.limits import CONSTRAINT_KEY, LimitError, hold_to_limits
from sentiment.search.study.outcome import (
    OUTCOME_KEY,
    Outcome,
    finish,
    list_jobs,
    read_described,
    read_outcomes_of,
    write_described,
)
from sentiment.search.study.population import CONTINUES_KEY, PopulationPruner, find_origin
from sentiment.search.study.rungs import VALUES_KEY, count_steps
from sentiment.search.study.scheduler import NO_RUNG, Scheduler, Swap
from sentiment.search.study.searched import GrowingSearch, Searched, StartPoint
from sentiment.search.study.spending import BUDGET_KEY, Meter
from sentiment.search.study.trial import (
    JOB_KEY,
    OVER,
    OWNER_KEY,
    PROGRESS_KEY,
    STOP_KEY,
    TrialAddress,
    find_job,
    finish_repeat,
    hold_study,
    read_folder,
    read_seconds,
)

log = logging.getLogger(__name__)

CONTROLLER_KEY = "study:controller:{id}"
START_KEY = "start"
"""User attribute of a trial whose point was to be tried first: where it is from."""

DEFINITION_KEY = "study:definition"
"""System attributes of a study: the lease record of each command that works on it, and what the study is about."""

COMMIT_KEY = "study:commit"
"""System attribute of a trial: which code ran it, as people read it."""

DEATHS_KEY = "study:deaths"
"""System attribute of a trial: how many commands died while they ran it."""

SERVED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class ClaimedTrial:
    """A trial that this process is to run.

    Attributes:
        trial: Optuna's trial.
        values: Its parameters by name.
        outcomes: Repeats that an earlier process finished.
        earlier: All trials as they stood when it was taken.
        reports: How many reports it had made by then: it was paused, or cut off.
    """

    trial: optuna.Trial
    values: Mapping[str, Any]
    outcomes: Mapping[int, Outcome]
    earlier: Sequence[FrozenTrial] = ()
    reports: int = 0

    @property
    def number(self) -> int:
        """Number of the trial in its study."""
        return self.trial.number

    @property
    def trial_id(self) -> int:
        """The trial's id in the storage."""
        return get_trial_id(self.trial)


def list_commands(attributes: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """List the lease records of all commands that ever worked on a study, from its system attributes."""
    return [record for key, record in attributes.items() if key.startswith(CONTROLLER_KEY.format(id=""))]


def settle_definition(
    search: GrowingSearch,
    name: str,
    content: Mapping[str, Any] | None,
    trials: Sequence[FrozenTrial],
    objectives: Sequence[str],
    *,
    allow_changes: bool,
) -> tuple[Definition, list[str]]:
    """Hold a search against a study's definition.

    Args:
        search: What is searched.
        name: The study's name.
        content: The definition that is stored; None: the study is new.
        trials: The study's trials.
        objectives: Names of its objectives.
        allow_changes: Whether fixed settings may differ.

    Returns:
        The definition with which the study goes on, and what has changed in its space.

    Raises:
        StudyChangedError: They differ in more than the space, and changes are not allowed.
    """
    now, changes = search.describe(), list[str]()
    if content is not None:
        stored = replace(search.read_definition(content), objectives=objectives)
        if any(trial.state == TrialState.COMPLETE or trial.constraints for trial in trials):
            require_same_limits(name, stored, now)
        if allow_changes:
            require_same_results(name, stored, now)
        else:
            changes = compare(name, stored, now, search.options.ignore)
        now = now.follow(stored)
        now = replace(now, names=stored.names or _read_names(trials, stored.space))
    return replace(now, names=search.find_names(now.names)), changes


def _read_names(trials: Sequence[FrozenTrial], space: Collection[str]) -> dict[str, str]:
    """Return the parameters of a study that an earlier version stored, which did not write them down."""
    found = {name: one for trial in trials for name, one in trial.distributions.items() if name in space}
    return {name: distribution_to_json(distribution) for name, distribution in found.items()}


class StoredStudy:
    """One process' hold on a study; use as a context manager.

    Args:
        storage: The open storage.
        storage_url: What was opened; None: the journal in the study's folder.
        search: What is searched.
        commit: The code that runs, as people read it; None where nobody knows.

    Attributes:
        search: What is searched.
        name: Name of the study.
    """

    def __init__(
        self, storage: BaseStorage, storage_url: str | None, search: Searched, commit: str | None = None
    ) -> None:
        self.search = search
        self._commit = commit
        self._budget = search.options.limit
        self._storage = storage
        self._storage_url = storage_url
        self._watch = Watch(search.options.grace_seconds)
        self._study = self._create()
        self.name = self._study.study_name
        self._lease = Lease.take("controller")
        self._heartbeat = Heartbeat(self._write_lease, self._lease, HEARTBEAT_SECONDS)
        self._failed_before = {trial.number for trial in self.trials() if trial.state == TrialState.FAIL}
        self._agenda = Agenda(search, self._failed_before, self.spent)
        self._meter = Meter(search.repeats.count, search.pruner)

    def __enter__(self) -> StoredStudy:
        self._heartbeat.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._heartbeat.stop()
        self._write_lease(self._lease.record())  # until when it was at work
        self._lease.release()

    @property
    def directions(self) -> list[str]:
        """``minimize`` or ``maximize``, for every objective."""
        return [direction.name.lower() for direction in self._study.directions]

    @property
    def metric_names(self) -> list[str] | None:
        """Names of the objectives, where they have some."""
        return self._study.metric_names

    def address_of(self, claimed: ClaimedTrial, repeat: int) -> TrialAddress:
        """Return where the job of a repeat finds its trial."""
        stored = self._storage.get_trial(claimed.trial_id)
        origin = find_origin(stored)
        return TrialAddress(
            storage_url=self._storage_url,
            study_dir=self.search.study_dir,
            study_name=self.name,
            trial_id=claimed.trial_id,
            number=claimed.number,
            repeat=repeat,
            owner=self.owner,
            pruner=self.search.pruner,
            deadline=self.deadline,
            margin=self.search.options.margin,
            is_last=self._is_last(repeat),
            target=stored.system_attrs.get(TARGET_KEY) if repeat == 0 else None,
            origin=None if origin is None else read_folder(self.trials()[origin["trial"]], self.search.study_dir),
            limited=tuple(self.search.options.limits),
            grace_seconds=self.search.options.grace_seconds,
        )

    def _is_last(self, repeat: int) -> bool:
        return repeat == self.search.repeats.count - 1

    @property
    def owner(self) -> str:
        """Name of this process' hold."""
        return self._lease.lease_id

    def define(self, search: GrowingSearch, *, allow_changes: bool) -> None:
        """Hold the search against the stored definition, store it where it is new, and search as the study knows it.

        Raises:
            StudyChangedError: They differ in more than the space, and changes are not allowed.
        """
        options = self.search.options
        with self._lock(self.name):
            content = self._storage.get_study_system_attrs(get_study_id(self._study)).get(DEFINITION_KEY)
            objectives = self._study.metric_names or ()
            now, changes = settle_definition(
                search, self.name, content, self.trials(), objectives, allow_changes=allow_changes
            )
            if content != now.to_json():
                self._storage.set_study_system_attr(get_study_id(self._study), DEFINITION_KEY, now.to_json())
            self.search = grown = search.continue_from(now)
            self._agenda = Agenda(self.search, self._failed_before, self.spent)
            self._study.sampler = self.search.sampler
            trials = self.trials()
            if options.extend is not None or not any(trial.datetime_start for trial in trials):
                self._enqueue((grown if trials else search).starts, trials)
        self._storage.set_study_system_attr(get_study_id(self._study), BUDGET_KEY, asdict(self._budget))
        self._tell_of_other_code()
        if changes:
            log.info("Study %s has changed: %s", self.name, "; ".join(changes))
            log.info("%s", self._describe_growth())

    def _enqueue(self, starts: Sequence[StartPoint], trials: Sequence[FrozenTrial]) -> None:
        """Let points be tried first that no trial was to try; a command may have died between two of them."""
        known = {make_key(trial.system_attrs.get("fixed_params", {})) for trial in trials}
        starts = [start for start in starts if make_key(start.point) not in known]
        room = max(0, self.search.total - len(self.look(trials)))
        if self.search.options.extend is not None and starts[room:]:
            log.warning(
                "Not extended: %s. The study is to have %d trials, and has extended others; name more, as in "
                "hydra.sweeper.extend=STUDY:%d.",
                "; ".join(start.label for start in starts[room:]), self.search.total, self.search.total + 1,
            )  # fmt: skip
        starts = starts[:room]
        for start in starts:
            self._study.enqueue_trial(start.point, user_attrs={START_KEY: start.label})
        if starts:
            log.info("Tried first: %s.", "; ".join(start.label for start in starts))

    def _tell_of_other_code(self) -> None:
        """Say which code the trials that have ended came from, where it is not the code that runs now."""
        ended = [trial.system_attrs.get(COMMIT_KEY) for trial in self.trials() if trial.state.is_finished()]
        others = Counter(commit for commit in ended if commit not in (None, self._commit))
        if self._commit is not None and others:
            listed = ", ".join(f"{count} at {commit}" for commit, count in others.most_common())
            log.info("Trials of other code: %s; now it is %s.", listed, self._commit)

    def _describe_growth(self) -> str:
        """Return in one line what a changed space leaves to do."""
        standing, grid = self.look().standing, self.search.grid
        keys = self.search.reader.read_keys(standing)
        inside = sum(self.search.reader.read(trial) is not None for trial in standing)
        if grid is not None:
            inside = len(keys.keys() & grid.keys())
        outside = len(standing) - inside
        new = f"{self._agenda.count_free(self.trials())} {'trials' if grid is None else 'new points'} to run"
        counted = "" if grid is not None else " that n_trials and the budget count"
        history = f", {outside} do not and stay as history{counted}" if outside else ""
        return f"{new}; {inside} trials there belong to the new space{history}."

    def claim(self) -> ClaimedTrial | None:
        """Take the next trial: an interrupted or promoted one, one that failed before, else a new one.

        Returns:
            The trial; None where there is nothing to do now.
        """
        with self._lock(self.name):
            self._take_over()
            if self.is_to_stop:
                return None
            trials = self.trials()
            step = self._agenda.choose(trials)
            while step is not None and step.trial is not None and not self._adapt(step):
                trials = self.trials()
                step = self._agenda.choose(trials)
            if step is None:
                return None
            trial = self._begin(step)
            if trial is None:
                return None
            self._note_claim(get_trial_id(trial))
            try:
                values = self.search.suggest(trial)
            except Exception as error:
                outcome = Outcome("failed", kind="exception", reason=f"no point drawn: {error}")
                self._fail(get_trial_id(trial), outcome)
                raise
        stored = self._storage.get_trial(get_trial_id(trial))
        steps, inherited = count_steps(stored), (find_origin(stored) or {"steps": 0})["steps"]
        return ClaimedTrial(trial, values, read_outcomes_of(stored), trials, steps if steps > inherited else 0)

    def _adapt(self, step: Step) -> bool:
        """Let a trial that goes on have its point under the names of the space as it is now.

        Returns:
            Whether it may go on; else it has ended as pruned: the space has changed, and its point is none of it.
        """
        trial = step.trial
        assert trial is not None
        if step.kind == "retry":
            return True
        if self.search.reader.is_left_behind(trial):
            reason = "the space has changed, and its point is none of it any more"
            self._give_up(trial, Outcome("pruned", reason=reason))
            log.info("Trial %d does not go on: the space has changed, and its point is none of it.", trial.number)
            return False
        point, fixed = self.search.reader.read(trial) or {}, trial.system_attrs.get("fixed_params", {})
        missing = {name: value for name, value in point.items() if name not in {**trial.params, **fixed}}
        if missing:
            self.write(get_trial_id(trial), "fixed_params", {**fixed, **missing})
        return True

    def _begin(self, step: Step) -> optuna.Trial | None:
        """Make a trial run, as `Study.ask` does; that would take any trial that waits, a paused one too.

        Returns:
            The trial; None where its own job, which stood in a launcher's queue, has just taken it up.
        """
        if step.kind == "retry":
            assert step.trial is not None
            self._enqueue_again(step.trial)
            trial_id = get_trial_id(self.trials()[-1])
        elif step.swap is not None:
            trial_id = self._copy(step.swap)
        elif step.trial is None:
            # By the study's own storage: it is the one given, or its cache, which has to know the trial.
            trial_id = get_storage(self._study).create_new_trial(get_study_id(self._study))
            return optuna.Trial(self._study, trial_id)
        else:
            trial_id = get_trial_id(step.trial)
        if step.kind == "promote":
            assert step.trial is not None
            pruner = self.search.pruner
            target = pruner.find_target(count_steps(step.trial)) if isinstance(pruner, Scheduler) else NO_RUNG
            self._storage.set_trial_system_attr(trial_id, TARGET_KEY, target)
        if not self._storage.set_trial_state_values(trial_id, TrialState.RUNNING):
            return None
        return optuna.Trial(self._study, trial_id)

    def _note_claim(self, trial_id: int) -> None:
        stored = self._storage.get_trial(trial_id)
        self._storage.set_trial_system_attr(trial_id, OWNER_KEY, self.owner)
        if self._budget.seconds is not None:  # a command that is killed before its next heartbeat has cost time too
            self._write_lease(self._lease.record())
        if self._commit is not None:
            self._storage.set_trial_system_attr(trial_id, COMMIT_KEY, self._commit)
        if stored.system_attrs.get(STOP_KEY) == OVER:  # it was; the budget has room for it again
            self._storage.set_trial_system_attr(trial_id, STOP_KEY, False)
        # The lease of an earlier job must not speak for the next job.
        if JOB_KEY in stored.system_attrs:
            self._storage.set_trial_system_attr(trial_id, JOB_KEY, None)
        pruner = self.search.pruner
        if not isinstance(pruner, Scheduler) or TARGET_KEY in stored.system_attrs:
            return
        if not (pruner.has_yardstick and self._is_first_start(stored)):
            self._storage.set_trial_system_attr(trial_id, TARGET_KEY, pruner.find_target(count_steps(stored)))

    def _is_first_start(self, trial: FrozenTrial) -> bool:
        """Return whether a trial is the first that was to be tried first, or stands for it after it had failed."""
        trials = self.trials()
        while REPLACES_KEY in trial.user_attrs:
            trial = trials[trial.user_attrs[REPLACES_KEY]]
        return trial.number == 0 and START_KEY in trial.user_attrs

    def _copy(self, swap: Swap) -> int:
        """Make a trial that goes on from another's checkpoint at a changed point; return its id.

        It takes the place of the one that loses, which is given up next: what it is stands in it from the beginning,
        so that a command which dies in between leaves nothing to mend.
        """
        origin, number = swap.origin, len(self.trials())
        assert isinstance(self.search.pruner, PopulationPruner)
        seed = derive_seed(self.search.options.sampler.get("seed"), number, 2)
        point = self.search.reader.read(origin)
        assert point is not None, "who is copied has a point of the space as it is now"
        distributions = {one.name: one.distribution for one in self.search.reader.space.active(point)}
        params = self.search.pruner.explore(point, distributions, random.Random(seed))
        if self.search.is_valid is not None and not self.search.is_valid(params):
            params = dict(point)
        reports = {
            key: value for key, value in origin.system_attrs.items() if key.startswith(VALUES_KEY.format(step=""))
        }
        continues = {"trial": origin.number, "steps": count_steps(origin), "place_of": swap.loser.number}
        trial = optuna.trial.create_trial(
            state=TrialState.WAITING,
            intermediate_values=origin.intermediate_values,
            system_attrs={**reports, "fixed_params": {**self._read_own(origin), **params}, CONTINUES_KEY: continues},
        )
        self._study.add_trial(trial)
        log.info(
            "Trial %d goes on from trial %d after %d reports, in the place of trial %d.",
            *(number, origin.number, continues["steps"], swap.loser.number),
        )
        return get_trial_id(self.trials()[-1])

    def give_up_paused(self, *, is_over: bool) -> list[FrozenTrial]:
        """Prune the paused trials that nobody will promote any more: all where the study is over, else the excess."""
        pruner = self.search.pruner
        if not isinstance(pruner, Scheduler):
            return []
        maximize = self.search.repeats.maximize
        if not is_over and not pruner.list_excess(self.look().standing, maximize=maximize):
            return []
        given_up = []
        with self._lock(self.name):
            trials = self.trials()
            if not is_over:
                paused = pruner.list_excess(self.look(trials).standing, maximize=maximize)
            else:
                paused = self.look(trials).list_open("paused") if self._agenda.is_done(trials) else []
            for trial in paused:
                reason = f"not promoted after {count_steps(trial)} reports"
                outcome = Outcome("pruned", reason=reason, seconds=read_outcomes_of(trial)[0].seconds)
                self._give_up(trial, outcome)
                given_up.append(self.read(get_trial_id(trial)))
        return given_up

    def _give_up(self, trial: FrozenTrial, outcome: Outcome) -> None:
        """End a trial that waits."""
        trial_id = get_trial_id(trial)
        self._storage.set_trial_state_values(trial_id, TrialState.RUNNING)
        self.write(trial_id, OUTCOME_KEY.format(repeat=0), outcome.to_json())
        self._tell(trial, outcome)

    def look(self, trials: Sequence[FrozenTrial] | None = None) -> Ledger:
        """Return how the trials stand.

        Args:
            trials: All trials, where the caller has read them already.
        """
        return self._agenda.follow(self.trials() if trials is None else trials)

    def describe_left(self) -> str:
        """Return which trials wait though nothing is left to do: number or budget have no room; empty: none does."""
        ledger = self.look()
        first = len(ledger.list_first())
        parts = {"were to be tried first": first, "were interrupted": ledger.counts["waiting"] - first}
        told = " and ".join(f"{what} ({count})" for what, count in parts.items() if count)
        return f"Left out, as n_trials or the budget has no room for them: trials that {told}." if told else ""

    def list_failed(self) -> list[FrozenTrial]:
        """List the trials without a result that the study is to have one of, and that may be tried again."""
        return self._agenda.list_failed(self.trials())

    def _read_own(self, trial: FrozenTrial) -> dict[str, Any]:
        """Return what the application's own space drew of a trial."""
        return {key: value for key, value in trial.params.items() if name_key(key) not in self.search.reader.searched}

    def _enqueue_again(self, trial: FrozenTrial) -> None:
        point = {**self._read_own(trial), **(self.search.reader.read(trial) or {})}
        kept = {START_KEY: trial.user_attrs[START_KEY]} if START_KEY in trial.user_attrs else {}
        self._study.enqueue_trial(point, user_attrs={REPLACES_KEY: trial.number, **kept})
        anew = "" if find_origin(trial) is None else ", from the beginning: it was a copy, whose origin has gone on"
        log.info("Trial %d failed before; its point is tried again%s.", trial.number, anew)

    def spent(self, trials: Sequence[FrozenTrial] | None = None) -> Spending:
        """Measure what the study has cost so far."""
        attributes = self._storage.get_study_system_attrs(get_study_id(self._study))
        known = self.trials() if trials is None else trials
        return self._meter.measure(known, list_commands(attributes), own=self.owner)

    @property
    def deadline(self) -> float | None:
        """When the budget of time is over, if this command goes on: seconds since 1970; None: there is none."""
        left = self.seconds_left()
        return None if left is None else time.time() + left

    @property
    def is_over(self) -> bool:
        """Whether the budget of time is over."""
        left = self.seconds_left()
        return left is not None and left <= 0

    @property
    def is_overdue(self) -> bool:
        """Whether jobs run on for too long after the budget of time."""
        deadline = self.deadline
        return deadline is not None and time.time() > deadline + self._budget.overtime_seconds()

    def end_at_report(self, trial_id: int) -> None:
        """Ask a running trial to end at its next report, as the budget of time is over."""
        self.write(trial_id, STOP_KEY, OVER)

    def seconds_left(self) -> float | None:
        """Return the wall time that is left of the budget; None where it has none."""
        return self._budget.seconds_left(self.spent()) if self._budget.seconds is not None else None

    def describe_budget(self) -> str | None:
        """Return how much of the budget is used, for people; None where there is none."""
        return self._budget.write(self.spent()) if self._budget else None

    def settle(self, trial_id: int, outcome: Outcome) -> bool:
        """Tell the study how a trial ended; return whether that counts: another command may have taken it over."""
        with self._lock(self.name):
            stored = self._storage.get_trial(trial_id)
            if stored.state.is_finished() or stored.system_attrs.get(OWNER_KEY) != self.owner:
                # This process was silent for so long that another took its trial over; the other one's result counts.
                log.warning("Trial %d was taken over by another process; its result here is dropped.", stored.number)
                return False
            if stored.state == TrialState.WAITING:  # given up for dead, but not started again yet
                self._storage.set_trial_state_values(trial_id, TrialState.RUNNING)
            self._tell(stored, outcome)
            return True

    def release(self, trial_id: int) -> None:
        """Give a trial back that was stopped: it waits, with its parameters, for the next process.

        If its jobs ended all the same, just before they were stopped, their result counts.
        """
        with self._lock(self.name):
            stored = self._storage.get_trial(trial_id)
            if stored.state == TrialState.RUNNING and stored.system_attrs.get(OWNER_KEY) == self.owner:
                self._tell_or_requeue(stored)

    def read_outcomes(self, trial_id: int) -> dict[int, Outcome]:
        """Return what the trial's jobs have kept, by repeat."""
        return read_outcomes_of(self._storage.get_trial(trial_id))

    def read(self, trial_id: int) -> FrozenTrial:
        """Return one trial as it stands."""
        return self._storage.get_trial(trial_id)

    def read_progress(self, trial_id: int) -> str:
        """Return what changes whenever a trial's job gets on."""
        trial = self._storage.get_trial(trial_id)
        return f"{trial.system_attrs.get(PROGRESS_KEY)} {len(trial.intermediate_values)} {sorted(trial.user_attrs)}"

    def read_seconds(self, trial_id: int, repeat: int) -> float:
        """Return for how long a trial's job has run, earlier attempts included."""
        return read_seconds(self._storage.get_trial(trial_id), repeat)

    def trials(self) -> list[FrozenTrial]:
        """List all trials; they are the storage's own, not to be changed."""
        return self._study.get_trials(deepcopy=False)

    def count(self) -> Counter[str]:
        """Count the trials by state: complete, pruned, fail, running, waiting, paused."""
        return self.look().counts

    @property
    def is_served(self) -> bool:
        """Whether all trials have ended, but those that are paused for good."""
        return self._agenda.is_done(self.trials())

    @property
    def is_to_stop(self) -> bool:
        """Whether a person asked, since this command began, that no more trials start; see `study.stop`."""
        stopped = self._storage.get_study_system_attrs(get_study_id(self._study)).get(STOP_KEY)
        return isinstance(stopped, list) and self.owner in stopped  # an earlier version stored a flag

    def count_total(self, trials: Sequence[FrozenTrial]) -> int | None:
        """Return the trials of the study in the end, those of an earlier space included; None: its budget decides."""
        return self._agenda.count_total(trials)

    def best(self) -> list[FrozenTrial]:
        """Return the best trial, or the Pareto front."""
        return self.look().best

    def show(self, trial: FrozenTrial) -> FrozenTrial:
        """Return a trial as people know it: with all that is searched now, by override keys."""
        shown = copy.copy(trial)
        shown.params = show_values({**trial.params, **(self.search.reader.read(trial) or {})})
        return shown

    def note(self, trial_id: int, key: str, value: Any) -> None:
        """Write a user attribute of a trial."""
        self._storage.set_trial_user_attr(trial_id, key, value)

    def take_over(self, trial_id: int, repeat: int, outcome: Outcome, described: Mapping[str, float]) -> Outcome:
        """Let a repeat, whose job does not run, have the result of an equal one.

        Args:
            trial_id: Its trial.
            repeat: The repeat.
            outcome: The equal job's result, and where it is from.
            described: What the equal job described beside its objectives.

        Returns:
            How the repeat ends: the pruner may end its trial, as if the job had run.
        """
        write_described(self._storage, trial_id, repeat, described)
        try:
            finish_repeat(self._study, trial_id, repeat, outcome.values[0], is_last=self._is_last(repeat))
        except RunPruned as error:
            outcome = replace(outcome, state="pruned", values=(), reason=str(error))
        self.write(trial_id, OUTCOME_KEY.format(repeat=repeat), outcome.to_json())
        return outcome

    def write(self, trial_id: int, key: str, value: Any) -> None:
        """Write a system attribute of a trial."""
        self._storage.set_trial_system_attr(trial_id, key, value)

    def _create(self) -> optuna.Study:
        options = self.search.options
        with self._lock(options.known_name or "unnamed"), warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # of samplers and pruners that people chose
            study = optuna.create_study(
                storage=self._storage,
                study_name=options.known_name,
                directions=[StudyDirection[direction.upper()] for direction in options.direction],
                sampler=self.search.sampler,
                pruner=self.search.pruner,
                load_if_exists=True,
            )
            if options.metric_names is not None and study.metric_names is None:
                study.set_metric_names(options.metric_names)
        return study

    def _lock(self, name: str) -> AbstractContextManager[None]:
        """Return the lock that all processes of the study share."""
        return hold_study(self._storage_url, self.search.study_dir, name)

    def _take_over(self) -> None:
        """Deal with running trials whose processes are dead: settle what they finished, let the rest run again."""
        for trial in self.look().list_open("running"):
            if self._is_dead(trial):
                if self._drop_undescribed(trial):
                    log.info("Trial %d is run again: it did not describe what a limit is on.", trial.number)
                elif self._tell_or_requeue(trial):
                    log.info("Trial %d had finished when its process died; its result counts.", trial.number)
                elif trial.system_attrs.get(JOB_KEY) is None:
                    log.info("Trial %d is run: its process died before it had begun.", trial.number)
                elif not self._count_death(trial):
                    log.info("Trial %d is run again: its process is dead.", trial.number)

    def _drop_undescribed(self, trial: FrozenTrial) -> bool:
        """Let a trial run again that came to its end without a number that no trial has described, but a limit is on.

        Its command ended for that. Either the name was wrong, and has been corrected, or the application is mended.
        """
        outcomes = read_outcomes_of(trial)
        outcome = finish(outcomes, self.search.repeats)
        if outcome is None:
            return False
        try:
            hold_to_limits(trial, outcome, self.search.options.limits, self.trials)
        except LimitError:
            for repeat in outcomes:
                self.write(get_trial_id(trial), OUTCOME_KEY.format(repeat=repeat), None)
            self._storage.set_trial_state_values(get_trial_id(trial), TrialState.WAITING)
            return True
        return False

    def _count_death(self, trial: FrozenTrial) -> bool:
        """Count the deaths of commands that ran a trial; return whether they are too many, and it has failed.

        A trial that takes more memory than there is may end its whole command, at every start.
        """
        deaths, limit = trial.system_attrs.get(DEATHS_KEY, 0) + 1, self.search.options.max_attempts
        self.write(get_trial_id(trial), DEATHS_KEY, deaths)
        if deaths < limit:
            return False
        reason = f"{deaths} commands died while they ran it (hydra.sweeper.max_attempts={limit})"
        self._storage.set_trial_state_values(get_trial_id(trial), TrialState.RUNNING)
        self._fail(get_trial_id(trial), Outcome("failed", kind="worker_died", reason=reason))
        log.warning("Trial %d has failed: %s.", trial.number, reason)
        return True

    def _tell_or_requeue(self, trial: FrozenTrial) -> bool:
        """Settle a trial that nobody works on any more by what its jobs left, else let it run again."""
        outcome = finish(read_outcomes_of(trial), self.search.repeats)
        if outcome is None:
            self._storage.set_trial_state_values(get_trial_id(trial), TrialState.WAITING)
            return False
        self._tell(trial, outcome)
        return True

    def _is_dead(self, trial: FrozenTrial) -> bool:
        """Return whether nobody works on a trial.

        Claims write the owner under the lock, so a trial without one belongs to a claim that was cut off.
        """
        owner = trial.system_attrs.get(OWNER_KEY)
        if owner == self.owner:
            return False
        job = find_job(trial)
        if job is not None and not self._watch.is_dead(job):
            return False
        attributes = self._storage.get_study_system_attrs(get_study_id(self._study))
        controller = attributes.get(CONTROLLER_KEY.format(id=owner))
        return controller is None or self._watch.is_dead(controller)

    def _tell(self, trial: FrozenTrial, outcome: Outcome) -> None:
        trial_id = get_trial_id(trial)
        outcome, excess = hold_to_limits(trial, outcome, self.search.options.limits, self.trials)
        if outcome.state != "failed":  # of a pause too: who breaks a limit is not to be promoted before others
            for name, above in excess.items():  # for Optuna's samplers, and its choice of the best
                self.write(trial_id, CONSTRAINT_KEY.format(name=name), above)
            for name, mean in read_described(trial).items():
                if trial.user_attrs.get(name) != mean:
                    self.note(trial_id, name, mean)
        source = self._find_source(trial) if outcome.state == "complete" else None
        for key, value in (("reused_from", source), ("adopted_from", outcome.adopted_from)):
            if value is not None:
                self.note(trial_id, key, value)
        if outcome.state == "failed":
            self._fail(trial_id, outcome)
        elif outcome.state == "pruned":
            self._study.tell(trial.number, state=TrialState.PRUNED)
        elif outcome.state == "paused":
            self._storage.set_trial_state_values(trial_id, TrialState.WAITING)
        else:
            self._study.tell(trial.number, list(outcome.values))

    def _find_source(self, trial: FrozenTrial) -> int | None:
        """Return the equal trial whose result a trial shares: it ran no job, and has the results of the same ones."""
        count = self.search.repeats.count
        jobs = list_jobs(trial, count)
        owners = sorted({job // count for job in jobs})
        if trial.number in owners:
            return None
        trials = self.trials()
        complete = (number for number in owners if trials[number].state == TrialState.COMPLETE)
        return next((number for number in complete if list_jobs(trials[number], count) == jobs), None)

    def _fail(self, trial_id: int, outcome: Outcome) -> None:
        for key in ("kind", "reason", "traceback"):
            value = getattr(outcome, key)
            if value:
                self.note(trial_id, f"failure.{key}", value)
        self._study.tell(self._storage.get_trial(trial_id).number, state=TrialState.FAIL)

    def _write_lease(self, record: Mapping[str, Any]) -> None:
        key = CONTROLLER_KEY.format(id=record["id"])
        self._storage.set_study_system_attr(get_study_id(self._study), key, dict(record))
