"""Which parameters mattered, with how sure that is."""

from __future__ import annotations

from sentiment.format import format_percent, name_metric, shorten_keys
from sentiment.report.draw.chart import Axis, Chart, Panel, Series
from sentiment.report.sweep.table import Importance, SweepTable


def make_importances(table: SweepTable) -> Chart | None:
    """Show the importance of each parameter as a bar with its interval, one panel per branch."""
    if not table.importances:
        return None
    groups = dict.fromkeys(item.group for item in table.importances)
    panels = [_make_panel(table, group, [one for one in table.importances if one.group == group]) for group in groups]
    return Chart(
        name="parameter_importance",
        title=f"Parameter importance for {name_metric(table.objectives[0])}",
        caption="How much of the differences between trials each parameter explains by itself. The thin line holds "
        "90 % of the estimates from resampled trials: where two lines overlap widely, the order of the two bars is "
        "not settled.",
        panels=tuple(panels),
        columns=min(2, len(panels)),
    )


def _make_panel(table: SweepTable, group: str | None, items: list[Importance]) -> Panel:
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
    several = len({item.group for item in table.importances}) > 1
    title = "all trials" if group is None else group
    return Panel(
        x=Axis("share of the variance explained", is_percent=True),
        y=Axis("", categories=labels),
        series=(bars,),
        title=title if several else "",
    )
