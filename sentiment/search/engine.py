"""Puts a study together from its options, checks the whole search, and runs it."""

from __future__ import annotations

import logging
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, cast

import optuna
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from sentiment.checkout import read_commit
from sentiment.composing import COMPOSE_ERRORS, find_reason, read_words, spread_line, without_hydra
from sentiment.errors import ConfigError, Fault
from sentiment.flat import flatten, is_within
from sentiment.format import format_duration, format_number, write_own_command
from sentiment.nearest import nearest
from sentiment.private import begin_jobs
from sentiment.search.application import application_of, find_home, freeze
from sentiment.search.budget import DEFAULT_TRIALS
from sentiment.search.controller import Controller
from sentiment.search.options import StudyOptions, is_population
from sentiment.search.planning import JobPlanner, require_same_data, warn_of_changed_code
from sentiment.search.progress import WORKERS_DIR, ApplicationObserver, EventLines, Observer
from sentiment.search.search import Search
from sentiment.search.space.constraints import any_point, parse_constraints
from sentiment.search.space.corners import list_checked, list_corners
from sentiment.search.space.hub import require_named_by_a_person
from sentiment.search.space.parameters import name_key
from sentiment.search.space.points import read_setting
from sentiment.search.storage.address import storage_errors
from sentiment.search.storage.opening import close_storage, open_storage
from sentiment.search.study.address_file import require_own_folder, write_study_address
from sentiment.search.study.history import has_study
from sentiment.search.study.limits import require_feasible
from sentiment.search.study.population import PopulationPruner, can_change
from sentiment.search.study.stored.store import TrialStore
from sentiment.search.study.stored.study import StoredStudy
from sentiment.search.workers.executor import Executor, InProcess
from sentiment.search.workers.job import JobRunner
from sentiment.search.workers.slots import list_devices, take_slots

log = logging.getLogger(__name__)


def run_study(
    options: StudyOptions, lines: list[str], task: TaskFunction, context: HydraContext, config: DictConfig
) -> None:
    """Check the whole search, then run it, alone or beside other commands on the same study.

    Args:
        options: The checked options.
        lines: The task overrides of the command line.
        task: The application's task function.
        context: Hydra's context.
        config: The composed configuration of the sweep.
    """
    begin_jobs()
    context = freeze(context)
    home = find_home(task, config)
    options = open_end(options, config)
    require_named_by_a_person(options.sampler, config)
    search = Search.read(options, lines, context, config, application_of(task), home)
    check_search(search)
    require_own_folder(search.study_dir, options.known_name, search.storage_url)
    require_own_workers(search)
    runner = JobRunner(task, len(options.direction), context, config)
    if options.dry_run:
        from sentiment.search.dry_run.page import report_dry_run

        report_dry_run(search, runner)
        return
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with storage_errors(f"Preparing workers, whose files are in {tempfile.gettempdir()},"):
        executor = build_executor(search, runner)  # it may refuse, and a refused command shall leave no folder
    with storage_errors(f"The study in {search.study_dir}"), open_study(search, home) as study:
        search.study_dir.mkdir(parents=True, exist_ok=True)
        write_study_address(search.study_dir, study.name, search.storage_url, write_own_command())
        observers = choose_observers(search, context, jobs_print_here=isinstance(executor, InProcess))
        assert isinstance(study.search, Search), "with the parameters' names in this study"
        planner = JobPlanner(study.search, study)
        require_same_data(study.search, study.name, study.look().standing)
        warn_of_changed_code(study.search, study.store, study.look().standing)
        study.search.tell_of_late_starts(study.trials())
        Controller(study, executor, planner, observers).run()
        if not study.store.is_to_stop:  # on request: it may yet come to a trial within the limits
            require_feasible(study.trials(), options.limits)


