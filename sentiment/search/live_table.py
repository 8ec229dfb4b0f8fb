"""A study on a terminal: a table of what runs now, and one line on how far the study is."""

from __future__ import annotations

import logging
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sentiment.format import format_duration, shorten_keys
from sentiment.search.progress import (
    SHARE,
    Observer,
    StudyState,
    format_beginning,
    format_ending,
    format_result,
    format_stand,
    format_values,
)
from sentiment.search.space.parameters import show_values
from sentiment.search.study.outcome import is_paused, read_outcomes_of
from sentiment.search.study.trial import PROGRESS_KEY, read_seconds, read_share

REDRAW_SECONDS = 0.2
"""Time between two drawings at least: thousands of short trials must not wait for the terminal."""

BAR_WIDTH = 10


class LiveTable(Observer):
    """Shows a study in place, without scrolling; failures stay on the screen above it.

    Elsewhere than on a terminal it prints the failures and the summary alone.

    Args:
        console: Where to show it; by default standard output.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._slots = 1
        self._draws_again_at = 0.0
        self._moved: list[tuple[logging.StreamHandler[Any], Any]] = []

    def study_started(self, state: StudyState) -> None:
        """Print which study it is. The table itself waits for the first job: until then the study may be refused."""
        self._console.print(Text(format_beginning(state)))

    def trial_ended(self, trial: FrozenTrial, state: StudyState) -> None:
        """Keep a failure on the screen, and draw."""
        if trial.state == TrialState.FAIL:
            self._console.print(Text(f"#{trial.number} {format_ending(trial, state)}", style="red"))
        self._draw(state)

    def waited(self, state: StudyState) -> None:
        """Draw the table anew, with the time that passed."""
        self._draw(state)

    def study_ended(self, state: StudyState) -> None:
        """Take the table away and leave a summary."""
        self._live.stop()
        self._give_handlers_back()
        self._console.print(summarize(state))

    def _draw(self, state: StudyState) -> None:
        self._slots = max(self._slots, len(state.running))
        began = time.monotonic()
        if self._live.is_started and began < self._draws_again_at:
            return
        if not self._live.is_started:
            self._start()
        # The table has a heading, one line for what is left out and one for the study; the cursor takes one.
        self._live.update(render(state, self._slots, max_rows=max(1, self._console.height - 4)), refresh=True)
        self._draws_again_at = began + max(REDRAW_SECONDS, (time.monotonic() - began) / SHARE)

    def _start(self) -> None:
        """Start the table, and let the log pass through the live console, which writes it above the table.

        Rich replaces `sys.stdout` and `sys.stderr`; log handlers hold the stream that they were made with.
        """
        streams = (sys.stdout, sys.stderr)
        self._live.start()
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream in streams:
                self._moved.append((handler, handler.stream))
                handler.setStream(sys.stdout)

    def _give_handlers_back(self) -> None:
        for handler, stream in self._moved:
            handler.setStream(stream)
        self._moved.clear()


def render(state: StudyState, slots: int, *, max_rows: int) -> RenderableType:
    """Draw a study.

    Args:
        state: How it stands.
        slots: Trials that run at a time in this command.
        max_rows: Jobs that the screen has room for.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold", expand=True)
    for heading, share in (("trial", None), ("progress", None), ("", 2), ("where", None), ("time", None)):
        table.add_column(heading, no_wrap=True, overflow="ellipsis", ratio=share)
    table.add_column("parameters", no_wrap=True, overflow="ellipsis", ratio=3)
    rows = list(_list_rows(state))
    for row in rows[:max_rows]:
        table.add_row(*(Text(cell) for cell in row))
    more = [Text(f"... and {len(rows) - max_rows} more")] if len(rows) > max_rows else []
    seconds = estimate_seconds_left(state, slots)
    left = "" if seconds is None else f"; about {format_duration(seconds)} left"
    told = f"{state.count()['running']} running, {format_stand(state)}{left}"
    stand = Text(told, style="bold", no_wrap=True, overflow="ellipsis")
    return Group(table, *more, stand)


