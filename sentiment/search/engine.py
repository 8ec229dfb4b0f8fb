"""Puts a study together from its options, and runs it."""

from __future__ import annotations

import functools
import logging
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from hydra.core.utils import setup_globals
from hydra.errors import InstantiationException
from hydra.types import HydraContext, TaskFunction
from hydra.utils import instantiate
from omegaconf import DictConfig
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, NopPruner

from sentiment.errors import ConfigError, Fault
from sentiment.search.compose.composer import Composer
from sentiment.search.compose.corner_check import check_corners
from sentiment.search.compose.frozen import freeze
from sentiment.search.controller import Controller
from sentiment.search.planning import JobPlanner, StudyPlace
from sentiment.search.plugin.options import StudyOptions
from sentiment.search.plugin.registration import application
from sentiment.search.progress.observers import watch
from sentiment.search.space.corners import list_corners
from sentiment.search.space.reading import Space, read_space
from sentiment.search.space.sampling import FreshSampler, build_sampler, grid_size
from sentiment.search.space.validity import make_validity
from sentiment.search.storage.address import read_address
from sentiment.search.storage.lock import study_lock
from sentiment.search.storage.opening import close_storage, open_storage, storage_errors
from sentiment.search.study.address_file import write_study_address
from sentiment.search.study.definition import Definition, describe_settings
from sentiment.search.study.limits import check_limits, require_feasible
from sentiment.search.study.outcome import RepeatPlan
from sentiment.search.study.stored import StoredStudy
from sentiment.search.workers.executor import Executor, InProcess
from sentiment.search.workers.launchers import Launches
from sentiment.search.workers.slots import list_devices, take_slots

log = logging.getLogger(__name__)

BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"


@dataclass(frozen=True)
class Search:
    """A study's parts that need no storage: what is searched, and how a point becomes a job.

    Attributes:
        options: The study's options.
        space: What may be chosen.
        is_valid: Whether a point satisfies the constraints; None: there are none.
        extend: The application's own search space; None: there is none.
        composer: Composes jobs.
        sampler: Draws the points.
        pruner: Ends trials early.
        total: Trials of the study.
        repeats: Jobs of a trial.
        study_dir: The study's folder.
        working_dir: Where the command was started.
    """

    options: StudyOptions
    space: Space
    is_valid: Callable[[dict[str, Any]], bool] | None
    extend: Callable[[DictConfig, optuna.Trial], None] | None
    composer: Composer
    sampler: FreshSampler
    pruner: BasePruner
    total: int
    repeats: RepeatPlan
    study_dir: Path
    working_dir: Path


def run_study(
    options: StudyOptions, arguments: Sequence[str], task: TaskFunction, context: HydraContext, config: DictConfig
) -> None:
    """Check the whole search, then run it, alone or beside other commands on the same study.

    Args:
        options: The checked options.
        arguments: The command line's overrides.
        task: The application's task function.
        context: Hydra's context.
        config: The composed configuration of the sweep.
    """
    setup_globals()
    frozen = freeze(context)
    search = prepare(options, arguments, frozen, config)
    check(search)
    if options.dry_run:
        from sentiment.search.dry_run.page import report_dry_run

        report_dry_run(search, task, frozen, config)
        return
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with storage_errors(f"The study in {search.study_dir}"):
        search.study_dir.mkdir(parents=True, exist_ok=True)
        with open_study(search, config) as (study, place):
            command = shlex.join(["python", *sys.argv])
            write_study_address(search.study_dir, study.name, place.storage_url, command)
            planner = JobPlanner(
                search.composer,
                place,
                functools.partial(_to_overrides, search),
                search.repeats,
                study.write,
                reuse=options.reuse,
                identify_data=application().identify_data,
            )
            executor = build_executor(options, task, frozen, config, search.study_dir)
            observers = watch(options.progress, frozen, config, alone=isinstance(executor, InProcess))
            failures = int(options.max_failure_rate * search.total)
            Controller(
                study,
                executor,
                planner,
                observers,
                repeats=search.repeats,
                failures_allowed=failures,
                study_dir=search.study_dir,
            ).run()
            require_feasible(study.trials(), options.limits)


def prepare(options: StudyOptions, arguments: Sequence[str], context: HydraContext, config: DictConfig) -> Search:
    """Read space, constraints, sampler and pruner.

    Raises:
        ConfigError: Any of them is faulty.
    """
    choices = {str(group): str(choice) for group, choice in config.hydra.runtime.choices.items()}
    space = read_space(arguments, options.params or {}, options.branches or {}, context.config_loader, chosen=choices)
    is_valid = make_validity(options.constraints, space, config)
    check_limits(options.limits, build_sampler(options.sampler, trial_number=0, space=space))
    sampler = FreshSampler(options.sampler, space, is_valid)
    total = options.n_trials
    if str(options.sampler.get("_target_", "")).endswith(".GridSampler"):
        total = min(total, grid_size(space, is_valid))
        log.info("The grid has %d points to try.", total)
    working_dir = Path(config.hydra.runtime.cwd)
    return Search(
        options=options,
        space=space,
        is_valid=is_valid,
        extend=_find_custom_space(options.custom_search_space),
        composer=Composer(context.config_loader, config, options.ignore),
        sampler=sampler,
        pruner=_build_pruner(options.pruner),
        total=total,
        repeats=RepeatPlan(options.repeats, options.repeat_value, options.seed_key, options.maximize),
        study_dir=(working_dir / str(config.hydra.sweep.dir)).resolve(),
        working_dir=working_dir,
    )


