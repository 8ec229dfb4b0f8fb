"""How a run ended, told from the exception that left it."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Literal

from sentiment.errors import NonFiniteLossError, OutOfMemoryError, Reached, RunPruned

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED", "PRUNED"]
"""MLflow's own names, and PRUNED, which MLflow does not know."""

FINAL: frozenset[Status] = frozenset({"FINISHED", "PRUNED"})
"""States that nothing follows; a run in any other one can be taken up again."""

TRIAL_STATES: dict[Status, str] = {
    "RUNNING": "RUNNING", "FINISHED": "COMPLETE", "PRUNED": "PRUNED", "FAILED": "FAIL", "KILLED": "KILLED",
}  # fmt: skip
"""What a study calls the same; MLflow's tag ``trial.state``."""

FailureKind = Literal["exception", "out_of_memory", "non_finite_loss", "interrupted", "worker_died"]

SIGTERM_EXIT_CODE = 143
"""128 + SIGTERM, by the shell's convention."""

REASON_LENGTH = 500
"""Characters of the one-line reason; the traceback beside it holds the whole message."""


@dataclass(frozen=True)
class Ending:
    """The end of a run.

    Attributes:
        status: How it ended.
        kind: Kind of failure; None where the run finished or was pruned.
        reason: One line for people; None where the run finished.
        traceback: The whole traceback; None where the run finished or was pruned.
        reached: How far a pruned run came.
    """

    status: Status
    kind: FailureKind | None = None
    reason: str | None = None
    traceback: str | None = None
    reached: Reached | None = None


FINISHED = Ending("FINISHED")


def ending_of(error: BaseException) -> Ending:
    """Classify the exception that leaves a run.

    Ctrl-C and a polite request to end (SIGTERM turned into SystemExit) are KILLED, what a search ended is
    PRUNED, everything else is FAILED.
    """
    if isinstance(error, RunPruned):
        return Ending("PRUNED", reason=" ".join(str(error).split())[:REASON_LENGTH] or "pruned", reached=error.reached)
    trace = "".join(traceback.format_exception(error))
    if not isinstance(error, Exception):
        return Ending("KILLED", "interrupted", _interruption(error), trace)
    return Ending("FAILED", _kind(error), _one_line(error), trace)


def _interruption(error: BaseException) -> str:
    # Lightning turns Ctrl-C into SystemExit(1), so the KeyboardInterrupt may be the exception before.
    if isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt):
        return "interrupted (Ctrl-C)"
    if isinstance(error, SystemExit) and error.code == SIGTERM_EXIT_CODE:
        return "terminated (SIGTERM)"
    if isinstance(error, SystemExit):
        return f"asked to exit with code {error.code}"
    return _one_line(error)


def _kind(error: Exception) -> FailureKind:
    if isinstance(error, NonFiniteLossError):
        return "non_finite_loss"
    # torch's own class is told by its name: this module is imported where torch is not.
    if isinstance(error, (MemoryError, OutOfMemoryError)) or type(error).__name__ == "OutOfMemoryError":
        return "out_of_memory"
    if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):  # torch's allocator on the CPU
        return "out_of_memory"
    return "exception"


def _one_line(error: BaseException) -> str:
    message = " ".join(str(error).split())
    name = type(error).__name__
    return f"{name}: {message}"[:REASON_LENGTH] if message else name
