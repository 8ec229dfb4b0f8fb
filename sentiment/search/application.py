"""What the engine takes from a Hydra application: what it tells of its configurations, and its config files, read once.

What an application tells travels with its task function. Hydra reads its YAML files anew for every job of a sweep: an
edit during the sweep would change later jobs.
"""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from hydra.core.config_loader import ConfigLoader
from hydra.types import HydraContext
from omegaconf import DictConfig

from sentiment.errors import Fault
from sentiment.private import replace_repository

Task = TypeVar("Task", bound=Callable[..., Any])


def tell_nothing(config: DictConfig) -> None:
    """Stand for what an application does not tell of a configuration."""


@dataclass(frozen=True, kw_only=True)
class Application:
    """What an application may tell; as a decorator it tells it of a task function.

    The decorator stands below ``hydra.main``::

        @hydra.main(config_path="conf", config_name="config")
        @searchable(find_faults=find_faults)
        def main(config: DictConfig) -> float:
    """

    # Lists what is wrong with one composed configuration; asked about every corner of a search before its first trial.
    find_faults: Callable[[DictConfig], Sequence[Fault]] | None = None
    # Names the data that a configuration reads, so that equal settings on changed data count as different.
    identify_data: Callable[[DictConfig], str | None] = tell_nothing
    # Writes flat resolved settings, and those that a study stored as text, in the words of this version: without keys
    # that a later version of the application got, at the values that mean what was before, and with the keys that stand
    # for those of an earlier one. Studies stored by other versions then go on.
    simplify: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    # Names the code that a result depends on, as the process has it in which it is asked: that of the study when a job
    # is planned, and that of the job. Without it, studies reuse only results of their own.
    identify_code: Callable[[DictConfig], str | None] = tell_nothing
    # Takes over the folder of an equal job of another study, given that folder and the number of the job here.
    adopt: Callable[[Path, int], None] | None = None
    # Modules that its jobs import, and whose import starts no thread and touches no GPU: worker processes are forked
    # from one that has imported these beside the engine, and need not each import them again.
    preload: Sequence[str] = ()
    # Points, as overrides, that the application has checked itself before Hydra started (see
    # `sentiment.search.plugin.sweeper`): the engine does not check them again.
    checked: set[tuple[str, ...]] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Let None stand for telling nothing, as in the other fields."""
        for name in ("identify_data", "identify_code"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, tell_nothing)

    def __call__(self, task: Task) -> Task:
        """Tell the engine of a task function's configurations."""
        task.application = self  # type: ignore[attr-defined]
        return task

    @property
    def identifies_code(self) -> bool:
        """Whether studies may take results from each other: only what is known to be of equal code is equal."""
        return self.identify_code is not tell_nothing


searchable = Application
"""The class as a decorator: it sets ``task.application`` and returns the task itself."""


def application_of(task: Callable[..., Any]) -> Application:
    """Return what an application told with its task function, decorated by ``hydra.main`` or not."""
    told = getattr(task, "application", None)
    return told if isinstance(told, Application) else Application()


def find_home(task: Callable[..., Any], config: DictConfig) -> Path | None:
    """Find an application's folder: the innermost that holds its task's file and its config folder."""
    sources = [source.path for source in config.hydra.runtime.config_sources if source.provider == "main"]
    file = inspect.getsourcefile(inspect.unwrap(task)) if inspect.isfunction(inspect.unwrap(task)) else None
    if file is None or not sources or not Path(sources[0]).is_absolute():
        return None
    home = Path(os.path.commonpath([Path(file).resolve().parent, Path(sources[0]).resolve()]))
    return None if home == home.parent else home


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
