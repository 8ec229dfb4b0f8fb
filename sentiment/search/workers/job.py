"""One job of a trial: what an executor runs, and how a process runs it so that its outcome outlives the process."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import optuna
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict
from optuna.exceptions import OptunaError

from sentiment.errors import RunPaused, RunPruned, RunStopped, SentimentError, refusing_exit
from sentiment.private import begin_jobs, copying_quickly, read_returned, restore_logging, run_job
from sentiment.search.application import application_of
from sentiment.search.storage.address import StorageError
from sentiment.search.study.current import JobTrial, RunningTrial, running
from sentiment.search.study.outcome import Outcome, complete, failed

log = logging.getLogger(__name__)


class JobAddress(Protocol):
    """Where a job finds its trial; travels to the process of the job."""

    @property
    def number(self) -> int:
        """The trial's number in its study."""

    @property
    def trial_id(self) -> int:
        """The trial's id in the study's storage."""

    @property
    def repeat(self) -> int:
        """Which repeat, from 0."""

    def attend(self) -> AbstractContextManager[JobTrial]:
        """Find the trial and stay with it for the time of the job."""


@dataclass(frozen=True)
class Job:
    """What an executor runs."""

    number: int  # number of the job in the study: its folder, and Hydra's ``hydra.job.num``
    overrides: tuple[str, ...]  # the job's overrides
    # The composed configuration; composed once, by the study, so that an edit of a YAML file in mid-study changes
    # nothing.
    config: DictConfig
    address: JobAddress  # where the job finds its trial
    identity: str | None = None  # digest of all that determines its result; None where jobs are not compared


@dataclass(frozen=True)
class Finished:
    """A job that came back."""

    job: Job
    outcome: Outcome


def number_job(config: DictConfig, number: int) -> DictConfig:
    """Set what a launcher sets: the job's number and id."""
    with open_dict(config):
        config.hydra.job.id = str(number)
        config.hydra.job.num = number
    return config


@contextmanager
def resolving(config: DictConfig) -> Iterator[None]:
    """Let a numbered job's configuration refer to Hydra's own part of it (``${hydra:job.num}``), as in the job."""
    hydra: Any = HydraConfig.instance()
    known, hydra.cfg = hydra.cfg, config
    try:
        yield
    finally:
        hydra.cfg = known


def read_subdir(config: DictConfig) -> str:
    """Return the folder of a numbered job within the sweep's."""
    with resolving(config):
        return str(config.hydra.sweep.subdir)


@dataclass(frozen=True)
class JobRunner:
    """Runs jobs in the process that it is in, as Hydra's basic launcher does."""

    task: TaskFunction  # the application's task function
    objectives: int  # number of values that it returns
    context: HydraContext  # Hydra's context
    config: DictConfig  # the configuration of the whole study; its logging is set up again after each job

    def run(self, job: Job) -> Outcome:
        """Run a job to its end."""
        begin_jobs()
        try:
            with copying_quickly():
                returned = run_job(self.wrap(job), job.config, self.context)
        except Exception as error:  # what Hydra raises outside the task: a folder that cannot be made, a bad resolver
            return failed(error)
        finally:
            restore_logging(self.config, self.context)
        return self.read_return(returned)

    def wrap(self, job: Job) -> TrialTask:
        """Return the task function of one job, for Hydra or one of its launchers."""
        return TrialTask(self.task, job.address, self.objectives)

    def read_return(self, returned: JobReturn) -> Outcome:
        """Make an outcome of what a job brought back."""
        brought = read_returned(returned)
        if isinstance(brought, RunStopped | optuna.TrialPruned):
            return describe_ending(brought)
        try:
            return complete(returned.return_value, self.objectives)
        except Exception as error:
            return describe_ending(error)


def describe_ending(error: Exception) -> Outcome:
    """Make an outcome of what a job raised: it was paused or pruned, or it failed."""
    if isinstance(error, RunPaused):
        return Outcome("paused", reason=str(error), steps=error.steps)
    if isinstance(error, RunPruned | optuna.TrialPruned):
        return Outcome("pruned", reason=str(error) or "pruned")
    if isinstance(error, StorageError | OptunaError):  # its training is not at fault, and its record is in its folder
        return replace(failed(error), kind="not_stored")
    return failed(error)


class TrialTask:
    """Hydra's task function for one job of a trial.

    Hydra's launchers pickle the task function to wherever the job runs; the address travels with it. What the
    application's task returns or raises goes on to Hydra, whose callbacks see it as they do without a study.
    """

    def __init__(self, task: TaskFunction, address: JobAddress, objectives: int) -> None:
        self.task = task
        self.address = address
        self.objectives = objectives

    def __call__(self, config: DictConfig) -> Any:
        """Run the job, or repeat the outcome that an earlier process of the same job has left."""
        with self.address.attend() as trial:
            known = trial.read_outcome()
            if known is not None:
                return self._repeat(known)
            folder = Path(HydraConfig.get().runtime.output_dir)
            files = [Path(h.baseFilename) for h in logging.getLogger().handlers if isinstance(h, logging.FileHandler)]
            trial.begin(folder, next((file for file in files if file.is_relative_to(folder)), None))
            try:
                with running(trial), refusing_exit():
                    self._tell_code(trial, config)  # its process may be younger than the plan
                    before = Path.cwd()
                    try:
                        returned = self.task(config)
                    finally:
                        with suppress(FileNotFoundError):  # the task may have removed it; Hydra goes back to its own
                            os.chdir(before)  # a folder of the study may be relative, also those of later jobs
                        self._tell_code(trial, config)  # it has imported more meanwhile
                    outcome = complete(returned, self.objectives)
                    if outcome.state == "complete" and self.objectives == 1:
                        trial.finish_repeat(outcome.values[0])
            except Exception as error:
                _keep(trial, describe_ending(error))
                raise
            _keep(trial, outcome)
            return returned

    def _tell_code(self, trial: RunningTrial, config: DictConfig) -> None:
        try:
            code = application_of(self.task).identify_code(config)
        except Exception as error:  # what tells whose a result is must not decide whether there is one
            log.warning("The job's code could not be identified, so that no other study takes its result: %r", error)
            code = "unknown"
        trial.depends_on(code=code)

    def _repeat(self, known: Outcome) -> Any:
        if known.state == "complete":
            return known.values[0] if self.objectives == 1 else known.values
        if known.state == "paused":
            raise RunPaused.after(known.steps)
        raise (RunPruned if known.state == "pruned" else SentimentError)(known.reason or "")


def _keep(trial: JobTrial, outcome: Outcome) -> None:
    if outcome.kind == "not_stored":
        return  # the job is to go on from what lies in its folder
    try:
        trial.write_outcome(outcome)
    except (StorageError, OptunaError) as error:
        # The study's process gets the outcome all the same, and says so if it cannot write either.
        log.warning("The outcome could not be kept by the job itself: %s", error)
