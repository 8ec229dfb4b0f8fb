"""The project's exceptions, and what kind of failure any exception is; importable from anywhere.

Every message answers three questions: what was wrong, which value, and what to do about it. `run.py`
prints the message alone, without a traceback, and exits non-zero.
"""

from __future__ import annotations

import errno
import re
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from sentiment.format import format_count, mask_passwords


class SentimentError(Exception):
    """Base class: an error whose message is written for the person at the command line.

    Attributes:
        problem: What was wrong, with the value.
        remedy: What to do about it; empty: nothing helps.
    """

    def __init__(self, problem: str = "", remedy: str = "") -> None:
        super().__init__(*((problem, remedy) if remedy else (problem,)))  # pickle makes it again from these
        self.problem, self.remedy = problem, remedy

    def __str__(self) -> str:
        return f"{self.problem}\n  -> {self.remedy}" if self.remedy else self.problem


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a configuration."""

    # The key as the user types it, e.g. ``model.heads``.
    key: str
    problem: str  # what is wrong, with the value
    remedy: str  # what to type instead

    @classmethod
    def of(cls, key: str, error: SentimentError, remedy: str = "") -> Fault:
        """Return an error as a fault of a key; `remedy` where it tells none."""
        return cls(key, error.problem, error.remedy or remedy)

    def __str__(self) -> str:
        return f"{self.key}: {self.problem}\n    -> {self.remedy}"


MOST_SHOWN = 10
"""Faults that are listed, so that they fit on one screen; the rest are counted."""


class ConfigError(SentimentError):
    """Every fault of a configuration, gathered before anything is read or built."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        heading = f"{format_count(len(faults), 'fault')} in the configuration; nothing was started."
        left = len(faults) - MOST_SHOWN
        rest = [f"  and {format_count(left, 'more fault')}, shown once these are gone"] if left > 0 else []
        super().__init__("\n".join([heading, "", *(f"  {fault}" for fault in self.faults[:MOST_SHOWN]), *rest]))
        self.args = (self.faults,)  # pickle makes it again from these


@contextmanager
def gathering(faults: list[Fault]) -> Iterator[None]:
    """Add the faults that end the block to others, instead of raising them: all are told together."""
    try:
        yield
    except ConfigError as error:
        faults += error.faults


def require_posix() -> None:
    """Insist on a system that has POSIX's locks and signals.

    Hydra imports the plugin in every application of the environment, so there only what uses it asks.

    Raises:
        SentimentError: This is Windows.
    """
    if sys.platform == "win32":
        raise SentimentError(
            "This needs Linux or macOS, and this Python is one for Windows.",
            "in PowerShell: wsl --install; then open Ubuntu, and type the README's first command there (WSL 2)",
        )


class DataError(SentimentError):
    """The data cannot be read or does not have the expected form."""


class ModelFileError(SentimentError):
    """A stored model is missing, incomplete or of another format version."""


class NonFiniteLossError(SentimentError):
    """The training loss became NaN or infinite, so the run cannot go on."""


class TrackingError(SentimentError):
    """The store that records runs cannot be opened or written."""


class OutOfMemoryError(SentimentError):
    """The host or the accelerator ran out of memory during a run."""


@dataclass(frozen=True)
class Reached:
    """How far a run came, e.g. one that a search ended early."""

    metrics: Mapping[str, float]  # values by their full names: ``val/...`` of the best validation
    epochs: float  # passes over the training data that were made
    best_epoch: float  # epoch of the best validation, a float
    seconds: float  # wall time of training, as `sentiment.training.result.RunResult` defines it
    parameters: int  # number of trainable parameters


class RunStopped(SentimentError):  # noqa: N818 - a way to end, as StopIteration is; not an error
    """A search stopped the run before its end. It is no failure."""

    reached: Reached | None = None  # how far the run came; training fills it in on the exception's way out


class RunPruned(RunStopped):
    """The run ends here; raised by a reporter's `validated`."""


class RunPaused(RunStopped):
    """The run has a checkpoint, and may go on from it later; raised by a reporter's `saved`."""

    steps: int = 0  # validations that the run has made

    @classmethod
    def after(cls, steps: int) -> RunPaused:
        """Make one; not by arguments, which exceptions lose on their way between processes."""
        paused = cls(f"paused after {format_count(steps, 'report')}")
        paused.steps = steps
        return paused


FailureKind = Literal[
    "exception",
    "out_of_memory",
    "non_finite_loss",
    "interrupted",
    "worker_died",
    "timed_out",
    "not_stored",
    "not_launched",
]
"""Why a run or a job did not come to its end.

``worker_died`` and ``timed_out`` are told by whoever waits for its process. ``not_stored``: nothing was wrong with it,
but a disk was full or a database away; the same command finishes it. ``not_launched``: a launcher did not take it.
"""

SIGTERM_EXIT_CODE = 128 + signal.SIGTERM
"""Exit code of a process that ended as SIGTERM asked it to, by the shell's convention."""

SIGHUP_EXIT_CODE = 129
"""The same of a process whose terminal was closed; Windows, where Hydra imports this module too, lacks the signal."""

