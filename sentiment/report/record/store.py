"""The stored results of an experiment: one file per part, without paths of the machine that ran it.

``experiments/NAME/results/PART.json`` holds the command and what became of each run. Tables and figures are made from
these files alone, so that whoever has the repository can make them again.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from sentiment.config.identity import is_incidental
from sentiment.config.reading import DATA_PATHS
from sentiment.config.run_context import FOLDER_FLAG
from sentiment.errors import SentimentError, explaining
from sentiment.format import format_count
from sentiment.json_file import read_json, write_json
from sentiment.report.sweep.collect import collect_records
from sentiment.report.sweep.names import open_sweep
from sentiment.report.sweep.table import SweepTable
from sentiment.search.study.history import StudyHistory, parse_history, read_study, write_history
from sentiment.tracking.anew import list_settings
from sentiment.tracking.result_file import TRIAL_TAG, ResultRecord, list_facts, make_record
from sentiment.tracking.run_name import parse_overrides, shorten

PATH_KEYS = (*DATA_PATHS, "data.cache_dir", "pretrain.cache_dir", "tracking.")
"""Settings that tell where files lie on a machine: they change no result and are not stored."""

WITHOUT_STUDY = (
    "The study itself was not stored (by an earlier version): in the figures every repeat stands alone; collect it "
    "again."
)

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
    """One sweep of an experiment."""

    name: str  # its name, as in ``results/NAME.json``
    command: str  # the command that ran it, with FOLDER for paths
    records: tuple[ResultRecord, ...]  # what became of each run
    # Its study: which runs are repeats of a trial, which trials break a limit, how they were drawn. None for a plain
    # multirun, and in files of earlier versions.
    history: StudyHistory | None = None
    # Keys that were drawn on a logarithmic scale, as files of earlier versions tell them.
    drawn_on_log: frozenset[str] = frozenset()
    judged_over: frozenset[int] = frozenset()  # numbers of the jobs whose trial breaks a limit, as such files tell them
    notes: tuple[str, ...] = ()  # what the reader must know, a sentence each: what could not be read, or was left out

    @cached_property
    def table(self) -> SweepTable:
        """The table of the sweep, as its report has it."""
        table = collect_records(self.records, self.name, history=self.history, judged_over=self.judged_over)
        return replace(table, log_scaled=table.log_scaled | self.drawn_on_log)


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
        raise SentimentError(f"the folder of {sweep} is not on this machine", "take it in on the one that has it")
    if any(row.is_try for row in table.rows):
        raise SentimentError(f"{sweep_dir} holds tries (debug), which are no results", "run it without debug")
    command = _write_portably(table.command or "")
    records = tuple(record for record in table.records if record.status != "RUNNING")
    history = read_study(None, sweep_dir) if table.is_study else None
    left = len(table.records) - len(records)
    notes = [note.replace(f"{sweep_dir}/", "") for note in table.notes]
    notes += [f"{format_count(left, 'run')} had not ended: left out."] if left else []
    return RecordPart(name, command, records, history, notes=tuple(notes))


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
        "notes": list(part.notes),
        "study": None if part.history is None else json.loads(write_history(_strip_places(part.history))),
        "shared_params": shared,
        "runs": [_shorten(list_facts(record), shared) for record in records],
    }
    file = folder / "results" / f"{part.name}.json"
    with explaining(f"{file} cannot be written", "free space, or mind who owns the folder"):
        write_json(file, content)
    return file


def read_parts(folder: Path) -> list[RecordPart]:
    """Read all parts of an experiment, in the order of their names.

    Raises:
        SentimentError: There are none, or a file is damaged.
    """
    files = sorted((folder / "results").glob("*.json"))
    if not files:
        raise SentimentError(
            f"{folder}/results holds no results of a sweep",
            f"take one in: python -m sentiment record {folder} --collect PART=multirun/DIR",
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


def _strip_places(history: StudyHistory) -> StudyHistory:
    trials = []
    for trial in history.trials:
        told = {key: _hide_places(one) if isinstance(one, str) else one for key, one in trial.parameters.items()}
        adopted_from = None if trial.adopted_from is None else _hide_places(trial.adopted_from)
        trials.append(replace(trial, parameters=told, adopted_from=adopted_from))
    return replace(history, trials=tuple(trials), is_at_work=False)


def differing_keys(records: Sequence[ResultRecord]) -> list[str]:
    """List the settings that differ among runs of one model, seed and ``model`` apart, typed ones first.

    A setting that merely follows another one (``model.hidden_size`` from ``model.embedding_size``) is left out.
    """
    typed = dict.fromkeys(key for record in records for key in parse_overrides(record.overrides))
    settings = list_settings(records)
    names = dict.fromkeys(key for one in settings for key in one)
    ordered = sorted(names, key=lambda key: key not in typed)  # stable: the configuration's order otherwise
    kept: dict[str, list[str | None]] = {}
    for key in ordered:
        if key == "seed" or key == "model.name" or is_incidental(key) or f"{key}.name" in names:
            continue
        values = [read_setting(one, key) for one in settings]
        if not _differs(records, values) or any(_follows(values, other) for other in kept.values()):
            continue
        kept[key] = values
    return list(kept)


def read_setting(settings: Mapping[str, str], key: str) -> str | None:
    """Return one of a run's settings; that of a group that was left out, such as ``pretrain``, is ``null``."""
    group, _, last = key.rpartition(".")
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
        study, notes = content.get("study"), content.get("notes", ())
        log_scaled, over_limit = (frozenset(content.get(name, ())) for name in ("log_scaled", "over_limit"))
        history = None if study is None else parse_history(json.dumps(study))
        if history is None and any(TRIAL_TAG in record.tags for record in records):
            notes = [*notes, WITHOUT_STUDY]
        command = content["command"]
        return RecordPart(file.stem, command, tuple(records), history, log_scaled, over_limit, tuple(notes))
    except (OSError, ValueError, TypeError, KeyError, SentimentError) as error:
        raise SentimentError(
            f"{file} cannot be read as the results of a sweep ({type(error).__name__}: {error})",
            "it was edited, cut off or written by another version: collect the sweep again, or remove the file",
        ) from error
