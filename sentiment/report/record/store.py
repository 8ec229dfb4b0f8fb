"""The stored results of an experiment: one file per part, without paths of the machine that ran it.

``experiments/NAME/results/PART.json`` holds the command and what became of each run. Tables and figures are made from
these files alone, so that whoever has the repository can make them again.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from sentiment.atomic import read_json, write_json
from sentiment.config.identity import is_incidental
from sentiment.config.reading import DATA_PATHS
from sentiment.config.run_context import FOLDER_FLAG
from sentiment.errors import SentimentError
from sentiment.format import format_count
from sentiment.report.sweep.names import open_sweep
from sentiment.tracking.result_file import ResultRecord, list_facts, make_record
from sentiment.tracking.run_name import parse_overrides, shorten

PATH_KEYS = (*DATA_PATHS, "data.cache_dir", "pretrain.cache_dir", "tracking.")
"""Settings that tell where files lie on a machine: they change no result and are not stored."""

FOLDER = "FOLDER"
"""What stands in place of an address of a machine, or of the folder of a path."""

PATH_WORD = re.compile(rf"^({FOLDER_FLAG}|\+*(?:data\.\w*path|(?:data|pretrain)\.cache_dir))=.*", re.DOTALL)
"""A word of a command with a path behind it, be it a relative one."""

PLACE = re.compile(
    r"(?<![^=\[(,'\" ])(?:(?!pkg)[a-z][a-z+]*://[^,\])'\"]+|~?/(?:[^,\])'\"]*/)?(?P<name>[^,\])'\"/]+)/?)"
)
"""An absolute path, or an address, anywhere in a setting; what lies in a Python package is on every machine."""


@dataclass(frozen=True)
class RecordPart:
    """One sweep of an experiment.

    Attributes:
        name: Its name, as in ``results/NAME.json``.
        command: The command that ran it, with FOLDER for paths.
        log_scaled: Keys that were drawn on a logarithmic scale.
        records: What became of each run.
        over_limit: Numbers of the jobs whose trial breaks a limit of its study.
        notes: What the reader must know, a sentence each: what could not be read, or was left out.
    """

    name: str
    command: str
    log_scaled: frozenset[str]
    records: tuple[ResultRecord, ...]
    over_limit: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()


def collect_part(name: str, sweep: str) -> RecordPart:
    """Read the runs of a sweep that have ended, and the command that started it, without paths of this machine.

    Args:
        name: Name of the part.
        sweep: The sweep, as every command takes it: its folder, its name under ``multirun/``, or its MLflow parent run.

    Raises:
        SentimentError: Its folder is on another machine, or its runs are tries.
        SentimentError: There is no such sweep, or it cannot be read.
    """
    table, sweep_dir = open_sweep(sweep)
    if sweep_dir is None:
        raise SentimentError(f"the folder of {sweep} is not on this machine\n  -> take it in on the one that has it")
    if any(row.is_try for row in table.rows):
        raise SentimentError(f"{sweep_dir} holds tries (debug), which are no results\n  -> run it without debug")
    command = _write_portably(table.command or "")
    records = tuple(record for record in table.records if record.status != "RUNNING")
    over_limit = {run.job_number for row in table.rows if row.excess for run in row.runs if run.job_number is not None}
    left = len(table.records) - len(records)
    notes = [note.replace(f"{sweep_dir}/", "") for note in table.notes]
    notes += [f"{format_count(left, 'run')} had not ended: left out."] if left else []
    return RecordPart(name, command, table.log_scaled, records, frozenset(over_limit), tuple(notes))


def _write_portably(command: str) -> str:
    """Return a command with FOLDER for the paths and addresses of this machine."""
    program, *words = shlex.split(command)[1:] or [""]
    shown = [
        FOLDER if re.fullmatch(FOLDER_FLAG, before) else _hide_places(PATH_WORD.sub(rf"\1={FOLDER}", word))
        for before, word in pairwise(["", *words])
    ]
    return shlex.join(["python", Path(program).name, *shown]) if command else ""


def _hide_places(text: str) -> str:
    return PLACE.sub(lambda place: FOLDER if place["name"] is None else f"{FOLDER}/{place['name']}", text)


def store_part(folder: Path, part: RecordPart) -> Path:
    """Write a part; settings that all runs share are written once.

    Raises:
        SentimentError: There is nothing to store, or the folder cannot be written.
    """
    if not part.records:
        raise SentimentError(f"part {part.name!r} has no runs to store; give the folder of a sweep that has ended runs")
    records = [strip_paths(record) for record in part.records]
    shared = _find_shared([record.params for record in records])
    content = {
        "command": part.command,
        "log_scaled": sorted(part.log_scaled),
        "over_limit": sorted(part.over_limit),
        "notes": list(part.notes),
        "shared_params": shared,
        "runs": [_shorten(list_facts(record), shared) for record in records],
    }
    file = folder / "results" / f"{part.name}.json"
    try:
        write_json(file, content)
    except OSError as error:
        raise SentimentError(
            f"{file} cannot be written: {error}\n  -> free space, or mind who owns the folder"
        ) from error
    return file


def read_parts(folder: Path) -> list[RecordPart]:
    """Read all parts of an experiment, in the order of their names.

    Raises:
        SentimentError: There are none, or a file is damaged.
    """
    files = sorted((folder / "results").glob("*.json"))
    if not files:
        raise SentimentError(
            f"{folder}/results holds no results of a sweep\n  -> take one in: "
            f"python -m sentiment record {folder} --collect PART=multirun/DIR"
        )
    return [_read_part(file) for file in files]


def strip_paths(record: ResultRecord) -> ResultRecord:
    """Leave out where files lay, and the run's id in a store that nobody else has."""
    kept = {key: _hide_places(value) for key, value in record.params.items() if not key.startswith(PATH_KEYS)}
    overrides = [_hide_places(item) for item in record.overrides if not item.lstrip("+").startswith(PATH_KEYS)]
    tags = {key: value for key, value in record.tags.items() if key != "data.description"}
    changed = {key: value for key, value in parse_overrides(overrides).items() if key not in ("experiment", "search")}
    name = shorten(record.option, changed)
    return replace(record, name=name, params=kept, overrides=tuple(overrides), tags=tags, run_id=None)


