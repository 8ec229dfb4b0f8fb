"""The grid of a space: its valid points, each given to one trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import FloatRange
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from sentiment.errors import ConfigError, Fault
from sentiment.private import get_storage, get_study_id, get_trial_id, list_grid_points
from sentiment.search.space.constraints import Validity, any_point
from sentiment.search.space.distributions import count_values
from sentiment.search.space.parameters import Point, Space
from sentiment.search.space.points import Key, PointReader, TakenPoints, make_part

if TYPE_CHECKING:
    from optuna.study import Study


def list_grid(space: Space, is_valid: Validity = any_point, *, seed: int | None = None) -> dict[Key, Point]:
    """List the valid points of the grid, each once, in the order of Optuna's grid sampler.

    Raises:
        ConfigError: The space has no grid: a parameter is continuous or belongs to a branch.
    """
    values = list_grid_values(space)
    names, points = list_grid_points(values, seed)
    # A key has a part for every value: they are made once per value, not once per point.
    parts = [{id(value): make_part(name, value) for value in values[name]} for name in names]
    found: dict[Key, Point] = {}
    for values_of_point in points:
        point = dict(zip(names, values_of_point, strict=True))
        if is_valid(point):
            key = sorted([known[id(value)] for known, value in zip(parts, values_of_point, strict=True)])
            found[tuple(key)] = point
    return found


def list_grid_values(space: Space) -> dict[str, list[Any]]:
    """List the values of each parameter, as the stock Optuna sweeper does.

    Raises:
        ConfigError: A parameter is continuous or belongs to a branch.
    """
    faults = []
    for parameter in space.parameters:
        if parameter.condition is not None:
            problem = f"belongs to the branch {'='.join(parameter.condition)}; a grid has no branches"
            faults.append(Fault(parameter.key, problem, "choose hydra/sweeper/sampler=random or tpe"))
        elif count_values(parameter.distribution) is None:
            problem = f"{parameter.distribution} has no grid"
            faults.append(Fault(parameter.key, problem, "write choice(...) or range(...), or choose another sampler"))
    if faults:
        raise ConfigError(faults)
    return {parameter.name: list_values(parameter.distribution) for parameter in space.parameters}


def list_values(distribution: BaseDistribution) -> list[Any]:
    """List the values of a distribution that is not continuous."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return list(range(distribution.low, distribution.high + 1, distribution.step))
    assert isinstance(distribution, FloatDistribution)
    if distribution.step is None:
        assert distribution.single(), "else it is continuous"
        return [distribution.low]
    values: list[Any] = list(FloatRange(distribution.low, distribution.high, distribution.step))
    if not values or values[-1] != distribution.high:
        values.append(distribution.high)
    return values


class ValidGridSampler(BaseSampler):
    """Gives each trial a valid point of the grid that no other trial has, and so runs each once.

    Optuna's own goes by the position among the trials: a grid that has grown would run some points twice and others
    never. And it stops the study from `tell`, which fails outside `Study.optimize`. Processes that draw at once have to
    exclude each other, as claims of a study do.
    """

    def __init__(self, grid: Mapping[Key, Point], reader: PointReader) -> None:
        self.grid = grid
        self._taken = TakenPoints(reader, grid)
        self._next = iter(grid)
        self._free: Key | None = next(self._next, None)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Assign the trial its point, unless it has one."""
        if "fixed_params" in trial.system_attrs or trial.params:
            return
        self._taken.follow(get_storage(study).get_all_trials(get_study_id(study), deepcopy=False))
        while self._free is not None and self._free in self._taken:  # no point ever becomes free again
            self._free = next(self._next, None)
        if self._free is not None:
            get_storage(study).set_trial_system_attr(get_trial_id(trial), "fixed_params", self.grid[self._free])

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return nothing: the point is assigned."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return nothing: the point is assigned."""
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the value of the assigned point.

        Raises:
            ConfigError: The parameter is none of the grid: the application's own space draws it.
            ValueError: Every point is taken.
        """
        point = get_storage(study).get_trial_system_attrs(get_trial_id(trial)).get("fixed_params")
        if point is None:
            raise ValueError(f"the grid has no value of {param_name} that no trial has")
        if param_name not in point:
            problem = f"draws {param_name}, and a grid tries the points that it lists alone"
            remedy = "leave it out, or choose another sampler: hydra/sweeper/sampler=random"
            raise ConfigError([Fault("hydra.sweeper.custom_search_space", problem, remedy)])
        return point[param_name]
