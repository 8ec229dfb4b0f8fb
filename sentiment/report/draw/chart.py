"""A chart as plain data: computed first, then drawn, interactively or as a picture.

Whatever shows a plot starts here, so that the page and the PNG show the same points, and tests compare the table
rather than the ink. `sentiment.report.draw.plotly` and `sentiment.report.draw.matplotlib` draw charts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sentiment.format import format_number, format_percent

Value = float | str
"""A position on an axis: a number, or a category's name."""

Kind = Literal["markers", "line", "line+markers", "step", "bar", "heatmap"]

Role = Literal["plain", "best", "pruned", "failed", "faint", "reference"]
"""What a series stands for; the drawers give each role its look (colour, dash, opacity) in light and in dark."""


@dataclass(frozen=True)
class Axis:
    """One axis of a panel."""

    title: str  # what it measures, with its unit
    is_log: bool = False  # logarithmic
    categories: tuple[str, ...] | None = None  # names in order, for a categorical axis; None: numbers
    is_percent: bool = False  # numbers are shares of one, shown in percent
    is_whole: bool = False  # ticks stand at whole numbers alone

    def locate(self, values: Iterable[Value]) -> list[float]:
        """Return positions as numbers: a category's name as its index; a number stays (a jittered category's too)."""
        indices = {name: float(index) for index, name in enumerate(self.categories or ())}
        return [indices[value] if isinstance(value, str) else float(value) for value in values]

    def show(self, value: float) -> str:
        """Write a number on the axis for people."""
        return format_percent(value) if self.is_percent else format_number(value)


@dataclass(frozen=True)
class Series:
    """Points that belong together."""

    name: str  # what the legend calls them; empty: not in the legend
    # How they are drawn. ``bar`` takes `y` as categories and `x` as lengths (horizontal bars).
    kind: Kind
    x: tuple[Value, ...]  # positions; for ``heatmap`` the columns' positions
    y: tuple[Value, ...]  # positions, as many as `x`; for ``heatmap`` the rows' positions
    # Values that colour the points or the line (or one value per cell, row by row, for ``heatmap``; NaN: an empty
    # cell); None: the series has one colour.
    colour: tuple[float, ...] | None = None
    colour_axis: Axis | None = None  # what `colour` measures
    low: tuple[float, ...] | None = None  # lower ends of the error bars of points or bars; None: none
    high: tuple[float, ...] | None = None  # upper ends
    # A text per point (or per cell), lines separated by a newline; None: none.
    hover: tuple[str, ...] | None = None
    role: Role = "plain"  # what the series stands for
    group: str | None = None  # series of a group share a colour; None: a colour of its own
    trials: tuple[int, ...] | None = None  # number of the trial of each point; None: its points are no trials
    is_folded: bool = False  # shown on the page alone, and only when its trial is asked for

    @property
    def is_grid(self) -> bool:
        """Whether it has a value per cell rather than per point."""
        return self.kind == "heatmap"

    @property
    def cells(self) -> list[list[float]]:
        """Values of a grid row by row; NaN where a cell is empty."""
        assert self.colour is not None, f"a {self.kind} without values"
        width = len(self.x)
        return [list(self.colour[start : start + width]) for start in range(0, width * len(self.y), width)]


class ErrorBars(NamedTuple):
    """The intervals of a series' points."""

    along: Literal["x", "y"]  # the axis that measures
    below: list[float]  # length from each point to its lower end
    above: list[float]  # length from each point to its upper end


@dataclass(frozen=True)
class Panel:
    """A pair of axes with what is drawn between them."""

    x: Axis  # horizontal axis
    y: Axis  # vertical axis
    series: tuple[Series, ...]  # drawn in order, the last on top
    title: str = ""  # a short title over the panel; empty: none
    has_brush: bool = False  # a mouse selects ranges on its lines, rather than zooms

    @property
    def has_grid(self) -> bool:
        """Whether any of its series is a grid."""
        return any(series.is_grid for series in self.series)

    @property
    def listed(self) -> tuple[str, ...] | None:
        """Categories of the vertical axis where they read downwards, as a list; None where they do not."""
        return None if self.has_grid else self.y.categories

    @property
    def has_lines(self) -> bool:
        """Whether any of its series joins points, which takes height to follow."""
        return any("line" in series.kind for series in self.series)

    def measure_errors(self, series: Series) -> ErrorBars | None:
        """Return the error bars of points or bars, along the axis without categories; None without."""
        if series.low is None or series.high is None:
            return None
        is_sideways = series.kind == "bar" or self.y.categories is not None
        middle = self.x.locate(series.x) if is_sideways else self.y.locate(series.y)
        below = [max(at - low, 0.0) for low, at in zip(series.low, middle, strict=True)]
        above = [max(high - at, 0.0) for high, at in zip(series.high, middle, strict=True)]
        return ErrorBars("x" if is_sideways else "y", below, above)


@dataclass(frozen=True)
class Chart:
    """One plot of a report."""

    # File name without ending, e.g. ``parameter_importance``.
    name: str
    title: str  # heading
    caption: str  # a sentence or two for the reader: what is seen, and how to read it
    panels: tuple[Panel, ...]  # panels, filled row by row
    columns: int = 1  # panels in a row on a wide screen
    # Names of series that have the same colours in all charts of a page, the models of its runs, in order.
    models: tuple[str, ...] = ()
