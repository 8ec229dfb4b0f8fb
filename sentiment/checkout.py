"""Which code runs: the commit of a checkout."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

COMMAND_TIMEOUT_SECONDS = 10.0

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
"""The environment as the process began, before a configuration could change it (``hydra.job.env_set``)."""

GIT = ("git", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}", "--no-optional-locks")
"""Git as it reads a checkout: what the checkout's own settings would run stays out."""


@dataclass(frozen=True)
class Commit:
    """A commit that is checked out."""

    hash: str  # in full
    # Whether its files differ, or there is code that it lacks; None where git does not tell. A new file of settings, as
    # commands write them, is no code.
    is_dirty: bool | None

    def __str__(self) -> str:
        return self.hash[:12] + (" with uncommitted changes" if self.is_dirty else "")


def read_commit(folder: Path) -> Commit | None:
    """Read the commit of the checkout that a folder belongs to; None where it is in none (an unpacked archive)."""
    commit = read_output([*GIT, "-C", str(folder), "rev-parse", "HEAD"])
    if commit is None:
        return None
    changes = read_output([*GIT, "-C", str(folder), "status", "--porcelain", "--untracked-files=no"])
    added = read_output([*GIT, "-C", str(folder), "ls-files", "--others", "--exclude-standard", "--", "*.py"])
    return Commit(commit, None if changes is None or added is None else bool(changes or added))


def read_output(command: list[str]) -> str | None:
    """Run a command; None where it is missing, fails or hangs (a locked network folder)."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_SECONDS, check=True, env=ENVIRONMENT
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
