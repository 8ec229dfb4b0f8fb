"""Which metrics can select a checkpoint or steer a search, and which way is better."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

Direction = Literal["maximize", "minimize"]

Objective = Literal["val/accuracy", "val/f1", "val/auroc", "val/loss"]
"""What selects a checkpoint. The test split is no objective: everything is selected on validation."""

SearchObjective = Literal[Objective, "model/parameters", "time/fit_seconds", "time/latency_ms"]
"""What a search can steer by: validation, and what a model costs."""

DIRECTIONS: dict[SearchObjective, Direction] = {
    "val/accuracy": "maximize",
    "val/f1": "maximize",
    "val/auroc": "maximize",
    "val/loss": "minimize",
    "model/parameters": "minimize",
    "time/fit_seconds": "minimize",
    "time/latency_ms": "minimize",
}


def objective_direction(objective: str) -> str:
    """Give the direction for the interpolation ``${objective_direction:...}``.

    An unknown objective is no error here, but a fault of the key `objective` itself: the schema reports it,
    together with every other fault, where an exception inside an interpolation would hide them.
    """
    return next((direction for name, direction in DIRECTIONS.items() if name == objective), "maximize")


def objective_directions(objectives: object) -> list[str]:
    """Give the direction of each objective, for ``${objective_directions:...}``; what is no list has none."""
    return [objective_direction(str(objective)) for objective in objectives] if isinstance(objectives, Iterable) else []
