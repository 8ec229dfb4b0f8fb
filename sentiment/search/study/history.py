"""A study as its storage tells it, read without touching it: for reports, while it runs and long after.

Nothing is created, locked or written: a study that runs does not notice its reader.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, cast

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial
from pydantic import ConfigDict, TypeAdapter, ValidationError

from sentiment.credentials import STORAGE_PASSWORD
from sentiment.errors import explaining
from sentiment.private import get_storage, get_study_id
from sentiment.search.budget import Budget
from sentiment.search.space.parameters import name_key, read_value
from sentiment.search.space.points import find_default, read_setting, write_told
from sentiment.search.storage.address import (
    JOURNAL_NAME,
    Address,
    StorageError,
    explaining_damage,
    explaining_version,
    read_address,
    storage_errors,
    storage_failures,
)
from sentiment.search.storage.lease import looks_alive
from sentiment.search.storage.opening import close_storage, load_study
from sentiment.search.study.address_file import read_study_address
from sentiment.search.study.agenda import Ledger
from sentiment.search.study.definition import LIMIT_KEY
from sentiment.search.study.outcome import (
    RepeatPlan,
    find_pruned_reason,
    list_jobs,
    name_state,
    read_described,
    read_outcomes_of,
)
from sentiment.search.study.population import find_origin
from sentiment.search.study.spending import BUDGET_KEY, Meter
from sentiment.search.study.stored.endings import settle_ended
from sentiment.search.study.stored.store import DEFINITION_KEY, list_commands
from sentiment.search.study.trial import JOB_KEY

Direction = Literal["minimize", "maximize"]

State = Literal["complete", "pruned", "paused", "failed", "killed", "running", "waiting"]

CONDITION = re.compile(r" if (?P<conditions>\S+=.*)$")
"""How `sentiment.search.space.parameters.Space.describe` ends for a parameter of a branch."""


class StudyMissingError(StorageError):
    """There is no such study where it was looked for."""


@dataclass(frozen=True)
class TrialHistory:
    """One trial."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    number: int  # number in the study
    state: State  # how it stands or ended
    # Override key, without Hydra's ``+``, to the drawn value: a number, or text.
    parameters: Mapping[str, int | float | str]
    values: tuple[float, ...] = ()  # the objectives, combined over the repeats; empty without a result
    # Step of the pruner to the objective reported there.
    intermediate: Mapping[int, float] = field(default_factory=dict)
    started: float | None = None  # start, in seconds since 1970; None if it never started
    ended: float | None = None  # end, on the same clock; None while it runs
    reason: str | None = None  # why it was pruned or failed; None otherwise
    kind: str | None = None  # kind of failure; None otherwise
    reused_from: int | None = None  # number of the equal trial whose result it shares
    adopted_from: str | None = None  # folders of the equal jobs of other studies whose results it has
    # Limit to by how much it is broken; empty where all are kept.
    excess: Mapping[str, float] = field(default_factory=dict)
    # Numbers that the job described beside its objective.
    attributes: Mapping[str, int | float] = field(default_factory=dict)
    # Number of the trial from whose checkpoint it went on, a copy in a population: what it has is due to the settings
    # of its whole line; None: it began anew.
    continues: int | None = None
    # Numbers of the jobs whose results it has, by repeat: its own, or equal ones that ran before; empty: an earlier
    # version did not write them.
    jobs: tuple[int, ...] = ()
    # The plain means of the repeats, where `values` are their bounds; empty where they are these means.
    means: tuple[float, ...] = ()
    worked_until: float | None = None  # when its last job was heard of last, on the same clock; None where nobody knows


