"""A study in its storage, shared by any number of processes, as one of them holds it, and how a command joins it.

To join is to compare the search with the stored definition, to store the grown one, and to log the changes.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial, TrialState

from sentiment.format import format_count, format_duration
from sentiment.search.budget import Spending
from sentiment.search.space.parameters import LabelledPoint, show_values
from sentiment.search.space.points import TARGET_KEY, TakenPoints, make_key
from sentiment.search.storage.lease import HEARTBEAT_SECONDS, SILENT_SECONDS, Heartbeat
from sentiment.search.study.agenda import Agenda, Ledger
from sentiment.search.study.definition import (
    Definition,
    GrowingSearch,
    Searched,
    compare,
    describe_other_way,
    refuse_foreign_trials,
    require_same_limits,
    require_same_results,
)
from sentiment.search.study.outcome import Outcome
from sentiment.search.study.population import find_origin
from sentiment.search.study.rungs import Scheduler
from sentiment.search.study.spending import BUDGET_KEY, Meter
from sentiment.search.study.stored.claims import ClaimedTrial, claim
from sentiment.search.study.stored.endings import release, settle
from sentiment.search.study.stored.store import CONTROLLER_KEY, DEFINITION_KEY, START_KEY, TrialStore, list_commands
from sentiment.search.study.trial import OVER, PROGRESS_KEY, STOP_KEY, TrialAddress, read_folder

log = logging.getLogger(__name__)


class StoredStudy:
    """One process' hold on a study; use as a context manager.

    Args:
        store: The study's trials.
        search: What is searched.

    Attributes:
        search: What is searched.
        agenda: Decides what comes next.
        name: Name of the study.
    """

    def __init__(self, store: TrialStore, search: Searched) -> None:
        self.store = store
        self.name = store.name
        self._budget = search.options.limit
        self._heartbeat = Heartbeat(store.write_lease, store.lease, HEARTBEAT_SECONDS)
        self._failed_before = {trial.number for trial in store.trials() if trial.state == TrialState.FAIL}
        self._plan(search)

    def _plan(self, search: Searched) -> None:
        self.search = search
        self.agenda = Agenda(search, self._failed_before, self.spent, lambda: self.store.is_redefined)
        self._meter = Meter(search.repeats.count, search.pruner, search.reader)

    def __enter__(self) -> StoredStudy:
        self._heartbeat.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._heartbeat.stop()
        self.store.lease.is_ending = True
        self.store.write_lease(self.store.lease.record())  # until when it was at work
        self.store.lease.release()

    def address_of(self, claimed: ClaimedTrial, repeat: int) -> TrialAddress:
        """Return where the job of a repeat finds its trial."""
        stored, options = self.store.read(claimed.trial_id), self.search.options
        origin = find_origin(stored)
        return TrialAddress(
            storage_url=self.store.url,
            study_dir=self.search.study_dir,
            study_name=self.name,
            trial_id=claimed.trial_id,
            number=claimed.number,
            repeat=repeat,
            owner=self.store.owner,
            pruner=self.search.pruner,
            deadline=self.deadline,
            margin=options.margin,
            is_last=repeat == self.search.repeats.count - 1,
            target=stored.system_attrs.get(TARGET_KEY) if repeat == 0 else None,
            origin=None if origin is None else read_folder(self.trials()[origin["trial"]], self.search.study_dir),
            limited=tuple(options.limits),
            grace_seconds=options.grace_seconds,
        )

    def define(self, search: GrowingSearch) -> None:
        """Hold the search against the stored definition, store it where it is new, and search as the study knows it.

        Raises:
            StudyChangedError: They differ in more than the space, and changes are not allowed.
        """
        grown, changes = join(self.store, search)
        self._plan(grown)
        self.store.write_attribute(BUDGET_KEY, asdict(self._budget))
        if changes:
            log.info("Study %s has changed: %s", self.name, "; ".join(changes))
            log.info("%s", describe_growth(grown, self.agenda, self.trials()))

    def claim(self) -> ClaimedTrial | None:
        """Take the next trial; None where there is nothing to do now."""
        return claim(self.store, self.search, self.agenda)

    def settle(self, trial_id: int, outcome: Outcome) -> bool:
        """Tell the study how a trial ended; return whether that counts: another command may have taken it over."""
        return settle(self.store, self.search, trial_id, outcome)

    def release(self, trial_id: int) -> None:
        """Give a trial back that was stopped: it waits, with its parameters, for the next process."""
        release(self.store, self.search, trial_id)

    def trials(self) -> list[FrozenTrial]:
        """List all trials; they are the storage's own, not to be changed."""
        return self.store.trials()

    def look(self, trials: Sequence[FrozenTrial] | None = None) -> Ledger:
        """Return how the trials stand.

        Args:
            trials: All trials, where the caller has read them already.
        """
        return self.agenda.follow(self.trials() if trials is None else trials)

    @property
    def is_served(self) -> bool:
        """Whether every trial of this command has ended or stays paused."""
        return self.agenda.is_served(self.trials())

    def describe_left(self) -> Iterator[str]:
        """Tell of trials that have not ended though this command has nothing left to do: a line of each kind."""
        ledger = self.look()
        waiting = self.agenda.leave_to_others(ledger.list_open("waiting"))
        first = sum(trial.datetime_start is None for trial in waiting)
        all_paused = ledger.list_open("paused")
        paused = self.agenda.leave_to_others(all_paused)
        promotes = isinstance(self.search.pruner, Scheduler)  # else they go on as what was interrupted does
        parts = {
            "were to be tried first": first,
            "were interrupted": len(waiting) - first,
            "are paused": 0 if promotes else len(paused),
        }
        if told := " and ".join(f"{what} ({count})" for what, count in parts.items() if count):
            yield f"Left out, as n_trials or the budget has no room for them: trials that {told}."
        if ledger.counts["running"]:
            yield f"Run on for other commands: {format_count(ledger.counts['running'], 'trial')}."
        if paused and promotes:
            trials, soon = format_count(len(paused), "trial"), format_duration(SILENT_SECONDS)
            yield f"Left paused: {trials}, for another command. Unless one was heard of in the last {soon}, this one " \
                "ends them when it is started again."  # fmt: skip
        if theirs := len(all_paused) - len(paused):
            yield f"Left paused: {format_count(theirs, 'trial')}, for a later command that has changed the space."

    def describe_end(self) -> str:
        """Return why the study ends though its budget may have room, and what of it is used; empty: the budget did."""
        reason = self.agenda.explain_end(self.trials())
        return f"{reason}: the study ends with {self.describe_budget()}." if reason else ""

    def show(self, trial: FrozenTrial) -> FrozenTrial:
        """Return a trial as people know it: with all that is searched now, by override keys."""
        shown = copy.copy(trial)
        shown.params = show_values({**trial.params, **(self.search.reader.read(trial) or {})})
        return shown

    def read_progress(self, trial_id: int) -> str:
        """Return what changes whenever a trial's job gets on."""
        trial = self.store.read(trial_id)
        return f"{trial.system_attrs.get(PROGRESS_KEY)} {len(trial.intermediate_values)} {sorted(trial.user_attrs)}"

    def end_at_report(self, trial_id: int) -> None:
        """Ask a trial of this command to end at its next report, as the budget of time is over."""
        with self.store.lock():
            if self.store.find_own(trial_id) is not None:
                self.store.write(trial_id, STOP_KEY, OVER)

    def spent(self, trials: Sequence[FrozenTrial] | None = None) -> Spending:
        """Measure what the study has cost so far."""
        known = self.trials() if trials is None else trials
        own = {CONTROLLER_KEY.format(id=self.store.owner): self.store.lease.record()}  # its time runs on
        return self._meter.measure(known, list_commands(self.store.read_attributes() | own))

    def seconds_left(self) -> float | None:
        """Return the wall time that is left of the budget; None where it has none."""
        return self._budget.seconds_left(self.spent()) if self._budget.seconds is not None else None

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
        left = self.seconds_left()
        return left is not None and -left > self._budget.overtime_seconds()

    def describe_budget(self) -> str | None:
        """Return how much of the budget is used, for people; None where there is none."""
        return self._budget.write(self.spent()) if self._budget else None


