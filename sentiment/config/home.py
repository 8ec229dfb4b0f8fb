"""Where the project lives, and the interpolations that the YAML files use."""

from __future__ import annotations

import os
from pathlib import Path

from omegaconf import OmegaConf

from sentiment.config.objective import objective_direction

PROJECT_DIR = Path(__file__).resolve().parents[2]
"""The folder of `run.py`: `mlflow.db`, artifacts, caches and `multirun/` lie there, wherever a command starts."""


def register_resolvers() -> None:
    """Make the project's interpolations known to OmegaConf; safe to call again.

    ``${project_dir:}`` the project's folder; ``${process_id:}`` the process that started the command, the same for
    all its jobs (cached in the config, which travels to worker processes); ``${objective_direction:NAME}`` which way
    is better.
    """
    OmegaConf.register_resolver("project_dir", lambda: str(PROJECT_DIR), replace=True)
    OmegaConf.register_resolver("process_id", os.getpid, use_cache=True, replace=True)
    OmegaConf.register_resolver("objective_direction", objective_direction, replace=True)
