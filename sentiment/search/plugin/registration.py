"""What Hydra knows of the engine: the sweeper's class and its config groups.

Hydra finds both by the entry points of the group ``hydra.plugins`` (see pyproject.toml), in every command of every
application in the environment: so nothing heavy is imported here. The keys are those of the stock
``hydra/sweeper=optuna`` and more, and the sampler group is the stock one: every ``hydra/sweeper/sampler=...`` of the
plugin works.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra_plugins.hydra_optuna_sweeper.config import OptunaSweeperConf, TPESamplerConfig
from omegaconf import MISSING, OmegaConf

from sentiment.search.budget import DEFAULT_TRIALS
from sentiment.search.plugin.sweeper import StudySweeper

MACHINERY = ("_target_", "_partial_", "defaults")
"""Fields of Hydra's dataclasses that nobody sets."""


@dataclass
class MultivariateTPEConfig(TPESamplerConfig):
    """TPE as Optuna 5 sets it by default, and as several workers need it; the stock option ``tpe`` pins both off.

    ``constant_liar`` keeps workers from drawing what another one is trying at the moment; ``group`` lets branches of a
    conditional space be modelled apart. The first 30 trials are drawn at random (the stock option: 10): after ten that
    were ended early it narrows down on noise, which cost 0.6 points of accuracy (experiments/search_efficiency).
    """

    multivariate: bool = True
    group: bool = True
    constant_liar: bool = True
    n_startup_trials: int = 30


@dataclass
class StudySweeperConf(OptunaSweeperConf):
    """``hydra/sweeper=study``: the stock plugin's keys with their meaning, then our own.

    One meaning differs: `n_trials` is the total of the study, over all processes and restarts. Here are the defaults;
    `sentiment.search.options.StudyOptions` has form, range and meaning of every key.
    """

    _target_: str = "sentiment.search.plugin.sweeper.StudySweeper"
    defaults: list[Any] = field(default_factory=lambda: [{"sampler": "multivariate_tpe"}, {"pruner": "none"}])

    n_trials: Any = DEFAULT_TRIALS
    params: Any = None
    pruner: Any = MISSING
    margin: float = 0.0
    metric_names: Any = None
    budget: Any = None
    full_trials: Any = None
    epochs: Any = None
    epochs_key: str = "trainer.max_epochs"
    start: list[Any] = field(default_factory=list)
    extend: str | None = None
    prior: str | None = None
    branches: Any = None
    constraints: list[str] = field(default_factory=list)
    limits: Any = None

    repeats: int = 1
    repeat_value: str = "mean"
    seed_key: str = "seed"

    trial_timeout: Any = None
    progress_timeout: Any = None
    max_attempts: int = 3
    retry: str = "failed"
    reuse: Any = "folder"
    ignore: list[str] = field(default_factory=list)
    allow_changes: bool = False
    dry_run: bool = False
    probe_seconds: float = 10.0
    probe_overrides: list[str] = field(default_factory=list)

    devices: Any = "auto"
    trials_per_device: int = 1
    devices_per_trial: Any = 1
    threads_per_job: int | None = None
    fresh_processes: bool = False

    grace_seconds: float = 60.0
    progress: str = "auto"


@dataclass
class MedianPrunerConfig:
    """Prune below the median of the trials so far at the same step."""

    _target_: str = "optuna.pruners.MedianPruner"
    n_startup_trials: int = 5
    n_warmup_steps: int = 0
    interval_steps: int = 1
    n_min_trials: int = 1


@dataclass
class PercentilePrunerConfig(MedianPrunerConfig):
    """Keep the best `percentile` of the trials at the same step."""

    _target_: str = "optuna.pruners.PercentilePruner"
    percentile: float = 25.0


@dataclass
class SuccessiveHalvingPrunerConfig:
    """Asynchronous successive halving (Li et al. 2018)."""

    _target_: str = "optuna.pruners.SuccessiveHalvingPruner"
    min_resource: Any = "auto"
    reduction_factor: int = 4
    min_early_stopping_rate: int = 0
    bootstrap_count: int = 0


@dataclass
class HyperbandPrunerConfig:
    """Hyperband (Li et al. 2017): several brackets of successive halving."""

    _target_: str = "optuna.pruners.HyperbandPruner"
    min_resource: int = 1
    max_resource: Any = "auto"
    reduction_factor: int = 3
    bootstrap_count: int = 0


@dataclass
class PromotionPrunerConfig:
    """Pause trials at rungs, and let the best of each go on (ASHA); ``max_paused`` bounds the checkpoints kept.

    With ``growing`` (PASHA) they go on only as far as the order of trials still changes; ``tolerance`` makes near ones
    equal.
    """

    _target_: str = "sentiment.search.study.promotion.PromotionPruner"
    min_resource: int = 1
    reduction_factor: int = 3
    max_paused: int = 50
    growing: bool = False
    tolerance: float = 0.0


