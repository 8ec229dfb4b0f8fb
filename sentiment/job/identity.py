"""Identify the code and the data that a result depends on, and take over the record of an equal run."""

from __future__ import annotations

import inspect
from dataclasses import replace
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path

from omegaconf import DictConfig
from pydantic import TypeAdapter

from sentiment.composing import without_hydra
from sentiment.config.home import PROJECT_DIR
from sentiment.config.objective import METRICS
from sentiment.config.option import OPTIONS
from sentiment.config.schema import DataSettings
from sentiment.job.models import list_models, load_model
from sentiment.json_file import digest_json

CODE = ("data", "extensions", "models", "pretraining", "training")
"""Packages that a result depends on."""


def identify_code(config: DictConfig) -> str:
    """Return a digest of the code that a result depends on, whatever else a commit changes.

    That is what reads data, builds models and trains, extensions and their parts included, and the libraries that
    decide numbers.
    """
    return digest_code()


@cache
def digest_code() -> str:
    """Return the digest; computed once per process."""
    from sentiment.tracking.environment import LIBRARIES

    folders = [PROJECT_DIR / "sentiment" / name for name in CODE]
    files = {file for folder in folders for file in folder.rglob("*.py")}
    own = [metric.target for metric in METRICS.values() if callable(metric.target)]
    files |= {Path(inspect.getfile(target)) for target in own}
    files |= {Path(inspect.getfile(option.target)) for option in OPTIONS.values() if isinstance(option.target, type)}
    content = [[str(file.name), file.read_text(encoding="utf-8")] for file in sorted(files)]
    versions = {name: metadata.version(name) for name in LIBRARIES}
    return digest_json([content, versions])


def identify_data(config: DictConfig) -> str:
    """Return the fingerprint of the data behind a composed configuration: changed data is never taken for the same."""
    from sentiment.config.reading import read_settings

    settings = read_settings(without_hydra(config), Path(config.hydra.runtime.cwd))
    reads_unlabelled = settings.pretrain is not None or settings.trainer.teachers is not None
    fingerprint = _fingerprint(settings.data.model_dump_json(), reads_unlabelled)
    named = list_models(settings)
    if not named:
        return fingerprint
    from sentiment.training.start import hash_model

    return ":".join([fingerprint, *(hash_model(load_model(name, settings)) for _, name in named)])


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
    from sentiment.tracking.outbox import Outbox
    from sentiment.tracking.result_file import (
        ADOPTED_TAG,
        REPEAT_TAG,
        RESULT_FILE,
        TRIAL_TAG,
        read_result,
        write_result,
    )

    record = read_result(folder / RESULT_FILE)
    keys = [note["key"] for _, note in Outbox(folder).read() if note["kind"] == "start"]
    Outbox(folder).remove()  # what it records is delivered from the original
    kept = {name: text for name, text in record.tags.items() if name not in (TRIAL_TAG, REPEAT_TAG)}  # of its own study
    kept[ADOPTED_TAG] = (keys or [kept.get(ADOPTED_TAG, "true")])[-1]
    write_result(folder, replace(record, job_number=job_number, tags=kept))
