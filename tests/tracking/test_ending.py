from __future__ import annotations

import pytest

from sentiment.errors import REASON_LENGTH, NonFiniteLossError, OutOfMemoryError, Reached, RunPruned
from sentiment.tracking.ending import ending_of


class TorchLike:
    class OutOfMemoryError(RuntimeError):
        """Has the name of torch's own class."""


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("no"), "exception"),
        (NonFiniteLossError("nan"), "non_finite_loss"),
        (OutOfMemoryError("the batch is too large"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (TorchLike.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out_of_memory"),
        (RuntimeError("shapes differ"), "exception"),
    ],
)
def test_failures(error, kind):
    ending = ending_of(error)
    assert (ending.status, ending.kind) == ("FAILED", kind)


def test_ctrl_c():
    assert ending_of(KeyboardInterrupt()).reason == "interrupted (Ctrl-C)"


def test_ctrl_c_that_lightning_turned_into_an_exit():
    with pytest.raises(SystemExit) as caught:
        stop_as_lightning_does()
    ending = ending_of(caught.value)
    assert (ending.status, ending.reason) == ("KILLED", "interrupted (Ctrl-C)")


def stop_as_lightning_does():
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        raise SystemExit(1)  # noqa: B904 - as Lightning does


@pytest.mark.parametrize(
    ("code", "reason"),
    [(143, "terminated (SIGTERM)"), (129, "the terminal was closed (SIGHUP)"), (2, "asked to exit with code 2")],
)
def test_exits(code, reason):
    assert ending_of(SystemExit(code)).reason == reason


def test_the_reason_is_one_line_and_the_traceback_is_whole():
    ending = ending_of(ValueError("one\n  two " + "x" * 1000))
    assert ending.reason.startswith("ValueError: one two xxx")
    assert len(ending.reason) == REASON_LENGTH
    assert "x" * 1000 in ending.traceback


def test_pruning_is_no_failure():
    pruned = RunPruned("below the median\nof 5 trials")
    pruned.reached = Reached({"val/loss": 0.7}, epochs=2.0, best_epoch=1.0, seconds=3.0, parameters=10)
    ending = ending_of(pruned)
    assert (ending.status, ending.kind, ending.traceback) == ("PRUNED", None, None)
    assert ending.reason == "below the median of 5 trials"
    assert ending.reached == pruned.reached
