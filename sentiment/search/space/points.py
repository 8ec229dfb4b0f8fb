"""Which point of a space a stored trial is, though the space has changed since it was drawn.

A study may grow: a parameter gets more values or another interval, another key is searched, a searched key is fixed. A
trial still is a point of the search as it is now if every parameter has a value that the space knows. What counts is
what a value means in the configuration, not how Optuna stores it.
"""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from sentiment.format import is_number
from sentiment.private import contains
from sentiment.search.space.constraints import Validity, any_point
from sentiment.search.space.parameters import DIGITS, Parameter, Point, Space, name_key, read_value, write_value

Key = tuple[tuple[str, str], ...]
"""A point as something that can be compared: settings to values, types kept."""

REPLACES_KEY = "retry_of"
"""User attribute of a trial: number of the failed trial whose point it tries again."""


OWN_KEY = "study:own"
"""System attribute of a trial: which function of the application's drew more of it, and the names that it drew."""

TARGET_KEY = "study:target"
"""System attribute of a trial: reports after which its job is to pause; a pause before that is over."""


ReadSettings = Callable[[Collection[str], Mapping[str, str]], Mapping[str, str]]
"""Reads the settings of keys, written, in the configuration with the options that other settings choose."""


def write_setting(value: Any) -> str:
    """Write a setting as text that tells types apart: ``1`` is a number, ``'1'`` a string.

    Strings that cannot be mistaken stand without quotes, as they always did in stored studies.
    """
    if not isinstance(value, str):
        return str(value)
    is_ambiguous = value[:1] in ("'", '"', "[", "{") or value in ("True", "False", "None") or is_number(value)
    return repr(value) if is_ambiguous else value


def write_told(value: float | str) -> str:
    """Write a value as a study's history tells it, ``true`` and ``null`` as text, like `write_setting`."""
    return write_setting(read_value(str(value)) if value in ("true", "false", "null") else _read(value))


def write_meaning(text: str) -> str:
    """Write what the right side of an override means; of 1 and 1.0, of a and 'a' the same."""
    return str(_canonical(write_setting(read_value(text))))


def read_setting(text: str) -> Any:
    """Read what `write_setting` wrote, but lists and mappings, which stay text."""
    if text in ("True", "False", "None") or text[:1] in ("'", '"'):
        return ast.literal_eval(text)
    return read_value(text) if is_number(text) else text