def list_kept_by_workers(options: StudyOptions) -> list[str]:
    """List the keys that are set and that only our own worker processes keep to."""
    asked = {
        "trial_timeout": options.trial_timeout is not None,
        "progress_timeout": options.progress_timeout is not None,
        "threads_per_job": options.threads_per_job is not None,
        "fresh_processes": options.fresh_processes,
        "trials_per_device": options.trials_per_device > 1,
        "devices": options.devices not in ("auto", "unused"),
    }
    return [f"hydra.sweeper.{name}" for name, is_asked in asked.items() if is_asked]


def require_own_workers(search: Search) -> None:
    """Insist that what only our own workers keep to is not asked of a launcher, which would not.

    Raises:
        ConfigError: It is.
    """
    problem = "a launcher's jobs are not ended from here, nor given threads and devices"
    own = "take the launcher's own, e.g. hydra.launcher.timeout_min, or "
    own = own if "timeout_min" in search.config.hydra.launcher else ""  # joblib and Ray have no such keys
    remedy = f"{own}leave the launcher out: our worker processes keep to it"
    faults = [Fault(key, problem, remedy) for key in list_kept_by_workers(search.options)]
    if search.has_launcher and faults:
        raise ConfigError(faults)


END_KEYS = ("n_trials", "budget", "full_trials", "epochs")
"""What ends a study."""


def open_end(options: StudyOptions, config: DictConfig) -> StudyOptions:
    """Let what the command line says of the end of a study take the place of all that the configuration says of it.

    Where the command line says nothing, a budget of the configuration counts, and no number of trials beside it.

    Raises:
        ConfigError: A population is to be of no particular size.
    """
    lines = read_words(config.hydra.overrides.hydra)
    typed = {key.removeprefix("hydra.sweeper.") for line in lines for key in spread_line(line)}
    told = {name: getattr(options, name) for name in END_KEYS if getattr(options, name) is not None}
    left, first, is_wished = told.keys() - typed, "the command line", True
    if left == told.keys():  # nothing is typed
        left, first = told.keys() & {"n_trials"} if options.limit else set(), "a budget"
        is_wished = options.n_trials != DEFAULT_TRIALS  # a default is nobody's wish
    if is_population(options) and (options.n_trials is None or "n_trials" in left):
        problem = "is the size of the population, and a budget alone leaves it open"
        raise ConfigError([Fault("hydra.sweeper.n_trials", problem, "add hydra.sweeper.n_trials=8")])
    write = {"budget": format_duration}
    ends = {name: f"{name}={write.get(name, format_number)(value)}" for name, value in told.items()}
    if left and is_wished:
        counted, unread = (" and ".join(ends[name] for name in told if (name in left) == is_left) for is_left in (0, 1))
        log.info("The study ends with %s; %s does not count, as %s comes first.", counted, unread, first)
    return options.model_copy(update=dict.fromkeys(left))


@contextmanager
def open_study(search: Search, home: Path | None) -> Iterator[StoredStudy]:
    """Open or join the stored study, with the commit of the application's folder."""
    commit = None if home is None else read_commit(home)
    storage = open_storage(search.storage_url, search.study_dir)
    try:
        store = TrialStore(storage, search.storage_url, search, None if commit is None else str(commit))
        with StoredStudy(store, search) as study:
            study.define(search)
            yield study
    finally:
        close_storage(storage)


def choose_observers(search: Search, context: HydraContext, *, jobs_print_here: bool) -> list[Observer]:
    """Choose who watches a study: the application's callbacks, and people by a table or by lines of the log.

    A table would get in the way of jobs that print to the same terminal.
    """
    application = ApplicationObserver(context.callbacks.callbacks, search.config)
    progress = search.options.progress
    if progress == "table" or (progress == "auto" and sys.stdout.isatty() and not jobs_print_here):
        from sentiment.search.live_table import LiveTable

        return [LiveTable(), application]
    return [application] if progress == "none" else [EventLines(), application]