def check(search: Search) -> None:
    """Compose and validate every corner of the space.

    Raises:
        ConfigError: With every fault of every corner.
    """
    if application().is_checked:
        return
    corners = list_corners(search.space, is_valid=search.is_valid or (lambda point: True))
    check_corners(corners, search.space.to_overrides, search.composer.compose, application().find_faults)


@contextmanager
def open_study(search: Search, config: DictConfig) -> Iterator[tuple[StoredStudy, StudyPlace]]:
    """Open or join the stored study."""
    options = search.options
    url = options.storage
    if url is not None:  # absolute, for jobs in other folders
        address = read_address(url, search.study_dir, search.working_dir)
        url = url if address.url is None else address.connection_url
    storage = open_storage(url, search.study_dir)
    try:
        stored = StoredStudy(
            storage,
            # A journal in the study's own folder holds one study; elsewhere Optuna makes up a name that is new.
            options.study_name or ("study" if options.storage is None else None),
            options.direction,
            search.pruner,
            search.sampler,
            lock=lambda name: study_lock(storage, url, search.study_dir, name),
            total=search.total,
            suggest=functools.partial(_suggest, search, config),
            repeats=search.repeats,
            grace_seconds=options.grace_seconds,
            limits=options.limits,
            metric_names=options.metric_names,
        )
        with stored as study:
            study.define(_describe(search, config), allow_changes=options.allow_changes, ignored=options.ignore)
            yield (
                study,
                StudyPlace(
                    storage_url=url,
                    study_dir=search.study_dir,
                    study_name=study.name,
                    owner=study.owner,
                    pruner=search.pruner,
                ),
            )
    finally:
        close_storage(storage)


def build_executor(
    options: StudyOptions, task: TaskFunction, context: HydraContext, config: DictConfig, study_dir: Path
) -> Executor:
    """Choose where jobs run: under the launcher that was chosen, else in this process or in worker processes.

    Hydra's basic launcher runs jobs one after the other, so with several jobs it is our worker processes that run them.
    """
    objectives = len(options.direction)
    if config.hydra.launcher._target_ != BASIC_LAUNCHER:
        return Launches(options.n_jobs, task, objectives, context, config)
    devices = list_devices(options.devices)
    if options.n_jobs == 1 and not devices and options.threads_per_job is None and not options.fresh_processes:
        return InProcess(task, objectives, context, config)
    from sentiment.search.workers.processes import WorkerProcesses

    slots = take_slots(options.n_jobs, devices, options.trials_per_device, options.threads_per_job)
    return WorkerProcesses(
        slots, task, objectives, context, config, study_dir / "workers", fresh_processes=options.fresh_processes
    )


def _build_pruner(config: Mapping[str, Any] | None) -> BasePruner:
    if config is None:
        return NopPruner()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # people chose it
        pruner = instantiate(dict(config), _execution_whitelist_=("optuna.pruners.*",))
    assert isinstance(pruner, BasePruner), f"hydra.sweeper.pruner gives {pruner!r}"
    return pruner


def _find_custom_space(name: str | None) -> Callable[[DictConfig, optuna.Trial], None] | None:
    if name is None:
        return None
    try:
        extend: Callable[[DictConfig, optuna.Trial], None] = instantiate({"_target_": name, "_partial_": True})
    except InstantiationException as error:
        remedy = "name a function (config, trial) by its dotted path; hydra.main's execution_whitelist must allow it"
        raise ConfigError([Fault("hydra.sweeper.custom_search_space", str(error).splitlines()[0], remedy)]) from error
    return extend


def _suggest(search: Search, config: DictConfig, trial: optuna.Trial) -> Mapping[str, Any]:
    values = search.space.suggest(trial)
    for key, text in search.space.fixed.items():
        trial.set_user_attr(key, text)  # as the stock plugin does
    if search.extend is not None:
        search.extend(config, trial)
        both = sorted(trial.params.keys() & search.space.fixed.keys())
        if both:
            problem = "is fixed, and drawn by custom_search_space"
            raise ConfigError([Fault(key, problem, "leave it out on the command line") for key in both])
    return {**values, **trial.params}


def _to_overrides(search: Search, values: Mapping[str, Any]) -> tuple[str, ...]:
    """Write a trial's values as overrides; what `custom_search_space` drew comes first."""
    known = {parameter.name for parameter in search.space.parameters}
    extra = (f"{name}={value}" for name, value in values.items() if name not in known)
    return (*extra, *search.space.to_overrides(values))


def _describe(search: Search, config: DictConfig) -> Definition:
    repeats, limits = search.repeats, search.options.limits
    return Definition(
        space=search.space.describe(),
        settings=describe_settings(
            search.space, search.composer, config.hydra.runtime.choices, ignored=[repeats.seed_key]
        )
        | {f"hydra.sweeper.limits.{name}": str(bound) for name, bound in limits.items()},
        directions=search.options.direction,
        repeats=f"{repeats.count}, {repeats.value}" if repeats.count > 1 else "1",
    )
