"""``data=imdb``: the Large Movie Review Dataset (Maas et al. 2011), 25,000 reviews to train, 25,000 to test.

50,000 more have no label; they are read where a network learns words first (``pretrain``), or learns what teachers
answer (``trainer.teachers``).

From the Hugging Face Hub at a pinned commit, or from a local folder: Parquet files named as the Hub names them, or
the folder tree of the original archive (https://ai.stanford.edu/~amaas/data/sentiment/).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sentiment.data.files.formats import decode_values
from sentiment.data.files.records import find_text_fault
from sentiment.data.fingerprint import hash_contents
from sentiment.data.hub import load_from_hub
from sentiment.data.reviews import RawSplits, Reviews, as_path
from sentiment.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

CLASS_NAMES = ("negative", "positive")
TREE_FOLDERS = ("neg", "pos")  # in the order of CLASS_NAMES
PARQUET_FILES = {split: f"{split}-00000-of-00001.parquet" for split in ("train", "test")}
UNLABELLED = "unsupervised"
UNLABELLED_FILE = f"{UNLABELLED}-00000-of-00001.parquet"
UNLABELLED_FOLDER = "train/unsup"
LOCAL_COPY = "data.path=FOLDER with the Hub's Parquet files or the aclImdb/ tree"


@dataclass(frozen=True)
class ImdbSource:
    """The IMDB reviews."""

    # Local folder: the two Parquet files (directly or under ``plain_text/``), or ``aclImdb`` or its parent; None: the
    # Hub.
    path: Path | None
    repository: str  # data set on the Hub
    revision: str  # commit on the Hub, 40 hexadecimal digits

    def __post_init__(self) -> None:
        """Take the path as text too, as settings hold it."""
        object.__setattr__(self, "path", as_path(self.path))

    def describe(self) -> str:
        """Return where these reviews come from."""
        place = f"{self.repository} at {self.revision[:7]}, Hugging Face Hub" if self.path is None else str(self.path)
        return f"IMDB movie reviews (Maas et al. 2011), negative or positive, from {place}"

    def fingerprint(self) -> str:
        """Identify the content: the pinned commit on the Hub, or a hash of the local files.

        Raises:
            DataError: The folder holds no IMDB reviews.
        """
        if self.path is None:
            return f"hub:{self.repository}@{self.revision}"
        return f"imdb:{hash_contents(_local_files(self.path))}"

    def load(self) -> RawSplits:
        """Read both splits; the unlabelled reviews are left to `load_unlabelled`.

        Raises:
            DataError: Neither the Hub nor a cache of it can be reached, or the local files cannot be read.
        """
        if self.path is None:
            found = load_from_hub(self.repository, self.revision, list(PARQUET_FILES), LOCAL_COPY)
            splits = {
                split: _reviews(dataset.data.table, f"{self.repository}, {split}")
                for split, dataset in zip(PARQUET_FILES, found, strict=True)
            }
        elif parquet := _find_parquet(self.path):
            splits = {
                split: _reviews(_open_parquet(file, ["text", "label"]), str(file)) for split, file in parquet.items()
            }
        else:
            tree = _require_tree(self.path)
            splits = {split: _read_tree(tree / split) for split in PARQUET_FILES}
        return RawSplits(train=splits["train"], validation=None, test=splits["test"], class_names=CLASS_NAMES)

    def fingerprint_unlabelled(self) -> str:
        """Identify the unlabelled reviews: the pinned commit on the Hub, or a hash of the local files.

        Raises:
            DataError: The folder holds none.
        """
        if self.path is None:
            return f"{self.fingerprint()}:{UNLABELLED}"
        place = _find_unlabelled(self.path)
        files = [place] if place.is_file() else [place / name for name in _text_files(place)]
        return f"imdb:{hash_contents((file.name, file) for file in files)}"

    def load_unlabelled(self) -> list[str]:
        """Read the texts of the unlabelled reviews.

        Raises:
            DataError: Neither the Hub nor a cache of it can be reached, or the local files cannot be read.
        """
        if self.path is None:
            [found] = load_from_hub(self.repository, self.revision, [UNLABELLED], LOCAL_COPY)
            return _texts(found.data.table, f"{self.repository}, {UNLABELLED}")
        place = _find_unlabelled(self.path)
        if place.is_file():
            return _texts(_open_parquet(place, ["text"]), str(place))
        return [_read_text(place / name) for name in _text_files(place)]


def _find_unlabelled(path: Path) -> Path:
    """Return the Parquet file, or the folder of the tree.

    Raises:
        DataError: There is neither.
    """
    parquet = _find_parquet(path)
    place = parquet["train"].with_name(UNLABELLED_FILE) if parquet else _require_tree(path) / UNLABELLED_FOLDER
    if not place.exists() or (place.is_dir() and not _text_files(place)):
        raise DataError(
            f"data.path={path} holds no unlabelled reviews, which pretrain and trainer.teachers read: {place} is "
            "missing or empty.",
            "put it there (it comes with the data), or leave data.path out to read from the "
            "Hub, or leave pretrain and trainer.teachers out",
        )
    return place


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


def _open_parquet(file: Path, columns: list[str]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(file, columns=columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{file} cannot be read as Parquet ({error}); download it again") from error


def _texts(table: pa.Table, place: str) -> list[str]:
    _require_columns(table, {"text"}, place)
    texts = list(decode_values(table.column("text")))
    faults = {row: fault for row, text in enumerate(texts, start=1) if (fault := find_text_fault(text))}
    if faults:
        row, fault = next(iter(faults.items()))
        raise DataError(
            f"{place}: row {row}: {fault} ({len(faults):,} bad in all); download it again, or read such data with "
            "data=files"
        )
    return texts


def _require_columns(table: pa.Table, wanted: set[str], place: str) -> None:
    missing = wanted - set(table.column_names)
    if missing:
        raise DataError(f"{place} has no column {', '.join(sorted(missing))}, only {', '.join(table.column_names)}")


def _reviews(table: pa.Table, place: str) -> Reviews:
    _require_columns(table, {"text", "label"}, place)
    labels = table.column("label").to_numpy()
    wrong = np.flatnonzero((labels != 0) & (labels != 1))
    if len(wrong):
        raise DataError(
            f"{place}: row {wrong[0] + 1} has label {labels[wrong[0]]}, and {len(wrong)} rows in all have a label that "
            "is neither 0 (negative) nor 1 (positive); read such data with data=files"
        )
    return Reviews(texts=_texts(table, place), labels=labels.astype(np.int64))


def _read_tree(split: Path) -> Reviews:
    negative, positive = ([split / folder / name for name in _text_files(split / folder)] for folder in TREE_FOLDERS)
    labels = np.repeat([0, 1], [len(negative), len(positive)])
    return Reviews(texts=[_read_text(file) for file in (*negative, *positive)], labels=labels)


def _read_text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 ({error}); unpack the archive again") from error
