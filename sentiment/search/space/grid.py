"""The grid of a space: its valid points, each given to one trial."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import FloatRange
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import GridSampler
from optuna.trial import FrozenTrial, TrialState

from sentiment.errors import ConfigError, Fault
from sentiment.search.space.constraints import Validity
from sentiment.search.space.parameters import Space

if TYPE_CHECKING:
    from optuna.study import Study


def grid_size(space: Space, is_valid: Validity | None = None) -> int:
    """Count the valid points of the grid: no study over it has more trials.

    Raises:
        ConfigError: The space has no grid: a parameter is continuous or belongs to a branch.
    """
    axes = list_grid_values(space)
    points = (dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values()))
    return sum(1 for point in points if is_valid is None or is_valid(point))


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
        elif _is_continuous(parameter.distribution):
            problem = f"{parameter.distribution} has no grid"
            faults.append(Fault(parameter.key, problem, "write choice(...) or range(...), or choose another sampler"))
    if faults:
        raise ConfigError(faults)
    return {parameter.name: list_values(parameter.distribution) for parameter in space.parameters}


def _is_continuous(distribution: BaseDistribution) -> bool:
    return isinstance(distribution, FloatDistribution) and distribution.step is None


def list_values(distribution: BaseDistribution) -> list[Any]:
    """List the values of a distribution that is not continuous."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return list(range(distribution.low, distribution.high + 1, distribution.step))
    assert isinstance(distribution, FloatDistribution)
    assert distribution.step is not None
    values: list[Any] = list(FloatRange(distribution.low, distribution.high, distribution.step))
    if not values or values[-1] != distribution.high:
        values.append(distribution.high)
    return values


class ValidGridSampler(GridSampler):
    """Optuna's grid sampler over the valid points alone, each run once however many processes draw.

    Optuna's own hands out points at random once trials were enqueued or lost, and so may run one twice; and it stops
    the study from `tell`, which fails outside `Study.optimize`. Here a trial's point follows from its position among
    the trials, and the sweeper ends the study by counting trials against `grid_size`.
    """

    def __init__(self, space: Space, *, seed: int | None = None, is_valid: Validity | None = None) -> None:
        super().__init__(list_grid_values(space), seed=seed)
        if is_valid is not None:
            names = self._param_names
            self._all_grids = [point for point in self._all_grids if is_valid(dict(zip(names, point, strict=True)))]
            self._n_min_trials = len(self._all_grids)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Assign the trial its point: the one at its position among the trials that draw from this grid.

        Trials with lower numbers exist already and their kind never changes, so every process counts the same position.
        """
        attributes = trial.system_attrs
        if "grid_id" in attributes or "fixed_params" in attributes:
            return
        trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
        position = sum(1 for other in trials if other.number < trial.number and self._draws_from_this_grid(other))
        if position >= self._n_min_trials:
            # Beyond the grid: Optuna then takes points that no trial has, e.g. of a trial lost before it drew.
            super().before_trial(study, trial)
            return
        study._storage.set_trial_system_attr(trial._trial_id, "search_space", self._search_space)
        study._storage.set_trial_system_attr(trial._trial_id, "grid_id", position)

    def _draws_from_this_grid(self, trial: FrozenTrial) -> bool:
        if "fixed_params" in trial.system_attrs:
            return False
        space = trial.system_attrs.get("search_space")
        return space is None or self._same_search_space(space)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Do nothing: the sweeper counts trials, so the study needs no stopping from within."""
