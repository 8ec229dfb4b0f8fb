"""What a search would do, and what it would take, told without running it: ``hydra.sweeper.dry_run=true``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sentiment.errors import SentimentError
from sentiment.format import format_bytes, format_count, format_duration, format_number, join_names
from sentiment.search.budget import UNLIMITED
from sentiment.search.dry_run.estimate import Expectation, Left, expect, find_left, list_unmeasured, probe_search
from sentiment.search.dry_run.probe import Measured
from sentiment.search.planning import read_epochs
from sentiment.search.search import Search
from sentiment.search.space.constraints import any_point
from sentiment.search.space.distributions import describe_distribution
from sentiment.search.space.grid import list_values
from sentiment.search.space.parameters import LabelledPoint, show_values, write_value
from sentiment.search.storage.address import read_address
from sentiment.search.workers.job import JobRunner
from sentiment.search.workers.slots import Slot, list_devices, take_slots

COUNTED = 100_000
"""Points that are held against the constraints, to count the valid ones; more take too long."""


class ProbeError(SentimentError):
    """A probe of a search failed: the search would."""


def report_dry_run(search: Search, runner: JobRunner) -> None:
    """Print the checked search, and an estimate of its time and memory from a short probe.

    The study's folder and its storage stay as they are, and nothing but the probe runs.

    Raises:
        ConfigError: There are fewer slots on the GPUs than jobs, or the probe's overrides are faulty.
        PlanError: A budget counts epochs, and a job does not say how many it has.
        ProbeError: No job of the probe came to its end.
        StorageError: The storage cannot be read.
        StudyChangedError: The stored study of that name is another one.
    """
    console = Console(highlight=False)
    options = search.options
    slots = _take_slots(search)
    try:
        left = find_left(search)
        console.print(Text("Dry run: nothing is trained but a short probe\n", style="bold"))
        print_search(search, left, slots, console)

        def announce(extreme: LabelledPoint) -> None:
            console.print(Text(f"Measuring {extreme.label} ...", style="dim"), soft_wrap=True)

        measured = probe_search(search, runner, slots[0], announce)
    finally:
        for slot in slots:
            slot.release()
    points = (search.composer.compose(search.space.to_overrides(extreme.point)) for extreme, _ in measured)
    epochs = [read_epochs(point, options) or 0.0 for point in points] if options.epochs is not None else []
    trials = left.count_fitting(search, [one.seconds for _, one in measured if one.failure is None], epochs)
    found = [one for _, one in measured]
    expectation = expect(found, trials=trials, slots=options.n_jobs, repeats=search.repeats.count)
    unmeasured = list_unmeasured(search, (extreme.point for extreme, _ in measured))
    print_estimate(measured, expectation, trials, left, search, unmeasured, console)


def _take_slots(search: Search) -> list[Slot]:
    """Take the slots of the study's workers; under a launcher, which has its own devices, one to measure in."""
    options = search.options
    devices, count = list_devices(options.devices), options.n_jobs
    if search.has_launcher:
        devices, count = (devices if len(devices) >= options.devices_per_trial else []), 1
    return take_slots(options, devices, count)


def print_search(search: Search, left: Left, slots: Sequence[Slot], console: Console) -> None:
    """Print what is searched, how, and where."""
    conditional = any(parameter.condition for parameter in search.space.parameters)
    space = _make_table("parameter", "values", *(["only if"] if conditional else []))
    for item in search.space.parameters:
        condition = ["=".join(item.condition) if item.condition else ""] if conditional else []
        space.add_row(*map(Text, [item.key, describe_distribution(item.distribution), *condition]))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for label, content in _describe(search, left, slots):
        table.add_row(Text(label), Text(content))
    for part in (space, "", table, ""):
        console.print(part)