def join(store: TrialStore, search: GrowingSearch) -> tuple[GrowingSearch, list[str]]:
    """Hold a search against the stored definition, store it where it is new, and let its first points be tried.

    Returns:
        The search as the study knows it, and what has changed in its space.

    Raises:
        StudyChangedError: They differ in more than the space, and changes are not allowed; or nobody knows how they
            differ, as another program made the study's trials.
    """
    with store.lock():
        content, names = store.read_attributes().get(DEFINITION_KEY), search.options.metric_names
        now, changes = settle_definition(search, store.study, content, store.trials())
        if names is not None and (content is None or store.study.metric_names is None):
            store.name_objectives(names)
        store.define(now.to_json())
        grown = search.continue_from(now)
        store.study.sampler = grown.sampler
        trials = store.trials()
        if search.options.extend is not None or not any(trial.datetime_start for trial in trials):
            _enqueue(store, grown, (grown if trials else search).list_starts(), trials)
    return grown, changes


def settle_definition(
    search: GrowingSearch,
    study: optuna.Study | None,
    content: Mapping[str, Any] | None,
    trials: Sequence[FrozenTrial],
) -> tuple[Definition, list[str]]:
    """Hold a search against a study's definition.

    Args:
        search: What is searched; its options say whether fixed settings may differ.
        study: The study; None: there is none yet.
        content: The definition that is stored; None: the study is new, or another program's.
        trials: The study's trials.

    Returns:
        The definition with which the study goes on, and what has changed in its space.

    Raises:
        StudyChangedError: They differ in more than the space, and changes are not allowed; or nobody knows how they
            differ, as another program made the study's trials.
    """
    now, changes = search.describe(), list[str]()
    if study is not None:
        name, directions = study.study_name, [direction.name.lower() for direction in study.directions]
        require_same_results(name, replace(now, directions=directions), now)  # Optuna keeps those that it has
        if content is None and any(trial.datetime_start for trial in trials):
            raise refuse_foreign_trials(name)
    if study is not None and content is not None:
        stored = replace(search.read_definition(content), objectives=study.metric_names or ())
        if any(trial.state == TrialState.COMPLETE or trial.constraints for trial in trials):
            require_same_limits(name, stored, now)
        changes = compare(name, stored, now, search.options.ignore, allow_changes=search.options.allow_changes)
        if other := describe_other_way(name, stored, now):
            log.warning("%s", other)
        now = now.follow(stored)
        now = replace(now, names=stored.names or _read_names(trials, stored.space))
    return replace(now, names=search.find_names(now.names)), changes