def build_executor(search: Search, runner: JobRunner) -> Executor:
    """Choose where jobs run: under the launcher that was chosen, else in this process or in worker processes.

    Hydra's basic launcher runs jobs one after the other, so with several jobs it is our worker processes that run them.
    """
    options = search.options
    if search.has_launcher:
        from sentiment.search.workers.launchers import Launches

        return Launches(runner, options.n_jobs)
    devices = list_devices(options.devices)
    # With devices=none this process may see some; the driver is not asked: it may be ill.
    if options.n_jobs == 1 and not devices and not list_kept_by_workers(options):
        return InProcess(runner)
    from sentiment.search.workers.processes import WorkerProcesses

    slots = take_slots(options, devices, options.n_jobs)
    return WorkerProcesses(runner, slots, search.study_dir / WORKERS_DIR, fresh_processes=options.fresh_processes)


SEED_KEY = "hydra.sweeper.seed_key"

CONSTRAINT_WORDS = {"true": "True", "false": "False", "null": "None"}
"""What YAML and a constraint call differently."""


def check_search(search: Search) -> None:
    """Compose every corner of the space, of a grid every point, and validate it where the application can.

    That is every choice, both ends of every interval and every branch, less the points that the application has
    checked already.

    Raises:
        ConfigError: With every fault of every corner, each once.
    """
    checked = list_checked(search.space, is_valid=search.is_valid, is_grid=search.grid is not None)
    points = [search.space.to_overrides(point) for point in checked]
    # A constraint that no corner keeps may name keys all the same.
    known = points or [search.space.to_overrides(corner) for corner in list_corners(search.space, is_valid=any_point)]
    faults = dict.fromkeys(_find_unknown_names(search, known))
    for overrides in points:
        if overrides in search.application.checked:
            continue
        try:
            config = search.composer.compose(overrides)
        except COMPOSE_ERRORS as error:
            faults[_blame(overrides, error)] = None
            continue
        if search.application.find_faults is not None:
            faults |= dict.fromkeys(search.application.find_faults(config))
    if not faults:
        faults = dict.fromkeys([*_check_seed(search), *_check_epochs(search), *_check_population(search)])
    if faults:
        raise ConfigError(list(faults))
    search.read_prior(search.space, search.is_valid)  # it may be faulty, as the points to begin with
    if search.options.extend is not None or not has_study(search.study_dir):
        search.list_starts()  # an entry may be faulty


def _check_seed(search: Search) -> list[Fault]:
    """Return what is wrong with the seed that repeats count up from."""
    key, repeats = search.options.seed_key, search.repeats.count
    if repeats == 1 or key in search.space.keys or key in search.settings.followers:
        return []
    seed = read_setting(search.settings.read({key}).get(key, "None"))
    if isinstance(seed, int) and not isinstance(seed, bool):
        return []
    return [Fault(key, f"{repeats} repeats count up from a whole number, and it is {seed!r}", f"set {key}=0")]


def _check_epochs(search: Search) -> list[Fault]:
    """Return what is wrong with a budget of epochs that no trial could keep to."""
    limit, key, repeats = search.options.epochs, search.options.epochs_key, search.repeats.count
    if limit is None or key in search.space.keys or key in search.settings.followers:
        return []
    epochs = read_setting(search.settings.read({key}).get(key, "None"))
    if not isinstance(epochs, int | float):
        problem = f"needs a number of epochs, and {key} is {epochs!r}"
        return [Fault("hydra.sweeper.epochs", problem, "name the key that has it: hydra.sweeper.epochs_key=KEY")]
    if epochs * repeats > limit:
        problem = f"is {limit:g}, and one trial takes {epochs * repeats:g} ({key}, with each of {repeats} seeds)"
        return [Fault("hydra.sweeper.epochs", problem, "raise it: one trial has to fit into it")]
    return []


