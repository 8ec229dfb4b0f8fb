"""Make the one table of a sweep: from the jobs' records and, where there is one, from the study.

Four ways in: the folder of a sweep, an MLflow parent run, records that are at hand, and a study while it runs.
"""

from __future__ import annotations

import logging
import math
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment.config.objective import find_direction, read_objectives
from sentiment.config.run_context import read_multirun_command
from sentiment.errors import SentimentError, TrackingError, first_line
from sentiment.format import join_names
from sentiment.report.run_summary import name_folder
from sentiment.report.sweep.rows import Objectives, make_job_rows, make_study_rows, make_trial_row, rank_rows
from sentiment.report.sweep.table import SweepRow, SweepTable
from sentiment.tracking.alive import ALIVE_FILE, is_alive
from sentiment.tracking.parent_file import read_parent
from sentiment.tracking.result_file import (
    ADOPTED_TAG,
    COPIED_TAG,
    DEBUG,
    FINGERPRINT_TAG,
    KNOWN_TAGS,
    NONE_KNOWN,
    RESULT_FILE,
    ResultRecord,
    list_commits,
    read_result,
    read_results,
    write_commit,
)

if TYPE_CHECKING:
    from sentiment.search.progress import StudyState
    from sentiment.search.study.history import StudyHistory

log = logging.getLogger(__name__)

Fact = Callable[[ResultRecord], str | None]
"""Reads a fact of a run; None where nobody knows."""


def _read_tag(name: str) -> Fact:
    return lambda record: record.tags.get(name)


FACTS: dict[str, Fact] = {
    "commit": lambda record: write_commit(record) if list_commits(record) else None,
    "hardware": _read_tag("hardware"),
    "device": _read_tag("device"),
    "data": _read_tag("data.description"),
    "data fingerprint": _read_tag(FINGERPRINT_TAG),
    **{f"{split} reviews known to start or teachers": _read_tag(tag) for split, tag in KNOWN_TAGS.items()},
}

VERSION = "version."

WARNINGS = {
    "data fingerprint": "The runs did not read the same data: their figures cannot be compared.",
    "commit": "The runs were not made by the same code (commits, uncommitted changes): a difference may come from it.",
}
"""What it means where the runs differ in a fact."""

UNNAMED = {"aarch64": "aarch64 ", "arm": "Apple "}
"""Processors as earlier versions wrote them, and how later ones begin to write the same: a study may have both."""

OTHER_MACHINES = "The runs were not timed on one hardware and device: a difference in time may come from it."


class SweepMissingError(SentimentError):
    """There is nothing to report on."""


def collect_sweep(
    sweep_dir: Path,
    objectives: Sequence[str] | None = None,
    *,
    storage_url: str | None = None,
    needs_storage: bool = True,
    is_over: bool = False,
) -> SweepTable:
    """Collect a sweep from its folder.

    Args:
        sweep_dir: Folder of a study or of a plain multirun.
        objectives: Metrics that were optimised, the first one ranks; None: what the study or the runs say.
        storage_url: The study's storage; None: what the folder says.
        needs_storage: Whether a study whose storage cannot be read is an error; else its runs' records suffice, and a
            note of the table says so.
        is_over: Of a plain multirun: its own command asks, after the last job.

    Raises:
        SweepMissingError: The folder holds no run and no study.
        SentimentError: A record or the study's storage cannot be read.
    """
    records, damaged = read_results(sweep_dir)
    history, command, last, notes = None, None, None, [f"{sentence} It is left out." for sentence in damaged]
    try:
        history, command, last = _read_study(sweep_dir, storage_url)
    except SentimentError as error:
        if needs_storage or not records:
            raise
        notes += [
            f"The study's storage cannot be read ({first_line(error)}), so the runs' own records tell how "
            "each ended; which trials break a limit is unknown."
        ]
    command = command or read_multirun_command(sweep_dir) or _ask_parent(sweep_dir)
    if not records and (history is None or not history.trials):
        raise SweepMissingError(
            f"{sweep_dir} holds no run and no study.",
            "name the folder of a sweep, e.g. multirun/NAME, or the id of its MLflow parent run",
        )
    numbers = [record.job_number for record in records if record.job_number is not None]
    if history is None and len(set(numbers)) < len(numbers):
        raise SweepMissingError(
            f"{sweep_dir} holds several sweeps, whose jobs have the same numbers.",
            "name the folder of one of them, e.g. multirun/NAME",
        )
    is_at_work = not is_over and is_alive(sweep_dir, ALIVE_FILE) if history is None else history.is_at_work
    table = collect_records(
        records, sweep_dir.name, objectives, history=history, command=command, is_at_work=is_at_work
    )
    facts = {"started last by": last} if last else {}
    place = shlex.quote(name_folder(sweep_dir.absolute()))
    return replace(table, notes=(*notes, *table.notes), facts={**facts, **table.facts}, place=place)


