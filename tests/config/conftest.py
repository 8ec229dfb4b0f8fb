"""Compose configurations without running anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

Compose = Callable[..., DictConfig]


@pytest.fixture
def compose_config(project_dir: Path) -> Compose:
    def compose_overrides(*overrides: str) -> DictConfig:
        with initialize_config_dir(str(project_dir / "conf")):
            return compose("config", list(overrides))

    return compose_overrides
