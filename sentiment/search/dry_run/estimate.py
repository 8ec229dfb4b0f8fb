"""What a search will cost: time and memory, from a probe of its smallest and largest configurations."""

from __future__ import annotations

import dataclasses
import math
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.errors import HydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sentiment.errors import ConfigError, Fault
from sentiment.search.dry_run.extremes import Extreme, list_extremes
from sentiment.search.dry_run.probe import Measured, measure
from sentiment.search.workers.slots import Slot

if TYPE_CHECKING:
    from sentiment.search.engine import Search


@dataclass(frozen=True)
class Expectation:
    """What the trials that are left will take.

    Attributes:
        seconds: Expected wall time, were every trial as long as the mean of what was measured.
        least_seconds: The time, were all trials like the shortest one measured.
        most_seconds: The time, were all like the longest one.
        is_bound: Some job was stopped before its pace was known: the times are lower bounds.
        host_bytes: Peak memory of all jobs in flight; None: unknown.
        device_bytes: Peak memory of one job on its GPU; None: it uses none.
    """

    seconds: float
    least_seconds: float
    most_seconds: float
    is_bound: bool
    host_bytes: int | None
    device_bytes: int | None


def expect(measured: Sequence[Measured], *, jobs: int, places: int) -> Expectation | None:
    """Work out what a search will take; None where no probe came through.

    Args:
        measured: What the probes found.
        jobs: Jobs that are left: trials times repeats.
        places: Jobs at a time.
    """
    sound = [one for one in measured if one.failure is None]
    if not sound:
        return None
    lengths = [one.seconds for one in sound]
    rounds = jobs / places
    # No job is cut in two: with few jobs the last round leaves places idle.
    longest = math.ceil(rounds) * max(lengths)
    hosts = [one.host_bytes for one in measured if one.host_bytes is not None]
    devices = [one.device_bytes for one in measured if one.device_bytes is not None]
    return Expectation(
        seconds=rounds * statistics.fmean(lengths),
        least_seconds=rounds * min(lengths),
        most_seconds=longest,
        is_bound=any(one.is_bound for one in sound),
        host_bytes=max(hosts) * min(places, jobs) if hosts else None,
        device_bytes=max(devices) if devices else None,
    )


def probe_search(
    search: Search,
    task: TaskFunction,
    context: HydraContext,
    config: DictConfig,
    slot: Slot,
    announce: Callable[[Extreme], None],
) -> list[tuple[Extreme, Measured]]:
    """Measure the smallest and the largest configuration of every branch, one after the other.

    Everything that the jobs write goes to a temporary folder.

    Args:
        search: The search.
        task: The application's task.
        context: Hydra's context.
        config: The configuration of the study.
        slot: Device and threads that a job has.
        announce: Told before each measurement, which may take a minute.

    Raises:
        ConfigError: ``hydra.sweeper.probe_overrides`` cannot be composed.
    """
    results = []
    with tempfile.TemporaryDirectory(prefix="study-probe-") as folder:
        for number, extreme in enumerate(list_extremes(search.space, search.is_valid)):
            announce(extreme)
            overrides = add_overrides(search.space.to_overrides(extreme.point), search.options.probe_overrides)
            measured = measure(
                overrides,
                _compose(search, overrides),
                task,
                len(search.options.direction),
                context,
                config,
                slot=dataclasses.replace(slot, _lock=None),  # held until the last probe has ended
                folder=Path(folder) / str(number),
                seconds=search.options.probe_seconds,
            )
            results.append((extreme, measured))
    return results


def add_overrides(overrides: Sequence[str], last: Sequence[str]) -> tuple[str, ...]:
    """Add overrides that win over others of the same key."""
    keys = {_key(line) for line in last}
    return (*(line for line in overrides if _key(line) not in keys), *last)


def _key(line: str) -> str:
    return line.partition("=")[0].lstrip("+~")


def _compose(search: Search, overrides: Sequence[str]) -> DictConfig:
    try:
        return search.composer.compose(overrides)
    except HydraException as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        problem = f"cannot be composed with {' '.join(overrides)}: {reason}"
        raise ConfigError([Fault("hydra.sweeper.probe_overrides", problem, "correct the overrides")]) from error
