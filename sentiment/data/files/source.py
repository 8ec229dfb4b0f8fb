"""``data=files``: the user's own files, of any usual kind, with any number of classes."""

from __future__ import annotations

import glob
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sentiment.config.reading import DATASET_DICT, find_own_splits
from sentiment.data.files.classes import LabelledData, make_splits
from sentiment.data.files.delimited import Dialect
from sentiment.data.files.encoding import PACKED, explain_damage, is_utf8
from sentiment.data.files.formats import ENDINGS, STATE_FILE, is_dataset, read_file
from sentiment.data.files.records import SURROGATE, FileFormat, Quoting, Reading, ReadOptions, Table, take_rows
from sentiment.data.fingerprint import hash_contents
from sentiment.data.reviews import RawSplits, as_path
from sentiment.errors import DataError

log = logging.getLogger(__name__)

READER_VERSION = 3  # raise it when the same file would give other reviews; now: of columns whose names are numbers
FIRST_READER_VERSION = 1  # of files that give what they gave to the first reader, so that old studies go on
SECOND_READER_VERSION = 2  # of files that it read otherwise than the first

SPLIT_IN_NAME = re.compile(
    r"(?<![a-z])(train|test|valid|val|dev|eval|holdout|heldout)(ing|ation|uation|s|set|data)?(?![a-z])"
)

UNLABELLED_KEY = "data.unlabelled_path"

LABEL_PATHS = ("label_path", "validation_label_path", "test_label_path")

HELD_OUT = {"eva", "hol", "hel"}

OWN_SPLITS = {"data.validation_path": {"val", "dev", *HELD_OUT}, "data.test_path": {"tes", *HELD_OUT}}
"""How files of a path begin to name their split, where they do; those of other paths say that they are for training."""

READ_OTHERWISE = {
    ".csv": re.compile(rb'"(?<=[^,\n\r"]")[^,\n\r"]|\.0(?<=\d\.0)0*["\r\n,]'),
    ".tsv": re.compile(rb'"|\.0(?<=\d\.0)0*[\t\r\n]'),
}
"""What the first reader read otherwise: marks out of order, any mark between tabs, 1.0 as another class than 1."""