@dataclass(frozen=True)
class StudyHistory:
    """A study."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str  # its name
    objectives: tuple[str, ...] | None  # names of the objectives; None where the study has none
    directions: tuple[Direction, ...]  # which way is better, per objective
    trials: tuple[TrialHistory, ...]  # in the order of their numbers; of a point that was tried again, the latest alone
    best: tuple[int, ...]  # numbers of the best trial, or of the Pareto front, among those that keep every limit
    log_scaled: frozenset[str]  # keys that were drawn on a logarithmic scale
    # Key of a branch's parameter to the settings that open the branch, e.g. ``model=rnn``.
    conditions: Mapping[str, tuple[str, ...]]
    repeats: int = 1  # jobs of a trial
    budget: str | None = None  # how much of its budget is used, for people; None: it has none
    is_at_work: bool = False  # a command works on it now

    @property
    def replaced(self) -> frozenset[int]:
        """Numbers of the trials whose points were tried again: a study numbers its trials without gaps."""
        numbers = {trial.number for trial in self.trials}
        return frozenset(range(max(numbers, default=0))) - numbers


def write_history(history: StudyHistory) -> str:
    """Write a study as JSON, for a machine that reaches neither its folder nor its storage."""
    return json.dumps(asdict(history), default=list, ensure_ascii=False)


def parse_history(text: str) -> StudyHistory:
    """Read what `write_history` wrote.

    Raises:
        StorageError: It is no study, or one of another version.
    """
    try:
        return TypeAdapter(StudyHistory).validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        problem = f"this is no stored study: {'.'.join(map(str, first['loc']))} {first['msg']}"
        raise StorageError(problem, "report on the study's own folder") from error


def has_study(study_dir: Path) -> bool:
    """Return whether a folder is that of a study: it has a journal or says where its study is stored."""
    return (study_dir / JOURNAL_NAME).exists() or read_study_address(study_dir) is not None


def read_study(storage_url: str | None, study_dir: Path, study_name: str | None = None) -> StudyHistory:
    """Read a study.

    Args:
        storage_url: Its storage; None: what the folder says (see `study.address_file`), else the journal in the
            folder. A server's password is taken from `STORAGE_PASSWORD` where the URL has none.
        study_dir: The study's folder.
        study_name: The study; None: what the folder says, else the only one in the storage.

    Raises:
        StorageError: The storage cannot be read.
        StudyMissingError: The storage or the study is not there.
    """
    known = read_study_address(study_dir)
    if known is not None:
        storage_url = storage_url or known.storage
        study_name = study_name or known.study_name
    with open_for_reading(read_address(storage_url, study_dir), study_name) as study:
        return _read_history(study, get_storage(study))


@contextmanager
def open_for_reading(address: Address, study_name: str | None = None) -> Iterator[optuna.Study]:
    """Open a study of which nothing is changed; see `read_study`.

    Raises:
        StorageError: The storage cannot be read.
        StudyMissingError: The storage or the study is not there.
    """
    with storage_errors(f"Reading {address}"), _open_storage(address) as storage:
        names = sorted(study.study_name for study in storage.get_all_studies())
        if study_name is None and len(names) == 1:
            study_name = names[0]
        if study_name not in names:
            raise _missing(study_name, names, address)
        yield load_study(storage, study_name)


@contextmanager
def _open_storage(address: Address) -> Iterator[BaseStorage]:
    if address.path is not None and not address.path.exists():
        raise StudyMissingError(
            f"There is no study at {address}: the file does not exist.",
            "name the folder of a study (multirun/NAME), or start it with python run.py -m search=...",
        )
    if address.dialect == "journal":
        assert address.path is not None
        with explaining_damage(address.path):
            yield JournalStorage(JournalFileBackend(str(address.path)))  # it only writes, and locks, to append
        return
    from sqlalchemy import create_engine, inspect

    url = _reading_url(address)
    remedy = "check that it is the study's database and that it can be reached; its password, if it has one, goes into "
    remedy += f"the variable {STORAGE_PASSWORD}"
    failing = explaining(f"Reading {address} failed", remedy, StorageError, storage_failures())
    with failing, explaining_version(address):
        engine = create_engine(url)
        has_studies = inspect(engine).has_table("studies")
        engine.dispose()
        if not has_studies:
            raise _missing(None, [], address)
        storage = RDBStorage(url, skip_table_creation=True, skip_compatibility_check=False)
    try:
        yield storage
    finally:
        close_storage(storage)


def _read_history(study: optuna.Study, storage: BaseStorage) -> StudyHistory:
    attributes = storage.get_study_system_attrs(get_study_id(study))
    definition = attributes.get(DEFINITION_KEY) or {}
    directions = tuple(cast(Direction, direction.name.lower()) for direction in study.directions)
    count, _, value = str(definition.get("repeats", "1")).partition(", ")
    plan = RepeatPlan(int(count), value or "mean", maximize=tuple(one == "maximize" for one in directions))
    settings: Mapping[str, str] = definition.get("settings", {})
    limits = {key.removeprefix(LIMIT_KEY): float(text) for key, text in settings.items() if key.startswith(LIMIT_KEY)}
    trials = settle_ended(study.get_trials(deepcopy=False), plan, limits)
    repeats, names, ledger = plan.count, study.metric_names, Ledger(directions).follow(trials)
    return StudyHistory(
        name=study.study_name,
        objectives=None if names is None else tuple(names),
        directions=directions,
        trials=tuple(_complete(read_trial(trial, repeats), trial, definition) for trial in ledger.standing),
        best=tuple(trial.number for trial in ledger.best),
        log_scaled=frozenset(
            name_key(name)
            for trial in trials
            for name, distribution in trial.distributions.items()
            if getattr(distribution, "log", False)
        ),
        conditions=_read_conditions(definition.get("space", {})),
        repeats=repeats,
        budget=_write_budget(attributes, trials, repeats),
        is_at_work=any(map(looks_alive, list_commands(attributes))),
    )


def _write_budget(attributes: Mapping[str, Any], trials: Sequence[FrozenTrial], repeats: int) -> str | None:
    budget = Budget(**attributes.get(BUDGET_KEY, {}))
    return budget.write(Meter(repeats).measure(trials, list_commands(attributes))) if budget else None


def read_trial(trial: FrozenTrial, repeats: int) -> TrialHistory:
    """Return a trial of so many repeats as its study's storage holds it, in plain data."""
    attributes, state = trial.user_attrs, cast(State, name_state(trial))
    if attributes.get("failure.kind") == "interrupted":
        state = "killed"
    reason = find_pruned_reason(trial) if state == "pruned" else attributes.get("failure.reason")
    origin, job = find_origin(trial), trial.system_attrs.get(JOB_KEY) or {}
    values, means = tuple(trial.values or ()) if state == "complete" else (), tuple[float, ...]()
    if values and (outcomes := read_outcomes_of(trial)):
        means = RepeatPlan(repeats, maximize=(True,) * len(values)).combine(list(outcomes.values()))
    return TrialHistory(
        number=trial.number,
        state=state,
        parameters={name_key(name): _plain(value) for name, value in trial.params.items()},
        values=values,
        means=() if means == values else means,
        intermediate=dict(trial.intermediate_values),
        started=_seconds(trial.datetime_start, None if job.get("repeat") else job.get("since")),
        ended=_seconds(trial.datetime_complete, job.get("until")),
        reason=reason,
        kind=attributes.get("failure.kind"),
        reused_from=attributes.get("reused_from"),
        adopted_from=attributes.get("adopted_from"),
        excess={name: excess for name, excess in trial.constraints.items() if excess > 0},
        attributes=read_described(trial),
        continues=None if origin is None else origin["trial"],
        jobs=list_jobs(trial, repeats),
        worked_until=job.get("until"),
    )


