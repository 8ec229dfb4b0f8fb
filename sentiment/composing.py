"""Compose configurations that mostly differ in plain values: the rest once, the values merged into a copy of it.

Hydra composes a configuration from its YAML files in tens of milliseconds. Between the points of a sweep mostly plain
values differ, and those are merged last of all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, OverrideType, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sentiment.errors import Fault, first_line
from sentiment.flat import are_related, flatten
from sentiment.private import copy_config

COMPOSE_ERRORS = (HydraException, OmegaConfBaseException)

OF_FILE = re.compile(
    r"(?P<file>In '.+?'): \w+ raised while composing config:\n(?P<reason>.+)\n\s+full_key: (?P<key>.+)"
)
"""What Hydra says of a key or a value that a file has and its group does not take."""

INTERPOLATED = re.compile(r"(?<!\\)\$\{\s*(?:oc\.select:\s*)?([\w.\[\]]+)\s*[,}]")
"""A key that a value of a YAML file follows."""

BOUNDED = re.compile(r"\b(?:interval|range)\(")
"""What takes numbers alone, and so nothing that a trial reads for itself."""


def without_hydra(config: DictConfig) -> DictConfig:
    """Return the settings of a composed configuration alone: a copy without Hydra's node."""
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def find_reason(error: BaseException) -> str:
    """Return in one line why something does not compose; of a file, the key at fault too."""
    cause = error.__cause__ or error
    if found := OF_FILE.match(str(cause)):
        return "{}, {}: {}".format(*found.group("file", "key", "reason"))
    return first_line(cause)


def read_words(overrides: Sequence[str]) -> list[str]:
    """Return the words of a command as they were typed, from ``hydra.overrides.task`` or ``hydra.overrides.hydra``.

    Hydra keeps them in the configuration. There a ``${...}`` among them is an interpolation, to be resolved against
    that list, or against what a sweep has before its jobs.
    """
    return list(map(str, cast(list[Any], OmegaConf.to_container(overrides, resolve=False))))


def write_override(key: str, text: str) -> str:
    """Write an override that gives a key a text, such as a path, in Hydra's quotes where it needs them."""
    line = f"{key}={text}"
    try:
        is_read = OverridesParser.create().parse_override(line).value() == text
    except HydraException:
        is_read = False
    return line if is_read else f"{key}={QuotedString(text, Quote.single).with_quotes()}"


def spread(override: Override) -> dict[str, Any]:
    """Return what an override sets, a mapping's settings under their own keys: of ``model={heads: 8}`` model.heads."""
    return {} if override.is_delete() else flatten({override.key_or_group: override.value()})


def spread_line(line: str) -> dict[str, Any]:
    """Return what an override sets, as `spread` does, from its text."""
    return spread(OverridesParser.create().parse_override(line))


def find_nested(params: Mapping[str, Any], where: str) -> list[Fault]:
    """Return the faults of parameters that are written in groups, ``model: {depth: 1,2}``: each would be one text.

    Args:
        params: Key to the right side of an override, or to a value.
        where: The key that holds them.
    """
    faults = []
    parser = OverridesParser.create()
    for key, value in params.items():
        for leaf, text in flatten({key: value}).items() if isinstance(value, Mapping) else ():
            with suppress(HydraException):
                if isinstance(text, str) and parser.parse_override(f"{leaf}={text}").is_sweep_override():
                    problem = f"{leaf} would be the text {text!r}, and no list of values"
                    quoted = QuotedString(text, Quote.single).with_quotes()
                    remedy = f'write one key: {leaf}: {text}; or, for the text, {leaf}: "{quoted}"'
                    faults.append(Fault(f"{where}.{key}", problem, remedy))
    return faults


def find_fixed_followers(params: object, branches: object, overrides: Iterable[Override]) -> list[Fault]:
    """Return the faults of values in ``params`` and ``branches`` that follow what varies: YAML reads them but once.

    A key among its own values, ``choice(${seed},7)``, means the number of the configuration, which is read.

    Args:
        params: The node ``hydra.sweeper.params``, composed without what varies.
        branches: The node ``hydra.sweeper.branches``, likewise.
        overrides: Those of the command line, which win over both.
    """
    told = {one.key_or_group: one.is_sweep_override() for one in overrides}
    tables = {"hydra.sweeper.params": params}
    if isinstance(branches, Mapping):
        tables |= {f"hydra.sweeper.branches.{option!s}": table for option, table in branches.items()}
    texts = {
        (place, str(key)): str(text)
        for place, table in tables.items()
        if isinstance(table, DictConfig)
        for key, text in cast(dict[Any, Any], OmegaConf.to_container(table, resolve=False)).items()
        if key not in told
    }
    varied = {*(key for key, is_swept in told.items() if is_swept), *(key for _, key in texts)}
    faults = []
    for (place, key), text in texts.items():
        others = varied - {key}
        for name in [name for name in INTERPOLATED.findall(text) if any(are_related(name, one) for one in others)][:1]:
            remedy = "escape it, and each trial reads it: " + text.replace("${", "\\${")
            if BOUNDED.search(text):
                remedy = "write a number: no bound follows what varies; hydra.sweeper.constraints may compare both"
            faults.append(Fault(f"{place}.{key}", f"{text} is read once, before a trial has its own {name}", remedy))
    return faults


