"""The stored results of a study on record: one file a part, without paths of the machine that ran it.

``experiments/NAME/results/PART.json`` holds the command and what became of each run. Tables and figures are made from
these files alone, so that whoever has the repository can make them again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sentiment.config.identity import is_incidental
from sentiment.errors import SentimentError
from sentiment.tracking.result_file import ResultRecord, write_json

PATH_KEYS = ("data.path", "data.validation_path", "data.test_path", "data.cache_dir", "tracking.")
"""Settings that tell where files lie on a machine: they change no result and are not stored."""

FOLDER = "FOLDER"
"""What stands in a stored command where a path stood."""


class StudyError(SentimentError):
    """A study's folder has no results, or its README no place for them."""


@dataclass(frozen=True)
class StudyPart:
    """One sweep of a study.

    Attributes:
        name: Its name, as in ``results/NAME.json``.
        command: The command that ran it, with FOLDER for paths.
        log_scaled: Keys that were drawn on a logarithmic scale.
        records: What became of each run.
    """

    name: str
    command: str
    log_scaled: frozenset[str]
    records: tuple[ResultRecord, ...]


def store_part(study_dir: Path, part: StudyPart) -> Path:
    """Write a part; settings that all runs share are written once.

    Raises:
        StudyError: There is nothing to store.
        TrackingError: The folder cannot be written.
    """
    if not part.records:
        raise StudyError(f"part {part.name!r} has no runs to store; give the folder of a sweep that has ended runs")
    records = [strip_paths(record) for record in part.records]
    shared = _find_shared([record.params for record in records])
    content = {
        "command": part.command,
        "log_scaled": sorted(part.log_scaled),
        "shared_params": shared,
        "runs": [_shorten(asdict(record), shared) for record in records],
    }
    file = study_dir / "results" / f"{part.name}.json"
    write_json(file, content)
    return file


def read_parts(study_dir: Path) -> list[StudyPart]:
    """Read all parts of a study, in the order of their names.

    Raises:
        StudyError: There are none, or a file is damaged.
    """
    files = sorted((study_dir / "results").glob("*.json"))
    if not files:
        raise StudyError(
            f"{study_dir}/results holds no results of a sweep\n  -> take one in: "
            f"python -m sentiment study {study_dir} --collect PART=multirun/DIR"
        )
    return [_read_part(file) for file in files]


def strip_paths(record: ResultRecord) -> ResultRecord:
    """Leave out where files lay, and the run's id in a store that nobody else has."""
    kept = {key: value for key, value in record.params.items() if not key.startswith(PATH_KEYS)}
    overrides = tuple(item for item in record.overrides if not item.lstrip("+").startswith(PATH_KEYS))
    tags = {key: value for key, value in record.tags.items() if key != "data.description"}
    return replace(record, name=_name(record, overrides), params=kept, overrides=overrides, tags=tags, run_id=None)


def is_stored(record: ResultRecord) -> bool:
    """Tell whether a run belongs on record: it has ended, well, pruned or failed."""
    return record.status != "RUNNING"


def differing_keys(records: Sequence[ResultRecord]) -> list[str]:
    """List the settings that differ among runs of one model, seed and ``model`` apart, typed ones first.

    A setting that merely follows another one (``model.hidden_size`` from ``model.embedding_size``) is left out.
    """
    typed = dict.fromkeys(item.partition("=")[0].lstrip("+~") for record in records for item in record.overrides)
    names = dict.fromkeys(key for record in records for key in record.params)
    ordered = sorted(names, key=lambda key: key not in typed)  # stable: the configuration's order otherwise
    kept: dict[str, list[str | None]] = {}
    for key in ordered:
        if key == "seed" or key == "model.name" or is_incidental(key) or not _differs(records, key):
            continue
        values = [record.params.get(key) for record in records]
        if not any(_follows(values, other) for other in kept.values()):
            kept[key] = values
    return list(kept)


def _differs(records: Sequence[ResultRecord], key: str) -> bool:
    models = {record.model for record in records}
    return any(
        len({record.params[key] for record in records if record.model == model and key in record.params}) > 1
        for model in models
    )


def _follows(values: Sequence[str | None], other: Sequence[str | None]) -> bool:
    pairs = [(value, there) for value, there in zip(values, other, strict=True) if value is not None]
    return all(value == there for value, there in pairs)


def _find_shared(all_params: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *others = all_params
    return {key: value for key, value in first.items() if all(params.get(key) == value for params in others)}


def _shorten(content: dict[str, Any], shared: Mapping[str, str]) -> dict[str, Any]:
    content["params"] = {key: value for key, value in content["params"].items() if key not in shared}
    return content


def _read_part(file: Path) -> StudyPart:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        records = []
        for run in content["runs"]:
            run["params"] = {**content["shared_params"], **run["params"]}
            run["overrides"], run["history"] = tuple(run["overrides"]), tuple(run["history"])
            records.append(ResultRecord(**run))
        return StudyPart(file.stem, content["command"], frozenset(content["log_scaled"]), tuple(records))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StudyError(
            f"{file} cannot be read as results of a study ({type(error).__name__}: {error})\n"
            "  -> it was edited, cut off or written by another version: collect the sweep again, or remove the file"
        ) from error


def _name(record: ResultRecord, overrides: Sequence[str]) -> str:
    changed = [item.rpartition(".")[2] for item in overrides if not item.startswith(("experiment=", "search="))]
    return " ".join([record.model, *(item for item in changed if not item.startswith("model="))])
