"""What charts call things, for people: parameters, metrics, values, trials."""

from __future__ import annotations

from sentiment.format import format_metric, format_setting, is_share, name_metric, shorten_keys
from sentiment.report.draw.chart import Axis
from sentiment.report.sweep.table import SweepRow, SweepTable


def make_value_axis(metric: str) -> Axis:
    """Make the axis of a metric."""
    return Axis(name_metric(metric), is_percent=is_share(metric))


def write_metric(metric: str, value: float) -> str:
    """Write a metric's value with its name."""
    return f"{name_metric(metric)} {format_metric(metric, value)}"


def describe_row(table: SweepTable, row: SweepRow, *further: str) -> str:
    """Describe a trial, one per line: number and state, objectives, settings, and what else there is to say."""
    names = shorten_keys(table.varied)
    state = "" if row.state == "complete" else f", {row.state}"
    values = [write_metric(name, value) for name, value in row.values.items()]
    settings = [f"{names.get(key, key)} = {format_setting(value)}" for key, value in row.parameters.items()]
    reason = [row.reason] if row.reason else []
    return "\n".join([f"trial {row.number}{state}", *values, *settings, *further, *reason])
