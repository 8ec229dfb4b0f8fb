"""The job's side of a trial: report, prune, describe; from whichever process the job runs in.

A job finds its trial through the study's storage, so the same code works in-process, in worker processes and under
every launcher.
"""

from __future__ import annotations

import copy
import logging
import os
import socket
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import optuna
from optuna.pruners import BasePruner, WilcoxonPruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sentiment.errors import RunPaused, RunPruned, SentimentError
from sentiment.format import format_count
from sentiment.private import get_storage, is_patience_alone, settle_resources
from sentiment.search.storage.address import read_address
from sentiment.search.storage.lease import HEARTBEAT_SECONDS, Heartbeat, Lease, Watch
from sentiment.search.storage.opening import hold_lock, load_study, open_storage
from sentiment.search.study.current import JobTrial
from sentiment.search.study.outcome import OUTCOME_KEY, Outcome, is_paused, read_outcomes_of, write_described
from sentiment.search.study.population import find_origin
from sentiment.search.study.rungs import VALUES_KEY, count_steps
from sentiment.search.study.shared_results import IDENTITY_FILE

log = logging.getLogger(__name__)

JOB_KEY = "study:job"
"""System attribute: the record of the lease that the running job holds, and the ``repeat`` whose job it is."""

OWNER_KEY = "study:owner"
"""System attribute: which command runs the trial."""

PROGRESS_KEY = "study:progress"
"""System attribute: share of the job that is done, a word on it for people, and the repeat whose job it is."""

STOP_KEY = "study:stop"
"""System attribute of a trial that is asked to end, or of a study: the commands asked to start no more; see `stop`."""

OVER = "the study's budget of time was over"
"""Value of `STOP_KEY` in a trial that its own command asks to end: a job elsewhere may have another clock."""

ATTEMPT_KEY = "study:attempt:{repeat}"
"""System attribute: how often a job was begun (``count``), for how many ``seconds`` it has run in all, as its heartbeat
tells, for how many of them it told that nothing was done yet (``ahead_seconds``: words, teachers, which the first job
of a study gets for all), and its ``folder`` and ``log``, relative to the study's."""

IDENTITY_KEY = "study:identity:{repeat}"
"""System attribute of a trial: digest of all that determines the result of a job; None: it is compared with none."""

DATA_KEY = "study:data"
"""System attribute of a trial: which data it read, as the application names it."""

CODE_KEY = "study:code"
"""System attribute of a trial: digest of the code that its result depends on, or `SEVERAL`."""

SEVERAL = "several"
"""Stands for the code of a trial that was planned or begun under one and went on under another."""

LOOK_SECONDS = 1.0


def find_job(trial: FrozenTrial) -> Mapping[str, Any] | None:
    """Return the lease record of the job that was at work on a trial last; None: none was, or it has told its end."""
    record: Mapping[str, Any] | None = trial.system_attrs.get(JOB_KEY)
    # An earlier version did not write whose it is.
    return None if record is None or record.get("repeat", 0) in read_outcomes_of(trial) else record


def hold_study(
    storage_url: str | None, study_dir: Path, name: str, *, is_once: bool = False
) -> AbstractContextManager[None]:
    """Return the lock under which trials of a study change hands; see `hold_lock`.

    A job, which takes it once, waits for a command that draws a point or is stopped for a time.
    """
    longest_seconds = 3600 if is_once else 120
    return hold_lock(read_address(storage_url, study_dir), f"study {name}", longest_seconds, is_once=is_once)


def read_folder(trial: FrozenTrial, study_dir: Path, repeat: int = 0) -> Path | None:
    """Return the folder of a trial's job; None where it never began."""
    attempt = trial.system_attrs.get(ATTEMPT_KEY.format(repeat=repeat))
    return None if attempt is None else Path(os.path.normpath(study_dir / attempt["folder"]))


def read_share(trial: FrozenTrial, repeat: int) -> float | None:
    """Return the share that the job of a repeat told last; None: it told none."""
    told = trial.system_attrs.get(PROGRESS_KEY)
    # An earlier version did not write whose it is.
    return None if told is None or told[2:] not in ([], [repeat]) else min(1.0, float(told[0]))


def read_seconds(trial: FrozenTrial, repeat: int) -> float:
    """Return for how long the job of a repeat has run, pauses left out, those attempts included that were cut off."""
    kept = (trial.system_attrs.get(key.format(repeat=repeat)) or {} for key in (ATTEMPT_KEY, OUTCOME_KEY))
    return max(float(one.get("seconds", 0.0)) for one in kept)