def _check_population(search: Search) -> list[Fault]:
    """Return why a population would replace nobody, or change nothing in its copies."""
    if not isinstance(search.pruner, PopulationPruner):
        return []
    faults, quantile = [], search.pruner.quantile
    if search.total * quantile < 1:
        problem = f"{search.total} trials are a population of which a quantile of {quantile:g} is nobody to replace"
        remedy = f"set hydra.sweeper.n_trials={math.ceil(1 / quantile)} or more, or a larger quantile, at most 0.5"
        faults.append(Fault("hydra.sweeper.pruner.quantile", problem, remedy))
    numbers = {name_key(one.name) for one in search.space.parameters if can_change(one.distribution)}
    for key in search.pruner.keys:
        if not any(is_within(number, [key]) for number in numbers):
            problem = f"no number that is searched as an interval or a range lies under {key}: copies would not change"
            remedy = f"name some of {', '.join(sorted(numbers)) or 'them, of which there are none yet'}"
            faults.append(Fault("hydra.sweeper.pruner.keys", problem, remedy))
    return faults


def _blame(overrides: tuple[str, ...], error: Exception) -> Fault:
    """Name the override that the reason speaks of, else the whole point."""
    reason = find_reason(error)
    for override in overrides:
        key, _, value = override.partition("=")
        if key.lstrip("+~") in reason or (value and value in reason):
            return Fault(key, f"cannot be composed with {override} ({reason})", "correct the search space")
    return Fault(" ".join(overrides), f"cannot be composed ({reason})", "correct the search space")


def _find_unknown_names(search: Search, points: Sequence[Sequence[str]]) -> list[Fault]:
    """Return the faults of keys in constraints, ``seed_key`` and branches that no configuration of the search has.

    A typo there would switch off what it stands in, without a word. The points, which are overrides, are composed only
    until every name is found.
    """
    options, composer = search.options, search.composer
    loader = composer.loader
    names = {(item.text, key) for item in parse_constraints(options.constraints) for key in item.keys}
    if options.repeats > 1 or options.seed_key != "seed":  # the default: who repeats nothing needs no such key
        names.add((SEED_KEY, options.seed_key))
    branches = options.branches or {}
    # A command line may narrow the space to options that lack a key: those that the files let choose count, too.
    written = [f"{key}={option}" for key in options.params or {} for option in loader.get_group_options(key)]
    others = [_choose(choice, point) for choice in (*branches, *written) for point in points[:1]]
    known: set[str] = set()
    for overrides in (*points, *others):
        if all(name in known for _, name in names):
            break
        try:
            config = composer.compose(overrides)
        except COMPOSE_ERRORS:
            continue  # explained where every corner is composed
        leaves = flatten(cast(dict[str, Any], OmegaConf.to_container(without_hydra(config), resolve=False)))
        known |= {key for leaf in leaves for key in accumulate(leaf.split("."), "{}.{}".format)}
    faults = []
    for place, name in sorted(names):
        if name not in known:
            guess = nearest(name, sorted(known))
            remedy = f"did you mean {guess}?" if guess else "name a key that some point of the search has"
            if "." not in name and place != SEED_KEY:
                remedy = (
                    f"write {CONSTRAINT_WORDS[name]}"
                    if name in CONSTRAINT_WORDS
                    else f"a text stands in quotes: '{name}'; else {remedy}"
                )
            faults.append(Fault(place, f"there is no key {name}", remedy))
    for condition in branches:
        group, _, option = condition.partition("=")
        known_options = loader.get_group_options(group)
        if known_options and option not in known_options:
            guess = nearest(option, known_options)
            remedy = (f"did you mean {group}={guess}? " if guess else "") + f"options: {', '.join(known_options)}"
            faults.append(Fault(condition, f"{group} has no option {option!r}", remedy))
    return faults


def _choose(choice: str, point: Sequence[str]) -> list[str]:
    """Return a point with another choice ``model=rnn``, less what it sets within the one that it had."""
    group = choice.partition("=")[0]
    return [*(line for line in point if not line.lstrip("+").startswith((f"{group}=", f"{group}."))), choice]
