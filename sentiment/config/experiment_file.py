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
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from pydantic import ValidationError

from sentiment import atomic
from sentiment.composing import COMPOSE_ERRORS
from sentiment.config.extension_options import register_extension_options
from sentiment.config.home import register_resolvers
from sentiment.config.identity import is_incidental
from sentiment.config.reading import DATA_PATHS
from sentiment.config.schema import Settings
from sentiment.errors import SentimentError
from sentiment.flat import flatten

MACHINE_KEYS = DATA_PATHS
"""Where the reviews lie on this machine; the command that runs the experiment names them."""

TESTED_KEY = "trainer.test"
"""A search leaves the test split alone; the one that it selects meets it."""

EXPERIMENT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class ExperimentFileError(SentimentError):
    """An experiment file cannot be written, or does not compose to the run that it stands for."""


@dataclass(frozen=True)
class Experiment:
    """An experiment file that was written.

    Attributes:
        file: The file.
        command: The command that runs it, with the places of its data.
        is_new: Whether it was written now; False: it was there with the same content.
    """

    file: Path
    command: tuple[str, ...]
    is_new: bool


def write_experiment(
    settings: Settings,
    name: str,
    config_dir: Path,
    *,
    origin: Sequence[str],
    threads: int | None = None,
    config_name: str = "config",
    force: bool = False,
) -> Experiment:
    """Write the experiment of a run, after composing it and holding it against the run's settings.

    Args:
        settings: The run's settings.
        name: Name of the experiment.
        config_dir: The folder ``conf/``.
        origin: Where it comes from, a line each; they become comments.
        threads: CPU threads that the run had, for its command: sums of floats depend on how they are split.
        config_name: Name of the primary config.
        force: Replace a file of other content.

    Raises:
        ExperimentFileError: The name is none, a file of other content is there, the defaults have changed so that
            the run cannot be composed any more, or the file cannot be written.
    """
    if not EXPERIMENT_NAME.fullmatch(name):
        raise ExperimentFileError(
            f"{name!r} cannot be the name of an experiment.\n  -> take letters, digits, _ . and -: --name NAME"
        )
    same_threads = [] if threads is None else [f"trainer.threads={threads}"]
    command = ("python", "run.py", f"experiment={name}", *same_threads, *_name_places(settings))
    text = _write_text(settings, command, origin, config_dir, config_name)
    _check_text(text, settings, config_dir, config_name)
    file = config_dir / "experiment" / f"{name}.yaml"
    if file.exists() and _body(file.read_text(encoding="utf-8")) == _body(text):
        return Experiment(file, command, is_new=False)
    if file.exists() and not force:
        raise ExperimentFileError(
            f"{file} is there already, and holds something else.\n"
            "  -> choose another name with --name NAME, or replace it with --force"
        )
    try:
        atomic.write_text(file, text)
    except OSError as error:
        raise ExperimentFileError(
            f"{file} cannot be written: {error}\n  -> make the folder writable, or free some space"
        ) from error
    return Experiment(file, command, is_new=True)


def list_differences(expected: Settings, found: Settings) -> list[str]:
    """List the keys in which a composed experiment differs from the run, apart from those that are meant to."""
    one, other = _flatten(expected), _flatten(found)
    keys = dict.fromkeys([*one, *other])
    return [key for key in keys if not _is_left_out(key) and key != TESTED_KEY and one.get(key) != other.get(key)]


def _write_text(
    settings: Settings, command: Sequence[str], origin: Sequence[str], config_dir: Path, config_name: str
) -> str:
    wanted = {**_flatten(settings), TESTED_KEY: True}
    groups = _choose_options(wanted, config_dir, config_name)
    base = _compose([f"{group}={option}" for group, option in groups.items()], config_dir, config_name)
    kept = _keep_differing(wanted, base)
    defaults = _read_defaults(config_dir, config_name)
    overridden = [{f"override /{group}": option} for group, option in groups.items() if defaults.get(group) != option]
    tree: dict[str, Any] = {"defaults": overridden} if overridden else {}
    lines = ["# @package _global_", f"# {' '.join(_hide_places(command))}", *(f"# {line}" for line in origin), ""]
    if tree:
        lines += [OmegaConf.to_yaml(OmegaConf.create(tree))]
    return "\n".join([*lines, OmegaConf.to_yaml(_nest(kept))])


def _keep_differing(wanted: Mapping[str, Any], base: DictConfig) -> dict[str, Any]:
    """Keep what differs from the defaults, without the keys that follow from kept ones through an interpolation."""
    resolved, written = _flatten_config(base, resolve=True), _flatten_config(base, resolve=False)
    needed = {key: value for key, value in wanted.items() if not _is_left_out(key) and resolved.get(key, ...) != value}
    kept = {key: value for key, value in needed.items() if not _is_interpolation(written.get(key))}
    kept |= {key: wanted[key] for key in ("seed", TESTED_KEY)}
    composed = _flatten_config(_merge(base, kept), resolve=True)
    late = {key: value for key, value in wanted.items() if not _is_left_out(key) and composed.get(key, ...) != value}
    return {key: wanted[key] for key in wanted if key in kept or key in late}


