"""Texts for a trained model: as people give them, with labels or without, and those behind the predictions of a run.

Unlabelled ones are read a few at a time, so that any size fits the memory. Labels are matched with the model's
classes. The data of a run is read again, split the same way, and checked to be the same: training works on token ids,
and whoever shows people a review needs its text.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TextIO, get_args

import numpy as np

from sentiment.config.reading import INPUT_PATHS, is_there
from sentiment.config.schema import DataSettings, FilesDataSettings
from sentiment.data.build import build_source, split_of
from sentiment.data.corpus import fingerprint_corpus
from sentiment.data.files.delimited import DELIMITERS
from sentiment.data.files.encoding import explain_failure
from sentiment.data.files.formats import is_record, read_file, split_texts
from sentiment.data.files.records import USUAL, FileFormat, Quoting, ReadOptions, Row, shorten, take_rows
from sentiment.data.splits import Part, split_reviews
from sentiment.errors import DataError
from sentiment.format import join_names
from sentiment.nearest import nearest

READ_VALUES = {"format": get_args(FileFormat), "quoting": get_args(Quoting), "header": ("true", "false")}


def make_options(text_column: str, pairs: Mapping[str, str]) -> ReadOptions:
    """Turn the ``KEY=VALUE`` of a command line into settings.

    Raises:
        DataError: One is not known.
    """
    values: dict[str, Any] = {}
    for key, value in pairs.items():
        is_delimiter = key == "delimiter" and (len(value) == 1 or value in DELIMITERS)
        if not (is_delimiter or (key == "encoding" and value) or value in READ_VALUES.get(key, ())):
            known = "; ".join(f"{name}={'|'.join(choices)}" for name, choices in READ_VALUES.items())
            raise DataError(
                f"--read {key}={value} is not known; give {known}; "
                f"delimiter={'|'.join(DELIMITERS)} or one character; or encoding=cp1252"
            )
        values[key] = value == "true" if key == "header" else value
    return ReadOptions(text_column, None, **values, is_command=True)


def read_texts(path: Path, options: ReadOptions) -> Iterator[str]:
    """Read the texts of a file record by record.

    The file is of any kind that `data=files` reads, or a .txt with one text per line. An empty text is a text where it
    stands in a column; a blank line is none.

    Raises:
        DataError: The file cannot be read, lacks the column, or has a bad record: the message names file and record.
    """
    with explain_failure(path, options):
        path.stat()
    reading, _ = read_file(path, options)
    options.require_used(path, reading.used)
    yield from take_texts(reading.rows, str(path), reading.unit)


def read_lines(stream: TextIO, name: str) -> Iterator[str]:
    """Read one text per line; a blank line is no text.

    The stream is open with ``errors="surrogateescape"``, so that a broken byte can be told by its line.

    Raises:
        DataError: A line that is not valid UTF-8, or the first one is a record with more than a text.
    """
    texts = take_texts(split_texts(stream), name, "line")
    for text in islice(texts, 1):
        if is_record(text, str(USUAL["text_column"])):
            raise DataError(
                f"{name} does not hold one text per line, but begins with {shorten(text)}; give it as --file FILE, "
                "with the ending of what it is: .csv, .tsv, .jsonl or .ft; or, if these are texts, as --file FILE.txt "
                "--read format=lines"
            )
        yield text
    yield from texts


def take_texts(rows: Iterable[Row | None], name: str, unit: str) -> Iterator[str]:
    """Yield the texts of records, of which None is none.

    Raises:
        DataError: A record is bad.
    """
    for row in rows:
        if row is not None and row.fault is not None:
            raise DataError(f"{name}, {unit} {row.number}: {row.fault}; mend or remove it")
        if row is not None:
            yield row.text


def take_chunks(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """Group texts into lists of `size`; the last may be shorter."""
    iterator = iter(texts)
    while chunk := list(islice(iterator, size)):
        yield chunk


@dataclass(frozen=True)
class LabelledReviews(Part):
    """N reviews, with classes of a model."""

    name: str  # what they are, for people
    short_name: str  # the same in a file's name
    left_out: int = 0  # reviews whose labels stand for no class

    @property
    def digest(self) -> str:
        """Hash of texts and labels."""
        content = hashlib.sha256(self.labels.tobytes())
        for text in self.texts:
            content.update(text.encode("utf-8", "surrogatepass") + b"\0")
        return content.hexdigest()[:32]


def read_labelled_file(
    path: Path,
    class_names: Sequence[str],
    label_map: Mapping[str, str],
    text_column: str = "text",
    label_column: str = "label",
    reading: Mapping[str, str] = MappingProxyType({}),
) -> LabelledReviews:
    """Read a file of whatever kind ``data=files`` reads.

    Args:
        path: The file.
        class_names: K classes of the model, in index order.
        label_map: Class that a label stands for; empty: its reviews are left out.
        text_column: Name or number of the text's column.
        label_column: The same of the label.
        reading: ``KEY=VALUE`` for what is not to be detected.

    Raises:
        DataError: The file cannot be read, a record is bad, or a label is no class.
    """
    options = replace(make_options(text_column, reading), label_column=label_column)
    found, _ = read_file(path, options)
    options.require_used(path, found.used)
    table = take_rows(found, str(path), {})
    if table.bad:
        number, fault = table.bad[0]
        raise DataError(f"{path}, {table.unit} {number}: {fault} ({len(table.bad):,} bad in all); mend or remove it")
    return _match(str(path), path.stem, table.texts, table.labels, class_names, label_map)


def read_data_set(settings: DataSettings, class_names: Sequence[str], label_map: Mapping[str, str]) -> LabelledReviews:
    """Read the test reviews of a data set of this project; arguments as for `read_labelled_file`.

    Raises:
        DataError: They cannot be read, or a label is no class.
    """
    raw = build_source(settings).load()
    test = split_reviews(raw, **split_of(settings)).test
    labels = [raw.class_names[label] for label in test.labels]
    return _match(f"the test reviews of {settings.name}", settings.name, test.texts, labels, class_names, label_map)


def _match(
    name: str,
    short_name: str,
    texts: Sequence[str],
    labels: Sequence[str],
    class_names: Sequence[str],
    label_map: Mapping[str, str],
) -> LabelledReviews:
    counts = Counter(labels)
    label_map = _split_again(label_map, counts, class_names)
    classes = {label: label for label in class_names} | label_map
    index = {label: position for position, label in enumerate(class_names)}
    wrong = sorted(label for label in counts if classes.get(label) is None)
    aims = sorted({target for target in label_map.values() if target and target not in index})
    unused = sorted(set(label_map) - set(counts))
    if wrong or aims or unused:
        shown = join_names([f"{label!r} ({counts[label]:,})" for label in wrong])
        parts = [f"labels that are no class of the model: {shown}"] if wrong else []
        parts += [f"--label names what is no class of the model: {', '.join(aims)}"] if aims else []
        parts += [f"--label names what is no label there: {', '.join(unused)}"] if unused else []
        near = nearest(aims[0], class_names) if aims else None
        example = wrong[0] if wrong else next(iter(counts), "LABEL")
        raise DataError(
            f"{name}: {'; '.join(parts)}.",
            ""
            + (f"did you mean {near}? " if near else "")
            + f"its classes are {join_names(class_names)}: say which one a label stands for, "
            f"{shlex.quote(f'--label={example}={class_names[0]}')}, or leave its reviews out, "
            f"{shlex.quote(f'--label={example}=')}",
        )
    rows = np.array([row for row, label in enumerate(labels) if classes[label]], dtype=np.int64)
    if not len(rows):
        raise DataError(f"{name} holds no labelled review.", "give a file with at least one")
    indices = np.array([index[classes[labels[row]]] for row in rows], dtype=np.int64)
    return LabelledReviews([texts[row] for row in rows], indices, rows, name, short_name, len(texts) - len(rows))


def _split_again(label_map: Mapping[str, str], labels: Collection[str], class_names: Sequence[str]) -> dict[str, str]:
    """Return the class of each label, where LABEL=CLASS was split at its last sign and a class holds one.

    Raises:
        DataError: A label has two classes then.
    """
    found: dict[str, str] = {}
    for label, target in label_map.items():
        parts = f"{label}={target}".split("=")
        ways = [("=".join(parts[:cut]), "=".join(parts[cut:])) for cut in range(len(parts) - 1, 0, -1)]
        fitting = [way for way in ways if way[0] in labels and way[1] in ("", *class_names)]
        label, target = (fitting or ways)[0]
        if found.setdefault(label, target) != target:
            raise DataError(f"--label gives {label} two classes, {found[label]} and {target}", "leave one of them out")
    return found


HeldOut = Literal["validation", "test"]
"""A split that a model did not learn from."""


def read_split_texts(settings: DataSettings, split: HeldOut, fingerprint: str) -> tuple[Part, tuple[str, ...]]:
    """Read one split as a run saw it, in its order, and the names of the classes.

    `fingerprint` is the one that the run recorded for its data.

    Raises:
        DataError: The data cannot be read, or is not that of the run.
    """
    source = build_source(settings)
    found = fingerprint_corpus(source, split_of(settings))
    if found != fingerprint:
        raise DataError(
            f"The run was made on data with fingerprint {fingerprint}, but what is there now has {found} "
            f"({source.describe()}).",
            "its predictions cannot be matched with these texts: give the run's own data with --data-path PATH "
            "(the same files; a copy from the Hub and local files count as different data)",
        )
    raw = source.load()
    splits = split_reviews(raw, **split_of(settings))
    return splits.test if split == "test" else splits.validation, raw.class_names


def relocate_data(settings: DataSettings, place: Path) -> DataSettings:
    """Return the settings of a run's data where it lies now.

    For ``imdb``, `place` is its folder, for an extension what its ``path`` names. For ``files`` it is the folder that
    holds the files by their old names, side by side or in folders as they were, or the only file or folder itself.

    Raises:
        DataError: There is no such place, or the data has no path: it is generated, or of the Hub.
    """
    if not place.exists():
        raise DataError(f"--data-path={place} does not exist (looked at {place.absolute()}); correct the path")
    if not isinstance(settings, FilesDataSettings) and "path" in type(settings).model_fields:  # imdb, and extensions
        return settings.model_copy(update={"path": str(place.absolute())})
    if not isinstance(settings, FilesDataSettings):
        raise DataError(
            f"The run's data (data={settings.name}) has no path, so it lies in no other place; leave --data-path out"
        )
    return _relocate_files(settings, place.absolute())


def _relocate_files(settings: FilesDataSettings, place: Path) -> FilesDataSettings:
    everything = {key: Path(old) for key in INPUT_PATHS if (old := getattr(settings, key)) is not None}
    olds = {key: old for key, old in everything.items() if key != "unlabelled_path"}  # of which nothing is asked here
    tops = [os.path.commonpath([old.parent for old in paths.values()]) for paths in (everything, olds)]
    layouts = [{key: place / old.relative_to(top) for key, old in olds.items()} for top in tops]
    if len({old.name for old in olds.values()}) == len(olds):
        layouts.append({key: place / old.name for key, old in olds.items()})
    if len(olds) == 1:
        layouts.append({"path": place})
    for layout in layouts:
        if all(map(is_there, map(str, layout.values()))):
            return settings.model_copy(update={key: str(path) for key, path in layout.items()})
    missing = [str(path.relative_to(place)) for path in layouts[1].values() if not is_there(str(path))]
    raise DataError(
        f"--data-path={place} does not hold what the run read: {join_names(missing)}; give the folder that holds "
        "them by these names"
    )
