"""Composes the jobs of a study: as Hydra's launchers do, from files read once, and quickly.

Hydra reads its YAML files anew for every job of a sweep: an edit during a sweep would change later trials. The study
composes from files read once.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException

from sentiment.composing import MergingComposer
from sentiment.flat import flatten


class Composer:
    """Composes jobs.

    Composing from scratch would be most of a short trial's overhead. `compose` and `compose_slowly` agree, which a test
    holds for every kind of override.

    Args:
        loader: Hydra's loader.
        study: The configuration of the whole study.
        ignored: Keys and groups that do not change a result.
        simplify: See `sentiment.search.application.Application`.
    """

    def __init__(
        self,
        loader: ConfigLoader,
        study: DictConfig,
        ignored: Sequence[str],
        simplify: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
    ) -> None:
        self._loader = loader
        self._study = study
        self._ignored = tuple(ignored)
        self._simplify = simplify or dict
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
        return self._loader.load_sweep_config(self._study, list(overrides))

    def resolve(self, config: DictConfig) -> dict[str, str]:
        """Flatten what determines a result: everything but Hydra's own node and the ignored keys."""
        names = [name for name in map(str, config) if name != "hydra" and not OmegaConf.is_missing(config, name)]
        flat = self._simplify(flatten({name: _resolve(config, name) for name in names}))
        return {key: str(value) for key, value in flat.items() if not is_within(key, self._ignored)}

    def _is_group(self, key: str) -> bool:
        if key not in self._groups:
            self._groups[key] = "." not in key and bool(self._loader.get_group_options(key))
        return self._groups[key]


def is_within(key: str, names: Collection[str]) -> bool:
    """Return whether a dotted key is one of the names, or belongs to a group among them."""
    return any(key == name or key.startswith(f"{name}.") for name in names)


def _resolve(config: DictConfig, name: str) -> Any:
    """Resolve one key; what only a running job can resolve (``${hydra:job.num}``) stays as it is written."""
    node = config._get_node(name)
    try:
        if OmegaConf.is_config(node):
            return OmegaConf.to_container(node, resolve=True)
        return config[name]
    except OmegaConfBaseException:
        if isinstance(node, DictConfig) and not node._is_interpolation():
            return {str(key): _resolve(node, str(key)) for key in node}
        raw = OmegaConf.to_container(config, resolve=False)
        assert isinstance(raw, dict)
        return raw[name]


class FrozenRepository:
    """A repository of config files that answers every question once and remembers the answer.

    Hydra copies its repository for every composition; copies of this one share what was read.
    """

    def __init__(self, repository: IConfigRepository, answers: dict[Any, Any] | None = None) -> None:
        self._repository = repository
        self._answers: dict[Any, Any] = {} if answers is None else answers

    def load_config(self, config_path: str) -> Any:
        """Read a file once; a copy each time, as composing changes what it gets."""
        key = ("load_config", config_path)
        if key not in self._answers:
            self._answers[key] = self._repository.load_config(config_path)
        return copy.deepcopy(self._answers[key])

    def group_exists(self, config_path: str) -> Any:
        """Return whether a group is there."""
        return self._remember("group_exists", config_path)

    def config_exists(self, config_path: str) -> Any:
        """Return whether a file is there."""
        return self._remember("config_exists", config_path)

    def get_group_options(self, group_name: str, *arguments: Any, **named: Any) -> Any:
        """List a group's options."""
        return self._remember("get_group_options", group_name, *arguments, **named)

    def initialize_sources(self, config_search_path: Any) -> None:
        """Take another search path; what was read under the old one is forgotten by this copy."""
        self._repository = copy.deepcopy(self._repository)
        self._repository.initialize_sources(config_search_path)
        self._answers = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenRepository:
        return FrozenRepository(self._repository, self._answers)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_repository":
            raise AttributeError(name)
        return getattr(self._repository, name)

    def _remember(self, method: str, *arguments: Any, **named: Any) -> Any:
        key = (method, *arguments, *sorted(named.items()))
        if key not in self._answers:
            self._answers[key] = getattr(self._repository, method)(*arguments, **named)
        return self._answers[key]


def freeze(context: HydraContext) -> HydraContext:
    """Return a context whose loader reads every config file once."""
    loader: ConfigLoader = context.config_loader
    assert isinstance(loader, ConfigLoaderImpl), f"unknown kind of config loader: {type(loader).__name__}"
    frozen_loader = copy.copy(loader)
    frozen_loader.repository = FrozenRepository(loader.repository)  # type: ignore[assignment]
    frozen = copy.copy(context)
    frozen.config_loader = frozen_loader
    return frozen
