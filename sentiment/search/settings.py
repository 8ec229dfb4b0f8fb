"""The settings that all trials of a search share: those of the configuration that the search does not choose."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from omegaconf import DictConfig, OmegaConf
from optuna.distributions import CategoricalDistribution

from sentiment.flat import is_within
from sentiment.search.composer import Composer
from sentiment.search.space.parameters import Space
from sentiment.search.space.points import write_setting

_NOWHERE = object()


@dataclass(frozen=True)
class SharedSettings:
    """Reads the settings that a search leaves as they are.

    Attributes:
        config: The composed configuration of the sweep.
        space: What may be chosen.
        composer: Composes jobs.
    """

    config: DictConfig
    space: Space
    composer: Composer
    _composed: dict[tuple[str, ...], DictConfig] = field(default_factory=dict, init=False, repr=False, compare=False)

    def read(self, keys: Collection[str], chosen: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
        """Return the settings of keys with the options `chosen`, the others unsearched; keys that are nowhere lack."""
        choices = self.config.hydra.runtime.choices
        overrides = (*self._choose(chosen).values(), *self.space.shared)
        if overrides not in self._composed:  # trials of another study have few different options
            self._composed[overrides] = self.composer.compose(overrides)
        config = self._composed[overrides]
        found = {
            key: choices[key] if choices.get(key) else OmegaConf.select(config, key, default=_NOWHERE) for key in keys
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
        choices = self.config.hydra.runtime.choices
        return {
            group: f"{group}={chosen[group] if chosen.get(group) in options else options[0]}"
            for group, options in self._groups.items()
            if chosen.get(group) in options or OmegaConf.is_missing(choices, group)
        }

    @property
    def _groups(self) -> dict[str, Sequence[Any]]:
        """The options of the config groups that are searched."""
        groups = list(self.config.hydra.runtime.choices)
        return {
            item.key: item.distribution.choices
            for item in self.space.parameters
            if item.key in groups and isinstance(item.distribution, CategoricalDistribution)
        }
