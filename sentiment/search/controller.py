"""The loop: keep every slot busy until the study has its trials.

There is no batch: whenever a job ends, its slot takes the next trial at once, and only then is anybody told.
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from optuna.trial import FrozenTrial, TrialState

from sentiment.errors import SentimentError
from sentiment.format import format_count, list_first
from sentiment.search.budget import UNLIMITED
from sentiment.search.progress import Observer, RunningJob, StudyState, format_failure
from sentiment.search.space.parameters import show_values
from sentiment.search.study.outcome import Outcome, failed, finish, read_outcomes_of
from sentiment.search.study.stored.claims import ClaimedTrial
from sentiment.search.study.stored.endings import give_up_paused, keep_outcome
from sentiment.search.study.stored.study import StoredStudy
from sentiment.search.study.trial import OVER, read_seconds
from sentiment.search.workers.executor import Executor, Patience, uninterrupted
from sentiment.search.workers.job import Finished, Job

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0

USUAL_TRIALS = 20
"""What a rate of failures is a share of while a budget leaves the number of trials open."""


class StudyFailedError(SentimentError):
    """Too many trials failed, or none has finished."""


class PlanError(SentimentError):
    """A trial's values make no configuration that can run."""


class Planner(Protocol):
    """Turns a claimed trial into jobs."""

    def plan(self, claimed: ClaimedTrial, repeat: int) -> Job:
        """Compose one repeat of a trial.

        Raises:
            PlanError: Its values make no configuration that can run.
        """

    def find_equal(self, job: Job, trials: Sequence[FrozenTrial]) -> Outcome | None:
        """Return the outcome of a job that ran with the same settings, seed, data and code; None: it has to run."""

    def keep(self, job: Job, trial: FrozenTrial, outcome: Outcome) -> None:
        """Keep the result of a job that ran for other studies, given its trial as it is now."""


