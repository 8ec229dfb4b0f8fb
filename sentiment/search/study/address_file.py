"""``study.json``: where a study's trials are stored, left in its folder so that a report finds them later.

The folder of a study with a journal of its own says that by itself; a study in a database leaves no other trace in
its folder. A password is never written: `sentiment.credentials` gives it back to whoever reads.
"""

from __future__ import annotations

import copy
import glob
import logging
import os
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from omegaconf import DictConfig, OmegaConf

from sentiment.composing import write_override
from sentiment.errors import explaining
from sentiment.format import mask_passwords
from sentiment.json_file import read_dataclass, write_json
from sentiment.search.storage.address import StorageError, read_address, storage_errors

log = logging.getLogger(__name__)

STUDY_FILE = "study.json"


@dataclass(frozen=True)
class StudyAddress:
    """What ``study.json`` says."""

    study_name: str  # name of the study in its storage
    # URL of the storage, without password; None: the journal in the study's folder. The file has the path of a journal
    # or an SQLite database relative to the study's folder, where the command's folder holds both: it may be moved.
    storage: str | None = None
    command: str | None = None  # the command that started the study, without passwords; None where nobody knows
    last_command: str | None = None  # the one that took it up last; None where that is the same


def write_study_address(study_dir: Path, study_name: str, storage_url: str | None, command: str | None) -> None:
    """Write ``study.json``; of several commands on one study the first is kept, like its definition, and the last.

    Raises:
        StorageError: The folder cannot be written.
    """
    known = read_study_address(study_dir)
    last = command = None if command is None else mask_passwords(command)
    if known is not None and known.study_name == study_name:
        command, last = known.command or command, last or known.last_command
    storage = None if storage_url is None else _without_password(storage_url)
    content = StudyAddress(study_name, storage, command, None if last == command else last)
    if content != known:
        with storage_errors(f"Writing {study_dir / STUDY_FILE}"):
            write_json(study_dir / STUDY_FILE, asdict(replace(content, storage=_relate(storage, study_dir))))


def read_study_address(study_dir: Path) -> StudyAddress | None:
    """Read ``study.json``; None where there is none.

    Raises:
        StorageError: The file is damaged.
    """
    file = study_dir / STUDY_FILE
    if not file.exists():
        return None
    remedy = "remove it; the study's own command writes it again when it is started once more"
    with explaining(f"{file} cannot be read", remedy, StorageError, (OSError, ValueError, TypeError)):
        content = read_dataclass(StudyAddress, file)
        return replace(
            content, storage=_move(content.storage, lambda path: os.path.normpath(Path.cwd() / study_dir / path))
        )


def require_own_folder(study_dir: Path, study_name: str | None, storage_url: str | None) -> None:
    """Insist that a folder holds no other study, nor one of the name elsewhere: jobs of both would have equal folders.

    Raises:
        StorageError: It does.
    """
    known = read_study_address(study_dir)
    if known is None:
        return
    if known.study_name != study_name:
        # Both: the folder's name follows from the study's in every search here, and is another where it was renamed.
        there = [write_override("hydra.sweeper.study_name", known.study_name)]
        there.append(write_override("hydra.sweep.dir", str(study_dir)))
        raise StorageError(
            f"{study_dir} holds the study {known.study_name!r}, and this one is {study_name or 'to get a new name'}: "
            "their jobs would overwrite each other's files.",
            "give it a folder of its own with hydra.sweep.dir=FOLDER, or go on with the one that is there: "
            f"{shlex.join(there)}",
        )
    then, now = (read_address(url, study_dir) for url in (known.storage, storage_url))
    is_gone = then.path is not None and not then.path.exists()
    if then.place != now.place and not is_gone:
        named = "leave hydra.sweeper.storage out" if known.storage is None else f"hydra.sweeper.storage={known.storage}"
        raise StorageError(
            f"{study_dir} holds the study {study_name!r}, stored in {then}, and this command stores it in {now}: it "
            "would begin anew there, and its jobs overwrite the files of the other's.",
            f"go on with the one that is there: {named}; or give the new one a folder of its own with "
            f"hydra.sweep.dir=FOLDER. Where the trials themselves were moved to there, remove {study_dir / STUDY_FILE}",
        )


