"""What a sweep needs of Slurm beyond submitit: to know when a job is over, and what to do where Slurm takes none.

submitit asks the accounts (`sacct`) whether a job is over. Clusters without accounts never answer, so that it waits for
a dead job for ever; and for a moment the accounts show a job as over whose node went down, or that is suspended, though
it goes on. The queue (`squeue`) knows better, on every cluster.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import Any, cast

from hydra.core.utils import JobReturn, JobStatus

from sentiment.search.workers.executor import LauncherError

log = logging.getLogger(__name__)

SLURM = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"

OVER = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
    "TIMEOUT",
}  # fmt: skip
"""The states of jobs that do not run again; one that is queued again is PENDING or COMPLETING. From `man squeue`."""

STUCK = re.compile(
    r"PartitionTimeLimit|PartitionNodeLimit|BadConstraints|DependencyNeverSatisfied|InvalidAccount|InvalidQOS"
    r"|AccountNotAllowed|(QOS|Assoc)Max\w+PerJob(Limit)?"
)
"""Why a job that `sbatch` took does not start as it is, however long it waits. From `man squeue`."""

AWAY = ("Unable to contact slurm controller", "Socket timed out", "Zero Bytes were transmitted")
"""What `sbatch` says where Slurm is not there for the moment."""

SILENT = AWAY[1:]
"""What it says where Slurm may have taken the jobs all the same."""

LOOK_SECONDS = 10.0
"""Time between two looks at the queue."""

UNLISTED_SECONDS = 300.0
"""Time after which a job that no look has listed is over: Slurm keeps one that has ended for as long (MinJobAge)."""

RETRY_SECONDS = 20.0


class QueueWatcher:
    """Knows which jobs are over; takes the place of submitit's watcher, with its methods.

    All threads of a command share one, as there is one queue.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._awaited: dict[str, float] = {}  # with when it was submitted, monotonic
        self._told: set[str] = set()  # jobs that are held, and reasons for which jobs do not start
        self._states: dict[str, str] = {}
        self._looked = -LOOK_SECONDS

    def register_job(self, job_id: str) -> None:
        """Take a job that was submitted."""
        with self._lock:
            self._awaited[job_id] = time.monotonic()

    def is_done(self, job_id: str, mode: str = "standard") -> bool:
        """Return whether a job is over.

        Args:
            job_id: Slurm's number, of a job in an array with its place: ``12_3``.
            mode: ``force`` looks at once, ``cache`` never.
        """
        with self._lock:
            is_due = time.monotonic() - self._looked >= LOOK_SECONDS
            if job_id in self._awaited and mode != "cache" and (is_due or mode == "force"):
                self._look()
            return job_id not in self._awaited and job_id in self._states

    def get_state(self, job_id: str, mode: str = "standard") -> str:
        """Return a job's state in Slurm's word."""
        self.is_done(job_id, mode)
        return self._states.get(job_id, "UNKNOWN")

    def get_info(self, job_id: str, mode: str = "standard") -> dict[str, str]:
        """Return what is known of a job."""
        return {"State": self.get_state(job_id, mode)}

    def _look(self) -> None:
        self._looked = time.monotonic()
        # All of the person's jobs, also those in hidden partitions: a variable would filter them as an option does.
        command = ["squeue", "--me", "--all", "--array", "--noheader", "--states=all", "--format=%i|%T|%r"]
        variables = {name: value for name, value in os.environ.items() if not name.startswith("SQUEUE_")}
        try:
            listed = subprocess.run(
                command, capture_output=True, text=True, check=True, timeout=60, env=variables
            ).stdout
        except (OSError, subprocess.SubprocessError) as error:
            words = getattr(error, "stderr", None) or error
            log.warning("Slurm's queue cannot be read, and will be read again: %s", str(words).strip())
            return
        lines = (line.split("|", 2) for line in listed.splitlines())
        queue = {job_id: (state, reason) for job_id, state, reason in lines}
        for job_id, submitted in list(self._awaited.items()):
            if job_id not in queue and job_id not in self._states and self._looked - submitted < UNLISTED_SECONDS:
                continue  # it was not listed yet: some clusters answer from a copy of the queue
            state, reason = queue.get(job_id, ("unknown to Slurm", ""))
            self._states[job_id] = state
            if job_id not in queue or state in OVER:
                del self._awaited[job_id]
            elif "held" in reason.lower() and job_id not in self._told:
                self._told.add(job_id)
                log.warning("Slurm holds job %s (%s); it runs after: scontrol release %s", job_id, reason, job_id)
            elif state == "PENDING" and STUCK.fullmatch(reason) and reason not in self._told:
                self._told.add(reason)
                log.warning(
                    "Slurm does not start job %s as it is (%s), nor others that ask for the same; press Ctrl-C, end "
                    "them with scancel, and start the command again with another hydra.launcher.partition, account, "
                    "qos, timeout_min or less of what else a job asks for.",
                    *(job_id, reason),
                )


