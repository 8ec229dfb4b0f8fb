"""Names the data that a configuration reads, so that a search never takes changed data for the same."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from pydantic import TypeAdapter

from sentiment.config.schema import DataSettings


def identify_data(config: DictConfig) -> str:
    """Give the fingerprint of the data behind a composed configuration."""
    from sentiment.config.reading import read_settings

    task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    return _fingerprint(read_settings(task, Path(config.hydra.runtime.cwd)).data.model_dump_json())


@lru_cache(maxsize=64)
def _fingerprint(settings_json: str) -> str:
    """Fingerprint once a study and settings: data that changes under a running study is not supported anyway.

    The settings come as JSON because a list among them (``data.labels``) cannot be the key of a cache.
    """
    from sentiment.data.build import build_source

    adapter: TypeAdapter[DataSettings] = TypeAdapter(DataSettings)
    return build_source(adapter.validate_json(settings_json)).fingerprint()
