"""The parameters: which mattered, each alone, two at a time, and all at once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mean

from sentiment.format import (
    format_count,
    format_metric,
    format_percent,
    format_setting,
    name_metric,
    shorten_keys,
    tell_apart,
)
from sentiment.report.draw.chart import Axis, Chart, Panel, Series
from sentiment.report.sweep.charts.axes import (
    choose_marked,
    complete_rows,
    describe_row,
    is_logarithmic,
    list_models,
    make_scale,
    make_value_axis,
    mark_rows,
    name_states,
    pruned_rows,
    split_by_model,
    value_of,
    write_metric,
)
from sentiment.report.sweep.table import COPIES_LEFT_OUT, Importance, SweepRow, SweepTable

FIRST = ("heads", "depth", "embedding_size", "lr")
"""Parameters that are paired before all others, by the last part of their keys: the exercise asks about them."""

PAIRED = 4
"""Parameters that are paired: six pairs are what a reader looks at."""

LEAST_PAIRED_TRIALS = 4

MOST_LINES = 100
"""Beyond that nobody sees a line; the best ones are drawn."""

Places = Mapping[int, float]
"""Number of a trial to where it lies on an axis, 0 to 1; those that lack the parameter are missing."""


def make_importances(table: SweepTable) -> Chart | None:
    """Show the importance of each parameter as a bar with its interval, one panel per branch."""
    if not table.importances:
        return None
    groups = list(dict.fromkeys(item.group for item in table.importances))
    titles = ["all trials" if group is None else group for group in groups] if len(groups) > 1 else [""]
    panels = [
        _draw_importances(table, [item for item in table.importances if item.group == group], title)
        for group, title in zip(groups, titles, strict=True)
    ]
    return Chart(
        name="parameter_importance",
        title=f"Parameter importance for {name_metric(table.objectives[0])}",
        caption=f"{table.importance_note} Where two intervals overlap widely, the order of two bars is open.",
        panels=tuple(panels),
        columns=min(2, len(panels)),
    )


def _draw_importances(table: SweepTable, items: Sequence[Importance], title: str) -> Panel:
    names = shorten_keys(table.varied)
    labels = tuple(names.get(item.parameter, item.parameter) for item in items)
    bars = Series(
        name="",
        kind="bar",
        x=tuple(item.mean for item in items),
        y=labels,
        low=tuple(item.low for item in items),
        high=tuple(item.high for item in items),
        hover=tuple(
            f"{item.parameter}\n{format_percent(item.mean)} of the variance\n"
            f"90 % interval {format_percent(item.low)} to {format_percent(item.high)}"
            for item in items
        ),
        group="importance",
    )
    return Panel(Axis("share of the variance explained", is_percent=True), Axis("", categories=labels), (bars,), title)


def make_slices(table: SweepTable) -> Chart | None:
    """Show the objective of every trial against each parameter alone, one panel per parameter."""
    panels = [panel for key in table.varied if (panel := _draw_slice(table, key)) is not None]
    if not panels:
        return None
    return Chart(
        name="slices",
        title="Each parameter alone",
        caption="Each point is a trial, placed by one of its settings; all its other settings differ too, so look for "
        "where good and bad trials gather rather than at single points. Points of one value are spread sideways so "
        "that they do not hide each other." + _tell_copies(table),
        panels=tuple(panels),
        columns=2,
        models=list_models(table),
    )


def _draw_slice(table: SweepTable, key: str) -> Panel | None:
    complete = [row for row in _list_own(complete_rows(table)) if key in row.parameters]
    pruned = [row for row in _list_own(pruned_rows(table)) if key in row.parameters]
    if len({row.parameters[key] for row in [*complete, *pruned]}) < 2:
        return None
    scale = make_scale(table, [*complete, *pruned], key)
    best = [row for row in complete if row is table.best]
    others = [row for row in complete if row is not table.best]
    series = [
        mark_rows(table, name_states(pruned), pruned, scale.locate, "pruned"),
        *(mark_rows(table, name, rows, scale.locate) for name, rows in split_by_model(table, others, "complete")),
        mark_rows(table, "best", best, scale.locate, "best"),
    ]
    return Panel(scale.axis, make_value_axis(table.objectives[0]), tuple(one for one in series if one.x))


def _list_own(rows: Sequence[SweepRow]) -> list[SweepRow]:
    """Leave out copies: their settings alone did not make what they have."""
    return [row for row in rows if not row.is_copy]


def _tell_copies(table: SweepTable) -> str:
    """Return the sentence that says so; empty where there are none."""
    return f" {COPIES_LEFT_OUT.capitalize()}." if any(row.is_copy for row in table.rows) else ""


def make_pairs(table: SweepTable) -> Chart | None:
    """Show the trials over each pair of the most important parameters; where both have a few values, over cells.

    The colour of a cell is the mean objective of its trials.
    """
    pairs = itertools.combinations(choose_keys(table), 2)
    panels = [panel for pair in pairs if (panel := _draw_pair(table, *pair)) is not None]
    if not panels:
        return None
    return Chart(
        name="pairs",
        title="Pairs of parameters",
        caption=f"Points are trials, coloured by {name_metric(table.objectives[0])}. Where both parameters have a few "
        "values, the colour of a cell is the mean of its complete trials, whatever their other settings; an empty cell "
        "was not tried, and is not guessed; one with one point is one trial's luck." + _tell_copies(table),
        panels=tuple(panels),
        columns=2,
    )


def choose_keys(table: SweepTable) -> list[str]:
    """Choose the parameters to pair: those the exercise asks about, then the most important ones."""
    rows = _list_own(complete_rows(table))
    shown = [key for key in table.varied if len({row.parameters.get(key) for row in rows} - {None}) > 1]
    importances = list(dict.fromkeys(item.parameter for item in table.importances))

    def order(key: str) -> tuple[int, int]:
        last = key.rpartition(".")[2]
        first = FIRST.index(last) if last in FIRST else len(FIRST)
        return first, importances.index(key) if key in importances else len(importances)

    return sorted(shown, key=order)[:PAIRED]


def _draw_pair(table: SweepTable, across: str, up: str) -> Panel | None:
    # A trial that shares another's result is no second trial of its cell.
    own = [row for row in _list_own(complete_rows(table)) if row.reused_from is None]
    rows = [row for row in own if across in row.parameters and up in row.parameters]
    if len(rows) < LEAST_PAIRED_TRIALS or any(len({row.parameters[key] for row in rows}) < 2 for key in (across, up)):
        return None
    objective = table.objectives[0]
    # Categories stand across: upright they would read downwards, as a list.
    x, y = sorted((make_scale(table, rows, key) for key in (across, up)), key=lambda scale: scale.cell is None)
    marked = choose_marked(table, rows)
    points = replace(
        mark_rows(table, "trials", marked, x.locate, y=y.locate),
        colour=tuple(value_of(table, row) for row in marked),
        colour_axis=make_value_axis(objective),
    )
    if x.cell is None or y.cell is None:
        return Panel(x.axis, y.axis, (points,))
    columns, lines = x.axis.categories or (), y.axis.categories or ()
    members: dict[tuple[int, int], list[SweepRow]] = {}
    for row in rows:
        members.setdefault((y.cell(row), x.cell(row)), []).append(row)
    cells = [members.get(cell, []) for cell in itertools.product(range(len(lines)), range(len(columns)))]
    colour = tuple(mean(value_of(table, row) for row in cell) if cell else math.nan for cell in cells)
    means = Series(
        name="",
        kind="heatmap",
        x=columns,
        y=lines,
        colour=colour,
        colour_axis=make_value_axis(objective),
        hover=tuple(
            f"mean of {format_count(len(cell), 'trial')}\n{write_metric(objective, value)}" if cell else "not tried"
            for cell, value in zip(cells, colour, strict=True)
        ),
    )
    return Panel(x.axis, y.axis, (means, points))


def make_parallel(table: SweepTable) -> Chart | None:
    """Draw each complete trial as a line over its parameters and its objective (Inselberg 1985)."""
    complete = _list_own(complete_rows(table))
    rows = complete[:MOST_LINES]
    part = (
        f" The first {MOST_LINES} of {len(complete):,} complete trials are drawn." if len(complete) > MOST_LINES else ""
    )
    keys = [key for key in table.varied if len({row.parameters[key] for row in rows if key in row.parameters}) > 1]
    if len(rows) < 2 or len(keys) < 2:
        return None
    axes = [*(_make_axis(table, rows, key) for key in keys), _make_last_axis(table, rows)]
    titles = tuple(title for title, _ in axes)
    lines = [_draw_line(table, row, axes) for row in reversed(rows)]  # the best is drawn last, on top
    return Chart(
        name="parallel_coordinates",
        title="All parameters at once",
        caption="Each line is a complete trial; follow it downwards to see its settings, each from the lowest value "
        "tried (left) to the highest (right). Where the lines of good trials run through the same place, that setting "
        "mattered; where they fan out, it did not. With a mouse, drag along an axis to keep the trials of a range, "
        "here and everywhere on the page; drag along others to narrow it down." + part + _tell_copies(table),
        panels=(Panel(Axis("lowest to highest"), Axis("", categories=titles), tuple(lines), has_brush=True),),
    )


def _draw_line(table: SweepTable, row: SweepRow, axes: Sequence[tuple[str, Places]]) -> Series:
    # A parameter of another branch has no position: the line passes its axis by.
    points = [(places[row.number], title) for title, places in axes if row.number in places]
    is_best = row is table.best
    return Series(
        name="best" if is_best else "",
        kind="line",
        x=tuple(x for x, _ in points),
        y=tuple(title for _, title in points),
        colour=(value_of(table, row),) * len(points),
        colour_axis=make_value_axis(table.objectives[0]),
        hover=(describe_row(table, row),) * len(points),
        role="best" if is_best else "plain",
        group=None if is_best else "trials",
        trials=(row.number,) * len(points),
    )


def _make_axis(table: SweepTable, rows: Sequence[SweepRow], key: str) -> tuple[str, Places]:
    """Return a parameter's title, with what lies at the ends of its axis, and where rows lie between them."""
    name = shorten_keys(table.varied)[key]
    values = {row.number: row.parameters[key] for row in rows if key in row.parameters}
    numbers = {number: value for number, value in values.items() if not isinstance(value, str)}
    if len(numbers) < len(values):
        ordered = sorted(dict.fromkeys(values.values()), key=lambda value: (isinstance(value, str), value))
        title = f"{name} ({', '.join(tell_apart(ordered, format_setting, str))})"
        return title, _place({number: ordered.index(value) for number, value in values.items()})
    is_log = is_logarithmic(table, key, list(numbers.values()))
    low, high = format_setting(min(numbers.values())), format_setting(max(numbers.values()))
    return f"{name} ({low} to {high}{', log' if is_log else ''})", _place(numbers, is_log=is_log)


def _make_last_axis(table: SweepTable, rows: Sequence[SweepRow]) -> tuple[str, Places]:
    objective = table.objectives[0]
    values = {row.number: value_of(table, row) for row in rows}
    low, high = (format_metric(objective, end) for end in (min(values.values()), max(values.values())))
    return f"{objective.rpartition('/')[2]} ({low} to {high})", _place(values)


def _place(values: Mapping[int, float], *, is_log: bool = False) -> Places:
    """Return where each row lies between the least value and the largest; in the middle, where all are equal."""
    scale = math.log if is_log else float
    low, high = scale(min(values.values())), scale(max(values.values()))
    return {number: (scale(value) - low) / (high - low) if high > low else 0.5 for number, value in values.items()}
