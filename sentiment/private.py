"""All that the project uses of other packages without a promise that it stays.

That is private names, a few public ones that Hydra documents for its plugins alone, and what only its pre-release 1.4
has. A release may change any of it without notice: `tests/test_private.py` tries each and says who needs it. Each
function imports what it needs, so that nothing heavy is imported at start-up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import Namespace

    import optuna
    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from lightning.pytorch.callbacks import RichProgressBar
    from omegaconf import DictConfig
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.storages.journal import JournalFileSymlinkLock
    from optuna.trial import FrozenTrial

BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
"""Hydra's own launcher and its own sweeper are named so in every configuration."""

CORE_PLUGIN = r"hydra\._internal\.core_plugins\.\w+\.\w+"
"""A regular expression for what Hydra constructs of its own."""


# Hydra


def parse_arguments(arguments: Sequence[str]) -> Namespace:
    """Return a command line as Hydra reads it; where it cannot be read, the process ends with its message."""
    from hydra._internal.utils import get_args_parser

    return get_args_parser().parse_intermixed_args(arguments)


def replace_repository(loader: ConfigLoader, make: Callable[[Any], Any]) -> None:
    """Let a loader read its config files from what `make` makes of its repository."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    assert isinstance(loader, ConfigLoaderImpl), f"unknown kind of config loader: {type(loader).__name__}"
    loader.repository = make(loader.repository)


def read_folder(loader: ConfigLoader, folder: Path) -> None:
    """Let a loader read the config files of one more folder, as ``--config-dir`` does."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.config_search_path import SearchPathQuery

    assert isinstance(loader, ConfigLoaderImpl), f"unknown kind of config loader: {type(loader).__name__}"
    path = loader.config_search_path
    path.prepend("command-line", f"file://{folder}", SearchPathQuery(provider="schema"))
    loader.repository.initialize_sources(path)


def expand_aliases(loader: ConfigLoader, config_name: str, lines: Sequence[str]) -> list[str]:
    """Return the overrides of a command with the aliases of its primary config written out (`hydra.aliases`)."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    assert isinstance(loader, ConfigLoaderImpl), f"unknown kind of config loader: {type(loader).__name__}"
    aliases = loader.get_override_aliases(config_name)
    return [aliases.expand(line) for line in lines]


def begin_jobs() -> None:
    """Register Hydra's resolvers, as a sweeper does before its first job."""
    from hydra.core.utils import setup_globals

    setup_globals()


def run_job(task: TaskFunction, config: DictConfig, context: HydraContext) -> JobReturn:
    """Run a job of a sweep in its folder under `hydra.sweep.dir`, with its logging, as Hydra's basic launcher does."""
    from hydra.core import utils

    return utils.run_job(
        task_function=task,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
        hydra_context=context,
    )


@contextmanager
def copying_quickly() -> Iterator[None]:
    """Let configurations be copied by `copy_config` here: Hydra copies its whole one half a dozen times per job."""
    from omegaconf import DictConfig

    copy_slowly = DictConfig.__deepcopy__

    def copy_quickly(self: DictConfig, memo: dict[int, Any]) -> DictConfig:
        return copy_slowly(self, memo) if memo else copy_config(self, self.__dict__["_parent"])

    DictConfig.__deepcopy__ = copy_quickly  # type: ignore[method-assign]
    try:
        yield
    finally:
        DictConfig.__deepcopy__ = copy_slowly  # type: ignore[method-assign]


def copy_config(node: Any, parent: Any = None) -> Any:
    """Return a deep copy of a configuration under a parent, five times faster than OmegaConf, which constructs it anew.

    What can be in a configuration but not copied is shared, as by OmegaConf.
    """
    copied = object.__new__(type(node))
    metadata = node.__dict__["_metadata"]
    own = object.__new__(type(metadata))
    own.__dict__.update(metadata.__dict__)
    own.flags = metadata.flags.copy()
    own.resolver_cache = deepcopy(metadata.resolver_cache) if metadata.resolver_cache else defaultdict(dict)
    copied.__dict__.update(node.__dict__, _metadata=own, _flags_cache=None, _parent=parent)
    content = node.__dict__.get("_content")  # a value has none, and text or nothing stands for other content
    if isinstance(content, dict):
        copied.__dict__["_content"] = {key: copy_config(child, copied) for key, child in content.items()}
    elif isinstance(content, list):
        copied.__dict__["_content"] = [copy_config(child, copied) for child in content]
    elif hasattr(content, "_metadata"):  # what a union holds
        copied.__dict__["_content"] = copy_config(content, copied)
    return copied


def restore_logging(config: DictConfig, context: HydraContext) -> None:
    """Set up the sweep's own logging again after a job."""
    from hydra.core.utils import configure_log

    hydra = config.hydra
    configure_log(hydra.hydra_logging, hydra.verbose, execution_whitelist=context.execution_whitelist)


def read_returned(returned: JobReturn) -> Any:
    """Return what a job returned or raised; the public property prints and raises an exception."""
    return returned._return_value


def construct(options: Mapping[str, Any], allowed: Sequence[str], **named: Any) -> Any:
    """Construct `_target_` of the options, if it is among the allowed ones (patterns of dotted paths)."""
    from hydra.utils import instantiate

    return instantiate(dict(options), _execution_whitelist_=tuple(allowed), **named)


def read_distribution(override: Override) -> Any:
    """Return the Optuna distribution that a sweep override means to the stock Optuna sweeper."""
    from hydra_plugins.hydra_optuna_sweeper._impl import create_optuna_distribution_from_override

    return create_optuna_distribution_from_override(override)


