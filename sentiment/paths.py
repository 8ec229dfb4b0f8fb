"""Paths as people type them, and as records keep them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

OWN_FOLDER = "${project_dir:}"
"""How an application's own folder is written in YAML and in every record, so that it can be moved."""


def expand_home(text: str) -> Path:
    """Return a path with ``~`` as a shell writes it out; where there is no such person, as it stands."""
    return Path(os.path.expanduser(text))  # noqa: PTH111 - pathlib's raises where there is no such person


def list_roots(folder: Path) -> list[Path]:
    """Return ``multirun/`` or the like, and the links in it that lead to folders elsewhere, e.g. to a larger disk.

    Each place is told once. In a sweep's own folder a link is no job of it, and is not followed.
    """
    links = []
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError), os.scandir(folder) as entries:
        links = sorted(Path(entry.path) for entry in entries if entry.is_symlink())
    # `Path.is_dir` raises where a target may not be looked at, or its disk is away.
    links = [link for link in links if os.path.isdir(link)]  # noqa: PTH112
    here, targets = folder.resolve(), {link.resolve(): link for link in reversed(links)}
    apart = {place for place in targets if not (place.is_relative_to(here) or here.is_relative_to(place))}
    return [folder, *sorted(targets[place] for place in apart if apart.isdisjoint(place.parents))]


def find_files(folder: Path, name: str) -> Iterator[Path]:
    """Find the files of a name in ``multirun/`` or the like and below it; links are followed as by `list_roots`."""
    return (file for root in list_roots(folder) for file in root.rglob(name))


def write_portable(text: str, folder: Path) -> str:
    """Return text with an application's folder written as `OWN_FOLDER`."""
    return re.sub(rf"(?<![\w.-]){re.escape(str(folder))}(?![\w.-])", lambda _: OWN_FOLDER, text)
