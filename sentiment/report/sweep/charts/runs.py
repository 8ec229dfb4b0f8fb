"""The ranked runs side by side, on validation and, where they were tested, on the test split."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from sentiment.format import format_setting, name_metric, shorten_keys
from sentiment.report.draw.chart import Axis, Chart, Panel, Series
from sentiment.report.statistics import wilson_interval
from sentiment.report.sweep.charts.labels import describe_row, make_value_axis, write_metric
from sentiment.report.sweep.charts.selection import complete_rows
from sentiment.report.sweep.table import SweepRow, SweepTable

MOST_RUNS = 12

SEED = "seed"


def make_runs(table: SweepTable) -> Chart | None:
    """Show the best runs; runs that differ in their seed alone share a line."""
    rows = complete_rows(table)
    if not rows:
        return None
    groups = group_by_settings(table, rows)
    validation = table.objectives[0]
    test = validation.replace("val/", "test/") if validation.startswith("val/") else None
    by_seed = any(len(group) > 1 for _, group in groups)
    shown = groups[:MOST_RUNS]
    series = [_mark(table, shown, validation, by_seed)]
    if test is not None and any(test in row.metrics for _, group in shown for row in group):
        series.append(_mark(table, shown, test, by_seed))
    if by_seed:
        series.append(_mark_means(shown, validation))
    return Chart(
        name="runs",
        title="The best runs" if len(shown) < len(groups) else "The runs",
        caption=_write_caption(by_seed, len(series) > 1, len(shown), len(groups)),
        panels=(Panel(make_value_axis(validation), Axis("", categories=tuple(n for n, _ in shown)), tuple(series)),),
    )


def group_by_settings(table: SweepTable, rows: Sequence[SweepRow]) -> list[tuple[str, list[SweepRow]]]:
    """Group runs that differ in nothing but their seed; each group with a name of its own.

    The best mean comes first, and groups that break a limit of their study come last, as in every table.
    """
    names = shorten_keys(table.varied)
    objective = table.objectives[0]
    several_models = len({row.model for row in rows}) > 1
    groups: dict[str, list[SweepRow]] = {}
    for row in rows:
        told = {key: value for key, value in row.parameters.items() if key not in (SEED, "model")}
        settings = [f"{names[key]}={format_setting(value)}" for key, value in told.items()]
        name = " ".join([row.model, *settings] if several_models or not settings else settings)
        limit = " (over a limit)" if row.excess else ""
        if SEED not in row.parameters:
            name = f"{row.number}{limit}: {name}"  # equal settings drawn twice stay two trials
        elif row.excess:
            name += limit
        groups.setdefault(name.strip(), []).append(row)
    sign = -1.0 if table.directions[0] == "maximize" else 1.0

    def order(group: tuple[str, list[SweepRow]]) -> tuple[bool, float]:
        return bool(group[1][0].excess), sign * mean(row.values[objective] for row in group[1])

    return sorted(groups.items(), key=order)


def _mark(table: SweepTable, groups: Sequence[tuple[str, list[SweepRow]]], metric: str, by_seed: bool) -> Series:
    points = [(name, row, row.values.get(metric, row.metrics.get(metric))) for name, group in groups for row in group]
    placed = [(name, row, value) for name, row, value in points if value is not None]
    ends = [_interval(metric, row, value) for _, row, value in placed]
    return Series(
        name=name_metric(metric) + (", each seed" if by_seed else ""),
        kind="markers",
        x=tuple(value for _, _, value in placed),
        y=tuple(name for name, _, _ in placed),
        low=tuple(low for low, _ in ends) if metric == "test/accuracy" and not by_seed else None,
        high=tuple(high for _, high in ends) if metric == "test/accuracy" and not by_seed else None,
        hover=tuple(describe_row(table, row, write_metric(metric, value)) for _, row, value in placed),
    )


def _interval(metric: str, row: SweepRow, value: float) -> tuple[float, float]:
    reviews = None if row.record is None else row.record.test_reviews
    return (value, value) if metric != "test/accuracy" or not reviews else wilson_interval(value, reviews)


def _mark_means(groups: Sequence[tuple[str, list[SweepRow]]], metric: str) -> Series:
    values = [[row.values[metric] for row in group] for _, group in groups]
    return Series(
        name="mean over seeds, lowest to highest",
        kind="markers",
        x=tuple(map(mean, values)),
        y=tuple(name for name, _ in groups),
        low=tuple(map(min, values)),
        high=tuple(map(max, values)),
        role="best",
    )


def _write_caption(by_seed: bool, is_tested: bool, shown: int, total: int) -> str:
    ranked = "Ranked by the objective on validation; the test split ranks nothing."
    if by_seed:
        told = " Runs that differ in their seed alone share a line: how far they lie apart is what chance alone does."
    elif is_tested:
        told = " The line through a test accuracy is its 95 % interval (Wilson), for the reviews it was counted on."
    else:
        told = " A small lead on validation may be chance: train the leaders with other seeds before you choose."
    return ranked + told + (f" The first {shown} of {total} are shown." if shown < total else "")
