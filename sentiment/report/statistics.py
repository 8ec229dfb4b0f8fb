"""What a share, a mean or a difference is worth: intervals and tests, on plain numbers.

There are two questions. Do two *trained models* differ on reviews like these? The reviews are the sample: paired
bootstrap and McNemar's test. Does one *way of training* give better models than another? The seeds are the sample: t
intervals and t tests (Dror et al. 2018; Bouthillier et al. 2021, "Accounting for variance in machine learning
benchmarks"). With three seeds the second question has little power: a difference must be several times the spread
between seeds to show.

Every difference is first minus second, and comparing the other way round gives exactly the negative.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from sentiment.errors import SentimentError

ALPHA = 0.05
"""A difference is shown where the p value is below."""

LEVEL = 1 - ALPHA
"""Level of every interval that names no other."""

POWER = 0.8
"""Chance at which a difference counts as one that would show."""

RESAMPLES = 10_000

UNBOUNDED = (-math.inf, math.inf)

Flags = npt.NDArray[np.bool_]
"""(N,) one truth value per review."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval: a mean over seeds, or a metric of some reviews."""

    value: float  # the figure; NaN where it is undefined
    low: float  # lower end of the interval; NaN where it has none, as a single run has
    high: float  # upper end
    count: int  # number of seeds or reviews


@dataclass(frozen=True)
class Difference:
    """First minus second, and how sure it is."""

    value: float  # the difference
    low: float  # lower end of its 95 % interval
    high: float  # upper end
    # Chance of a difference at least as large if there were none, two-sided; NaN where nothing varies between the
    # seeds, so that the test has nothing to measure by.
    p_value: float
    test: str  # the test's name, for people
    count: int  # pairs, or the smaller number of values
    detectable: float  # difference that would show in four of five repetitions of such an experiment


@dataclass(frozen=True)
class Share:
    """How many of some reviews were classified right."""

    right: int  # reviews classified right
    reviews: int  # reviews N
    accuracy: float  # the share; NaN where there is no review
    low: float  # lower end of its Wilson interval; 0 where there is no review
    high: float  # upper end; 1 where there is no review


def count_share(right: int, reviews: int, level: float = LEVEL) -> Share:
    """Return a share with its Wilson interval."""
    if not reviews:
        return Share(0, 0, math.nan, 0.0, 1.0)
    return Share(right, reviews, right / reviews, *wilson_interval(right / reviews, reviews, level))


def share_of(correct: Flags) -> Share:
    """Count a share from (N,) flags."""
    return count_share(int(correct.sum()), len(correct))


