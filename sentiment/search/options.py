"""The options of a study, checked: what people write under ``hydra.sweeper``."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticKnownError

from sentiment.errors import ConfigError, Fault
from sentiment.process import count_cores
from sentiment.search.budget import Budget, read_duration
from sentiment.search.storage.lease import HEARTBEAT_SECONDS


def _listed(value: Any) -> Any:
    """Read the stock plugin's forms of `direction`: a name, an enum member, or several of them."""
    values = value if isinstance(value, list) else [value]
    return [getattr(item, "name", item) for item in values]


def _read_reuse(value: Any) -> Any:
    """Read the two values that the option had before: true and false."""
    return {True: "folder", False: "none"}[value] if isinstance(value, bool) else value


def _read_jobs(value: Any) -> Any:
    """Read joblib's and scikit-learn's form of all cores: -1."""
    return count_cores() if value == -1 else value


def _takes_numbers(annotation: Any) -> bool:
    """Return whether a number is among the forms of an option."""
    return annotation in (int, float) or any(map(_takes_numbers, get_args(annotation)))


Duration = Annotated[
    float | None,
    BeforeValidator(
        read_duration, Annotated[str, WithJsonSchema({"type": "string", "format": "time with its unit"})] | None
    ),
]
"""Seconds, which people write as a text."""

Direction = Literal["minimize", "maximize"]

Directions = Annotated[list[Direction], Field(min_length=1)]

Jobs = Annotated[int, Field(ge=1, le=10_000)]


