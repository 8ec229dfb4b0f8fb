"""How a command takes the next trial, under the study's lock: no claim is ever lost or made twice.

The number of trials is a total: a trial whose process died is run again as the same trial.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from sentiment.format import format_count
from sentiment.private import get_storage, get_study_id, get_trial_id
from sentiment.search.space.points import REPLACES_KEY, TARGET_KEY
from sentiment.search.space.sampling import derive_seed
from sentiment.search.study.agenda import Agenda, Step
from sentiment.search.study.definition import Searched
from sentiment.search.study.outcome import Outcome, read_outcomes_of
from sentiment.search.study.population import CONTINUES_KEY, PopulationPruner, count_inherited, find_origin
from sentiment.search.study.rungs import NO_RUNG, VALUES_KEY, Scheduler, Swap, count_steps
from sentiment.search.study.stored.endings import end, give_up, take_over_dead
from sentiment.search.study.stored.store import COMMIT_KEY, START_KEY, TrialStore
from sentiment.search.study.trial import JOB_KEY, OVER, OWNER_KEY, STOP_KEY

log = logging.getLogger(__name__)


@dataclass
class ClaimedTrial:
    """A trial that this process runs."""

    number: int  # its number in the study
    trial_id: int  # its id in the storage
    values: Mapping[str, Any]  # its parameters by name
    outcomes: dict[int, Outcome]  # repeats that have ended, some of them in an earlier process
    earlier: Sequence[FrozenTrial]  # all trials as they stood when it was taken
    reports: int  # how many reports it had made by then: it was paused, or cut off
    started: float = field(default_factory=time.monotonic)  # when its present job was handed over, monotonic
    is_asked_to_end: bool = False  # whether it is to end at its next report


def claim(store: TrialStore, search: Searched, agenda: Agenda) -> ClaimedTrial | None:
    """Take the next trial: an interrupted or promoted one, one that failed before, else a new one.

    Returns:
        The trial; None where there is nothing to do now.
    """
    with store.lock():
        take_over_dead(store, search, agenda.follow(store.trials()))
        if store.is_to_stop:
            return None
        while True:
            trials = store.trials()
            step = agenda.choose(trials)
            if step is None:
                return None
            if step.trial is None or step.kind == "retry" or _adapt(store, search, step.trial):
                break
        trial = _begin(store, search, step)
        if trial is None:
            return None
        trial_id = get_trial_id(trial)
        _note_claim(store, search, trial_id)
        try:
            values = search.suggest(trial)
        except Exception as error:
            outcome = Outcome("failed", kind="exception", reason=f"no point drawn: {error}")
            end(store, search, store.read(trial_id), outcome)
            raise
    stored = store.read(trial_id)
    steps = count_steps(stored)
    reports = steps if steps > count_inherited(stored) else 0
    return ClaimedTrial(trial.number, trial_id, values, read_outcomes_of(stored), trials, reports)


def _adapt(store: TrialStore, search: Searched, trial: FrozenTrial) -> bool:
    """Let a trial that goes on have its point under the names of the space as it is now.

    Returns:
        Whether it may go on; else it has ended as pruned: the space has changed, and its point is none of it.
    """
    if search.reader.is_left_behind(trial):
        reason = "the space has changed, and its point is none of it any more"
        give_up(store, search, trial, Outcome("pruned", reason=reason))
        log.info("Trial %d does not go on: the space has changed, and its point is none of it.", trial.number)
        return False
    point, fixed = search.reader.read(trial) or {}, trial.system_attrs.get("fixed_params", {})
    missing = {name: value for name, value in point.items() if name not in {**trial.params, **fixed}}
    if missing:
        store.write(get_trial_id(trial), "fixed_params", {**fixed, **missing})
    return True


def _begin(store: TrialStore, search: Searched, step: Step) -> optuna.Trial | None:
    """Make a trial run, as `Study.ask` does; that would take any trial that waits, a paused one too.

    Returns:
        The trial; None where its own job, which stood in a launcher's queue, has just taken it up.
    """
    if step.swap is not None:
        trial_id = _copy(store, search, step.swap)
    elif step.trial is None:
        # By the study's own storage: it is the one given, or its cache, which has to know the trial.
        trial_id = get_storage(store.study).create_new_trial(get_study_id(store.study))
        store.write(trial_id, OWNER_KEY, store.owner)
        return optuna.Trial(store.study, trial_id)
    elif step.kind == "retry":
        trial_id = _enqueue_again(store, search, step.trial)
    else:
        trial_id = get_trial_id(step.trial)
        if step.kind == "promote":
            pruner = search.pruner
            target = pruner.find_target(count_steps(step.trial)) if isinstance(pruner, Scheduler) else NO_RUNG
            store.write(trial_id, TARGET_KEY, target)
    return optuna.Trial(store.study, trial_id) if store.take(trial_id) else None


def _note_claim(store: TrialStore, search: Searched, trial_id: int) -> None:
    """Write what the trial, which is this command's now, has to know, and how far it is to run."""
    stored = store.read(trial_id)
    if search.options.limit.seconds is not None:  # a command killed before its next heartbeat has cost time too
        store.write_lease(store.lease.record())
    if store.commit is not None:
        store.write(trial_id, COMMIT_KEY, store.commit)
    if stored.system_attrs.get(STOP_KEY) == OVER:  # it was; the budget has room for it again
        store.write(trial_id, STOP_KEY, False)
    # The lease of an earlier job must not speak for the next job.
    if JOB_KEY in stored.system_attrs:
        store.write(trial_id, JOB_KEY, None)
    pruner = search.pruner
    if not isinstance(pruner, Scheduler) or TARGET_KEY in stored.system_attrs:
        return
    if not (pruner.has_yardstick and _is_first_start(stored, store.trials())):
        store.write(trial_id, TARGET_KEY, pruner.find_target(count_steps(stored)))


