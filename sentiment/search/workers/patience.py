"""How long a job may take, and how long it may go without progress."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from sentiment.format import format_duration


@dataclass
class Patience:
    """Judges the jobs of a command by the clock of the process that waits for them."""

    timeout_seconds: float | None = None  # longest time of a job; None: any
    progress_seconds: float | None = None  # longest time without a sign of progress; None: any
    _began: dict[int, float] = field(default_factory=dict)
    _signs: dict[int, tuple[Hashable, float]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.timeout_seconds is not None or self.progress_seconds is not None

    def judge(self, number: int, sign: Hashable, now_seconds: float, earlier_seconds: float = 0.0) -> str | None:
        """Return why a job is to be ended; None: it may go on.

        Args:
            number: The job's number.
            sign: Changes whenever the job gets on.
            now_seconds: The time by `time.monotonic`.
            earlier_seconds: How long the job ran in earlier attempts; looked at when the job is new.
        """
        began = self._began.setdefault(number, now_seconds - earlier_seconds)
        known, since = self._signs.get(number, (None, now_seconds))
        if known != sign:
            since = now_seconds
        self._signs[number] = (sign, since)
        if self.timeout_seconds is not None and now_seconds - began >= self.timeout_seconds:
            return f"it took longer than trial_timeout={format_duration(self.timeout_seconds)}"
        if self.progress_seconds is not None and now_seconds - since >= self.progress_seconds:
            return f"it did not get on for progress_timeout={format_duration(self.progress_seconds)}"
        return None

    def forget(self, number: int) -> None:
        """Take a job off, which has ended."""
        self._began.pop(number, None)
        self._signs.pop(number, None)
