"""What every test shares."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentiment.config.home import PROJECT_DIR, register_resolvers

register_resolvers()


@pytest.fixture(scope="session")
def project_dir() -> Path:
    return PROJECT_DIR
