"""One job as Hydra hands it over: its settings, and where it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from sentiment.config.reading import read_settings
from sentiment.config.schema import Settings


@dataclass(frozen=True)
class Job:
    """One run of a command.

    Attributes:
        settings: The checked settings.
        overrides: The job's overrides as typed, e.g. ``("model=rnn", "seed=1")``.
        output_dir: The job's own folder.
        sweep_dir: Folder of the multirun; None for a single run.
        number: The job's number within the multirun; None for a single run.
        resolved_yaml: The whole configuration with every interpolation resolved; empty where MLflow, which alone keeps
            it, is off.
    """

    settings: Settings
    overrides: tuple[str, ...]
    output_dir: Path
    sweep_dir: Path | None
    number: int | None
    resolved_yaml: str


def read_job(config: DictConfig) -> Job:
    """Check one job's configuration and collect its surroundings from Hydra.

    Raises:
        ConfigError: With every fault of the configuration.
    """
    hydra = HydraConfig.get()
    working_dir = Path(hydra.runtime.cwd)
    is_multirun = hydra.mode == RunMode.MULTIRUN
    settings = read_settings(config, working_dir)
    return Job(
        settings=settings,
        overrides=tuple(hydra.overrides.task),
        output_dir=Path(hydra.runtime.output_dir),
        sweep_dir=(working_dir / hydra.sweep.dir).resolve() if is_multirun else None,
        number=int(hydra.job.num) if is_multirun else None,
        resolved_yaml=OmegaConf.to_yaml(config, resolve=True) if settings.tracking.mlflow else "",
    )
