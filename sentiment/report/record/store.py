"""An experiment on record: the stored results, and what README.md shows of them.

``experiments/NAME/results/PART.json`` holds the command and what became of each run of a part, without paths of the
machine that ran it. Tables and figures are made from these files alone, so that whoever has the repository can make
them again. ``README.md`` has a place for each part, between ``<!-- part: NAME -->`` and ``<!-- end of NAME -->``;
question and answer around it are written by hand, what stands in it never is.
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

from sentiment.atomic import write_text
from sentiment.config.reading import DATA_PATHS
from sentiment.config.run_context import FOLDER_FLAG
from sentiment.errors import SentimentError, explaining
from sentiment.format import format_count, is_share, join_names
from sentiment.json_file import read_json, write_json
from sentiment.report.draw.chart import Chart
from sentiment.report.record.groups import RunGroup, format_csv, format_groups, group_runs, make_group_chart
from sentiment.report.sweep.charts import make_charts
from sentiment.report.sweep.collect import collect_records, name_machines
from sentiment.report.sweep.importance import add_importances
from sentiment.report.sweep.names import open_sweep
from sentiment.report.sweep.table import SweepTable
from sentiment.search.study.history import StudyHistory, parse_history, read_study, write_history
from sentiment.tracking.result_file import (
    CONTINUES_TAG,
    TRIAL_TAG,
    ResultRecord,
    is_of_another_study,
    list_facts,
    make_record,
    write_commit,
)
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

SEARCH_CHARTS = ("optimisation_history", "parameter_importance", "slices", "pairs", "learning_curves")
"""Which charts of a search's report stand on record."""

SHOWN_OF_A_SEARCH = 10


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
        "runs": [{**list_facts(record), "params": _leave_out(record.params, shared)} for record in records],
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


