"""What a reference of the configuration has to know of the sweep engine: its defaults, pruners and samplers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from sentiment.search.plugin.registration import PRUNERS, SAMPLERS, StudySweeperConf

MACHINERY = ("_target_", "_partial_", "defaults")
"""Fields of Hydra's dataclasses that nobody sets."""


def read_sweeper_defaults() -> dict[str, Any]:
    """Read the default of every key of ``hydra/sweeper=study``; of its groups, the option chosen."""
    values = read_fields(StudySweeperConf)
    for entry in StudySweeperConf().defaults:
        values |= entry
    return values


def read_fields(config: type[Any]) -> dict[str, Any]:
    """Read the fields of a Hydra dataclass and their defaults, less the machinery."""
    instance = config()
    values = {field.name: getattr(instance, field.name) for field in dataclasses.fields(config)}
    return {
        name: value.name if isinstance(value, Enum) else value
        for name, value in values.items()
        if name not in MACHINERY
    }


@dataclass(frozen=True)
class Part:
    """A pruner or a sampler that can be chosen.

    Attributes:
        name: Its option.
        made_by: Optuna's class.
        doc: What it does; empty for the stock plugin's.
        defaults: Keys and their defaults.
    """

    name: str
    made_by: str
    doc: str
    defaults: Mapping[str, Any]


def list_pruners() -> list[Part]:
    """List the pruners."""
    return [_describe_part(name, config) for name, config in PRUNERS.items()]


def list_samplers() -> list[Part]:
    """List the samplers that Hydra knows: the stock plugin's and the engine's own."""
    store = ConfigStore.instance()
    stored = {
        file.removesuffix(".yaml"): OmegaConf.get_type(store.load(f"hydra/sweeper/sampler/{file}").node)
        for file in store.list("hydra/sweeper/sampler")
    }
    parts = [_describe_part(name, config) for name, config in sorted({**stored, **SAMPLERS}.items())]
    # The plugin keeps the names of samplers that are gone from Optuna, to say so when one is chosen.
    return [part for part in parts if not part.made_by.endswith("_removed")]


def _describe_part(name: str, config: Any) -> Part:
    doc = config.__doc__ or "" if name in SAMPLERS or name in PRUNERS else ""
    return Part(name, config._target_.rpartition(".")[2], doc, read_fields(config))
