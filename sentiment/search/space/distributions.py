"""From one override to the Optuna distribution it stands for, or to a fault in plain words."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    RangeSweep,
    Transformer,
)
from hydra.errors import HydraException
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sentiment.errors import ConfigError, Fault, first_line
from sentiment.private import read_distribution

_GRAMMAR_REMEDY = "write KEY=choice(a,b), KEY=range(1,5), KEY=interval(0,1) or KEY=VALUE; quote special characters"
_REMEDIES: dict[type, str] = {
    ChoiceSweep: "write choice(a,b,...) with at least one value, each once",
    RangeSweep: "write range(START,STOP,STEP) with at least one value; STOP is left out, STEP is not 0",
    IntervalSweep: "write interval(LOW,HIGH) with finite LOW <= HIGH; with tag(log,...) LOW must be above 0",
    Glob: "glob(...) chooses among the options of a config group, e.g. model=glob(*)",
}

MOST_VALUES = 1_000_000
"""Of a range that is written out value by value."""


def parse_line(line: str, config_loader: ConfigLoader | None) -> Override:
    """Parse one override.

    Args:
        line: The override as typed, e.g. ``model.heads=choice(1,2,4)``.
        config_loader: Where ``glob`` looks for the options of a config group.

    Raises:
        ConfigError: The line breaks Hydra's override grammar.
    """
    try:
        override = OverridesParser.create(config_loader).parse_override(line)
    except HydraException as error:
        fault = Fault(line.partition("=")[0], f"{line!r} cannot be read: {first_line(error)}", _GRAMMAR_REMEDY)
        raise ConfigError([fault]) from error
    override.config_loader = config_loader
    return override


def bare_key(override: Override) -> str:
    """Return the key without the ``+``, ``++`` or ``~`` before it."""
    return override.get_key_element().lstrip("+~")


def build_distribution(override: Override) -> BaseDistribution:
    """Build the distribution of a swept override: the one that the stock Optuna sweeper builds.

    Two differences. ``glob`` works. ``shuffle`` keeps the written order, because Optuna compares the choices of a
    parameter between processes, in order: each worker must read the same ones.

    Raises:
        ConfigError: The sweep is empty, its ends are out of order, or Optuna does not accept it.
    """
    value = override.value()
    try:
        return _tell_apart(_check_finite(_build(override)))
    except (ValueError, TypeError, ArithmeticError, AssertionError, HydraException) as error:
        reason = " ".join(str(error).split()) or "not a valid sweep"
        remedy = _REMEDIES.get(type(value), _GRAMMAR_REMEDY)
        fault = Fault(bare_key(override), f"{override.get_value_string()}: {reason}", remedy)
        raise ConfigError([fault]) from error


def _build(override: Override) -> BaseDistribution:
    value = override.value()
    if isinstance(value, Glob):
        options = list(override.sweep_iterator())
        if not options:
            raise ValueError(f"no option of {override.key_or_group} matches")
        return CategoricalDistribution(options)
    if isinstance(value, IntervalSweep) and (others := sorted(value.tags - {"log"})):
        raise ValueError(f"there is no scale {', '.join(others)}")
    if isinstance(value, RangeSweep):
        _require_countable(value)
        if "log" in value.tags:
            raise ValueError("a range has no logarithmic scale; write tag(log,int(interval(LOW,HIGH)))")
    if isinstance(value, RangeSweep) and value.shuffle:
        if value.step == 0:
            raise ValueError("the step is 0")
        choices: list[Any] = [Transformer.encode(item) for item in value]
        return CategoricalDistribution(choices)
    if isinstance(value, ChoiceSweep) and value.shuffle:
        override = dataclasses.replace(override, _value=dataclasses.replace(value, shuffle=False))
    distribution = read_distribution(override)
    assert isinstance(distribution, BaseDistribution), "only swept overrides have a distribution"
    return distribution


def _require_countable(value: RangeSweep) -> None:
    """Refuse a range of so many values that writing them down takes all memory; whole numbers are only counted."""
    ends = (value.start or 0, value.stop or 0, value.step)
    if not value.step or (all(isinstance(end, int) for end in ends) and not value.shuffle and not value.transformers):
        return
    start, stop, step = map(float, ends)
    if abs(stop - start) / abs(step) > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values; interval(LOW,HIGH) draws any number between two ends")


def _check_finite(distribution: BaseDistribution) -> BaseDistribution:
    # Optuna takes infinite ends and fails only when it draws.
    if isinstance(distribution, FloatDistribution):
        ends = (distribution.low, distribution.high)
        if not all(math.isfinite(end) for end in ends):
            raise ValueError(f"the ends {ends} are not finite")
    return distribution


def _tell_apart(distribution: BaseDistribution) -> BaseDistribution:
    """Write true as a cast where 1 is another choice: they are equal in Python, so Optuna would take them for one."""
    if not isinstance(distribution, CategoricalDistribution):
        return distribution
    choices: list[Any] = []
    for choice in distribution.choices:
        is_known = any(choice == other and isinstance(choice, bool) != isinstance(other, bool) for other in choices)
        choices.append(f"{type(choice).__name__}({choice})" if is_known else choice)
    return CategoricalDistribution(choices) if choices != list(distribution.choices) else distribution


def count_values(distribution: BaseDistribution) -> int | None:
    """Count the values of a distribution; None where it is continuous."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return (distribution.high - distribution.low) // distribution.step + 1
    assert isinstance(distribution, FloatDistribution)
    if distribution.step is not None:
        return round((distribution.high - distribution.low) / distribution.step) + 1
    return 1 if distribution.single() else None


def describe_distribution(distribution: BaseDistribution) -> str:
    """Return a distribution as text; two that differ have different texts."""
    if isinstance(distribution, CategoricalDistribution):
        return f"choice({', '.join(repr(choice) for choice in distribution.choices)})"
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    kind = "whole numbers" if isinstance(distribution, IntDistribution) else "numbers"
    step = f" in steps of {distribution.step}" if distribution.step not in (None, 1) else ""
    if isinstance(distribution, FloatDistribution) and distribution.step == 1:
        step = " in steps of 1.0"
    log = ", log scale" if distribution.log else ""
    return f"{kind} from {distribution.low} to {distribution.high}{step}{log}"
