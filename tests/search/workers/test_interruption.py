from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from sentiment.search.workers.executor import uninterrupted
from sentiment.search.workers.processes import deaf


class TerminatedError(Exception):
    """What SIGTERM raises here."""


def raise_terminated(number: int, frame: FrameType | None) -> None:
    raise TerminatedError


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, raise_terminated)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, TerminatedError)], ids=str
)
def test_a_signal_waits_for_the_end_of_the_step(number: signal.Signals, error: type[BaseException]):
    steps = []

    def take_step() -> None:
        with uninterrupted():
            os.kill(os.getpid(), number)
            steps.append("whole")

    with pytest.raises(error):
        take_step()
    assert steps == ["whole"]


def test_a_second_signal_is_obeyed_at_once_and_the_first_is_done_with():
    steps = []

    def take_step() -> None:
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
            steps.append("half")
            os.kill(os.getpid(), signal.SIGTERM)
            steps.append("whole")

    with pytest.raises((TerminatedError, KeyboardInterrupt)):
        take_step()
    assert steps == ["half"]


def test_what_signals_did_before_they_do_again():
    with uninterrupted():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is raise_terminated


def test_an_ignored_signal_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_other_threads_go_on_as_ever():
    done: list[Callable[..., object] | int | None] = []

    def work() -> None:
        with uninterrupted():
            done.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [signal.default_int_handler]


def test_ctrl_c_comes_through_after_a_start():
    with pytest.raises(KeyboardInterrupt):
        send_while_deaf()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


def send_while_deaf() -> None:
    with deaf():
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        assert signal.SIGINT in signal.sigpending()
