"""Runs that differ in the seed alone, gathered: the table of an experiment on record, and its chart."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from sentiment.config.identity import is_incidental
from sentiment.format import (
    format_number,
    format_points,
    format_setting,
    is_number,
    is_share,
    name_metric,
    shorten_keys,
    tell_apart,
    write_csv_cell,
)
from sentiment.report.draw.chart import Axis, Chart, Kind, Panel, Role, Series, Value
from sentiment.report.draw.table import write_markdown
from sentiment.report.sweep.table import SweepRow, SweepTable
from sentiment.tracking.anew import list_settings
from sentiment.tracking.result_file import (
    BEHIND_NAMES,
    FINGERPRINT_TAG,
    LESSONS_TAG,
    START_TAG,
    WORDS_TAG,
    ResultRecord,
    differ_in,
)
from sentiment.tracking.run_name import parse_overrides

Point = tuple[Value, Value]

NAMED_BY = {WORDS_TAG: "pretrain.name", START_TAG: "trainer.init_from", LESSONS_TAG: "trainer.teachers"}
"""The settings behind whose names there is what a tag tells of: where one is null, there is nothing to tell."""

LEAST_LINE_POINTS = 3
"""Distinct numbers of a setting from which a line over them tells more than a list."""


@dataclass(frozen=True)
class RunGroup:
    """Runs of one setting over several seeds."""

    model: str  # name of the model
    settings: Mapping[str, str]  # what tells this group from the others: full key to value
    seeds: tuple[int, ...]  # seeds, in order
    objective: str  # what ranks, on validation
    validation: tuple[float, ...]  # the objective of each seed's selected checkpoint
    test: tuple[float | None, ...]  # the metric `tested_by` of each; None where a run left the test split alone
    parameters: int  # trainable parameters
    minutes: tuple[float, ...]  # wall time of fitting, of each seed
    score: float  # what orders it: the mean of `validation`, or of the bounds by which its study ranks
    is_over_limit: bool = False  # a run of it breaks a limit of its study
    again: int = 0  # further runs of seeds that it has: the first one of a seed counts, as the others are no new sample

    @property
    def tested(self) -> tuple[float, ...]:
        """What the test says of the runs that were tested."""
        return tuple(value for value in self.test if value is not None)

    @property
    def tested_by(self) -> str:
        """The metric of the test: the measure of the objective, or accuracy where that is a cost."""
        return name_test(self.objective)

    def write_label(self, names: Mapping[str, str], write: Callable[[object], str] = format_setting) -> str:
        """Write model and the settings that have names in a line, each value by a function."""
        parts = [f"{names[key]}={write(value)}" for key, value in self.settings.items() if key in names]
        return " ".join([self.model, *parts])


def group_runs(table: SweepTable) -> list[RunGroup]:
    """Gather the runs of each setting; the best score of the first objective comes first, those over a limit last.

    A repeat may have finished although its trial was pruned, failed or was cut off: complete trials alone count.
    """
    objective = table.objectives[0]
    complete = {id(run): row for row in table.rows if row.state == "complete" for run in row.runs}
    finished = [
        run for run in table.records if id(run) in complete and run.status == "FINISHED" and objective in run.numbers
    ]
    keys = differing_keys(finished)
    # Records have no paths: what the files held tells them apart.
    data = {record.tags.get(FINGERPRINT_TAG) for record in finished}
    tags = [FINGERPRINT_TAG] if len(data) > 1 else []
    gathered = _gather(finished, keys, tags)
    told = [tag for tag in BEHIND_NAMES if any(differ_in(tag, runs) for runs in gathered.values())]
    if told:
        gathered = _gather(finished, keys, [*tags, *told])
    groups = [
        _make_group(model, dict(settings), [(run, complete[id(run)]) for run in runs], objective)
        for (model, settings), runs in gathered.items()
    ]
    sign = -1.0 if table.directions[0] == "maximize" else 1.0

    def order(group: RunGroup) -> tuple[bool, bool, float]:
        is_undefined = math.isnan(group.score)
        return group.is_over_limit, is_undefined, 0.0 if is_undefined else sign * group.score

    return sorted(groups, key=order)


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


def _gather(
    records: Sequence[ResultRecord], keys: Sequence[str], tags: Sequence[str]
) -> dict[tuple[str, tuple[tuple[str, str], ...]], list[ResultRecord]]:
    """Gather runs by model, settings and tags, each in the order of their seeds."""
    gathered: dict[tuple[str, tuple[tuple[str, str], ...]], list[ResultRecord]] = {}
    beside = zip(records, list_settings(records), strict=True)
    for record, one in sorted(beside, key=lambda pair: int(pair[0].params["seed"])):
        values = [(key, read_setting(one, key)) for key in keys]
        settings = [(key, value) for key, value in values if value is not None]
        settings += [(tag, record.tags.get(tag, "unknown")[:12]) for tag in tags if _has_behind(record, tag)]
        gathered.setdefault((record.option, tuple(settings)), []).append(record)
    return gathered


def _has_behind(record: ResultRecord, tag: str) -> bool:
    """Return whether a run has what a tag tells of, though one of an earlier version may not tell it."""
    key = NAMED_BY.get(tag)
    return tag in record.tags or key is None or read_setting(record.settings, key) not in (None, "null")


def name_test(objective: str) -> str:
    """Return the metric of the test that stands beside an objective: the same measure, else accuracy."""
    return objective.replace("val/", "test/") if objective.startswith("val/") else "test/accuracy"


def _make_group(
    model: str, settings: Mapping[str, str], found: Sequence[tuple[ResultRecord, SweepRow]], objective: str
) -> RunGroup:
    first: dict[str, tuple[ResultRecord, SweepRow]] = {}
    for run, row in found:
        first.setdefault(run.params["seed"], (run, row))
    runs = [run for run, _ in first.values()]
    return RunGroup(
        model=model,
        settings=settings,
        seeds=tuple(int(run.params["seed"]) for run in runs),
        objective=objective,
        validation=tuple(run.numbers[objective] for run in runs),
        test=tuple(run.metrics.get(name_test(objective)) for run in runs),
        parameters=max(run.parameters or 0 for run in runs),
        minutes=tuple((run.seconds or math.nan) / 60 for run in runs),
        score=mean(row.bounds.get(objective, run.numbers[objective]) for run, row in first.values()),
        is_over_limit=any(row.excess for _, row in found),
        again=len(found) - len(first),
    )


def format_groups(groups: Sequence[RunGroup], limit: int | None = None) -> str:
    """Write the groups as a Markdown table, shares in percent: mean ± standard deviation (each seed)."""
    keys = _name_keys(groups)
    is_tested = any(group.tested for group in groups)
    names = ["model", *keys.values(), "seeds", _name_column("validation", groups[0].objective)]
    names += [_name_column("test", groups[0].tested_by)] if is_tested else []
    names += ["parameters", "minutes a run"]
    rows = []
    for group in groups[:limit]:
        model = f"{group.model} (over a limit)" if group.is_over_limit else group.model
        cells = [model, *(format_setting(group.settings.get(key, "")) for key in keys)]
        cells += [", ".join(map(str, group.seeds)), format_spread(group.objective, group.validation)]
        cells += [_format_test(group)] if is_tested else []
        rows.append([*cells, format_number(group.parameters), f"{mean(group.minutes):.1f}"])
    return "\n".join(write_markdown(names, rows))


def format_csv(groups: Sequence[RunGroup]) -> str:
    """Write one line per run, numbers in full."""
    keys = list(_name_keys(groups))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    tested_by = groups[0].tested_by if groups else "test/accuracy"
    writer.writerow(["model", *keys, "seed", "validation", tested_by, "parameters", "minutes"])
    for group in groups:
        runs = zip(group.seeds, group.validation, group.test, group.minutes, strict=True)
        for seed, validation, test, minutes in runs:
            settings = [group.settings.get(key) for key in keys]
            cells = [group.model, *map(write_csv_cell, settings), seed, validation, test]
            writer.writerow([*cells, group.parameters, round(minutes, 2)])
    return stream.getvalue()


def _name_keys(groups: Sequence[RunGroup]) -> dict[str, str]:
    """Name the settings of all groups, in order; the option of a group goes by the group's own name."""
    keys = dict.fromkeys(key for group in groups for key in group.settings)
    names = shorten_keys(key.removesuffix(".name") for key in keys)
    return {key: names[key.removesuffix(".name")] for key in keys}


