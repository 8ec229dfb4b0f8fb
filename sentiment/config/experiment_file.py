"""``conf/experiment/NAME.yaml`` from a run's settings: ``python run.py experiment=NAME`` then trains the run again.

The file holds what tells the run from the defaults, and nothing else: the options of its groups, then the keys that
differ from those options. Where files lie on this machine and where runs are recorded stay out.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from pydantic import ValidationError

from sentiment import atomic
from sentiment.composing import COMPOSE_ERRORS, write_override
from sentiment.config.extension import register_extension_options
from sentiment.config.home import register_resolvers
from sentiment.config.identity import is_incidental
from sentiment.config.reading import DATA_PATHS, read_default_options
from sentiment.config.schema import Settings
from sentiment.errors import SentimentError, explaining, first_line
from sentiment.flat import flatten, flatten_model

TESTED_KEY = "trainer.test"
"""A search leaves the test split alone; the one that it selects meets it."""

EXPERIMENT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Experiment:
    """An experiment file that was written."""

    file: Path  # the file
    command: tuple[str, ...]  # the command that runs it, with the places of its data
    is_new: bool  # whether it was written now; False: it was there with the same content


def write_experiment(
    settings: Settings,
    name: str,
    config_dir: Path,
    *,
    origin: Sequence[str],
    shares: Mapping[str, str] = MappingProxyType({}),
    force: bool = False,
) -> Experiment:
    """Write the experiment of a run, after composing it and holding it against the run's settings.

    Args:
        settings: The run's settings.
        name: Name of the experiment, or of its file.
        config_dir: The folder ``conf/``.
        origin: Where it comes from, a line each; they become comments.
        shares: Devices, nodes and CPU threads of the run, for its command: sums of floats depend on how they are split.
        force: Replace a file of other content.

    Raises:
        SentimentError: The name is none, a file of other content is there, the defaults have changed so that
            the run cannot be composed any more, or the file cannot be written.
    """
    name = name.removesuffix(".yaml")
    # Hydra takes a file's ending in a name for its own, and null or 2026 for no text.
    is_read = write_override("experiment", name) == f"experiment={name}"
    if not EXPERIMENT_NAME.fullmatch(name) or name.endswith((".yaml", ".yml")) or not is_read:
        raise SentimentError(
            f"{name!r} cannot be the name of an experiment.",
            "take letters, digits, _ . and -, but no number, null, true or false: --name NAME",
        )
    command = ["python", "run.py", f"experiment={name}", *(f"{key}={count}" for key, count in shares.items())]
    places = {key: place for key, place in flatten_model(settings).items() if key in DATA_PATHS and place}
    shown_command = " ".join([*command, *(f"{key}=PATH" for key in places)])
    text = _write_text(settings, [shown_command, *origin], config_dir)
    _check_text(text, settings, places, config_dir)
    command += [write_override(key, str(place)) for key, place in places.items()]
    file = config_dir / "experiment" / f"{name}.yaml"
    if file.exists() and _drop_comments(file.read_text(encoding="utf-8")) == _drop_comments(text):
        return Experiment(file, tuple(command), is_new=False)
    if file.exists() and not force:
        raise SentimentError(
            f"{file} is there already, and holds something else.",
            "choose another name with --name NAME, or replace it with --force",
        )
    with explaining(f"{file} cannot be written", "make the folder writable, or free some space"):
        atomic.write_text(file, text)
    return Experiment(file, tuple(command), is_new=True)


def list_differences(expected: Settings, found: Settings) -> list[str]:
    """List the keys in which a composed experiment differs from the run, apart from those that are meant to."""
    one, other = flatten_model(expected), flatten_model(found)
    keys = dict.fromkeys([*one, *other])
    return [key for key in keys if not _is_left_out(key) and key != TESTED_KEY and one.get(key) != other.get(key)]


def _write_text(settings: Settings, comments: Sequence[str], config_dir: Path) -> str:
    kept = {key: value for key, value in flatten_model(settings).items() if not _is_left_out(key)}
    wanted = kept | {TESTED_KEY: True}
    options, defaults = _choose_options(wanted, config_dir), read_default_options(config_dir)
    base = _compose([f"{group}={option}" for group, option in options.items()], config_dir)
    overridden = [{f"override /{group}": option} for group, option in options.items() if defaults[group] != option]
    parts = [OmegaConf.create({"defaults": overridden})] if overridden else []
    parts.append(_nest(_keep_differing(wanted, base)))
    return "\n".join(["# @package _global_", *(f"# {line}" for line in comments), "", *map(OmegaConf.to_yaml, parts)])


def _choose_options(wanted: Mapping[str, Any], config_dir: Path) -> dict[str, str]:
    """Choose the option of every group: the one that the settings name, else the one that is nearest to them."""
    options: dict[str, str] = {}
    for group, default in read_default_options(config_dir).items():
        keys = [key for key in wanted if key.startswith(f"{group}.")]
        if f"{group}.name" in keys:
            options[group] = str(wanted[f"{group}.name"])
        elif keys:
            chosen = [f"{other}={option}" for other, option in options.items()]
            names = sorted(file.stem for file in (config_dir / group).glob("*.yaml"))
            counts = {}
            for name in sorted(names, key=lambda name: name != default):
                composed = _flatten_config(_compose([*chosen, f"{group}={name}"], config_dir), wanted, resolve=True)
                counts[name] = sum(composed.get(key, ...) != wanted[key] for key in keys)
            options[group] = min(counts, key=lambda name: counts[name])
    return options


def _keep_differing(wanted: Mapping[str, Any], base: DictConfig) -> dict[str, Any]:
    """Keep what differs from the defaults, without the keys that follow from kept ones through an interpolation."""
    written = _flatten_config(base, wanted, resolve=False)

    def differing(config: DictConfig) -> dict[str, Any]:
        composed = _flatten_config(config, wanted, resolve=True)
        return {key: value for key, value in wanted.items() if composed.get(key) != value}

    kept = {key: value for key, value in differing(base).items() if "${" not in str(written.get(key))}
    kept |= {key: wanted[key] for key in ("seed", TESTED_KEY)}
    late = differing(_merge(base, kept))
    return {key: wanted[key] for key in wanted if key in kept or key in late}


def _check_text(text: str, settings: Settings, places: Mapping[str, str], config_dir: Path) -> None:
    """Compose the text as an experiment, before anybody sees it, and hold it against the run."""
    with tempfile.TemporaryDirectory() as folder:
        option = f"check_{os.getpid()}"
        (Path(folder) / "experiment").mkdir()
        (Path(folder) / "experiment" / f"{option}.yaml").write_text(text, encoding="utf-8")
        try:
            config = _compose([f"hydra.searchpath=[file://{folder}]", f"experiment={option}"], config_dir)
            values = OmegaConf.to_container(_merge(config, places), resolve=True)
            changed = list_differences(settings, Settings.model_validate(values))
        except ValidationError as error:
            changed = [".".join(map(str, fault["loc"])) for fault in error.errors()]
        except COMPOSE_ERRORS as error:
            changed = [first_line(error)]
    if changed:
        raise SentimentError(
            f"The experiment would not be the run again: {', '.join(changed)} cannot be set in a file.",
            "the defaults have changed, or a value holds ${...}: check out the commit that made the run",
        )


def _compose(overrides: Sequence[str], config_dir: Path) -> DictConfig:
    register_resolvers()
    register_extension_options()
    with initialize_config_dir(str(config_dir)):
        return compose("config", list(overrides))


def _flatten_config(config: DictConfig, wanted: Mapping[str, Any], *, resolve: bool) -> dict[str, Any]:
    """Flatten a composed configuration to keys like the wanted ones.

    What has no value yet (``data.path: ???``) stays as it is written.
    """
    content = OmegaConf.to_container(config, resolve=resolve)
    assert isinstance(content, dict)
    return flatten(content, whole=[key for key, value in wanted.items() if isinstance(value, Mapping)])


def _nest(flat: Mapping[str, Any]) -> DictConfig:
    nested = OmegaConf.create({})
    for key, value in flat.items():
        OmegaConf.update(nested, key, value, force_add=True)
    return nested


def _merge(config: DictConfig, flat: Mapping[str, Any]) -> DictConfig:
    merged = OmegaConf.merge(config, _nest(flat))
    assert isinstance(merged, DictConfig)
    return merged


def _is_left_out(key: str) -> bool:
    return is_incidental(key) or key in DATA_PATHS


def _drop_comments(text: str) -> list[str]:
    """Return what an experiment file sets: its lines without comments."""
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
