"""Parameter importance of a sweep, branch by branch where not every trial has every parameter."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from sentiment.config.objective import SELECTING
from sentiment.format import format_number
from sentiment.report.sweep.table import COPIES_LEFT_OUT, Importance, SweepRow, SweepTable
from sentiment.search.study.importance import RESAMPLES, ImportanceError, measure_importances

LEAST_SHARE = 1 / 3
"""Of the longest training: where all trials came so far, they are measured by what they had by then. Earlier, the order
of trials says little of the end (experiments/search_efficiency)."""

MOST_TRIALS = 500
"""Trials that importance is measured over; its interval is narrow by then, and forests take minutes beyond."""


def add_importances(table: SweepTable) -> SweepTable:
    """Return the table with the importance of its varied parameters for the first objective; it takes seconds.

    Where all complete trials have all parameters, they are measured together. In a conditional space, the parameter
    that opens the branches is measured over all trials, and the parameters of each branch within it.
    """
    found, note = measure_branches(table.rows, table.varied, table.log_scaled, table.objectives[0])
    return replace(table, importances=found, importance_note=note)


def measure_branches(
    rows: Sequence[SweepRow], varied: Sequence[str], log_scaled: Collection[str], objective: str
) -> tuple[tuple[Importance, ...], str]:
    """Measure the importance of the varied parameters; with a sentence on how, or why there are none."""
    # By number and by name: forests and resamples depend on the order, and the order of a table tells nothing.
    rows, varied = sorted(rows, key=lambda row: row.number), sorted(varied)
    values, how = choose_values(rows, objective)
    whole = [row for row in rows if row.number in values]
    count = min(len(whole), MOST_TRIALS)
    measured = [whole[place * len(whole) // count] for place in range(count)]  # evenly, in the order of their numbers
    shared = [key for key in varied if all(key in row.parameters for row in measured)]
    opener = find_opener(measured, shared, varied) if len(shared) < len(varied) else None
    found, faults = _measure(measured, shared, log_scaled, values, None)
    considered = set(shared)
    if opener is not None:
        found = [item for item in found if item.parameter == opener]
        for value in dict.fromkeys(row.parameters[opener] for row in measured):
            branch = [row for row in measured if row.parameters[opener] == value]
            keys = [key for key in varied if key != opener and all(key in row.parameters for row in branch)]
            within, reasons = _measure(branch, keys, log_scaled, values, f"{opener}={value}")
            found, faults, considered = [*found, *within], [*faults, *reasons], considered | set(keys)
    if left_out := [key for key in varied if key not in considered]:
        faults.append(f"Not measured, because only some trials have them: {', '.join(left_out)}.")
    return _join(found, faults, len(measured), len(whole), how)


def choose_values(rows: Sequence[SweepRow], objective: str) -> tuple[dict[int, float], str]:
    """Choose by what trials are measured, and say so: all by what they had after equal work, or the complete ones.

    Equal work is that of the trial that was stopped first; who came to its own end before has what it had there. A cost
    has no curve that tells it. Pruned trials show what makes a trial bad. Without them, what decided most may seem to
    matter least: every trial that is left has the right value.

    Returns:
        Number of the trial to its value, where that is finite. One that shares another one's result is no second
        measurement of it.
    """
    trained = [row for row in rows if row.reused_from is None]
    own = [row for row in trained if not row.is_copy]
    complete = {row.number: row.values[objective] for row in own if row.state == "complete" and objective in row.values}
    pruned = [row for row in own if row.state == "pruned"]
    values, how = complete, "complete trials"
    if pruned:
        how += "; pruned ones are left out: they were stopped at different stages"
        ended = [*pruned, *(row for row in own if row.state == "complete")]
        if objective.startswith(SELECTING) and all(row.curve and len(row.runs) < 2 for row in ended):
            least = min(row.curve[-1].epoch for row in pruned)
            most = max(row.curve[-1].epoch for row in ended)
            reached = {row.number: [point.value for point in row.curve if point.epoch <= least] for row in ended}
            if least >= LEAST_SHARE * most and all(reached.values()):
                values = {number: known[-1] for number, known in reached.items()}
                how = f"ended trials, by what each had after epoch {format_number(least)}"
    if len(own) < len(trained):
        how += f"; {COPIES_LEFT_OUT}"
    return {number: value for number, value in values.items() if math.isfinite(value)}, how


def find_opener(rows: Sequence[SweepRow], shared: Sequence[str], varied: Sequence[str]) -> str | None:
    """Find the parameter on whose value it depends which others exist; None where no single one decides it."""

    def decides(key: str) -> bool:
        seen: dict[float | str, set[str]] = {}
        for row in rows:
            present = {other for other in varied if other in row.parameters}
            if seen.setdefault(row.parameters[key], present) != present:
                return False
        return len(seen) > 1

    texts = [key for key in shared if any(isinstance(row.parameters[key], str) for row in rows)]
    return next((key for key in [*texts, *shared] if decides(key)), None)


def _measure(
    rows: Sequence[SweepRow],
    keys: Sequence[str],
    log_scaled: Collection[str],
    values: Mapping[int, float],
    group: str | None,
) -> tuple[list[Importance], list[str]]:
    if not keys:
        return [], ["No parameter was varied."]
    points = [{key: row.parameters[key] for key in keys} for row in rows]
    try:
        results = [values[row.number] for row in rows]
        measured = measure_importances(points, results, log_scaled, resamples=RESAMPLES)
    except ImportanceError as error:
        return [], [f"{group}: {error}" if group else str(error)]
    return [Importance(name, average, low, high, group) for name, average, low, high in measured], []


def _join(
    found: Sequence[Importance], faults: Sequence[str], count: int, whole: int, how: str
) -> tuple[tuple[Importance, ...], str]:
    said = list(dict.fromkeys(faults))
    part = f" of {whole:,}, taken evenly" if count < whole else ""
    if found:
        said.insert(
            0,
            f"Share of the objective's variance that each parameter explains alone (functional ANOVA), over {count}"
            f"{part} {how}. The interval holds 90 % of {RESAMPLES} resamples of the trials.",
        )
    return tuple(found), " ".join(said)
