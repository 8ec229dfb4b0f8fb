"""Compare two runs, or groups of runs over seeds, as a plain table; how such groups are made, told apart and named."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sentiment.config.identity import is_incidental
from sentiment.config.objective import Direction, find_direction
from sentiment.config.reading import DATA_PATHS
from sentiment.errors import SentimentError
from sentiment.format import find_bounds, format_setting, join_names
from sentiment.nearest import nearest
from sentiment.report.statistics import (
    ALPHA,
    Difference,
    Estimate,
    Flags,
    compare_seeds,
    correct_p_values,
    mean_interval,
    paired_bootstrap,
)
from sentiment.report.sweep.collect import note_differences
from sentiment.report.sweep.table import SweepTable
from sentiment.tracking.anew import list_settings
from sentiment.tracking.result_file import BEHIND_NAMES, FINGERPRINT_TAG, ResultRecord, differ_in
from sentiment.tracking.run_name import shorten
from sentiment.tracking.runs import StoredRun

NEUTRAL = ("seed", "trainer.test", *DATA_PATHS)
"""Settings in which runs of one group may differ: the fingerprint, not the path, tells what a file holds."""


MOST_TOLD = 60
"""Characters of a group's settings in its name, which stands in every sentence and row on it."""

MOST_OF_SETTING = 40
"""Characters of the value of one of them."""


@dataclass(frozen=True)
class Group:
    """Runs of one setting."""

    name: str  # what tells it from the other groups
    runs: tuple[str, ...]  # names of its runs
    values: Mapping[int, float]  # seed of each run to its metric, in order
    estimate: Estimate  # mean and interval over the seeds


@dataclass(frozen=True)
class Pair:
    """Two groups compared."""

    first: str  # name of the one
    second: str  # name of the other
    difference: Difference | None  # first minus second; None where nothing can be tested
    p_value: float  # of the difference, corrected for the number of pairs (Holm); NaN where nothing can be tested
    better: str | None  # name of the better one; None where no difference is shown


@dataclass(frozen=True)
class Comparison:
    """The table, and what it says."""

    metric: str  # what was compared: ``test/accuracy``
    direction: Direction  # which way is better
    groups: tuple[Group, ...]  # the groups, best mean first
    pairs: tuple[Pair, ...]  # all pairs, in the order of the groups
    notes: tuple[str, ...]  # what the reader must know beside the numbers


def compare_runs(
    groups: Mapping[str, Sequence[StoredRun]], metric: str | None = None, notes: Sequence[str] = ()
) -> Comparison:
    """Compare groups of runs, all pairs of them.

    Two single runs on test accuracy are compared over the test reviews (paired bootstrap), everything else over seeds
    (t tests); see `sentiment.report.statistics` for what each assumes.

    Args:
        groups: Name to runs, which differ in the seed alone.
        metric: What to compare; None: test accuracy where all runs have it, else validation accuracy.
        notes: What the reader must know of how the groups were found.

    Raises:
        SentimentError: There are fewer than two groups, a run is in two of them, is a try, has not finished or lacks
            the metric, runs of a group differ in more than the seed, or the runs do not share their data.
        TrackingError: The test predictions of two single runs are missing or cannot be read.
    """
    _require_disjoint(groups)
    records = {name: [run.record for run in runs] for name, runs in groups.items()}
    _require_groups(records)
    _require_same_data(records)
    chosen, found = _choose_metric(records, metric)
    told = note_differences([record for members in records.values() for record in members], [chosen])
    notes = [*dict.fromkeys([*notes, *told]), *found, *_note_settings(records)]  # a sweep may have told it of its own
    direction = find_direction(chosen)
    rows = [_make_group(name, members, chosen) for name, members in records.items()]
    rows.sort(key=lambda row: row.estimate.value, reverse=direction == "maximize")
    couples = list(itertools.combinations(rows, 2))
    tested: list[Difference | None]
    if chosen == "test/accuracy" and all(len(runs) == 1 for runs in groups.values()):
        right = _read_correctness({name: runs[0] for name, runs in groups.items()})
        tested = [paired_bootstrap(right[first.name], right[second.name]) for first, second in couples]
        notes.append("One run each: the test is over the reviews, and says nothing about other seeds.")
    else:
        tested = [compare_seeds(first.values, second.values, find_bounds(chosen)) for first, second in couples]
        if chosen.startswith(("val/", "test/")) and any(tested):
            notes.append("The test is over the seeds, on these reviews alone: what depends on them is not in it.")
    pairs = _judge(couples, tested, direction)
    count = sum(math.isfinite(pair.p_value) for pair in pairs)
    if count > 1:
        notes.append(f"p values are corrected for {count} pairs (Holm 1979); each interval stands for itself.")
    return Comparison(chosen, direction, tuple(rows), pairs, tuple(notes))


