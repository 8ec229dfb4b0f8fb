"""What every test shares."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

# Before torch is imported: test processes run side by side, and two that spin on all cores slow each other down.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hydra import compose
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.default_element import ResultDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig

from sentiment.config import command_line
from sentiment.config.home import PROJECT_DIR, register_resolvers

register_resolvers()


@pytest.fixture(scope="session")
def project_dir() -> Path:
    return PROJECT_DIR


@pytest.fixture(scope="session", autouse=True)
def _parsed_once() -> Iterator[None]:
    """Hydra parses each content of a YAML file once in a test process: a third of the time that composing takes."""
    parsed: dict[tuple[str, ...], bytes] = {}
    parse = FileConfigSource.load_config

    def load_config(source: FileConfigSource, config_path: str) -> ConfigResult:
        file = Path(source.path, source._normalize_file_name(config_path))
        if not file.is_file():
            return parse(source, config_path)
        key = source.provider, source.path, config_path, file.read_text(encoding="utf-8")
        if key not in parsed:
            parsed[key] = pickle.dumps(parse(source, config_path))
        result: ConfigResult = pickle.loads(parsed[key])
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileConfigSource, "load_config", load_config)
        yield


@pytest.fixture(scope="session", autouse=True)
def _merged_once() -> Iterator[None]:
    """Hydra merges the same contents of the same files once in a test process: a quarter of a small study."""
    merged: dict[bytes, bytes] = {}
    merge = ConfigLoaderImpl._compose_config_from_defaults_list

    def merge_once(loader: ConfigLoaderImpl, defaults: list[ResultDefault], repo: IConfigRepository) -> DictConfig:
        parts = [(default, repo.load_config(str(default.config_path))) for default in defaults]
        key = pickle.dumps(parts)
        if key not in merged:
            merged[key] = pickle.dumps(merge(loader, defaults, repo))
        config: DictConfig = pickle.loads(merged[key])
        return config

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", merge_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_wait_for_the_disk() -> Iterator[None]:
    """What a test process writes is not forced on to disk, milliseconds for every report: no test pulls the plug."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database to copy: creating one takes seconds."""
    from sentiment.tracking.mlflow.store import open_store

    file = tmp_path_factory.mktemp("template") / "mlflow.db"
    open_store(f"sqlite:///{file}", "another", str(file.parent))
    return file


@pytest.fixture(scope="module")
def composed_once() -> Iterator[None]:
    """The check of a command line composes equal choices once for all tests of a module."""
    composed: dict[tuple[object, ...], bytes] = {}

    def compose_once(name: str, overrides: list[str], *, return_hydra_config: bool) -> DictConfig:
        folders = (source.path for source in GlobalHydra.instance().config_loader().get_sources())
        key = (name, *folders, *overrides, return_hydra_config)
        if key not in composed:
            composed[key] = pickle.dumps(compose(name, overrides, return_hydra_config=return_hydra_config))
        config: DictConfig = pickle.loads(composed[key])
        return config

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command_line, "compose", compose_once)
        yield
