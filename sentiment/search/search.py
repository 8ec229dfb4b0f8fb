"""A search: what may be chosen, what is tried first, what ends trials early, and how a point becomes a job."""

from __future__ import annotations

import itertools
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import InstantiationException
from hydra.types import HydraContext
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import (
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, NopPruner
from optuna.trial import FrozenTrial

from sentiment.errors import ConfigError, Fault, first_line
from sentiment.flat import flatten
from sentiment.private import BASIC_LAUNCHER, construct, get_storage, get_trial_id
from sentiment.search.application import Application
from sentiment.search.budget import UNLIMITED
from sentiment.search.composer import Composer, SharedSettings
from sentiment.search.options import StudyOptions
from sentiment.search.space.constraints import Validity, make_validity
from sentiment.search.space.parameters import LabelledPoint, Parameter, Point, Space, name_key, write_value
from sentiment.search.space.points import OWN_KEY, Key, PointReader
from sentiment.search.space.reading import read_space
from sentiment.search.space.sampling import FreshSampler, build_sampler
from sentiment.search.starts import DEFAULTS, PRIOR_KEY, StartFinder, list_prior_trials, read_other_study
from sentiment.search.storage.address import read_address
from sentiment.search.study.definition import LIMIT_KEY, Definition
from sentiment.search.study.limits import check_limits
from sentiment.search.study.outcome import RepeatPlan
from sentiment.search.study.population import PopulationPruner
from sentiment.search.study.promotion import PromotionPruner

log = logging.getLogger(__name__)

NO_PRUNER = "optuna.pruners.NopPruner"
"""What ``hydra/sweeper/pruner=none`` stands for, and no pruner at all."""

CustomSpace = Callable[[DictConfig, optuna.Trial], None]
"""An application's own search space: draws further parameters of a trial."""

SCHEDULERS = [f"{kind.__module__}.{kind.__qualname__}" for kind in (PromotionPruner, PopulationPruner)]


def _check_number(options: StudyOptions, grid: Mapping[Key, Point] | None) -> None:
    """Say how many points a grid has, and which of them `n_trials` leaves out.

    Raises:
        ConfigError: Nothing would ever end the search.
    """
    if grid is None:
        if options.n_trials is None and not options.limit and options.extend is None:
            problem = "is null, every point of a grid, and this sampler draws points without end"
            remedy = "add hydra.sweeper.n_trials=20 or a budget, or take the grid: hydra/sweeper/sampler=grid"
            raise ConfigError([Fault("hydra.sweeper.n_trials", problem, remedy)])
    elif options.n_trials is not None and options.n_trials < len(grid):
        log.warning(
            "The grid has %d points, and hydra.sweeper.n_trials=%d lets no more of them be tried.",
            len(grid), options.n_trials,
        )  # fmt: skip
    else:
        log.info("The grid has %d points to try.", len(grid))


@dataclass(frozen=True)
class Search:
    """All of a study that needs no storage."""

    options: StudyOptions  # the study's options
    config: DictConfig  # the composed configuration of the sweep
    # What the application tells, e.g. which data a configuration reads and which code a result depends on, so that
    # changed ones are not mistaken for the same.
    application: Application
    space: Space  # what may be chosen
    is_valid: Validity  # whether a point satisfies the constraints
    extend: CustomSpace | None  # the application's own search space; None: there is none
    composer: Composer  # composes jobs
    sampler: FreshSampler  # draws the points
    pruner: BasePruner  # ends trials early
    repeats: RepeatPlan  # how many seeds a point is trained under, and how their values are combined
    working_dir: Path  # where the command was started
    study_dir: Path  # the study's folder
    reader: PointReader  # reads the points of stored trials

    @classmethod
    def read(
        cls,
        options: StudyOptions,
        lines: list[str],
        context: HydraContext,
        config: DictConfig,
        application: Application,
        home: Path | None,
    ) -> Search:
        """Read space, constraints, sampler and pruner.

        Args:
            options: The study's options.
            lines: The task overrides of the command line.
            context: Hydra's context, with a loader that reads every file once.
            config: The composed configuration of the sweep.
            application: What the application tells.
            home: The application's folder; None: it has none.

        Raises:
            ConfigError: Any of them is faulty.
        """
        chosen = config.hydra.runtime.choices
        choices = {str(group): str(chosen[group]) for group in chosen if not OmegaConf.is_missing(chosen, group)}
        loader = context.config_loader
        composer = Composer(loader, config, options.ignore, application.simplify, home)
        params, branches = options.params or {}, options.branches or {}
        space = read_space(lines, params, branches, loader, chosen=choices, compose=composer.compose)
        is_valid = make_validity(options.constraints, space, config, composer.compose)
        if options.limits:
            check_limits(options.limits, build_sampler(options.sampler, trial_number=0, space=space))
        sampler = FreshSampler(options.sampler, space, is_valid)
        _check_number(options, sampler.grid)
        working_dir = Path(config.hydra.runtime.cwd)
        return cls(
            options=options,
            config=config,
            application=application,
            space=space,
            is_valid=is_valid,
            extend=_find_custom_space(options.custom_search_space),
            composer=composer,
            sampler=sampler,
            pruner=build_pruner(None if options.extend else options.pruner),
            repeats=RepeatPlan(options.repeats, options.repeat_value, options.maximize),
            working_dir=working_dir,
            study_dir=(working_dir / str(config.hydra.sweep.dir)).resolve(),
            reader=PointReader(space, is_valid=is_valid),
        )

    @cached_property
    def settings(self) -> SharedSettings:
        """What the configuration sets beside the search."""
        return SharedSettings(self.config, self.space, self.composer)

    @property
    def grid(self) -> Mapping[Key, Point] | None:
        """The points of a grid; None where points are drawn."""
        return self.sampler.grid

    @property
    def has_launcher(self) -> bool:
        """Whether another launcher than Hydra's basic one runs the jobs."""
        return bool(self.config.hydra.launcher._target_ != BASIC_LAUNCHER)

    @property
    def total(self) -> int:
        """Trials of the study: those that it extends, else the number asked for, or points of a grid where fewer.

        `UNLIMITED` where the budget alone decides.
        """
        if self.options.extend is not None:
            return len(self.list_starts())
        number = self.options.n_trials or UNLIMITED
        return number if self.grid is None else min(number, len(self.grid))

    def find_names(self, known: Mapping[str, str]) -> dict[str, str]:
        """Find a name in Optuna for every parameter: Optuna keeps one kind of distribution, one choice, under a name.

        Args:
            known: Names to distributions, as JSON, that the study has already.

        Returns:
            The same with the parameters as they are now.
        """
        names = dict(known)
        for parameter in self.space.parameters:
            _choose_name(parameter, names)
        return names

    def continue_from(self, definition: Definition) -> Search:
        """Return the search with the parameters' names in its study, and with what earlier trials mean in it."""
        names = dict(definition.names)
        space = self.space.rename({one.name: _choose_name(one, names) for one in self.space.parameters})
        is_valid = make_validity(self.options.constraints, space, self.config, self.composer.compose)
        known = frozenset(map(name_key, names))
        fixed = self.settings.read(known.union({self.options.seed_key}).difference(space.keys))
        own, written = self.options.custom_search_space, self.settings.interpolations
        reader = PointReader(
            space, definition.defaults, fixed, known, is_valid, own, self.settings.read,
            {key: written[key] for key in self.settings.followers if key in written},
            definition.custom_before,
        )  # fmt: skip
        return replace(
            self,
            space=space,
            is_valid=is_valid,
            reader=reader,
            sampler=FreshSampler(
                self.options.sampler, space, is_valid, reader,
                has_grown=definition.has_grown, prior=self.read_prior(space, is_valid),
            ),
        )  # fmt: skip

    def read_prior(self, space: Space, is_valid: Validity) -> list[FrozenTrial]:
        """Read the trials of the earlier study that the sampler is to learn from.

        Raises:
            ConfigError: There is no such study, or nothing can be learnt from it.
        """
        if self.options.prior is None:
            return []
        remedy = "name a study beside this one, or the path of its folder"
        history = read_other_study(self.options.prior, self.study_dir, self.working_dir, PRIOR_KEY, remedy)
        trials = list_prior_trials(history, space, is_valid, self.settings.read, self.options)
        if space is not self.space:  # once, when the study has begun
            log.info("The sampler learns from %d trials of %s.", len(trials), history.name)
        return trials

    def read_definition(self, content: Mapping[str, Any]) -> Definition:
        """Read a stored definition; an earlier version wrote the settings in other words, with the project's folder."""
        stored = Definition.from_json(content)
        settings = {key: str(text) for key, text in self.composer.simplify(stored.settings).items()}
        return replace(stored, settings=self.composer.make_portable(settings))

    @property
    def storage_url(self) -> str | None:
        """The storage, absolute, for jobs in other folders; None: the journal in the study's folder."""
        url = self.options.storage
        if url is None:
            return None
        address = read_address(url, self.study_dir, self.working_dir)
        return url if address.path is None or address.url is None else address.connection_url

    def suggest(self, trial: optuna.Trial) -> Mapping[str, Any]:
        """Draw the parameters of a trial, those of the application's own space included.

        Raises:
            ConfigError: The application draws what is fixed.
        """
        values = self.space.suggest(trial)
        for key, text in {**self.reader.list_changed(values), **self.space.fixed}.items():
            trial.set_user_attr(key, text)  # as the stock plugin does
        if self.extend is not None:
            before = trial.params.keys()
            self.extend(self.config, trial)
            both = sorted(trial.params.keys() & self.space.fixed.keys())
            if both:
                problem = "is fixed, and drawn by custom_search_space"
                raise ConfigError([Fault(key, problem, "leave it out on the command line") for key in both])
            if drawn := sorted(trial.params.keys() - before):  # none where a trial goes on
                note = {"function": self.options.custom_search_space, "names": drawn}
                get_storage(trial.study).set_trial_system_attr(get_trial_id(trial), OWN_KEY, note)
        # What a trial was drawn before the space changed has another name, or none; the point says what it has now.
        stored = get_storage(trial.study).get_trial(get_trial_id(trial))
        return {**values, **self.reader.read_own(stored)}

    def list_starts(self) -> list[LabelledPoint]:
        """List the points that a new study tries first, or those that it extends; a grid has its own order.

        The first call reads the other studies that are named, and warns of points that are too many.

        Raises:
            ConfigError: An entry of ``hydra.sweeper.start`` names no point of the space.
        """
        return self._starts

    @cached_property
    def _starts(self) -> list[LabelledPoint]:
        if self.grid is not None and self.options.extend is None:
            if others := [entry for entry in self.options.start if entry != DEFAULTS]:
                problem = f"a grid has its own order, and would not try {others[0]} first"
                raise ConfigError([Fault("hydra.sweeper.start", problem, "leave it out, or choose another sampler")])
            return []
        finder = StartFinder(self.space, self.is_valid, self.settings.read, self.study_dir, self.working_dir)
        found = finder.find(self.options.start if self.options.extend is None else [self.options.extend])
        starts = found if self.options.extend is not None else found[: self.options.n_trials]
        if len(starts) < len(found):
            log.warning(
                "Not tried: %s; hydra.sweeper.n_trials=%d is less than there are points to begin with.",
                "; ".join(start.label for start in found[len(starts) :]), self.options.n_trials,
            )  # fmt: skip
        if self.options.extend is not None and not starts:
            problem = f"{self.options.extend!r} has no trial that is a point of this space"
            raise ConfigError([Fault("hydra.sweeper.extend", problem, "search the space of that study")])
        return starts

    def tell_of_late_starts(self, trials: Sequence[FrozenTrial]) -> None:
        """Say which points of ``hydra.sweeper.start`` are not tried first, because the study has begun without them."""
        has_begun = any(trial.datetime_start is not None for trial in trials)
        if not has_begun or self.options.extend is not None or all(entry == DEFAULTS for entry in self.options.start):
            return
        known = [trial.system_attrs.get("fixed_params", {}).items() for trial in trials]
        try:
            late = [one.label for one in self.list_starts() if not any(one.point.items() <= fixed for fixed in known)]
        except ConfigError as error:
            late = [fault.problem for fault in error.faults]
        if late:
            log.warning("hydra.sweeper.start counts when a study begins; not tried first: %s.", "; ".join(late))

    def to_overrides(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """Write a trial's values as overrides; what `custom_search_space` drew comes first."""
        known = {parameter.name for parameter in self.space.parameters}
        extra = (f"{name}={_write_drawn(value)}" for name, value in values.items() if name not in known)
        return (*extra, *self.space.to_overrides(values))

    def describe(self) -> Definition:
        """Describe what must not change in the study."""
        limits = {f"{LIMIT_KEY}{name}": str(bound) for name, bound in self.options.limits.items()}
        return Definition(
            space=self.space.describe(),
            settings={**self.settings.describe(), **limits},
            options=self.settings.list_options(),
            directions=self.options.direction,
            repeats=f"{self.repeats.count}, {self.repeats.value}" if self.repeats.count > 1 else "1",
            objectives=self.options.metric_names or (),
            defaults=self.settings.read({self.options.seed_key}),
            interpolations=self.settings.interpolations,
            followers=self.settings.followers,
            constraints=list(self.options.constraints),
            way=self._describe_way(),
            custom_space=self.options.custom_search_space or "",
        )

    def _describe_way(self) -> dict[str, str]:
        """Write how the study is searched: the sampler and the pruner with their keys, and the pruner's margin."""
        options = self.options
        parts = {"sampler": options.sampler, "pruner": None if options.extend else options.pruner}
        found: dict[str, str] = {"margin": f"{options.margin:g}"}
        for name, part in parts.items():
            keys = {f"{name}.{key}": str(value) for key, value in flatten(part or {}).items()}
            found |= {name: keys.pop(f"{name}._target_", NO_PRUNER), **keys}
        return {key: text for key, text in found.items() if not key.endswith(".seed")}


def build_pruner(config: Mapping[str, Any] | None) -> BasePruner:
    """Build the pruner of ``hydra.sweeper.pruner``; None prunes nothing.

    Raises:
        ConfigError: It cannot be built with these values.
    """
    if config is None:
        return NopPruner()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # people chose it
            pruner = construct(config, ("optuna.pruners.*", *SCHEDULERS))
    except (InstantiationException, ValueError, TypeError) as error:
        problem = " ".join(str(error.__cause__ or error).split())
        remedy = "see its keys and their values: docs/configuration/search.md"
        raise ConfigError([Fault("hydra.sweeper.pruner", f"cannot be built: {problem}", remedy)]) from error
    assert isinstance(pruner, BasePruner), f"hydra.sweeper.pruner gives {pruner!r}"
    return pruner


def _choose_name(parameter: Parameter, names: dict[str, str]) -> str:
    """Choose the first name under which Optuna can keep a parameter, and add it to those that the study has."""
    for number in itertools.count(1):
        name = parameter.name if number == 1 else f"{parameter.name}[{number}]"
        known = names.setdefault(name, distribution_to_json(parameter.distribution))
        try:
            check_distribution_compatibility(json_to_distribution(known), parameter.distribution)
        except ValueError:
            continue
        return name
    raise AssertionError("there is always another number")


def _write_drawn(value: Any) -> str:
    """Write what `custom_search_space` drew: unlike a choice from an override, a string is meant as it is."""
    if value is None:
        return "null"
    if isinstance(value, str) and (value == "null" or ("'" in value and value[0] not in "'\"[{")):
        return QuotedString(value, Quote.single).with_quotes()
    return write_value(value)


def _find_custom_space(name: str | None) -> CustomSpace | None:
    if name is None:
        return None
    try:
        extend: CustomSpace = instantiate({"_target_": name, "_partial_": True})
    except InstantiationException as error:
        remedy = "name a function (config, trial) by its dotted path; hydra.main's execution_whitelist must allow it"
        raise ConfigError([Fault("hydra.sweeper.custom_search_space", first_line(error), remedy)]) from error
    return extend
