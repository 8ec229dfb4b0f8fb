"""What a sweep found, in plain words."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from sentiment.format import format_metric
from sentiment.report.sweep.table import State, SweepRow, SweepTable
from sentiment.tracking.run_name import shorten_value

STATES: tuple[State, ...] = ("complete", "pruned", "failed", "killed", "running", "waiting")


@dataclass(frozen=True)
class Summary:
    """The first lines of a report.

    Attributes:
        headline: The result in a sentence.
        counts: How many trials stand or ended how, and the time they took, in a sentence.
        best: The winner; None while there is none.
        settings: The winner's varied settings, name to text.
    """

    headline: str
    counts: str
    best: SweepRow | None
    settings: dict[str, str]


def summarize(table: SweepTable) -> Summary:
    """Put a sweep into words."""
    best = next((row for row in table.rows if row.rank == 1), None)
    settings = {} if best is None else {key: write_setting(value) for key, value in best.parameters.items()}
    return Summary(_write_headline(table, best), count_trials(table), best, settings)


def _write_headline(table: SweepTable, best: SweepRow | None) -> str:
    if best is None:
        return "No trial has finished, so there is no best one."
    name = table.objectives[0]
    value = write_value(name, best.values.get(name, math.nan))
    if len(table.objectives) > 1:
        others = " and ".join(table.objectives[1:])
        return f"Trial {best.number} has the best {name}, {value}; {others} decided too: see the fronts below."
    finished = sum(row.rank is not None for row in table.rows)
    if finished == 1:
        return f"Trial {best.number} reached {name} {value}; it is the only one that finished."
    return f"Trial {best.number} is the best of {finished} that finished: {name} {value}."


def count_trials(table: SweepTable) -> str:
    """Count the trials by state, as in ``60 trials: 41 complete, 17 pruned, 2 failed, in 1 h 12 min.``."""
    states = Counter(row.state for row in table.rows)
    if not states:
        return "There are no trials yet."
    total = f"{len(table.rows)} trial{'s' if len(table.rows) != 1 else ''}"
    counts = ", ".join(f"{states[state]} {state}" for state in STATES if states[state])
    seconds = measure_seconds(table)
    return f"{total}: {counts}{'' if seconds is None else f', in {write_seconds(seconds)}'}."


def measure_seconds(table: SweepTable) -> float | None:
    """Measure the wall time from the first start to the last end; None where no trial has ended."""
    starts = [row.started_seconds for row in table.rows if row.started_seconds is not None]
    ends = [row.ended_seconds for row in table.rows if row.ended_seconds is not None]
    return max(ends) - min(starts) if starts and ends else None


def write_seconds(seconds: float) -> str:
    """Write a duration for people: ``8.2 s``, ``12 min 30 s``, ``1 h 12 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def write_value(name: str, value: float) -> str:
    """Write a metric: a share of one in percent, another number to four digits."""
    return format_metric(name, value)


def write_setting(value: float | str) -> str:
    """Write a setting: whole numbers without a point, drawn numbers to four digits."""
    if isinstance(value, str):
        return shorten_value(value)
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else f"{value:.4g}"
