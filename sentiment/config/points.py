"""The points that a command stands for: every one of a grid, the corners of a search."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import cast

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from omegaconf import DictConfig, OmegaConf

from sentiment.composing import find_replaced, list_values, list_written, sets_all_of
from sentiment.config.faults import WHOLE_NUMBER
from sentiment.errors import Fault
from sentiment.flat import are_related

MOST_POINTS = 100_000
"""Jobs of a plain multirun."""


def list_points(overrides: Sequence[Override], *, is_grid: bool) -> Iterator[list[Override]]:
    """Yield the overrides of every point that a command stands for.

    Hydra's own sweeper runs the whole grid, so the whole grid is listed. Other sweepers draw points of their own
    choosing: for those the first point is listed, and each further value (both ends of an interval) alone beside it.

    Args:
        overrides: Fixed and swept overrides; of two with the same key the later one counts, as in Hydra.
        is_grid: Whether every combination runs.
    """
    by_key = {override.get_key_element(): override for override in overrides}
    axes = [list_values(override) for override in by_key.values()]
    if is_grid:
        yield from (list(point) for point in itertools.product(*axes))
        return
    first = [axis[0] for axis in axes]
    yield first
    for index, axis in enumerate(axes):
        for value in axis[1:]:
            yield [*first[:index], value, *first[index + 1 :]]


def list_branch_lines(sweeper: DictConfig) -> list[str]:
    """Return what the branches of a search say, as overrides; what is no branch is told by the study that reads it."""
    branches = OmegaConf.select(sweeper, "branches")
    tables = branches.values() if isinstance(branches, DictConfig) else ()
    return [f"{key!s}={value}" for table in tables if isinstance(table, DictConfig) for key, value in table.items()]


def find_unlisted(overrides: Sequence[Override], *, is_grid: bool) -> list[Fault]:
    """Return the fault of a sweep that is no list of different points, of none, or of more than anybody trains.

    To Hydra ``seed`` and ``++seed`` are two keys: it would run each value of the one with each of the other, of which
    only the later counts. Where the whole grid runs, it would refuse an interval when the sweep has begun, and the list
    of very many points alone would fill the memory.

    Args:
        overrides: Fixed and swept overrides.
        is_grid: Whether every combination runs.
    """
    replaced = find_replaced(overrides, Override.get_key_element)
    if faults := [*replaced, *_find_rewritten(overrides, is_grid=is_grid), *_find_moved(overrides)]:
        return faults
    by_key = {override.get_key_element(): override for override in overrides if not override.is_delete()}
    for one, other in itertools.combinations(by_key.values(), 2):
        is_swept = one.is_sweep_override() or other.is_sweep_override()
        is_same = (one.key_or_group, one.package) == (other.key_or_group, other.package)
        # Nothing is left of a sweep where a later word sets all of it: trainer={max_epochs: 3}.
        is_lost = one.is_sweep_override() and are_related(one.key_or_group, other.key_or_group)
        if is_swept and (is_same or (is_lost and sets_all_of(other, one))):
            problem = f"{one.input_line} and {other.input_line} set the same, so several jobs would be one"
            return [Fault(one.key_or_group, problem, "leave one of them out")]
    points = 1.0
    for override in by_key.values():
        sweep = override.value()
        if is_grid and isinstance(sweep, IntervalSweep):
            problem = f"{override.get_value_string()} draws numbers, and -m alone runs a list of them"
            remedy = f"name them, {override.key_or_group}=A,B, or draw from them: search=study"
            return [Fault(override.key_or_group, problem, remedy)]
        if isinstance(sweep, RangeSweep) and sweep.start is not None and sweep.stop is not None:
            if not sweep.step:
                return [Fault(override.key_or_group, f"{override.get_value_string()} never ends", "give it a step")]
            count = max(0.0, (float(sweep.stop) - float(sweep.start)) / float(sweep.step))
        else:
            values = list_values(override)
            count = len(values)
            first = {_write_meaning(one): one for one in reversed(values)}
            if doubled := [one.get_value_string() for one in values if one is not first[_write_meaning(one)]]:
                problem = (
                    f"{override.get_value_string()} names {doubled[0]} more than once, so several jobs would be one"
                )
                return [Fault(override.key_or_group, problem, "name each value once")]
        if not count:
            problem = f"{override.get_value_string()} stands for no value, so nothing would run"
            return [Fault(override.key_or_group, problem, "name one or several: KEY=A,B, range(FIRST,END) or glob(a*)")]
        points *= max(count, 1)
        if points > MOST_POINTS:
            problem = f"{override.get_value_string()} makes it {points:,.0f} jobs, more than {MOST_POINTS:,}"
            return [Fault(override.key_or_group, problem, "name fewer values, or draw from them: search=study")]
    return []


def _write_meaning(override: Override) -> str:
    """Return a value as text, of 0 and 0.0 the same: a configuration's types make a whole number a float."""
    value = override.value()
    return repr(int(value) if isinstance(value, float) and value.is_integer() else value)