class StudyOptions(BaseModel):
    """The keys of ``hydra/sweeper=study``: forms, ranges and meaning; `StudySweeperConf` has their defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    sampler: dict[str, Any] = Field(description="What draws the points; chosen with hydra/sweeper/sampler=NAME.")
    pruner: dict[str, Any] | None = Field(
        description="What ends hopeless trials early; chosen with hydra/sweeper/pruner=NAME."
    )
    margin: float = Field(
        ge=0, description="Standard errors by which a validation has to be behind before a pruner may end a trial."
    )
    direction: Annotated[Directions, BeforeValidator(_listed, Direction | Directions)] = Field(
        description="Which way is better; a list for several objectives."
    )
    storage: str | None = Field(
        description="Database of the study, as Optuna takes it, e.g. postgresql://...; null: a file in its folder."
    )
    study_name: str | None = Field(min_length=1, description="Name of the study; what joins and resumes it.")
    metric_names: list[str] | None = Field(
        description="Names of the objectives, for Optuna's dashboard; null: it numbers them."
    )
    n_trials: int | None = Field(
        ge=1,
        description="Trials of the study in all, over every process and restart; null: every point of a grid, or "
        "what the budget allows.",
    )
    budget: Duration = Field(
        description="Wall time of the study, over all commands, e.g. 2h, 90m, 60s; with a budget of any kind, n_trials "
        "counts only where the command line gives it."
    )
    full_trials: float | None = Field(
        gt=0, description="Work of the study in whole trainings: a pruned one counts by the share that it ran."
    )
    epochs: float | None = Field(gt=0, description="Work of the study in epochs, pruned trials' included.")
    epochs_key: str = Field(description="Key that says how many epochs a job has.")
    n_jobs: Annotated[Jobs, BeforeValidator(_read_jobs, Jobs | Literal[-1])] = Field(
        description="Trials at a time; -1: as many as there are CPU cores."
    )
    max_failure_rate: float = Field(
        ge=0,
        le=1,
        description="Share of n_trials that may fail in one command before it ends; where a budget alone decides, of "
        "the trials so far, counted as 20 at least; with extend, of those that it trains.",
    )
    trial_timeout: Duration = Field(
        description="Longest time of one training, interrupted attempts included, e.g. 2h: then it is ended, and its "
        "trial has failed."
    )
    progress_timeout: Duration = Field(
        description="Longest time in which a training does not get on, e.g. 30m: a hung one is ended, and has failed."
    )
    max_attempts: int = Field(
        ge=1,
        description="Commands that may die with a trial running, or starts of its job that Ray's memory monitor may "
        "end; after so many it has failed, and is not begun again.",
    )
    retry: Literal["failed", "none"] = Field(
        description="Trials that failed in an earlier command: failed tries their points again, and a command that "
        "leaves one ends with an exit code; none accepts them as they are.",
    )
    start: list[str | dict[str, Any]] = Field(
        description="Points that a new study tries first: defaults (the configuration's own values), {key: value}, a "
        "file of points (YAML, JSON, CSV), STUDY or STUDY:3 (the best, or the best three, of another study)."
    )
    extend: str | None = Field(
        description="STUDY or STUDY:3: train the best, or the best three, of that study under the settings of this "
        "command, e.g. with more epochs or all of the data, and nothing else, whatever n_trials is; no trial is pruned."
    )
    prior: str | None = Field(
        description="Another study whose trials the sampler learns from (TPE, GP), without counting them."
    )
    params: dict[str, Any] | None = Field(
        description="The search space: key to values, e.g. {model.depth: 'range(1,5)'}."
    )
    custom_search_space: str | None = Field(
        description="Dotted path of a function (config, trial) that draws further parameters."
    )
    branches: dict[str, dict[str, Any]] | None = Field(
        description="Conditional parameters, e.g. {model=rnn: {model.cell: 'lstm,gru'}}."
    )
    constraints: list[str] = Field(
        description="Expressions that every point must satisfy, e.g. model.embedding_size % model.heads == 0."
    )
    limits: Annotated[dict[str, float], BeforeValidator(lambda value: value or {}, dict[str, float] | None)] = Field(
        description="Upper bounds on what a trial describes, e.g. {model/parameters: 1000000}: samplers prefer "
        "trials within them."
    )
    repeats: int = Field(ge=1, description="Train every point under so many seeds.")
    repeat_value: Literal["mean", "bound"] = Field(
        description="With repeats: optimise their mean, or their bound, which is one standard error worse."
    )
    seed_key: str = Field(description="Key that repeats change.")
    reuse: Annotated[Literal["folder", "study", "none"], BeforeValidator(_read_reuse)] = Field(
        description="Do not train again what was finished with the same settings, seed, data and code, in this study "
        "or (folder) in another one whose folder lies beside its own. Nothing is shared where an objective or a limit "
        "is a time (time/...): it belongs to the run that was timed.",
    )
    ignore: list[str] = Field(
        description="Keys and groups that do not change a result, as long as they are not searched."
    )
    allow_changes: bool = Field(
        description="Go on though fixed settings differ from the stored study's; a space may always change."
    )
    dry_run: bool = Field(description="Print space, workers and an estimate of time and memory; train only the probe.")
    probe_seconds: float = Field(gt=0, description="Longest time that a dry run's probe trains.")
    probe_overrides: list[str] = Field(
        description="What the probe changes in a job, e.g. no tracking: [tracking=none]."
    )
    devices: Literal["auto", "none", "unused"] | list[int | str] = Field(
        description="auto: the GPUs there are; none: no device (jobs run in worker processes, which see none); unused: "
        "no device, and jobs leave those that they see alone; or their indices, e.g. [0,1]."
    )
    trials_per_device: int = Field(ge=1, description="Trials per device.")
    devices_per_trial: int = Field(
        ge=1, le=1024, description="Devices of a trial, where the application trains on several: it has as many GPUs."
    )
    threads_per_job: int | None = Field(ge=1, description="CPU threads per job; null: the cores shared out.")
    fresh_processes: bool = Field(description="Give every trial a process of its own instead of keeping the workers.")
    grace_seconds: float = Field(
        ge=4 * HEARTBEAT_SECONDS,  # one of them may be slow to be written
        description=f"Time without a sign of life after which a process on another machine counts as dead; it gives "
        f"one every {HEARTBEAT_SECONDS:g} s.",
    )
    progress: Literal["auto", "table", "lines", "none"] = Field(
        description="auto: a live table on a terminal, one line per event elsewhere."
    )

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_booleans(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false for a number, which pydantic reads as 1 and 0; the texts of variables are numbers."""
        values = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else [value]
        field = cls.model_fields[str(info.field_name)]
        if _takes_numbers(field.annotation) and any(isinstance(one, bool) for one in values):
            raise PydanticKnownError("float_type")
        return value

    @property
    def limit(self) -> Budget:
        """What the study may cost."""
        return Budget(self.budget, self.full_trials, self.epochs)

    @property
    def known_name(self) -> str | None:
        """Name of the study; None: Optuna makes up one that is new, in a storage that holds several studies."""
        return self.study_name or ("study" if self.storage is None else None)

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
            same = faults_by_key.setdefault(fault.key, fault)  # one for a value that fits none of several forms
            if fault.remedy != same.remedy:
                faults_by_key[fault.key] = replace(same, remedy=f"{same.remedy}; or {fault.remedy}")
        raise ConfigError(list(faults_by_key.values())) from error
    faults: list[Fault] = []
    pruner = options.pruner or {}
    kind = str(pruner.get("_target_", "")).rpartition(".")[2]
    what = "growing" if pruner.get("growing") else kind
    if len(options.direction) > 1 and what not in ("", "NopPruner", "PromotionPruner", "PopulationPruner"):
        problem = f"{what} compares one objective, and there are {len(options.direction)}"
        remedy = "choose hydra/sweeper/pruner=promotion or none"
        if what == "growing":
            remedy = "leave hydra.sweeper.pruner.growing at false"
        faults.append(Fault("hydra.sweeper.pruner", problem, remedy))
    if is_population(options) and (options.repeats > 1 or options.extend):
        problem = "population copies trainings, whose repeats would be others"
        faults.append(Fault("hydra.sweeper.pruner", problem, "leave repeats and extend at their defaults"))
    least = _count_wilcoxon_repeats(**pruner) if kind == "WilcoxonPruner" else 0
    if options.repeats <= least:
        problem = (
            f"wilcoxon ends a trial after {least} repeats at the earliest, and of {options.repeats} that saves none"
        )
        remedy = f"set hydra.sweeper.repeats={least + 1} or more, or take another pruner"
        faults.append(Fault("hydra.sweeper.pruner", problem, remedy))
    if options.metric_names is not None and len(options.metric_names) != len(options.direction):
        problem = f"{options.metric_names} names {len(options.metric_names)} of {len(options.direction)} objectives"
        faults.append(Fault("hydra.sweeper.metric_names", problem, "name each once, in the order of the directions"))
    if faults:
        raise ConfigError(faults)
    return options


