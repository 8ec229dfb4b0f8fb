"""``optimization_results.yaml``: the file of the stock plugin, written after every trial."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from optuna.trial import FrozenTrial

RESULTS_FILE = "optimization_results.yaml"


def write_results(study_dir: Path, best: Sequence[FrozenTrial], objectives: int) -> None:
    """Write the best trial, or the Pareto front, in the stock plugin's form; atomically.

    Nothing is written while no trial is complete.
    """
    if not best:
        return
    content: dict[str, Any] = {"name": "optuna"}
    if objectives == 1:
        content |= {"best_params": dict(best[0].params), "best_value": best[0].value}
    else:
        content["solutions"] = [{"params": dict(trial.params), "values": list(trial.values)} for trial in best]
    file = study_dir / RESULTS_FILE
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    OmegaConf.save(OmegaConf.create(content), temporary)
    temporary.replace(file)