def _find_shared(all_params: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *others = all_params
    return {key: value for key, value in first.items() if all(params.get(key) == value for params in others)}


def _leave_out(params: Mapping[str, str], shared: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in params.items() if key not in shared}


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


def require_readme(folder: Path) -> Path:
    """Return the experiment's README.md.

    Raises:
        SentimentError: There is none.
    """
    readme = folder / "README.md"
    if not readme.is_file():
        raise SentimentError(
            f"{folder} holds no README.md, so it is no experiment on record",
            "write one with the question, and the lines <!-- part: NAME --> and <!-- end of NAME --> for each part",
        )
    return readme


def write_record(folder: Path) -> list[Path]:
    """Write table, CSV and figures of each part, and return the files.

    Raises:
        SentimentError: There are no results, README.md is missing or has no place for a part, or a file cannot be
            written.
    """
    from sentiment.report.draw.matplotlib import write_png  # matplotlib takes a second to import

    readme = require_readme(folder)
    with explaining(f"{folder} cannot be written", "free space, or mind who owns it"):
        text = readme.read_text(encoding="utf-8")
        files = [readme]
        for part in read_parts(folder):
            groups = group_runs(part.table)
            charts = _draw(part, groups)
            for chart in charts:
                files.append(folder / "figures" / f"{part.name}_{chart.name}.png")
                write_png(chart, files[-1])
            files.append(folder / "tables" / f"{part.name}.csv")
            write_text(files[-1], format_csv(groups))
            text = _replace_part(text, readme, part.name, _describe(part, groups, charts))
        write_text(readme, text)
    return files


def is_search(part: RecordPart) -> bool:
    """Return whether a part is a search, whose points were drawn, and no grid, whose settings each have their seeds."""
    return bool(part.table.log_scaled) or any(row.state == "pruned" for row in part.table.rows)


def _draw(part: RecordPart, groups: Sequence[RunGroup]) -> list[Chart]:
    if not is_search(part):
        if not groups:
            return []
        return [make_group_chart(groups, "comparison", part.name.replace("_", " "), part.table.objectives[0])]
    return [chart for chart in make_charts(add_importances(part.table)) if chart.name in SEARCH_CHARTS]


def _describe(part: RecordPart, groups: Sequence[RunGroup], charts: Sequence[Chart]) -> str:
    objective = part.table.objectives[0]
    limit = SHOWN_OF_A_SEARCH if is_search(part) else None
    lines = ["```bash", part.command, "```", "", f"{_count(part.records)}.", ""]
    lines += [format_groups(groups, limit) if groups else f"No run has finished with a {objective}.", ""]
    if groups:
        unit = "In percent" if is_share(objective) else f"Validation is {objective}, {groups[0].tested_by} the test"
        by_seed = any(len(group.seeds) > 1 for group in groups)
        lines += [f"{unit}{': mean over the seeds ± standard deviation (each seed)' if by_seed else ''}.", ""]
    if again := sum(group.again for group in groups):
        lines += [f"A seed counts once, by its first run: {again} more trained the same settings and seed again.", ""]
    if left := _find_left(part.table):
        lines += [f"Finished runs of trials that are not complete are left out: {join_names(left)}.", ""]
    if part.notes:
        lines += [" ".join(part.notes), ""]
    if limit is not None and len(groups) > limit:
        best = "best" if not any(group.is_over_limit for group in groups[:limit]) else "first"
        lines += [f"The {best} {limit}; all are in [tables/{part.name}.csv](tables/{part.name}.csv).", ""]
    for chart in charts:
        lines += [f"![{chart.title}](figures/{part.name}_{chart.name}.png)", "", chart.caption, ""]
    return "\n".join([*lines, _made_with(part.records)])


def _find_left(table: SweepTable) -> list[str]:
    """Find the trials of which some repeats finished, but not all: number and state."""
    rows = sorted(table.rows if table.is_study else (), key=lambda row: row.number)
    shown = {id(run) for row in rows if row.state == "complete" for run in row.runs}  # equal trials share theirs
    return [
        f"{row.number} ({row.state})"
        for row in rows
        if any(run.status == "FINISHED" and id(run) not in shown for run in row.runs)
    ]


def _count(records: Sequence[ResultRecord]) -> str:
    names = {"FINISHED": "finished", "PRUNED": "pruned", "PAUSED": "paused", "FAILED": "failed", "KILLED": "killed"}
    counts = {name: sum(record.status == status for record in records) for status, name in names.items()}
    own = [record for record in records if not is_of_another_study(record)]
    anew = [record for record in own if CONTINUES_TAG not in record.tags]
    seconds = [record.seconds for record in anew if record.seconds is not None]  # what failed or was killed has none
    left = {
        "of another study": len(records) - len(own),
        "whose time includes another trial's": len(own) - len(anew),
        "whose time is unknown": len(anew) - len(seconds),
    }
    endings, others = (
        ", ".join(f"{count} {name}" for name, count in named.items() if count) for named in (counts, left)
    )
    told = f" (not counting {others})" if others else ""
    return f"{len(records)} runs: {endings}; {sum(seconds) / 3600:.1f} hours of computing{told}"


def _made_with(records: Sequence[ResultRecord]) -> str:
    commits = sorted({write_commit(record) for record in records})
    machines = sorted({*name_machines({record.tags.get("hardware", "unknown") for record in records}).values()})
    return f"Commit {', '.join(commits)}; {', '.join(machines)}."


def _replace_part(text: str, readme: Path, name: str, content: str) -> str:
    before, after = f"<!-- part: {name} -->", f"<!-- end of {name} -->"
    pattern = re.compile(f"{re.escape(before)}.*?{re.escape(after)}", re.DOTALL)
    if not pattern.search(text):
        raise SentimentError(f"{readme} has no place for the part {name!r}", f"add the lines {before} and {after}")
    return pattern.sub(lambda _: f"{before}\n\n{content}\n\n{after}", text, count=1)