def _read_names(trials: Sequence[FrozenTrial], space: Collection[str]) -> dict[str, str]:
    """Return the parameters of a study that an earlier version stored, which did not write them down."""
    found = {name: one for trial in trials for name, one in trial.distributions.items() if name in space}
    return {name: distribution_to_json(distribution) for name, distribution in found.items()}


def _enqueue(
    store: TrialStore, search: Searched, starts: Sequence[LabelledPoint], trials: Sequence[FrozenTrial]
) -> None:
    """Let points be tried first that no trial was to try; a command may have died between two of them."""
    known = {make_key(trial.system_attrs.get("fixed_params", {})) for trial in trials}
    starts = [start for start in starts if make_key(start.point) not in known]
    room = max(0, search.total - len(Ledger(search.options.direction).follow(trials)))
    if search.options.extend is not None and starts[room:]:
        log.warning(
            "Not extended: %s. The study is to have %d trials, and has extended others; name more, as in "
            "hydra.sweeper.extend=STUDY:%d.",
            "; ".join(start.label for start in starts[room:]), search.total, search.total + 1,
        )  # fmt: skip
    starts = starts[:room]
    for start in starts:
        store.study.enqueue_trial(start.point, user_attrs={START_KEY: start.label})
    if starts:
        log.info("Tried first: %s.", "; ".join(start.label for start in starts))


def describe_growth(search: Searched, agenda: Agenda, trials: Sequence[FrozenTrial]) -> str:
    """Return in one line what a changed space leaves to do."""
    standing, grid = agenda.follow(trials).standing, search.grid
    if grid is None:
        inside = sum(search.reader.read(trial) is not None for trial in standing)
    else:
        inside = len(TakenPoints(search.reader, grid).follow(standing))
    outside = len(standing) - inside
    new = f"{agenda.count_free(trials)} {'trials' if grid is None else 'new points'} to run"
    counted = "" if grid is not None else " that n_trials and the budget count"
    history = f", {outside} do not and stay as history{counted}" if outside else ""
    return f"{new}; {inside} trials there belong to the new space{history}."
