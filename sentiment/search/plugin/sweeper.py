"""The sweeper as Hydra sees it, ``hydra/sweeper=study``, and the points at which a command line is checked before.

Hydra imports this module in every command, so nothing heavy is imported before a study starts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import CompactHydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, read_write

from sentiment.composing import find_fixed_followers, read_words, write_override
from sentiment.credentials import hide_passwords
from sentiment.errors import ConfigError, SentimentError, require_posix
from sentiment.search.application import Application

log = logging.getLogger(__name__)

STUDY_SWEEPER = f"{__name__}.StudySweeper"
"""What ``hydra.sweeper._target_`` is where a study runs."""


STORAGE_KEY = "hydra.sweeper.storage"


class StudyEndedError(CompactHydraException):
    """A study could not start or had to end; Hydra prints the message alone, unless HYDRA_FULL_ERROR=1."""


class StudySweeper(Sweeper):
    """Searches with Optuna: prunes, keeps every worker busy, survives and resumes.

    The keys are documented in `sentiment.search.options.StudyOptions` and docs/configuration/search.md.
    """

    _context: HydraContext  # as what follows, from `setup`, which Hydra calls first
    _task: TaskFunction
    _config: DictConfig

    def __init__(self, **options: Any) -> None:
        self._options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra knows.

        Raises:
            StudyEndedError: This is Windows, or the storage cannot say where the study of that name lies.
        """
        self._context, self._task, self._config = hydra_context, task_function, config
        try:
            require_posix()
            _hide_password(config, self._options)
            if self._options.get("study_name"):
                from sentiment.search.study.address_file import find_dated_study

                folder = find_dated_study(config, self._options["study_name"], self._options.get("storage"))
                if folder is not None:
                    _go_on_in(config, folder)
        except SentimentError as error:
            raise StudyEndedError(f"\n{error}") from error

    def sweep(self, arguments: list[str]) -> None:
        """Run the study that the options describe.

        Args:
            arguments: The command line's overrides.

        Raises:
            StudyEndedError: Its cause is a ConfigError where options, space or a corner of it are faulty and nothing
                was started; a StudyFailedError where too many trials failed or none finished; a StudyChangedError
                where the stored study of that name is another one; a StorageError where the storage cannot be used.
        """
        from sentiment.search.engine import run_study
        from sentiment.search.options import read_options

        try:
            typed = OverridesParser.create().parse_overrides(arguments)
            if faults := find_fixed_followers(self._options.get("params"), self._options.get("branches"), typed):
                raise ConfigError(faults)
            options = read_options({key: _plain(value) for key, value in self._options.items()})
            run_study(options, arguments, self._task, self._context, self._config)
        except SentimentError as error:
            raise StudyEndedError(f"\n{error}") from error


def _hide_password(config: DictConfig, options: dict[str, Any]) -> None:
    """Move the storage's password into the environment, before anything is written from the configuration."""
    if not isinstance(options.get("storage"), str):
        return
    lines = read_words(config.hydra.overrides.hydra)
    with read_write(config.hydra):
        hidden, *config.hydra.overrides.hydra = hide_passwords([f"{STORAGE_KEY}={options['storage']}", *lines])
        options["storage"] = config.hydra.sweeper.storage = hidden.partition("=")[2]


def _go_on_in(config: DictConfig, folder: Path) -> None:
    """Make a folder that of the sweep and of its jobs, in place of a new one with today's date."""
    log.info("hydra.sweep.dir has the date in it; the study of this name goes on where it is.")
    with read_write(config.hydra):
        config.hydra.sweep.dir = str(folder)
        config.hydra.overrides.hydra.append(write_override("hydra.sweep.dir", str(folder)))


def _plain(value: Any) -> Any:
    """Resolve a config node to plain lists and dictionaries."""
    if OmegaConf.is_config(value):
        return OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
    return value


def list_search_points(
    config: DictConfig,
    lines: Sequence[str],
    choices: Mapping[str, str],
    loader: ConfigLoader,
    *,
    application: Application | None = None,
) -> list[tuple[str, ...]]:
    """List the overrides of every corner of a command's search space, of a grid those of every point.

    Args:
        config: The configuration that the command's fixed overrides compose, with Hydra's node.
        lines: The command line's task overrides.
        choices: Option of every config group.
        loader: Reads the options of groups.
        application: Whose check it is: the engine does not check the same points again.

    Raises:
        ConfigError: With every fault of the space and its constraints.
    """
    from sentiment.search.composer import Composer
    from sentiment.search.options import read_options, require_parts
    from sentiment.search.search import build_pruner
    from sentiment.search.space.constraints import make_validity
    from sentiment.search.space.corners import list_checked
    from sentiment.search.space.reading import read_space  # Optuna takes its time, which other commands save
    from sentiment.search.storage.address import read_address

    sweeper = config.hydra.sweeper
    options = read_options({str(key): _plain(sweeper[key]) for key in sweeper if key != "_target_"})
    read_address(options.storage, Path())
    require_parts(options)
    build_pruner(options.pruner)
    compose = Composer(loader, config, ()).compose
    space = read_space(lines, options.params or {}, options.branches or {}, loader, chosen=choices, compose=compose)
    is_valid = make_validity(options.constraints, space, config, compose)
    is_grid = str(options.sampler.get("_target_")).endswith(".GridSampler")
    points = [space.to_overrides(point) for point in list_checked(space, is_valid=is_valid, is_grid=is_grid)]
    if application is not None:
        application.checked.update(points)
    return points
