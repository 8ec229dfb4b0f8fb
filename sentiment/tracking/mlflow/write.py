"""Write params and tags of any number and length; MLflow caps both, so nothing may be cut on the way."""

from __future__ import annotations

import json
from collections.abc import Mapping

from sentiment.tracking.mlflow.client import (
    MAX_PARAM_VAL_LENGTH,
    MAX_PARAMS_TAGS_PER_BATCH,
    MAX_TAG_VAL_LENGTH,
    MlflowClient,
    Param,
    RunTag,
)


def write_params(client: MlflowClient, run_id: str, params: Mapping[str, str]) -> None:
    """Write params; values over MLflow's 6,000 characters go whole to ``config/long_params.json``."""
    artifact = "config/long_params.json"
    long = {name: value for name, value in params.items() if len(value) > MAX_PARAM_VAL_LENGTH}
    if long:
        client.log_text(run_id, json.dumps(long, indent=1, ensure_ascii=False), artifact)
    batch = [Param(name, _pointer(value, artifact) if name in long else value) for name, value in params.items()]
    for start in range(0, len(batch), MAX_PARAMS_TAGS_PER_BATCH):
        client.log_batch(run_id, params=batch[start : start + MAX_PARAMS_TAGS_PER_BATCH])


def write_tags(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    """Write tags; a value over MLflow's 8,000 characters goes whole to ``config/tag_NAME.txt``."""
    batch = []
    for name, value in tags.items():
        artifact = f"config/tag_{name}.txt"
        if len(value) > MAX_TAG_VAL_LENGTH:
            client.log_text(run_id, value, artifact)
            value = _pointer(value, artifact)
        batch.append(RunTag(name, value))
    for start in range(0, len(batch), MAX_PARAMS_TAGS_PER_BATCH):
        client.log_batch(run_id, tags=batch[start : start + MAX_PARAMS_TAGS_PER_BATCH])


def _pointer(value: str, artifact: str) -> str:
    return f"({len(value)} characters: see the artifact {artifact})"