def collect_parent(run_id: str, tracking_uri: str) -> SweepTable:
    """Collect the sweep of an MLflow parent run from the store, for a machine that lacks the sweep's folder.

    Raises:
        SweepMissingError: The run has no jobs.
        TrackingError: The store cannot be read, or does not know the run.
    """
    from sentiment.search.study.history import parse_history
    from sentiment.tracking.mlflow.parent import HISTORY_ARTIFACT
    from sentiment.tracking.mlflow.read import fetch_artifact, read_child_records, read_parent_run

    parent = read_parent_run(tracking_uri, run_id)
    records = read_child_records(tracking_uri, run_id)
    file = fetch_artifact(tracking_uri, run_id, HISTORY_ARTIFACT)
    if not records and file is None:
        raise SweepMissingError(
            f"The MLflow run {run_id} has no jobs below it.",
            "name the parent run of a sweep; `python -m sentiment report` takes sweeps only",
        )
    history = None if file is None else parse_history(file.read_text(encoding="utf-8"))
    table = collect_records(records, parent.name, history=history, command=parent.command, is_copy=True)
    table = replace(table, place=run_id)
    if history is None and parent.is_study:
        note = (
            "MLflow has the study itself when its command ends; until then the runs' own records tell how each ended: "
            "every repeat stands alone, and which trials break a limit is unknown."
        )
        return replace(table, notes=(note, *table.notes))
    return table


def collect_records(
    records: Sequence[ResultRecord],
    name: str,
    objectives: Sequence[str] | None = None,
    *,
    history: StudyHistory | None = None,
    command: str | None = None,
    is_at_work: bool = False,
    is_copy: bool = False,
    judged_over: Collection[int] = (),
) -> SweepTable:
    """Make the table of records, and of their study where there is one; arguments as in `collect_sweep`.

    Records of trials whose points were tried again are left out, but for those whose results other trials have: the
    later ones stand for them.

    Args:
        records: Records of the sweep's jobs.
        name: The sweep's name.
        objectives: As in `collect_sweep`.
        history: The study; None: the sweep is no study, or its storage is gone.
        command: As in `collect_sweep`.
        is_at_work: Whether the sweep's command runs.
        is_copy: The history is MLflow's copy, made when a command last ended.
        judged_over: Jobs over a limit, where there is no history.
    """
    if history is not None and history.replaced:
        named = {job for trial in history.trials for job in trial.jobs}
        replaced = {
            number * history.repeats + repeat for number in history.replaced for repeat in range(history.repeats)
        }
        records = [one for one in records if one.job_number not in replaced - named]
    known = find_objectives(records, objectives, history)
    if history is None:
        rows = make_job_rows(records, known, is_at_work=is_at_work)
        broken = {"a limit of the study": math.inf}
        rows = [replace(row, excess=broken) if row.number in judged_over else row for row in rows]
    else:
        rows = make_study_rows(records, history, known, is_at_work=is_at_work, is_copy=is_copy)
    table = SweepTable(
        name=name if history is None else history.name,
        command=command,
        objectives=tuple(known),
        directions=tuple(known.values()),
        rows=tuple(rank_rows(rows, known)),
        varied=tuple(dict.fromkeys(key for row in rows for key in row.parameters)),
        facts=gather_facts(records) | ({} if history is None or history.budget is None else {"budget": history.budget}),
        log_scaled=frozenset() if history is None else history.log_scaled,
        is_study=history is not None,
        repeats=1 if history is None else history.repeats,
        is_at_work=is_at_work,
    )
    notes = _list_notes(table, is_copy=is_copy)
    judged_by = (*known, *(name for row in rows for name in row.excess))  # a limit on a time depends on the machine
    return replace(table, notes=(*notes, *note_differences(records, judged_by)))


