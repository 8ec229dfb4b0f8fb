"""What a study may cost: wall time, or work in whole trainings or in epochs.

Wall time runs while at least one command works on the study. Work counts what jobs did: a pruned job counts by the
share that it ran, and one whose result was taken from an equal job counts nothing.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import Any

from sentiment.format import format_duration, format_number

DEFAULT_TRIALS = 20
"""Trials of a study of which nothing says how it ends."""

UNLIMITED = 10**9
"""Trials of a study that only its budget ends."""

UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)\s*(d|h|min|m|s)\s*)")

OVERTIME = 0.05
"""Share of a budget of time, after its end, in which running jobs may still come to a report; then they are stopped."""

LEAST_OVERTIME_SECONDS = 10.0


def read_duration(text: Any) -> Any:
    """Read ``2h``, ``90m``, ``60s`` or ``1h30m`` as seconds.

    Raises:
        ValueError: It is no such text, or no time at all.
    """
    if text is None:
        return None
    parts = DURATION.findall(str(text))
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if not parts or DURATION.sub("", str(text)).strip() or seconds <= 0:
        raise ValueError("should be a time with its unit, e.g. 2h, 90m, 60s or 1h30m")
    return seconds


@dataclass(frozen=True)
class Spending:
    """What a study has cost."""

    seconds: float  # wall time
    full_trials: float  # work in whole jobs
    epochs: float  # work in epochs
    committed_trials: float  # the same work, were all trials that have begun to run to their end
    committed_epochs: float  # likewise
    trial_seconds: float  # wall time that a job takes to its end; 0 while nobody knows
    trial_epochs: float  # epochs of a job; 0 while nobody knows
    steps_per_job: float = 0.0  # reports of a whole job; 0 while nobody knows
    # Work of a new trial before it may be paused, in whole jobs; None: it runs to its end.
    first_jobs: float | None = None
    furthest_jobs: float = 0.0  # work that the furthest trial which may go on will have done
    is_any_promoted: bool = True  # whether a trial has come to its end up the ladder, within the limits
    is_any_untold: bool = False  # whether a trial runs whose epochs nobody knows yet


@dataclass(frozen=True)
class Budget:
    """What a study may cost; None: no limit of that kind."""

    seconds: float | None = None  # wall time
    full_trials: float | None = None  # work in whole jobs
    epochs: float | None = None  # work in epochs

    def __bool__(self) -> bool:
        return any(limit is not None for limit in asdict(self).values())

    def count_starts(self, spent: Spending, repeats: int) -> int:
        """Count the new trials that may begin: those that can run to their end, or to their pause, within the budget.

        Where trials pause, what takes one of them to its end is kept back.
        """
        jobs, kept = float(repeats), 0.0
        if spent.first_jobs is not None:
            jobs = spent.first_jobs
            kept = 0.0 if spent.is_any_promoted else repeats - max(jobs, spent.furthest_jobs)
        counts = [UNLIMITED]
        if self.seconds is not None and not self.fits(spent, jobs + kept):
            counts.append(0)
        for limit, committed, size in (
            (self.full_trials, spent.committed_trials, 1.0),
            (self.epochs, spent.committed_epochs, spent.trial_epochs),
        ):
            if limit is not None:
                # Before any trial, nobody knows its cost in epochs: one begins, of all commands together, and tells.
                left, is_first = limit - committed - kept * size, limit > committed and not spent.is_any_untold
                counts.append(math.floor(left / (jobs * size) + 1e-9) if size else int(is_first))
        return max(0, min(counts))

    def fits(self, spent: Spending, jobs: float) -> bool:
        """Return whether there is room for so much more work, in whole jobs."""
        return (
            self.has_time(spent, jobs)
            and (self.full_trials is None or self.full_trials - spent.committed_trials >= jobs - 1e-9)
            and (self.epochs is None or self.epochs - spent.committed_epochs >= jobs * spent.trial_epochs - 1e-9)
        )

    def has_time(self, spent: Spending, jobs: float) -> bool:
        """Return whether there is time for so much more work, in whole jobs."""
        return self.seconds is None or self.seconds - spent.seconds >= max(jobs * spent.trial_seconds, 1e-9)

    def seconds_left(self, spent: Spending) -> float | None:
        """Return the wall time that is left, below 0 when it is over; None without a budget of time."""
        return None if self.seconds is None else self.seconds - spent.seconds

    def overtime_seconds(self) -> float:
        """Return for how long jobs may outlast a budget of time."""
        return max(LEAST_OVERTIME_SECONDS, OVERTIME * (self.seconds or 0.0))

    def write(self, spent: Spending | None = None) -> str:
        """Return it for people, and how much of it is used."""
        limits = {
            "seconds": (self.seconds, format_duration, ""),
            "full_trials": (self.full_trials, _write_work, " full trials"),
            "epochs": (self.epochs, _write_work, " epochs"),
        }
        parts = [
            ("" if spent is None else f"{write(getattr(spent, name))} of ") + f"{write(limit)}{unit}"
            for name, (limit, write, unit) in limits.items()
            if limit is not None
        ]
        return ", ".join(parts) + ("" if spent is None else " used")


def _write_work(work: float) -> str:
    return format_number(round(work, 1))
