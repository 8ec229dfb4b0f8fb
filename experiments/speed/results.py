"""What the benchmarks share: ratios with their intervals, and results that say what they were measured with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from sentiment.checkout import read_commit
from sentiment.config.home import PROJECT_DIR
from sentiment.tracking.environment import describe_hardware

RESULTS = Path(__file__).parent / "results"


def describe(logs: npt.NDArray[np.float64]) -> str:
    """Return the geometric mean of ratios, given as logarithms, with its 95 % t interval."""
    mean = logs.mean()
    if len(logs) < 2 or not logs.any():
        return f"{np.exp(mean):.2f}"
    half = stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / len(logs) ** 0.5
    return f"{np.exp(mean):.2f} [{np.exp(mean - half):.2f}, {np.exp(mean + half):.2f}]"


def keep(file: Path, figures: dict[str, Any]) -> None:
    """Write figures with the commit and the hardware that they are of."""
    commit = read_commit(PROJECT_DIR)
    file.parent.mkdir(parents=True, exist_ok=True)
    origin = {"commit": commit and commit.hash, "hardware": describe_hardware()}
    file.write_text(json.dumps({**origin, **figures}, indent=1) + "\n", encoding="utf-8")