class _AnyTime(dict[tuple[str, ...], str]):
    """What ``${now:FORMAT}`` has come to in a configuration: a mark for each part of a path, whatever the time."""

    MARK = "__now__"

    def __missing__(self, arguments: tuple[str, ...]) -> str:
        return "/".join([self.MARK] * (1 + "".join(arguments).count("/")))


def find_dated_study(config: DictConfig, study_name: str, storage_url: str | None) -> Path | None:
    """Find the folder of a study where the sweep's folder has the date in its name, as Hydra's own default has.

    Args:
        config: Hydra's configuration of the sweep.
        study_name: Name of the study.
        storage_url: Its storage; None: a journal in its folder.

    Returns:
        The folder; None where there is none, or the sweep's folder has no date.

    Raises:
        StorageError: Several folders hold a study of the name: one is a copy of another, and nobody knows which.
    """
    at_any_time = copy.deepcopy(config)
    OmegaConf.get_cache(at_any_time)["now"] = _AnyTime()
    parts = (Path(config.hydra.runtime.cwd) / str(at_any_time.hydra.sweep.dir)).parts
    dated = [place for place, part in enumerate(parts) if _AnyTime.MARK in part]
    if not dated:
        return None
    pattern = ["*" if _AnyTime.MARK in part else glob.escape(part) for part in parts[dated[0] :]]
    files = sorted(Path(*parts[: dated[0]]).glob("/".join([*pattern, STUDY_FILE])))
    found = [file.parent for file in files if _is_study(file.parent, study_name, storage_url)]
    if len(found) > 1 and storage_url is None:
        raise StorageError(
            f"{len(found)} folders hold a study {study_name!r}: {', '.join(map(str, found))}.",
            f"name the one to go on in, hydra.sweep.dir={found[0]}, or move the others to somewhere else",
        )
    if len(found) > 1:  # commands that began at the same time, or under an earlier version
        log.warning(
            "%d folders hold jobs of the study %s; it goes on in the first, so what was interrupted in another begins "
            "anew: %s",
            len(found),
            study_name,
            ", ".join(map(str, found)),
        )
    return found[0] if found else None


def _is_study(study_dir: Path, study_name: str, storage_url: str | None) -> bool:
    """Return whether a folder is that of a study which is still stored where a command says."""
    known = read_study_address(study_dir)
    if known is None or known.study_name != study_name:
        return False
    then, now = (read_address(url, study_dir) for url in (known.storage, storage_url))
    return then.place == now.place and (then.path is None or then.path.exists())


def _relate(storage: str | None, study_dir: Path) -> str | None:
    """Write the path of a storage that is a file relative to the study's folder, where the command's holds both."""
    here = Path.cwd()
    if not study_dir.is_relative_to(here):
        return storage
    return _move(storage, lambda path: os.path.relpath(path, study_dir) if Path(path).is_relative_to(here) else path)


def _move(storage: str | None, change: Callable[[str], str]) -> str | None:
    """Change the path of a journal, relative where no slash follows the scheme, or of an SQLite database."""
    if storage is not None and storage.startswith("journal:"):
        path = quote(change(unquote(urlsplit(storage).path)))
        return f"journal://{path}" if path.startswith("/") else f"journal:{path}"
    if storage is None or not storage.startswith("sqlite:"):
        return storage
    from sqlalchemy import make_url

    url = make_url(storage)
    return storage if url.database is None else url.set(database=change(url.database)).render_as_string()


def _without_password(storage_url: str) -> str:
    address = read_address(storage_url, Path())
    if address.url is None:
        return storage_url
    hidden = [key for key in address.url.query if "passw" in key.lower()]
    return address.url._replace(password=None).difference_update_query(hidden).render_as_string()
