"""Where runs are found that the command line does not place: the multirun folder and the MLflow store."""

from __future__ import annotations

import os

from sentiment.config.home import PROJECT_DIR

MULTIRUN_DIR = PROJECT_DIR / "multirun"
"""Folder that runs and sweeps write their own folders into."""

TRACKING_URI = f"sqlite:///{PROJECT_DIR}/mlflow.db"
"""MLflow store of ``conf/tracking/mlflow.yaml``."""


def choose_tracking_uri(option: str | None) -> str:
    """Choose the MLflow store: the option, else ``MLFLOW_TRACKING_URI`` as in MLflow's own commands, else our own."""
    return option or os.environ.get("MLFLOW_TRACKING_URI") or TRACKING_URI
