"""Paths as people type them, and as records keep them."""

from __future__ import annotations

import os
import re
from pathlib import Path

OWN_FOLDER = "${project_dir:}"
"""How an application's own folder is written in YAML and in every record, so that it can be moved."""


def expand_home(text: str) -> Path:
    """Return a path with ``~`` as a shell writes it out; where there is no such person, as it stands."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - pathlib's raises where there is no such person


def write_portable(text: str, folder: Path) -> str:
    """Return text with an application's folder written as `OWN_FOLDER`."""
    return re.sub(rf"(?<![\w.-]){re.escape(str(folder))}(?![\w.-])", lambda _: OWN_FOLDER, text)
