"""Which metrics can select a checkpoint or steer a search, and which way is better."""

from __future__ import annotations

from typing import Literal

Direction = Literal["maximize", "minimize"]

Objective = Literal["val/accuracy", "val/f1", "val/auroc", "val/loss"]
"""The test split is no objective: everything is selected on validation."""

DIRECTIONS: dict[Objective, Direction] = {
    "val/accuracy": "maximize",
    "val/f1": "maximize",
    "val/auroc": "maximize",
    "val/loss": "minimize",
}


def objective_direction(objective: str) -> str:
    """Give the direction for the interpolation ``${objective_direction:...}``.

    An unknown objective is no error here, but a fault of the key `objective` itself: the schema reports it,
    together with every other fault, where an exception inside an interpolation would hide them.
    """
    return next((direction for name, direction in DIRECTIONS.items() if name == objective), "maximize")
