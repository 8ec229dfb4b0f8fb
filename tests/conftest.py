"""What every test shares."""

from __future__ import annotations

import gc
import io
import os
import pickle
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

# Before torch is imported: test processes run side by side, and two that spin on all cores slow each other down.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import omegaconf._utils
import omegaconf.base
import pytest
from hydra import compose
from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import IConfigRepository
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.defaults_list import DefaultsList, create_defaults_list
from hydra.core.config_store import ConfigStore
from hydra.core.default_element import ResultDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult, ConfigSource
from matplotlib.figure import Figure
from matplotlib.text import Text
from omegaconf import DictConfig

from sentiment.config import command_line
from sentiment.config.home import PROJECT_DIR, register_resolvers
from sentiment.flat import flatten
from sentiment.private import copy_config, copying_quickly
from sentiment.process import count_cores
from sentiment.search.application import FrozenRepository

register_resolvers()

# A shell's `&` has it ignored; processes that tests start are to end by Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no fault: no test has a time limit, neither for an example nor for drawing it.
hypothesis.settings.register_profile(
    "clockless", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("clockless")

gc.disable()  # while all that tests import is; see `pytest_collection_finish`

savefig = Figure.savefig
compose_config_from_defaults_list = ConfigLoaderImpl._compose_config_from_defaults_list


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Have one more than cores for the fast tests, many of which wait; slow ones keep all cores busy themselves."""
    return count_cores() + (config.option.markexpr == "not slow")


def pytest_collection_finish() -> None:
    """Look for garbage among what tests make, and seldom: a fifth of their time went into looking at all imports."""
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000, 10, 200)


@pytest.fixture(scope="session")
def project_dir() -> Path:
    return PROJECT_DIR


@pytest.fixture(scope="session", autouse=True)
def _parsed_once() -> Iterator[None]:
    """Each content of a YAML file, each override and each interpolation is parsed once in a test process."""
    parsed: dict[tuple[str, ...], ConfigResult] = {}
    parse = FileConfigSource.load_config

    def load_config(source: FileConfigSource, config_path: str) -> ConfigResult:
        file = Path(source.path, source._normalize_file_name(config_path))
        if not file.is_file():
            return parse(source, config_path)
        key = source.provider, source.path, config_path, file.read_text(encoding="utf-8")
        if key not in parsed:
            parsed[key] = parse(source, config_path)
        result = parsed[key]
        return replace(result, config=copy_config(result.config), header=dict(result.header))

    rules: dict[tuple[str, str], bytes] = {}
    parse_rule = OverridesParser.parse_rule

    def parse_once(parser: OverridesParser, text: str, rule_name: str) -> object:
        if (text, rule_name) not in rules:
            rules[text, rule_name] = pickle.dumps(parse_rule(parser, text, rule_name))
        return pickle.loads(rules[text, rule_name])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileConfigSource, "load_config", load_config)
        patch.setattr(OverridesParser, "parse_rule", parse_once)
        for module in (omegaconf.base, omegaconf._utils):
            patch.setattr(module, "parse", cache(module.parse))  # trees, which nobody changes
        yield


@pytest.fixture(scope="session", autouse=True)
def _chosen_once() -> Iterator[None]:
    """Hydra finds out once in a test process which files the same choices of the same options take.

    What overrides values takes no part in that: `Overrides` of Hydra sets it aside, as is done here.
    """
    found: dict[tuple[object, ...], bytes] = {}

    def sets_value(repo: IConfigRepository, override: Override) -> bool:
        key = override.key_or_group
        is_group = repo.group_exists(key)
        is_deleted = override.is_delete() and (is_group or repo.config_exists(key))
        return override.is_value_path or (not is_deleted and (isinstance(override.value(), dict) or not is_group))

    def find_once(
        repo: IConfigRepository,
        config_name: str | None,
        overrides_list: list[Override],
        prepend_hydra: bool,
        skip_missing: bool,
    ) -> DefaultsList:
        values, choices = [], []
        for override in overrides_list:
            if not override.is_sweep_override():
                (values if sets_value(repo, override) else choices).append(override)
        lines = (str(one.input_line) for one in choices)
        key = (config_name, prepend_hydra, skip_missing, *lines, *_sign_all(repo))
        if key not in found:
            found[key] = pickle.dumps(create_defaults_list(repo, config_name, choices, prepend_hydra, skip_missing))
        result: DefaultsList = pickle.loads(found[key])
        result.config_overrides = values
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config_loader_impl, "create_defaults_list", find_once)
        yield


FROZEN: dict[int, tuple[object, tuple[object, ...]]] = {}
"""Answers of frozen repositories by their ids, which no other ones are to get, and their signs."""

KEPT: dict[int, object] = {}
"""Structured configurations that `_sign` has told by their ids, which no other object is to get."""


def _sign_all(repo: IConfigRepository) -> tuple[object, ...]:
    """Return what changes where what a repository answers does: one that is frozen, from when it was first asked on."""
    signs = tuple(map(_sign, repo.get_sources()))
    frozen = getattr(repo, "delegate", None)
    if not isinstance(frozen, FrozenRepository):
        return signs
    return FROZEN.setdefault(id(frozen._answers), (frozen._answers, signs))[1]


def _sign(source: ConfigSource) -> tuple[object, ...]:
    """Return what changes where the files or the structured configurations of a source do."""
    if source.scheme() == "structured":
        nodes = flatten(ConfigStore.instance().repo)
        KEPT.update((id(node), node) for node in nodes.values())
        return tuple((name, id(node)) for name, node in nodes.items())
    files = sorted(Path(source.path).rglob("*.yaml")) if source.scheme() == "file" else []
    return source.provider, source.path, *((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)


@pytest.fixture(scope="session", autouse=True)
def _merged_once() -> Iterator[None]:
    """Hydra merges the same contents of the same files once in a test process: a quarter of a small study."""
    merged: dict[bytes, DictConfig] = {}

    def merge_once(loader: ConfigLoaderImpl, defaults: list[ResultDefault], repo: IConfigRepository) -> DictConfig:
        key = pickle.dumps((defaults, _sign_all(repo)))
        if key not in merged:
            merged[key] = compose_config_from_defaults_list(loader, defaults, repo)
        config: DictConfig = copy_config(merged[key])
        return config

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", merge_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def _copied_quickly() -> Iterator[None]:
    """Configurations are copied as in jobs of studies: `tests/test_private.py` holds that against OmegaConf's way."""
    with copying_quickly():
        yield


@pytest.fixture
def _composed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra composes each time from what its repository answers, for tests of that."""
    monkeypatch.setattr(config_loader_impl, "create_defaults_list", create_defaults_list)
    monkeypatch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", compose_config_from_defaults_list)


@pytest.fixture(scope="session", autouse=True)
def _no_wait_for_the_disk() -> Iterator[None]:
    """What a test process writes is not forced on to disk, milliseconds for every report: no test pulls the plug."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _own_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The leases of earlier test runs, which stay for a day, are not looked through by each process of this one."""
    folder = str(tmp_path_factory.mktemp("temporary"))  # which stays: multiprocessing removes what it has there at exit
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        patch.setenv("RAY_TMPDIR", "/tmp")  # the names of its sockets may not be longer than 107 characters
        yield


@pytest.fixture(scope="session", autouse=True)
def _drawn_roughly() -> Iterator[None]:
    """Pictures are drawn small and without a layout, and one of equal parts and texts, but for digits, once.

    See `_drawn_whole`.
    """
    drawn: dict[tuple[object, ...], bytes] = {}

    def save_roughly(figure: Figure, file: io.BytesIO, *, dpi: float, **options: object) -> None:
        assert max(figure.get_size_inches()) * dpi < 2**16, "matplotlib refuses larger pictures"
        parts = figure.findobj()
        texts = tuple(re.sub(r"\d", "0", part.get_text()) for part in parts if isinstance(part, Text))
        key = (dpi, *options.items(), *figure.get_size_inches(), *texts, *map(type, parts))
        if key not in drawn:
            figure.set_layout_engine("none")
            picture = io.BytesIO()
            savefig(figure, picture, dpi=dpi / 10, **options)
            drawn[key] = picture.getvalue()
        file.write(drawn[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save_roughly)
        yield


@pytest.fixture
def _drawn_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are drawn as they are for people, for tests that look at them."""
    monkeypatch.setattr(Figure, "savefig", savefig)


@pytest.fixture(scope="session", autouse=True)
def _schema_read_once() -> Iterator[None]:
    """MLflow loads all its migrations for each database that it opens, to learn which is the last."""
    with pytest.MonkeyPatch.context() as patch:
        if "mlflow" in sys.modules:
            from mlflow.store.db import utils

            patch.setattr(utils, "_get_latest_schema_revision", cache(utils._get_latest_schema_revision))
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
    composed: dict[tuple[object, ...], DictConfig] = {}

    def compose_once(name: str, overrides: list[str], *, return_hydra_config: bool) -> DictConfig:
        folders = (source.path for source in GlobalHydra.instance().config_loader().get_sources())
        key = (name, *folders, *overrides, return_hydra_config)
        if key not in composed:
            composed[key] = compose(name, overrides, return_hydra_config=return_hydra_config)
        config: DictConfig = copy_config(composed[key])
        return config

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command_line, "compose", compose_once)
        yield
