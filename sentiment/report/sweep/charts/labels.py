"""What charts call things, for people: parameters, metrics, values, trials."""

from __future__ import annotations

from sentiment.format import format_metric, format_setting, is_share, shorten_keys
from sentiment.report.draw.chart import Axis
from sentiment.report.sweep.table import SweepRow, SweepTable

METRICS = {
    "val/accuracy": "validation accuracy",
    "val/f1": "validation F1",
    "val/auroc": "validation AUROC",
    "val/loss": "validation loss",
    "test/accuracy": "test accuracy",
    "test/f1": "test F1",
    "test/auroc": "test AUROC",
    "test/loss": "test loss",
    "model/parameters": "trainable parameters",
    "time/fit_seconds": "training time in seconds",
    "time/latency_ms": "time for one review in milliseconds",
}


def name_metric(metric: str) -> str:
    """Name a metric, with its unit."""
    return METRICS.get(metric, metric)


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