def _find_rewritten(overrides: Sequence[Override], *, is_grid: bool) -> Iterator[Fault]:
    """Yield the faults of words that mean something else as Hydra's sweepers write them again for each job.

    Of an extension its values alone are left, and of ``~key`` the condition that the key is null.
    """
    for override in overrides:
        key = override.key_or_group
        if override.is_hydra_override():
            continue
        if override.is_list_extend():
            problem = f"each job would get {override.get_value_element_as_str()} in place of the list, not added to it"
            yield Fault(key, problem, f"write the whole list, {key}=[A,B], or take a study, which adds: search=grid")
        is_bare = override.is_delete() and override.value_type is None
        if is_grid and is_bare and not _is_choice(override):
            problem = f"{override.input_line} would delete it where it is null, and fail elsewhere"
            yield Fault(key, problem, f"write ~{key}=VALUE with the value that it has, or take a study: search=grid")


def _find_moved(overrides: Sequence[Override]) -> Iterator[Fault]:
    """Yield the faults of words that would count before what stands ahead of them.

    Hydra's sweepers keep the last word of a key, at the place of its first one. Options are chosen before all values.
    """
    values = [one for one in overrides if not one.is_hydra_override() and not _is_choice(one)]
    places: dict[str, int] = {}
    for number, last in enumerate(values):
        key = last.get_key_element()
        place = places.setdefault(key, number)
        for between in values[place:number]:
            if between.get_key_element() != key and _are_of_one_key(between, last):
                first, kept = values[place].input_line, between.input_line
                problem = f"{last.input_line} would count before {kept}: a multirun gives it the place of {first}"
                yield Fault(last.key_or_group, problem, f"leave {first} or {kept} out, or take a study: search=grid")


def _are_of_one_key(one: Override, other: Override) -> bool:
    """Return whether two overrides set a key in common: ``trainer={patience: 2}`` leaves trainer.max_epochs alone."""
    keys, others = (set[str]().union(*list_written(override)) or {override.key_or_group} for override in (one, other))
    return any(are_related(key, another) for key in keys for another in others)


def _is_choice(override: Override) -> bool:
    """Return whether an override chooses an option of a config group."""
    loader = override.config_loader
    is_group = bool(loader and loader.get_group_options(override.key_or_group))
    return is_group and not isinstance(override.value(), dict)


def explain_sweep(override: Override) -> Fault:
    """Return the fault of several values without a multirun."""
    key = override.key_or_group
    values = override.get_value_string()
    return Fault(key, f"has several values ({values})", f"add -m to run each, or write {key}=[{values}] for a list")


def explain_intervals(faults: Sequence[Fault], overrides: Sequence[Override]) -> list[Fault]:
    """Return the faults, those of both ends of an interval over whole numbers as one that says what draws them."""
    intervals = {one.key_or_group: one for one in overrides if isinstance(one.value(), IntervalSweep)}
    explained = []
    for fault in faults:
        if fault.key in intervals and fault.remedy == WHOLE_NUMBER:
            override = intervals[fault.key]
            sweep = cast(IntervalSweep, override.value())
            first, last = math.ceil(sweep.start or 0), math.floor(sweep.end or 0)
            remedy = f"write {fault.key}=range({first},{last + 1}), which leaves its end out"
            if "log" in sweep.tags:  # a range has no scale
                remedy = f"write {fault.key}=tag(log,int(interval({first},{last})))"
            problem = f"{override.get_value_string()} draws numbers with a fraction, the key takes whole ones"
            fault = Fault(fault.key, problem, remedy)
        explained.append(fault)
    return list(dict.fromkeys(explained))
