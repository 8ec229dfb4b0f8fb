"""The search space of a study: parameters, the conditions under which they exist, and what stays fixed."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import optuna
from hydra.core.override_parser.types import Quote, QuotedString, Transformer
from optuna.distributions import BaseDistribution, FloatDistribution

from sentiment.errors import ConfigError
from sentiment.flat import are_related, flatten
from sentiment.private import suggest
from sentiment.search.space.distributions import count_values, describe_distribution, parse_line

DIGITS = 15
"""Of a float, what is not rounding."""

_QUALIFIERS = re.compile(r"(\[[^\]]*\])+$")
"""What `Parameter.name` adds to a key."""

_CAST = re.compile(r"(bool|int|float)\([^()]*\)")
"""A choice that equals an earlier one in Python only; see `sentiment.search.space.distributions`."""


Point = dict[str, Any]
"""Parameter names to values, those of the space as it is now."""


@dataclass(frozen=True)
class LabelledPoint:
    """A point that people are told of."""

    label: str  # where it is from, or what it is
    point: Point  # the point; of one that is tried first, the sampler draws what is missing


@dataclass(frozen=True)
class Parameter:
    """One dimension of the space."""

    # The name in Optuna: the key, or ``key[condition]`` where branches sweep one key differently, or ``key[2]`` where
    # the study has grown to values that Optuna keeps under no name that it knows already.
    name: str
    key: str  # the key of the override, with its ``+`` if it has one
    distribution: BaseDistribution  # the values to draw from
    # Name and value (as text) of the parameter that must be set so for this one to exist; None: always.
    condition: tuple[str, str] | None = None

    def read(self, value: Any) -> Any:
        """Return a value as it was meant: steps of 0.1 from 0 add up to 0.30000000000000004, and 0.3 was written."""
        is_stepped = isinstance(self.distribution, FloatDistribution) and self.distribution.step is not None
        return float(f"{value:.{DIGITS}g}") if is_stepped else value


@dataclass(frozen=True)
class Space:
    """What a study may choose, and the overrides that every trial shares."""

    # Unconditional ones in the order they were written, then those of each branch.
    parameters: tuple[Parameter, ...] = ()
    fixed: Mapping[str, str] = field(default_factory=dict)  # key to value, as text
    plain: tuple[str, ...] = ()  # overrides passed on as they were written: deletions (``~key``) and list extensions
    # Keys of parameters and fixed overrides, and plain ones, in the order in which they were written; what does not
    # stand there comes after. Of a mapping and a key within it, the later counts.
    places: tuple[str, ...] = ()

    @property
    def keys(self) -> list[str]:
        """The keys that are searched."""
        return list(dict.fromkeys(name_key(parameter.name) for parameter in self.parameters))

    @property
    def shared(self) -> list[str]:
        """The overrides that every trial has."""
        return [*(f"{key}={text}" for key, text in self.fixed.items()), *self.plain]

    def active(self, values: Mapping[str, Any]) -> list[Parameter]:
        """List the parameters that exist at a point: the unconditional ones, and those whose condition it meets."""
        return [
            parameter
            for parameter in self.parameters
            if parameter.condition is None or holds_condition(parameter.condition, values)
        ]

    def walk(self, values: Mapping[str, Any]) -> Iterator[Parameter]:
        """List the parameters of a point which the caller fills meanwhile: what always exists, then what that opens."""
        yield from (item for item in self.parameters if item.condition is None)
        yield from [item for item in self.active(values) if item.condition is not None]

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """Draw a point for a trial: first what always exists, then the branches that this opens.

        Returns:
            Parameter names to values.
        """
        values: dict[str, Any] = {}
        for item in self.walk(values):
            values[item.name] = suggest(trial, item.name, item.distribution)
        return values

    def to_overrides(
        self, values: Mapping[str, Any], only: Callable[[str], bool] = lambda key: True
    ) -> tuple[str, ...]:
        """Write a point as Hydra overrides: parameters, then what is fixed, then deletions, as the stock plugin does.

        Where one says something about the key of another, the order in which they were written counts.

        Args:
            values: Parameter names to values.
            only: Whether a parameter takes part, by its key.
        """
        active = {parameter.key for parameter in self.active(values) if only(parameter.key)}
        kept = [(key, text) for key, text in self._write(values) if key in active or key in self.fixed or text is None]
        return tuple(key if text is None else f"{key}={text}" for key, text in kept)

    def _write(self, values: Mapping[str, Any]) -> list[tuple[str, str | None]]:
        """Return keys and values of the overrides of a point, in their order; a plain one has no value beside it."""
        drawn = [(item.key, write_value(item.read(values[item.name]))) for item in self.active(values)]
        lines = [*drawn, *self.fixed.items(), *((line, None) for line in self.plain)]
        if not self._is_ordered:
            return lines
        ranks = {key: place for place, key in enumerate(self.places)}
        return sorted(lines, key=lambda line: ranks.get(line[0], len(ranks)))

    @cached_property
    def _is_ordered(self) -> bool:
        lines = [*{item.key for item in self.parameters}, *self.fixed, *self.plain]
        keys = [line.partition("=")[0].lstrip("~+") for line in lines]
        return any(are_related(*pair) for pair in itertools.combinations(keys, 2))

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return a point as dotted configuration keys to plain values, the fixed overrides included.

        This is what constraints are asked about: `to_overrides` read back, without quotes and ``+``. A mapping stands
        there with each of its keys, too.
        """
        found: dict[str, Any] = {}
        for key, text in self._write(values):
            if text is not None:
                name, value = key.lstrip("+"), read_value(text)
                found |= (flatten({name: value}) if isinstance(value, dict) else {}) | {name: value}
        return found

    def list_points(self, list_values: Callable[[BaseDistribution], list[Any]]) -> Iterator[dict[str, Any]]:
        """List the product of values, every branch on its own.

        Args:
            list_values: Returns the values of a parameter that take part.
        """
        for trunk in _product([item for item in self.parameters if item.condition is None], list_values):
            for branch in _product([item for item in self.active(trunk) if item.condition is not None], list_values):
                yield {**trunk, **branch}

    def count_points(self) -> int | None:
        """Count the points, every branch on its own; None where a parameter is continuous."""
        numbers = ((item, count_values(item.distribution)) for item in self.parameters)
        counted = [(item, number) for item, number in numbers if number is not None]
        if len(counted) < len(self.parameters):
            return None
        total = 1
        for trunk, number in counted:
            if trunk.condition is None:
                choices = getattr(trunk.distribution, "choices", ())
                names = [(trunk.name, str(choice)) for choice in choices]
                opened = [math.prod(inner for item, inner in counted if item.condition == name) for name in names]
                total *= sum(opened) if opened else number
        return total

    def rename(self, names: Mapping[str, str]) -> Space:
        """Return the space with other names in Optuna."""
        return replace(
            self,
            parameters=tuple(
                replace(
                    item,
                    name=names.get(item.name, item.name),
                    condition=item.condition and (names.get(item.condition[0], item.condition[0]), item.condition[1]),
                )
                for item in self.parameters
            ),
        )

    def describe(self) -> dict[str, str]:
        """Describe each parameter in words that change exactly when the space does, to compare two studies."""
        texts: dict[str, str] = {}
        conditions: dict[str, list[str]] = {}
        for parameter in self.parameters:
            texts[parameter.name] = describe_distribution(parameter.distribution)
            if parameter.condition is not None:
                conditions.setdefault(parameter.name, []).append("=".join(parameter.condition))
        return {
            name: f"{text} if {' or '.join(conditions[name])}" if name in conditions else text
            for name, text in texts.items()
        }