@dataclass
class PopulationPrunerConfig:
    """Population-based training of `n_trials` trials (Jaderberg et al. 2017).

    After every `interval` validations the worst `quantile` give their places to copies of the best. A copy goes on from
    a checkpoint with the numbers under `keys` changed: times or by `factor`, or drawn anew with the probability
    `resample`.
    """

    _target_: str = "sentiment.search.study.population.PopulationPruner"
    interval: int = 1
    quantile: float = 0.25
    factor: float = 1.25
    resample: float = 0.25
    keys: list[str] = field(default_factory=lambda: ["optimizer"])


@dataclass
class PatientPrunerConfig:
    """Ask the wrapped pruner only after `patience` steps without improvement; null prunes on patience alone."""

    _target_: str = "optuna.pruners.PatientPruner"
    wrapped_pruner: Any = None
    patience: int = 2
    min_delta: float = 0.0


@dataclass
class WilcoxonPrunerConfig:
    """Compare repeat by repeat with the best trial (Wilcoxon signed-rank test); for five ``repeats`` or more."""

    _target_: str = "optuna.pruners.WilcoxonPruner"
    p_threshold: float = 0.1
    n_startup_steps: int = 2


@dataclass
class NopPrunerConfig:
    """Never prune."""

    _target_: str = "optuna.pruners.NopPruner"


@dataclass
class HubSamplerConfig:
    """A sampler of OptunaHub (extra `hub`): its `package` at a commit (`ref`), or in a folder (`registry`).

    `name` is its class, where the package has several; its other options are added, e.g.
    ``+hydra.sweeper.sampler.n_startup_trials=20``. It is fetched code that runs, so these stand on the command line.
    """

    _target_: str = "sentiment.search.space.hub.build_hub_sampler"
    package: str | None = None
    ref: str | None = None
    registry: str | None = None
    name: str | None = None
    seed: int | None = None


SAMPLERS = {"hub": HubSamplerConfig, "multivariate_tpe": MultivariateTPEConfig}
"""The engine's own, beside those of the stock plugin."""

PRUNERS = {
    "none": NopPrunerConfig,
    "median": MedianPrunerConfig,
    "percentile": PercentilePrunerConfig,
    "successive_halving": SuccessiveHalvingPrunerConfig,
    "hyperband": HyperbandPrunerConfig,
    "promotion": PromotionPrunerConfig,
    "population": PopulationPrunerConfig,
    "patient": PatientPrunerConfig,
    "wilcoxon": WilcoxonPrunerConfig,
}


@dataclass(frozen=True)
class Part:
    """A pruner or a sampler that can be chosen, for a reference of the configuration."""

    name: str  # its option
    made_by: str  # Optuna's class
    doc: str  # what it does; empty for the stock plugin's
    defaults: Mapping[str, Any]  # keys and their defaults


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
    return Part(name, config._target_.rpartition(".")[2], doc, _read_fields(config()))


def read_sweeper_defaults() -> dict[str, Any]:
    """Read the default of every key of ``hydra/sweeper=study``; of its groups, the option chosen."""
    config = StudySweeperConf()
    chosen = {group: option for entry in config.defaults for group, option in entry.items()}
    return {**_read_fields(config), **chosen}


def _read_fields(config: Any) -> dict[str, Any]:
    values = {field.name: getattr(config, field.name) for field in fields(config) if field.name not in MACHINERY}
    return {name: value.name if isinstance(value, Enum) else value for name, value in values.items()}


class StudyConfigs(SearchPathPlugin):
    """Stores the config groups of the engine whenever Hydra puts a search path together, which is when it starts.

    Not once at import: Hydra's singletons, its ConfigStore among them, may be exchanged in between
    (`Singleton.set_state`, as Hydra's own test fixtures do).
    """

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Store the groups; the search path stays as it is."""
        store_configs()


def register_with_hydra() -> None:
    """Register the plugins in an environment where this package is not installed, only importable."""
    Plugins.instance().register(StudySweeper)
    Plugins.instance().register(StudyConfigs)
    store_configs()


def store_configs() -> None:
    """Store the sweeper's config groups, where they are not there already: that takes some 10 ms."""
    store = ConfigStore.instance()
    if store.get_type("hydra/sweeper/study.yaml") is ObjectType.CONFIG:
        return
    groups: dict[str, dict[str, type[Any]]] = {
        "hydra/sweeper": {"study": StudySweeperConf},
        "hydra/sweeper/sampler": SAMPLERS,
        "hydra/sweeper/pruner": PRUNERS,
    }
    for group, options in groups.items():
        for name, node in options.items():
            store.store(group=group, name=name, node=node, provider="sentiment", replace=True)