def _is_silent(words: str) -> bool:
    return any(sign in words for sign in SILENT)


def prepare() -> None:
    """Let submitit look at the queue, wait where Slurm is away, and say in a sentence why Slurm takes no job.

    Raises:
        LauncherError: There is no Slurm on this machine.
    """
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise LauncherError(
            "hydra/launcher=submitit_slurm needs Slurm, and its commands sbatch and srun are not found here.",
            "start the command on the cluster's login node; hydra/launcher=submitit_local does without Slurm",
        )
    from hydra_plugins.hydra_submitit_launcher import submitit_launcher
    from submitit.slurm.slurm import SlurmJob

    from sentiment.search.workers.job import TrialTask

    job: Any = SlurmJob
    launcher: Any = submitit_launcher.SlurmLauncher
    if isinstance(job.watcher, QueueWatcher):
        return
    job.watcher = QueueWatcher()
    launch = launcher.launch

    def launch_patiently(
        self: Any, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        while True:
            try:
                return cast(Sequence[JobReturn], launch(self, job_overrides, initial_job_idx))
            except Exception as error:
                refusal = error.__cause__
                if not isinstance(refusal, subprocess.CalledProcessError):
                    raise
                words = str(refusal.stderr).strip()
                is_alone = isinstance(self.task_function, TrialTask)  # it waits where it is submitted twice
                if not any(sign in words for sign in AWAY) or (not is_alone and _is_silent(words)):
                    raise explain_refusal(words, len(job_overrides)) from error
            log.warning("Slurm takes no job (%s); it is asked again every %g s.", words, RETRY_SECONDS)
            time.sleep(RETRY_SECONDS)

    launcher.launch = launch_patiently


def collect_losses() -> None:
    """Let a grid wait for all its jobs where one dies; submitit's launcher would leave the others alone with Slurm."""
    from submitit.core import core
    from submitit.core.utils import FailedJobError, UncompletedJobError

    job: Any = core.Job
    results = job.results

    def collect(self: Any) -> list[Any]:
        try:
            return list(results(self))
        except (FailedJobError, UncompletedJobError) as error:
            loss = LauncherError(
                f"Job {self.job_id} of the launcher has ended without a result (state: {self.state}).",
                f"its log says more: {self.paths.stderr}",
            )
            loss.__cause__ = error
            lost = JobReturn(status=JobStatus.FAILED)
            lost.return_value = loss
            return [lost]

    if results.__name__ != collect.__name__:
        job.results = collect


def explain_refusal(words: str, jobs: int) -> LauncherError:
    """Return the error that says why Slurm took no job, and what to do.

    Args:
        words: What `sbatch` said.
        jobs: Jobs that were to be submitted at once.
    """
    reason = words.removeprefix("sbatch: error: ")
    if _is_silent(words):
        return LauncherError(
            f"Slurm has not said whether it took the jobs: {reason}",
            "see with `squeue --me` whether they are there, and end them with scancel, before you start the command "
            "again; search=grid runs each once in any case",
        )
    if jobs == 1:
        remedy = (
            "look at hydra.launcher.partition, account, qos, timeout_min and what else the job asks for, then start "
            "the same command again"
        )
        if "Submit" in words or "submit limit" in words:
            remedy += "; where Slurm limits a person's jobs, have fewer at a time: hydra.sweeper.n_jobs=NUMBER"
    elif "Invalid job array specification" in words:
        limit = read_array_limit()
        reason = f"the grid has {jobs} jobs, and an array has at most {limit or 'MaxArraySize'} here ({reason})"
        remedy = (
            "add search=grid hydra.sweeper.n_jobs=NUMBER, which goes without arrays; or "
            f"hydra.sweeper.max_batch_size={limit or 'NUMBER'}, one array after the other"
        )
    else:
        remedy = (
            "look at hydra.launcher.partition, account, qos and timeout_min; where Slurm limits a person's jobs, add "
            "hydra.sweeper.max_batch_size=NUMBER, or search=grid with hydra.sweeper.n_jobs=NUMBER"
        )
    return LauncherError(f"Slurm takes no job: {reason}", remedy)


def read_array_limit() -> int | None:
    """Return how many jobs an array of this cluster may have; None where Slurm does not say."""
    try:
        shown = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", shown.stdout, re.MULTILINE)
    return None if found is None else int(found[1])
