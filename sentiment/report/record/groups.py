"""Runs that differ in the seed alone, gathered: the table of an experiment on record."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from sentiment.config.objective import Direction
from sentiment.format import format_number, format_points, format_setting, is_share
from sentiment.report.record.store import differing_keys
from sentiment.tracking.result_file import ResultRecord


@dataclass(frozen=True)
class RunGroup:
    """Runs of one setting over several seeds.

    Attributes:
        model: Name of the model.
        settings: What tells this group from the others: full key to value.
        seeds: Seeds, in order.
        objective: What ranks, on validation.
        validation: The objective of each seed's selected checkpoint.
        test: Test accuracy of each; empty where the test split was left alone.
        parameters: Trainable parameters.
        minutes: Wall time of fitting and testing, of each seed.
        epochs: Passes over the training data of the longest run.
    """

    model: str
    settings: Mapping[str, str]
    seeds: tuple[int, ...]
    objective: str
    validation: tuple[float, ...]
    test: tuple[float, ...]
    parameters: int
    minutes: tuple[float, ...]
    epochs: float

    @property
    def label(self) -> str:
        """Model and settings in a line."""
        parts = [f"{key.rpartition('.')[2]}={format_setting(value)}" for key, value in self.settings.items()]
        return " ".join([self.model, *parts])


def group_runs(records: Sequence[ResultRecord], objective: str, direction: Direction) -> list[RunGroup]:
    """Gather the finished runs of each setting; the best mean on validation first.

    Args:
        records: Runs of a sweep; pruned and failed ones are left out.
        objective: Metric on validation that ranks.
        direction: Which way is better.
    """
    finished = [record for record in records if record.status == "FINISHED" and objective in record.metrics]
    keys = differing_keys(finished)
    gathered: dict[tuple[str, tuple[tuple[str, str], ...]], list[ResultRecord]] = {}
    for record in sorted(finished, key=lambda run: int(run.params["seed"])):
        settings = tuple((key, record.params[key]) for key in keys if key in record.params)
        gathered.setdefault((record.model, settings), []).append(record)
    groups = [_make_group(model, dict(settings), runs, objective) for (model, settings), runs in gathered.items()]
    sign = -1.0 if direction == "maximize" else 1.0
    return sorted(groups, key=lambda group: sign * mean(group.validation))


def _make_group(model: str, settings: Mapping[str, str], runs: Sequence[ResultRecord], objective: str) -> RunGroup:
    return RunGroup(
        model=model,
        settings=settings,
        seeds=tuple(int(run.params["seed"]) for run in runs),
        objective=objective,
        validation=tuple(run.metrics[objective] for run in runs),
        test=tuple(run.metrics["test/accuracy"] for run in runs if "test/accuracy" in run.metrics),
        parameters=max(run.parameters or 0 for run in runs),
        minutes=tuple((run.seconds or math.nan) / 60 for run in runs),
        epochs=max(run.epochs or math.nan for run in runs),
    )


def format_groups(groups: Sequence[RunGroup], limit: int | None = None) -> str:
    """Write the groups as a Markdown table, shares in percent: mean ± standard deviation (each seed)."""
    keys = list(dict.fromkeys(key for group in groups for key in group.settings))
    is_tested = any(group.test for group in groups)
    names = ["model", *(key.rpartition(".")[2] for key in keys), "seeds", "validation"]
    names += [*(["test"] if is_tested else []), "parameters", "minutes a run"]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for group in groups[:limit]:
        cells = [group.model, *(format_setting(group.settings.get(key, "")) for key in keys)]
        cells += [", ".join(map(str, group.seeds)), format_spread(group.objective, group.validation)]
        cells += [format_spread("test/accuracy", group.test)] if is_tested else []
        cells += [format_number(group.parameters), f"{mean(group.minutes):.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def format_csv(groups: Sequence[RunGroup]) -> str:
    """Write one line per run, numbers in full."""
    keys = list(dict.fromkeys(key for group in groups for key in group.settings))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["model", *keys, "seed", "validation", "test/accuracy", "parameters", "minutes"])
    for group in groups:
        tests = group.test or (None,) * len(group.seeds)
        for seed, validation, test, minutes in zip(group.seeds, group.validation, tests, group.minutes, strict=True):
            settings = [group.settings.get(key) for key in keys]
            writer.writerow([group.model, *settings, seed, validation, test, group.parameters, round(minutes, 2)])
    return stream.getvalue()


def format_spread(metric: str, values: Sequence[float]) -> str:
    """Write a metric over seeds, a share of one in percent: mean ± standard deviation (each), or the one value."""
    if not values:
        return "-"
    show = format_points if is_share(metric) else format_number
    each = ", ".join(map(show, values))
    return f"{show(mean(values))} ± {show(stdev(values))} ({each})" if len(values) > 1 else each
