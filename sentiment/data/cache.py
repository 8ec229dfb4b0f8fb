"""Token ids on disk: built once for all processes, memory-mapped by every later run.

An entry is a folder of plain ``.npy`` files beside ``meta.json`` and ``tokenizer.json``. It is written into a sibling
folder and renamed when complete, so a reader sees a whole entry or none and needs no lock. A builder that is killed
leaves a half-written sibling, which the next builder removes.

Learned words, another folder that is built once, are kept by the same `read_or_build`.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from sentiment.errors import DataError, explaining
from sentiment.format import format_duration
from sentiment.json_file import read_json

FORMAT_VERSION = 4  # raise it when what is stored, or how reviews become ids, changes
SPLITS = ("train", "validation", "test")
META_FILE = "meta.json"
TOKENIZER_FILE = "tokenizer.json"

WAIT_SECONDS = 2.0
"""Time between two looks whether another process is done."""

Tell = Callable[[str], None]
"""Hears from time to time how far it is, as while another process does the same."""

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """What one cache entry holds."""

    # Per split: ``ids`` (all token ids behind one another, uint16 or uint32), ``offsets`` (N+1, int64: review n is
    # ids[offsets[n]:offsets[n+1]]), ``labels`` (N, int64), ``rows`` (N, int64). Unlabelled reviews are a split, too;
    # their labels are 0 and mean nothing. Of a model's answers: ``probabilities`` (N, K).
    arrays: Mapping[str, Mapping[str, npt.NDArray[Any]]]
    tokenizer: str  # the tokenizer as JSON
    meta: Mapping[str, Any]  # everything else, as JSON values


def be_silent(note: str) -> None:
    """Tell nobody how far it is."""


def open_entry(cache_dir: Path, key: str, build: Callable[[], Entry], tell: Tell = be_silent) -> Entry:
    """Read an entry from the cache, or build and store it first.

    Its name `key` must change with everything that its content depends on. `build` is called at most once, and never
    while another process builds the same entry; `tell` hears from time to time that this one waits for it. The arrays
    are memory-mapped and read-only.

    Raises:
        DataError: The folder cannot be written.
    """
    folder, problem = cache_dir / key, f"the token cache {cache_dir} cannot be written"
    remedy = "free some space, or set data.cache_dir to a folder that you may write"
    guard = partial(explaining, problem, remedy, DataError, (OSError, DamagedError))

    def write() -> None:
        with guard():
            _remove_remains(folder)
        content = build()
        with guard():
            _write(folder, content)

    return read_or_build(
        folder, name="token cache entry", is_there=folder.exists, read=partial(_read, folder), build=write, guard=guard,
        tell=lambda seconds: tell(f"waits for tokens or answers, {format_duration(seconds)}"),
    )  # fmt: skip


def list_settings(cache_dir: Path) -> Iterator[dict[str, Any]]:
    """Yield the settings that the entries of a cache were made with; one that cannot be read is passed over."""
    for file in cache_dir.glob(f"*/{META_FILE}"):
        with suppress(OSError, ValueError):
            settings = read_json(file).get("settings")
            if isinstance(settings, dict):
                yield settings


def _read(folder: Path) -> Entry:
    try:
        meta = read_json(folder / META_FILE)
        if meta.get("format_version") != FORMAT_VERSION:
            raise DamagedError(f"format version {meta.get('format_version')} is not {FORMAT_VERSION}")
        _check_content(folder, meta)
        arrays: dict[str, dict[str, npt.NDArray[Any]]] = {}
        for split, name, _ in (file.split(".") for file in meta["bytes"] if file.endswith(".npy")):
            mapped = np.load(folder / f"{split}.{name}.npy", mmap_mode="r", allow_pickle=False)
            # A plain array over the same mapping: slicing a np.memmap costs several times as much, a review at a time.
            arrays.setdefault(split, {})[name] = np.asarray(mapped)
        tokenizer = (folder / TOKENIZER_FILE).read_text(encoding="utf-8")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # what half a file or other JSON gives
        raise DamagedError(f"{type(error).__name__}: {error}") from error
    return Entry(arrays=arrays, tokenizer=tokenizer, meta=meta)


def _check_content(folder: Path, meta: Mapping[str, Any]) -> None:
    """Hold sizes and checksums against the files: one flipped bit in a label would cost accuracy without a word."""
    for name, size in meta["bytes"].items():
        found = (folder / name).stat().st_size
        if found != size:
            raise DamagedError(f"{name} has {found} bytes instead of {size}")
        if _sum_file(folder / name) != meta["crc32"][name]:
            raise DamagedError(f"the checksum of {name} differs")
    if _sum_meta(meta) != meta["crc32"][META_FILE]:
        raise DamagedError(f"the checksum of {META_FILE} differs")


def _sum_file(file: Path) -> int:
    """Return the CRC-32 of a file: a gigabyte takes about a second."""
    total = 0
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            total = zlib.crc32(chunk, total)
    return total


def _sum_meta(meta: Mapping[str, Any]) -> int:
    """Return the CRC-32 of what the meta file says, but of itself."""
    sums = {name: value for name, value in meta["crc32"].items() if name != META_FILE}
    return zlib.crc32(json.dumps({**meta, "crc32": sums}, sort_keys=True).encode())


def _write(folder: Path, entry: Entry) -> None:
    half = Path(tempfile.mkdtemp(prefix=f"{folder.name}.partial-", dir=folder.parent))
    try:
        _fill(half, entry)
        half.rename(folder)
    except BaseException:
        shutil.rmtree(half)  # a full disk must not stay full because of what did not fit
        raise
    _flush_to_disk(folder.parent)


def _fill(half: Path, entry: Entry) -> None:
    for split, arrays in entry.arrays.items():
        for name, array in arrays.items():
            np.save(half / f"{split}.{name}.npy", array, allow_pickle=False)
    (half / TOKENIZER_FILE).write_text(entry.tokenizer, encoding="utf-8")
    sizes = {path.name: path.stat().st_size for path in sorted(half.iterdir())}
    sums = {name: _sum_file(half / name) for name in sizes}
    meta = {**entry.meta, "format_version": FORMAT_VERSION, "bytes": sizes, "crc32": sums}
    sums[META_FILE] = _sum_meta(json.loads(json.dumps(meta)))
    (half / META_FILE).write_text(json.dumps(meta, indent=1, ensure_ascii=False), encoding="utf-8")
    for path in half.iterdir():
        _flush_to_disk(path)  # a rename may reach the disk before the content does
    half.chmod(0o755)  # mkdtemp makes it private; the cache may be shared


def _flush_to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_remains(folder: Path) -> None:
    """Clear a damaged entry and what killed builders left; the caller holds the entry's lock."""
    for half in folder.parent.glob(f"{folder.name}.partial-*"):
        log.info("Removing %s, left by a run that was stopped while writing.", half)
        shutil.rmtree(half)
    if folder.exists():
        shutil.rmtree(folder)


