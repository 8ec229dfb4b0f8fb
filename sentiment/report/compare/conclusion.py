"""What a comparison shows, in a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sentiment.format import format_difference, is_share, name_metric
from sentiment.report.compare.table import Group, Pair


def conclude(metric: str, groups: Sequence[Group], pairs: Sequence[Pair]) -> str:
    """Return what may be concluded, in a sentence."""
    clauses = [_conclude_pair(metric, pair, {group.name: group for group in groups}) for pair in pairs]
    if len(clauses) == 1:
        return f"{clauses[0]}."
    shown = [clause for clause, pair in zip(clauses, pairs, strict=True) if pair.better]
    silent = [f"{pair.first} and {pair.second}" for pair in pairs if not pair.better and not math.isnan(pair.p_value)]
    untested = [f"{pair.first} and {pair.second}" for pair in pairs if math.isnan(pair.p_value)]
    parts = [*shown, *([f"no difference shown between {', '.join(silent)}"] if silent else [])]
    parts += [f"nothing can be concluded on {', '.join(untested)}: too few seeds"] if untested else []
    sentence = "; ".join(parts)
    return f"{sentence}." if shown else f"{sentence[0].upper()}{sentence[1:]}."


def _conclude_pair(metric: str, pair: Pair, groups: Mapping[str, Group]) -> str:
    name = name_metric(metric)
    unit = f"points of {name}" if is_share(metric) else f"in {name}"
    first, second, difference = groups[pair.first], groups[pair.second], pair.difference
    if difference is None:
        counts = (len(first.values), len(second.values))
        runs = "one run each" if counts == (1, 1) else f"{counts[0]} and {counts[1]} runs"
        return (
            f"Nothing can be concluded on {name}: with {runs} of {pair.first} and {pair.second}, nobody knows the "
            "spread between seeds"
        )
    if math.isnan(pair.p_value):
        return (
            f"Nothing can be concluded on {name}: {pair.first} and {pair.second} differ by "
            f"{format_difference(metric, abs(difference.value))}, but nothing varies between their seeds"
        )
    if pair.better is not None:
        worse = pair.second if pair.better == pair.first else pair.first
        ends = sorted([difference.low, difference.high], reverse=difference.value < 0)
        low, high = (end if difference.value > 0 else -end for end in ends)
        amount = format_difference(metric, abs(difference.value))
        evidence = _evidence(metric, low, high, pair, first, second)
        return f"{pair.better} is better than {worse} by {amount} {unit} ({evidence})"
    evidence = _evidence(metric, difference.low, difference.high, pair, first, second)
    text = (
        f"No difference shown: {pair.first} less {pair.second} is {format_difference(metric, difference.value)} {unit}"
    )
    if difference.detectable == 0.0:
        return f"{text} ({evidence})"
    return f"{text} ({evidence}); only differences above about {_round_up(metric, difference.detectable)} would show"


def _evidence(metric: str, low: float, high: float, pair: Pair, first: Group, second: Group) -> str:
    ends = f"{format_difference(metric, low)} to {format_difference(metric, high)}"
    p_value = "p < 0.001" if pair.p_value < 0.001 else f"p = {pair.p_value:.2g}"
    return f"95 % interval {ends}, {p_value}, {_sample(pair, first, second)}"


def _sample(pair: Pair, first: Group, second: Group) -> str:
    assert pair.difference is not None
    if pair.mcnemar is not None:
        return f"{pair.difference.count:,} reviews"
    if first.seeds == second.seeds:
        return f"{len(first.seeds)} seeds each"
    if pair.difference.test.startswith("paired"):
        return f"over the {pair.difference.count} seeds that both have"
    return f"{len(first.seeds)} and {len(second.seeds)} seeds"


def _round_up(metric: str, value: float) -> str:
    """Write to two digits: a threshold with four would promise too much."""
    return f"{100 * value:.2g} points" if is_share(metric) else f"{value:.2g}"
