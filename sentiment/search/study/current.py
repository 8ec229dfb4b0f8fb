"""Which trial the running job belongs to; apart from `study.trial`, so that asking imports no Optuna."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentiment.search.study.trial import RunningTrial

_current: ContextVar[RunningTrial | None] = ContextVar("current_trial", default=None)


def current_trial() -> RunningTrial | None:
    """Give the trial that the running job belongs to; None outside a study."""
    return _current.get()


@contextmanager
def running(trial: RunningTrial) -> Iterator[None]:
    """Make a trial the current one."""
    token = _current.set(trial)
    try:
        yield
    finally:
        _current.reset(token)
