"""Join a stored study: compare the search with the stored definition, store the grown one, log the changes."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial, TrialState

from sentiment.search.space.parameters import LabelledPoint
from sentiment.search.space.points import make_key
from sentiment.search.study.agenda import Agenda, Ledger
from sentiment.search.study.definition import (
    Definition,
    compare,
    describe_other_way,
    refuse_foreign_trials,
    require_same_limits,
    require_same_results,
)
from sentiment.search.study.searched import GrowingSearch, Searched
from sentiment.search.study.stored.store import DEFINITION_KEY, START_KEY, TrialStore

log = logging.getLogger(__name__)


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
    keys = search.reader.read_keys(standing)
    inside = sum(search.reader.read(trial) is not None for trial in standing)
    if grid is not None:
        inside = len(keys.keys() & grid.keys())
    outside = len(standing) - inside
    new = f"{agenda.count_free(trials)} {'trials' if grid is None else 'new points'} to run"
    counted = "" if grid is not None else " that n_trials and the budget count"
    history = f", {outside} do not and stay as history{counted}" if outside else ""
    return f"{new}; {inside} trials there belong to the new space{history}."