def _list_notes(table: SweepTable, *, is_copy: bool) -> Iterator[str]:
    """List what a reader of the figures has to know: what was lost, which are means or copies, and which are equal."""

    def name(rows: Iterable[SweepRow]) -> list[str]:
        return [str(number) for number in sorted(row.number for row in rows)]

    if lost := name(row for row in table.rows if row.is_lost):
        trials = f"trial{'s' if len(lost) > 1 else ''} {', '.join(lost)}"
        yield (
            f"MLflow has the study as it stood when a command on it last ended; the runs of {trials} are newer: the "
            "table shows what they recorded, and does not rank them. A report where the study's folder is ranks all."
            if is_copy
            else f"The study's storage has no result of {trials}, but the runs' records have: the table shows what "
            "they recorded, and does not rank it. The storage was cut off, or is an older copy: restore it, or trust "
            "the result files."
        )
    if gone := name(row for row in table.rows if row.state == "complete" and 0 < len(row.runs) < table.repeats):
        yield (
            f"Some runs are gone of the trials {join_names(gone)}: what they measured beside the objectives is the "
            "mean of the runs that are left."
        )
    if table.bounded:
        yield (
            f"{join_names(table.bounded)}: means over a trial's repeats. The study ranks by their bound, which is one "
            "standard error worse (repeat_value=bound)."
        )
    if copies := sorted((row.number, row.origin) for row in table.rows if row.is_copy):
        named = join_names([f"{number} (of {origin})" for number, origin in copies])
        yield f"Copies, which went on from checkpoints that had other settings: {named}."
    if len(table.ties) > 1:
        numbers = join_names([str(row.number) for row in table.ties])
        told = "none of them is shown to be better; the lowest number has rank 1."
        yield f"The {table.noun}s {numbers} share the best {table.tell_scores()}: {told}"


@dataclass
class RunningStudy:
    """A study that this and perhaps other processes work on: only what changed since the last look is read."""

    name: str  # its name
    sweep_dir: Path  # its folder
    objectives: Objectives  # what it optimises
    repeats: int  # jobs per trial
    _rows: dict[int, tuple[Any, SweepRow]] = field(default_factory=dict)
    _trials: dict[int, Any] = field(default_factory=dict)

    def collect(self, state: StudyState) -> SweepTable:
        """Collect the table: who ranks where. Of the runs it has what names them, and of the best trial all.

        Args:
            state: The study, with all trials as the storage holds them: a trial that changes is another object.
        """
        self._trials = {trial.number: trial for trial in (*state.replaced, *state.trials)}
        for trial in state.trials:
            known = self._rows.get(trial.number)
            if known is None or known[0] is not trial:
                self._rows[trial.number] = trial, _shorten(self._make_row(trial))
        rows = rank_rows([self._rows[trial.number][1] for trial in state.trials], self.objectives)
        for row in rows:  # with its rank: few ranks change after a trial
            self._rows[row.number] = self._rows[row.number][0], row
        if rows and rows[0].rank == 1:
            rows[0] = replace(self._make_row(self._rows[rows[0].number][0]), rank=1, on_front=rows[0].on_front)
        return SweepTable(
            name=self.name,
            command=None,
            objectives=tuple(self.objectives),
            directions=tuple(self.objectives.values()),
            rows=tuple(rows),
            varied=tuple(dict.fromkeys(key for row in rows for key in row.parameters)),
            is_study=True,
            repeats=self.repeats,
        )

    def _make_row(self, trial: Any) -> SweepRow:
        from sentiment.search.study.history import read_trial

        told = read_trial(trial, self.repeats)
        records = map(self._read, told.jobs) if trial.state.is_finished() else ()
        runs = tuple(record for record in records if record is not None)
        return make_trial_row(told, runs, self.objectives)

    def _read(self, job: int) -> ResultRecord | None:
        """Read the record of a job whose result a trial has; None without one, or a damaged one: the report says so."""
        from sentiment.search.study.trial import read_folder

        number, repeat = divmod(job, self.repeats)
        # None where it was taken over from another study.
        folder = read_folder(self._trials[number], self.sweep_dir, repeat) or self.sweep_dir / str(job)
        try:
            return read_result(folder / RESULT_FILE) if (folder / RESULT_FILE).exists() else None
        except TrackingError:
            return None


def _shorten(row: SweepRow) -> SweepRow:
    """Leave out of a row what takes space and ranks nothing: a study may have thousands."""

    def shorten(record: ResultRecord) -> ResultRecord:
        tags = {name: text for name, text in record.tags.items() if name in (ADOPTED_TAG, COPIED_TAG)}
        params = {name: text for name, text in record.params.items() if name == DEBUG}
        return replace(record, params=params, history=(), metrics={}, overrides=(), tags=tags)

    return replace(row, metrics={}, curve=(), runs=tuple(map(shorten, row.runs)))


def gather_facts(records: Sequence[ResultRecord]) -> dict[str, str]:
    """Gather commit, hardware, data and versions; where runs differ in one, the latest come first, with their jobs.

    Returns:
        Fact to text.
    """
    facts = {}
    for name, fact in FACTS.items():
        text = _describe(records, fact)
        if text is not None:
            facts[name] = text
    names = dict.fromkeys(tag for record in records for tag in record.tags if tag.startswith(VERSION))
    versions = [f"{name.removeprefix(VERSION)} {_describe(records, _read_tag(name))}" for name in names]
    if versions:
        facts["versions"] = ", ".join(versions)
    return facts