@dataclass(frozen=True)
class PointReader:
    """Reads stored trials as points."""

    space: Space  # the space as it is now
    # Setting to the value, written, of trials that were drawn before it was searched.
    defaults: Mapping[str, str] = field(default_factory=dict)
    # The same for keys that are not searched now: what a trial has to have, if it has the key at all.
    fixed: Mapping[str, str] = field(default_factory=dict)
    # Every key that the study has ever searched; None: nothing is known of it.
    known: frozenset[str] | None = None
    is_valid: Validity = any_point  # whether a point satisfies the constraints, which are of the space
    custom_space: str | None = None  # dotted path of the application's own search space; None: there is none
    # Reads what is fixed beside the options that a trial has of searched groups, which may set it; None: `fixed` holds.
    read_settings: ReadSettings | None = None
    followers: Mapping[str, str] = field(default_factory=dict)  # keys that follow searched ones, as they are written
    custom_before: str | None = None  # which such function drew of trials that do not say; None: the present one
    _points: dict[int, Point | None] = field(default_factory=dict, compare=False)

    def list_changed(self, point: Mapping[str, Any]) -> dict[str, str]:
        """Return what has to be noted of a new trial, as overrides: earlier ones that lack it had something else."""
        settings = self._write(point)
        fixed, had = self._read_fixed(settings), self._read_defaults(settings)
        # What was searched from the first trial on is in nobody's defaults: a later trial that lacks it has it noted.
        had = {**dict.fromkeys(self.known or ()), **had}
        return {key: _write_override(text) for key, text in fixed.items() if had.get(key, text) != text}

    def read_own(self, trial: FrozenTrial) -> dict[str, Any]:
        """Return what the application's own space drew of a trial.

        Trials of earlier versions do not say: there it is what was never searched.
        """
        return {name: value for name, value in trial.params.items() if self._is_own(trial, name)}

    def _is_own(self, trial: FrozenTrial, name: str) -> bool:
        return name in trial.system_attrs.get(OWN_KEY, {}).get("names", ()) or name_key(name) not in self._searched

    @cached_property
    def _searched(self) -> frozenset[str]:
        """Every key that is searched, or ever was."""
        return (self.known or frozenset()).union(self.space.keys)

    def _is_of_other_function(self, trial: FrozenTrial) -> bool:
        """Return whether another function than that of the application's own space drew a part of a trial."""
        drew = trial.system_attrs.get(OWN_KEY, {}).get("function", self.custom_before or self.custom_space)
        return self.known is not None and bool(self.read_own(trial)) and (drew is None or drew != self.custom_space)

    def read(self, trial: FrozenTrial) -> Point | None:
        """Return the point of a trial; None where it is none of the space as it is now, or has none yet."""
        if trial.number in self._points:
            return self._points[trial.number]
        point = None if self._is_of_other_function(trial) else self._read(trial)
        if point is not None and not self.is_valid(point):
            point = None
        if trial.state.is_finished() or (point is not None and "fixed_params" in trial.system_attrs):
            self._points[trial.number] = point  # it never changes
        return point

    def is_left_behind(self, trial: FrozenTrial) -> bool:
        """Return whether a trial that has not ended cannot go on: what it has drawn is none of the space as it is now.

        That may be less than a point. A trial that has begun had, of a key that it did not draw, what was set then.
        """
        if self._is_of_other_function(trial):
            return True
        drawn = self._list_drawn(trial)
        if not drawn:
            return False
        point = self._read(trial)
        if point is not None:
            return not self.is_valid(point)
        names = {name_key(name) for name in drawn}
        for item in self.space.parameters if trial.params else ():
            key = name_key(item.name)
            is_later = item.condition is None and key not in names and key in self.defaults
            if is_later and find_value(item.distribution, self.defaults[key]) is None:
                return True
        for name, value in drawn.items():
            key, text = name_key(name), write_setting(_read(value))
            now = [item.distribution for item in self.space.parameters if name_key(item.name) == key]
            if now and all(find_value(distribution, text) is None for distribution in now):
                return True
        settings = self._read_settings(trial, drawn)
        return self._is_fixed_otherwise({**(self._read_defaults(settings) if trial.params else {}), **settings})

    def _read(self, trial: FrozenTrial) -> Point | None:
        drawn = self._list_drawn(trial)
        has_ended = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        if not drawn and not has_ended and self.space.parameters:
            return None  # its defaults are those of a trial that had nothing to draw, not of one that has yet to
        return self.find_point(self._read_settings(trial, drawn))

    def find_point(self, settings: Mapping[str, str]) -> Point | None:
        """Return the point that written settings mean; None where it is none of the space as it is now."""
        point: Point = {}
        for parameter in self.space.walk(point):
            text = self._find(parameter, settings)
            found = None if text is None else find_value(parameter.distribution, text)
            if found is None:
                return None
            point[parameter.name] = found[0]
        return None if self._is_fixed_otherwise({**self._read_defaults(settings), **settings}) else point

    def _is_fixed_otherwise(self, settings: Mapping[str, str | None]) -> bool:
        """Return whether a key that is not searched now has another value in settings than the one that is fixed."""
        keys = self._unsearched & settings.keys()
        fixed = self._read_fixed({key: text for key, text in settings.items() if text is not None}) if keys else {}
        return any(_canonical(settings[key]) != _canonical(fixed.get(key)) for key in keys)

    @cached_property
    def _unsearched(self) -> frozenset[str]:
        """Every key that is not searched now, and is fixed or was searched."""
        return (self.known or frozenset()).union(self.fixed).difference(self.space.keys)

    def _read_fixed(self, settings: Mapping[str, str]) -> Mapping[str, str]:
        """Return what a trial of such settings would have now of keys that are not searched."""
        if self.read_settings is None:
            return self.fixed
        written = {key: self.followers[key] for key in self._unsearched & self.followers.keys()}
        # A group of a branch may not be there under another option, which then composes with no option of it.
        defaults = {key: text for key, text in self.defaults.items() if key not in self._conditional}
        return {**self.read_settings(self._unsearched, {**defaults, **settings}), **written}

    @cached_property
    def _conditional(self) -> frozenset[str]:
        """Keys that are searched in branches alone."""
        always = {item.key for item in self.space.parameters if item.condition is None}
        return frozenset(name_key(item.key) for item in self.space.parameters if item.key not in always)

    def _read_defaults(self, settings: Mapping[str, str]) -> dict[str, str | None]:
        """Return what a trial of such settings had of keys before they were searched; None: it is not known."""
        had, keys = {**self.defaults, **settings}, {name.partition(" (")[0] for name in self.defaults}
        return {key: find_default(key, self.defaults, had) for key in keys}

    def _list_drawn(self, trial: FrozenTrial) -> dict[str, Any]:
        """Return what the search has drawn of a trial, and what it is to draw."""
        drawn = {**trial.params, **trial.system_attrs.get("fixed_params", {})}
        return {name: value for name, value in drawn.items() if not self._is_own(trial, name)}

    def _read_settings(self, trial: FrozenTrial, drawn: Mapping[str, Any]) -> dict[str, str]:
        noted = {
            name_key(name): write_setting(read_value(text))
            for name, text in trial.user_attrs.items()
            if isinstance(text, str) and (name_key(name) in self.defaults or name_key(name) in self._unsearched)
        }
        return {**noted, **self._write(drawn)}

    def _write(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Write drawn values as settings."""
        return {name_key(name): write_setting(_read(value)) for name, value in values.items()}

    def _find(self, parameter: Parameter, settings: Mapping[str, str]) -> str | None:
        key = name_key(parameter.name)
        return settings[key] if key in settings else find_default(key, self.defaults, {**self.defaults, **settings})


def find_default(key: str, defaults: Mapping[str, str], settings: Mapping[str, str]) -> str | None:
    """Return what a trial had of a key before it was searched: what its option of a group set, else all had the same.

    None where it is not known: options of several groups set it, and not to the same.

    Args:
        key: The key.
        defaults: What the definition of the study keeps of such keys; of options, as ``key (group=option)``.
        settings: What the trial had of other keys.
    """
    told = {}
    for name, text in defaults.items():
        if name.startswith(f"{key} ("):
            group, _, option = name[len(key) + 2 : -1].partition("=")
            if group != key and settings.get(group) in (option, write_setting(option)):
                told[_canonical(text)] = text
    if len(told) > 1:
        return None
    return next(iter(told.values()), defaults.get(key))


def find_other_point(space: Space, is_valid: Validity, written: Mapping[str, str], read: ReadSettings) -> Point | None:
    """Return the valid point of a space that settings mean which were drawn elsewhere; None where it is none.

    What was not drawn is as it is set here; what was, and is not searched here, has to be.
    """
    fixed = read({*written, *space.keys}, written)
    point = PointReader(space, fixed=fixed, known=frozenset(written)).find_point({**fixed, **written})
    return point if point is None or is_valid(point) else None


class Changes:
    """Tells which trials of a study are not what they were at the last look.

    Storages put another object in the place of a trial that changes, so that a look at a large study is a comparison of
    addresses, and whatever is counted over its trials is counted on from what changed.
    """

    def __init__(self) -> None:
        self._seen: tuple[FrozenTrial, ...] = ()

    def take(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Return the trials that are new or have changed since the last call.

        Args:
            trials: All trials of the study, in the order of their numbers.
        """
        before, self._seen = self._seen, tuple(trials)
        changed = [now for now, then in zip(self._seen, before, strict=False) if now is not then]
        return [*changed, *self._seen[len(before) :]]


class TakenPoints:
    """How many of some points the trials of a study have, followed as trials come and change.

    Args:
        reader: Reads the trials.
        grid: The points.
        only_complete: Whether a point is taken by a complete trial alone.
    """

    def __init__(self, reader: PointReader, grid: Collection[Key], *, only_complete: bool = False) -> None:
        self._reader = reader
        self._grid = grid
        self._only_complete = only_complete
        self._changes = Changes()
        self._keys: dict[int, Key] = {}
        self._counts: Counter[Key] = Counter()

    def follow(self, trials: Sequence[FrozenTrial]) -> TakenPoints:
        """Take the trials as they are now."""
        for trial in self._changes.take(trials):
            is_counted = trial.state == TrialState.COMPLETE or not self._only_complete
            point = self._reader.read(trial) if is_counted else None
            key = None if point is None else make_key(point)
            if key == self._keys.get(trial.number):
                continue
            if (known := self._keys.pop(trial.number, None)) is not None:
                self._counts[known] -= 1
                if not self._counts[known]:
                    del self._counts[known]
            if key is not None and key in self._grid:
                self._keys[trial.number] = key
                self._counts[key] += 1
        return self

    @property
    def are_all(self) -> bool:
        """Whether every point is taken."""
        return len(self._counts) == len(self._grid)

    def __len__(self) -> int:
        return len(self._counts)

    def __contains__(self, key: Key) -> bool:
        return key in self._counts


def make_key(point: Mapping[str, Any]) -> Key:
    """Return a point as something that can be compared."""
    return tuple(sorted(make_part(name, value) for name, value in point.items()))


def make_part(name: str, value: Any) -> tuple[str, str]:
    """Return what a parameter's value adds to the key of a point."""
    return name_key(name), str(_canonical(write_setting(_read(value))))


def find_value(distribution: BaseDistribution, text: str) -> tuple[Any] | None:
    """Return the value of a distribution that means a written setting; None where it has none."""
    if isinstance(distribution, CategoricalDistribution):
        wanted = _canonical(text)
        return next(((one,) for one in distribution.choices if _canonical(write_setting(_read(one))) == wanted), None)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if not is_number(text) or not math.isfinite(float(text)):
        return None
    number = float(text)
    if isinstance(distribution, IntDistribution):
        if not number.is_integer():
            return None
        number = int(number)
    return (number,) if contains(distribution, number) else None


def _write_override(text: str) -> str:
    """Write a setting as the right side of an override."""
    if text[:1] in ("[", "{") or text in ("True", "False") or is_number(text):
        return text
    return "null" if text == "None" else write_value(ast.literal_eval(text) if text[:1] in ("'", '"') else text)


def _read(value: Any) -> Any:
    """Return what a drawn value means in a configuration."""
    return read_value(write_value(value)) if isinstance(value, str) else value


def _canonical(text: str | None) -> str | None:
    """Make 1 and 1.0 one: a configuration's types make a whole number a float, and Optuna holds them for equal.

    So are 0 and -0.0, and 0.3 and what steps of 0.1 from 0 add up to.
    """
    return repr(float(f"{float(text):.{DIGITS}g}") + 0.0) if text is not None and is_number(text) else text
