"""Numbers, percentages, durations and settings as people read them: one form each, wherever they are shown.

Files for programs (CSV, JSON) hold numbers in full instead.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar
from urllib.parse import quote

Item = TypeVar("Item")

SHARES = ("accuracy", "f1", "auroc", "macro_f1", "balanced_accuracy", "ece")
"""Last parts of the names of metrics that are shares of one: they are read in percent."""

SPLITS = {"val": "validation", "test": "test"}
MEASURES = {
    "f1": "F1",
    "auroc": "AUROC",
    "ece": "expected calibration error",
    "macro_f1": "macro F1",
    "balanced_accuracy": "balanced accuracy",
    "mcc": "Matthews correlation",
    "brier": "Brier score",
}
COSTS = {
    "model/parameters": "trainable parameters",
    "time/fit_seconds": "training time in seconds",
    "time/latency_ms": "time for one review in milliseconds",
}
"""How people call the parts of metrics' names, where they call them otherwise."""

DRAWN = re.compile(r"-?\d+(\.\d{7,}(e-?\d+)?|(\.\d+)?e-0\d)")
"""A number as a search draws it, with more digits than anybody types, or as Python writes a small one: ``1e-05``."""

USER_PASSWORD = re.compile(r"(?P<before>(?:\w://|models:/)[^\s:/@'\"]*):(?P<password>[^\s'\"]*)@")
QUERY_PASSWORD = re.compile(
    r"(?P<before>[?&;][^=&\s'\"]*(?:passw|pwd|token|secret|credential|api_?key|access_?key)[^=&\s'\"]*)"
    r"=(?P<password>(?!\*\*\*)[^&\s'\"]+)",
    re.IGNORECASE,
)
"""Passwords in a URL, before its host and in its query."""

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(inf|nan)", re.IGNORECASE)

PASSWORD_VARIABLES = (
    "SENTIMENT_TRACKING_PASSWORD", "SENTIMENT_STORAGE_PASSWORD", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN",
    "PGPASSWORD",
)  # fmt: skip
"""Environment variables with passwords and tokens; see `sentiment.credentials`."""


