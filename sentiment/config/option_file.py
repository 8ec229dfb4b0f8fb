"""An option of a config group as its YAML file tells of it: the commands that use it, and what it lays over a run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from sentiment.flat import flatten

PACKAGE_LINE = "# @package"


@dataclass(frozen=True)
class Header:
    """What a YAML file opens with.

    Attributes:
        commands: The commands that use it, each with its remark as a shell comment.
        remark: The sentences after them; empty where there are none.
    """

    commands: tuple[str, ...]
    remark: str


@dataclass(frozen=True)
class Overlay:
    """What an option of ``search`` or ``experiment`` lays over a run.

    Attributes:
        bases: Options of the same group that it starts from.
        choices: Options of other groups that it chooses, e.g. ``model=rnn``.
        varied: The search space: condition (empty: always), key and values.
        constraints: Expressions that every point satisfies.
        settings: Every other key that it sets, dotted.
    """

    bases: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    varied: tuple[tuple[str, str, str], ...] = ()
    constraints: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def read_header(file: Path) -> Header:
    """Read the comments that a YAML file opens with."""
    commands: list[str] = []
    sentences: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.lstrip("#").strip()
        if text.startswith("python "):
            commands.append(re.sub(r"\s{2,}(?!#)", "  # ", text, count=1))
        elif text and not line.startswith(PACKAGE_LINE):
            sentences.append(text)
    return Header(tuple(commands), " ".join(sentences))


def read_overlay(file: Path) -> Overlay:
    """Read what an option sets itself, without what it starts from; interpolations stay as they are."""
    content = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(file), resolve=False) or {})
    defaults = content.pop("defaults", [])
    sweeper = content.get("hydra", {}).get("sweeper", {})
    varied = [("", key, str(values)) for key, values in sweeper.pop("params", {}).items()]
    for condition, branch in sweeper.pop("branches", {}).items():
        varied += [(condition, key, str(values)) for key, values in branch.items()]
    constraints = tuple(sweeper.pop("constraints", ()))
    chosen = [next(iter(entry.items())) for entry in defaults if isinstance(entry, dict)]
    return Overlay(
        bases=tuple(entry for entry in defaults if isinstance(entry, str) and entry != "_self_"),
        choices=tuple(f"{group.removeprefix('override ').lstrip('/')}={option}" for group, option in chosen),
        varied=tuple(varied),
        constraints=constraints,
        settings=flatten(content),
    )
