"""Composes the jobs of a study as Hydra's launchers do, and quickly; and reads what all of them share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException
from optuna.distributions import CategoricalDistribution

from sentiment.composing import MergingComposer
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
        self._merging = MergingComposer(self.compose_slowly, self._is_group)
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

    def _is_group(self, key: str) -> bool:
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
        overrides = (*self._choose(chosen).values(), *self.space.shared)
        if overrides not in self._composed:  # trials of another study have few different options
            self._composed[overrides] = self.composer.compose(overrides)
        config = self._composed[overrides]
        choices = config.hydra.runtime.choices  # not those of the sweep, which know nothing of what `params` fix
        known = [key for key in keys if key not in self._groups or self._has_default(key)]
        found = {
            key: choices[key] if choices.get(key) else OmegaConf.select(config, key, default=_NOWHERE) for key in known
        }
        return {key: write_setting(value) for key, value in found.items() if value is not _NOWHERE}

    def describe(self) -> dict[str, str]:
        """Resolve what the trials share.

        That is the base configuration less what is searched; and of a searched config group, what each option says.
        """
        searched = {parameter.key.lstrip("+") for parameter in self.space.parameters}
        needed = self._choose({})
        settings = {key: value for key, value in self._resolve(needed).items() if not is_within(key, searched)}
        for group, options in self._groups.items():
            for line in (f"{group}={option}" for option in options):
                settings |= {
                    f"{key} ({line})": value
                    for key, value in self._resolve({**needed, group: line}).items()
                    if key.startswith(f"{group}.") and key not in searched
                }
        return settings

    @cached_property
    def keys_of_groups(self) -> dict[str, list[str]]:
        """The searched config groups that are not ignored, each with the keys that its options set differently."""
        found = {}
        for group, options in self._groups.items():
            if is_within(group, self.composer.ignored):
                continue
            tables = [self._resolve({**self._choose({}), group: f"{group}={option}"}, [group]) for option in options]
            tables = [table for table in tables if group not in table]  # pretrain=none has no keys
            keys = {key for table in tables for key in table if is_within(key, [group])}
            found[group] = [key for key in sorted(keys) if len({table.get(key) for table in tables}) > 1]
        return found

    def _resolve(self, chosen: Mapping[str, str], drawn: Collection[str] = ()) -> dict[str, str]:
        return self.composer.resolve(self.composer.compose([*chosen.values(), *self.space.shared]), drawn)

    def _choose(self, chosen: Mapping[str, str]) -> dict[str, str]:
        """Return overrides by searched config group: the option `chosen`; of a group without a default any option."""
        return {
            group: f"{group}={chosen[group] if chosen.get(group) in options else options[0]}"
            for group, options in self._groups.items()
            if chosen.get(group) in options or not self._has_default(group)
        }

    def _has_default(self, group: str) -> bool:
        return not OmegaConf.is_missing(self.config.hydra.runtime.choices, group)

    @property
    def _groups(self) -> dict[str, Sequence[Any]]:
        """The options of the config groups that are searched."""
        groups = list(self.config.hydra.runtime.choices)
        return {
            item.key: item.distribution.choices
            for item in self.space.parameters
            if item.key in groups and isinstance(item.distribution, CategoricalDistribution)
        }
