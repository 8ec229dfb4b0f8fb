"""Labelled reviews for a trained model: their labels are matched with its classes."""

from __future__ import annotations

import hashlib
import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from sentiment.config.schema import DataSettings
from sentiment.data.build import build_source, split_of
from sentiment.data.files.formats import read_file
from sentiment.data.files.records import take_rows
from sentiment.data.splits import split_reviews
from sentiment.data.texts import make_options
from sentiment.errors import DataError
from sentiment.format import join_names
from sentiment.nearest import nearest


@dataclass(frozen=True)
class LabelledReviews:
    """N reviews, with classes of a model."""

    name: str  # what they are, for people
    short_name: str  # the same in a file's name
    texts: list[str]  # N texts
    labels: npt.NDArray[np.int64]  # (N,) class indices, int64
    rows: npt.NDArray[np.int64]  # (N,) number of each review in the file or split that it comes from, int64, from 0
    left_out: int = 0  # reviews whose labels stand for no class

    @property
    def digest(self) -> str:
        """Hash of texts and labels."""
        content = hashlib.sha256(self.labels.tobytes())
        for text in self.texts:
            content.update(text.encode("utf-8", "surrogatepass") + b"\0")
        return content.hexdigest()[:32]

    def take(self, chosen: npt.NDArray[np.bool_]) -> LabelledReviews:
        """Return those of the (N,) reviews that are chosen."""
        texts = [text for text, is_chosen in zip(self.texts, chosen, strict=True) if is_chosen]
        return replace(self, texts=texts, labels=self.labels[chosen], rows=self.rows[chosen])


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
    return LabelledReviews(name, short_name, [texts[row] for row in rows], indices, rows, len(texts) - len(rows))


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