REASON_LENGTH = 500
"""Characters of the one-line reason; the traceback beside it holds the whole message."""


@dataclass(frozen=True)
class Failure:
    """An exception, classified."""

    kind: FailureKind  # kind of failure
    reason: str  # one line for people
    traceback: str  # the whole traceback


def describe_failure(error: BaseException) -> Failure:
    """Classify the exception that ends a run; Ctrl-C and a polite request to end (SIGTERM) are ``interrupted``."""
    trace = mask_passwords("".join(traceback.format_exception(error)))
    if isinstance(error, Exception):
        return Failure(_find_kind(error), _write_one_line(error), trace)
    return Failure("interrupted", _explain_interruption(error), trace)


def find_full_disk(error: BaseException) -> str | None:
    """Return in a sentence that a disk is full, where that is behind an error; None where it is not."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (errno.ENOSPC, errno.EDQUOT):
            file = seen.filename2 or seen.filename  # of a copy the target
            return f"The disk is full: {file} cannot be written." if file else "The disk is full."
        if isinstance(seen, RuntimeError) and "PytorchStreamWriter failed writing" in str(seen):  # it hides the errno
            return "The disk is full: a checkpoint cannot be written."
        seen = seen.__cause__ or seen.__context__
    return None


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message that is not empty; its class where there is none."""
    return next(filter(str.strip, str(error).splitlines()), type(error).__name__)


def _write_one_line(error: BaseException) -> str:
    """Return the exception's class and message on one line."""
    full = find_full_disk(error)
    if full is not None:
        return full
    message = " ".join(mask_passwords(str(error)).split())
    name = type(error).__name__
    return f"{name}: {message}"[:REASON_LENGTH] if message else name


@contextmanager
def refusing_exit() -> Iterator[None]:
    """Turn `sys.exit` in a job into a failure of that job. Otherwise the whole sweep would end without a message.

    What interrupts the process goes through: Ctrl-C, of which Lightning makes an exit, and handlers of signals: Ray's
    ends a job of a command that leaves with code 1. So does Lightning's own exit after SIGTERM, with the code that it
    lacks: the command would end with 0.

    Raises:
        SentimentError: The block called `sys.exit`.
    """
    try:
        yield
    except SystemExit as error:
        if _is_of_sigterm(error):
            error.code = SIGTERM_EXIT_CODE
        is_of_signal = isinstance(error.code, int) and not 0 <= error.code < 128  # below 0: submitit's, to queue again
        if is_of_signal or _is_of_handler(error) or isinstance(error.__context__, KeyboardInterrupt):
            raise
        raise SentimentError(
            f"The run called sys.exit({'' if error.code is None else repr(error.code)}) instead of coming to its end.",
            "return its objective, or raise an error that says what was wrong",
        ) from error


@contextmanager
def explaining(
    problem: str,
    remedy: str,
    kind: type[SentimentError] = SentimentError,
    causes: type[Exception] | tuple[type[Exception], ...] = OSError,
) -> Iterator[None]:
    """Say of what is refused in the block, e.g. to write a file, what it means and what to do."""
    try:
        yield
    except causes as error:
        told = " ".join(mask_passwords(str(error)).split())  # some libraries write several lines
        raise kind(f"{problem}: {told}", remedy) from error


def _find_kind(error: Exception) -> FailureKind:
    if find_full_disk(error) is not None:
        return "not_stored"
    if isinstance(error, NonFiniteLossError):
        return "non_finite_loss"
    # torch's own class is told by its name: this module is imported where torch is not.
    if isinstance(error, (MemoryError, OutOfMemoryError)) or type(error).__name__ == "OutOfMemoryError":
        return "out_of_memory"
    # Its allocators on the CPU, and on an Apple GPU.
    if isinstance(error, RuntimeError) and re.search("can't allocate memory|out of memory", str(error)):
        return "out_of_memory"
    return "exception"


def _explain_interruption(error: BaseException) -> str:
    # Lightning turns Ctrl-C into SystemExit(1), so the KeyboardInterrupt may be the exception before.
    if isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt):
        return "interrupted (Ctrl-C)"
    if isinstance(error, SystemExit) and _is_of_sigterm(error):
        return "terminated (SIGTERM)"
    if isinstance(error, SystemExit) and error.code == SIGHUP_EXIT_CODE:
        return "the terminal was closed (SIGHUP)"
    if isinstance(error, SystemExit):
        return f"asked to exit with code {error.code}"
    return _write_one_line(error)


def _is_of_handler(error: SystemExit) -> bool:
    """Return whether the handler of a signal raised an exit."""
    handlers = {getattr(signal.getsignal(one), "__code__", None) for one in signal.valid_signals()}
    return any(frame.f_code in handlers for frame, _ in traceback.walk_tb(error.__traceback__))


def _is_of_sigterm(error: SystemExit) -> bool:
    """Return whether an exit follows SIGTERM; Lightning raises a class of its own where nobody has set a handler."""
    return error.code == SIGTERM_EXIT_CODE or type(error).__name__ == "SIGTERMException"
