"""How a run ended, told from the exception that left it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from sentiment.errors import REASON_LENGTH, FailureKind, Reached, RunPaused, RunStopped, describe_failure

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED", "PRUNED", "PAUSED"]
"""MLflow's own names, and two that MLflow does not know: for PRUNED it says FINISHED, for PAUSED SCHEDULED."""

FINAL: frozenset[Status] = frozenset({"FINISHED", "PRUNED"})
"""States that nothing follows; a run in any other one can be taken up again."""

TRIAL_STATES: dict[Status, str] = {
    "RUNNING": "RUNNING", "FINISHED": "COMPLETE", "PRUNED": "PRUNED", "FAILED": "FAIL", "KILLED": "KILLED",
    "PAUSED": "PAUSED",
}  # fmt: skip
"""What a study calls the same; MLflow's tag ``trial.state``."""


@dataclass(frozen=True)
class Ending:
    """The end of a run.

    A failure has its kind, a reason in one line and the whole traceback; a pruned or paused run its reason and what it
    reached.
    """

    status: Status
    kind: FailureKind | None = None
    reason: str | None = None
    traceback: str | None = None
    reached: Reached | None = None


FINISHED = Ending("FINISHED")


def ending_to_json(ending: Ending) -> dict[str, Any]:
    """Return an ending as JSON takes it, without what it reached: that is recorded apart."""
    return asdict(replace(ending, reached=None))


def ending_of(error: BaseException) -> Ending:
    """Classify the exception that leaves a run.

    Ctrl-C and a polite request to end (SIGTERM turned into SystemExit) are KILLED, what a search ended is
    PRUNED, what it stopped for a while PAUSED, everything else is FAILED.
    """
    if isinstance(error, RunStopped):
        status: Status = "PAUSED" if isinstance(error, RunPaused) else "PRUNED"
        return Ending(status, reason=" ".join(str(error).split())[:REASON_LENGTH] or "pruned", reached=error.reached)
    failure = describe_failure(error)
    status = "KILLED" if failure.kind == "interrupted" else "FAILED"
    return Ending(status, failure.kind, failure.reason, failure.traceback)