def _complete(told: TrialHistory, trial: FrozenTrial, definition: Mapping[str, Any]) -> TrialHistory:
    """Add what a trial had of keys that are searched now or once were, and were not when it was drawn."""
    defaults: Mapping[str, str] = definition.get("defaults", {})
    noted = {name_key(name): value for name, value in trial.user_attrs.items() if isinstance(value, str)}
    found = dict(told.parameters)
    for name, text in {**dict.fromkeys(definition.get("names", ()), ""), **definition.get("space", {})}.items():
        key, match = name_key(name), CONDITION.search(text)
        opened = [one for one in match["conditions"].split(" or ") if _holds(one, found)] if match else [""]
        if key in found or not opened or not trial.state.is_finished() or not (trial.params or trial.values):
            continue
        written = find_default(
            key, defaults, {**defaults, **{name: write_told(value) for name, value in found.items()}}
        )
        if key in noted or written is not None:
            found[key] = _plain(read_value(noted[key]) if key in noted else read_setting(str(written)))
    return replace(told, parameters=found)


def _holds(condition: str, parameters: Mapping[str, float | str]) -> bool:
    name, _, value = condition.partition("=")
    known = parameters.get(name_key(name), "")
    return value in (str(known), write_told(known))  # a switch is told as true, and written as True


def _read_conditions(space: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    conditions: dict[str, tuple[str, ...]] = {}
    for name, text in space.items():
        match = CONDITION.search(text)
        if match is not None:
            key = name_key(name)
            conditions[key] = (*conditions.get(key, ()), *match["conditions"].split(" or "))
    return conditions


def _plain(value: Any) -> float | str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return value if isinstance(value, int | float | str) else str(value)


def _seconds(moment: datetime | None, near_seconds: float | None) -> float | None:
    """Return a local time of Optuna's in seconds since 1970; of an hour that is there twice, the time near another."""
    if moment is None:
        return None
    first, second = moment.timestamp(), moment.replace(fold=1).timestamp()
    near_seconds = first if near_seconds is None else near_seconds
    return min((first, second), key=lambda one: abs(one - near_seconds))


def _reading_url(address: Address) -> str:
    if address.dialect != "sqlite":
        return address.connection_url
    assert address.url is not None
    assert address.path is not None
    # SQLite's own way to open a file without the right to write it. With the right it is taken: what a killed process
    # was writing has to be rolled back before anything can be read.
    mode = "rw" if os.access(address.path, os.W_OK) and os.access(address.path.parent, os.W_OK) else "ro"
    reading = address.url.set(database=f"file:{address.path}", query={"mode": mode, "uri": "true"})
    return reading.render_as_string(hide_password=False)


def _missing(name: str | None, names: list[str], address: Address) -> StudyMissingError:
    wanted = "several studies, and none was named" if name is None else f"no study {name!r}"
    if not names:
        wanted = "no study"
    there = f"it holds {', '.join(names)}" if names else "it is empty"
    return StudyMissingError(f"{address} holds {wanted}; {there}.", "name one of them, or another storage")
