"""Settings against each other, each over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from sentiment.format import is_share
from sentiment.report.draw.chart import Axis, Chart, Kind, Panel, Role, Series, Value
from sentiment.report.record.groups import RunGroup

LEAST_LINE_POINTS = 3
"""Distinct numbers of a setting from which a line over them tells more than a list."""


def make_group_chart(groups: Sequence[RunGroup], name: str, title: str, metric: str) -> Chart:
    """Draw validation (and test) of each setting: over a setting that is a scale where there is one, else as a list.

    Args:
        groups: The table, best first.
        name: File name of the chart.
        title: Heading.
        metric: What was measured on validation, for the axis.
    """
    scale = _find_scale(groups)
    panel = _make_list(groups, metric) if scale is None else _make_lines(groups, scale, metric)
    seeds = max(len(group.seeds) for group in groups)
    caption = f"Small dots: single runs ({seeds} seeds); large: their mean." if seeds > 1 else "One run per point."
    return Chart(name, title, caption, (panel,))


def _make_list(groups: Sequence[RunGroup], metric: str) -> Panel:
    labels = tuple(group.label for group in groups)
    series = [*_dots(groups, "validation", [group.validation for group in groups])]
    if any(group.test for group in groups):
        series += _dots(groups, "test", [group.test for group in groups])
    return Panel(Axis(metric, is_percent=is_share(metric)), Axis("", categories=labels), tuple(series))


def _dots(groups: Sequence[RunGroup], name: str, values: Sequence[Sequence[float]]) -> list[Series]:
    pairs: list[tuple[Value, Value]] = [
        (value, group.label) for group, each in zip(groups, values, strict=True) for value in each
    ]
    means: list[tuple[Value, Value]] = [
        (mean(each), group.label) for group, each in zip(groups, values, strict=True) if each
    ]
    return [_series("", "markers", pairs, name, role="faint"), _series(name, "markers", means, name)]


def _make_lines(groups: Sequence[RunGroup], scale: str, metric: str) -> Panel:
    lines: dict[str, list[RunGroup]] = {}
    for group in groups:
        others = [f"{key.rpartition('.')[2]}={value}" for key, value in group.settings.items() if key != scale]
        lines.setdefault(" ".join([group.model, *others]), []).append(group)
    series: list[Series] = []
    for name in sorted(lines):
        ordered = sorted(lines[name], key=lambda group: float(group.settings[scale]))
        points: list[tuple[Value, Value]] = [
            (float(group.settings[scale]), value) for group in ordered for value in group.validation
        ]
        means: list[tuple[Value, Value]] = [(float(group.settings[scale]), mean(group.validation)) for group in ordered]
        if len(points) > len(means):
            series.append(_series("", "markers", points, name, role="faint"))
        series.append(_series(name, "line+markers", means, name))
    positions = sorted({float(group.settings[scale]) for group in groups})
    is_log = len(positions) > 2 and positions[0] > 0 and positions[-1] / positions[0] >= 8
    return Panel(Axis(scale, is_log=is_log), Axis(metric, is_percent=is_share(metric)), tuple(series))


def _find_scale(groups: Sequence[RunGroup]) -> str | None:
    keys = dict.fromkeys(key for group in groups for key in group.settings)
    for key in keys:
        values = {group.settings.get(key) for group in groups}
        if len(values) >= LEAST_LINE_POINTS and all(_is_number(value) for value in values):
            return key
    return None


def _is_number(text: str | None) -> bool:
    try:
        float(text or "")
    except ValueError:
        return False
    return True


def _series(name: str, kind: Kind, points: Sequence[tuple[Value, Value]], group: str, role: Role = "plain") -> Series:
    x, y = (tuple(point[side] for point in points) for side in (0, 1))
    return Series(name, kind, x, y, role=role, group=group)
