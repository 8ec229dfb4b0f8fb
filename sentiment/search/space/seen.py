"""What samplers see of a study: its trials as points of the present space, and those of an earlier study (`prior`)."""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING

import numpy
import optuna
from optuna.trial import FrozenTrial, TrialState

from sentiment.private import list_all_trials, serve_trials
from sentiment.search.space.points import TARGET_KEY, PointReader

if TYPE_CHECKING:
    from optuna.study import Study

LEVELLED_FROM = 5
"""Complete trials from which on their spread is known well enough."""


class SeenStudy(optuna.Study):
    """A study as samplers see it.

    Every trial that is a point of the space as it is now has its distributions; other trials are not there: a genetic
    algorithm keeps its parents by their ids, and takes them whatever their state. Before them come the trials of an
    earlier study, with their values moved to the level of this one.

    A trial on a ladder that has reported, be it at work or paused, looks pruned to a sampler that learns from pruned
    trials: its reports so far are what is known of it. To others it looks as if it ran. They expect of what has ended
    that it stays as it is: Optuna reads the common space of complete trials once, and looks at none again that was
    pruned. And a Gaussian process then knows that its point is being tried.

    Args:
        study: The study.
        reader: Reads the points of trials; None: the study was always about this space.
        prior: Trials of an earlier study.
        translated: Trials as storage holds them, by number, each with what it looked like at the last look, None where
            it is not there; renewed.
        reads_pruned: Whether the sampler learns from pruned trials.
    """

    def __init__(
        self,
        study: Study,
        reader: PointReader | None,
        prior: Sequence[FrozenTrial],
        translated: list[tuple[FrozenTrial, FrozenTrial | None]],
        *,
        reads_pruned: bool,
    ) -> None:
        # Not `study.__dict__`, which the view of a bracket of hyperband hides.
        self.__dict__.update(object.__getattribute__(study, "__dict__"))
        self._seen = study
        self._reader = reader
        self._prior = prior
        self._translated = translated
        self._reads_pruned = reads_pruned
        self._trials: list[FrozenTrial] | None = None

    def get_trials(self, deepcopy: bool = True, states: Container[TrialState] | None = None) -> list[FrozenTrial]:
        """Return the trials as they were when first asked for; not from Optuna's cache, which only `ask` renews."""
        if self._trials is None:
            trials = self._translate_all(list_all_trials(self._seen))
            self._trials = [*_level(self._prior, trials), *trials]
        shown = self._trials if states is None else [trial for trial in self._trials if trial.state in states]
        return copy.deepcopy(shown) if deepcopy else list(shown)

    def _translate_all(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Return what trials look like; what has not changed since the last look is not made again."""
        known = self._translated
        self._translated[:] = [
            known[place] if place < len(known) and known[place][0] is trial else (trial, self._translate(trial))
            for place, trial in enumerate(trials)
        ]
        return [shown for _, shown in self._translated if shown is not None]

    def _translate(self, trial: FrozenTrial) -> FrozenTrial | None:
        shown = copy.copy(trial)
        shown.state = self._choose_state(trial)
        # A Gaussian process knows limits by their places, those of writing: what is known at a pause comes first.
        shown.system_attrs = dict(sorted(trial.system_attrs.items()))
        if self._reader is None:
            return shown
        point = self._reader.read(shown)
        if point is None:
            is_being_drawn = not shown.state.is_finished() and not _is_on_ladder(trial)
            return shown if is_being_drawn else None
        own = self._reader.read_own(trial)
        shown.params = {**own, **point}
        shown.distributions = {
            **{name: trial.distributions[name] for name in own},
            **{item.name: item.distribution for item in self._reader.space.active(point)},
        }
        return shown

    def _choose_state(self, trial: FrozenTrial) -> TrialState:
        # Of several objectives TPE does not read what was pruned, and NSGA-II leaves it out.
        has_several = len(self._seen.directions) > 1
        if _is_on_ladder(trial):
            if not self._reads_pruned:
                return TrialState.RUNNING
            return TrialState.WAITING if has_several else TrialState.PRUNED
        return TrialState.FAIL if has_several and trial.state == TrialState.PRUNED else trial.state


serve_trials(SeenStudy)


def _is_on_ladder(trial: FrozenTrial) -> bool:
    """Return whether a trial that has reported pauses, or may, before its end."""
    has_target = trial.system_attrs.get(TARGET_KEY) is not None
    return not trial.state.is_finished() and has_target and bool(trial.intermediate_values)


def _level(prior: Sequence[FrozenTrial], trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Move the values of earlier trials to the mean of those here, and from five on to their spread.

    Other data or fewer epochs give other values; what carries over is which points are better than others. An infinite
    value, as of a trial that diverged, has no part in mean and spread, and stays what it is.
    """
    here = [trial.values for trial in trials if trial.state == TrialState.COMPLETE]
    if not prior or not here:
        return list(prior)
    then, now = numpy.array([trial.values for trial in prior]), numpy.array(here)
    for column, known in zip(then.T, now.T, strict=True):  # views: what is moved stands in `then`
        is_finite, known = numpy.isfinite(column), known[numpy.isfinite(known)]
        finite = column[is_finite]
        if len(finite) and len(known):
            spread = known.std() / finite.std() if len(known) >= LEVELLED_FROM and finite.std() > 0 else 1.0
            column[is_finite] = known.mean() + (finite - finite.mean()) * spread
    return [_with_values(trial, values) for trial, values in zip(prior, then.tolist(), strict=True)]


def _with_values(trial: FrozenTrial, values: list[float]) -> FrozenTrial:
    shown = copy.copy(trial)
    shown.values = values
    return shown
