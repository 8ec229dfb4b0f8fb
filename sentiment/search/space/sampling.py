"""Samplers: one for each trial, seeded by its number, that avoids points which break constraints."""

from __future__ import annotations

import functools
import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GridSampler, PartialFixedSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from sentiment.errors import ConfigError, Fault, SentimentError
from sentiment.private import construct, contains, pass_search_space, require_parents
from sentiment.search.space import hub
from sentiment.search.space.constraints import Validity, any_point
from sentiment.search.space.corners import extreme_values
from sentiment.search.space.grid import ValidGridSampler, list_grid
from sentiment.search.space.parameters import Point, Space
from sentiment.search.space.points import Key, PointReader
from sentiment.search.space.seen import SeenStudy

if TYPE_CHECKING:
    from optuna.study import Study

log = logging.getLogger(__name__)

_TARGETS = ("hydra_plugins.hydra_optuna_sweeper.*", "optuna.samplers.*", hub.TARGET)
_QMC = "QMCSampler"
_PRUNED_READERS = (TPESampler, QMCSampler, PartialFixedSampler)
"""Optuna's samplers that learn from pruned trials, or may hold one that does."""

_PROPOSALS = 10
_REPEATS = 3
_UNIFORM_DRAWS = 2_000


def build_sampler(
    config: DictConfig | Mapping[str, Any],
    *,
    trial_number: int,
    space: Space,
    is_valid: Validity = any_point,
    reader: PointReader | None = None,
) -> BaseSampler:
    """Build the sampler of one trial.

    A seeded sampler gets a seed made from its own and the trial's number. So neither several workers nor a resumed
    study repeat points, and an interrupted study goes on exactly as it would have. Quasi-random and grid samplers
    keep their seed, since it stands for the one sequence whose next point they agree on through the storage.

    Args:
        config: The ``hydra.sweeper.sampler`` node.
        trial_number: The trial's number in its study.
        space: The space to draw from.
        is_valid: Tells whether a complete point (names to values) satisfies the constraints; where there are none,
            the draws are those of the plain sampler.
        reader: Reads the points of the study's trials, for a grid; None: the study was always about this space.

    Raises:
        ConfigError: The options do not make a sampler, or the space has no grid.
    """
    node = OmegaConf.to_container(OmegaConf.create(config), resolve=True)  # type: ignore[arg-type]
    assert isinstance(node, dict)
    seed = node.get("seed")
    if node.get("with_margin") and any(parameter.condition for parameter in space.parameters):
        # Optuna stores such a point whole, and fails once two branches gave points of different dimensions.
        problem = "with_margin=true cannot draw from a space with branches"
        raise ConfigError([Fault("hydra.sweeper.sampler.with_margin", problem, "set it to false, or choose tpe")])
    options: dict[str, Any] = _seed_options({str(key): value for key, value in node.items()}, trial_number)
    sampler = _instantiate(options)
    if isinstance(sampler, functools.partial) and sampler.func is GridSampler:
        return ValidGridSampler(list_grid(space, is_valid, **sampler.keywords), reader or PointReader(space))
    if not isinstance(sampler, BaseSampler):
        problem = f"{node.get('_target_')} gives {type(sampler).__name__}, which is no Optuna sampler"
        raise ConfigError([Fault("hydra.sweeper.sampler", problem, "choose hydra/sweeper/sampler=tpe, random, ...")])
    require_parents(sampler)
    if is_valid is any_point:
        return sampler
    return AvoidingSampler(sampler, space, is_valid, seed=derive_seed(seed, trial_number, 1))


def derive_seed(seed: int | None, *keys: int) -> int | None:
    """Make a seed from a seed and numbers, e.g. a trial's; None stays None: not reproducible."""
    if seed is None:
        return None
    return int(numpy.random.SeedSequence([seed, *keys]).generate_state(1)[0])


def _seed_options(options: dict[str, Any], trial_number: int) -> dict[str, Any]:
    kind, seed = str(options.get("_target_")).rpartition(".")[2], options.get("seed")
    top = 2**32 if kind == GridSampler.__name__ else math.inf
    if seed is not None and not (isinstance(seed, int) and 0 <= seed < top):
        problem = f"{kind} takes whole numbers from 0 on" + (" below 2**32" if top < math.inf else "")
        problem += f" (it is {seed!r})"
        raise ConfigError([Fault("hydra.sweeper.sampler.seed", problem, "set hydra.sweeper.sampler.seed=0")])
    if kind == GridSampler.__name__:
        return options
    if kind == _QMC:
        return _seed_quasi_random(options, trial_number)
    seeded = {**options, "seed": derive_seed(seed, trial_number)} if "seed" in options else dict(options)
    return {key: _seed_nested(value, trial_number) for key, value in seeded.items()}


