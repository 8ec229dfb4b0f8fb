"""Composes the jobs of a study as Hydra's launchers do, and quickly; and reads what all of them share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException
from optuna.distributions import CategoricalDistribution

from sentiment.composing import COMPOSE_ERRORS, MergingComposer, without_hydra
from sentiment.flat import flatten, is_within
from sentiment.paths import write_portable
from sentiment.search.space.parameters import Space
from sentiment.search.space.points import write_setting

_NOWHERE = object()


class Composer:
    """Composes jobs.

    Composing from scratch would be most of a short trial's overhead. `compose` and `compose_slowly` agree, which a test
    holds for every kind of override.

    Args:
        loader: Hydra's loader.
        study: The configuration of the whole study.
        ignored: Keys and groups that do not change a result.
        simplify: See `sentiment.search.application.Application`.
        home: The application's folder; None: it has none.
    """

    def __init__(
        self,
        loader: ConfigLoader,
        study: DictConfig,
        ignored: Sequence[str],
        simplify: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
        home: Path | None = None,
    ) -> None:
        self.loader = loader
        self._study = study
        self.ignored = tuple(ignored)
        self.simplify = simplify or dict
        self._home = home
        self._parser = OverridesParser.create(config_loader=loader)
        self._merging = MergingComposer(self.compose_slowly, self.is_group)
        self._groups: dict[str, bool] = {}

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Compose one job.

        Raises:
            HydraException: The overrides do not compose.
        """
        parsed = self._parser.parse_overrides(list(overrides))
        try:
            config = self._merging.compose(parsed)
        except OmegaConfBaseException:
            return self.compose_slowly(overrides)  # it says what is wrong in Hydra's words
        with read_write(config.hydra):
            task = [str(override.input_line) for override in parsed if not override.is_hydra_override()]
            config.hydra.overrides.task = task
        return config

    def compose_slowly(self, overrides: Sequence[str]) -> DictConfig:
        """Compose one job from scratch, as Hydra does.

        Raises:
            HydraException: The overrides do not compose.
        """
        return self.loader.load_sweep_config(self._study, list(overrides))

    def resolve(self, config: DictConfig, drawn: Collection[str] = ()) -> dict[str, str]:
        """Flatten what determines a result, as text that tells types apart: all but Hydra's node and ignored keys.

        Keys that were drawn are never ignored, nor is what is within them: they are what a study asks about.
        """
        names = [name for name in map(str, config) if name != "hydra" and not OmegaConf.is_missing(config, name)]
        flat = self.simplify(flatten({name: _resolve(config, name) for name in names}))
        kept = [key for key in flat if is_within(key, drawn) or not is_within(key, self.ignored)]
        return self.make_portable({key: write_setting(flat[key]) for key in kept})

    def make_portable(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Write the application's folder for any place: an application that is moved goes on with its studies."""
        if self._home is None:
            return dict(settings)
        return {key: write_portable(text, self._home) for key, text in settings.items()}

    def is_group(self, key: str) -> bool:
        """Return whether a key is a config group with options."""
        if key not in self._groups:
            self._groups[key] = "." not in key and bool(self.loader.get_group_options(key))
        return self._groups[key]


def _resolve(config: DictConfig, name: str) -> Any:
    """Resolve one key; what only a running job can resolve (``${hydra:job.num}``) stays as it is written."""
    try:
        value = config[name]
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException:
        is_here = not OmegaConf.is_missing(config, name) and not OmegaConf.is_interpolation(config, name)
        if is_here and isinstance(config[name], DictConfig):
            return {str(key): _resolve(config[name], str(key)) for key in config[name]}
        raw = OmegaConf.to_container(config, resolve=False)
        assert isinstance(raw, dict)
        return raw[name]


@dataclass(frozen=True)
class SharedSettings:
    """Reads the settings that a search leaves as they are."""

    config: DictConfig  # the composed configuration of the sweep
    space: Space  # what may be chosen
    composer: Composer  # composes jobs
    _composed: dict[tuple[str, ...], DictConfig] = field(default_factory=dict, init=False, repr=False, compare=False)

    def read(self, keys: Collection[str], chosen: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
        """Return the settings of keys with the options `chosen`, the others unsearched; keys that are nowhere lack."""
        config = self._compose(chosen)
        choices = config.hydra.runtime.choices  # not those of the sweep, which know nothing of what `params` fix
        found = {}
        for key in keys:
            if choices.get(key) and (key not in self._groups or self._has_default(key)):
                found[key] = choices[key]
            elif key in self._groups:
                found[key] = self._find_default(key)
            else:
                found[key] = OmegaConf.select(config, key, default=_NOWHERE)
        return {key: write_setting(value) for key, value in found.items() if value is not _NOWHERE}

    def describe(self) -> dict[str, str]:
        """Resolve what the trials share.

        That is the base configuration less what is searched; and of a searched config group, what each option says,
        within the group and elsewhere (``# @package``, defaults that it overrides).
        """
        searched, ignored = {parameter.key.lstrip("+") for parameter in self.space.parameters}, self.composer.ignored
        settings = {key: value for key, value in self._base[1].items() if not is_within(key, {*searched, *ignored})}
        for group, tables in self._tables.items():
            apart = {*searched, *ignored} - self._groups.keys()
            differing = _find_set([self._base[0], *(written for written, _ in tables.values())])
            elsewhere = [key for key in differing if not is_within(key, [group])]
            for option, (_, resolved) in tables.items():
                told = {
                    f"{key} ({group}={option})": value
                    for key, value in resolved.items()
                    if (key.startswith(f"{group}.") and key not in searched and not is_within(key, ignored))
                    or (is_within(key, elsewhere) and not is_within(key, apart))
                }
                settings |= told or {f"{group} ({group}={option})": "None"}  # pretrain=none is known, too
        return settings

    @cached_property
    def interpolations(self) -> dict[str, str]:
        """How settings are written that follow others: ``model.hidden_size`` is ``${.embedding_size}``.

        Those of an option of a searched group are named as in `describe`.
        """
        tables = {"": self._base[0]} | {
            f" ({group}={option})": written
            for group, options in self._tables.items()
            for option, (written, _) in options.items()
        }
        return {
            f"{key}{suffix}": str(value)
            for suffix, table in tables.items()
            for key, value in table.items()
            if "${" in repr(value) and not is_within(key, self.composer.ignored)
        }

    @cached_property
    def followers(self) -> list[str]:
        """The keys that follow what is searched by interpolation, under some option of the searched groups."""
        found = self._find_followers({})
        for group, options in self._tables.items():
            for option, (written, resolved) in options.items():
                found |= self._find_followers({group: option})
                others = [other for _, other in options.values()]
                found |= {
                    key
                    for key, value in written.items()
                    if "${" in repr(value) and not is_within(key, [group])
                    if any(other.get(key) != resolved.get(key) for other in others)
                }
        return sorted(found)

    def _find_followers(self, chosen: Mapping[str, str]) -> set[str]:
        """Return the keys written with an interpolation that have no value without the keys that are searched."""
        tree = cast(dict[str, Any], OmegaConf.to_container(without_hydra(self._compose(chosen)), resolve=False))
        whole, unset = OmegaConf.create(tree), OmegaConf.create(tree)
        searched = {parameter.key.lstrip("+") for parameter in self.space.parameters} - self._groups.keys()
        for key in searched:
            OmegaConf.update(unset, key, "???")
        names = {key for key, value in flatten(tree).items() if "${" in repr(value)} - searched
        return {key for key in names if _has_value(whole, key) and not _has_value(unset, key)}

    def list_options(self) -> dict[str, str]:
        """Return the option of every config group that is not searched."""
        choices = self._compose({}).hydra.runtime.choices
        own = [str(group) for group in choices if not str(group).startswith("hydra/") and group not in self._groups]
        return {group: str(choices[group]) for group in own if not OmegaConf.is_missing(choices, group)}

    @cached_property
    def keys_of_groups(self) -> dict[str, list[str]]:
        """The searched config groups that are not ignored, each with the keys that its options set differently."""
        found = {}
        for group, options in self._tables.items():
            if is_within(group, self.composer.ignored):
                continue
            differing = _find_set([written for written, _ in options.values()])
            # pretrain=none has no keys
            tables = [resolved for _, resolved in options.values() if group not in resolved]
            keys = {key for table in tables for key in table if is_within(key, [group])}
            within = [key for key in sorted(keys) if len({table.get(key) for table in tables}) > 1]
            found[group] = [*within, *(key for key in sorted(differing) if not is_within(key, [group]))]
        return found

    @cached_property
    def _base(self) -> tuple[dict[str, Any], dict[str, str]]:
        return self._read_whole({})

    @cached_property
    def _tables(self) -> dict[str, dict[str, tuple[dict[str, Any], dict[str, str]]]]:
        """What every option of the searched config groups composes to: as it is written, and resolved."""
        tables: dict[str, dict[str, tuple[dict[str, Any], dict[str, str]]]] = {}
        for group, options in self._groups.items():
            tables[group] = {}
            for option in options:
                with suppress(*COMPOSE_ERRORS):  # it needs an option of another group: nothing is told of it
                    tables[group][option] = self._read_whole({group: option})
        return tables

    def _read_whole(self, chosen: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the settings as they are written, and resolved; what is ignored is among them."""
        config = self._compose(chosen)
        written = flatten(cast(dict[str, Any], OmegaConf.to_container(without_hydra(config), resolve=False)))
        return written, self.composer.resolve(config, list(map(str, config)))

    def _compose(self, chosen: Mapping[str, str]) -> DictConfig:
        overrides = (*self._choose(chosen).values(), *self.space.shared)
        if overrides not in self._composed:  # trials of another study have few different options
            self._composed[overrides] = self.composer.compose(overrides)
        return self._composed[overrides]

    def _choose(self, chosen: Mapping[str, str]) -> dict[str, str]:
        """Return overrides by searched config group: the option `chosen`; of a group without a default any option."""
        return {
            group: lines.get(chosen.get(group, ""), next(iter(lines.values())))
            for group, lines in self._groups.items()
            if chosen.get(group) in lines or not self._has_default(group)
        }

    def _find_default(self, group: str) -> Any:
        """Return the option that stands for a searched group at null: it sets what is there without it."""
        for option, (written, _) in self._tables[group].items() if self._has_default(group) else ():
            if _find_set([self._base[0], written]) <= {group} and written.get(group) is None:
                return option
        return _NOWHERE

    def _has_default(self, group: str) -> bool:
        return not OmegaConf.is_missing(self.config.hydra.runtime.choices, group)

    @cached_property
    def _groups(self) -> dict[str, dict[str, str]]:
        """The config groups that are searched, each with its options, and the overrides that choose them."""
        return {
            item.key.lstrip("+"): {str(option): f"{item.key}={option}" for option in item.distribution.choices}
            for item in self.space.parameters
            if isinstance(item.distribution, CategoricalDistribution)
            and (item.key in self.config.hydra.runtime.choices or self.composer.is_group(item.key.lstrip("+")))
        }


def _has_value(config: DictConfig, key: str) -> bool:
    """Return whether a key can be resolved."""
    try:
        value = OmegaConf.select(config, key, throw_on_missing=True)
        if OmegaConf.is_config(value):
            OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
    except Exception:  # of resolvers of the application, too
        return False
    return True


def _find_set(tables: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the keys that some options of a config group set, by what all of them compose to."""
    keys = {key for table in tables for key in table}
    return {key for key in keys if len({repr(table.get(key, _NOWHERE)) for table in tables}) > 1}
