"""What a comparison says: on a terminal, in a sentence, and as CSV."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sentiment.errors import explaining
from sentiment.format import (
    find_bounds,
    format_difference,
    format_metric,
    format_number,
    is_share,
    join_names,
    name_metric,
)
from sentiment.report.compare.comparison import Comparison, Group, Pair
from sentiment.report.draw.table import Cell, Column, DataTable, open_console, open_table, write_table
from sentiment.report.statistics import ALPHA

COLUMNS = (
    "kind", "metric", "group", "run", "seed", "value", "other_group", "low", "high", "count", "p_value",
    "corrected_p_value", "test", "better",
)  # fmt: skip


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print groups, pairs, notes and the conclusion."""
    console = console or open_console()
    better = "higher" if comparison.direction == "maximize" else "lower"
    console.print(Text(f"\n{comparison.metric} ({better} is better)"))
    console.print(_make_group_table(comparison))
    console.print()
    console.print(_make_pair_table(comparison))
    console.print()
    for note in comparison.notes:
        console.print(Text(note), style="dim" if console.is_terminal else None)
    console.print(Text(conclude(comparison), style="bold"), soft_wrap=not console.is_terminal)


def _make_group_table(comparison: Comparison) -> Table:
    table = open_table("", "runs", "mean", "95 % interval", "seeds", "each")
    for group in comparison.groups:
        seeds = ", ".join(map(str, group.values))
        each = ", ".join(format_metric(comparison.metric, value) for value in group.values.values())
        mean = format_metric(comparison.metric, group.estimate.value)
        cells = (group.name, str(len(group.values)), mean, _interval(comparison.metric, group), seeds, each)
        table.add_row(*map(Text, cells))
    return table


def _make_pair_table(comparison: Comparison) -> Table:
    unit = "points" if is_share(comparison.metric) else "difference"
    table = open_table("", unit, "95 % interval", "p", "test")
    for pair in comparison.pairs:
        name = f"{pair.first} less {pair.second}"
        if pair.difference is None:
            table.add_row(Text(name), "-", "-", "-", "none: a single run has no spread")
            continue
        low, high = pair.difference.low, pair.difference.high
        ends = [format_difference(comparison.metric, end) for end in (low, high)]
        value = format_difference(comparison.metric, pair.difference.value)
        interval = "-" if low == high else " to ".join(ends)  # nothing varies
        table.add_row(Text(name), value, interval, write_p_value(pair.p_value), Text(pair.difference.test))
    return table


def _interval(metric: str, group: Group) -> str:
    low, high = group.estimate.low, group.estimate.high
    if len(set(group.values.values())) == 1:
        return "-"
    return f"{format_metric(metric, low)} to {format_metric(metric, high)}"


def write_p_value(p_value: float) -> str:
    """Write to two digits; to more where two would be on the other side of the level."""
    if math.isnan(p_value):
        return "-"
    text = f"{p_value:.2g}"
    is_told = (float(text) < ALPHA) == (p_value < ALPHA)
    return "< 0.001" if p_value < 0.001 else text if is_told else f"{p_value:.6g}"


def conclude(comparison: Comparison) -> str:
    """Return what may be concluded, in a sentence."""
    pairs, groups = comparison.pairs, {group.name: group for group in comparison.groups}
    clauses = [_conclude_pair(comparison.metric, pair, groups) for pair in pairs]
    if len(clauses) == 1:
        return f"{clauses[0]}."
    shown = [clause for clause, pair in zip(clauses, pairs, strict=True) if pair.better]
    silent = [f"{pair.first} and {pair.second}" for pair in pairs if not pair.better and not math.isnan(pair.p_value)]
    parts = [*shown, *([f"no difference shown between {', '.join(silent)}"] if silent else [])]
    untested = [pair for pair in pairs if math.isnan(pair.p_value)]
    for reason, some in (
        ("nothing varies between their seeds", [pair for pair in untested if pair.difference is not None]),
        ("nobody knows the spread between seeds of a single run", [pair for pair in untested if not pair.difference]),
    ):
        if some:
            names = join_names([f"{pair.first} and {pair.second}" for pair in some])
            parts.append(f"nothing can be concluded on {name_metric(comparison.metric)} between {names}: {reason}")
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
    low, high = find_bounds(metric)
    if difference.detectable >= high - low:
        return f"{text} ({evidence}); values that vary so much would show no difference, however large"
    least = _write_roughly(metric, difference.detectable)
    return f"{text} ({evidence}); only differences above about {least} would show"


def _evidence(metric: str, low: float, high: float, pair: Pair, first: Group, second: Group) -> str:
    ends = f"95 % interval {format_difference(metric, low)} to {format_difference(metric, high)}, "
    p_value = f"p {'' if pair.p_value < 0.001 else '= '}{write_p_value(pair.p_value)}"
    return f"{'' if low == high else ends}{p_value}, {_sample(pair, first, second)}"


def _sample(pair: Pair, first: Group, second: Group) -> str:
    assert pair.difference is not None
    if len(first.values) == len(second.values) == 1:
        return f"{pair.difference.count:,} reviews"
    if first.values.keys() == second.values.keys():
        return f"{len(first.values)} seeds each"
    return f"{len(first.values)} and {len(second.values)} seeds"


def _write_roughly(metric: str, value: float) -> str:
    """Write to two digits: a threshold with four would promise too much."""
    value, unit = (100 * value, " points") if is_share(metric) else (value, "")
    return f"{format_number(float(f'{value:.2g}'))}{unit}"


def write_csv(comparison: Comparison, file: Path) -> None:
    """Write the groups, a line per run, then the pairs, numbers in full; atomically.

    Raises:
        SentimentError: The file cannot be written.
    """
    columns = tuple(Column(name, name) for name in COLUMNS)
    rows = [tuple(row.get(name) for name in COLUMNS) for row in _list_rows(comparison)]
    with explaining(f"{file} cannot be written", "name another file: --csv FILE"):
        write_table(DataTable("comparison", comparison.metric, columns, tuple(rows)), file)


def _list_rows(comparison: Comparison) -> Iterator[dict[str, Cell]]:
    for group in comparison.groups:
        row: dict[str, Cell] = {"metric": comparison.metric, "group": group.name}
        for run, (seed, value) in zip(group.runs, group.values.items(), strict=True):
            yield row | {"kind": "run", "run": run, "seed": seed, "value": value}
        mean = group.estimate
        interval: dict[str, Cell] = {"low": mean.low, "high": mean.high} if mean.count > 1 else {}
        yield row | {"kind": "mean", "value": mean.value, "count": mean.count} | interval
    for pair in comparison.pairs:
        found = pair.difference
        tested: dict[str, Cell] = {} if found is None else {
            "value": found.value, "low": found.low, "high": found.high, "count": found.count,
            "p_value": found.p_value, "corrected_p_value": pair.p_value,
            "test": found.test, "better": pair.better,
        }  # fmt: skip
        names = {"metric": comparison.metric, "group": pair.first, "other_group": pair.second}
        yield {"kind": "difference", **names, **tested}