def _seed_nested(value: Any, trial_number: int) -> Any:
    """Seed a sampler within a sampler (``independent_sampler``) in the same way."""
    return _seed_options(value, trial_number) if isinstance(value, dict) and "_target_" in value else value


def _seed_quasi_random(options: dict[str, Any], trial_number: int) -> dict[str, Any]:
    seed = options.get("seed")
    if options.get("scramble") and seed is None:
        problem = "scramble=true without a seed: each trial would draw the first point of a sequence of its own"
        raise ConfigError([Fault("hydra.sweeper.sampler.seed", problem, "set hydra.sweeper.sampler.seed=1")])
    inner = options.get("independent_sampler")
    if inner is None and seed is not None:
        # It draws the first trial and conditional parameters; with one seed for all trials they would all be equal.
        inner = {"_target_": "optuna.samplers.RandomSampler", "seed": seed}
    return {**options, "independent_sampler": _seed_nested(inner, trial_number)}


def _instantiate(options: dict[str, Any]) -> Any:
    """Build a sampler. Trials differ in its seed alone, so Hydra, which takes 10 ms, makes a builder once."""
    rest = {key: value for key, value in options.items() if key != "seed"}
    is_nested = any(isinstance(value, dict | list) for value in rest.values())
    with warnings.catch_warnings():
        # Which options are experimental is for who chose them in the configuration, not news at every trial.
        warnings.simplefilter("ignore", ExperimentalWarning)
        try:
            if "seed" in options and "_partial_" not in options and not is_nested:
                return _make_builder(tuple(rest.items()))(seed=options["seed"])
            return construct(options, _TARGETS, _convert_="all")
        except (InstantiationException, ValueError, TypeError) as error:
            if isinstance(error.__cause__, ConfigError):
                raise error.__cause__ from error
            problem = f"{options.get('_target_')} cannot be built: {error.__cause__ or error}"
            remedy = "see the options of this sampler in Optuna's documentation; --cfg hydra shows yours"
            raise ConfigError([Fault("hydra.sweeper.sampler", problem, remedy)]) from error


@functools.lru_cache(maxsize=16)
def _make_builder(options: tuple[tuple[str, Any], ...]) -> Any:
    return construct({**dict(options), "_partial_": True}, _TARGETS, _convert_="all")