def summarize(state: StudyState) -> RenderableType:
    """Return in a few lines what a study has found."""
    lines = [f"Study {state.name}: {format_stand(state)}, in {format_duration(state.seconds)}"]
    if len(state.best) == 1:
        lines += [f"  {key}={value}" for key, value in state.best[0].params.items()]  # in full: to be typed again
    elif state.best:
        lines.append(f"{len(state.best)} trials on the Pareto front")
        for trial in state.best:
            lines.append(f"  #{trial.number}: {format_result(trial, state)}")
    return Text("\n".join(lines))


def _list_rows(state: StudyState) -> Iterator[tuple[str, ...]]:
    """Return the jobs of this command, then the trials that other commands run."""
    trials = {trial.number: trial for trial in state.trials}
    for job in state.running:
        told = read_progress(trials.get(job.trial), job.repeat)
        yield _write_row(job.trial, told, job.slot, format_duration(job.seconds), job.values)
    here = {job.trial for job in state.running}
    for trial in state.trials:
        if trial.state == TrialState.RUNNING and trial.number not in here:
            yield _write_row(trial.number, read_progress(trial), "elsewhere", "", show_values(trial.params))


def _write_row(
    number: int, told: tuple[float | None, str], slot: str, time_taken: str, values: Mapping[str, Any]
) -> tuple[str, ...]:
    fraction, note = told
    bar = ""
    if fraction is not None:
        full = round(BAR_WIDTH * min(max(fraction, 0.0), 1.0))
        bar = f"{'━' * full}{'·' * (BAR_WIDTH - full)} {fraction:4.0%}"
    short = shorten_keys(values)
    parameters = format_values({short[key]: value for key, value in values.items()})
    return (f"#{number}", bar, note, slot, time_taken, parameters)


def read_progress(trial: FrozenTrial | None, repeat: int | None = None) -> tuple[float | None, str]:
    """Return the share of a job that is done (None: it has not told), and its note.

    Args:
        trial: Its trial.
        repeat: Which repeat it is; None: the one that told last.
    """
    content = None if trial is None else trial.system_attrs.get(PROGRESS_KEY)
    if trial is None or content is None or (repeat is not None and read_share(trial, repeat) is None):
        return None, ""
    return float(content[0]), str(content[1])


def estimate_seconds_left(state: StudyState, slots: int) -> float | None:
    """Estimate the time to the end of a study, with so many slots; None while nothing is known of any duration.

    A trial that has not begun takes the mean of those that ended (complete or pruned, failures and reused ones
    aside), or of what the running ones will take; a running one takes what the pace of its present job says, for each
    of its repeats.
    """
    trials = {trial.number: trial for trial in state.trials}
    running = [
        (
            job.repeat,
            max(job.seconds, read_seconds(trials[job.trial], job.repeat)),
            read_share(trials[job.trial], job.repeat),
        )
        for job in state.running
    ]
    known = [
        sum(one.seconds for one in read_outcomes_of(trial).values()) or trial.duration.total_seconds()
        for trial in state.trials
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        and trial.duration is not None
        and not trial.user_attrs.keys() & {"reused_from", "adopted_from"}
    ] or [state.repeats * seconds / share for _, seconds, share in running if share]
    if not known:
        return None
    mean = statistics.fmean(known)
    if state.total is None:
        return state.seconds_left
    lengths = [(seconds / share if share else mean / state.repeats) for _, seconds, share in running]
    lefts = [
        max(0.0, length - seconds) + length * (state.repeats - 1 - repeat)
        for length, (repeat, seconds, _) in zip(lengths, running, strict=True)
    ]
    taken = sum(trial.state != TrialState.WAITING or is_paused(trial) for trial in state.trials)
    new = max(0, state.total - taken)
    # No trial is cut in two: in the end slots are idle.
    left = max((sum(lefts) + mean * new) / max(slots, 1), *lefts, mean if new else 0.0)
    return left if state.seconds_left is None else min(left, max(0.0, state.seconds_left))