def _make_table(*headings: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _describe(search: Search, left: Left, slots: Sequence[Slot]) -> Iterator[tuple[str, str]]:
    options, choices = search.options, search.config.hydra.runtime.choices
    if search.space.shared:
        yield "fixed", " ".join(search.space.shared)
    yield "points", _describe_points(search)
    yield from (("constraint", line) for line in options.constraints)
    yield from (("limit", f"{name} <= {format_number(bound)}") for name, bound in options.limits.items())
    repeats = f", {options.repeats} seeds each ({options.repeat_value})" if options.repeats > 1 else ""
    total = "as the budget allows" if search.total == UNLIMITED else f"{search.total} in all"
    yield "trials", f"{total}, {options.n_jobs} at a time{repeats}"
    if starts := search.list_starts() if left.stored is None else []:
        yield "tried first" if options.extend is None else "extended", "; ".join(one.label for one in starts)
    if options.prior is not None:
        yield "prior", options.prior
    if options.limit:
        yield "budget", options.limit.write(None if left.stored is None else left.spent)
    yield "objective" if len(options.direction) == 1 else "objectives", ", ".join(options.direction)
    yield "sampler", _describe_part(choices.get("hydra/sweeper/sampler"), options.sampler)
    pruner = _describe_part(choices.get("hydra/sweeper/pruner"), options.pruner or {})
    yield "pruner", pruner if options.extend is None else "none: what is extended runs to its end"
    yield "storage", str(read_address(search.storage_url, search.study_dir))
    name = options.known_name or "a new name"
    counts = ", ".join(f"{count} {state}" for state, count in sorted((left.stored or {}).items())) or "no trial yet"
    yield "study", f"{name}, new" if left.stored is None else f"{name}, stored: {counts}"
    launcher = choices.get("hydra/launcher")
    told = f"{options.n_jobs} jobs at a time under hydra/launcher={launcher}, which chooses where; measured here"
    yield "workers", told if search.has_launcher else _describe_workers(slots)


def _describe_points(search: Search) -> str:
    points = search.space.count_points()
    if points is None:
        return "not finite: a parameter is continuous"
    if search.is_valid is any_point:
        return f"{points:,}"
    if points > COUNTED:
        return f"{points:,}, constraints aside"
    valid = sum(search.is_valid(point) for point in search.space.list_points(list_values))
    return f"{points:,}, of them {valid:,} satisfy the constraints"


def _describe_part(choice: Any, options: Mapping[str, Any]) -> str:
    name = choice or str(options.get("_target_", "none")).rpartition(".")[2]
    told = [f"{key}={value}" for key, value in options.items() if key != "_target_" and value is not None]
    return f"{name} ({', '.join(told)})" if told else str(name)


def _describe_workers(slots: Sequence[Slot]) -> str:
    devices = Counter(f"GPU {slot.device}" if slot.device else "the CPU" for slot in slots)
    shares = ", ".join(f"{count} on {device}" for device, count in devices.items())
    return f"{shares}; {format_count(slots[0].threads, 'CPU thread')} each"


def print_estimate(
    measured: Sequence[tuple[LabelledPoint, Measured]],
    expectation: Expectation | None,
    trials: int,
    left: Left,
    search: Search,
    unmeasured: Sequence[str],
    console: Console,
) -> None:
    """Print what was measured, and what that means for the whole search."""
    console.print()
    table = _make_table("one job")
    for heading in ("time", "memory", "GPU memory"):
        table.add_column(heading, justify="right", no_wrap=True)
    for extreme, one in measured:
        device = "-" if one.device_bytes is None else format_bytes(one.device_bytes) if one.device_bytes else "?"
        host = "?" if one.host_bytes is None else format_bytes(one.host_bytes)
        time = f"{'more than' if one.is_bound else 'about'} {format_duration(one.seconds)}"
        table.add_row(Text(extreme.label), "failed" if one.failure else time, host, device)
    console.print(table)
    for extreme, one in measured:
        values = " ".join(f"{key}={write_value(value)}" for key, value in show_values(extreme.point).items())
        console.print(Padding(Text(f"{extreme.label}: {values}", style="dim"), (0, 0, 0, 2)))
        if one.failure is not None:
            console.print(Text(f"{extreme.label} failed: {one.failure}", style="red"))
    console.print()
    if not measured and not left.is_done:
        console.print("No estimate: of the values that were tried, none keep the constraints, so that nothing was run.")
        return
    if expectation is None and not left.is_done:
        raise ProbeError("No estimate: every probe failed.", "the study would fail alike; mend the cause first")
    for line in _write_expectation(expectation, trials, left, search, unmeasured):
        console.print(Text(line))


def _write_expectation(
    expectation: Expectation | None, trials: int, left: Left, search: Search, unmeasured: Sequence[str]
) -> Iterator[str]:
    limit, open_trials = search.options.limit, left.interrupted + left.retried + left.new
    if left.is_done:
        reason = f"has no budget left for more ({limit.write(left.spent)})" if open_trials else "has all its trials"
        yield f"The study {reason}: the command would run none."
        return
    assert expectation is not None, "a study that is not done has been measured"
    if left.paused:
        yield f"{left.paused} paused trials wait: the best of them go on, beside what follows."
    if open_trials == 0:
        return
    if trials == 0:
        yield f"Not one whole trial fits into the budget ({limit.write(left.spent)}): what begins is ended with it."
        return
    slots = search.options.n_jobs
    if trials < open_trials:
        most = "At most so many" if expectation.is_bound else "So many"
        yield f"The budget: {limit.write(left.spent)}. {most} whole trials fit; pruned ones make room for more."
    kinds = {"interrupted": left.interrupted, "failed before": left.retried}
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    if told:
        yield f"Among the trials to run: {told}."
    bound = "more than " if expectation.is_bound else "about "
    least, most = format_duration(expectation.least_seconds), format_duration(expectation.most_seconds)
    yield (
        f"{format_count(trials, 'trial')}, {slots} at a time: {bound}{format_duration(expectation.seconds)} "
        f"({least} if all were like the shortest job, {most} if like the longest)."
    )
    yield "Pruning, early stopping and equal trials make it shorter; a machine shared with others, longer."
    if unmeasured:
        yield f"On top comes what hydra.sweeper.probe_overrides leaves out: {join_names(unmeasured)}."
    if expectation.host_bytes is not None:
        memory = f"Memory: up to {format_bytes(expectation.host_bytes)} for all jobs together"
        if expectation.device_bytes:
            each = search.options.trials_per_device
            memory += f"; GPU memory: up to {format_bytes(expectation.device_bytes * each)} on one GPU"
        yield f"{memory}."
