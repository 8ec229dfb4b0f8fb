"""Interface of the pruners that pause trials at checkpoints and choose which go on: promotion and populations."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

from sentiment.search.space.points import TARGET_KEY
from sentiment.search.study.limits import keeps_limits

NO_RUNG = 10**9
"""Reports after which a trial pauses that runs to its end: no job makes so many."""


@dataclass(frozen=True)
class Swap:
    """A trial gives its place to a copy of another, which goes on from that one's checkpoint at a changed point."""

    loser: FrozenTrial  # the paused trial that ends
    origin: FrozenTrial  # the paused trial that is copied


class Scheduler(BasePruner):
    """Chosen like a pruner, but it prunes nobody: a trial waits at its checkpoint, and is given up when others go on.

    Its methods decide from the trials as they stand, so that any number of commands agree, before and after a stop.
    """

    has_yardstick = False
    """Whether the first point that was to be tried first runs to its end in a piece: it is what others must beat."""

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Never end a trial."""
        return False

    @abstractmethod
    def find_target(self, steps: int) -> int:
        """Return after how many reports a trial that has made `steps` pauses next."""

    @abstractmethod
    def list_promotable(
        self, trials: Sequence[FrozenTrial], *, maximize: Sequence[bool], is_closing: bool
    ) -> Iterable[FrozenTrial]:
        """List the paused trials that may go on now, in order of preference.

        Args:
            trials: The study's trials.
            maximize: For every objective, whether more is better.
            is_closing: No further trial will begin.
        """

    def list_excess(self, trials: Sequence[FrozenTrial], *, maximize: Sequence[bool]) -> list[FrozenTrial]:
        """List the paused trials that are given up now."""
        return []

    def find_swap(self, trials: Sequence[FrozenTrial], *, maximize: Sequence[bool]) -> Swap | None:
        """Find a paused trial that is to give its place to a copy of a better one."""
        return None


def is_promoted(trial: FrozenTrial) -> bool:
    """Return whether a trial has come to its end up the ladder, within the limits.

    What is tried first runs to its end in any case; what took over a result, or has no rungs, does not report.
    """
    is_on_ladder = TARGET_KEY in trial.system_attrs and bool(trial.intermediate_values)
    return trial.state == TrialState.COMPLETE and is_on_ladder and keeps_limits(trial)
