"""How the command ends: what is printed, and with which exit code.

A failed run ends with exit code 1, Ctrl-C as a shell expects it (130), a polite kill (SIGTERM) with 143. An error
written for people (`SentimentError`) is printed without a traceback; ``HYDRA_FULL_ERROR=1`` shows it.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType, TracebackType

from sentiment.errors import SIGTERM_EXIT_CODE, SentimentError


def install_exits() -> None:
    """Take over the last words of the process: uncaught errors and SIGTERM."""
    sys.excepthook = _report
    signal.signal(signal.SIGTERM, _terminate)


def _report(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Print an uncaught error; Hydra calls this hook too, for an error inside a job."""
    if os.environ.get("HYDRA_FULL_ERROR") != "1":
        if isinstance(error, SentimentError):
            print(f"\n{error}", file=sys.stderr)
            return
        if isinstance(error, KeyboardInterrupt):
            print("\nStopped by Ctrl-C.", file=sys.stderr)
            return
    sys.__excepthook__(kind, error, traceback)


def _terminate(signal_number: int, frame: FrameType | None) -> None:
    """Unwind as for Ctrl-C, so that open runs are marked KILLED before the process ends."""
    raise SystemExit(SIGTERM_EXIT_CODE)