class FreshSampler(BaseSampler):
    """A sampler for a whole study that builds a new one for each trial, when the trial exists and has its number.

    Any number of trials may be in flight. Optuna's samplers learn from trials whose distributions equal those of now.
    Where the space has changed since, they are shown the history as if it had always been like this.

    Optuna's samplers know all from the storage, in which they keep their notes, too. One of the hub may keep them in
    memory, as Optuna lets it: it is one object for as long as the command runs.

    Args:
        config: The ``hydra.sweeper.sampler`` node.
        space: The space to draw from.
        is_valid: Tells whether a point satisfies the constraints.
        reader: Reads the points of trials; None: the study was always about this space.
        has_grown: The study has had another space.
        prior: Trials of another study to learn from, as points of this space.
    """

    def __init__(
        self,
        config: DictConfig | Mapping[str, Any],
        space: Space,
        is_valid: Validity = any_point,
        reader: PointReader | None = None,
        *,
        has_grown: bool = False,
        prior: Sequence[FrozenTrial] = (),
    ) -> None:
        self._build = functools.partial(build_sampler, config, space=space, is_valid=is_valid, reader=reader)
        self._reader = reader if has_grown else None
        self._prior = tuple(prior)
        self._is_of_hub = config.get("_target_") == hub.TARGET
        self._in_flight: dict[int, BaseSampler] = {}
        self._shown: dict[int, SeenStudy] = {}  # to the trials that are being drawn
        self._last = self._build(trial_number=0)  # faulty options show now, not in the first trial
        # The one sampler of all trials: a grid's, or that of the hub from the first trial on.
        self._only: BaseSampler | None = self._last if isinstance(self._last, ValidGridSampler) else None
        self._translated: list[tuple[FrozenTrial, FrozenTrial | None]] = []
        self._considers_pruned = bool(config.get("consider_pruned_trials"))  # CMA-ES, where somebody says so
        self._reads_pruned = self._considers_pruned or isinstance(_unwrap(self._last), _PRUNED_READERS)

    @property
    def grid(self) -> Mapping[Key, Point] | None:
        """The points of a grid; None where points are drawn."""
        return self._only.grid if isinstance(self._only, ValidGridSampler) else None

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if self._only is None and self._is_of_hub:
            self._only = self._build(trial_number=trial.number)
            if trial.number:
                log.info("The hub's sampler learns from stored trials; what it kept in memory alone begins anew.")
        if self._only is not None:
            return self._only
        if trial.number not in self._in_flight:
            sampler = self._build(trial_number=trial.number)
            if not self._considers_pruned:  # its space is that of complete trials, and those look pruned before
                pass_search_space(_unwrap(self._last), _unwrap(sampler))
            self._in_flight[trial.number] = self._last = sampler
        return self._in_flight[trial.number]

    def _show(self, study: Study, trial: FrozenTrial) -> Study:
        """Return the study as it was when the trial began to be drawn: a sampler may ask for it at every parameter."""
        if trial.number not in self._shown:
            self._shown[trial.number] = SeenStudy(
                study, self._reader, self._prior, self._translated, reads_pruned=self._reads_pruned
            )
        return self._shown[trial.number]

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Build the sampler of the trial."""
        self._shown.clear()
        self._of(trial).before_trial(self._show(study, trial), trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Ask the trial's sampler."""
        return self._of(trial).infer_relative_search_space(self._show(study, trial), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Ask the trial's sampler."""
        return self._of(trial).sample_relative(self._show(study, trial), trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Ask the trial's sampler."""
        return self._of(trial).sample_independent(self._show(study, trial), trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Tell the trial's sampler, and forget it."""
        self._shown.clear()
        self._of(trial).after_trial(self._show(study, trial), trial, state, values)
        self._shown.clear()
        self._in_flight.pop(trial.number, None)


def _unwrap(sampler: BaseSampler) -> BaseSampler:
    return sampler.inner if isinstance(sampler, AvoidingSampler) else sampler


class AvoidingSampler(BaseSampler):
    """Draws from another sampler until the point is valid.

    Optuna's constraints steer only some samplers, and only away from points that were run. Here a complete point is
    proposed before the trial begins: what the inner sampler draws relatively, and its independent draws for the rest,
    branches included. Invalid proposals are drawn again, up to 10 times, or until the inner sampler proposes the same
    point three times running (a Gaussian process may be sure of an invalid optimum). Then points are drawn uniformly
    at random, up to 2,000 of them.
    """

    def __init__(self, inner: BaseSampler, space: Space, is_valid: Validity, *, seed: int | None = None) -> None:
        self.inner = inner
        self._space = space
        self._is_valid = is_valid
        self._uniform = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return every parameter, so that a whole point is drawn at once."""
        return {parameter.name: parameter.distribution for parameter in self._space.parameters}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw a valid point.

        Raises:
            SentimentError: Not one of 2,000 uniform draws was valid.
        """
        inner_space = self.inner.infer_relative_search_space(study, trial)
        proposals: list[dict[str, Any]] = []
        while len(proposals) < _PROPOSALS and not _is_stuck(proposals):
            relative = self.inner.sample_relative(study, trial, inner_space)
            point = self._complete(study, trial, self.inner, relative)
            if self._is_valid(point):
                return point
            proposals.append(point)
        for _ in range(_UNIFORM_DRAWS):
            point = self._complete(study, trial, self._uniform, {})
            if self._is_valid(point):
                return point
        raise SentimentError(
            f"The constraints leave no valid point: none of {_UNIFORM_DRAWS} random points satisfies them,\n"
            f"the last one tried being {point}.\n"
            "Loosen hydra.sweeper.constraints, or narrow the ranges to where they can hold."
        )

    def _complete(
        self, study: Study, trial: FrozenTrial, sampler: BaseSampler, relative: dict[str, Any]
    ) -> dict[str, Any]:
        fixed = trial.system_attrs.get("fixed_params", {})
        point: dict[str, Any] = {}
        for parameter in self._space.walk(point):
            name, distribution = parameter.name, parameter.distribution
            if name in fixed:
                point[name] = fixed[name]
            elif distribution.single():
                point[name] = extreme_values(distribution)[0]
            # A change of the space between two starts of a study leaves the inner sampler with the old ends.
            elif name in relative and contains(distribution, relative[name]):
                point[name] = relative[name]
            else:
                point[name] = sampler.sample_independent(study, trial, name, distribution)
        return point

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw a parameter that the space does not know, e.g. of a custom search space."""
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Pass on to the inner sampler."""
        self.inner.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Pass on to the inner sampler."""
        self.inner.after_trial(study, trial, state, values)


def _is_stuck(proposals: list[dict[str, Any]]) -> bool:
    last = proposals[-_REPEATS:]
    return len(last) == _REPEATS and all(point == last[0] for point in last)
