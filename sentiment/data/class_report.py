"""Log the classes of a run with their counts, and warn of classes that look like a mistake."""

from __future__ import annotations

import logging
import re
import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sentiment.format import join_names

FEWEST_REVIEWS = 10
SHOWN_CLASSES = 20
WHOLE_NUMBER = re.compile(r"-?[0-9]+")
PLAIN_LABEL = re.compile(r"(?ai)(?!(true|false|null|nan|inf)$)[a-z_]+( [a-z_]+)*|0|-?[1-9][0-9]*")
"""Labels that Hydra takes as a key of ``{...}``, and reads as the same label, without quotes."""

NO_LABEL = ("nan", "none", "null", "n/a", "na", "?", "unlabelled", "unlabeled", "-100")

log = logging.getLogger(__name__)


def fold(name: str) -> str:
    """Return a class name without what may be a slip: case, blanks and form in Unicode, invisible signs included."""
    seen = (sign for sign in unicodedata.normalize("NFKC", name) if unicodedata.category(sign) != "Cf")
    return "".join("".join(seen).split()).casefold()


def write_label_map(names: Mapping[str, str | None]) -> str:
    """Write the setting that gives labels other names, as one types it in a shell."""
    labels = [label for pair in names.items() for label in pair if label is not None]
    is_plain = all(PLAIN_LABEL.fullmatch(label) for label in labels)

    def write(label: str | None) -> str:
        if label is None or is_plain:
            return label or "null"
        return "'" + label.replace("'", "''") + "'"

    content = "{" + ", ".join(f"{write(label)}: {write(target)}" for label, target in names.items()) + "}"
    quoted = '"' + re.sub(r'(\\*)"', r'\1\1\\"', content) + '"'  # Hydra's form of a text, which is read as YAML
    return shlex.quote(f"data.label_map={content if is_plain else quoted}")


def report_classes(
    class_names: Sequence[str], labels: Mapping[str, npt.NDArray[np.integer]], label_map: Mapping[Any, Any]
) -> None:
    """Log every class with its number of reviews, and warn of classes that may be slips.

    Args:
        class_names: K names in index order.
        labels: Class indices of the reviews, per split.
        label_map: Class that a label stands for already; None: its reviews are left out.
    """
    counts = [np.bincount(indices, minlength=len(class_names)) for indices in labels.values()]
    totals = dict(zip(class_names, np.sum(counts, axis=0).tolist(), strict=True))
    parts = [" + ".join(f"{count:,}" for count in column) for column in zip(*counts, strict=True)]
    shown = [f"{name} {part}" for name, part in zip(class_names, parts, strict=True)][:SHOWN_CLASSES]
    shown += [f"and {len(parts) - SHOWN_CLASSES} more"] if len(parts) > SHOWN_CLASSES else []
    log.info("%d classes (%s): %s.", len(class_names), " + ".join(labels), "; ".join(shown))
    for warning in find_slips(totals, label_map):
        log.warning(warning)


def find_slips(totals: Mapping[str, int], label_map: Mapping[Any, Any]) -> list[str]:
    """Return a warning about each group of classes that may be a slip, all of them with one remedy.

    Args:
        totals: Number of reviews of each class.
        label_map: Class that a label stands for already; None: its reviews are left out.
    """
    groups: dict[str, list[str]] = {}
    for name in totals:
        groups.setdefault(fold(name), []).append(name)
    alike = [names for names in groups.values() if len(names) > 1]
    # -1 beside 0 and more, or beside names, is how many data sets write "no label"; beside 1 alone it is a class.
    numbers = {name for name in totals if WHOLE_NUMBER.fullmatch(name)}
    unlabelled = [name for name in totals if fold(name) in NO_LABEL]
    is_alone = len(numbers) in (1, len(totals)) and [name for name in numbers if name.startswith("-")] == ["-1"]
    if is_alone and len(totals) > 2:
        unlabelled.append("-1")
    new: dict[str, str | None] = dict.fromkeys(unlabelled)
    for names in alike:
        kept = max(names, key=lambda name: (totals[name], name.islower()))
        new |= {name: kept for name in names if name != kept}
    known = {str(label): None if target is None else str(target) for label, target in label_map.items()}
    remedy = write_label_map({label: new.get(target or "", target) for label, target in known.items()} | new)
    warnings = [
        f"The classes {', '.join(map(repr, names))} differ only in case, blanks or form in Unicode; they become one "
        f"class with {remedy}"
        for names in alike
    ]
    rare = [f"{name!r} ({count})" for name, count in totals.items() if count < FEWEST_REVIEWS]
    if rare:
        warnings.append(
            f"Fewer than {FEWEST_REVIEWS} reviews of {join_names(rare, SHOWN_CLASSES)}: too few to learn from "
            "and to measure on; more reviews help, or data.label_map, which joins classes"
        )
    warnings += [
        f"The class {name!r} ({totals[name]:,} reviews) looks like 'no label'; its reviews are left out by {remedy}"
        for name in unlabelled
    ]
    return warnings