def _name_column(split: str, metric: str) -> str:
    """Name a column by its split, and by its measure where that is not accuracy."""
    return split if metric.endswith("/accuracy") else f"{split} ({metric.rpartition('/')[2]})"


def format_spread(metric: str, values: Sequence[float]) -> str:
    """Write a metric over seeds, a share of one in percent: mean ± standard deviation (each), or the one value."""
    if not values:
        return "-"
    show = format_points if is_share(metric) else format_number
    each = ", ".join(map(show, values))
    if len(values) < 2:
        return each
    spread = stdev(values) if all(map(math.isfinite, values)) else math.nan
    return f"{show(mean(values))} ± {show(spread)} ({each})"


def _format_test(group: RunGroup) -> str:
    """Write the test's metric as `format_spread` does; where some seeds were not tested, which ones were."""
    text = format_spread(group.tested_by, group.tested)
    tested = [seed for seed, value in zip(group.seeds, group.test, strict=True) if value is not None]
    return text if len(tested) in (0, len(group.seeds)) else f"{text}; seeds {', '.join(map(str, tested))} only"


def make_group_chart(groups: Sequence[RunGroup], name: str, title: str, metric: str) -> Chart:
    """Draw validation (and test) of each setting: over a setting that is a scale where there is one, else as a list."""
    scale = _find_scale(groups)
    panel = _make_list(groups, metric) if scale is None else _make_lines(groups, scale, metric)
    seeds = max(len(group.seeds) for group in groups)
    caption = f"Small dots: single runs ({seeds} seeds); large: their mean." if seeds > 1 else "One run per point."
    return Chart(name, title, caption, (panel,))


