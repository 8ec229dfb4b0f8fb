"""Two parameters at a time: the mean of the objective over cells, with the trials on top."""

from __future__ import annotations

import itertools
import math
from statistics import mean

from sentiment.format import name_metric, shorten_keys
from sentiment.report.draw.chart import Chart, Panel, Series
from sentiment.report.sweep.charts.labels import describe_row, make_value_axis, write_metric
from sentiment.report.sweep.charts.scale import make_scale
from sentiment.report.sweep.charts.selection import complete_rows, value_of
from sentiment.report.sweep.table import SweepRow, SweepTable

FIRST = ("heads", "depth", "embedding_size", "lr")
"""Parameters that are shown before all others, by the last part of their keys: the exercise asks about them."""

PARAMETERS = 4
"""Parameters that are paired: six pairs are what a reader looks at."""

LEAST_TRIALS = 4


def make_pairs(table: SweepTable) -> Chart | None:
    """Show the mean objective over each pair of the most important parameters."""
    keys = choose_keys(table)
    panels = [panel for pair in itertools.combinations(keys, 2) if (panel := _make_panel(table, *pair)) is not None]
    if not panels:
        return None
    return Chart(
        name="pairs",
        title="Pairs of parameters",
        caption=f"The colour of a cell is the mean {name_metric(table.objectives[0])} of its complete trials, whatever "
        "their other settings; an empty cell was not tried, and is not guessed. Points are the trials themselves: a "
        "cell with one point is one trial's luck.",
        panels=tuple(panels),
        columns=2,
    )


def choose_keys(table: SweepTable) -> list[str]:
    """Choose the parameters to pair: those the exercise asks about, then the most important ones."""
    shown = [key for key in table.varied if len({row.parameters.get(key) for row in complete_rows(table)} - {None}) > 1]
    order = {key: place for place, key in enumerate(dict.fromkeys(item.parameter for item in table.importances))}

    def place(key: str) -> tuple[int, int, int]:
        last = key.rpartition(".")[2]
        first = FIRST.index(last) if last in FIRST else len(FIRST)
        return first, order.get(key, len(order)), shown.index(key)

    return sorted(shown, key=place)[:PARAMETERS]


def _make_panel(table: SweepTable, across: str, up: str) -> Panel | None:
    rows = [row for row in complete_rows(table) if across in row.parameters and up in row.parameters]
    if len(rows) < LEAST_TRIALS or any(len({row.parameters[key] for row in rows}) < 2 for key in (across, up)):
        return None
    names, objective = shorten_keys(table.varied), table.objectives[0]
    x = make_scale(table, rows, across, names[across], as_cells=True)
    y = make_scale(table, rows, up, names[up], as_cells=True)
    columns, lines = x.axis.categories or (), y.axis.categories or ()
    members: dict[tuple[int, int], list[SweepRow]] = {}
    for row in rows:
        members.setdefault((y.cell(row), x.cell(row)), []).append(row)
    cells = [members.get(place, []) for place in itertools.product(range(len(lines)), range(len(columns)))]
    colour = tuple(mean(value_of(table, row) for row in cell) if cell else math.nan for cell in cells)
    means = Series(
        name="",
        kind="heatmap",
        x=columns,
        y=lines,
        colour=colour,
        colour_axis=make_value_axis(objective),
        hover=tuple(
            f"mean of {len(cell)} trials\n{write_metric(objective, value)}" if cell else "not tried"
            for cell, value in zip(cells, colour, strict=True)
        ),
    )
    points = Series(
        name="trials",
        kind="markers",
        x=tuple(x.place(row) for row in rows),
        y=tuple(y.place(row) for row in rows),
        colour=tuple(value_of(table, row) for row in rows),
        colour_axis=make_value_axis(objective),
        hover=tuple(describe_row(table, row) for row in rows),
    )
    return Panel(x.axis, y.axis, (means, points))
