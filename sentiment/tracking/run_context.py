"""Where a run stands, apart from its settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunContext:
    """What the recorders know of a run besides its settings.

    Attributes:
        overrides: What the command line changed, e.g. ``("model=rnn", "optimizer.lr=3e-4")``.
        output_dir: The run's own folder.
        project_dir: The checkout.
        sweep_dir: Folder of the multirun that the run is a job of; None for a single run.
        job_number: Number of the job in the multirun.
        resolved_yaml: The whole resolved configuration.
    """

    overrides: tuple[str, ...]
    output_dir: Path
    project_dir: Path
    sweep_dir: Path | None
    job_number: int | None
    resolved_yaml: str
