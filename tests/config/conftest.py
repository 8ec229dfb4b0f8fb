"""Compose configurations without running anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from omegaconf import DictConfig

from tests.composing import compose_project

Compose = Callable[..., DictConfig]


@pytest.fixture(scope="session")
def compose_config() -> Compose:
    return compose_project
