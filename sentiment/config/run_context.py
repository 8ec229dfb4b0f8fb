"""One run as Hydra hands it over: its settings, where it runs, and the command behind it."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from sentiment.atomic import write_text
from sentiment.composing import read_words
from sentiment.config.home import PROJECT_DIR, write_portable
from sentiment.config.option import choice_of
from sentiment.config.reading import read_settings
from sentiment.config.schema import Settings
from sentiment.errors import SentimentError
from sentiment.format import write_own_command

MULTIRUN_FILE = "multirun.yaml"
"""What Hydra's own sweeper leaves in the folder of a multirun."""

COMMAND_FILE = "command.txt"
"""What a plain multirun leaves there: its command, flags and all; a study has it in ``study.json``."""

FOLDER_FLAG = r"--config-[dp][a-z]*|-c[dp]"
CONFIG_FLAG = rf"{FOLDER_FLAG}|--config-n[a-z]*|-cn|\+*hydra\.searchpath"
"""What says in a command where its configuration lies, as regular expressions; the first one is of folders alone.
Without them the rest of the command composes to something else."""

CALLER = "SENTIMENT_CALLER"
"""Variable by which `sentiment.api` asks its command for the folder: what it is to be of, and the file to write it in.

The command alone knows the folder: flags, config files and the time of day decide on it."""

Kind = Literal["run", "sweep"]


@dataclass(frozen=True)
class RunContext:
    """What a run is made with and where it stands: all that training and the recorders know of it."""

    settings: Settings  # the checked settings
    # What the command line changed, e.g. ``("model=rnn", "optimizer.lr=3e-4")``.
    overrides: tuple[str, ...]
    output_dir: Path  # the run's own folder
    project_dir: Path  # the checkout
    sweep_dir: Path | None  # folder of the sweep that the run is a job of; None for a single run
    job_number: int | None  # number of the job in the sweep; None for a single run
    # The whole configuration with every interpolation resolved but that of the project's folder; empty where no
    # tracker, which alone keeps it, is on.
    resolved_yaml: str


def read_run_context(config: DictConfig) -> RunContext:
    """Check one job's configuration and collect its surroundings from Hydra.

    Raises:
        ConfigError: With every fault of the configuration.
    """
    hydra = HydraConfig.get()
    working_dir = Path(hydra.runtime.cwd)
    is_multirun = hydra.mode == RunMode.MULTIRUN
    settings = read_settings(config, working_dir)
    tracking = settings.tracking
    is_tracked = tracking.mlflow or tracking.tensorboard or choice_of(type(tracking)) is not None
    return RunContext(
        settings=settings,
        overrides=tuple(read_words(hydra.overrides.task)),
        output_dir=Path(hydra.runtime.output_dir),
        project_dir=PROJECT_DIR,
        sweep_dir=(working_dir / hydra.sweep.dir).resolve() if is_multirun else None,
        job_number=int(hydra.job.num) if is_multirun else None,
        resolved_yaml=write_portable(OmegaConf.to_yaml(config, resolve=True)) if is_tracked else "",
    )


def take_answer_file(kind: Kind) -> Path | None:
    """Return the file that takes the folder of this run or sweep, once; None where nobody has asked.

    Raises:
        SentimentError: The other kind was asked for.
    """
    wanted, _, file = os.environ.pop(CALLER, "").partition(":")  # not for commands that this one starts
    if wanted and wanted != kind:
        raise SentimentError(
            f"api.{'run' if wanted == 'run' else 'search'} is for a {wanted}, and these overrides make a {kind}; "
            "nothing was started.",
            "api.run for a single run, without -m and hydra.mode; api.search(NAME, OVERRIDES) for a sweep, "
            'e.g. api.search("grid", ["seed=0,1"])',
        )
    return Path(file) if wanted else None


def read_fixed(sweep_dir: Path) -> frozenset[str]:
    """Read the overrides that all jobs of a multirun share; empty where Hydra left no trace of them."""
    file = sweep_dir / MULTIRUN_FILE
    return frozenset(read_words(OmegaConf.load(file).hydra.overrides.task)) if file.exists() else frozenset()


def write_multirun_command(sweep_dir: Path) -> None:
    """Leave the command of this process in the folder of its multirun."""
    sweep_dir.mkdir(parents=True, exist_ok=True)
    write_text(sweep_dir / COMMAND_FILE, f"{write_own_command()}\n")


def list_config_flags(command: str) -> list[str]:
    """Return the words of a command that say where its configuration lies, flags with their values."""
    try:
        words = shlex.split(command)
    except ValueError:  # MLflow cut a long one
        return []
    found: list[str] = []
    for word, following in pairwise([*words, ""]):
        if re.fullmatch(CONFIG_FLAG, word.partition("=")[0]):
            found += [word] if "=" in word else [word, following]
    return found


def read_multirun_command(sweep_dir: Path) -> str | None:
    """Read the command that started a multirun; of one of an earlier version what Hydra kept, without the flags.

    None where nothing is left of it.
    """
    if (sweep_dir / COMMAND_FILE).exists():
        return (sweep_dir / COMMAND_FILE).read_text(encoding="utf-8").rstrip("\n")
    file = sweep_dir / MULTIRUN_FILE
    if not file.exists():
        return None
    overrides = OmegaConf.load(file).hydra.overrides
    hydra = [item for item in read_words(overrides.hydra) if not item.startswith("hydra.mode=")]
    return shlex.join(["python", "run.py", "-m", *read_words(overrides.task), *hydra])
