"""Find what a command would still run in its study, by the study's own rules and without writing anything."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from sentiment.private import get_storage, get_study_id
from sentiment.search.application import Application
from sentiment.search.budget import Spending
from sentiment.search.planning import require_same_data
from sentiment.search.search import Search
from sentiment.search.storage.address import read_address
from sentiment.search.storage.lease import looks_alive
from sentiment.search.study.agenda import Agenda
from sentiment.search.study.history import StudyMissingError, open_for_reading
from sentiment.search.study.spending import Meter
from sentiment.search.study.stored.conclusion import settle_ended
from sentiment.search.study.stored.joining import settle_definition
from sentiment.search.study.stored.store import CONTROLLER_KEY, DEFINITION_KEY, list_commands
from sentiment.search.study.trial import OWNER_KEY, find_job


@dataclass(frozen=True)
class Left:
    """What is left of a study."""

    stored: Mapping[str, int] | None  # trials that are there by state; None: the study is new
    interrupted: int  # trials that have begun, and whose command was stopped or died
    retried: int  # trials that failed, and are tried again
    new: int  # trials that are to begin, those that wait to be tried first among them; see `UNLIMITED`
    paused: int  # trials that wait for their promotion
    spent: Spending  # what the study has cost
    is_done: bool  # the command would run nothing: there is nothing left, or no budget

    def count_fitting(self, search: Search, seconds: Sequence[float], epochs: Sequence[float]) -> int:
        """Count the whole trials that are left and fit into the budget, by what was measured of some jobs.

        Args:
            search: What is searched.
            seconds: How long they take; empty: nobody knows.
            epochs: How many epochs they have.
        """
        limit, repeats, begin = search.options.limit, search.repeats.count, float(self.retried + self.new)
        if limit.full_trials is not None:
            begin = min(begin, (limit.full_trials - self.spent.committed_trials) / repeats)
        if limit.epochs is not None and any(epochs):
            begin = min(begin, (limit.epochs - self.spent.committed_epochs) / statistics.fmean(epochs) / repeats)
        trials = self.interrupted + max(0, math.floor(begin + 1e-9))  # of the work, those are a part already
        if limit.seconds is not None and seconds:
            rounds = max(0.0, limit.seconds - self.spent.seconds) / (statistics.fmean(seconds) * repeats)
            trials = min(trials, int(rounds) * search.options.n_jobs)
        return trials


def find_left(search: Search, application: Application) -> Left:
    """Find what a command would run.

    Raises:
        StorageError: The storage cannot be read.
        StudyChangedError: The command would be refused: the study is another one.
    """
    name = search.options.known_name
    if name is not None:
        try:
            with open_for_reading(read_address(search.storage_url, search.study_dir), name) as study:
                attributes = get_storage(study).get_study_system_attrs(get_study_id(study))
                trials = settle_ended(study.get_trials(deepcopy=False), search.repeats, search.options.limits)
                return _find_left(search, application, trials, attributes, study)
        except StudyMissingError:
            pass
    return _find_left(search, application, None, {}, None)


def _find_left(
    search: Search,
    application: Application,
    stored: Sequence[FrozenTrial] | None,
    attributes: Mapping[str, Any],
    study: optuna.Study | None,
) -> Left:
    trials, options = stored or [], search.options
    name = str(options.known_name)
    definition, _ = settle_definition(search, study, attributes.get(DEFINITION_KEY), trials)
    grown = search.continue_from(definition)
    meter = Meter(search.repeats.count, search.pruner, grown.reader)
    failed = [trial.number for trial in trials if trial.state.name == "FAIL"]
    agenda = Agenda(grown, failed, lambda known: meter.measure(known, list_commands(attributes)))
    ledger = agenda.follow(trials)
    require_same_data(grown, name, ledger.standing, application)
    waiting, running, paused = (
        [trial for trial in ledger.list_open(state) if not grown.reader.is_left_behind(trial)]
        for state in ("waiting", "running", "paused")
    )
    cut_off = [trial for trial in running if not _is_at_work(trial, attributes)]
    unbegun = sum(trial.datetime_start is None for trial in waiting)
    return Left(
        stored=None if stored is None else dict(ledger.counts),
        interrupted=len(waiting) - unbegun + len(cut_off),
        retried=len(agenda.list_failed(trials)),
        new=min(unbegun, agenda.count_first(trials)) + agenda.count_open(trials),
        paused=len(paused),
        spent=meter.measure(trials, list_commands(attributes)),
        is_done=not cut_off and agenda.choose(trials) is None,
    )


def _is_at_work(trial: FrozenTrial, attributes: Mapping[str, Any]) -> bool:
    command = attributes.get(CONTROLLER_KEY.format(id=trial.system_attrs.get(OWNER_KEY)))
    return any(looks_alive(record) for record in (command, find_job(trial)) if record is not None)
