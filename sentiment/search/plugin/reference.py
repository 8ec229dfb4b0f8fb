"""The part of the configuration's reference that the sweep engine knows: its keys, pruners and samplers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import Enum
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from sentiment.config.key_table import list_keys_of, make_key_table
from sentiment.config.markdown import make_table, show_text, show_value
from sentiment.search.plugin.options import StudyOptions
from sentiment.search.plugin.registration import PRUNERS, SAMPLERS, StudySweeperConf

MACHINERY = ("_target_", "_partial_", "defaults")
"""Fields of Hydra's dataclasses that nobody sets."""


def render_sweeper() -> str:
    """Render the sections on ``hydra/sweeper=study``, its pruners and its samplers, as Markdown."""
    defaults = read_sweeper_defaults()
    sampler, pruner = defaults["sampler"], defaults["pruner"]
    lines = [
        "## All keys of the sweeper",
        "",
        show_text(StudySweeperConf.__doc__ or "").partition(" Here are the defaults")[0],
        "The defaults are the sweeper's own; a search may set others, see above. Set with `hydra.sweeper.KEY=VALUE`.",
        "",
        *make_key_table(list(list_keys_of(StudyOptions, defaults)), []),
        "## Pruners",
        "",
        f"Choose with `hydra/sweeper/pruner=NAME` (`{pruner}` where nothing else is chosen), set a key with",
        "`hydra.sweeper.pruner.KEY=VALUE`.",
        "",
        *make_table(("pruner", "what it does", "keys and defaults"), _list_pruners()),
        "",
        "## Samplers",
        "",
        f"Choose with `hydra/sweeper/sampler=NAME` (`{sampler}` where nothing else is chosen), set a key with",
        "`hydra.sweeper.sampler.KEY=VALUE`. The keys are those of Optuna's class.",
        "",
        *(f"- `{name}`: {show_text(config.__doc__ or '')}" for name, config in SAMPLERS.items()),
        "",
        *make_table(("sampler", "made by", "keys and defaults"), _list_samplers()),
    ]
    return "\n".join(lines) + "\n"


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
    return {name: _plain(value) for name, value in values.items() if name not in MACHINERY}


def _plain(value: Any) -> Any:
    return value.name if isinstance(value, Enum) else value


def _list_pruners() -> list[tuple[str, str, str]]:
    return [
        (f"`{name}`", show_text(config.__doc__ or ""), _show_keys(read_fields(config)))
        for name, config in PRUNERS.items()
    ]


def _list_samplers() -> list[tuple[str, str, str]]:
    """List the samplers that Hydra knows: the stock plugin's and the engine's own."""
    store = ConfigStore.instance()
    stored = {
        file.removesuffix(".yaml"): OmegaConf.get_type(store.load(f"hydra/sweeper/sampler/{file}").node)
        for file in store.list("hydra/sweeper/sampler")
    }
    configs: dict[str, Any] = {**stored, **SAMPLERS}
    targets = {name: config._target_.rpartition(".")[2] for name, config in configs.items()}
    return [
        (f"`{name}`", f"`{targets[name]}`", _show_keys(read_fields(config)))
        for name, config in sorted(configs.items())
        # The plugin keeps the names of samplers that are gone from Optuna, to say so when one is chosen.
        if not targets[name].endswith("_removed")
    ]


def _show_keys(values: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}` {show_value(value)}" for name, value in values.items()) or "-"
