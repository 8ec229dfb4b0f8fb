"""Samplers of OptunaHub, the registry of Optuna's community: ``hydra/sweeper/sampler=hub``.

Their code is fetched and run. So the command line alone names it, never a file of a configuration, and by its commit:
it stays the code that was read.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from omegaconf import DictConfig
from optuna.samplers import BaseSampler

from sentiment.composing import read_words
from sentiment.errors import ConfigError, Fault

TARGET = f"{__name__}.build_hub_sampler"

KEY = "hydra.sweeper.sampler"

REMEDY = "see https://hub.optuna.org for the packages, their samplers and options"


def require_named_by_a_person(sampler: Mapping[str, Any], config: DictConfig) -> None:
    """Insist that the command line says which code a sampler of the hub is.

    Raises:
        ConfigError: It does not, or OptunaHub is not installed.
    """
    if sampler.get("_target_") != TARGET:
        return
    faults = []
    if importlib.util.find_spec("optunahub") is None:
        faults.append(Fault(KEY, "hub needs OptunaHub, which is not installed", "pip install -e '.[hub]'"))
    given = {line.partition("=")[0].lstrip("+") for line in read_words(config.hydra.overrides.hydra)}
    named = [f"{KEY}.{name}" for name in ("package", "ref", "registry") if sampler.get(name) is not None]
    for key in {f"{KEY}.package", *named} - given:
        faults.append(Fault(key, "decides which code runs, and is not on the command line", f"write {key}=... there"))
    if sampler.get("registry") is None and not re.fullmatch("[0-9a-f]{40}", str(sampler.get("ref"))):
        problem = f"is {sampler.get('ref')!r}, which is no commit: what it means may change"
        faults.append(Fault(f"{KEY}.ref", problem, f"write all 40 digits of a commit of the registry; {REMEDY}"))
    if faults:
        raise ConfigError(faults)


def build_hub_sampler(
    package: str,
    ref: str | None = None,
    registry: str | None = None,
    name: str | None = None,
    seed: int | None = None,
    **options: Any,
) -> BaseSampler:
    """Build a sampler of the hub.

    Args:
        package: Its package, e.g. ``samplers/auto_sampler``.
        ref: Commit of the registry, which is fetched once and kept.
        registry: Folder of packages to take instead.
        name: The sampler's class; None: the only one of its package.
        seed: Its seed, where it takes one.
        **options: Its other options.

    Raises:
        ConfigError: There is no such package, or no such sampler in it.
        TypeError: The sampler does not know an option.
    """
    kinds = _list_samplers(_load(package, ref, registry))
    if name is None and len(kinds) == 1:
        [name] = kinds
    if name not in kinds:
        problem = f"is {name!r}, and {package} has {', '.join(sorted(kinds)) or 'no sampler'}"
        raise ConfigError([Fault(f"{KEY}.name", problem, f"name one of its samplers; {REMEDY}")])
    build = kinds[name]
    seeded = {"seed": seed} if "seed" in inspect.signature(build).parameters else {}
    return build(**seeded, **options)


def _list_samplers(module: ModuleType) -> dict[str, type[BaseSampler]]:
    names: Sequence[str] = getattr(module, "__all__", dir(module))
    found = {name: getattr(module, name, None) for name in names}
    return {
        name: kind
        for name, kind in found.items()
        if isinstance(kind, type) and issubclass(kind, BaseSampler) and not kind.__module__.startswith("optuna.")
    }


@lru_cache(maxsize=8)
def _load(package: str, ref: str | None, registry: str | None) -> ModuleType:
    """Load a package once: a study builds a sampler for each trial."""
    import optunahub

    try:
        if registry is not None:
            return optunahub.load_local_module(package, registry_root=str(Path(registry).resolve()))
        return optunahub.load_module(package, ref=str(ref))
    except Exception as error:  # of git, of the network, of the package's own imports
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        problem = f"{package} cannot be loaded ({reason[0].strip()[:200]})"
        way = "" if registry is not None else f"; without a network {KEY}.registry=FOLDER takes a folder of packages"
        raise ConfigError([Fault(f"{KEY}.package", problem, f"{REMEDY}{way}")]) from error
