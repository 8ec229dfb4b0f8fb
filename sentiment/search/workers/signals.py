"""Holding Ctrl-C and SIGTERM back while a step is taken that must not be left half done."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

HELD = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold the first Ctrl-C or SIGTERM back until the step is done; a second one is obeyed at once.

    Python handles signals in the main thread, so elsewhere there is nothing to hold.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    handlers = {number: signal.getsignal(number) for number in HELD}

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def hold(number: int, frame: FrameType | None) -> None:
        held.append(number)
        if len(held) > 1:
            restore()
            os.kill(os.getpid(), held.pop())

    for number in HELD:
        if handlers[number] is not signal.SIG_IGN:
            signal.signal(number, hold)
    try:
        yield
    finally:
        restore()
        if held:
            os.kill(os.getpid(), held[0])


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Start processes here that a Ctrl-C at the terminal cannot end before they have said what they do about it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
