"""The texts behind a run's predictions: its data read again, split the same way, and checked to be the same.

Training works on token ids; whoever shows people a review needs its text.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from sentiment.config.reading import INPUT_PATHS, is_there
from sentiment.config.schema import DataSettings, FilesDataSettings
from sentiment.data.build import build_source, split_of
from sentiment.data.corpus import fingerprint_corpus
from sentiment.data.splits import Part, split_reviews
from sentiment.errors import DataError
from sentiment.format import join_names

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
