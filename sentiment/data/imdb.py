"""``data=imdb``: the Large Movie Review Dataset (Maas et al. 2011), 25,000 reviews to train, 25,000 to test.

From the Hugging Face Hub at a pinned commit, or from a local folder: Parquet files named as the Hub names them, or
the folder tree of the original archive (https://ai.stanford.edu/~amaas/data/sentiment/).
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiment.data.fingerprint import hash_contents
from sentiment.data.reviews import RawSplits, Reviews, as_path
from sentiment.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

CLASS_NAMES = ("negative", "positive")
TREE_FOLDERS = ("neg", "pos")  # in the order of CLASS_NAMES
PARQUET_FILES = {split: f"{split}-00000-of-00001.parquet" for split in ("train", "test")}
PROBE_SECONDS = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImdbSource:
    """The IMDB reviews.

    Attributes:
        path: Local folder: the two Parquet files (directly or under ``plain_text/``), or ``aclImdb`` or its parent;
            None: the Hub.
        repository: Data set on the Hub.
        revision: Commit on the Hub, 40 hexadecimal digits.
    """

    path: Path | None
    repository: str
    revision: str

    def __post_init__(self) -> None:
        """Take the path as text too, as settings hold it."""
        object.__setattr__(self, "path", as_path(self.path))

    def describe(self) -> str:
        """Say where these reviews come from."""
        place = f"{self.repository} at {self.revision[:7]}, Hugging Face Hub" if self.path is None else str(self.path)
        return f"IMDB movie reviews (Maas et al. 2011), negative or positive, from {place}"

    def fingerprint(self) -> str:
        """Identify the content: the pinned commit on the Hub, or a hash of the local files.

        Raises:
            DataError: The folder holds no IMDB reviews, or the revision is no commit.
        """
        if self.path is None:
            if not re.fullmatch(r"[0-9a-f]{40}", self.revision):
                raise DataError(
                    f"data.revision={self.revision} is no commit; name one by its 40 hexadecimal digits, because a "
                    "branch or a tag can move and runs would no longer be comparable"
                )
            return f"hub:{self.repository}@{self.revision}"
        return f"imdb:{hash_contents(_local_files(self.path))}"

    def load(self) -> RawSplits:
        """Read both splits; the unlabelled reviews are left alone.

        Raises:
            DataError: Neither the Hub nor a cache of it can be reached, or the local files cannot be read.
        """
        if self.path is None:
            tables = _load_from_hub(self.repository, self.revision)
            splits = {split: _reviews(table, f"{self.repository}, {split}") for split, table in tables.items()}
        elif parquet := _find_parquet(self.path):
            splits = {split: _read_parquet(file) for split, file in parquet.items()}
        else:
            tree = _require_tree(self.path)
            splits = {split: _read_tree(tree / split) for split in PARQUET_FILES}
        return RawSplits(train=splits["train"], validation=None, test=splits["test"], class_names=CLASS_NAMES)


def _local_files(path: Path) -> Sequence[tuple[str, str | Path]]:
    if parquet := _find_parquet(path):
        return [(file.name, file) for file in parquet.values()]
    tree = _require_tree(path)
    folders = [f"{split}/{folder}" for split in PARQUET_FILES for folder in TREE_FOLDERS]
    names = [f"{folder}/{name}" for folder in folders for name in _text_files(tree / folder)]
    return [(name, f"{tree}/{name}") for name in names]


def _text_files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir() if file.suffix == ".txt")


def _find_parquet(path: Path) -> dict[str, Path] | None:
    for folder in (path, path / "plain_text"):
        files = {split: folder / name for split, name in PARQUET_FILES.items()}
        if all(file.is_file() for file in files.values()):
            return files
    return None


def _require_tree(path: Path) -> Path:
    for tree in (path, path / "aclImdb"):
        if all((tree / split / folder).is_dir() for split in PARQUET_FILES for folder in TREE_FOLDERS):
            return tree
    what = "holds no IMDB reviews" if path.is_dir() else "is no folder"
    raise DataError(
        f"data.path={path} {what}; give a folder with {' and '.join(PARQUET_FILES.values())} (directly or under "
        "plain_text/), or the aclImdb/ folder of the original archive with train/neg, train/pos, test/neg and "
        "test/pos; or leave data.path out to read from the Hugging Face Hub"
    )


def _read_parquet(file: Path) -> Reviews:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file, columns=["text", "label"])
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{file} cannot be read as Parquet ({error}); download it again") from error
    return _reviews(table, str(file))


def _reviews(table: pa.Table, place: str) -> Reviews:
    missing = {"text", "label"} - set(table.column_names)
    if missing:
        raise DataError(f"{place} has no column {', '.join(sorted(missing))}, only {', '.join(table.column_names)}")
    labels = table.column("label").to_numpy().astype(np.int64)
    wrong = np.flatnonzero((labels != 0) & (labels != 1))
    if len(wrong):
        raise DataError(
            f"{place}: row {wrong[0] + 1} has label {labels[wrong[0]]}, and {len(wrong)} rows in all have a label that "
            "is neither 0 (negative) nor 1 (positive); read such data with data=files"
        )
    return Reviews(texts=table.column("text").to_pylist(), labels=labels)


def _read_tree(split: Path) -> Reviews:
    texts: list[str] = []
    labels: list[int] = []
    for label, folder in enumerate(TREE_FOLDERS):
        for file in (split / folder / name for name in _text_files(split / folder)):
            try:
                texts.append(file.read_bytes().decode("utf-8"))
            except UnicodeDecodeError as error:
                raise DataError(f"{file} is not UTF-8 ({error}); unpack the archive again") from error
            labels.append(label)
    return Reviews(texts=texts, labels=np.array(labels, dtype=np.int64))


def _load_from_hub(repository: str, revision: str) -> dict[str, pa.Table]:
    """Load through `datasets`: from the Hub where it answers, otherwise from the cache of an earlier download.

    Left alone, `datasets` tries an unreachable Hub for 23 s, then takes the newest cached revision, whichever it
    is. So the Hub is probed first, and what came back is held against the revision that was asked for.
    """
    import datasets
    from datasets.exceptions import DatasetsError
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # the HTTP library that it uses itself

    unreachable = _probe_hub(repository, revision)
    try:
        with _quiet_without_terminal(), _offline(unreachable is not None):
            splits = datasets.load_dataset(
                repository, revision=revision, split=list(PARQUET_FILES), keep_in_memory=False
            )
    except (OSError, ValueError, DatasetsError, httpx.HTTPError) as error:
        if unreachable is None:
            raise DataError(_hub_message(repository, revision, f"cannot be loaded ({error})")) from error
        raise DataError(_hub_message(repository, revision, f"cannot be reached ({unreachable})")) from error
    for split in splits:
        if not any(revision in Path(file["filename"]).parts for file in split.cache_files):
            found = split.cache_files[0]["filename"]
            raise DataError(
                _hub_message(repository, revision, f"cannot be reached, and the cache holds another one: {found}")
            )
    return {name: split.data.table for name, split in zip(PARQUET_FILES, splits, strict=True)}


def _hub_message(repository: str, revision: str, problem: str) -> str:
    return (
        f"the reviews {repository} at revision {revision} {problem}.\n"
        "  -> get online once (they are then kept in the Hugging Face cache, and HF_HOME says where that lies), or\n"
        "  -> give a local copy: data.path=FOLDER with the Hub's Parquet files or the aclImdb/ tree, or\n"
        "  -> use the embedded synthetic reviews: data=synthetic"
    )


def _probe_hub(repository: str, revision: str) -> str | None:
    """Ask the Hub once whether it has the revision.

    In a thread, because a name server that does not answer holds a request beyond its timeout.

    Returns:
        None where the Hub answers; otherwise why it does not.

    Raises:
        DataError: The Hub answers that it has no such data set or revision.
    """
    outcome: list[str | DataError | None] = []
    thread = threading.Thread(target=lambda: outcome.append(_ask_hub(repository, revision)), daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS + 1)
    answer = outcome[0] if outcome else f"no answer within {PROBE_SECONDS:.0f} s"
    if isinstance(answer, DataError):
        raise answer
    return answer


def _ask_hub(repository: str, revision: str) -> str | DataError | None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # the HTTP library that it uses itself

    try:
        HfApi(library_name="sentiment").dataset_info(repository, revision=revision, timeout=PROBE_SECONDS)
    except RevisionNotFoundError:
        return DataError(_hub_message(repository, revision, "do not exist on the Hub; check data.revision"))
    except RepositoryNotFoundError:
        return DataError(_hub_message(repository, revision, "do not exist on the Hub; check data.repository"))
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:  # OSError: HF_HUB_OFFLINE is set
        return str(error) or type(error).__name__
    return None


@contextmanager
def _offline(offline: bool) -> Iterator[None]:
    """Keep `datasets` to its cache: its environment variable is read at import, which may be long past."""
    from datasets import config

    before = config.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = before or offline
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = before


@contextmanager
def _quiet_without_terminal() -> Iterator[None]:
    """Show the progress of the download on a terminal only."""
    import datasets
    from huggingface_hub import utils as hub

    libraries: tuple[Any, ...] = (datasets, hub)
    shown = [library for library in libraries if not library.are_progress_bars_disabled()]
    if not sys.stderr.isatty():
        for library in shown:
            library.disable_progress_bars()
    try:
        yield
    finally:
        for library in shown:
            library.enable_progress_bars()