def is_number(text: str) -> bool:
    """Tell whether Python reads a text as a number, whole or not."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_share(metric: str) -> bool:
    """Tell whether a metric is a share of one, e.g. ``val/accuracy``."""
    return metric.rpartition("/")[2] in SHARES


def find_bounds(metric: str) -> tuple[float, float]:
    """Return the least and the largest value that a metric can have: a share of one, an error or a cost below none."""
    last = metric.rpartition("/")[2]
    if last == "mcc":
        return -1.0, 1.0
    if is_share(metric):
        return 0.0, 1.0
    return (0.0 if last in ("loss", "brier") or metric in COSTS else -math.inf), math.inf


def format_metric(name: str, value: float) -> str:
    """Write a metric: a share of one in percent, another number as `format_number` does."""
    return format_percent(value) if is_share(name) else format_number(value)


def write_metrics(metrics: Mapping[str, float]) -> str:
    """Write metrics in a line of even columns: ``val/accuracy 90.00 %   val/loss 0.3``."""
    return "  ".join(f"{name} {format_metric(name, value):<8}" for name, value in metrics.items()).rstrip()


def format_count(count: int, noun: str) -> str:
    """Write how many there are of something: ``1 trial``, ``1,200 trials``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def join_names(names: Sequence[str], most: int = 8) -> str:
    """Write names in a line, the first few where they are many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def list_first(lines: Sequence[str], most: int = 5) -> str:
    """List lines below each other, as many as an error has room for, and count the others."""
    others = [f"  ... and {len(lines) - most:,} more"] if len(lines) > most else []
    return "\n".join([*(f"  {line}" for line in lines[:most]), *others])


def name_metric(metric: str) -> str:
    """Name a metric for people, a cost with its unit: ``val/f1`` is ``validation F1``, ``f1`` of any split ``F1``."""
    split, _, measure = metric.rpartition("/")
    if split in SPLITS:
        return f"{SPLITS[split]} {MEASURES.get(measure, measure)}"
    return COSTS.get(metric) or MEASURES.get(metric, metric)


def format_percent(share: float) -> str:
    """Write a share of one in percent: ``0.98721`` as ``98.72 %``; ``0.99996``, which is not all, as ``99.996 %``."""
    if not math.isfinite(share):
        return "undefined"
    is_whole = share in (0, 1)
    digits = next((digits for digits in range(2, 5) if is_whole or round(100 * share, digits) not in (0, 100)), 2)
    return f"{100 * share:.{digits}f} %"


def format_points(difference: float, *, is_signed: bool = False) -> str:
    """Write a difference of shares of one in points of a hundred, without the unit: ``-0.01234`` as ``-1.23``."""
    if not math.isfinite(difference):
        return "undefined"
    points = round(100 * difference, 2) + 0.0  # adding zero keeps -0.00 out
    return f"{points:+.2f}" if is_signed else f"{points:.2f}"


def format_difference(metric: str, value: float) -> str:
    """Write a difference of a metric without its unit: of a share of one in points, of another as `format_number`."""
    return format_points(value) if is_share(metric) else format_number(value)


def format_number(value: float) -> str:
    """Write a number to four digits, without an exponent where people would write none.

    ``100000`` is ``100,000``, ``0.00031`` is ``0.00031``, ``0.00003`` is ``3e-5``.
    """
    if not math.isfinite(value):
        return "undefined"
    if abs(value) >= 1000 or float(value).is_integer():
        return f"{value:,.0f}"
    return _write_digits(value)


def _write_digits(value: float) -> str:
    """Write a number to four digits: ``1e-5``, as Python writes ``1e-05``."""
    mantissa, _, exponent = f"{value:.4g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def format_setting(value: object) -> str:
    """Write a setting as one would type it, a drawn number to four digits: ``0.002258849849049621`` as ``0.002259``."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else _write_digits(value)
    text = str(value)
    return _write_digits(float(text)) if DRAWN.fullmatch(text) else text


def tell_apart(items: Sequence[Item], short: Callable[[Item], str], full: Callable[[Item], str]) -> list[str]:
    """Write items in short, and in full those that are then alike: two numbers may be equal to the digits shown."""
    names = [short(item) for item in items]
    return [full(item) if names.count(name) > 1 else name for item, name in zip(items, names, strict=True)]


def format_duration(seconds: float) -> str:
    """Write a duration to the precision that people read: ``8.2 s``, ``12 min 30 s``, ``1 h 12 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def format_bytes(count: int) -> str:
    """Write an amount of memory, rounded up: ``312 MiB``, ``12.5 GiB``."""
    mebibytes = math.ceil(count / 2**20)
    return f"{mebibytes:,} MiB" if mebibytes < 10 * 1024 else f"{mebibytes / 1024:,.1f} GiB"


def shorten_keys(keys: Iterable[str]) -> dict[str, str]:
    """Call each key by its last part where that is no other's: ``optimizer.lr`` is ``lr``."""
    keys = list(keys)
    last = [key.rpartition(".")[2] for key in keys]
    return {key: name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)}


def mask_passwords(text: str) -> str:
    """Take the passwords out of the URLs in a text, and those that this process knows out of all of it."""
    for variable in PASSWORD_VARIABLES:
        password = os.environ.get(variable, "")
        if len(password) >= 4:  # a shorter one would be found in any text
            for form in {password, quote(password, safe="")}:
                text = text.replace(form, "***")
    return QUERY_PASSWORD.sub(r"\g<before>=***", USER_PASSWORD.sub(r"\g<before>@", text))


def write_own_command() -> str:
    """Return the command line of this process, flags and all, without passwords."""
    return mask_passwords(shlex.join(["python", *sys.argv]))


def write_csv_cell(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula: a text that begins like one gets an apostrophe before it.

    Numbers stay as they are, as texts too: ``-0.5``.
    """
    if not isinstance(value, str) or not value.lstrip(" ").startswith(FORMULA_STARTS) or NUMBER.fullmatch(value):
        return value
    return f"'{value}"