def _check_text(text: str, settings: Settings, config_dir: Path, config_name: str) -> None:
    """Compose the text as an experiment, before anybody sees it, and hold it against the run."""
    with tempfile.TemporaryDirectory() as folder:
        option = f"check_{os.getpid()}"
        (Path(folder) / "experiment").mkdir()
        (Path(folder) / "experiment" / f"{option}.yaml").write_text(text, encoding="utf-8")
        lines = [f"hydra.searchpath=[file://{folder}]", f"experiment={option}"]
        try:
            config = _compose(lines, config_dir, config_name)
            places = {key: value for key, value in _flatten(settings).items() if key in MACHINE_KEYS}
            values = OmegaConf.to_container(_merge(config, places), resolve=True)
            changed = list_differences(settings, Settings.model_validate(values))
        except ValidationError as error:
            changed = [".".join(map(str, fault["loc"])) for fault in error.errors()]
        except COMPOSE_ERRORS as error:
            changed = [str(error).splitlines()[0]]
    if changed:
        raise ExperimentFileError(
            f"The experiment would not be the run again: {', '.join(changed)} cannot be set in a file.\n"
            "  -> the defaults have changed, or a value holds ${...}: check out the commit that made the run"
        )


def _choose_options(wanted: Mapping[str, Any], config_dir: Path, config_name: str) -> dict[str, str]:
    """Choose the option of every group: the one that the settings name, else the one that is nearest to them."""
    groups = list(dict.fromkeys(key.partition(".")[0] for key in wanted if "." in key and not _is_left_out(key)))
    options = {group: str(wanted[f"{group}.name"]) for group in groups if f"{group}.name" in wanted}
    base = [f"{group}={option}" for group, option in options.items()]
    for group in groups:
        if group in options:
            continue
        names = [path.stem for path in sorted((config_dir / group).glob("*.yaml"))]
        default = _read_defaults(config_dir, config_name).get(group)
        counts = {}
        for name in sorted(names, key=lambda name: name != default):
            composed = _flatten_config(_compose([*base, f"{group}={name}"], config_dir, config_name), resolve=True)
            keys = [key for key in wanted if key.startswith(f"{group}.") and not _is_left_out(key)]
            counts[name] = sum(composed.get(key, ...) != wanted[key] for key in keys)
        if counts:
            options[group] = min(counts, key=lambda name: counts[name])
    return options


def _compose(overrides: Sequence[str], config_dir: Path, config_name: str) -> DictConfig:
    register_resolvers()
    register_extension_options()
    with initialize_config_dir(str(config_dir)):
        return compose(config_name, list(overrides))


def _read_defaults(config_dir: Path, config_name: str) -> dict[str, str]:
    """Read which option of each group the primary config takes."""
    content = OmegaConf.to_container(OmegaConf.load(config_dir / f"{config_name}.yaml"), resolve=False)
    assert isinstance(content, dict)
    entries = [entry for entry in content["defaults"] if isinstance(entry, dict)]
    return {str(group): str(option) for entry in entries for group, option in entry.items()}


def _flatten(settings: Settings) -> dict[str, Any]:
    return flatten(settings.model_dump(mode="json"))


def _flatten_config(config: DictConfig, *, resolve: bool) -> dict[str, Any]:
    """Flatten a composed configuration; what has no value yet (``data.path: ???``) stays as it is written."""
    raw = OmegaConf.to_container(config, resolve=False)
    assert isinstance(raw, dict)
    node, flat = OmegaConf.create(raw), flatten(raw)
    if not resolve:
        return flat
    resolved: dict[str, Any] = {}
    for key, value in flat.items():
        found = value if value == "???" else OmegaConf.select(node, key)
        resolved[key] = OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
    return resolved


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
    return is_incidental(key) or key in MACHINE_KEYS


def _is_interpolation(value: Any) -> bool:
    return isinstance(value, str) and "${" in value


def _name_places(settings: Settings) -> list[str]:
    places = _flatten(settings)
    return [f"{key}={places[key]}" for key in MACHINE_KEYS if places.get(key)]


def _hide_places(command: Sequence[str]) -> list[str]:
    return [f"{part.partition('=')[0]}=PATH" if part.partition("=")[0] in MACHINE_KEYS else part for part in command]


def _body(text: str) -> list[str]:
    """Return what an experiment file sets: its lines without comments."""
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
