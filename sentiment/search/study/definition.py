"""What a study is about: its space and its fixed settings, so that nobody goes on with another study by mistake."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sentiment.errors import SentimentError
from sentiment.search.composer import is_within

SHOWN = 12
"""Differences that an error lists; one screen."""


class StudyChangedError(SentimentError):
    """The command differs from the study that is stored under its name."""


@dataclass(frozen=True)
class Definition:
    """What must not change in a study.

    Attributes:
        space: Parameters, as `Space.describe` tells them.
        settings: Resolved settings that are the same in all trials, flattened.
        directions: Direction of every objective.
        repeats: Seeds of every point, and how they are combined.
    """

    space: Mapping[str, str]
    settings: Mapping[str, str]
    directions: Sequence[str]
    repeats: str

    def to_json(self) -> dict[str, Any]:
        """Return what a storage keeps."""
        return {**asdict(self), "directions": list(self.directions)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Definition:
        """Read what a storage kept."""
        return cls(**content)


def compare(name: str, stored: Definition, now: Definition, ignored: Collection[str] = ()) -> None:
    """Raise with every difference between two definitions.

    Args:
        name: The study's.
        stored: What is stored.
        now: What the command says.
        ignored: Keys and groups that do not change a result; the study may have been stored before they were ignored.

    Raises:
        StudyChangedError: There is one.
    """
    differences = [
        *_compare("space", stored.space, now.space),
        *_compare("setting", {k: v for k, v in stored.settings.items() if not is_within(k, ignored)}, now.settings),
    ]
    if list(stored.directions) != list(now.directions):
        differences.append(f"directions: stored {list(stored.directions)}, now {list(now.directions)}")
    if stored.repeats != now.repeats:
        differences.append(f"repeats: stored {stored.repeats}, now {now.repeats}")
    if not differences:
        return
    more = len(differences) - SHOWN
    lines = [f"  {line}" for line in differences[:SHOWN]] + ([f"  ... and {more} more"] if more > 0 else [])
    raise StudyChangedError(
        f"The study {name!r} exists, and this command differs from it:\n"
        + "\n".join(lines)
        + "\n-> repeat the settings of the stored study, start another one with hydra.sweeper.study_name=NAME,\n"
        "   or go on with the new ones all the same: hydra.sweeper.allow_changes=true"
    )


def _compare(kind: str, stored: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    lines: list[str] = []
    for key in sorted({*stored, *now}):
        if stored.get(key) != now.get(key):
            lines.append(f"{kind} {key}: stored {stored.get(key, 'without')}, now {now.get(key, 'without')}")
    return lines