def differing_keys(records: Sequence[ResultRecord]) -> list[str]:
    """List the settings that differ among runs of one model, seed and ``model`` apart, typed ones first.

    A setting that merely follows another one (``model.hidden_size`` from ``model.embedding_size``) is left out.
    """
    typed = dict.fromkeys(item.partition("=")[0].lstrip("+~") for record in records for item in record.overrides)
    names = dict.fromkeys(key for record in records for key in record.settings)
    ordered = sorted(names, key=lambda key: key not in typed)  # stable: the configuration's order otherwise
    kept: dict[str, list[str | None]] = {}
    for key in ordered:
        if key == "seed" or key == "model.name" or is_incidental(key) or f"{key}.name" in names:
            continue
        values = [read_setting(record, key) for record in records]
        if not _differs(records, values) or any(_follows(values, other) for other in kept.values()):
            continue
        kept[key] = values
    return list(kept)


def read_setting(record: ResultRecord, key: str) -> str | None:
    """Return a setting of a run; that of a group that was left out, such as ``pretrain``, is ``null``."""
    group, _, last = key.rpartition(".")
    settings = record.settings
    return settings.get(key, settings.get(group) if last == "name" else None)


def _differs(records: Sequence[ResultRecord], values: Sequence[str | None]) -> bool:
    """Return whether runs of one model have different values; not to have the setting is one, too."""
    models = {record.option for record in records}
    return any(
        len({value for record, value in zip(records, values, strict=True) if record.option == model}) > 1
        for model in models
    )


def _follows(values: Sequence[str | None], other: Sequence[str | None]) -> bool:
    """Return whether a setting tells nothing beside another: it is equal, or there at some values of that one alone."""
    pairs = list(zip(values, other, strict=True))
    there = {beside for value, beside in pairs if value is not None}
    absent = {beside for value, beside in pairs if value is None}
    known = [pair for pair in pairs if pair[0] is not None]
    is_equal = all(value == beside for value, beside in known)
    is_constant = len({value for value, _ in known}) == 1
    return is_equal or (is_constant and bool(absent) and not there & absent)


def _find_shared(all_params: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *others = all_params
    return {key: value for key, value in first.items() if all(params.get(key) == value for params in others)}


def _shorten(content: dict[str, Any], shared: Mapping[str, str]) -> dict[str, Any]:
    content["params"] = {key: value for key, value in content["params"].items() if key not in shared}
    return content


def _read_part(file: Path) -> RecordPart:
    try:
        content = read_json(file)
        records = []
        for run in content["runs"]:
            run["params"] = {**content["shared_params"], **run["params"]}
            records.append(make_record(run))
        over_limit = frozenset(content.get("over_limit", ()))  # files of earlier versions do not tell
        log_scaled, notes = frozenset(content["log_scaled"]), tuple(content.get("notes", ()))
        return RecordPart(file.stem, content["command"], log_scaled, tuple(records), over_limit, notes)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SentimentError(
            f"{file} cannot be read as the results of a sweep ({type(error).__name__}: {error})\n"
            "  -> it was edited, cut off or written by another version: collect the sweep again, or remove the file"
        ) from error
