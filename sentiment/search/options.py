"""The options of a study, checked: what people write under ``hydra.sweeper``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sentiment.errors import ConfigError, Fault


def _listed(value: Any) -> Any:
    """Read the stock plugin's forms of `direction`: a name, an enum member, or several of them."""
    values = value if isinstance(value, list) else [value]
    return [getattr(item, "name", item) for item in values]


class StudyOptions(BaseModel):
    """See `sentiment.search.registration.StudySweeperConf` for the meaning of every key."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    sampler: dict[str, Any]
    pruner: dict[str, Any] | None = None
    direction: Annotated[list[Literal["minimize", "maximize"]], BeforeValidator(_listed), Field(min_length=1)]
    storage: str | None = None
    study_name: str | None = Field(default=None, min_length=1)
    metric_names: list[str] | None = None
    n_trials: int = Field(ge=1)
    n_jobs: int = Field(ge=1)
    max_failure_rate: float = Field(ge=0, le=1)
    params: dict[str, Any] | None = None
    custom_search_space: str | None = None
    branches: dict[str, dict[str, Any]] | None = None
    constraints: list[str] = []
    limits: Annotated[dict[str, float], BeforeValidator(lambda value: value or {})] = {}
    repeats: int = Field(default=1, ge=1)
    repeat_value: Literal["mean", "bound"] = "mean"
    seed_key: str = "seed"
    reuse: bool = True
    ignore: list[str] = []
    allow_changes: bool = False
    dry_run: bool = False
    probe_seconds: float = Field(default=10.0, gt=0)
    probe_overrides: list[str] = []
    devices: Literal["auto", "none"] | list[int | str] = "auto"
    trials_per_device: int = Field(default=1, ge=1)
    threads_per_job: int | None = Field(default=None, ge=1)
    fresh_processes: bool = False
    grace_seconds: float = Field(default=60.0, gt=0)
    progress: Literal["auto", "table", "lines", "none"] = "auto"

    @property
    def maximize(self) -> tuple[bool, ...]:
        """For every objective, whether more is better."""
        return tuple(direction == "maximize" for direction in self.direction)


def read_options(values: Mapping[str, Any]) -> StudyOptions:
    """Check the options.

    Raises:
        ConfigError: With every fault.
    """
    try:
        options = StudyOptions.model_validate(dict(values))
    except ValidationError as error:
        faults_by_key: dict[str, Fault] = {}
        for fault in map(_explain, error.errors()):
            faults_by_key.setdefault(fault.key, fault)  # one fault for a value that fits none of several forms
        raise ConfigError(list(faults_by_key.values())) from error
    faults: list[Fault] = []
    prunes = options.pruner is not None and not str(options.pruner.get("_target_", "")).endswith(".NopPruner")
    if len(options.direction) > 1 and prunes:
        problem = f"is set, with {len(options.direction)} objectives; Optuna prunes studies of one objective only"
        faults.append(Fault("hydra.sweeper.pruner", problem, "add hydra/sweeper/pruner=none"))
    if "Wilcoxon" in str((options.pruner or {}).get("_target_")) and options.repeats == 1:
        problem = "wilcoxon compares trials repeat by repeat, and there is one repeat"
        faults.append(Fault("hydra.sweeper.pruner", problem, "set hydra.sweeper.repeats=5, or take another pruner"))
    if options.metric_names is not None and len(options.metric_names) != len(options.direction):
        problem = f"{options.metric_names} names {len(options.metric_names)} of {len(options.direction)} objectives"
        faults.append(Fault("hydra.sweeper.metric_names", problem, "name each once, in the order of the directions"))
    if faults:
        raise ConfigError(faults)
    return options


def _explain(error: Any) -> Fault:
    place = [str(part) for part in error["loc"] if "[" not in str(part)]  # less pydantic's names of the forms
    key = ".".join(["hydra", "sweeper", *place])
    return Fault(key, f"{error['msg'].lower()} (it is {error['input']!r})", "correct the value")
