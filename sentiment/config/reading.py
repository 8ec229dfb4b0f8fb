"""From Hydra's composed `DictConfig` to typed `Settings`, with every fault reported together."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from sentiment.config.faults import read_faults
from sentiment.config.option import OPTIONS
from sentiment.config.schema import Settings
from sentiment.credentials import anchor_store, find_passwords
from sentiment.errors import ConfigError, Fault, first_line

INPUT_PATHS = (
    "path", "validation_path", "test_path", "label_path", "validation_label_path", "test_label_path", "unlabelled_path",
)  # fmt: skip
"""Keys of `data` that name files which must exist before a run starts; a path may be a pattern."""

DATA_PATHS = tuple(f"data.{key}" for key in INPUT_PATHS)
"""The same, as they are typed."""

DATASET_DICT = "dataset_dict.json"
"""By this file a folder is one of several splits, as the `datasets` library saves them."""

SAVED_SPLITS = {"data.validation_path": ("validation", "valid", "val", "dev"), "data.test_path": ("test",)}
"""How such a folder calls the splits that other keys name, the first one first."""

DROPOUT = ("dropout", "word_dropout")
"""Keys of `model` that conf/debug/overfit.yaml sets to 0."""

LONGEST_REASON = 200

OUTPUT_PATHS = (
    ("data", "cache_dir"), ("pretrain", "cache_dir"), ("tracking", "artifact_dir"), ("tracking", "tensorboard_dir"),
)  # fmt: skip


def read_settings(config: DictConfig, working_dir: Path) -> Settings:
    """Check a composed configuration and give it its types.

    Args:
        config: The composed job configuration, without Hydra's own node.
        working_dir: Folder that relative paths start from: where the command was started.

    Raises:
        ConfigError: With every fault there is.
    """
    settings, faults = check_settings(config, working_dir)
    if settings is None:
        raise ConfigError(faults)
    return settings


def check_settings(config: DictConfig, working_dir: Path) -> tuple[Settings | None, list[Fault]]:
    """Check a composed configuration; gives the settings, or the faults."""
    faults: list[Fault] = []
    values = _resolve(config, "", faults)
    broken = {fault.key for fault in faults}
    faults += _make_paths_absolute(values, working_dir)
    _leave_out_no_dropout(values)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        found = read_faults(error, list_keys(config), read_choices(values))
        faults += [fault for fault in found if fault.key not in broken]
        settings = None
    faults += _check_input_paths(values) + find_passwords(values)
    return (None, faults) if faults else (settings, [])


def list_keys(config: DictConfig) -> list[str]:
    """List every dotted key of a composed configuration, groups included."""

    def walk(node: dict[Any, Any], prefix: str) -> Iterator[str]:
        for name, child in node.items():
            yield f"{prefix}{name}"
            if isinstance(child, dict):
                yield from walk(child, f"{prefix}{name}.")

    return list(walk(cast(dict[Any, Any], OmegaConf.to_container(config)), ""))


def read_choices(values: Mapping[str, Any]) -> dict[str, str]:
    """Return which option each group holds, by its `name`."""
    return {
        group: str(content["name"])
        for group, content in values.items()
        if isinstance(content, dict | DictConfig) and "name" in content
    }


def read_default_options(config_dir: Path) -> dict[str, str | None]:
    """Return which option of each config group config.yaml takes, in its order; None: none."""
    entries = [entry for entry in OmegaConf.load(config_dir / "config.yaml").defaults if not isinstance(entry, str)]
    chosen = {str(group): option for entry in entries for group, option in entry.items()}
    return {group: option for group, option in chosen.items() if not group.startswith("override ")}


def _resolve(node: DictConfig, prefix: str, faults: list[Fault]) -> dict[str, Any]:
    """Resolve interpolations, leaf by leaf where one fails, so that it does not hide the next; leave `???` out."""
    with suppress(OmegaConfBaseException):
        return cast(dict[str, Any], OmegaConf.to_container(node, resolve=True, throw_on_missing=True))
    values: dict[str, Any] = {}
    names: list[Any] = list(node)  # not all are strings: in data.label_map, labels may be numbers
    for name in names:
        key = f"{prefix}{name}"
        if OmegaConf.is_missing(node, name):
            continue
        try:
            value = node[name]
            if isinstance(value, ListConfig):
                value = OmegaConf.to_container(value, resolve=True)
        except OmegaConfBaseException as error:
            faults.append(Fault(key, first_line(error), "correct the ${...}, or give the key a value"))
            continue
        values[name] = _resolve(value, f"{key}.", faults) if isinstance(value, DictConfig) else value
    return values


def _leave_out_no_dropout(values: dict[str, Any]) -> None:
    """Let ``debug=overfit``, whose file switches dropout off, try models that have one kind of it, or none."""
    trainer, model = values.get("trainer"), values.get("model")
    if not (isinstance(trainer, dict) and isinstance(model, dict) and trainer.get("debug") == "overfit"):
        return
    option = OPTIONS.get(("model", str(model.get("name"))))
    lacking = [] if option is None else [key for key in DROPOUT if key not in option.settings.model_fields]
    for key in lacking:
        if model.get(key) == 0:
            del model[key]


def _make_paths_absolute(values: dict[str, Any], working_dir: Path) -> list[Fault]:
    """Anchor relative paths where the command was started: launchers may run a job in another folder.

    Returns:
        The faults of paths that no file system can follow; they are left out of the values.
    """
    faults: list[Fault] = []
    for group, key in (*OUTPUT_PATHS, *(("data", name) for name in INPUT_PATHS)):
        content = values.get(group)
        if isinstance(content, dict) and isinstance(content.get(key), str) and content[key]:
            try:
                content[key] = str((working_dir / Path(content[key]).expanduser()).resolve())
                Path(content[key]).exists()
            except (OSError, RuntimeError, ValueError) as error:
                reason = " ".join(str(error).split())
                reason = reason if len(reason) < LONGEST_REASON else f"a name of {len(content[key])} characters"
                faults.append(Fault(f"{group}.{key}", f"cannot be followed: {reason}", "name another path"))
                content[key] = os.devnull
    tracking = values.get("tracking")
    if isinstance(tracking, dict) and isinstance(tracking.get("uri"), str):
        tracking["uri"] = anchor_store(tracking["uri"], working_dir)
    return faults


def find_own_splits(path: Path) -> dict[str, Path]:
    """Return the splits that a folder of the `datasets` library brings along, by the keys that name them elsewhere."""
    if not (path / DATASET_DICT).is_file():
        return {}
    found = {key: [path / name for name in names if (path / name).is_dir()] for key, names in SAVED_SPLITS.items()}
    return {key: folders[0] for key, folders in found.items() if folders}


def _check_input_paths(values: dict[str, Any]) -> list[Fault]:
    content = values.get("data")
    paths = {key: content.get(key) for key in INPUT_PATHS} if isinstance(content, dict) else {}
    return [
        Fault(f"data.{key}", f"{path} does not exist", "correct the path; relative ones start from the current folder")
        for key, path in paths.items()
        if isinstance(path, str) and path and not is_there(path)
    ]


def is_there(path: str) -> bool:
    """Return whether a path leads to something, or matches something as a pattern."""
    return Path(path).exists() or bool(glob.glob(path, recursive=True))  # noqa: PTH207