# Optuna


def get_storage(study: optuna.Study) -> BaseStorage:
    """Return the storage that a study reads and writes."""
    return study._storage


def make_journal_lock(path: Path, grace_seconds: int) -> JournalFileSymlinkLock:
    """Return Optuna's lock of a journal: a link beside it, removed where the journal does not change for a time.

    Optuna waits for ever, without a pause, for a link that leads nowhere. Its own lead to the journal's path, and are
    left behind by who is killed: here they lead to its name, which a moved folder keeps; older ones are removed.
    """
    from optuna.storages.journal import JournalFileSymlinkLock

    lock = JournalFileSymlinkLock(str(path), grace_period=grace_seconds)
    lock._lock_target_file = path.name
    link = Path(lock._lock_file)
    with suppress(OSError):  # it is another's by now
        if str(link.readlink()) != path.name and not link.exists():  # never one that may be held: those have the name
            link.unlink()
    return lock


def get_study_id(study: optuna.Study) -> int:
    """Return the number by which its storage knows a study."""
    return study._study_id


def get_trial_id(trial: FrozenTrial | optuna.Trial) -> int:
    """Return the number by which its storage knows a trial."""
    return trial._trial_id


def suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Any:
    """Draw a parameter from a distribution; the public methods take its parts one by one."""
    return trial._suggest(name, distribution)


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Return whether a distribution has a value."""
    return bool(distribution._contains(distribution.to_internal_repr(value)))


def list_grid_points(
    values: Mapping[str, Sequence[Any]], seed: int | None
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """List the points of a grid in the order in which Optuna's grid sampler takes them; names, and values of each."""
    from optuna.samplers import GridSampler

    sampler = GridSampler(values, seed=seed)
    return tuple(sampler._param_names), sampler._all_grids


def list_all_trials(study: optuna.Study) -> list[FrozenTrial]:
    """List a study's trials anew, not copied; those outside a bracket of hyperband too, which `get_trials` hides."""
    return study._get_trials(deepcopy=False)


def serve_trials(study: type[optuna.Study]) -> None:
    """Let samplers, which ask a study by a private method, get what its class gives by `get_trials`."""

    def serve(self: optuna.Study, deepcopy: bool = True, states: Any = None, use_cache: bool = False) -> Any:
        return self.get_trials(deepcopy, states)

    study._get_trials = serve  # type: ignore[method-assign]


def pass_search_space(before: BaseSampler, now: BaseSampler) -> None:
    """Let a sampler know what an equal one found out about a study's search space, rather than read all its trials."""
    for name in ("_search_space", "_group_decomposed_search_space", "_intersection_search_space"):
        known = getattr(before, name, None)
        if hasattr(known, "calculate") and hasattr(now, name):
            setattr(now, name, known)


def require_parents(sampler: BaseSampler) -> None:
    """Let a genetic algorithm draw at random where a space that was narrowed leaves too few parents for a crossover."""
    breed = getattr(sampler, "_child_generation_strategy", None)
    if breed is not None and hasattr(breed, "_crossover"):
        least = breed._crossover.n_parents
        sampler._child_generation_strategy = (  # type: ignore[attr-defined]
            lambda study, space, parents: breed(study, space, parents) if len(parents) >= least else {}
        )


def is_patience_alone(pruner: BasePruner) -> bool:
    """Return whether a pruner compares a trial with its own earlier reports, and with no other trial."""
    from optuna.pruners import PatientPruner

    return isinstance(pruner, PatientPruner) and pruner._wrapped_pruner is None


def settle_resources(pruner: BasePruner, study: optuna.Study) -> bool:
    """Settle what a pruner is to estimate from the length of trials (``auto``) by the one that was complete first.

    Optuna takes the longest that is complete when a process first asks: jobs in processes of their own, and a study
    that goes on, would have other rungs or brackets, and compare trials after unequal work.

    Returns:
        Whether the pruner may be asked; else no trial is complete.
    """
    from optuna.pruners import HyperbandPruner, PatientPruner, SuccessiveHalvingPruner
    from optuna.pruners._successive_halving import _estimate_min_resource
    from optuna.trial import TrialState

    if isinstance(pruner, PatientPruner) and pruner._wrapped_pruner is not None:
        return settle_resources(pruner._wrapped_pruner, study)
    is_hyperband = isinstance(pruner, HyperbandPruner) and pruner._max_resource == "auto"
    if not is_hyperband and not (isinstance(pruner, SuccessiveHalvingPruner) and pruner._min_resource is None):
        return True
    trials = [trial for trial in list_all_trials(study) if trial.state == TrialState.COMPLETE]
    complete: list[Any] = [trial for trial in trials if trial.last_step is not None]
    if not complete:
        return False
    first = min(complete, key=lambda trial: (trial.datetime_complete, trial.number))
    name, value = "_min_resource", _estimate_min_resource([first])
    if is_hyperband:
        name, value = "_max_resource", first.last_step + 1
    setattr(pruner, name, value)
    return True


# Lightning


def describe_epochs(bar: RichProgressBar, describe: Callable[[int], str]) -> None:
    """Let a progress bar name the epochs, of which it tells the number from 0."""
    bar._get_train_description = describe  # type: ignore[method-assign, assignment]


# torch


def join_store() -> dict[str, str]:
    """Return the environment in which a process takes its store from another one, as one that torchrun started does."""
    return {"TORCHELASTIC_USE_AGENT_STORE": "True"}