class Controller:
    """Runs a study's trials on an executor.

    Args:
        study: The stored study.
        executor: Runs the jobs.
        planner: Composes the jobs.
        observers: Who is told.
    """

    def __init__(self, study: StoredStudy, executor: Executor, planner: Planner, observers: Sequence[Observer]) -> None:
        self._study = study
        self._executor = executor
        self._planner = planner
        self._observers = observers
        self._repeats = study.search.repeats
        self._active: dict[int, ClaimedTrial] = {}
        self._ready: deque[Job] = deque()
        self._failures: list[str] = []
        options = study.search.options
        self._patience = Patience(options.trial_timeout, options.progress_timeout)
        self._hung: dict[int, str] = {}  # job to why it is being ended
        self._let_go: set[int] = set()  # jobs over time that their launcher alone could end
        self._began = self._told = time.monotonic()

    def run(self) -> None:
        """Run until the study has all its trials, whoever runs them.

        Raises:
            StudyFailedError: More trials failed than allowed, or in the end some have no result.
        """
        for observer in self._observers:
            observer.study_started(self.state())
        try:
            while True:
                has_more = self._fill()
                if self._executor.running:
                    seconds = 0.0 if has_more else POLL_SECONDS
                    settled = [self._end_job(finished) for finished in self._executor.wait(seconds)]
                    if not self._executor.blocking and not self._has_failed:
                        self._fill()  # before anybody is told: the slot must not wait for the telling
                    for trial in settled:
                        self._tell(trial)
                    self._give_up(is_over=False)
                    self._stop_after_failures()
                    self._stop_overtime()
                    self._end_hung()
                elif has_more:
                    pass  # at once
                elif self._study.is_served or self._study.is_overdue:
                    break
                elif self._study.store.is_to_stop:
                    log.info("Stopped on request; the same command goes on.")
                    self._require_result(is_stopped=True)
                    return
                else:
                    time.sleep(POLL_SECONDS)  # other processes run the last trials; one may die yet
                self._wait()
            self._give_up(is_over=True)
            left = (self._study.describe_end(), *self._study.describe_left())
            for told in filter(None, left):
                log.info("%s", told)
        finally:
            with uninterrupted():
                self._stop()
                for observer in self._observers:
                    observer.study_ended(self.state())
        self._require_result()

    def state(self) -> StudyState:
        """Describe how the study stands."""
        now = time.monotonic()
        trials = self._study.trials()
        ledger = self._study.look(trials)
        return StudyState(
            name=self._study.name,
            study_dir=self._study.search.study_dir,
            directions=self._study.search.options.direction,
            total=self._study.agenda.count_total(trials),
            trials=ledger.standing,
            best=[self._study.show(trial) for trial in ledger.best],
            running=[self._describe(job, now) for job in self._executor.running],
            seconds=now - self._began,
            metric_names=self._study.store.study.metric_names or (),
            budget=self._study.describe_budget(),
            seconds_left=self._study.seconds_left(),
            counts=dict(ledger.counts),
            repeats=self._repeats.count,
            replaced=ledger.replaced,
            is_bound=self._repeats.count > 1 and self._repeats.value == "bound",
        )

    def _fill(self) -> bool:
        """Hand over jobs until every slot is taken or there is nothing left to claim, or one was settled without a run.

        Returns:
            Whether one was: more may be there to claim, but signals and the jobs that run come first.
        """
        while len(self._executor.running) < self._executor.capacity:
            with uninterrupted():
                if not self._ready and not self._claim():
                    return False
                job = self._next_job()
                if job is not None:
                    self._executor.submit(job)
                    self._active[job.address.number].started = time.monotonic()
            if job is None:
                self._stop_after_failures()  # a job, or a next repeat, could not be planned
                return True
            running = self._describe(job, time.monotonic())
            for observer in self._observers:
                observer.job_started(running)
        return False

    def _claim(self) -> bool:
        """Claim a trial and plan its job; return whether there was one."""
        active = self._study.claim()
        if active is None:
            return False
        self._active[active.number] = active
        try:
            self._ready.append(self._plan(active))
        except PlanError as error:
            self._tell(self._settle(active, failed(error)))
        return True

    def _next_job(self) -> Job | None:
        """Return the planned job if it has to run; None: there is none, or it has the result of an equal one."""
        if not self._ready:
            return None
        job = self._ready.popleft()
        known = self._planner.find_equal(job, self._active[job.address.number].earlier)
        if known is None:
            return job
        self._tell(self._take(job, known))
        return None

    def _plan(self, active: ClaimedTrial) -> Job:
        repeat = next(number for number in range(self._repeats.count) if number not in active.outcomes)
        return self._planner.plan(active, repeat)

    def _end_job(self, finished: Finished) -> FrozenTrial | None:
        """Take what a job ended with; return the trial where that ends it, which is yet to be told."""
        address = finished.job.address
        trial_id = self._active[address.number].trial_id
        kept = read_outcomes_of(self._study.store.read(trial_id)).get(address.repeat)
        if finished.outcome.state == "failed":  # perhaps between keeping its outcome and handing it over
            finished = Finished(finished.job, kept or finished.outcome)
        elif kept is None:  # it could not
            keep_outcome(self._study.store, trial_id, address.repeat, finished.outcome)
        self._patience.forget(finished.job.number)
        reason = self._hung.pop(finished.job.number, None)
        if reason is not None and finished.outcome.kind == "worker_died":
            finished = Finished(finished.job, Outcome("failed", kind="timed_out", reason=reason))
        for observer in self._observers:
            observer.job_ended(finished)
        with uninterrupted():
            self._planner.keep(finished.job, self._study.store.read(trial_id), finished.outcome)
            trial = self._take(finished.job, finished.outcome)
        if trial is None or trial.state.is_finished():
            return trial
        self._tell(trial)  # that it pauses, now: when the slot is filled, it may run again
        return None

    def _take(self, job: Job, outcome: Outcome) -> FrozenTrial | None:
        """Take the outcome of a job; return the trial where that settles it.

        Raises:
            StudyFailedError: It could not be stored, or not be launched. The trial is given back, for nothing was wrong
                with it.
        """
        active = self._active[job.address.number]
        if self._study.store.find_own(active.trial_id) is None:
            return self._settle(active, outcome)  # which drops it
        if outcome.kind == "not_launched":
            raise StudyFailedError(f"{outcome.reason}")
        if outcome.kind == "not_stored":
            raise StudyFailedError(
                f"Trial {active.number} waits to be stored: {outcome.reason}",
                "free space, or see that the database answers, then start the same command again: it finishes what was "
                "trained, and goes on",
            )
        active.outcomes[job.address.repeat] = outcome
        whole = finish(active.outcomes, self._repeats)
        if whole is None and self._study.is_over:
            whole = Outcome("pruned", reason=OVER)  # its next repeat would end at its first report
        if whole is None:
            try:
                self._ready.append(self._plan(active))
                return None
            except PlanError as error:
                whole = failed(error)
        return self._settle(active, whole)

    def _settle(self, active: ClaimedTrial, outcome: Outcome) -> FrozenTrial | None:
        """Tell the study how a trial ended; return it, but not where it is another command's by now."""
        number, trial_id = active.number, active.trial_id
        del self._active[number]
        if not self._study.settle(trial_id, outcome):
            return None
        trial = self._study.store.read(trial_id)
        if trial.state == TrialState.FAIL:  # also one that came to its end, and whose limits cannot be checked
            self._failures.append(self._write_failure(trial))
            if outcome.traceback and os.environ.get("HYDRA_FULL_ERROR") == "1":
                log.error("Trial %d failed:\n%s", number, outcome.traceback)
        return trial

    def _give_up(self, *, is_over: bool) -> None:
        """Prune the paused trials that will not be promoted."""
        study = self._study
        for trial in give_up_paused(study.store, study.search, study.agenda, is_over=is_over):
            self._tell(trial)

    def _tell(self, trial: FrozenTrial | None) -> None:
        if trial is None:
            return
        state = self.state()
        for observer in self._observers:
            if trial.state.is_finished():
                observer.trial_ended(trial, state)
            else:  # another command may have taken it up meanwhile
                observer.trial_paused(trial, state)

    def _wait(self) -> None:
        """Tell that time passes, not more often than people can see: describing a large study takes milliseconds."""
        now = time.monotonic()
        if now - self._told < POLL_SECONDS:
            return
        self._told = now
        state = self.state()
        for observer in self._observers:
            observer.waited(state)

    def _describe(self, job: Job, now: float) -> RunningJob:
        active = self._active[job.address.number]
        slot = self._executor.name_slot(job)
        values = show_values(active.values)
        repeat = job.address.repeat
        reports = active.reports if repeat == 0 else 0  # the first one alone reports
        return RunningJob(job.address.number, slot, now - active.started, values, repeat, reports)

    def _stop(self) -> None:
        """End what is in flight and give its trials back, so that the next command runs them again."""
        left = {job.address.number for job in self._executor.running}
        stopped = {job.address.number for job in self._executor.stop()}
        for number, active in list(self._active.items()):
            if number in stopped or number not in left:
                self._study.release(active.trial_id)
                del self._active[number]

    def _stop_overtime(self) -> None:
        """Ask the jobs to end that run when the budget of time is over; end those that come to no report soon after."""
        if self._study.is_over:
            for active in self._active.values():
                if not active.is_asked_to_end:
                    active.is_asked_to_end = True
                    self._study.end_at_report(active.trial_id)
        running = {job.number for job in self._executor.running}
        if running <= self._let_go or not self._study.is_overdue:
            return
        with uninterrupted():
            stopped = {job.address.number for job in self._executor.stop()}
        self._let_go = {job.number for job in self._executor.running}
        for number in sorted(stopped & self._active.keys()):
            active = self._active[number]
            reason = "the study's budget of time was over, and the trial did not report"
            ended = finish(read_outcomes_of(self._study.store.read(active.trial_id)), self._repeats)  # just before
            self._tell(self._settle(active, ended or Outcome("pruned", reason=reason)))

    def _end_hung(self) -> None:
        """End the jobs that take too long, or do not get on."""
        if not self._patience:
            return
        for job in self._executor.running:
            trial_id = self._active[job.address.number].trial_id
            sign = self._study.read_progress(trial_id)
            earlier = read_seconds(self._study.store.read(trial_id), job.address.repeat)
            reason = self._patience.judge(job.number, sign, time.monotonic(), earlier)
            if reason is not None and job.number not in self._hung:
                self._hung[job.number] = reason
                self._executor.end(job)

    @property
    def _failures_allowed(self) -> int:
        options, total = self._study.search.options, self._study.search.total
        if total == UNLIMITED:
            total = max(USUAL_TRIALS, len(self._study.look()))
        return int(options.max_failure_rate * total + 1e-9)  # 0.29 of 100 are 28.999999999999996

    @property
    def _has_failed(self) -> bool:
        return bool(self._failures) and len(self._failures) > self._failures_allowed

    def _stop_after_failures(self) -> None:
        if self._has_failed:
            failed_trials = format_count(len(self._failures), "trial")
            raise StudyFailedError(
                f"{failed_trials} of the study {self._study.name!r} failed in this command, "
                f"{self._failures_allowed} may:\n{list_first(self._failures)}",
                "the finished trials are kept; mend the cause and start the same command again, "
                "or allow more with hydra.sweeper.max_failure_rate=0.5",
            )

    def _write_failure(self, trial: FrozenTrial) -> str:
        return f"trial {trial.number}: {format_failure(trial, self._study.search.study_dir)}"

    def _require_result(self, *, is_stopped: bool = False) -> None:
        counts = self._study.look().counts
        missing = [self._write_failure(trial) for trial in self._study.agenda.list_failed(self._study.trials())]
        if is_stopped and not missing:
            return  # one may yet finish
        budget = self._study.describe_budget()
        if counts["complete"] == 0:
            if counts["running"] and not (missing or self._failures):
                return  # another command, of a larger budget, may yet finish one
            heading = f"No trial of the study {self._study.name!r} finished: {counts['failed']} failed, "
            heading += f"{counts['pruned']} were pruned."
            if budget is not None and not (missing or self._failures):
                raise StudyFailedError(f"{heading} Of the budget, {budget}.", "raise it: one trial has to fit into it")
        elif missing:
            trials = len(self._study.look())
            heading = f"{len(missing)} of {trials} trials of the study {self._study.name!r} have no result:"
        else:
            return
        listed = f"\n{list_first(missing or self._failures)}" if missing or self._failures else ""
        room = "" if budget is None else f", as far as the budget has room ({budget})"
        raise StudyFailedError(
            f"{heading}{listed}",
            f"mend the cause and start the same command again: it tries them again{room}; "
            "hydra.sweeper.retry=none goes without them",
        )