def _make_list(groups: Sequence[RunGroup], metric: str) -> Panel:
    series: list[Series] = []
    names = _name_keys(groups)
    labels = tell_apart(groups, lambda group: group.write_label(names), lambda group: group.write_label(names, str))
    named = list(zip(labels, groups, strict=True))
    measure = metric.rpartition("/")[2]
    tested = [(label, group.tested) for label, group in named if group.tested]
    if name_test(metric).rpartition("/")[2] != measure:
        tested = []  # accuracy has no place on the axis of a cost
    for name, values in (("validation", [(label, group.validation) for label, group in named]), ("test", tested)):
        points: list[Point] = [(value, label) for label, each in values for value in each]
        means: list[Point] = [(mean(each), label) for label, each in values]
        if means:
            series += [_series("", "markers", points, name, role="faint"), _series(name, "markers", means, name)]
    axis = Axis(name_metric(measure if tested else metric), is_percent=is_share(metric))
    return Panel(axis, Axis("", categories=tuple(labels)), tuple(series))


def _make_lines(groups: Sequence[RunGroup], scale: str, metric: str) -> Panel:
    names = {key: name for key, name in _name_keys(groups).items() if key != scale}
    lines: dict[str, list[RunGroup]] = {}
    for group in groups:
        lines.setdefault(group.write_label(names, str), []).append(group)
    series: list[Series] = []
    for name in sorted(lines):
        ordered = sorted(
            ((float(group.settings[scale]), group.validation) for group in lines[name]), key=lambda pair: pair[0]
        )
        points: list[Point] = [(x, value) for x, each in ordered for value in each]
        means: list[Point] = [(x, mean(each)) for x, each in ordered]
        if len(points) > len(means):
            series.append(_series("", "markers", points, name, role="faint"))
        series.append(_series(name, "line+markers", means, name))
    positions = sorted({float(group.settings[scale]) for group in groups})
    is_log = len(positions) > 2 and positions[0] > 0 and positions[-1] / positions[0] >= 8
    return Panel(Axis(scale, is_log=is_log), Axis(name_metric(metric), is_percent=is_share(metric)), tuple(series))


def _find_scale(groups: Sequence[RunGroup]) -> str | None:
    for key in _name_keys(groups):
        values = {group.settings.get(key, "") for group in groups}
        if len(values) >= LEAST_LINE_POINTS and all(map(is_number, values)):
            return key
    return None


def _series(name: str, kind: Kind, points: Sequence[Point], group: str, role: Role = "plain") -> Series:
    x, y = (tuple(point[side] for point in points) for side in (0, 1))
    return Series(name, kind, x, y, role=role, group=group)
