"""One job of a trial, and how a process runs it in place."""

from __future__ import annotations

from dataclasses import dataclass

from hydra.core.utils import JobReturn, configure_log, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from sentiment.search.study.outcome import Outcome, failed
from sentiment.search.study.trial import TrialAddress
from sentiment.search.workers.task import TrialTask


@dataclass(frozen=True)
class Job:
    """What an executor runs.

    Attributes:
        number: Number of the job in the study: its folder, and Hydra's ``hydra.job.num``.
        overrides: The job's overrides.
        config: The composed configuration; composed once, by the study, so that an edit of a YAML file in mid-study
            changes nothing.
        address: Where the job finds its trial.
        identity: Digest of all that determines its result; None where jobs are not compared.
    """

    number: int
    overrides: tuple[str, ...]
    config: DictConfig
    address: TrialAddress
    identity: str | None = None


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


def run_in_place(job: Job, task: TaskFunction, objectives: int, context: HydraContext, study: DictConfig) -> Outcome:
    """Run a job in this process, as Hydra's basic launcher does.

    Args:
        job: The job.
        task: The application's task function.
        objectives: Number of values that it returns.
        context: Hydra's context.
        study: The configuration of the whole study; its logging is set up again afterwards.
    """
    setup_globals()
    try:
        returned = run_job(
            hydra_context=context,
            task_function=TrialTask(task, job.address, objectives),
            config=job.config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
    except Exception as error:  # what Hydra raises outside the task: a folder that cannot be made, a bad resolver
        return failed(error)
    finally:
        configure_log(study.hydra.hydra_logging, study.hydra.verbose, execution_whitelist=context.execution_whitelist)
    return read_return(returned)


def read_return(returned: JobReturn) -> Outcome:
    """Give the outcome that a job brought back, or make one of the exception."""
    try:
        value = returned.return_value
    except Exception as error:
        return failed(error)
    assert isinstance(value, Outcome), f"a job of a study returned {value!r}"
    return value
