"""The command behind a plain multirun, from the file that Hydra's own sweeper leaves in its folder."""

from __future__ import annotations

import shlex
from pathlib import Path

from omegaconf import OmegaConf

MULTIRUN_FILE = "multirun.yaml"


def read_multirun_command(sweep_dir: Path) -> str | None:
    """Read the command that started a multirun; None where Hydra left no trace of it."""
    file = sweep_dir / MULTIRUN_FILE
    if not file.exists():
        return None
    overrides = OmegaConf.load(file).hydra.overrides
    hydra = [str(item) for item in overrides.hydra if not str(item).startswith("hydra.mode=")]
    return shlex.join(["python", "run.py", "-m", *map(str, overrides.task), *hydra])
