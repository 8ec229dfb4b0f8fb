"""Results that studies share: what one has finished, another in a folder beside it need not run again.

Each finished job leaves a small file under its identity (settings, seed, data and code), next to the studies' folders,
and the identity in its own folder, as another job may use that folder later. A study that comes to an equal job takes
over the whole folder of that job, so that all that reads folders finds the job's record, model and predictions as if it
had run there.
"""

from __future__ import annotations

import glob
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from sentiment.atomic import write_text
from sentiment.json_file import read_dataclass, write_json

log = logging.getLogger(__name__)

SHARED_DIR = ".results"
"""Folder beside the studies' folders."""

IDENTITY_FILE = ".identity"
"""In a job's folder: which result it holds."""


@dataclass(frozen=True)
class SharedResult:
    """The result of one finished job."""

    folder: str  # the job's folder, relative to the folder of all studies
    values: Sequence[float]  # its objectives
    described: Mapping[str, float] = field(default_factory=dict)  # numbers that it described beside them


class SharedResults:
    """The results of all studies whose folders lie beside each other.

    Args:
        study_dir: Folder of the study that shares.
    """

    def __init__(self, study_dir: Path) -> None:
        self._study_dir = study_dir
        self._root = study_dir.parent
        self._can_write = True

    def keep(self, identity: str, result: SharedResult) -> None:
        """Note a result. A folder that cannot be written costs the sharing, not the study."""
        file = self._file(identity)
        if not self._can_write:
            return
        try:
            folder = self._root / result.folder
            write_text(folder / IDENTITY_FILE, f"{identity} {_date(folder)}".strip())
            if self._read(identity) is None:
                write_json(file, asdict(result))
        except OSError as error:
            self._can_write = False
            log.warning("Other studies cannot reuse the results of this one: %s cannot be written (%s).", file, error)

    def find(self, identity: str) -> SharedResult | None:
        """Find the result of an equal job of another study whose folder is still there."""
        result = self._read(identity)
        is_own = result is not None and (self._root / result.folder).is_relative_to(self._study_dir)
        return None if is_own else result

    def _read(self, identity: str) -> SharedResult | None:
        """Read a result; None where nobody left one, or its folder is gone or holds another."""
        file = self._file(identity)
        try:
            result = read_dataclass(SharedResult, file)
            places = self._list_places(Path(result.folder))
            folder = next((place for place in places if _holds(place, identity)), None)
            return None if folder is None else replace(result, folder=self.relate(folder))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            log.warning("%s is left out: it cannot be read (%s).", file, error)
            return None

    def _list_places(self, folder: Path) -> Iterator[Path]:
        """List where a job's folder may be: where it was, else at the same place in a study's folder renamed since."""
        yield self._root / folder
        yield from sorted(self._root.glob(str(Path("*", *map(glob.escape, folder.parts[1:])))))

    @contextmanager
    def taking_over(self, result: SharedResult, folder: Path) -> Iterator[None]:
        """Make a copy of the folder of an equal job that of a job here.

        No links: whatever writes to the one folder later would write to the other. What the block raises leaves no
        folder behind: the job has to run.

        Raises:
            OSError: The folder cannot be written, or the equal job's has gone meanwhile.
        """
        try:
            shutil.copytree(self._root / result.folder, folder, copy_function=_copy, dirs_exist_ok=True)
            yield
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def relate(self, folder: Path) -> str:
        """Return a job's folder relative to the folder of all studies."""
        return os.path.relpath(folder, self._root)

    def _file(self, identity: str) -> Path:
        return self._root / SHARED_DIR / f"{identity}.json"


def _copy(source: str, target: str) -> None:
    Path(target).unlink(missing_ok=True)  # an earlier version linked files
    shutil.copy2(source, target)


def _holds(folder: Path, identity: str) -> bool:
    """Return whether a job's folder holds a result, and no other run has used it since."""
    try:
        held, _, date = (folder / IDENTITY_FILE).read_text().partition(" ")
    except OSError:  # it is gone, or closed to this person
        return False
    return held == identity and date in ("", _date(folder))


def _date(folder: Path) -> str:
    """Return when Hydra wrote what a job's folder was used for last; empty: it writes nothing of it."""
    file = folder / ".hydra" / "config.yaml"
    return str(file.stat().st_mtime_ns) if file.exists() else ""