def note_differences(records: Sequence[ResultRecord], metrics: Sequence[str]) -> tuple[str, ...]:
    """Say what makes a comparison by metrics doubtful: other data or code, known reviews; of times, other machines."""
    told = [text for name, text in WARNINGS.items() if len(_values(records, FACTS[name])) > 1]
    told += [
        f"The start or a teacher of some runs knows {split} reviews (or may, where it does not tell what it learned "
        f"from): their {split} figures are not those of reviews that were never seen. Their result.json has {tag}."
        for split, tag in KNOWN_TAGS.items()
        if any(record.tags.get(tag, NONE_KNOWN) != NONE_KNOWN for record in records)
    ]
    return (*told, *note_machines(records, metrics))


def note_machines(records: Sequence[ResultRecord], metrics: Iterable[str]) -> tuple[str, ...]:
    """Say so where there are times among the metrics, and the runs were timed on several machines."""
    is_mixed = any(len(_values(records, FACTS[name])) > 1 for name in ("hardware", "device"))
    return (OTHER_MACHINES,) if is_mixed and any(name.startswith("time/") for name in metrics) else ()


def _read_study(sweep_dir: Path, storage_url: str | None) -> tuple[StudyHistory | None, str | None, str | None]:
    """Return the study, where there is one, with the commands that started it first and last."""
    from sentiment.search.study.address_file import read_study_address
    from sentiment.search.study.history import has_study, read_study

    if storage_url is None and not has_study(sweep_dir):
        return None, None, None
    known = read_study_address(sweep_dir)
    commands = (None, None) if known is None else (known.command, known.last_command)
    return read_study(storage_url, sweep_dir), *commands


def _ask_parent(sweep_dir: Path) -> str | None:
    """Ask the parent run for the command: for the folders that do not tell it themselves."""
    parent = read_parent(sweep_dir)
    if parent is None:
        return None
    from sentiment.tracking.mlflow.read import read_parent_run

    try:
        return read_parent_run(parent.uri, parent.run_id).command
    except TrackingError as error:
        log.warning("The sweep's command is unknown: %s", first_line(error))
        return None


def find_objectives(
    records: Sequence[ResultRecord], objectives: Sequence[str] | None, history: StudyHistory | None
) -> Objectives:
    """Find what was optimised: what is asked for, what the study says, or else what the runs' settings say."""
    params = next((record.params for record in records if "objective" in record.params), {})
    if history is not None:
        count = len(history.directions)
        unnamed = ("objective",) if count == 1 else tuple(f"objective {number}" for number in range(1, count + 1))
        told = tuple(read_objectives(params)[0]) if params else ()  # a sweeper names its objectives where it is told to
        names = history.objectives or (told if len(told) == count else unnamed)
        own = dict(zip(names, history.directions, strict=True))
        return own if objectives is None else {name: own.get(name) or find_direction(name) for name in objectives}
    if objectives is not None:
        return {name: find_direction(name) for name in objectives}
    return dict(zip(*read_objectives(params), strict=True))


def _describe(records: Sequence[ResultRecord], fact: Fact) -> str | None:
    values = _values(records, fact)
    if len(values) < 2:
        return next(iter(values), None)
    latest_first = reversed(values.items())  # records are in the order of their jobs
    return "; ".join(f"{value} (jobs {_write_jobs(jobs)})" for value, jobs in latest_first)


def _write_jobs(jobs: Sequence[int | str]) -> str:
    """Write job numbers, those that follow each other as ``3 to 7``."""
    parts: list[list[int | str]] = []
    for job in jobs:
        if parts and isinstance(job, int) and isinstance(parts[-1][-1], int) and job == parts[-1][-1] + 1:
            parts[-1].append(job)
        else:
            parts.append([job])
    ranges = (f"{part[0]} to {part[-1]}" if len(part) > 2 else ", ".join(map(str, part)) for part in parts)
    return ", ".join(ranges)


def name_machines(texts: Collection[str]) -> dict[str, str]:
    """Return each hardware's text by itself, but one without the processor's name by the only one that it can be."""
    named = {}
    for text in texts:
        processor, _, rest = text.partition(", ")
        begin = UNNAMED.get(processor)
        same = [] if begin is None else [one for one in texts if one.startswith(begin) and one.endswith(f", {rest}")]
        named[text] = same[0] if len(same) == 1 else text
    return named


def _values(records: Sequence[ResultRecord], fact: Fact) -> dict[str, list[int | str]]:
    texts = [fact(record) for record in records]
    named = name_machines({text for text in texts if text is not None})
    found: dict[str, list[int | str]] = {}
    for record, text in zip(records, texts, strict=True):
        if text is not None:
            job = record.name if record.job_number is None else record.job_number
            found.setdefault(named[text], []).append(job)
    return found