def read_ahead_seconds(trial: FrozenTrial, repeat: int) -> float:
    """Return for how long the job of a repeat did what comes before its own work."""
    attempt = trial.system_attrs.get(ATTEMPT_KEY.format(repeat=repeat)) or {}
    return float(attempt.get("ahead_seconds", 0.0))


class SupersededError(SentimentError):
    """A job starts whose trial belongs to another command by now, or has ended."""


class StoredTrial(JobTrial):
    """The trial that a job belongs to, as the study's storage knows it."""

    def __init__(self, study: optuna.Study, address: TrialAddress) -> None:
        self.number = address.number
        self.repeat = address.repeat
        self.origin = address.origin
        self.limited = address.limited
        self.is_to_pause = address.target is not None
        self._address = address
        self._trial_id = address.trial_id
        self._storage = get_storage(study)
        self._study = study
        self._deadline = address.deadline if address.host == socket.gethostname() else None
        self._steps = 0
        self._began = time.monotonic()
        self._waits_since = 0.0  # of the first sign before the work
        self._earlier_seconds = self._earlier_ahead_seconds = self._ahead_seconds = 0.0
        self._attempt: dict[str, Any] | None = None
        self._share = 1.0
        self._is_done = False

    def begin(self, folder: Path, log_file: Path | None) -> None:
        """Note that the job starts to work in its folder, and which file is its log."""
        stored = self._storage.get_trial(self._trial_id)
        earlier = stored.system_attrs.get(ATTEMPT_KEY.format(repeat=self.repeat))
        self._earlier_seconds = read_seconds(stored, self.repeat)
        self._earlier_ahead_seconds = self._ahead_seconds = read_ahead_seconds(stored, self.repeat)
        (folder / IDENTITY_FILE).unlink(missing_ok=True)  # of a job that had this folder before
        self.folder, self.attempt = folder, 1 if earlier is None else earlier["count"] + 1
        study_dir = self._address.study_dir
        relative = None if log_file is None else os.path.relpath(log_file, study_dir)
        self._attempt = {"count": self.attempt, "folder": os.path.relpath(folder, study_dir), "log": relative}
        self.write_attempt()

    def write_attempt(self) -> None:
        """Note for how long the job has run, once it has begun."""
        if self._attempt is not None:
            times = {"seconds": self._count_seconds(), "ahead_seconds": self._ahead_seconds}
            attempt = {**self._attempt, **times}
            self._storage.set_trial_system_attr(self._trial_id, ATTEMPT_KEY.format(repeat=self.repeat), attempt)

    def _count_seconds(self) -> float:
        return self._earlier_seconds + time.monotonic() - self._began

    def report(self, value: float | Sequence[float], *, step: int, error: float = 0.0) -> None:
        """Take the objective at a step and decide whether to go on.

        The first repeat of a trial is compared with other trials; further repeats run to their end. Of several
        objectives Optuna keeps the first; no pruner of its own compares more than one.

        Raises:
            RunPruned: The pruner ends the trial, a person does (`study.stop`), or the study's budget is over.
        """
        if self._deadline is not None and time.time() >= self._deadline:
            raise RunPruned(OVER)
        stored = self._storage.get_trial(self._trial_id)
        asked = stored.system_attrs.get(STOP_KEY)
        if asked:
            raise RunPruned(OVER if asked == OVER else "ended on request")
        if self.repeat > 0 or isinstance(self._study.pruner, WilcoxonPruner):
            return
        if int(step) != step:
            raise ValueError(f"reported at step {step}, which is no whole number")
        step = int(step)  # the storage takes no integer of NumPy or torch
        several = getattr(value, "ndim", isinstance(value, Sequence) and not isinstance(value, str))
        values = [float(one) for one in cast(Sequence[float], value)] if several else [float(cast(float, value))]
        if len(values) != len(self._study.directions):
            if self.is_to_pause:  # it would wait at no rung
                raise ValueError(f"{values} reported of {len(self._study.directions)} objectives: report them all")
            return
        origin = find_origin(stored)
        if origin is not None and self.attempt == 1 and step < origin["steps"]:  # they would count as made
            raise ValueError(
                f"the copy of trial {origin['trial']}, which had made {format_count(origin['steps'], 'report')}, "
                f"reports step {step}: let the task go on from the checkpoint in trial.origin"
            )
        self._steps = step + 1
        # A job that was restarted from its checkpoint may pass a step again; the first report counts, as in Optuna.
        if step not in stored.intermediate_values:
            if len(values) > 1:
                self._storage.set_trial_system_attr(self._trial_id, VALUES_KEY.format(step=step), values)
            self._storage.set_trial_intermediate_value(self._trial_id, step, values[0])
        if len(values) == 1:
            _prune(self._study, self._trial_id, step, self._address.margin * error)

    def saved(self, steps: int | None = None) -> None:
        """Take it that the job can go on from here, after so many reports, if it is stopped now.

        One that has told that its work is done has nothing to wait for.

        Raises:
            RunPaused: The trial has come to the rung where it waits for its promotion, as its reports tell.
        """
        steps, target = self._steps if steps is None else steps, self._address.target
        if (
            target is not None
            and not self._is_done
            and min(steps, count_steps(self._storage.get_trial(self._trial_id))) >= target
        ):
            raise RunPaused.after(steps)

    def finish_repeat(self, value: float) -> None:
        """Take the final value of a repeat; see `finish_repeat`."""
        finish_repeat(self._study, self._trial_id, self.repeat, value, is_last=self._address.is_last)

    def describe(self, metrics: Mapping[str, float]) -> None:
        """Note numbers beside the objective."""
        write_described(self._storage, self._trial_id, self.repeat, metrics)

    def depends_on(self, *, code: str | None = None, data: str | None = None) -> None:
        """Take away the job's identity, where it was planned with other code or data than its result depends on."""
        other = {CODE_KEY: SEVERAL} if code not in (None, self._address.code) else {}
        other |= {DATA_KEY: data} if data is not None and data != self._address.data else {}
        if other:
            for key, value in {**other, IDENTITY_KEY.format(repeat=self.repeat): None}.items():
                self._storage.set_trial_system_attr(self._trial_id, key, value)

    def progress(self, fraction: float, note: str = "") -> None:
        """Tell how far the job is."""
        share = _clip_share(fraction)
        if share == 0:  # since the first of such signs: what every job does before it is part of its length
            now = time.monotonic()
            self._waits_since = self._waits_since or now
            self._ahead_seconds = self._earlier_ahead_seconds + now - self._waits_since
        self._is_done = share >= 1 - 1e-9  # shares that are added up end beside 1
        self._storage.set_trial_system_attr(self._trial_id, PROGRESS_KEY, [share, note, self.repeat])

    def stopped_early(self, share: float) -> None:
        """Take it that the job ends by itself after a share of its work."""
        self._share = _clip_share(share)

    def read_outcome(self) -> Outcome | None:
        """Return the outcome that an earlier process of this job wrote; None: it has not ended."""
        return read_outcomes_of(self._storage.get_trial(self._trial_id)).get(self.repeat)

    def write_outcome(self, outcome: Outcome) -> None:
        """Keep the outcome, with the time that the job took in all, and the share of its work that it was."""
        self.write_attempt()
        content = replace(outcome, seconds=self._count_seconds(), share=self._share).to_json()
        self._storage.set_trial_system_attr(self._trial_id, OUTCOME_KEY.format(repeat=self.repeat), content)

    def read(self) -> FrozenTrial:
        """Return the trial as it stands."""
        return self._storage.get_trial(self._trial_id)

    def take_up(self) -> None:
        """Make the trial run where it waits again: its job stood in a queue for longer than its command lived.

        Its time counts from here. A trial that is paused is left so: a cluster has started its job a second time, which
        has nothing to do.
        """
        self._began = time.monotonic()
        stored = self.read()
        if stored.state == TrialState.WAITING and not is_paused(stored):
            self._storage.set_trial_state_values(self._trial_id, TrialState.RUNNING)

    def write_lease(self, record: dict[str, Any]) -> None:
        """Show that the job is alive, and for how long it has run: nobody else could tell when it is killed."""
        self._storage.set_trial_system_attr(self._trial_id, JOB_KEY, {**record, "repeat": self.repeat})
        self.write_attempt()


