"""Write params, tags and files of a run to MLflow, of any number and length, without cutting any."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Param, Run, RunTag
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH, MAX_PARAMS_TAGS_PER_BATCH, MAX_TAG_VAL_LENGTH

from sentiment.tracking.ending import TRIAL_STATES, Ending
from sentiment.tracking.mlflow.store import get_run, open_client, recording

KEY_TAG = "delivery.key"
"""A run's own name for itself: by it a run is found again whose creation was not noted."""

END_TAGS = {"failure.kind", "failure.reason", "pruned.reason", "trial.state"}
"""Tags that say how a run ended; an attempt that goes on takes them back."""

LONG_PARAMS_FILE = "config/long_params.json"

POINTER = re.compile(r"\(\d+ characters: see the artifact (?P<artifact>\S+)\)")
"""What stands in MLflow for a value that is too long for it."""

NEXT_OVERRIDE = re.compile(r"\s(?=[+~]{0,2}[A-Za-z_][\w./@:-]*=|~[A-Za-z_][\w./@:-]*(?:\s|$))")
"""The blank between two overrides; a value may hold blanks itself."""

QUOTED = re.compile(r"(?<!\\)(?P<quote>['\"])(?:\\.|(?!(?P=quote))[^\\])*(?P=quote)", re.DOTALL)
"""A quoted value of an override: no override begins in it."""


def write_params(client: MlflowClient, run_id: str, params: Mapping[str, str]) -> None:
    """Write params; values over MLflow's 6,000 characters go whole to ``config/long_params.json``."""
    long = {name: value for name, value in params.items() if len(value) > MAX_PARAM_VAL_LENGTH}
    if long:
        client.log_text(run_id, json.dumps(long, indent=1, ensure_ascii=False), LONG_PARAMS_FILE)
    batch = [Param(name, _point(value, LONG_PARAMS_FILE) if name in long else value) for name, value in params.items()]
    for start in range(0, len(batch), MAX_PARAMS_TAGS_PER_BATCH):
        client.log_batch(run_id, params=batch[start : start + MAX_PARAMS_TAGS_PER_BATCH])


def write_tags(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    """Write tags; a value over MLflow's 8,000 characters goes whole to ``config/tag_NAME.txt``."""
    batch = []
    for name, value in tags.items():
        artifact = f"config/tag_{name}.txt"
        if len(value) > MAX_TAG_VAL_LENGTH:
            client.log_text(run_id, value, artifact)
            value = _point(value, artifact)
        batch.append(RunTag(name, value))
    for start in range(0, len(batch), MAX_PARAMS_TAGS_PER_BATCH):
        client.log_batch(run_id, tags=batch[start : start + MAX_PARAMS_TAGS_PER_BATCH])


def create_run(
    client: MlflowClient, experiment_id: str, key: str, name: str, tags: Mapping[str, str], time_ms: int | None = None
) -> Run:
    """Create a run that calls itself by a key which no other has.

    An answer that got lost leaves one behind of which mlflow, which tried again, knows nothing. Those are deleted.
    """
    client.create_run(experiment_id, start_time=time_ms, tags={**tags, KEY_TAG: key}, run_name=name)
    run, *doubles = search_by_key(client, experiment_id, key)
    for double in doubles:
        client.delete_run(double.info.run_id)
    return run


def search_by_key(client: MlflowClient, experiment_id: str, key: str) -> list[Run]:
    """List the runs that call themselves so; more than one where an answer got lost."""
    return list(client.search_runs([experiment_id], f"tags.`{KEY_TAG}` = '{key}'"))


def replace_tags(client: MlflowClient, run_id: str, tags: Mapping[str, str], families: Collection[str]) -> None:
    """Write the tags of some families (or single ones, by name) and delete all others of them."""
    known = client.get_run(run_id).data.tags
    for name in sorted(known.keys() - tags.keys()):
        if name in families or name.partition(".")[0] in families:
            client.delete_tag(run_id, name)
    write_tags(client, run_id, {name: value for name, value in tags.items() if known.get(name) != value})


def reopen(client: MlflowClient, run_id: str, told: Collection[str]) -> None:
    """Set a run to RUNNING again, and take back the tags that told of its end, as `replace_tags` takes them."""
    client.update_run(run_id, status="RUNNING")
    replace_tags(client, run_id, {}, told)


def write_ending(client: MlflowClient, run_id: str, ending: Ending, *, is_job: bool, time_ms: int) -> None:
    """Write how and when a run ended, and why: ``trial.state`` has what MLflow's own status cannot say of a job."""
    status = {"PRUNED": "FINISHED", "PAUSED": "SCHEDULED"}.get(ending.status)  # MLflow has neither
    tags = {"trial.state": TRIAL_STATES[ending.status]} if is_job or status else {}
    if ending.reason is not None:
        kind = {} if status else {"failure.kind": str(ending.kind)}
        tags |= {**kind, "pruned.reason" if status else "failure.reason": ending.reason}
    try:
        replace_tags(client, run_id, tags, END_TAGS)  # somebody else may have said before that its process had died
        if ending.traceback is not None:
            client.log_text(run_id, ending.traceback, "traceback.txt")
    finally:
        client.set_terminated(run_id, status or ending.status, time_ms)


def join_overrides(overrides: Sequence[str]) -> str:
    """Return a run's overrides as the text of a tag, from which `split_overrides` gets them back whatever they hold.

    They are joined with blanks, as on the command line; where that would not come back, they are a JSON list.
    """
    text = " ".join(overrides)
    return text if split_overrides(text) == tuple(overrides) else json.dumps(list(overrides), ensure_ascii=False)


def split_overrides(text: str) -> tuple[str, ...]:
    """Return the overrides that a tag holds: ``model=rnn ~scheduler seed=1`` are three."""
    if text.startswith("["):  # no override begins with it
        try:
            return tuple(map(str, json.loads(text)))
        except ValueError:
            pass
    bare = QUOTED.sub(lambda quoted: "_" * len(quoted[0]), text)
    starts = [0, *(blank.end() for blank in NEXT_OVERRIDE.finditer(bare))]
    ends = [*(start - 1 for start in starts[1:]), len(text)]
    return tuple(text[start:end] for start, end in zip(starts, ends, strict=True) if start < end)


def attach_files(uri: str, run_id: str, files: Sequence[Path], folder: Path, artifact_path: str) -> None:
    """Log files under `folder` as artifacts of a run that is over, under their paths there below `artifact_path`.

    Those of the same names are replaced.

    Raises:
        TrackingError: The store knows no such run, or cannot be written.
    """
    client = open_client(uri)
    get_run(client, uri, run_id, "name the store that it was recorded in (--tracking-uri URI), or leave it: --no-log")
    with recording(uri, "or leave it: --no-log"):
        for file in files:
            below = file.relative_to(folder).parent
            client.log_artifact(run_id, str(file), (Path(artifact_path) / below).as_posix())


def _point(value: str, artifact: str) -> str:
    return f"({len(value)} characters: see the artifact {artifact})"
