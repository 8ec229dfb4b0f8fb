"""How much each parameter explains of an objective, with the uncertainty that few trials leave.

Functional analysis of variance: Hutter, Hoos and Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter
Importance", ICML 2014, as Optuna computes it. A forest learns the objective from the parameters; the importance of a
parameter is the share of the forest's variance that the parameter explains alone, so that shares sum to at most 1 and
what is missing from 1 are interactions. PED-ANOVA would be faster, but asks only what makes the very best trials,
and needs far more than a student's thirty.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from statistics import mean, quantiles

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import FrozenTrial, create_trial

from sentiment.errors import SentimentError

LEAST_POINTS = 8
"""With fewer points a forest finds an order among parameters in pure noise."""

RESAMPLES = 30
"""Bootstrap resamples. The ends of a 90 % interval then lie at the second value from either end, which holds them to
a few hundredths: less than another seed of the study would move them. Sixty trials take two seconds or three."""

MOST_DRAWS = 50
"""A point or value that one trial alone has is left out of 37 % of the resamples: never of so many in a row."""

TREES = 10
"""Trees a forest. The resamples average over forests too, so that in all many more trees speak than Optuna's 64."""


class ImportanceError(SentimentError):
    """The importance of parameters cannot be told from these points; the message says why."""


def measure_importances(
    points: Sequence[Mapping[str, float | str]],
    values: Sequence[float],
    log_scaled: Collection[str],
    *,
    resamples: int = RESAMPLES,
) -> list[tuple[str, float, float, float]]:
    """Measure how much of the objective's variance each parameter explains alone.

    Each resample draws as many points anew, with replacement, and grows its forest from its own seed: mean and 90 %
    interval are over the resamples.

    Args:
        points: Parameter to value; every point has the same parameters. Text makes a category, a number a number.
        values: The objective, as many as there are points.
        log_scaled: Parameters that were drawn on a logarithmic scale: they are measured on it, if all are above 0.
        resamples: Number of resamples.

    Returns:
        Parameter, mean, low and high end, each between 0 and 1; the most important first. Parameters with one value
        only are left out.

    Raises:
        ImportanceError: Too few points, nothing varied, or an objective that is the same everywhere, nearly or exactly.
    """
    finite = [(point, value) for point, value in zip(points, values, strict=True) if math.isfinite(value)]
    _check_enough(finite)
    scaled = _scale([point for point, _ in finite], log_scaled)
    distributions = _find_distributions(scaled)
    if not distributions:
        raise ImportanceError("Only one point was tried: no parameter has two values.")
    halves = [value / 2 for _, value in finite]  # the largest numbers have no difference
    low, high = min(halves), max(halves)
    trials = [
        create_trial(
            params={name: point[name] for name in distributions},
            distributions=distributions,
            # Shares do not depend on the unit; of differences below rounding the variance of a tree would be none.
            values=[round((value - low) / (high - low), 12)],
        )
        for point, value in zip(scaled, halves, strict=True)
    ]
    generator = random.Random(0)
    with _quiet():
        shares = [_measure_once(trials, generator) for _ in range(resamples)]
    rows = [(name, *_summarise([share[name] for share in shares])) for name in distributions]
    return sorted(rows, key=lambda row: -row[1])


def _check_enough(finite: Sequence[tuple[Mapping[str, float | str], float]]) -> None:
    if len(finite) < LEAST_POINTS:
        raise ImportanceError(
            f"{len(finite)} trials have a result: with fewer than {LEAST_POINTS} nothing can be said about the "
            "importance of parameters."
        )
    if len({value for _, value in finite}) == 1:
        raise ImportanceError("Every trial has the same objective: no parameter explains a difference.")


def _scale(points: Sequence[Mapping[str, float | str]], log_scaled: Collection[str]) -> list[dict[str, float | str]]:
    """Take the logarithms of the parameters of `log_scaled`; not where a trial has a value without one, such as 0."""
    values = {name: [point.get(name, "") for point in points] for name in log_scaled}
    chosen = {name for name, found in values.items() if all(not isinstance(one, str) and one > 0 for one in found)}
    return [
        {name: math.log10(float(value)) if name in chosen else value for name, value in point.items()}
        for point in points
    ]


def _find_distributions(points: Sequence[Mapping[str, float | str]]) -> dict[str, BaseDistribution]:
    """Return for each varied parameter the range or the categories that were tried."""
    found: dict[str, BaseDistribution] = {}
    for name in points[0]:
        values = [point[name] for point in points]
        if len(set(values)) < 2:
            continue
        numbers = [value for value in values if not isinstance(value, str)]
        if len(numbers) == len(values):
            found[name] = FloatDistribution(min(numbers), max(numbers))
        else:
            found[name] = CategoricalDistribution(tuple(sorted(set(values), key=str)))
    return found


def _measure_once(trials: Sequence[FrozenTrial], generator: random.Random) -> dict[str, float]:
    """Measure one resample; draw another where no tree of its forest has a split: all its points or values are equal.

    That happens where one point was tried much more often than the others, as the model is where little else is shared.
    """
    for _ in range(MOST_DRAWS):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler())
        study.add_trials(generator.choices(trials, k=len(trials)))
        evaluator = FanovaImportanceEvaluator(n_trees=TREES, seed=generator.randrange(2**31))
        with suppress(RuntimeError):
            return {name: float(share) for name, share in evaluator.evaluate(study).items()}
    raise ImportanceError("The objective hardly differs: no parameter explains a difference.")


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back that each resample's study was created."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _summarise(shares: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean and the 5 % and 95 % points, within 0 and 1: rounding in a tree may step over."""
    clipped = [min(1.0, max(0.0, share)) for share in shares]
    if len(clipped) < 2:
        return clipped[0], clipped[0], clipped[0]
    cuts = quantiles(clipped, n=20, method="inclusive")
    return mean(clipped), cuts[0], cuts[-1]
