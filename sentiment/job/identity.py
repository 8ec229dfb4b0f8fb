"""Identify the code, data and trained models that a result depends on, and take over the record of an equal run."""

from __future__ import annotations

import inspect
import logging
import sys
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig
from pydantic import TypeAdapter

from sentiment.composing import without_hydra
from sentiment.config.home import PROJECT_DIR
from sentiment.config.objective import METRICS
from sentiment.config.option import OPTIONS, find_option
from sentiment.config.schema import DataSettings, Settings
from sentiment.errors import ConfigError, Fault, ModelFileError, SentimentError
from sentiment.json_file import digest_json

if TYPE_CHECKING:
    from sentiment.tracking.model_source import ModelSource


log = logging.getLogger(__package__)

CODE = ("data", "extensions", "models", "pretraining", "training")
"""Packages that a result depends on."""

MODULES = tuple(f"sentiment.{name}." for name in CODE)
"""How the names of their modules begin."""

_NOBODY = uuid.uuid4().hex
"""Stands for code that no later process can have."""

_seen: defaultdict[frozenset[Path], set[str]] = defaultdict(set)
"""What the files were whenever this process had imported more of them, by those outside of the project's folders."""


def identify_code(config: DictConfig) -> str:
    """Return a digest of the code that a result depends on, whatever else a commit changes.

    That is what reads data, builds models and trains, extensions and their parts included, and the libraries that
    decide numbers.
    """
    return digest_code()


def digest_code() -> str:
    """Return the same of the code that this process has imported, whatever has become of its files since."""
    imported = {name for name in list(sys.modules) if name.startswith(MODULES)}
    own = {Path(inspect.getfile(metric.target)) for metric in METRICS.values() if callable(metric.target)}
    own |= {Path(inspect.getfile(option.target)) for option in OPTIONS.values() if isinstance(option.target, type)}
    return _digest_imported(frozenset(imported), frozenset(own))


@lru_cache(maxsize=1)
def _digest_imported(imported: frozenset[str], own: frozenset[Path]) -> str:
    """Look at the files again when more of them are imported.

    Code of two looks that differ, or of one that fails, is that of this process and of those forked from it: they find
    what they have cached, and nobody else takes it.
    """
    try:
        _seen[own].add(hash_code(own))
    except (OSError, UnicodeDecodeError) as error:  # a file is being written, or is gone
        _seen[own].add(_NOBODY)
        log.warning("The code cannot be read, so that no other study takes results of this process: %s", error)
    seen = sorted(_seen[own])
    return seen[0] if len(seen) == 1 else digest_json([_NOBODY, *seen])


def hash_code(own: Iterable[Path] = ()) -> str:
    """Return a digest of the files as they are, those outside of the project's folders with them."""
    from sentiment.tracking.environment import LIBRARIES

    folders = [PROJECT_DIR / "sentiment" / name for name in CODE]
    found = [(file, file.relative_to(folder).parts) for folder in folders for file in folder.rglob("*.py")]
    shown = {file for file, parts in found if not any(part.startswith(".") for part in parts)}  # else an editor's
    files = {*own, *shown}
    content = [[str(file.name), file.read_text(encoding="utf-8")] for file in sorted(files)]
    versions = {name: metadata.version(name) for name in LIBRARIES}
    return digest_json([content, versions])


def identify_data(config: DictConfig) -> str:
    """Return the fingerprint of the data behind a composed configuration: changed data is never taken for the same."""
    from sentiment.config.reading import read_settings

    settings = read_settings(without_hydra(config), Path(config.hydra.runtime.cwd))
    return identify_read(settings, [_hash_named(name, settings) for _, name in list_models(settings)])


def identify_read(settings: Settings, models: Sequence[str]) -> str:
    """Return the same of a run's settings, and the digests of the trained models that it starts from or asks."""
    reads_unlabelled = settings.pretrain is not None or settings.trainer.teachers is not None
    return ":".join([_fingerprint(settings.data.model_dump_json(), reads_unlabelled), *models])


def _hash_named(name: str, settings: Settings) -> str:
    from sentiment.training.start import hash_model

    return hash_model(find_model(name, settings).load())


