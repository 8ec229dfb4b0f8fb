"""Print a comparison: a small table, and the sentence that it allows."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sentiment.format import format_difference, format_metric, is_share
from sentiment.report.compare.table import Comparison, Group, Pair
from sentiment.report.draw.table import open_console, open_table


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print groups, pairs, notes and the conclusion.

    Args:
        comparison: The table.
        console: Where to print; by default standard output.
    """
    console = console or open_console()
    better = "higher" if comparison.direction == "maximize" else "lower"
    console.print(Text(f"\n{comparison.metric} ({better} is better)"))
    console.print(_make_group_table(comparison))
    console.print()
    console.print(_make_pair_table(comparison))
    console.print()
    for note in comparison.notes:
        console.print(Text(note), style="dim" if console.is_terminal else None)
    console.print(Text(comparison.conclusion, style="bold"), soft_wrap=not console.is_terminal)


def _make_group_table(comparison: Comparison) -> Table:
    table = open_table("", "runs", "mean", "95 % interval", "seeds", "each")
    for group in comparison.groups:
        seeds = ", ".join(map(str, group.seeds))
        each = ", ".join(format_metric(comparison.metric, value) for value in group.values)
        mean = format_metric(comparison.metric, group.estimate.mean)
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
        low, high = (format_difference(comparison.metric, end) for end in (pair.difference.low, pair.difference.high))
        value = format_difference(comparison.metric, pair.difference.value)
        table.add_row(Text(name), value, f"{low} to {high}", _p_value(pair.p_value), Text(_test(pair)))
    return table


def _interval(metric: str, group: Group) -> str:
    low, high = group.estimate.low, group.estimate.high
    return "-" if math.isnan(low) else f"{format_metric(metric, low)} to {format_metric(metric, high)}"


def _p_value(p_value: float) -> str:
    if math.isnan(p_value):
        return "-"
    return "< 0.001" if p_value < 0.001 else f"{p_value:.2g}"


def _test(pair: Pair) -> str:
    assert pair.difference is not None
    return pair.difference.test + ("" if pair.mcnemar is None else f"; McNemar's exact p {_p_value(pair.mcnemar)}")
