"""Where the project lives, and the interpolations that the YAML files use."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sentiment import paths
from sentiment.config.objective import find_directions, list_objectives
from sentiment.credentials import read_tracking_uri

PROJECT_DIR = Path(__file__).resolve().parents[2]
"""The folder of `run.py`: `mlflow.db`, artifacts, caches and `multirun/` lie there, wherever a command starts."""


def write_portable(text: str) -> str:
    """Return text with the project's folder as the YAML files write it."""
    return paths.write_portable(text, PROJECT_DIR)


def read_portable(text: str) -> str:
    """Return text with the project's folder as it is now: the inverse of `write_portable`."""
    return text.replace(paths.OWN_FOLDER, str(PROJECT_DIR))


def register_resolvers() -> None:
    """Make the project's interpolations known to OmegaConf; safe to call again.

    ``${project_dir:}`` the project's folder; ``${tracking_uri:}`` the MLflow store that neither the command nor a file
    names (cached in the config: jobs on other machines may have another environment); ``${process_id:}`` the process
    that started the command, the same for all its jobs (cached in the config, which travels to worker processes);
    ``${objectives:${objective}}`` the list of the objectives and ``${directions:${objective}}`` which way each is
    better; ``${study_name:SEARCH,OVERRIDES}`` the name of the study that a command stands for (cached likewise: the
    jobs of a study have overrides of their own); ``${study_devices:ACCELERATOR}`` which devices a study shares out
    among trials that train on it: none where it is the CPU; ``${third:EPOCHS,VALIDATIONS_PER_EPOCH}`` a third of a
    training, in validations.
    """
    OmegaConf.register_resolver("project_dir", lambda: str(PROJECT_DIR), replace=True)
    OmegaConf.register_resolver("tracking_uri", find_tracking_uri, use_cache=True, replace=True)
    OmegaConf.register_resolver("process_id", os.getpid, use_cache=True, replace=True)
    OmegaConf.register_resolver("objectives", lambda objective: list(list_objectives(objective)), replace=True)
    OmegaConf.register_resolver("directions", find_directions, replace=True)
    OmegaConf.register_resolver("study_devices", lambda kind: "unused" if kind == "cpu" else "auto", replace=True)
    OmegaConf.register_resolver("third", find_third, replace=True)
    OmegaConf.register_resolver("study_name", name_study, use_cache=True, replace=True)


def find_tracking_uri() -> str:
    """Return the MLflow store of ``MLFLOW_TRACKING_URI``, else the project's own: of every run and every command.

    Raises:
        ConfigError: The variable holds no URL, or several passwords.
    """
    return read_tracking_uri() or f"sqlite:///{PROJECT_DIR}/mlflow.db"


def find_third(max_epochs: Any, validations_per_epoch: Any) -> int:
    """Return how many validations are a third of a training, one at least; of what is no number the schema tells."""
    if not all(isinstance(number, int) for number in (max_epochs, validations_per_epoch)):
        return 1
    third: int = round(max_epochs * validations_per_epoch / 3)
    return max(1, third)


def name_study(search: str, overrides: ListConfig) -> str:
    """Name the study of a command: the same command, the same study.

    Args:
        search: Option of the group ``search``.
        overrides: The command's overrides, Hydra's own (``hydra.sweeper.n_jobs=4``) not among them.

    Returns:
        The search, and a few letters that stand for the other overrides, if there are any.
    """
    from sentiment.composing import read_words  # Hydra, which commands without a configuration do not need

    words = read_words(overrides)
    for number in range(len(words)):
        with suppress(OmegaConfBaseException):  # where a ${...} has a value, earlier versions named the study by that
            words[number] = overrides[number]
    others = sorted(word for word in words if word != f"search={search}")
    if not others:
        return search
    return f"{search}-{hashlib.sha256(' '.join(others).encode()).hexdigest()[:6]}"
