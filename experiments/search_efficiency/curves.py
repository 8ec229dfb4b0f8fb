"""Recorded learning curves as a table that a simulated training is looked up in.

python experiments/search_efficiency/curves.py multirun/transformer_synthetic   # writes curves/NAME.npz
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sentiment.search.study.history import read_study
from sentiment.tracking.environment import describe_hardware
from sentiment.tracking.result_file import RESULT_FILE, read_result

FOLDER = Path(__file__).parent / "curves"
CURVE_FILE = "curve.npz"

Point = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Curves:
    """N recorded trainings with V validations of R reviews each."""

    points: list[dict[str, Any]]  # N points: override keys to values
    hits: npt.NDArray[np.bool_]  # (N, V, R) whether a review was right, bool
    train_seconds: npt.NDArray[np.float32]  # (N, V) seconds of training up to each validation, of one thread
    validation_seconds: npt.NDArray[np.float32]  # (N, V) seconds that each validation took
    about: dict[str, str]  # command, commit and hardware

    @classmethod
    def load(cls, name: str) -> Curves:
        """Read a table of this folder."""
        with np.load(FOLDER / f"{name}.npz") as file:
            content = json.loads(str(file["content"]))
            hits = np.unpackbits(file["hits"], axis=-1)[..., : content["reviews"]].astype(bool)
            return cls(content["points"], hits, file["train_seconds"], file["validation_seconds"], content["about"])

    def save(self, name: str) -> Path:
        """Write the table to this folder."""
        FOLDER.mkdir(exist_ok=True)
        content = {"points": self.points, "about": self.about, "reviews": self.hits.shape[-1]}
        np.savez_compressed(
            FOLDER / f"{name}.npz",
            content=json.dumps(content),
            hits=np.packbits(self.hits, axis=-1),
            train_seconds=self.train_seconds,
            validation_seconds=self.validation_seconds,
        )
        return FOLDER / f"{name}.npz"

    @cached_property
    def accuracy(self) -> npt.NDArray[np.float64]:
        """(N, V) accuracy on all validation reviews."""
        return np.asarray(self.hits.mean(axis=-1))


class Landscape:
    """The recorded points in their search space: every point of it is taken for the nearest recorded one.

    The distance is Euclidean; every parameter spans 0 to 1 on its own scale, and two choices without an order are 1
    apart.
    """

    def __init__(self, curves: Curves, distributions: Mapping[str, BaseDistribution]) -> None:
        self._distributions = distributions
        self._rows = [self._locate(point) for point in curves.points]
        self._found: dict[Any, int] = {}

    def find(self, point: Point) -> int:
        """Return the index of the nearest recorded point."""
        key = tuple(sorted(point.items()))
        if key not in self._found:
            place = self._locate(point)
            distances = [sum(_differ(a, b) ** 2 for a, b in zip(place, row, strict=True)) for row in self._rows]
            self._found[key] = int(np.argmin(distances))
        return self._found[key]

    def _locate(self, point: Point) -> list[float | str]:
        return [_locate(one, point[name]) for name, one in self._distributions.items()]


def _locate(distribution: BaseDistribution, value: Any) -> float | str:
    """Return where a value lies between the ends of its distribution, 0 to 1; a choice without an order is itself."""
    if isinstance(distribution, CategoricalDistribution):
        choices = [_number(choice) for choice in distribution.choices]
        return str(value) if None in choices else choices.index(_number(value)) / max(1, len(choices) - 1)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    scale = np.log if distribution.log else float
    low, high = scale(distribution.low), scale(distribution.high)
    return float((scale(float(value)) - low) / (high - low))


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _differ(one: float | str, other: float | str) -> float:
    return float(one != other) if isinstance(one, str) or isinstance(other, str) else one - other


def collect(study_dir: Path, about: dict[str, str]) -> Curves:
    """Gather the curves of a study that `record.py` ran."""
    points, curves = [], []
    for trial in read_study(None, study_dir).trials:
        file = study_dir / str(trial.number) / CURVE_FILE
        if trial.state == "complete" and file.exists():
            points.append(dict(trial.parameters))
            with np.load(file) as content:
                curves.append(dict(content))
    reviews = int(curves[0]["reviews"])
    return Curves(
        points,
        np.stack([np.unpackbits(one["hits"], axis=-1)[:, :reviews].astype(bool) for one in curves]),
        np.stack([one["train_seconds"] for one in curves]),
        np.stack([one["validation_seconds"] for one in curves]),
        about,
    )


def list_commits(study_dir: Path) -> list[str]:
    """List the commits that a study's jobs ran at, the first one first."""
    files = sorted(study_dir.glob(f"*/{RESULT_FILE}"), key=lambda file: int(file.parent.name))
    return list(dict.fromkeys(read_result(file).tags["mlflow.source.git.commit"] for file in files))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("study_dir", type=Path)
    folder = parser.parse_args().study_dir
    command = (folder / "study.json").read_text(encoding="utf-8")
    about = {
        "command": json.loads(command).get("command", "").replace(f"{folder.resolve().parents[1]}/", ""),
        "commit": ", ".join(list_commits(folder)),
        "hardware": str(describe_hardware()),
    }
    table = collect(folder, about)
    print(f"{table.save(folder.name)}: {len(table.points)} curves of {table.accuracy.shape[1]} validations")
