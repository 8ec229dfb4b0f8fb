"""Upper bounds on numbers that a trial describes beside its objective: a size, a latency, a time.

Optuna keeps them as constraints of the trial: what is above 0 is too much. Samplers that know constraints then draw
away from such trials, and the best trial of a study is the best of those that keep every limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from optuna.samplers import BaseSampler, GPSampler, NSGAIIISampler, NSGAIISampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from sentiment.errors import ConfigError, Fault, SentimentError
from sentiment.format import format_number, tell_apart
from sentiment.search.study.outcome import Outcome, read_described
from sentiment.search.study.ranking import rank_trials

KNOWING_SAMPLERS = (TPESampler, GPSampler, NSGAIISampler, NSGAIIISampler)
"""Optuna's samplers that know constraints."""

KNOWING_NAMES = "tpe, multivariate_tpe, gp, nsgaii or nsgaiii"

CONSTRAINT_KEY = "constraints:{name}"
"""System attribute in which `optuna.Trial.set_constraint` keeps a constraint. It is written here, because the trial's
numbers come from the process of its job."""


class LimitError(SentimentError):
    """A limit cannot be checked, or no trial keeps the limits."""


def check_limits(limits: Mapping[str, float], sampler: BaseSampler) -> None:
    """Check that a study's sampler can keep to its limits.

    Raises:
        ConfigError: It cannot.
    """
    if limits and not isinstance(sampler, KNOWING_SAMPLERS):
        kind = type(sampler).__name__
        problem = f"are set, and the sampler {kind} does not know limits: it would not draw away from what breaks them"
        raise ConfigError([Fault("hydra.sweeper.limits", problem, f"choose hydra/sweeper/sampler={KNOWING_NAMES}")])


def hold_to_limits(
    trial: FrozenTrial,
    outcome: Outcome,
    limits: Mapping[str, float],
    list_trials: Callable[[], Sequence[FrozenTrial]],
) -> tuple[Outcome, dict[str, float]]:
    """Return how a trial ends under limits, and by how much it is above each; 0 or less keeps it.

    Who came to its end without a number that has a limit has failed; who did not may lack some.

    Args:
        trial: The trial that ends or pauses.
        outcome: How its jobs ended.
        limits: Name to upper bound.
        list_trials: Lists the study's trials.

    Raises:
        LimitError: No trial has ever described the number: it is not the trial that is at fault, but the name.
    """
    if outcome.state == "failed" or not limits:
        return outcome, {}
    described = read_described(trial)
    missing = list_undescribed(described, limits)
    if not missing or outcome.state != "complete":
        known = sorted(limits.keys() - set(missing))
        return outcome, {name: described[name] - limits[name] for name in known}
    if all(name in described or any(name in one.constraints for one in list_trials()) for name in missing):
        told = (f"{name} is {described[name]}" if name in described else f"{name} is missing" for name in missing)
        return Outcome("failed", kind="exception", reason=f"a limit cannot be checked: {', '.join(told)}"), {}
    raise LimitError(
        f"hydra.sweeper.limits names {', '.join(missing)}, which trial {trial.number} did not describe; "
        f"it described {', '.join(sorted(described.keys() - set(missing))) or 'nothing'}.",
        "correct the name, and start the same command again with hydra.sweeper.allow_changes=true: the trial's "
        "result is kept; or let the application call current_trial().describe({NAME: number}): the same command "
        "runs the trial again",
    )


def list_undescribed(described: Mapping[str, float], limits: Mapping[str, float]) -> list[str]:
    """List the limited numbers that a trial did not describe, or described as NaN."""
    return [name for name in limits if math.isnan(described.get(name, math.nan))]


def measure_breach(trial: FrozenTrial) -> float:
    """Return by how much a trial is above the limits of its study in all; 0: it keeps them, as far as is known."""
    return sum(max(0.0, excess) for excess in trial.constraints.values())


def keeps_limits(trial: FrozenTrial) -> bool:
    """Return whether a trial keeps every limit of its study, as far as is known."""
    return not measure_breach(trial)


def choose_best(trials: Sequence[FrozenTrial], directions: Sequence[str]) -> list[FrozenTrial]:
    """Return the best trial, or the Pareto front of several objectives, among those that keep every limit.

    Args:
        trials: All trials of a study.
        directions: ``minimize`` or ``maximize``, per objective.

    Returns:
        Empty while there is none; of several equally good ones the first.
    """
    complete = (trial for trial in trials if trial.state == TrialState.COMPLETE and keeps_limits(trial))
    _, best = rank_trials({trial.number: trial.values for trial in complete}, directions)
    return [trial for trial in trials if trial.number in best]


def require_feasible(trials: Sequence[FrozenTrial], limits: Mapping[str, float]) -> None:
    """Insist that some complete trial keeps the limits.

    Raises:
        LimitError: None does; with the nearest one.
    """
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not complete or any(keeps_limits(trial) for trial in complete):
        return
    nearest = min(complete, key=measure_breach)
    broken = []
    for name, bound in limits.items():
        if (excess := nearest.constraints.get(name, 0.0)) > 0:
            value, limit = tell_apart((bound + excess, bound), format_number, repr)
            broken.append(f"{name} is {value}, the limit {limit}")
    raise LimitError(
        f"None of the {len(complete)} complete trials keeps hydra.sweeper.limits; the nearest is trial "
        f"{nearest.number}: {'; '.join(broken)}.",
        "narrow the search space to where the limits can be kept, run more trials (hydra.sweeper.n_trials), "
        "or raise the limits in a new study",
    )
