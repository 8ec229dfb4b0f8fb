"""A chart as plain data: computed first, then drawn, interactively or as a picture.

Whatever shows a plot starts here, so that the page and the PNG show the same points, and tests compare the table
rather than the ink. `sentiment.report.draw.plotly` and `sentiment.report.draw.matplotlib` draw charts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Value = float | str
"""A position on an axis: a number, or a category's name."""

Kind = Literal["markers", "line", "line+markers", "step", "bar", "heatmap", "contour"]

Role = Literal["plain", "best", "pruned", "failed", "faint", "reference"]
"""What a series stands for; the drawers give each role its look (colour, dash, opacity) in light and in dark."""


@dataclass(frozen=True)
class Axis:
    """One axis of a panel.

    Attributes:
        title: What it measures, with its unit.
        is_log: Logarithmic.
        categories: Names in order, for a categorical axis; None: numbers.
        is_percent: Numbers are shares of one, shown in percent.
    """

    title: str
    is_log: bool = False
    categories: tuple[str, ...] | None = None
    is_percent: bool = False


@dataclass(frozen=True)
class Series:
    """Points that belong together.

    Attributes:
        name: What the legend calls them; empty: not in the legend.
        kind: How they are drawn. ``bar`` takes `y` as categories and `x` as lengths (horizontal bars).
        x: Positions; for ``heatmap`` and ``contour`` the columns' positions.
        y: Positions, as many as `x`; for ``heatmap`` and ``contour`` the rows' positions.
        colour: Values that colour the points (or one value per cell, row by row, for ``heatmap`` and ``contour``; NaN:
            an empty cell); None: the series has one colour.
        colour_axis: What `colour` measures.
        low: Lower ends of error bars, or of a band around a line; None: none.
        high: Upper ends.
        hover: A text per point, lines separated by a newline; None: the drawer writes the coordinates.
        role: What the series stands for.
        group: Series of a group share a colour; None: a colour of its own.
    """

    name: str
    kind: Kind
    x: tuple[Value, ...]
    y: tuple[Value, ...]
    colour: tuple[float, ...] | None = None
    colour_axis: Axis | None = None
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    hover: tuple[str, ...] | None = None
    role: Role = "plain"
    group: str | None = None


@dataclass(frozen=True)
class Panel:
    """A pair of axes with what is drawn between them.

    Attributes:
        x: Horizontal axis.
        y: Vertical axis.
        series: Drawn in order, the last on top.
        title: A short title over the panel; empty: none.
    """

    x: Axis
    y: Axis
    series: tuple[Series, ...]
    title: str = ""


@dataclass(frozen=True)
class Chart:
    """One plot of a report.

    Attributes:
        name: File name without ending, e.g. ``parameter_importance``.
        title: Heading.
        caption: A sentence or two for the reader: what is seen, and how to read it.
        panels: Panels, filled row by row.
        columns: Panels in a row on a wide screen.
    """

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    columns: int = 1
