"""What became of every bad input that was tried, by kind; counted while the tests run, and printed at their end."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hydra.errors import CompactHydraException

from sentiment.errors import SentimentError

SCREEN_LINES = 24
SECONDS = 20
"""Whoever takes longer hangs."""

KINDS = ("refused in one screen", "accepted", "refused at length", "traceback", "hung")
SOUND = KINDS[:2]

COUNTS: Counter[tuple[str, str]] = Counter()
"""By name of the inputs and kind of outcome, of this process."""


@dataclass(frozen=True)
class Outcome:
    """What became of an input: its kind, and what was said."""

    kind: str
    text: str = ""

    @property
    def is_sound(self) -> bool:
        """Whether the input was taken, or refused as a person can read it."""
        return self.kind in SOUND


class _HungError(BaseException):
    pass


def _interrupt(*_: object) -> None:
    raise _HungError


def observe(inputs: str, call: Callable[[], Any]) -> Outcome:
    """Give an input to what reads it, and count what becomes of it below the name of its kind of inputs."""
    before = signal.signal(signal.SIGALRM, _interrupt)
    others = signal.setitimer(signal.ITIMER_REAL, SECONDS)  # pytest's own limit is one, too
    try:
        call()
        outcome = Outcome("accepted")
    except (SentimentError, CompactHydraException) as error:  # Hydra prints the latter as it is
        text = str(error)
        outcome = Outcome(KINDS[0] if len(text.splitlines()) <= SCREEN_LINES else "refused at length", text)
    except _HungError:
        outcome = Outcome("hung")
    except Exception as error:
        outcome = Outcome("traceback", f"{type(error).__name__}: {error}")
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *others)
    COUNTS[inputs, outcome.kind] += 1
    return outcome


def describe() -> list[str]:
    """Write the counts as the lines of a table."""
    names = sorted({name for name, _ in COUNTS})
    rows = [("", "tried", *KINDS)]
    rows += [(name, str(sum(COUNTS[name, kind] for kind in KINDS)), *(str(COUNTS[name, kind]) for kind in KINDS))
             for name in names]  # fmt: skip
    rows.append(("all", str(COUNTS.total()), *(str(sum(COUNTS[name, kind] for name in names)) for kind in KINDS)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in enumerate(
            zip(row, widths, strict=True)))
        for row in rows
    ]  # fmt: skip