@lru_cache(maxsize=64)
def _fingerprint(settings_json: str, reads_unlabelled: bool) -> str:
    """Fingerprint once per study and settings: data that changes under a running study is not supported anyway.

    Where words are learned before, or teachers answer them, reviews without labels count too. The settings come as
    JSON because a list among them (``data.labels``) cannot be the key of a cache.
    """
    from sentiment.data.build import build_source
    from sentiment.data.corpus import fingerprint_unlabelled

    adapter: TypeAdapter[DataSettings] = TypeAdapter(DataSettings)
    source = build_source(adapter.validate_json(settings_json))
    unlabelled = fingerprint_unlabelled(source) if reads_unlabelled else None
    return source.fingerprint() if unlabelled is None else f"{source.fingerprint()}:{unlabelled}"


def adopt(folder: Path, job_number: int) -> None:
    """Make the record of an equal run of another study, whose folder was taken over, that of a job here."""
    from sentiment.tracking.result_file import RESULT_FILE, adopt_record, leave_originals, read_result, write_result

    leave_originals(folder)
    write_result(folder, adopt_record(read_result(folder / RESULT_FILE), job_number))


def list_models(settings: Settings) -> list[tuple[str, str]]:
    """List the trained models that a run needs: the key of each, and its name."""
    trainer = settings.trainer
    names = [("trainer.init_from", trainer.init_from), *(("trainer.teachers", one) for one in trainer.teachers or ())]
    return [(key, name) for key, name in names if name is not None]


def find_missing(settings: Settings, devices: object) -> list[Fault]:
    """Return the faults of what a run needs and is not there: trained models, texts for teachers, a GPU.

    Args:
        settings: Those of the run.
        devices: The GPUs that it may have, as ``hydra.sweeper.devices`` says; None: it runs on another machine.
    """
    uri, is_try = settings.tracking.uri, settings.trainer.debug is not None
    faults = [_explain_missing(key, name, uri, is_try) for key, name in list_models(settings)]
    if settings.trainer.teachers is not None and not hasattr(find_option(settings.data).load(), "load_unlabelled"):
        problem = f"they answer reviews without labels, and data={settings.data.name} has none"
        remedy = "leave them out, or take data that has: data=imdb, or data=files data.unlabelled_path=FILE"
        faults.append(Fault("trainer.teachers", problem, remedy))
    if devices is not None and settings.trainer.accelerator == "gpu" and not find_option(settings.model).fitter:
        faults.append(_explain_no_gpu(tuple(devices) if isinstance(devices, list) else devices))
    return [fault for fault in faults if fault is not None]


@cache
def _explain_no_gpu(devices: object) -> Fault | None:
    """Return why a run has no GPU; None: it may have one. Torch, which starts CUDA, is asked where none is known."""
    from sentiment.search.workers.slots import list_devices
    from sentiment.training.device import DeviceError, require_gpu

    if devices in ("none", ()):
        remedy = "leave it out, or take trainer=cpu"
        return Fault("hydra.sweeper.devices", "none leaves trials without the GPU of trainer.accelerator=gpu", remedy)
    with suppress(ConfigError):  # nvidia-smi does not answer: a study says so
        if not list_devices("auto"):
            try:
                require_gpu()
            except DeviceError as error:
                return Fault.of("trainer.accelerator", error)
    return None


@cache
def _explain_missing(key: str, name: str, uri: str, is_try: bool) -> Fault | None:
    """Return why a key's model is not there; None: it is. A registered one is looked for later."""
    if name.startswith("models:/"):
        return None
    try:
        _find_source(name, uri, is_try)
    except SentimentError as error:
        return Fault.of(key, error)
    return None


def _find_source(name: str, uri: str, is_try: bool) -> ModelSource:
    """Find a trained model; one of a try (debug) is no result, but another try may learn from it."""
    from sentiment.tracking.model_source import find_model_source
    from sentiment.tracking.runs import MULTIRUN_DIR

    source = find_model_source(name, MULTIRUN_DIR, uri)
    if source.is_try and not is_try:
        raise ModelFileError(f"The model {name} is a try (debug), and no result.", "train it without debug")
    return source


def find_model(name: str, settings: Settings) -> ModelSource:
    """Find a trained model by the name of its run, bundle, checkpoint or registered version.

    Raises:
        ModelFileError: There is no such model, or it is a try and this run none.
        TrackingError: There is no such run or registered model.
    """
    return _find_source(name, settings.tracking.uri, settings.trainer.debug is not None)
