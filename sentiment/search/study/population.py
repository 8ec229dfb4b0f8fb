"""Population-based training: the worst go on from copies of the best, at changed settings.

Jaderberg et al. 2017, Population Based Training of Neural Networks. All trials of the population train side by side,
and pause every so many reports. Then one of the worst gives its place to a copy of one of the best (*exploit*): a new
trial that goes on from its checkpoint, with some numbers changed (*explore*). The result of such a trial depends on
all settings that it and those before it in its line were trained with.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from sentiment.flat import is_within
from sentiment.search.space.parameters import name_key
from sentiment.search.study.outcome import is_paused
from sentiment.search.study.rungs import Scheduler, Swap, count_steps, rank_rung

CONTINUES_KEY = "study:continues"
"""System attribute of a copy: the `trial` it goes on from, after how many `steps`, and in the `place_of` which."""


@dataclass(frozen=True)
class PopulationPruner(Scheduler):
    """Population-based training; ``n_trials`` is the size of the population.

    Trials are compared at equal work: at the reports after which they pause. A copy is made of a trial that waits there
    too, so that it goes on from that very checkpoint; where none of the best waits, the trial goes on itself.
    """

    interval: int = 1  # reports (validations) between two pauses
    quantile: float = 0.25  # share of the population that is replaced, by copies of as many of the best
    # A changed number is multiplied or divided by it, and stays in its interval. One that has steps moves by one at
    # least, as in Ray Tune (Liaw et al. 2018) a discrete one goes to an adjacent value; one at 0 moves by the share 1 -
    # 1/factor of its interval.
    factor: float = 1.25
    resample: float = 0.25  # probability that it is drawn anew from its interval instead
    keys: Sequence[str] = ("optimizer",)  # what changes: numbers under these keys

    def __post_init__(self) -> None:
        is_sound = 0 < self.quantile <= 0.5 and self.factor > 1 and 0 <= self.resample <= 1
        if not (is_sound and type(self.interval) is int and self.interval >= 1):
            problem = "interval should be whole, at least 1, quantile in (0, 0.5], factor above 1, resample in [0, 1]"
            raise ValueError(f"{problem}: {self}")

    def find_target(self, steps: int) -> int:
        """Return the next multiple of the interval."""
        return (steps // self.interval + 1) * self.interval

    def list_promotable(
        self, trials: Sequence[FrozenTrial], *, maximize: Sequence[bool], is_closing: bool
    ) -> Iterable[FrozenTrial]:
        """List the trials that wait: the least advanced first, of equal ones the worst, so that the best can be copied.

        A trial waits until its copy has taken its checkpoint, which shows by the copy's first report.
        """
        if not is_closing:
            return []
        held = find_copied(trials) | find_replaced(trials)
        return [trial for trial in _list_waiting(trials, maximize) if trial.number not in held]

    def list_excess(self, trials: Sequence[FrozenTrial], *, maximize: Sequence[bool]) -> list[FrozenTrial]:
        """List the paused trials whose places copies have taken."""
        replaced = find_replaced(trials)
        return [trial for trial in trials if trial.number in replaced and is_paused(trial)]

    def find_swap(self, trials: Sequence[FrozenTrial], *, maximize: Sequence[bool]) -> Swap | None:
        """Find one of the worst that waits where one of the best waits too; the best of them is copied."""
        held = find_copied(trials) | find_replaced(trials)
        for loser in _list_waiting(trials, maximize):
            steps = count_steps(loser)
            # Who came here themselves, also who gave up their places here: else the next worst would be the worst.
            here = [trial for trial in trials if steps > count_inherited(trial)]
            ranked = rank_rung(here, steps, maximize)
            count = int(len(ranked) * self.quantile)
            if loser.number in held or loser.number not in ranked[len(ranked) - count :]:
                continue
            waiting = {trial.number: trial for trial in here if is_paused(trial) and count_steps(trial) == steps}
            origin = next((waiting[number] for number in ranked[:count] if number in waiting), None)
            if origin is not None:
                return Swap(loser, origin)
        return None

    def explore(
        self, point: Mapping[str, Any], distributions: Mapping[str, BaseDistribution], chance: random.Random
    ) -> dict[str, Any]:
        """Return a point with the numbers under `keys` changed, within the distributions that the space has now."""
        return {
            name: self._change(value, distributions[name], chance) if is_within(name_key(name), self.keys) else value
            for name, value in point.items()
        }

    def _change(self, value: Any, distribution: BaseDistribution, chance: random.Random) -> Any:
        if not can_change(distribution):
            return value
        low, high, step = distribution.low, distribution.high, distribution.step
        if chance.random() < self.resample:
            changed = low * (high / low) ** chance.random() if distribution.log else chance.uniform(low, high)
        else:
            power = 1 if chance.random() < 0.5 else -1
            changed = value * self.factor**power if value else power * (1 - 1 / self.factor) * (high - low)
            if step is not None and abs(changed - value) < step:
                changed = value + math.copysign(step, changed - value)
        changed = min(max(changed, low), high)
        if step is not None:
            changed = low + round((changed - low) / step) * step
        return int(changed) if isinstance(distribution, IntDistribution) else float(changed)


def can_change(distribution: BaseDistribution) -> TypeGuard[FloatDistribution | IntDistribution]:
    """Return whether a copy may differ from its origin in what is drawn like this: it is a number, of several."""
    return isinstance(distribution, FloatDistribution | IntDistribution) and not distribution.single()


def find_replaced(trials: Sequence[FrozenTrial]) -> set[int]:
    """Return the numbers of the trials whose places copies have taken."""
    return {one["place_of"] for one in map(find_origin, trials) if one is not None}


def find_copied(trials: Sequence[FrozenTrial]) -> set[int]:
    """Return the numbers of the trials whose checkpoints copies have yet to take."""
    origins = ((trial, find_origin(trial)) for trial in trials)
    return {
        origin["trial"]
        for trial, origin in origins
        if origin is not None and not trial.state.is_finished() and count_steps(trial) <= origin["steps"]
    }


def find_origin(trial: FrozenTrial) -> Mapping[str, int] | None:
    """Return what a copy goes on from (`CONTINUES_KEY`); None: the trial began anew."""
    origin: Mapping[str, int] | None = trial.system_attrs.get(CONTINUES_KEY)
    return origin


def count_inherited(trial: FrozenTrial) -> int:
    """Return how many reports of a copy are its origin's; 0: it is none."""
    origin = find_origin(trial)
    return 0 if origin is None else origin["steps"]


def _list_waiting(trials: Sequence[FrozenTrial], maximize: Sequence[bool]) -> list[FrozenTrial]:
    """List the paused trials, the least advanced first, of equal ones the worst."""
    paused = {trial.number: trial for trial in trials if is_paused(trial)}
    steps = sorted({count_steps(trial) for trial in paused.values()})
    return [
        paused[number]
        for one in steps
        for number in reversed(rank_rung(trials, one, maximize))
        if number in paused and count_steps(paused[number]) == one
    ]
