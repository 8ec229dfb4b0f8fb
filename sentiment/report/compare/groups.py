"""Groups of runs that are compared: how they are made, distinguished and named."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sentiment.config.identity import is_incidental
from sentiment.config.reading import DATA_PATHS
from sentiment.errors import SentimentError
from sentiment.format import format_setting, join_names
from sentiment.nearest import nearest
from sentiment.report.sweep.table import SweepTable
from sentiment.tracking.anew import list_settings
from sentiment.tracking.result_file import ResultRecord
from sentiment.tracking.run_name import shorten
from sentiment.tracking.runs import StoredRun

NEUTRAL = ("seed", "trainer.test", *DATA_PATHS)
"""Settings in which runs of one group may differ: the fingerprint, not the path, tells what a file holds."""


def split_runs(runs: Sequence[StoredRun], by: str) -> dict[str, list[StoredRun]]:
    """Group runs of a sweep by a setting: ``model``, ``model.pooling``, or ``pooling`` where no other ends so.

    Raises:
        SentimentError: No run has the setting, or all have the same value.
    """
    varying = _varying(runs)
    settings = list_settings([run.record for run in runs])
    key = _complete(by, varying, dict.fromkeys(key for one in settings for key in one))
    groups: dict[str, list[StoredRun]] = {}
    for run, one in zip(runs, settings, strict=True):
        value = run.record.option if by == "model" else one.get(key)
        if value is not None:
            groups.setdefault(value, []).append(run)
    if by != "model":
        shown = [format_setting(value) for value in groups]
        # Two numbers may be equal to the digits that people read.
        values = shown if len(set(shown)) == len(groups) else list(groups)
        groups = {f"{by.rpartition('.')[2]}={text}": groups[value] for text, value in zip(values, groups, strict=True)}
    if len(groups) < 2:
        found = f"only {next(iter(groups))}" if groups else "no finished run that has it"
        near = None if groups else nearest(by, ["model", *varying])
        raise SentimentError(
            f"The runs cannot be grouped by {by}: there is {found}.",
            ""
            + (f"did you mean --by {near}? " if near else "")
            + f"group by a setting in which they differ: --by KEY, one of {join_names(varying) or 'none'}",
        )
    return groups


def _complete(by: str, varying: Sequence[str], known: Collection[str]) -> str:
    """Return the key that a person means, who may name a group (``optimizer``) or the last part of one key alone."""
    if by in known or f"{by}.name" in known:
        return by if by in known else f"{by}.name"
    for keys in (varying, known):
        named = [key for key in keys if key.rpartition(".")[2] == by]
        if named:
            return named[0] if len(named) == 1 else by
    return by


def keep_finished(runs: Sequence[StoredRun], table: SweepTable) -> tuple[list[StoredRun], list[str]]:
    """Leave out the jobs of a sweep that did not finish, or whose trial did not.

    Returns:
        The finished ones (all of them where none is, for the error to name them), and what the reader must know.
    """
    # Several trials may have the result of one job: it counts where one of them is complete.
    complete_last = sorted(table.rows, key=lambda row: row.state == "complete")
    rows = {_identify(record): row for row in complete_last for record in row.runs}
    states = [rows[one].state if (one := _identify(run.record)) in rows else "of no trial" for run in runs]
    finished = [run for run, state in zip(runs, states, strict=True) if state == "complete"]
    notes = list(table.notes)
    if not finished:
        return list(runs), notes
    told = zip(runs, states, strict=True)
    if others := [f"{_name_job(run.record)} ({state})" for run, state in told if state != "complete"]:
        notes.append(f"Left out, because they did not finish: jobs {join_names(others)}.")
    if over := [_name_job(run.record) for run in finished if rows[_identify(run.record)].excess]:
        notes.append(f"These break a limit of their study: jobs {join_names(over)}.")
    return finished, notes


def _identify(record: ResultRecord) -> tuple[int | None, str, str]:
    return record.job_number, record.name, record.started  # single runs beside each other have no number


def _name_job(record: ResultRecord) -> str:
    return record.name if record.job_number is None else str(record.job_number)


def name_groups(groups: Sequence[Sequence[StoredRun]]) -> list[str]:
    """Name groups by what tells them apart: the model where that suffices, else the settings that differ, too."""
    records = [runs[0].record for runs in groups]
    models = [record.option for record in records]
    if len(set(models)) == len(models):
        return models
    keys = [key for key in list_differing(records) if key in records[0].settings and key != "model.name"]
    keys = [key for key in keys if key not in NEUTRAL or (key == "seed" and all(len(runs) == 1 for runs in groups))]
    names = [shorten(record.option, {key: record.settings.get(key, "-") for key in keys}) for record in records]
    return [name if names.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names, start=1)]


def list_differing(records: Sequence[ResultRecord]) -> list[str]:
    """List the settings that differ between runs, but for where and how they were done."""
    settings = list_settings(records)
    keys = dict.fromkeys(key for one in settings for key in one if not is_incidental(key))
    return [key for key in keys if len({one.get(key) for one in settings}) > 1]


def _varying(runs: Sequence[StoredRun]) -> list[str]:
    return [key for key in list_differing([run.record for run in runs]) if key not in NEUTRAL]