def _clip_share(share: float) -> float:
    return min(1.0, max(0.0, float(share)))


def finish_repeat(study: optuna.Study, trial_id: int, repeat: int, value: float, *, is_last: bool) -> None:
    """Take the final value of a repeat; the Wilcoxon pruner compares trials repeat by repeat, up to the last.

    Raises:
        RunPruned: The pruner ends the trial, its further repeats are not needed.
    """
    if isinstance(study.pruner, WilcoxonPruner) and len(study.directions) == 1:
        get_storage(study).set_trial_intermediate_value(trial_id, repeat, float(value))
        if not is_last:
            _prune(study, trial_id, repeat)


def _prune(study: optuna.Study, trial_id: int, step: int, margin: float = 0.0) -> None:
    if not settle_resources(study.pruner, study):
        return
    storage = get_storage(study)
    trial = storage.get_trial(trial_id)
    known, reported = set(trial.system_attrs), trial.intermediate_values[step]
    if margin:  # what would be behind though it were better by so much is behind for sure
        sign = 1.0 if study.direction == StudyDirection.MAXIMIZE else -1.0
        trial = copy.copy(trial)
        # All of it: some pruners compare the best report so far. One that compares them with each other: the last.
        better = {step: reported} if is_patience_alone(study.pruner) else trial.intermediate_values
        better = {one: value + sign * margin for one, value in better.items()}
        trial.intermediate_values = {**trial.intermediate_values, **better}
    is_behind = study.pruner.prune(study, trial)
    if margin:  # what a pruner notes of the trial, for others to be compared with, is what it reported
        for key, value in storage.get_trial(trial_id).system_attrs.items():
            if key not in known and value == trial.intermediate_values[step]:
                storage.set_trial_system_attr(trial_id, key, reported)
    if is_behind:
        raise RunPruned(f"pruned by {type(study.pruner).__name__} at step {step}")


