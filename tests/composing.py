"""Configurations for tests: each set of files is composed once in a test process, which takes Hydra 0.2 s."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from sentiment.composing import MergingComposer
from sentiment.config.home import PROJECT_DIR


def compose_project(*overrides: str) -> DictConfig:
    """Compose the project's configuration; plain values are merged into what their groups compose to."""
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        loader = GlobalHydra.instance().config_loader()
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
    return _open_composer(PROJECT_DIR / "conf").compose(parsed)


@cache
def _open_composer(config_dir: Path) -> MergingComposer:
    groups = {path.relative_to(config_dir).as_posix() for path in config_dir.rglob("*") if path.is_dir()}
    return MergingComposer(partial(_compose, config_dir), groups.__contains__)


def _compose(config_dir: Path, overrides: Sequence[str]) -> DictConfig:
    with initialize_config_dir(str(config_dir)):
        return compose("config", list(overrides))