def _is_first_start(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> bool:
    """Return whether a trial is the first that was to be tried first, or stands for it after it had failed."""
    while REPLACES_KEY in trial.user_attrs:
        trial = trials[trial.user_attrs[REPLACES_KEY]]
    return trial.number == 0 and START_KEY in trial.user_attrs


def _copy(store: TrialStore, search: Searched, swap: Swap) -> int:
    """Make a trial that goes on from another's checkpoint at a changed point; return its id.

    It takes the place of the one that loses, which is given up next: what it is stands in it from the beginning, so
    that a command which dies in between leaves nothing to mend.
    """
    origin, number = swap.origin, len(store.trials())
    assert isinstance(search.pruner, PopulationPruner)
    seed = derive_seed(search.options.sampler.get("seed"), number, 2)
    point = search.reader.read(origin)
    assert point is not None, "who is copied has a point of the space as it is now"
    distributions = {one.name: one.distribution for one in search.reader.space.active(point)}
    params = search.pruner.explore(point, distributions, random.Random(seed))
    if not search.reader.is_valid(params):
        params = dict(point)
    reports = {key: value for key, value in origin.system_attrs.items() if key.startswith(VALUES_KEY.format(step=""))}
    continues = {"trial": origin.number, "steps": count_steps(origin), "place_of": swap.loser.number}
    trial = optuna.trial.create_trial(
        state=TrialState.WAITING,
        intermediate_values=origin.intermediate_values,
        system_attrs={
            **reports,
            "fixed_params": {**search.reader.read_own(origin), **params},
            CONTINUES_KEY: continues,
        },
    )
    store.study.add_trial(trial)
    log.info(
        "Trial %d goes on from trial %d after %s, in the place of trial %d.",
        *(number, origin.number, format_count(continues["steps"], "report"), swap.loser.number),
    )
    return get_trial_id(store.trials()[-1])


def _enqueue_again(store: TrialStore, search: Searched, trial: FrozenTrial) -> int:
    """Make a trial of the point of one that has failed; return its id."""
    point = {**search.reader.read_own(trial), **(search.reader.read(trial) or {})}
    kept = {START_KEY: trial.user_attrs[START_KEY]} if START_KEY in trial.user_attrs else {}
    store.study.enqueue_trial(point, user_attrs={REPLACES_KEY: trial.number, **kept})
    anew = "" if find_origin(trial) is None else ", from the beginning: it was a copy, whose origin has gone on"
    log.info("Trial %d failed before; its point is tried again%s.", trial.number, anew)
    return get_trial_id(store.trials()[-1])
