"""What charts call things, for people: parameters, metrics, values, trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

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

SHARES = ("accuracy", "f1")
"""Metrics that people read in percent, by the last part of their names."""


def name_keys(keys: Sequence[str]) -> dict[str, str]:
    """Name parameters by the last part of their keys, ``lr`` for ``optimizer.lr``, or in full where that is ambiguous.

    A grid of a config group names the group: ``model``.
    """
    last = Counter(key.rpartition(".")[2] for key in keys)
    return {key: key.rpartition(".")[2] if last[key.rpartition(".")[2]] == 1 else key for key in keys}


def name_metric(metric: str) -> str:
    """Name a metric, with its unit."""
    return METRICS.get(metric, metric)


def is_share(metric: str) -> bool:
    """Tell whether a metric is read in percent."""
    return metric.rpartition("/")[2] in SHARES


def make_value_axis(metric: str) -> Axis:
    """Make the axis of a metric."""
    return Axis(name_metric(metric), is_percent=is_share(metric))


def write_setting(value: float | str) -> str:
    """Write a parameter's value: whole numbers in full, others to four digits."""
    return value if isinstance(value, str) else (str(value) if isinstance(value, int) else f"{value:.4g}")


def write_metric(metric: str, value: float) -> str:
    """Write a metric's value with its name."""
    number = f"{100 * value:.2f} %" if is_share(metric) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{name_metric(metric)} {number}"


def describe_row(table: SweepTable, row: SweepRow, *further: str) -> str:
    """Describe a trial, a line each: number and state, objectives, settings, and what else there is to say."""
    names = name_keys(table.varied)
    state = "" if row.state == "complete" else f", {row.state}"
    values = [write_metric(name, value) for name, value in row.values.items()]
    settings = [f"{names.get(key, key)} = {write_setting(value)}" for key, value in row.parameters.items()]
    reason = [row.reason] if row.reason else []
    return "\n".join([f"trial {row.number}{state}", *values, *settings, *further, *reason])
