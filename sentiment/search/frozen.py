"""Config files that are read once.

Hydra reads its YAML files anew for every job of a sweep: an edit during the sweep would change later jobs.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.types import HydraContext

from sentiment.private import replace_repository

REMEMBERED = {"load_config", "group_exists", "config_exists", "get_group_options"}
"""The questions that a repository is asked, by method."""


class FrozenRepository:
    """A repository of config files that answers every question once and remembers the answer.

    Hydra copies its repository for every composition; copies of this one share what was read.
    """

    def __init__(self, repository: Any, answers: dict[Any, Any] | None = None) -> None:
        self._repository = repository
        self._answers: dict[Any, Any] = {} if answers is None else answers

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
        return partial(self._remember, name) if name in REMEMBERED else getattr(self._repository, name)

    def _remember(self, method: str, *arguments: Any, **named: Any) -> Any:
        key = (method, *arguments, *sorted(named.items()))
        if key not in self._answers:
            self._answers[key] = getattr(self._repository, method)(*arguments, **named)
        return copy.deepcopy(self._answers[key])  # composing changes what it gets


def freeze_loader(loader: ConfigLoader) -> None:
    """Let a loader read every config file once from now on."""
    replace_repository(loader, FrozenRepository)


def freeze(context: HydraContext) -> HydraContext:
    """Return a context whose loader reads every config file once."""
    frozen = copy.copy(context)
    frozen.config_loader = copy.copy(context.config_loader)
    freeze_loader(frozen.config_loader)
    return frozen
