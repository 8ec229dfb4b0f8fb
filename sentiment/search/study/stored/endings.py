"""How trials end: those that a command runs, those of dead commands, and those that wait for no promotion.

What the end of its jobs makes of a trial is written by the command that ends it, and shown by readers of the study.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from sentiment.errors import RunPruned
from sentiment.format import format_count
from sentiment.private import get_trial_id
from sentiment.search.study.agenda import Agenda, Ledger
from sentiment.search.study.definition import Searched
from sentiment.search.study.limits import CONSTRAINT_KEY, LimitError, hold_to_limits
from sentiment.search.study.outcome import (
    OUTCOME_KEY,
    Outcome,
    RepeatPlan,
    finish,
    list_jobs,
    read_described,
    read_outcomes_of,
    write_described,
)
from sentiment.search.study.population import PopulationPruner, find_origin
from sentiment.search.study.rungs import Scheduler, count_steps
from sentiment.search.study.stored.store import TrialStore
from sentiment.search.study.trial import find_job, finish_repeat, read_seconds

log = logging.getLogger(__name__)

DEATHS_KEY = "study:deaths"
"""System attribute of a trial: how many commands died while they ran it."""

ENDS = {
    "complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL,
    "paused": TrialState.WAITING,
}  # fmt: skip
"""The state that a study gives a trial for how its jobs ended."""


def end(store: TrialStore, search: Searched, trial: FrozenTrial, outcome: Outcome) -> None:
    """Tell the study how a trial, which runs, ended, or that it pauses."""
    trial_id = get_trial_id(trial)
    concluded = conclude(trial, outcome, search.repeats, search.options.limits, store.trials)
    for key, value in concluded.attributes.items():
        store.write(trial_id, key, value)
    for key, value in concluded.notes.items():
        store.note(trial_id, key, value)
    if concluded.state == TrialState.WAITING:
        store.set_state(trial_id, TrialState.WAITING)
    elif concluded.state == TrialState.COMPLETE:
        store.study.tell(trial.number, list(concluded.values))
    else:
        store.study.tell(trial.number, state=concluded.state)


def keep_outcome(store: TrialStore, trial_id: int, repeat: int, outcome: Outcome) -> None:
    """Keep how a job ended that could not write it itself, with the time that it ran as its heartbeats told it."""
    with store.lock():
        stored = store.find_own(trial_id)
        if stored is not None:
            _write_outcome(store, stored, repeat, outcome)


def _write_outcome(store: TrialStore, trial: FrozenTrial, repeat: int, outcome: Outcome) -> None:
    kept = replace(outcome, seconds=read_seconds(trial, repeat))
    store.write(get_trial_id(trial), OUTCOME_KEY.format(repeat=repeat), kept.to_json())


def settle(store: TrialStore, search: Searched, trial_id: int, outcome: Outcome) -> bool:
    """Tell the study how a trial ended; return whether that counts: another command may have taken it over."""
    with store.lock():
        stored = store.find_own(trial_id)
        if stored is None:
            number = store.read(trial_id).number
            log.warning("Trial %d was taken over by another process; its result here is dropped.", number)
            return False
        if stored.state == TrialState.WAITING:  # given up for dead, but not started again yet
            store.set_state(trial_id, TrialState.RUNNING)
        kept = read_outcomes_of(stored)
        if outcome.state == "pruned" and all(one.state == "complete" for one in kept.values()):  # no job has said why
            _write_outcome(store, stored, len(kept), outcome)
        end(store, search, stored, outcome)
        return True


def release(store: TrialStore, search: Searched, trial_id: int) -> None:
    """Give a trial back that was stopped: it waits, with its parameters, for the next process.

    If its jobs ended all the same, just before they were stopped, their result counts.
    """
    with store.lock():
        stored = store.find_own(trial_id)
        if stored is not None and stored.state == TrialState.RUNNING:
            _end_or_requeue(store, search, stored)


def _end_or_requeue(store: TrialStore, search: Searched, trial: FrozenTrial) -> bool:
    """End a trial that nobody works on any more by what its jobs left, else let it run again."""
    outcome = finish(read_outcomes_of(trial), search.repeats)
    if outcome is None:
        store.set_state(get_trial_id(trial), TrialState.WAITING)
        return False
    end(store, search, trial, outcome)
    return True


def take_over_dead(store: TrialStore, search: Searched, ledger: Ledger) -> None:
    """Deal with running trials whose processes are dead: settle what they finished, let the rest run again."""
    for trial in ledger.list_open("running"):
        if store.is_dead(trial):
            if _drop_undescribed(store, search, trial):
                log.info("Trial %d is run again: it did not describe what a limit is on.", trial.number)
            elif _end_or_requeue(store, search, trial):
                log.info("Trial %d had finished when its process died; its result counts.", trial.number)
            elif find_job(trial) is None:  # as between two repeats: a launcher's jobs end well without their command
                log.info("Trial %d goes on: none of its jobs was at work when its process ended.", trial.number)
            elif not _count_death(store, search, trial):
                log.info("Trial %d is run again: its process is dead.", trial.number)


def _drop_undescribed(store: TrialStore, search: Searched, trial: FrozenTrial) -> bool:
    """Let a trial run again that came to its end without a number that no trial has described, but a limit is on.

    Its command ended for that. Either the name was wrong, and has been corrected, or the application is mended.
    """
    outcomes = read_outcomes_of(trial)
    outcome = finish(outcomes, search.repeats)
    if outcome is None:
        return False
    try:
        hold_to_limits(trial, outcome, search.options.limits, store.trials)
    except LimitError:
        for repeat in outcomes:
            store.write(get_trial_id(trial), OUTCOME_KEY.format(repeat=repeat), None)
        store.set_state(get_trial_id(trial), TrialState.WAITING)
        return True
    return False


def _count_death(store: TrialStore, search: Searched, trial: FrozenTrial) -> bool:
    """Count the deaths of commands that ran a trial; return whether they are too many, and it has failed.

    A trial that takes more memory than there is may end its whole command, at every start.
    """
    deaths, limit = trial.system_attrs.get(DEATHS_KEY, 0) + 1, search.options.max_attempts
    store.write(get_trial_id(trial), DEATHS_KEY, deaths)
    if deaths < limit:
        return False
    reason = f"{deaths} commands died while they ran it (hydra.sweeper.max_attempts={limit})"
    store.set_state(get_trial_id(trial), TrialState.RUNNING)
    end(store, search, trial, Outcome("failed", kind="worker_died", reason=reason))
    log.warning("Trial %d has failed: %s.", trial.number, reason)
    return True


def give_up_paused(store: TrialStore, search: Searched, agenda: Agenda, *, is_over: bool) -> list[FrozenTrial]:
    """Prune the paused trials that nobody will promote any more: all where the study is over, else the excess.

    The study is over for the last of its commands: to others their paused trials may yet be of use.
    """
    pruner = search.pruner
    if not isinstance(pruner, Scheduler):
        return []
    maximize = search.repeats.maximize
    if not is_over and not pruner.list_excess(agenda.follow(store.trials()).compared, maximize=maximize):
        return []
    given_up = []
    with store.lock():
        trials = store.trials()
        ledger = agenda.follow(trials)
        if not is_over:
            paused = pruner.list_excess(ledger.compared, maximize=maximize)
        else:
            is_end = store.is_last() and agenda.is_done(trials)
            paused = agenda.leave_to_others(ledger.list_open("paused")) if is_end else []
        copies = ((trial.number, find_origin(trial)) for trial in trials)
        taken = {
            origin["place_of"]: f"trial {number}, a copy of trial {origin['trial']}, took its place"
            for number, origin in copies
            if origin is not None
        }
        word = "continued" if isinstance(pruner, PopulationPruner) else "promoted"
        for trial in paused:
            reason = taken.get(trial.number, f"not {word} after {format_count(count_steps(trial), 'report')}")
            outcome = Outcome("pruned", reason=reason, seconds=read_outcomes_of(trial)[0].seconds)
            give_up(store, search, trial, outcome)
            given_up.append(store.read(get_trial_id(trial)))
    return given_up


def give_up(store: TrialStore, search: Searched, trial: FrozenTrial, outcome: Outcome) -> None:
    """End a trial that waits."""
    trial_id = get_trial_id(trial)
    store.take(trial_id)
    store.write(trial_id, OUTCOME_KEY.format(repeat=0), outcome.to_json())
    end(store, search, trial, outcome)


def give_result(
    store: TrialStore, search: Searched, trial_id: int, repeat: int, outcome: Outcome, described: Mapping[str, float]
) -> Outcome:
    """Let a repeat, whose job does not run, have the result of an equal one.

    Args:
        store: The study.
        search: What is searched.
        trial_id: The trial.
        repeat: The repeat.
        outcome: The equal job's result, and where it is from.
        described: What the equal job described beside its objectives.

    Returns:
        How the repeat ends: the pruner may end its trial, as if the job had run.
    """
    write_described(store.storage, trial_id, repeat, described)
    is_last = repeat == search.repeats.count - 1
    try:
        finish_repeat(store.study, trial_id, repeat, outcome.values[0], is_last=is_last)
    except RunPruned as error:
        outcome = replace(outcome, state="pruned", values=(), reason=str(error))
    store.write(trial_id, OUTCOME_KEY.format(repeat=repeat), outcome.to_json())
    return outcome


@dataclass(frozen=True)
class Conclusion:
    """What the end of its jobs makes of a trial."""

    state: TrialState  # how it ends; waiting: it is paused
    values: tuple[float, ...]  # its objectives, where complete
    attributes: Mapping[str, float]  # system attributes that it gets: by how much it is above each limit
    # User attributes that it gets: what its jobs described, whose result it has, why it failed.
    notes: Mapping[str, Any]


def conclude(
    trial: FrozenTrial,
    outcome: Outcome,
    repeats: RepeatPlan,
    limits: Mapping[str, float],
    list_trials: Callable[[], Sequence[FrozenTrial]],
) -> Conclusion:
    """Return what the end of its jobs makes of a trial.

    Args:
        trial: The trial.
        outcome: How its jobs ended.
        repeats: The study's seeds of a point.
        limits: Its limits.
        list_trials: Lists all its trials.

    Raises:
        LimitError: No trial has ever described a number that has a limit.
    """
    outcome, excess = hold_to_limits(trial, outcome, limits, list_trials)
    notes: dict[str, Any] = {}
    if outcome.state == "failed":
        notes = {f"failure.{key}": getattr(outcome, key) for key in ("kind", "reason", "traceback")}
    else:  # of a pause too: who breaks a limit is not to be promoted before others
        notes = {name: mean for name, mean in read_described(trial).items() if trial.user_attrs.get(name) != mean}
    if outcome.state == "complete":
        notes["reused_from"] = _find_source(trial, repeats.count, list_trials)
    notes["adopted_from"] = outcome.adopted_from
    return Conclusion(
        ENDS[outcome.state],
        outcome.values,
        # For Optuna's samplers, and its choice of the best.
        {CONSTRAINT_KEY.format(name=name): above for name, above in excess.items()},
        {key: value for key, value in notes.items() if value not in (None, "")},
    )


def _find_source(trial: FrozenTrial, repeats: int, list_trials: Callable[[], Sequence[FrozenTrial]]) -> int | None:
    """Return the equal trial whose result a trial shares: it ran no job, and has the results of the same ones."""
    jobs = list_jobs(trial, repeats)
    owners = sorted({job // repeats for job in jobs})
    if trial.number in owners:
        return None
    trials = list_trials()
    complete = (number for number in owners if trials[number].state == TrialState.COMPLETE)
    return next((number for number in complete if list_jobs(trials[number], repeats) == jobs), None)


def settle_ended(
    trials: Sequence[FrozenTrial], repeats: RepeatPlan, limits: Mapping[str, float]
) -> Sequence[FrozenTrial]:
    """List trials as the next command on their study finds them: told where their jobs ended after their own was gone.

    Args:
        trials: All trials of a study, as its storage has them.
        repeats: Its seeds of a point.
        limits: Its limits.
    """

    def settle_one(trial: FrozenTrial) -> FrozenTrial:
        outcomes = read_outcomes_of(trial) if trial.state == TrialState.RUNNING else {}
        outcome = finish(outcomes, repeats) if outcomes else None
        if outcome is None:
            return trial
        try:
            concluded = conclude(trial, outcome, repeats, limits, lambda: trials)
        except LimitError:  # it is run again
            return trial
        told = copy.copy(trial)
        told.state, told.values = concluded.state, concluded.values or None
        if told.state.is_finished() and trial.datetime_start is not None:
            seconds = sum(one.seconds for one in outcomes.values())
            told.datetime_complete = trial.datetime_start + timedelta(seconds=seconds)
        told.system_attrs = {**trial.system_attrs, **concluded.attributes}
        told.user_attrs = {**trial.user_attrs, **concluded.notes}
        return told

    return [settle_one(trial) for trial in trials]
