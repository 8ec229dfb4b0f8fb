"""What a study does next: which trial goes on, is tried again, is promoted or begins, and whether anything is left.

Decisions only, from the trials as they stand: claims are made by `sentiment.search.study.stored`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from optuna.trial import FrozenTrial, TrialState

from sentiment.search.budget import UNLIMITED, Spending
from sentiment.search.space.points import REPLACES_KEY
from sentiment.search.study.outcome import is_paused
from sentiment.search.study.population import find_origin
from sentiment.search.study.rungs import count_steps
from sentiment.search.study.scheduler import Scheduler, Swap
from sentiment.search.study.searched import Searched


@dataclass(frozen=True)
class Step:
    """What a worker does next.

    Attributes:
        kind: ``resume``: a trial that was interrupted, or waits to be tried first; ``promote``: one that was paused;
            ``retry``: one that failed before; ``begin``: a new one; ``swap``: a copy of one in the place of another.
        trial: The trial; None for a new one.
        swap: Which trial is copied in the place of which.
    """

    kind: Literal["resume", "promote", "retry", "begin", "swap"]
    trial: FrozenTrial | None = None
    swap: Swap | None = None


def list_standing(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """List the trials whose point no later trial has tried again: one for every point, its latest attempt."""
    replaced = {trial.user_attrs.get(REPLACES_KEY) for trial in trials}
    return [trial for trial in trials if trial.number not in replaced]


class Agenda:
    """Decides what comes next in a study.

    Args:
        search: What is searched.
        failed_before: Numbers of the trials that had failed when this command began.
        measure: Measures what trials have cost.
    """

    def __init__(
        self, search: Searched, failed_before: Collection[int], measure: Callable[[Sequence[FrozenTrial]], Spending]
    ) -> None:
        self._search = search
        self._budget = search.options.limit
        self._failed_before = failed_before
        self._measure = measure
        self._repeats = search.repeats.count
        self._scheduler = search.pruner if isinstance(search.pruner, Scheduler) else None

    def choose(self, trials: Sequence[FrozenTrial]) -> Step | None:
        """Choose the next step; None where there is none now: all is done, or in the hands of others."""
        standing = list_standing(trials)
        waiting = _list_waiting(standing)
        if waiting:
            return Step("resume", waiting[0]) if self._may_resume(waiting, trials) else None
        promoted = self._find_promoted(standing, trials, is_closing=False)
        if promoted is not None:
            return Step("promote", promoted)
        failed = self._list_failed_before(standing) if self._may_begin(trials) else []
        if failed:
            return Step("retry", failed[0])
        if self.count_free(trials) > 0:
            return Step("begin")
        swap = self._find_swap(standing, trials)
        if swap is not None:
            return Step("swap", swap=swap)
        promoted = self._find_promoted(standing, trials, is_closing=True)
        return None if promoted is None else Step("promote", promoted)

    def is_done(self, trials: Sequence[FrozenTrial]) -> bool:
        """Return whether nothing runs and nothing is left to run."""
        running = any(trial.state == TrialState.RUNNING for trial in list_standing(trials))
        return not running and self.choose(trials) is None

    def count_free(self, trials: Sequence[FrozenTrial]) -> int:
        """Count the trials that the study is still to begin."""
        grid, standing = self._search.grid, list_standing(trials)
        if grid is None:
            begun = sum(find_origin(trial) is None for trial in standing)  # a copy takes another's place
            free = max(0, self._search.total - begun)
        else:
            taken = self._search.reader.read_keys(standing)
            free = max(0, min(self._search.total, len(grid)) - len(taken.keys() & grid.keys()))
        if not free or not self._budget:
            return free
        first = sum(trial.datetime_start is None for trial in _list_waiting(standing))
        return min(free, max(0, self._budget.count_starts(self._measure(trials), self._repeats) - first))

    def count_total(self, trials: Sequence[FrozenTrial]) -> int | None:
        """Return the trials of the study in the end, those of an earlier space included; None: its budget decides."""
        free = self.count_free(trials)
        return None if free > UNLIMITED // 2 else len(list_standing(trials)) + free

    def list_failed(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """List the trials without a result that the study is to have one of, and that may be tried again."""
        return [trial for trial in list_standing(trials) if self._may_run_again(trial)]

    def _may_run_again(self, trial: FrozenTrial) -> bool:
        """Return whether a trial failed at a point of the space as it is now."""
        if self._search.options.retry == "none" or trial.state != TrialState.FAIL:
            return False
        return self._search.reader.read(trial) is not None or (self._search.grid is None and not trial.params)

    def _list_failed_before(self, standing: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """List what failed before this command began: one that fails again waits for the next command."""
        return [trial for trial in standing if trial.number in self._failed_before and self._may_run_again(trial)]

    def _may_begin(self, trials: Sequence[FrozenTrial]) -> bool:
        """Return whether the budget has room for one more trial."""
        return not self._budget or self._budget.count_starts(self._measure(trials), self._repeats) > 0

    def _may_resume(self, waiting: Sequence[FrozenTrial], trials: Sequence[FrozenTrial]) -> bool:
        """Return whether the budget lets a waiting trial run: an interrupted one, else one that is yet to begin."""
        if self._budget and any(trial.datetime_start is not None for trial in waiting):
            return self._budget.may_resume(self._measure(trials))
        return self._may_begin(trials)

    def _find_promoted(
        self, standing: Sequence[FrozenTrial], trials: Sequence[FrozenTrial], *, is_closing: bool
    ) -> FrozenTrial | None:
        """Find the paused trial that is to go on, within the budget."""
        if self._scheduler is None:
            return None
        maximize = self._search.repeats.maximize
        promotable = self._scheduler.list_promotable(standing, maximize=maximize, is_closing=is_closing)
        return next((trial for trial in promotable if self._fits(trial, trials)), None)

    def _find_swap(self, standing: Sequence[FrozenTrial], trials: Sequence[FrozenTrial]) -> Swap | None:
        """Find the trial that gives its place to a copy of a better one, within the budget."""
        if self._scheduler is None:
            return None
        swap = self._scheduler.find_swap(standing, maximize=self._search.repeats.maximize)
        return swap if swap is not None and self._fits(swap.origin, trials) else None

    def _fits(self, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> bool:
        """Return whether the budget lets a paused trial come to its next rung, and one trial to its end."""
        if not self._budget or self._scheduler is None:
            return True
        spent, steps = self._measure(trials), count_steps(trial)
        whole = spent.steps_per_job or steps
        jobs = min(1.0, self._scheduler.find_target(steps) / whole) - min(1.0, steps / whole)
        after = max(spent.furthest_jobs, min(1.0, self._scheduler.find_target(steps) / whole))
        return self._budget.fits(spent, jobs + (0.0 if spent.is_any_promoted else self._repeats - after))


def _list_waiting(standing: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """List the trials that wait to run: interrupted ones, and those to be tried first."""
    return [trial for trial in standing if trial.state == TrialState.WAITING and not is_paused(trial)]