@dataclass(frozen=True)
class TrialAddress:
    """Where a job finds its trial; travels to the process of the job."""

    storage_url: str | None  # the study's storage; None: the journal in `study_dir`
    study_dir: Path  # the study's folder
    study_name: str  # the study
    trial_id: int  # the trial's id in the storage
    number: int  # the trial's number in its study
    repeat: int  # which repeat, from 0
    owner: str  # the command that runs the trial
    pruner: BasePruner  # the study's pruner, which storages do not keep
    # When the study's budget of time is over, in seconds since 1970, by the clock of the command's machine; None: it
    # has none.
    deadline: float | None = None
    host: str = field(default_factory=socket.gethostname)  # that machine
    target: int | None = None  # reports after which the job is to pause; None: it does not
    margin: float = 0.0  # standard errors by which a report has to be behind before the trial is pruned
    is_last: bool = False  # whether the trial has no further repeat
    origin: Path | None = None  # folder of the job from whose checkpoint this one goes on; None: it begins anew
    limited: tuple[str, ...] = ()  # names of the numbers that the study limits
    # The code that the job was planned with, as the application identifies it; None: it does not.
    code: str | None = None
    data: str | None = None  # the data, likewise
    grace_seconds: float = 60.0  # silence after which a job on another machine counts as dead

    def find(self) -> StoredTrial:
        """Open the storage (once per process) and find the trial."""
        study = open_study(self.storage_url, self.study_dir, self.study_name)
        study.pruner = self.pruner
        return StoredTrial(study, self)

    @contextmanager
    def attend(self) -> Iterator[StoredTrial]:
        """Find the trial and hold the only lease on it: nobody else takes a trial whose job is alive.

        A cluster may run a job twice: its answer to who submitted it got lost, or a node was only cut off. The later
        one waits for the end of the other, whose outcome it then has.

        Raises:
            SupersededError: The trial has ended while this job waited in a queue, or another command has taken it over.
        """
        trial, watch, is_told = self.find(), Watch(self.grace_seconds), False
        with Lease.take("job") as lease:
            with ExitStack() as stack:
                while True:
                    with hold_study(self.storage_url, self.study_dir, self.study_name, is_once=True):
                        stored = trial.read()
                        if stored.system_attrs.get(OWNER_KEY) != self.owner:
                            raise self._superseded("was taken over by another command", "it runs there")
                        if stored.state.is_finished():
                            raise self._superseded("has ended", "its result is in the study")
                        rival = find_job(stored)
                        if rival is None or watch.is_dead(rival):
                            stack.enter_context(Heartbeat(trial.write_lease, lease, HEARTBEAT_SECONDS))
                            trial.take_up()
                            break
                    if not is_told:
                        log.warning(
                            "Trial %d is at work in another job (on %s, process %s); this one waits for its end.",
                            *(self.number, rival["host"], rival["pid"]),
                        )
                        is_told = True
                    time.sleep(LOOK_SECONDS)
                try:
                    yield trial
                except (KeyboardInterrupt, SystemExit):
                    trial.write_attempt()
                    raise
            lease.release(forget=True)  # the outcome is written, so nobody will ask whether the job lives

    def _superseded(self, how: str, where: str) -> SupersededError:
        return SupersededError(
            f"Trial {self.number} of the study {self.study_name!r} {how}.",
            f"nothing to do: {where}; this job was started by a command that is dead, or that took the job for lost",
        )


@lru_cache(maxsize=4)
def open_study(url: str | None, study_dir: Path, name: str) -> optuna.Study:
    """Open a study for its jobs, once a process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return load_study(open_storage(url, study_dir), name)