def list_values(override: Override) -> list[Override]:
    """Return an override of each value that a sweep names, of an interval its ends; a fixed one as it is."""
    if not override.is_sweep_override():
        return [override]
    value = override.value()
    texts = [value.start, value.end] if isinstance(value, IntervalSweep) else override.sweep_string_iterator()
    parser = OverridesParser.create(config_loader=override.config_loader)
    return parser.parse_overrides([f"{override.get_key_element()}={text}" for text in texts])


def list_written(override: Override) -> list[set[str]]:
    """Return the keys that each value of an override sets, as `spread` does."""
    # Sweeps of other kinds than this have no mapping among their values, and may have very many of these.
    values = list_values(override) if isinstance(override.value(), ChoiceSweep) else [override]
    return [{*spread(one)} for one in values]


def sets_all_of(override: Override, other: Override) -> bool:
    """Return whether each value of an override sets all keys that some value of another one sets."""
    others = set[str]().union(*list_written(other))
    return all(others <= keys for keys in list_written(override))


def find_replaced(overrides: Sequence[Override], name: Callable[[Override], Hashable]) -> list[Fault]:
    """Return the faults of words for one key of which a sweep would lose what a single run takes: it keeps the later.

    A single run takes a chosen option and a mapping of its keys, ``model=rnn 'model={depth: 2}'``, or two mappings.

    Args:
        overrides: Those of the sweep in the order in which they count; Hydra's own, which no sweeper keeps, are left.
        name: By what the sweeper keeps them: to Hydra's own ``model`` and ``++model`` are two, and it keeps both.
    """
    faults = []
    earlier: dict[Hashable, Override] = {}
    for later in overrides:
        if later.is_delete() or later.is_list_extend() or later.is_hydra_override():
            continue
        one, earlier[name(later)] = earlier.get(name(later)), later
        if one is not None and not sets_all_of(later, one):
            problem = f"{one.input_line} and {later.input_line} set the same key, and a sweep keeps the later alone"
            remedy = f"write {later.key_or_group}.NAME=VALUE for each key of a mapping, or leave one of the two out"
            faults.append(Fault(later.key_or_group, problem, remedy))
    return faults


class MergingComposer:
    """Composes what decides which files are read once, and gives copies of it with the values of each point.

    Args:
        compose: Composes overrides from scratch, as Hydra does.
        is_group: Whether a key is a config group.
    """

    def __init__(self, compose: Callable[[Sequence[str]], DictConfig], is_group: Callable[[str], bool]) -> None:
        self._compose = compose
        self._is_group = is_group
        self._bases: dict[tuple[str, ...], DictConfig] = {}

    def compose(self, overrides: Sequence[Override]) -> DictConfig:
        """Compose overrides.

        Raises:
            HydraException: They do not compose.
            OmegaConfBaseException: A value does not fit its key.
        """
        values = [override for override in overrides if self._is_value(override)]
        others = [override for override in overrides if override not in values and not self._is_choice(override)]
        if any(are_related(one.key_or_group, other.key_or_group) for one in values for other in others):
            return self._compose([str(override.input_line) for override in overrides])  # their order decides
        structure = tuple(str(override.input_line) for override in overrides if override not in values)
        if structure not in self._bases:
            self._bases[structure] = self._compose(structure)
        config: DictConfig = copy_config(self._bases[structure])
        for override in values:
            OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
        return config

    def _is_choice(self, override: Override) -> bool:
        """Return whether an override chooses an option; a mapping sets values, also where its key is a group."""
        return self._is_group(override.key_or_group) and not isinstance(override.value(), dict)

    def _is_value(self, override: Override) -> bool:
        """Return whether an override only sets a value that is there: no group, nothing added, deleted or moved.

        Values never decide which files are composed: Hydra interpolates a defaults list from choices of groups alone.
        """
        return (
            override.type is OverrideType.CHANGE
            and override.package is None
            and not override.is_hydra_override()
            and not self._is_group(override.key_or_group)
        )