@dataclass(frozen=True, kw_only=True)
class FilesSource(LabelledData):
    """Reviews from files: one path each for training, validation and test.

    A path is a file, a pattern such as ``reviews/*.csv``, a folder of files, or a folder that the `datasets` library
    saved, whose own splits are taken where no path names them.
    """

    path: Path  # training reviews
    validation_path: Path | None  # validation reviews; None: validation is split off the training reviews later
    test_path: Path | None  # test reviews; None: a part of the training reviews
    # Where texts stand one per line: file of their labels, one per line; the same for the other two.
    label_path: Path | None = None
    validation_label_path: Path | None = None
    test_label_path: Path | None = None
    format: FileFormat | None = None  # see `ReadOptions`, as for the next four
    delimiter: str | None = None
    quoting: Quoting | None = None
    encoding: str | None = None
    header: bool | None = None
    unlabelled_path: Path | None = None  # reviews of which the text alone is read; None: there are none

    def __post_init__(self) -> None:
        """Take paths as text too, as settings hold them."""
        super().__post_init__()
        for name in ("path", "validation_path", "test_path", "unlabelled_path", *LABEL_PATHS):
            object.__setattr__(self, name, as_path(getattr(self, name)))

    def describe(self) -> str:
        """Return which files these reviews come from."""
        paths = (self.path, self.validation_path, self.test_path)
        return f"your reviews from {', '.join(str(path) for path in paths if path is not None)}"

    def fingerprint(self) -> str:
        """Identify the content of the files and everything that decides how they are read.

        Raises:
            DataError: A file is missing.
        """
        splits = self._find_splits()
        named: list[tuple[str, Path]] = []
        for key, paths in splits.items():
            for path in paths:
                for file in _list_contents(path):
                    named.append((_name_part(key, file, paths), file))
        labels = {f"data.{key}": getattr(self, key) for key in LABEL_PATHS}
        named += [(key, path) for key, path in labels.items() if path is not None]
        carved = None if "data.test_path" in splits else [self.test_fraction, self.split_seed]
        is_second = any(_is_read_otherwise(path) for _, path in named)
        version = SECOND_READER_VERSION if is_second else FIRST_READER_VERSION
        if self._names_a_number(splits, self.label_column):
            version = READER_VERSION
        settings: list[object] = [
            version, carved, str(self.text_column), str(self.label_column), self.labels, self.on_bad_row,
            [path.suffix.lower() for paths in splits.values() for path in paths],
        ]  # fmt: skip
        given: dict[str, object] = {key: value for key, value in self._list_options().items() if value is not None}
        given |= {"label_map": self.list_label_map()} if self.label_map else {}
        folders = [path for paths in splits.values() for path in paths if path.is_dir()]
        class_names = [names for path in folders if (names := _read_class_names(path))]
        given |= {"class_names": class_names} if class_names else {}
        settings += [given] if given else []
        return f"files:{hash_contents(named)}:{json.dumps(settings)}"

    def load(self) -> RawSplits:
        """Read all files.

        Raises:
            DataError: A file or a column is missing; bad rows, unless they are skipped; fewer than two classes.
        """
        options = ReadOptions(self.text_column, self.label_column, **self._list_options())
        splits = self._find_splits()
        tables: dict[str, list[Table]] = {key: [] for key in splits}
        used: set[str] = set()
        for key, path, reading, _ in self._open_files(splits, options):
            used.update(reading.used)
            table = take_rows(reading, str(path), self.rename())
            tables[key].append(replace(table, title=_name_part(key, path, splits[key])))
        try:
            options.require_used(self.path, used)
        except DataError:  # a setting may be for the reviews without labels alone, which need not be there for others
            for path in self._find_unlabelled():
                used.update(read_file(path, replace(options, label_column=None))[0].used)
            options.require_used(self.path, used)
        return make_splits(tables["data.path"], tables.get("data.validation_path"), tables.get("data.test_path"), self)

    def fingerprint_unlabelled(self) -> str | None:
        """Identify the content of the unlabelled files and how they are read.

        Raises:
            DataError: A file is missing.
        """
        if self.unlabelled_path is None:
            return None
        files = [file for path in self._find_unlabelled() for file in _list_contents(path)]
        is_named = any(self._names_a_number({UNLABELLED_KEY: [path]}, None) for path in self._find_unlabelled())
        version = READER_VERSION if is_named else SECOND_READER_VERSION
        settings = [version, str(self.text_column), self.on_bad_row, self._list_options()]
        return f"files:{hash_contents((file.name, file) for file in files)}:{json.dumps(settings)}"

    def load_unlabelled(self) -> list[str]:
        """Read the texts of the unlabelled files; labels that stand beside them are left alone.

        Raises:
            DataError: A file or the text's column is missing; bad rows, unless they are skipped.
        """
        options = ReadOptions(self.text_column, None, **self._list_options())
        texts: list[str] = []
        for path in self._find_unlabelled():
            table = take_rows(read_file(path, options)[0], str(path), {})
            log.info("%s", table.describe())
            rows = zip(table.numbers, table.texts, strict=True)
            bad = sorted([*table.bad, *((number, "the text is blank") for number, text in rows if not text.strip())])
            if bad:
                number, fault = bad[0]
                told = f"{path}, {table.unit} {number}: {fault} ({len(bad):,} bad in all)"
                if self.on_bad_row == "error":
                    raise DataError(f"{told}; mend them, or leave them out with data.on_bad_row=skip")
                log.warning("Left out: %s", told)
            texts += filter(str.strip, table.texts)
        return texts

    def _find_unlabelled(self) -> list[Path]:
        return [] if self.unlabelled_path is None else find_files(UNLABELLED_KEY, self.unlabelled_path)

    def _names_a_number(self, splits: Mapping[str, list[Path]], label_column: str | int | None) -> bool:
        """Return whether a wanted column has a number as its name, at another place, which the second reader took."""
        options = ReadOptions(self.text_column, label_column, **self._list_options())
        columns = list(options.wanted().values())
        are_places = self.header is False or (self.header is None and all(map(str.isdecimal, columns)))
        if are_places or not any(map(str.isdecimal, columns)):
            return False
        for _, _, _, dialect in self._open_files(splits, options):
            found = [] if dialect is None else [dialect.text, dialect.label]
            pairs = zip(columns, found, strict=False)  # of a file in no columns there are none
            if any(column.isdecimal() and int(column) - 1 != index for column, index in pairs):
                return True
        return False

    def _open_files(
        self, splits: Mapping[str, list[Path]], options: ReadOptions
    ) -> Iterator[tuple[str, Path, Reading, Dialect | None]]:
        """Yield each file with the key of its split and what `read_file` finds; the first in columns is the prior."""
        prior: Dialect | None = None
        for key, paths in splits.items():
            label_key = key.removeprefix("data.").replace("path", "label_path")
            for path in paths:
                reading, dialect = read_file(path, options, getattr(self, label_key, None), prior)
                prior = prior or dialect
                yield key, path, reading, dialect

    def _list_options(self) -> dict[str, Any]:
        return {key: getattr(self, key) for key in ("format", "delimiter", "quoting", "encoding", "header")}

    def _find_splits(self) -> dict[str, list[Path]]:
        """Map the key of each split to its files.

        Raises:
            DataError: A path leads to nothing, to several splits, or to other files than its labels are for.
        """
        named = {"data.validation_path": self.validation_path, "data.test_path": self.test_path}
        train = self.path
        if (train / DATASET_DICT).is_file():
            train = self.path / "train"
            named |= {key: path for key, path in find_own_splits(self.path).items() if named[key] is None}
        paths = {"data.path": train, **named}
        splits = {key: find_files(key, path) for key, path in paths.items() if path is not None}
        for label_key in LABEL_PATHS:
            label_path, files = getattr(self, label_key), splits.get(f"data.{label_key.replace('label_', '')}")
            if label_path is not None and files is not None:
                _require_texts_of(label_path, label_key, files, self.format)
        return splits


