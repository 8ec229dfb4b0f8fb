"""Which metrics can select a checkpoint or steer a search, and which way each metric is better."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sentiment import format
from sentiment.config.option import add_later_files
from sentiment.errors import SentimentError

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Metric:
    """A measure of a split, from its labels and the probabilities that a model gave."""

    name: str  # last part of its name: ``mcc`` of ``val/mcc``
    direction: Direction  # which way it is better
    # Function of labels (N,) and probabilities (N, K), or a torchmetrics class that takes ``num_classes``; of a
    # built-in one the import path, ``MODULE:FUNCTION``; None: training measures it by itself.
    target: Callable[..., Any] | str | None = None

    @property
    def is_leading(self) -> bool:
        """Whether it is shown wherever there is little room: the usual ones, and one's own."""
        return not isinstance(self.target, str)


def _built_in(name: str, direction: Direction) -> Metric:
    return Metric(name, direction, f"sentiment.training.measures:measure_{name}")


METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "maximize"), Metric("f1", "maximize"), Metric("auroc", "maximize"),
        Metric("loss", "minimize"), _built_in("macro_f1", "maximize"), _built_in("balanced_accuracy", "maximize"),
        _built_in("mcc", "maximize"), _built_in("brier", "minimize"),
    )
}  # fmt: skip
"""What every split is measured by; those of sentiment/extensions/ join them (`sentiment.config.extension`)."""

COSTS = tuple(format.COSTS)
"""What a model costs, and a better value may: less is better."""


def list_measured() -> tuple[str, ...]:
    """Return what a search can steer by: validation, and what a model costs. The test split is no objective."""
    return (*(f"val/{name}" for name in METRICS), *COSTS)


SELECTING = "val/"
"""How an objective begins that can select a checkpoint."""

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
    """Return which way a metric is better.

    Raises:
        SentimentError: It is no metric of this project; one of one's own is gone, and with it its direction.
    """
    name = metric.rpartition("/")[2]
    if name == "ece" or metric.startswith(("time/", "model/")):
        return "minimize"
    if name in METRICS:
        return METRICS[name].direction
    raise SentimentError(
        f"{metric} is no metric of this project, so that nobody knows which way it is better.",
        add_later_files("if it was one of sentiment/extensions/, put its file back; else correct its name"),
    )


def is_leading(metric: str) -> bool:
    """Return whether a metric is shown wherever there is little room."""
    name = metric.rpartition("/")[2]
    return name not in METRICS or METRICS[name].is_leading


def find_directions(objective: object) -> list[Direction]:
    """Return which way each objective is better, in order; an unknown one is up to the schema, which refuses it."""
    known = list_measured()
    return [find_direction(name) if name in known else "maximize" for name in list_objectives(objective)]


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
