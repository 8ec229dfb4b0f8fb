"""Which metrics can select a checkpoint or steer a search, and which way each metric is better."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal

Direction = Literal["maximize", "minimize"]

Objective = Literal[
    "val/accuracy", "val/f1", "val/auroc", "val/loss", "model/parameters", "time/fit_seconds", "time/latency_ms"
]
"""What a search can steer by: validation, and what a model costs. The test split is no objective."""

SELECTING = "val/"
"""How an objective begins that can select a checkpoint."""

LOWER_IS_BETTER = ("loss", "ece")
"""Measures of a split of which less is better; of costs less always is."""

RETIRED = {
    "objectives": "write objective=[...]",
    "direction": "leave it out: it follows from objective",
    "directions": "leave it out: it follows from objective",
}
"""Keys of earlier versions, and what to write instead; recorded settings may still hold them."""


def list_objectives(objective: object) -> tuple[str, ...]:
    """Return the names behind ``objective``: one name, several, or several as a recorded setting holds them (JSON).

    Names are not checked here: the schema reports an unknown one together with every other fault.
    """
    if isinstance(objective, str):
        return tuple(map(str, json.loads(objective))) if objective.startswith("[") else (objective,)
    return tuple(map(str, objective)) if hasattr(objective, "__iter__") else ()


def select_objective(objective: object) -> str:
    """Return the objective that selects the checkpoint: the first one that is measured on validation.

    Raises:
        StopIteration: There is none; the schema refuses such settings.
    """
    return next(name for name in list_objectives(objective) if name.startswith(SELECTING))


def find_direction(metric: str) -> Direction:
    """Return which way a metric is better: losses, calibration errors and costs down, all else up."""
    is_lower_better = metric.rpartition("/")[2] in LOWER_IS_BETTER or metric.startswith(("time/", "model/"))
    return "minimize" if is_lower_better else "maximize"


def find_directions(objective: object) -> list[Direction]:
    """Return which way each objective is better, in order."""
    return [find_direction(name) for name in list_objectives(objective)]


def read_objectives(params: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[Direction, ...]]:
    """Return names and directions of the objectives that a run's recorded settings name, of this version or earlier."""
    names = list_objectives(params.get("objectives") or params.get("objective", "val/accuracy"))
    return names, tuple(map(find_direction, names))


def translate_retired(params: Mapping[str, str]) -> dict[str, str]:
    """Return recorded settings with the keys of this version: what selected the checkpoint still comes first."""
    translated = {key: value for key, value in params.items() if key not in RETIRED}
    if "objectives" in params and "objective" in params:
        selecting, names = params["objective"], list(list_objectives(params["objectives"]))
        if next((name for name in names if name.startswith(SELECTING)), None) != selecting:
            names = [selecting, *(name for name in names if name != selecting)]
        translated["objective"] = selecting if names == [selecting] else json.dumps(names, separators=(",", ":"))
    return translated