def wilson_interval(share: float, count: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the interval of a share of `count` trials (Wilson 1927).

    It stays within 0 and 1, and is right for few trials too.
    """
    interval = stats.binomtest(round(share * count), count).proportion_ci(level, method="wilson")
    # Rounding may put an end a hair beyond the share itself, where all or none are right.
    return min(float(interval.low), share), max(float(interval.high), share)


def difference_interval(first: Share, second: Share, level: float = LEVEL) -> tuple[float, float]:
    """Return the interval of the difference of two independent shares, first minus second.

    Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10: made from the
    two Wilson intervals. scipy has no interval for a difference, and a package for this one formula would be much.
    """
    one, two = (count_share(share.right, share.reviews, level) for share in (first, second))
    difference = one.accuracy - two.accuracy
    below = math.hypot(one.accuracy - one.low, two.high - two.accuracy)
    above = math.hypot(one.high - one.accuracy, two.accuracy - two.low)
    return max(-1.0, difference - below), min(1.0, difference + above)


def mean_interval(values: Sequence[float], bounds: tuple[float, float] = UNBOUNDED) -> Estimate:
    """Return the mean of independent values and its 95 % t interval, cut at the bounds of what was measured.

    Assumes values that are about normal, which accuracies over seeds are (few of them: nobody can check it).
    """
    assert values, "every group has a run"
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Estimate(mean, math.nan, math.nan, 1)
    half = _t_quantile(len(values) - 1) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return Estimate(mean, max(mean - half, bounds[0]), min(mean + half, bounds[1]), len(values))


def compare_seeds(
    first: Mapping[int, float], second: Mapping[int, float], bounds: tuple[float, float] = UNBOUNDED
) -> Difference | None:
    """Compare two groups of runs over seeds: in pairs where their seeds are the same, else as two samples.

    As two samples too where all pairs differ by the same, so that their t value would be infinite.
    Groups hold seed to value; the interval is cut at what the bounds of a value allow. None where a group has a single
    run, whose spread nobody knows. Every run counts: pairs of the seeds that both happen to have would leave runs out,
    and may say the opposite of the means.
    """
    if min(len(first), len(second)) < 2:
        return None
    found = welch(list(first.values()), list(second.values()))
    if first.keys() == second.keys():
        paired = paired_t(list(first.values()), [second[seed] for seed in first])
        alike = replace(found, test=f"{found.test} (all pairs differ by the same)")
        found = alike if math.isnan(paired.p_value) else paired
    widest = bounds[1] - bounds[0]
    return replace(found, low=max(found.low, -widest), high=min(found.high, widest))


def paired_t(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Compare values in pairs (Student's paired t).

    Assumes that the differences are independent of each other and about normal. Pairs of one seed share what the seed
    decides (the order of the batches); where that has no effect, the test is valid still and only a little weaker
    than Welch's. Three pairs leave two degrees of freedom: the mean difference must be 4.3 standard errors to show.
    """
    assert len(first) == len(second) >= 2, "one run has no spread"
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    error = float(np.std(differences, ddof=1)) / math.sqrt(len(differences))
    test = f"paired t test over {len(differences)} seeds"
    return _t_difference(float(np.mean(differences)), error, len(differences) - 1.0, test, len(differences))


def welch(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Compare two independent samples whose spreads may differ (Welch 1947).

    Assumes that all values are independent and about normal within each sample. With three values per sample there are
    two to four degrees of freedom, and little power.
    """
    counts = len(first), len(second)
    assert min(counts) >= 2, "one run has no spread"
    shares = [float(np.var(values, ddof=1)) / len(values) for values in (first, second)]
    variance = sum(shares)
    freedom = _welch_freedom(shares, counts)
    value = float(np.mean(first)) - float(np.mean(second))
    return _t_difference(
        value, math.sqrt(variance), freedom, f"Welch's t test, {counts[0]} and {counts[1]} seeds", min(counts)
    )


def paired_bootstrap(first: Flags, second: Flags) -> Difference:
    """Compare two models on the same reviews: resample the reviews (Efron & Tibshirani 1993; Koehn 2004).

    Assumes that the N reviews are an independent sample of what the models will meet. Says nothing about other seeds.
    A resample of N reviews is fully described by how many of them only the first or only the second model gets right,
    so it is drawn as one multinomial number instead of N indices. The p value is that of McNemar's exact test (1947),
    two-sided: where few reviews tell the models apart, a share of the resamples would be too small. So would be the
    percentile interval, which is widened to what that test leaves open (Clopper-Pearson, of the reviews that tell them
    apart): it holds zero if the test shows no difference.

    Raises:
        SentimentError: The vectors differ in length or are empty.
    """
    only_first, only_second, count = _count_discordant(first, second)
    value = (only_first - only_second) / count
    if only_first < only_second:  # one way round only is drawn, so that the other is exactly its negative
        found = paired_bootstrap(second, first)
        return replace(found, value=-found.value, low=-found.high, high=-found.low)
    shares = [only_first / count, only_second / count, (count - only_first - only_second) / count]
    draws = np.random.default_rng(0).multinomial(count, shares, size=RESAMPLES)
    differences = (draws[:, 0] - draws[:, 1]) / count
    low, high = np.quantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    p_value = 1.0
    if discordant := only_first + only_second:  # each model would get half of these if they were equally good
        mcnemar = stats.binomtest(only_first, discordant)
        p_value, open_ends = float(mcnemar.pvalue), mcnemar.proportion_ci(LEVEL, method="exact")
        low = min(low, (2 * open_ends.low - 1) * discordant / count)
        high = max(high, (2 * open_ends.high - 1) * discordant / count)
    if only_first == only_second:  # a symmetric distribution keeps a symmetric interval
        high = abs(low)
    error = float(np.std(differences))
    detectable = (stats.norm.ppf((1 + LEVEL) / 2) + stats.norm.ppf(POWER)) * error
    test = f"McNemar's exact test, interval by paired bootstrap, over {count:,} reviews"
    return Difference(value, float(low), float(high), p_value, test, count, float(detectable))


def correct_p_values(p_values: Sequence[float]) -> list[float]:
    """Correct the p values of several tests (Holm 1979), in the order given; NaN stays NaN and counts as no test.

    The chance that any difference is claimed where there is none stays below the level, whatever the tests have to do
    with each other. By hand, because scipy corrects false discovery rates only, and four lines are no reason for a
    library.
    """
    order = sorted((index for index, p in enumerate(p_values) if not math.isnan(p)), key=lambda index: p_values[index])
    corrected = [math.nan] * len(p_values)
    largest = 0.0
    for position, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - position) * p_values[index]))
        corrected[index] = largest
    return corrected


def _t_difference(value: float, error: float, freedom: float, test: str, count: int) -> Difference:
    if error <= 1e-12 * max(1.0, abs(value)):  # equal up to rounding
        is_nothing = abs(value) <= 1e-12
        return Difference(value, value, value, 1.0 if is_nothing else math.nan, test, count, 0.0)
    half = _t_quantile(freedom) * error
    p_value = float(2 * stats.t.sf(abs(value) / error, freedom))
    detectable = (_t_quantile(freedom) + float(stats.t.ppf(POWER, freedom))) * error
    return Difference(value, value - half, value + half, p_value, test, count, detectable)


def _welch_freedom(shares: Sequence[float], counts: Sequence[int]) -> float:
    below = sum(share**2 / (count - 1) for share, count in zip(shares, counts, strict=True))
    return sum(shares) ** 2 / below if below > 0 else float(sum(counts) - 2)


def _t_quantile(freedom: float) -> float:
    return float(stats.t.ppf((1 + LEVEL) / 2, freedom))


def _count_discordant(first: Flags, second: Flags) -> tuple[int, int, int]:
    """Count the reviews that only the first gets right, that only the second gets right, and all."""
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise SentimentError(
            f"Correctness of shapes {first.shape} and {second.shape} cannot be compared in pairs.",
            "both models must have predicted the same reviews",
        )
    return int(np.sum(first & ~second)), int(np.sum(second & ~first)), len(first)