class DamagedError(Exception):
    """It is there but cannot be used; it is built again."""


def read_or_build(
    folder: Path,
    *,
    name: str,
    is_there: Callable[[], bool],
    read: Callable[[], T],
    build: Callable[[], None],
    guard: Callable[[], AbstractContextManager[None]],
    tell: Callable[[float], None] = lambda seconds: None,
) -> T:
    """Read what a folder keeps, or build it first; never while another process does.

    What is whole is read without a lock. Who builds holds one beside the folder, which the system lets go with the
    process, however that ends.

    Args:
        folder: Its name changes with everything that its content depends on.
        name: What it is, for people.
        is_there: Whether one was finished; it may have been damaged since.
        read: Returns it, or raises `DamagedError`.
        build: Builds it; first it clears what a damaged one, or a builder that was killed, has left.
        guard: Context in which the folder is made, and read after the building: explains what cannot be written.
        tell: Hears from time to time for how many seconds another process has been waited for.
    """
    if is_there():
        try:
            return read()
        except DamagedError as error:  # said below: another process may be building it again
            log.debug("%s: %s", folder, error)
    with guard():
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = _acquire(folder, name, tell)
    with lock:
        if is_there():  # another process may have built it while this one waited
            try:
                return read()
            except DamagedError as error:
                log.warning("The %s in %s is damaged (%s) and built again.", name, folder, error)
        build()
        with guard():
            return read()


def _acquire(folder: Path, name: str, tell: Callable[[float], None]) -> AbstractContextManager[object]:
    """Take the lock; wait for whoever has it, and say so once."""
    lock, began, is_told = FileLock(folder.with_name(f"{folder.name}.lock")), time.monotonic(), False
    while True:
        try:
            return lock.acquire(timeout=WAIT_SECONDS if is_told else 0)
        except Timeout:
            if not is_told:
                log.info("Another run builds the %s in %s; waiting for it.", name, folder)
            is_told = True
            tell(time.monotonic() - began)
