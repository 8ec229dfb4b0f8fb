"""What every test shares."""

from __future__ import annotations

import os
from pathlib import Path

# Before torch is imported: test processes run side by side, and two that spin on all cores slow each other down.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from sentiment.config.home import PROJECT_DIR, register_resolvers

register_resolvers()


@pytest.fixture(scope="session")
def project_dir() -> Path:
    return PROJECT_DIR
