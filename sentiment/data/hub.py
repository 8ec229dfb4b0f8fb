"""``data=hub``: any labelled data set of the Hugging Face Hub, at a pinned commit."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentiment.data.files.classes import LabelledData, make_splits
from sentiment.data.files.formats import read_dataset
from sentiment.data.files.records import ReadOptions, take_rows
from sentiment.data.reviews import RawSplits
from sentiment.errors import DataError

READER_VERSION = 1  # raise it when the same data set would give other reviews
PROBE_SECONDS = 5.0
FORM = "check data.repository, which has the form OWNER/NAME"


@dataclass(frozen=True, kw_only=True)
class HubSource(LabelledData):
    """Reviews from the Hub."""

    repository: str  # data set on the Hub
    revision: str  # commit on the Hub, 40 hexadecimal digits
    # Name of one of its configurations, e.g. ``sst2`` of ``nyu-mll/glue``; None: its default.
    subset: str | None
    train_split: str  # split to learn from, as `datasets.load_dataset` takes it: ``train``, ``train[:10%]``
    validation_split: str | None  # validation reviews; None: validation is split off the training reviews later
    test_split: str | None  # test reviews; None: a part of the training reviews

    def describe(self) -> str:
        """Return where these reviews come from."""
        subset = f", {self.subset}" if self.subset else ""
        return f"reviews {self.repository}{subset} at {self.revision[:7]}, Hugging Face Hub"

    def fingerprint(self) -> str:
        """Identify the pinned commit and everything that decides how it is read."""
        carved = None if self.test_split else [self.test_fraction, self.split_seed]
        settings = [
            READER_VERSION, self.subset, self.train_split, self.validation_split, self.test_split, carved,
            str(self.text_column), str(self.label_column), self.labels, self.list_label_map(), self.on_bad_row,
        ]  # fmt: skip
        return f"hub:{self.repository}@{self.revision}:{json.dumps(settings)}"

    def load(self) -> RawSplits:
        """Read all splits.

        Raises:
            DataError: The data set cannot be had or lacks a column; bad rows, unless they are skipped.
        """
        named = {"train": self.train_split, "validation": self.validation_split, "test": self.test_split}
        splits = {key: split for key, split in named.items() if split is not None}
        local_copy = "data=files data.path=FOLDER with its files"
        found = load_from_hub(self.repository, self.revision, list(splits.values()), local_copy, self.subset)
        options = ReadOptions(self.text_column, self.label_column)
        tables = {}
        for (key, split), dataset in zip(splits.items(), found, strict=True):
            name = f"{self.repository}, {split}"
            tables[key] = [take_rows(read_dataset(dataset, name, "data set", options), name, self.rename())]
        return make_splits(tables["train"], tables.get("validation"), tables.get("test"), self)


def load_from_hub(
    repository: str, revision: str, splits: Sequence[str], local_copy: str, subset: str | None = None
) -> list[Any]:
    """Load splits through `datasets`: from the Hub where it answers, otherwise from the cache of an earlier download.

    Left alone, `datasets` tries an unreachable Hub for 23 s, then takes the newest cached revision, whichever it
    is. So the Hub is probed first, and what came back is held against the revision that was asked for.

    `local_copy` is what to give where the Hub is out of reach, for the message.

    Returns:
        One `datasets.Dataset` per split.

    Raises:
        DataError: Neither the Hub nor a cache of it has these splits.
    """
    import datasets
    from datasets.exceptions import DatasetsError
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # the HTTP library that it uses itself

    def refuse(problem: str) -> DataError:
        return DataError(
            f"the reviews {repository} at revision {revision} {problem}.",
            "get online once (they are then kept in the Hugging Face cache; HF_HOME says where that lies), give a "
            f"local copy: {local_copy}, or use the embedded synthetic reviews: data=synthetic",
        )

    unreachable = _probe_hub(repository, revision, refuse)
    try:
        with _quiet_without_terminal(), _offline(unreachable is not None):
            found = datasets.load_dataset(
                repository, subset, revision=revision, split=list(splits), keep_in_memory=False
            )
    except (OSError, ValueError, DatasetsError, httpx.HTTPError) as error:
        if unreachable is None:
            raise refuse(f"cannot be loaded ({error})") from error
        raise refuse(f"cannot be reached ({unreachable})") from error
    for split in found:
        if not any(revision in Path(file["filename"]).parts for file in split.cache_files):
            other = split.cache_files[0]["filename"]
            raise refuse(f"cannot be reached, and the cache holds another one: {other}")
    return list(found)


def _probe_hub(repository: str, revision: str, refuse: Callable[[str], DataError]) -> str | None:
    """Ask the Hub once whether it has the revision; return why it does not answer, or None.

    In a thread, because a name server that does not answer holds a request beyond its timeout.

    Raises:
        DataError: The Hub answers that it has no such revision, or that the name is none.
    """
    outcome: list[str | DataError | None] = []
    thread = threading.Thread(target=lambda: outcome.append(_ask_hub(repository, revision, refuse)), daemon=True)
    thread.start()
    thread.join(PROBE_SECONDS + 1)
    answer = outcome[0] if outcome else f"no answer within {PROBE_SECONDS:.0f} s"
    if isinstance(answer, DataError):
        raise answer
    return answer


def _ask_hub(repository: str, revision: str, refuse: Callable[[str], DataError]) -> str | DataError | None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # the HTTP library that it uses itself

    try:
        HfApi(library_name="sentiment").dataset_info(repository, revision=revision, timeout=PROBE_SECONDS)
    except RevisionNotFoundError:
        return refuse("do not exist on the Hub; check data.revision")
    except HFValidationError:
        return refuse(f"do not exist on the Hub; {FORM}")
    except RepositoryNotFoundError:  # or one that is private, and an earlier download of it may be in the cache
        return f"the Hub shows no such data set; {FORM}; a private one needs a token, HF_TOKEN or hf auth login"
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