def holds_condition(condition: tuple[str, str], values: Mapping[str, Any]) -> bool:
    """Return whether a point sets the parameter of a condition to the value of the condition."""
    name, text = condition
    return name in values and str(values[name]) == text


def name_key(name: str) -> str:
    """Return the override key of a parameter, without what qualifies its name and without Hydra's ``+``."""
    return _QUALIFIERS.sub("", name).lstrip("+")


def show_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a point as people know it: by override keys, with their ``+``, in place of the names in Optuna."""
    return {_QUALIFIERS.sub("", name): value for name, value in values.items()}


def write_value(value: Any) -> str:
    """Write a drawn value as the right side of an override.

    Quoted strings, lists, dictionaries and interpolations are kept as they were written; in other strings
    characters that mean something to the grammar (a comma, a bracket) are escaped.
    """
    if isinstance(value, str) and value[:1] not in ("'", '"', "[", "{") and "${" not in value:
        if _CAST.fullmatch(value):
            return value
        text = str(Transformer.str(value))
        # What reads as something else, or not at all, was in quotes: choice('1','#2'). Only null has none of its own.
        return text if value == "null" or _reads_as_text(text) else QuotedString(value, Quote.single).with_quotes()
    return str(value)


def _reads_as_text(text: str) -> bool:
    try:
        return isinstance(read_value(text), str)
    except ConfigError:
        return False


@lru_cache(maxsize=10_000)
def read_value(text: str) -> Any:
    """Return what the right side of an override means."""
    return parse_line(f"key={text}", None).value()


def _product(
    parameters: list[Parameter], list_values: Callable[[BaseDistribution], list[Any]]
) -> Iterator[dict[str, Any]]:
    names = [parameter.name for parameter in parameters]
    for values in itertools.product(*(list_values(parameter.distribution) for parameter in parameters)):
        yield dict(zip(names, values, strict=True))