def _count_wilcoxon_repeats(p_threshold: float = 0.1, n_startup_steps: int = 2, **others: Any) -> int:
    """Return after how many repeats the Wilcoxon pruner may end a trial: of n pairs the least p value is 2**-n."""
    fewest = next((count for count in range(1, 50) if 0.5**count < p_threshold), 50)
    return max(2, n_startup_steps, fewest)


def is_population(options: StudyOptions) -> bool:
    """Return whether the study is a population-based training."""
    return str((options.pruner or {}).get("_target_", "")).endswith(".PopulationPruner")


def require_parts(options: StudyOptions) -> None:
    """Insist that Optuna has the pruner and the sampler.

    Raises:
        ConfigError: It has not.
    """
    faults = []
    for group, part in (("pruner", options.pruner), ("sampler", options.sampler)):
        target = str((part or {}).get("_target_", ""))
        module, _, name = target.rpartition(".")
        if module == f"optuna.{group}s" and not hasattr(importlib.import_module(module), name):
            remedy = f"choose one: hydra/sweeper/{group}=NAME; a wrong name there lists them"
            faults.append(Fault(f"hydra.sweeper.{group}", f"Optuna has no {group} {name}", remedy))
    if faults:
        raise ConfigError(faults)


def _explain(error: Any) -> Fault:
    parts = [str(part) for part in error["loc"] if "[" not in str(part)]  # less pydantic's names of the forms
    key = ".".join(["hydra", "sweeper", *parts])
    message = error["msg"].removeprefix("Value error, ").lower()  # of our own sentences
    remedy = "write a list such as [a,b]" if error["type"] == "list_type" else "correct the value"
    return Fault(key, f"{message} (it is {error['input']!r})", remedy)