def _require_disjoint(groups: Mapping[str, Sequence[StoredRun]]) -> None:
    """Refuse a run in two groups, by whatever names it was found: no difference of theirs would be one of samples."""
    group_of: dict[str, str] = {}
    for name, runs in groups.items():
        for run in runs:
            record = run.record  # a copy of a run elsewhere has its name, start and duration
            training = None if record.seconds is None else f"{record.name} {record.started} {record.seconds}"
            identities = list(filter(None, [str(run.folder.resolve()), record.run_id, training]))
            others = [group_of[identity] for identity in identities if group_of.get(identity, name) != name]
            if others:
                raise SentimentError(
                    f"The run {record.name!r} ({run.folder}) is in {others[0]} and in {name}, so it would count twice.",
                    "name each run in one group: A,B C,D",
                )
            group_of |= dict.fromkeys(identities, name)


def _require_groups(groups: Mapping[str, Sequence[ResultRecord]]) -> None:
    if len(groups) < 2 or not all(groups.values()):
        raise SentimentError(
            f"A comparison needs two groups with a run each; there are {len(groups)}.",
            "name two runs or groups, or a multirun with two models",
        )
    for name, records in groups.items():
        for record in records:
            if record.is_try:
                raise SentimentError(
                    f"The run {record.name!r} of {name} is a try (debug), and its figures say nothing.",
                    "leave it out, or train it without debug",
                )
            if record.status != "FINISHED":
                raise SentimentError(
                    f"The run {record.name!r} of {name} is {record.status}; only finished runs are compared.",
                    "leave it out, or run it again",
                )
        varying = [key for key in list_differing(records) if key not in NEUTRAL]
        if varying:
            everywhere = list_differing([record for members in groups.values() for record in members])
            is_one = [key for key in everywhere if key not in NEUTRAL] == varying[:1]
            asked = f"group by what is the question: --by {varying[0]}; or " if is_one else ""
            raise SentimentError(
                f"The runs of {name} differ in more than the seed: {join_names(varying)}.",
                f"{asked}name single runs (A B), or groups of runs whose settings are equal but for the seed (A,B C,D)",
            )
        for tag, how in BEHIND_NAMES.items():
            if differ_in(tag, records):
                raise SentimentError(f"The runs of {name} {how}.", "make a group of those that share them: A,B C,D")
        seeds = [record.params.get("seed") for record in records]
        doubled = sorted({str(seed) for seed in seeds if seeds.count(seed) > 1})
        if doubled:
            raise SentimentError(
                f"{name} has several runs of seed {join_names(doubled)}: they are the same run again, and no sample.",
                "name each seed once",
            )


def _require_same_data(groups: Mapping[str, Sequence[ResultRecord]]) -> None:
    runs = [(name, record) for name, records in groups.items() for record in records]
    first_name, first = runs[0]
    for name, record in runs:
        mine, theirs = first.tags.get(FINGERPRINT_TAG), record.tags.get(FINGERPRINT_TAG)
        if mine is None or theirs is None:
            nameless = first if mine is None else record
            raise SentimentError(
                f"The run {nameless.name!r} has no data fingerprint, so nobody knows what it was trained on.",
                "run it again with this version",
            )
        if mine != theirs:
            keys = [key for key in list_differing([first, record]) if key.startswith("data.")]
            settings = [f"{key} is {first.params.get(key, '-')} and {record.params.get(key, '-')}" for key in keys]
            raise SentimentError(
                "The runs were not trained and tested on the same data, so their metrics do not compare:\n"
                f"  {first_name}: {first.name!r}: {mine[:12]}, {first.tags.get('data.description', 'no description')}\n"
                f"  {name}: {record.name!r}: {theirs[:12]}, {record.tags.get('data.description', 'no description')}\n"
                f"  {'; '.join(settings) or 'their data settings agree: the files themselves changed'}",
                "run both on the same data, split and number of training reviews",
            )


def _choose_metric(groups: Mapping[str, Sequence[ResultRecord]], metric: str | None) -> tuple[str, list[str]]:
    records = [record for members in groups.values() for record in members]
    if metric is None:
        if all("test/accuracy" in record.metrics for record in records):
            return "test/accuracy", []
        untested = sum("test/accuracy" not in record.metrics for record in records)
        note = f"Validation, because {untested} of {len(records)} runs left the test split alone; "
        note += "checkpoints were selected on it, so it flatters all of them a little."
        return _choose_metric(groups, "val/accuracy")[0], [note]
    for record in records:
        if metric not in record.numbers:
            shared = [name for name in record.numbers if all(name in other.numbers for other in records)]
            raise SentimentError(
                f"The run {record.name!r} has no {metric}.",
                f"choose a metric that all have: {join_names(shared) or 'none'}",
            )
    return metric, []