def _name_part(key: str, file: Path, files: list[Path]) -> str:
    """Name one of the files of a key by what is part of their content: a single one may be called anything."""
    return key if [file] == files else f"{key}/{file.name}"


def _list_contents(path: Path) -> list[Path]:
    """Return the files that are read of a path: of a saved data set those that it names, not others beside them."""
    state = path / STATE_FILE
    if not state.is_file():
        return sorted(path.rglob("*.arrow")) if path.is_dir() else [path]
    with explain_damage(path):
        parts = json.loads(state.read_text(encoding="utf-8"))["_data_files"]
        files = sorted(path / part["filename"] for part in parts)
        for file in files:
            file.stat()  # a copy may lack one
        return files


def _read_class_names(folder: Path) -> dict[str, list[str]]:
    """Return what the indices in the columns of a saved data set stand for: its files of rows do not say."""
    file = folder / "dataset_info.json"
    with explain_damage(folder):
        features = json.loads(file.read_text(encoding="utf-8")).get("features") if file.is_file() else None
        return {column: feature["names"] for column, feature in (features or {}).items() if "names" in feature}


def find_files(key: str, path: Path) -> list[Path]:
    """Return the files that a path stands for: itself, those that match it as a pattern, or those in a folder.

    Raises:
        DataError: There is none, or their names say that they are different splits.
    """
    if path.is_file() or (path.is_dir() and is_dataset(path)):
        found = [path]
    elif path.is_dir():
        endings = (*ENDINGS, *PACKED)
        files = (file for file in sorted(path.rglob("*")) if file.is_file() and file.suffix.lower() in endings)
        # Not those of a program's own, or in a folder of such: .ipynb_checkpoints.
        found = [file for file in files if not any(part[0] == "." for part in file.relative_to(path).parts)]
        problem = "is a folder without files that can be read"
    else:
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207  # of an absolute pattern, too
        found = [Path(file) for file in matches if Path(file).is_file()]
        problem = "matches no file" if glob.has_magic(str(path)) else "does not exist"
    if not found:
        raise DataError(f"{key}={path} {problem} (looked at {path.absolute()}); give the path of a file")
    found = list({file.resolve(): file for file in reversed(found)}.values())[::-1]  # a link leads to another of them
    if odd := next((file for file in found if SURROGATE.search(str(file))), None):
        raise DataError(f"{key} stands for {str(odd)!a}, whose name is not UTF-8; give the file another name")
    _require_different(key, path, found)
    top = Path(os.path.commonpath([file.parent for file in found]))
    names = [file.relative_to(top).as_posix() for file in found]
    splits = {match and match[1][:3] for match in map(SPLIT_IN_NAME.search, map(str.lower, names))}
    others = splits - {None} - OWN_SPLITS.get(key, {"tra"})
    if len(splits - {None}) > 1 or (others and None in splits):
        raise DataError(
            f"{key}={path} stands for files of several splits ({', '.join(names[:5])}); name "
            "those of one, e.g. by a pattern, and give data.validation_path and data.test_path theirs"
        )
    return found


def _require_different(key: str, path: Path, files: list[Path]) -> None:
    """Insist on no file that lies there packed and unpacked: its reviews would count twice.

    Raises:
        DataError: There is one.
    """
    names: dict[Path, Path] = {}
    for file in files:
        plain = file.with_suffix("") if file.suffix.lower() in PACKED else file
        if plain in names:
            raise DataError(
                f"{key}={path} stands for {names[plain].name} and {file.name}, which is the same file packed; remove "
                "one of them, or name those that count by a pattern"
            )
        names[plain] = file


def _require_texts_of(label_path: Path, label_key: str, files: list[Path], kind: FileFormat | None) -> None:
    """Insist on one file of texts, one per line, to the file of their labels: another one would get the same labels."""
    if kind not in (None, "lines"):
        raise DataError(
            f"data.{label_key}={label_path} holds the labels of texts that stand one per line, and data.format={kind}; "
            "leave one of the two out"
        )
    if len(files) > 1 or files[0].is_dir() or label_path.resolve() == files[0].resolve():
        names = ", ".join(file.name for file in files[:5])
        raise DataError(
            f"data.{label_key}={label_path} holds the labels of one file of texts, and its texts are to be in "
            f"{names}; name the one file that has them with data.{label_key.replace('label_', '')}"
        )


def _is_read_otherwise(path: Path) -> bool:
    """Return whether the first reader would have read other reviews from a file."""
    pattern = READ_OTHERWISE.get(path.suffix.lower())
    if pattern is None:
        return False
    with path.open("rb") as file:
        return any(pattern.search(line) or not is_utf8(line) for line in file)
