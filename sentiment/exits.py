"""How the command ends: what is printed, and with which exit code.

A failed run ends with exit code 1, Ctrl-C as a shell expects it (130), a polite kill (SIGTERM) with 143, a terminal
that is closed (SIGHUP) with 129. That nobody reads the output any more changes none of them. An error written for
people (`SentimentError`) is printed without a traceback; ``HYDRA_FULL_ERROR=1`` shows it.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import stat
import sys
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, TextIO

from sentiment.errors import (
    SIGHUP_EXIT_CODE,
    SIGTERM_EXIT_CODE,
    SentimentError,
    describe_failure,
    find_full_disk,
    first_line,
    require_posix,
)
from sentiment.format import mask_passwords

OF_A_NAME = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG)
"""What the system says of a file that a person named, or closed."""

LONGEST_NAME = 200


class _Output(io.FileIO):
    """Standard output or error, whose reader may leave (``| head``, a ``tee`` that Ctrl-C ended): the work goes on."""

    def write(self, content: Any, /) -> int:
        """Write it; to nowhere from when on nobody reads, as this process and those that it starts print on."""
        try:
            return super().write(content)
        except BrokenPipeError:
            _send_nowhere(self.fileno())
            return super().write(content)


def install_exits(*, outlives_reader: bool = True) -> None:
    """Take over the last words of the process: uncaught errors, SIGTERM, and SIGHUP but under nohup.

    Args:
        outlives_reader: Work on where nobody reads standard output any more, instead of raising `BrokenPipeError`.

    Raises:
        SentimentError: This is Windows.
    """
    sys.excepthook = _report
    require_posix()
    # What the process was started without (>&-): no other file gets its number, and the workers have it.
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    if outlives_reader and sys.stdout is sys.__stdout__:
        sys.stdout = _reopen(sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _reopen(sys.stderr)
    logging.raiseExceptions = False  # a log that a full disk does not take: a traceback a line, before the one sentence
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _hang_up)


def _reopen(stream: TextIO | None) -> Any:
    """Return a stream of the process as an `_Output`; one to nowhere where the process was started without it."""
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.flush()
    # What the terminal cannot show is shown by its number, as on standard error: else a log would lose the line.
    errors = "backslashreplace" if stream.errors == "strict" else stream.errors
    output = _Output(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        output if stream.write_through else io.BufferedWriter(output),
        stream.encoding, errors, line_buffering=stream.line_buffering, write_through=stream.write_through,
    )  # fmt: skip


def _send_nowhere(stream: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream)
    os.close(nowhere)


def _report(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Print an uncaught error; Hydra calls this hook too, for an error inside a job."""
    if os.environ.get("HYDRA_FULL_ERROR") != "1":
        full = find_full_disk(error)
        if full is not None and not isinstance(error, SentimentError):
            print(f"\n{full}\n  -> free space; the same command goes on from what is there", file=sys.stderr)
            return
        if isinstance(error, SentimentError):
            print(f"\n{mask_passwords(str(error))}", file=sys.stderr)
            return
        if isinstance(error, OSError) and error.filename is not None and error.errno in OF_A_NAME:
            name = str(error.filename)[:LONGEST_NAME]
            print(f"\n{name}: {error.strerror}\n  -> mind who owns it and what it is, or name another", file=sys.stderr)
            return
        if describe_failure(error).kind == "out_of_memory":
            remedy = (
                "lower data.batch_size (run.py) or --batch-size (predict), or add --no-explain (errors, evaluate); "
                "else take a device with more memory"
            )
            print(f"\nOut of memory: {first_line(error)}\n  -> {remedy}", file=sys.stderr)
            return
        if isinstance(error, KeyboardInterrupt):
            print("\nStopped by Ctrl-C.", file=sys.stderr)
            return
    sys.__excepthook__(kind, error, traceback)


def _terminate(signal_number: int, frame: FrameType | None) -> None:
    """Unwind as for Ctrl-C, so that open runs are marked KILLED before the process ends."""
    raise SystemExit(SIGTERM_EXIT_CODE)


def _hang_up(signal_number: int, frame: FrameType | None) -> None:
    """Unwind likewise. The terminal is gone: what is printed on the way goes nowhere, instead of failing."""
    for stream in (1, 2):
        if stat.S_ISCHR(os.fstat(stream).st_mode):  # no isatty: a terminal that was closed is none any more
            _send_nowhere(stream)
    raise SystemExit(SIGHUP_EXIT_CODE)