def _note_settings(groups: Mapping[str, Sequence[ResultRecord]]) -> list[str]:
    """Name what the groups differ in: with several settings, the comparison does not say which one matters."""
    firsts = [records[0] for records in groups.values()]
    keys = [key for key in list_differing(firsts) if key not in NEUTRAL]
    if len({record.option for record in firsts}) > 1:
        keys = ["model", *(key for key in keys if not key.startswith("model."))]
    return [f"The groups differ in {join_names(keys)}."] if len(keys) > 1 else []


def _make_group(name: str, records: Sequence[ResultRecord], metric: str) -> Group:
    ordered = sorted(records, key=lambda record: int(record.params["seed"]))
    if bad := [record.name for record in ordered if not math.isfinite(record.numbers[metric])]:
        raise SentimentError(
            f"{metric} of {join_names(bad)} is no finite number.", "choose another --metric, or leave it out"
        )
    values = {int(record.params["seed"]): record.numbers[metric] for record in ordered}
    estimate = mean_interval(list(values.values()), find_bounds(metric))
    return Group(name, tuple(record.name for record in ordered), values, estimate)


def _read_correctness(runs: Mapping[str, StoredRun]) -> dict[str, Flags]:
    stored = {name: run.read_test_predictions() for name, run in runs.items()}
    (first, one), *others = stored.items()
    for name, other in others:
        if len(one.labels) != len(other.labels) or not np.array_equal(one.labels, other.labels):
            raise SentimentError(
                f"The test predictions of {first} and {name} are of different reviews ({len(one.labels):,} and "
                f"{len(other.labels):,}, or their labels differ).",
                "run both on the same data: one of the folders holds predictions of another run",
            )
    return {name: item.probabilities.argmax(axis=1) == item.labels for name, item in stored.items()}


def _judge(
    couples: Sequence[tuple[Group, Group]], tested: Sequence[Difference | None], direction: Direction
) -> tuple[Pair, ...]:
    """Correct the p values for the number of pairs, and name the better one of each where a difference is shown."""
    corrected = correct_p_values([math.nan if found is None else found.p_value for found in tested])
    pairs = []
    for (first, second), found, p_value in zip(couples, tested, corrected, strict=True):
        better = None
        if found is not None and p_value < ALPHA:
            better = first.name if (found.value > 0) == (direction == "maximize") else second.name
        pairs.append(Pair(first.name, second.name, found, p_value, better))
    return tuple(pairs)


def split_runs(runs: Sequence[StoredRun], by: str) -> dict[str, list[StoredRun]]:
    """Group runs of a sweep by a setting: ``model``, ``model.pooling``, or ``pooling`` where no other ends so.

    Raises:
        SentimentError: No run has the setting, or all have the same value.
    """
    varying = [key for key in list_differing([run.record for run in runs]) if key not in NEUTRAL]
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
        remedy = f"group by a setting in which they differ: --by KEY, one of {join_names(varying)}"
        if not varying:
            remedy = "all have the same settings but for the seed: name others to compare them with, or two of them"
        hint = f"did you mean --by {near}? " if near else ""
        raise SentimentError(f"The runs cannot be grouped by {by}: there is {found}.", hint + remedy)
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
    """Name groups by what tells them apart: the model, and where several have it, settings in which these differ."""
    options = [runs[0].record.option for runs in groups]
    names = []
    for runs, option in zip(groups, options, strict=True):
        alike = [other for other, of in zip(groups, options, strict=True) if of == option]
        settings = runs[0].record.settings
        told = {key: _keep_end(settings[key]) for key in _list_telling(alike) if key in settings}
        names.append(shorten(option, told, MOST_TOLD))
    return [name if names.count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names, start=1)]


def _keep_end(text: str) -> str:
    """Return the end of a long setting, such as a path: runs of one place differ there."""
    return text if len(text) <= MOST_OF_SETTING else f"…{text[-MOST_OF_SETTING:]}"


def _list_telling(groups: Sequence[Sequence[StoredRun]]) -> list[str]:
    """List the settings in which groups differ; those first that tell the most of them apart, as a name is cut."""
    records = [runs[0].record for runs in groups]
    are_single = all(len(runs) == 1 for runs in groups)
    keys = [key for key in list_differing(records) if key not in NEUTRAL or (key == "seed" and are_single)]
    told: list[str] = []
    while len(told) < len(keys):
        rest = [key for key in keys if key not in told]
        told.append(max(rest, key=lambda key: len({tuple(map(one.settings.get, [*told, key])) for one in records})))
    return told


def list_differing(records: Sequence[ResultRecord]) -> list[str]:
    """List the settings that differ between runs, but for where and how they were done."""
    settings = list_settings(records)
    keys = dict.fromkeys(key for one in settings for key in one if not is_incidental(key))
    return [key for key in keys if len({one.get(key) for one in settings}) > 1]
