"""What a command would still run in its study, by the study's own rules, and what that will cost, from a probe.

Nothing is written to the study. The probe measures time and memory of the smallest and largest configurations.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from sentiment.composing import find_reason
from sentiment.errors import ConfigError, Fault
from sentiment.private import get_storage, get_study_id
from sentiment.search.budget import Spending
from sentiment.search.dry_run.probe import Measured, measure
from sentiment.search.planning import require_same_data
from sentiment.search.search import Search
from sentiment.search.space.constraints import Validity, any_point
from sentiment.search.space.parameters import LabelledPoint, Point, Space
from sentiment.search.storage.address import read_address
from sentiment.search.storage.lease import looks_alive
from sentiment.search.study.agenda import Agenda
from sentiment.search.study.history import StudyMissingError, open_for_reading
from sentiment.search.study.spending import Meter
from sentiment.search.study.stored.endings import settle_ended
from sentiment.search.study.stored.store import CONTROLLER_KEY, DEFINITION_KEY, list_commands
from sentiment.search.study.stored.study import settle_definition
from sentiment.search.study.trial import OWNER_KEY, find_job
from sentiment.search.workers.job import JobRunner
from sentiment.search.workers.slots import Slot

TRIED = 10_000
"""Points that are tried where the extreme one breaks a constraint."""


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


def find_left(search: Search) -> Left:
    """Find what a command would run.

    Raises:
        StorageError: The storage cannot be read.
        StudyChangedError: The command would be refused: the study is another one.
    """
    options, study, attributes, stored = search.options, None, dict[str, Any](), None
    with ExitStack() as stack:
        if options.known_name is not None:
            address = read_address(search.storage_url, search.study_dir)
            with suppress(StudyMissingError):
                study = stack.enter_context(open_for_reading(address, options.known_name))
                attributes = get_storage(study).get_study_system_attrs(get_study_id(study))
                stored = settle_ended(study.get_trials(deepcopy=False), search.repeats, options.limits)
        trials = stored or []
        definition, _ = settle_definition(search, study, attributes.get(DEFINITION_KEY), trials)
    grown = search.continue_from(definition)
    meter = Meter(search.repeats.count, search.pruner, grown.reader)
    failed = [trial.number for trial in trials if trial.state.name == "FAIL"]
    agenda = Agenda(grown, failed, lambda known: meter.measure(known, list_commands(attributes)))
    ledger = agenda.follow(trials)
    require_same_data(grown, str(options.known_name), ledger.standing)
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


@dataclass(frozen=True)
class Expectation:
    """What the trials that are left will take."""

    seconds: float  # expected wall time, were every trial as long as the mean of what was measured
    least_seconds: float  # the time, were all trials like the shortest one measured
    most_seconds: float  # the time, were all like the longest one
    is_bound: bool  # some job was stopped before its pace was known: the times are lower bounds
    host_bytes: int | None  # peak memory of all jobs in flight; None: unknown
    device_bytes: int | None  # peak memory of one job on its GPU; None or 0: as in `Measured`


def expect(measured: Sequence[Measured], *, trials: int, slots: int, repeats: int = 1) -> Expectation | None:
    """Work out what the trials that are left will take, so many at a time; None where no probe came through.

    The repeats of a trial run one after the other, and no job is cut in two: the last round may leave slots idle.
    """
    sound = [one for one in measured if one.failure is None]
    if not sound:
        return None
    lengths = [one.seconds for one in sound]
    rounds = math.ceil(trials / slots) * repeats
    hosts = [one.host_bytes for one in measured if one.host_bytes is not None]
    devices = [one.device_bytes for one in measured if one.device_bytes is not None]
    return Expectation(
        seconds=rounds * statistics.fmean(lengths),
        least_seconds=rounds * min(lengths),
        most_seconds=rounds * max(lengths),
        is_bound=any(one.is_bound for one in sound),
        host_bytes=max(hosts) * min(slots, trials) if hosts else None,
        device_bytes=max(devices) if devices else None,
    )


def probe_search(
    search: Search, runner: JobRunner, slot: Slot, announce: Callable[[LabelledPoint], None]
) -> list[tuple[LabelledPoint, Measured]]:
    """Measure the smallest and the largest configuration of every branch, one after the other.

    Everything that the jobs write goes to a temporary folder. `announce` is told before each measurement, which may
    take a minute.

    Raises:
        ConfigError: ``hydra.sweeper.probe_overrides`` cannot be composed.
    """
    results = []
    slot = dataclasses.replace(slot, _locks=())  # held until the last probe has ended
    with tempfile.TemporaryDirectory(prefix="study-probe-") as folder:
        for number, extreme in enumerate(list_extremes(search.space, search.is_valid)):
            announce(extreme)
            overrides = add_overrides(search.space.to_overrides(extreme.point), search.options.probe_overrides)
            measured = measure(
                runner, overrides, _compose(search, overrides), slot, folder=Path(folder) / str(number),
                seconds=search.options.probe_seconds, devices=search.options.devices_per_trial,
            )  # fmt: skip
            results.append((extreme, measured))
    return results


def list_unmeasured(search: Search, points: Iterable[Point]) -> list[str]:
    """List the keys that decide on a result and that a probe had at other values than the job that it stands for."""
    found: dict[str, None] = {}
    for point in points:
        overrides = search.space.to_overrides(point)
        probed = add_overrides(overrides, search.options.probe_overrides)
        of_job, of_probe = (search.composer.resolve(_compose(search, typed)) for typed in (overrides, probed))
        found |= dict.fromkeys(key for key, text in of_job.items() if of_probe.get(key) != text)
    return list(found)


def add_overrides(overrides: Sequence[str], last: Sequence[str]) -> tuple[str, ...]:
    """Add overrides that win over others of the same key."""

    def key(line: str) -> str:
        return line.partition("=")[0].lstrip("+~")

    keys = set(map(key, last))
    return (*(line for line in overrides if key(line) not in keys), *last)


def _compose(search: Search, overrides: Sequence[str]) -> DictConfig:
    try:
        return search.composer.compose(overrides)
    except HydraException as error:
        problem = f"cannot be composed with {' '.join(overrides)}: {find_reason(error)}"
        raise ConfigError([Fault("hydra.sweeper.probe_overrides", problem, "correct the overrides")]) from error


def list_extremes(space: Space, is_valid: Validity = any_point) -> list[LabelledPoint]:
    """List the smallest and the largest valid point of every branch.

    Small is the low end of a range, the least of a choice among numbers, the first of any other choice. Where that
    point breaks a constraint, the valid one next to it stands for it.
    """
    extremes: list[LabelledPoint] = []
    for branch in _list_branches(space):
        name = ", ".join(f"{key}={value}" for key, value in branch.items())
        for label, is_large in (("smallest", False), ("largest", True)):
            point = _find(space, branch, is_large, is_valid)
            if point is not None and all(point != other.point for other in extremes):
                extremes.append(LabelledPoint(f"{label} {name}".strip(), point))
    return extremes


def _list_branches(space: Space) -> Iterator[Point]:
    conditions = {parameter.condition[0] for parameter in space.parameters if parameter.condition is not None}
    parents = [item for item in space.parameters if item.condition is None and item.name in conditions]
    for values in itertools.product(*(_rank_values(parent.distribution, False) for parent in parents)):
        yield {parent.name: value for parent, value in zip(parents, values, strict=True)}


def _find(space: Space, branch: Point, is_large: bool, is_valid: Validity) -> Point | None:
    active = space.active(branch)
    ranked = [
        [branch[item.name]] if item.name in branch else _rank_values(item.distribution, is_large) for item in active
    ]
    for positions in itertools.islice(_near_first([len(values) for values in ranked]), TRIED):
        point = {item.name: values[position] for item, values, position in zip(active, ranked, positions, strict=True)}
        if is_valid(point):
            return point
    return None


def _rank_values(distribution: BaseDistribution, is_large: bool) -> list[Any]:
    """List the values of a parameter, the wanted one first; of a range three."""
    if isinstance(distribution, CategoricalDistribution):
        values: list[Any] = list(distribution.choices)
        if all(isinstance(value, int | float) for value in values):
            values.sort()
    else:
        assert isinstance(distribution, IntDistribution | FloatDistribution)
        low, high = distribution.low, distribution.high
        middle: float = (low + high) / 2
        if isinstance(distribution, IntDistribution):
            middle = low + (high - low) // distribution.step // 2 * distribution.step
        values = sorted({low, middle, high})
    return values[::-1] if is_large else values


def _near_first(lengths: list[int]) -> Iterator[tuple[int, ...]]:
    """Return all tuples of positions, those with the least sum first: the fewest steps from what is wanted."""
    layer = {(0,) * len(lengths)}
    while layer:
        yield from sorted(layer)
        layer = {
            (*positions[:index], position + 1, *positions[index + 1 :])
            for positions in layer
            for index, position in enumerate(positions)
            if position + 1 < lengths[index]
        }
