"""A source's reviews, split and as token ids: what training reads.

`prepare_corpus` goes from a `Source` to a `Corpus` by way of the token cache. A later start with the same settings
reads neither texts nor the libraries that parse them.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sentiment.data.cache import FORMAT_VERSION, SPLITS, Entry, Tell, be_silent, list_settings, open_entry
from sentiment.data.class_report import report_classes
from sentiment.data.fingerprint import hash_reviews
from sentiment.data.reviews import Source, UnlabelledSource, find_fault_among
from sentiment.data.splits import Part, split_reviews
from sentiment.data.tokenizer import ReviewTokenizer, load_tokenizer, train_tokenizer
from sentiment.errors import DataError
from sentiment.format import format_count
from sentiment.json_file import digest_json

REPEATED_SHARE = 0.05
"""Of the reviews of a split: more that repeat another one are told; some do in most collections."""

OWN_VALIDATION = "Validation reviews are the data's own: data.validation_fraction is not read."

NONE_LEFT = (
    "no review without a label is left (none is there, or all of them stand in the test split too); give others, or "
    "leave pretrain and trainer.teachers out"
)

OTHER_EXTENSION = (
    "The code or the keys of this data set's extension are not those that made the tokens in the cache (or an earlier "
    "version did not note them), so the reviews are read again. By their fingerprint they are the same data, to "
    "comparisons, studies and interrupted runs: where these are other reviews, let fingerprint() tell them apart."
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncodedSplit:
    """The reviews of one split as token ids at full length, memory-mapped."""

    ids: npt.NDArray[np.integer]  # all reviews behind one another, uint16 or uint32
    offsets: npt.NDArray[np.int64]  # (N+1,) int64; review n is ids[offsets[n]:offsets[n+1]]
    labels: npt.NDArray[np.int64]  # (N,) class indices, int64
    rows: npt.NDArray[np.int64]  # (N,) int64, index of each review within the source's split that it comes from
    # (N, K) float32, the probabilities to learn in place of the labels; None: the labels.
    targets: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> npt.NDArray[np.integer]:
        """Return the (T,) ids of one review, at full length."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def __iter__(self) -> Iterator[npt.NDArray[np.integer]]:
        """Yield the ids of each review, at full length."""
        return (self[index] for index in range(len(self)))

    def take(self, rows: npt.NDArray[np.int64]) -> EncodedSplit:
        """Return some of the reviews, in the order of their indices given."""
        parts = [self[row] for row in rows]
        offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        targets = None if self.targets is None else self.targets[rows]
        return EncodedSplit(np.concatenate(parts), offsets, self.labels[rows], self.rows[rows], targets)

    @cached_property
    def hashes(self) -> npt.NDArray[np.uint64]:
        """(N,) hash of the ids of each review, see `hash_reviews`."""
        return hash_reviews(self)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """(N,) number of ids of each review, int64."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class Corpus:
    """Everything about the data that a run needs."""

    train: EncodedSplit  # reviews to learn from; shares no text with the other two
    validation: EncodedSplit  # reviews to select on; shares no text with test
    test: EncodedSplit  # reviews for the one evaluation at the end
    tokenizer: ReviewTokenizer  # trained on `train` only
    class_names: tuple[str, ...]  # K names in index order
    # What two runs must share for their metrics to be comparable: content, split and amount of training reviews. The
    # tokenizer is a choice of the run and no part of it.
    fingerprint: str
    description: str  # a sentence on what these reviews are
    dropped: Mapping[str, int]  # reviews taken out of a split because their text also stands in another: see `Splits`
    skipped_rows: int  # bad rows left out at the user's wish
    notes: tuple[str, ...] = ()  # how files were read, a sentence each
    lessons: Lessons | None = None  # of the models whose answers are among the training reviews; None: there are none
    # Hashes of the reviews without labels that the run's words were learned from; None: of none.
    words_from: npt.NDArray[np.uint64] | None = None


@dataclass(frozen=True)
class Lessons:
    """What identifies the trained models that a run learns from, and what they have seen."""

    fingerprint: str  # of their weights, how they read, and the reviews that they answered for the run
    # Hashes of reviews that they were trained on, selected by or learned words from; `UNTOLD` among them: and others.
    learned: npt.NDArray[np.uint64]
    trained: npt.NDArray[np.uint64]  # the same of those that they were trained on


class Extension(NamedTuple):
    """What the reviews of an extension's source follow from beside their files, whatever its fingerprint says."""

    code: str  # digest of its code
    keys: dict[str, Any]  # the option's name and its own keys, less the places of files


def prepare_corpus(
    source: Source,
    tokenizer: Mapping[str, Any],
    split: Mapping[str, Any],
    cache_dir: Path,
    tell: Tell = be_silent,
    extension: Extension | None = None,
    label_map: Mapping[Any, Any] | None = None,
) -> Corpus:
    """Read the reviews as token ids from the cache; the first time, load, split, tokenise and store them.

    `tokenizer` has the arguments of `train_tokenizer` by name, or a trained one as JSON under ``trained``; `split` has
    those of `split_reviews`. `tell` hears of a wait for another process that does the same. `extension` is what the
    source is of, None of a built-in one: tokens that another one made are not taken. `label_map` is how the source was
    told to read labels.

    Raises:
        DataError: The source cannot be read, its reviews cannot be split, or the cache cannot be written.
    """
    fingerprint = fingerprint_corpus(source, split)
    settings = {
        "fingerprint": fingerprint,
        "tokenizer": tokenizer,
        "format_version": FORMAT_VERSION,
        "made_by": _list_versions(),
        **_note(extension),
    }

    def make_entry() -> Entry:
        started = time.perf_counter()
        log.info("Reading and tokenising the reviews, once for all later runs.")
        same_data = [stored for stored in list_settings(cache_dir) if stored.get("fingerprint") == fingerprint]
        if any((stored.get("code"), stored.get("keys")) != (extension or (None, None)) for stored in same_data):
            log.warning(OTHER_EXTENSION)
        raw = source.load()
        splits = split_reviews(raw, **split)
        trained = tokenizer.get("trained")
        made = load_tokenizer(trained) if trained else train_tokenizer(splits.train.texts, **tokenizer)
        arrays = {name: _encode(getattr(splits, name), made) for name in SPLITS}
        _require_unchanged(fingerprint, fingerprint_corpus(source, split))
        meta = {
            "settings": settings,
            "description": source.describe(),
            "class_names": raw.class_names,
            "dropped": splits.dropped,
            "alike": _count_alike({name: _encoded_split(arrays[name]) for name in SPLITS}),
            "skipped_rows": raw.skipped_rows,
            "notes": [*raw.notes, *([] if raw.validation is None else [OWN_VALIDATION])],
        }
        log.info("Tokenised in %.1f s.", time.perf_counter() - started)
        return Entry(arrays=arrays, tokenizer=made.to_json(), meta=meta)

    entry = open_entry(cache_dir, digest(settings), make_entry, tell)
    corpus = _corpus(entry, fingerprint, source.describe())
    _log_corpus(corpus, entry.meta.get("alike", {}), label_map or {})  # entries of earlier versions lack it
    return corpus


def fingerprint_corpus(source: Source, split: Mapping[str, Any]) -> str:
    """Return the `Corpus.fingerprint` of a source's reviews under a split, without reading or splitting them.

    `split` has the arguments of `split_reviews` by name.

    Raises:
        DataError: The data cannot be found.
    """
    return digest({"source": source.fingerprint(), **split})


def prepare_unlabelled(
    source: Source,
    tokenizer: ReviewTokenizer,
    cache_dir: Path,
    tell: Tell = be_silent,
    extension: Extension | None = None,
) -> EncodedSplit | None:
    """Read a source's reviews without labels as token ids, from the cache as the others are.

    Those whose text also stands among the test reviews are left out. Labels are 0 and mean nothing.

    Returns:
        None where the source has none.

    Raises:
        DataError: They cannot be read, none is left, or the cache cannot be written.
    """
    fingerprint = fingerprint_unlabelled(source)
    if fingerprint is None:
        return None
    assert isinstance(source, UnlabelledSource)
    tokenizer_json = tokenizer.to_json()
    settings = {
        "unlabelled": fingerprint,
        "labelled": source.fingerprint(),
        "tokenizer": hashlib.sha256(tokenizer_json.encode()).hexdigest(),
        "format_version": FORMAT_VERSION,
        "is_checked": True,  # entries without it may hold what is no review: blank texts, the letters of a single text
        "made_by": _list_versions(),
        **_note(extension),
    }

    def make_entry() -> Entry:
        log.info("Reading and tokenising the reviews without labels, once for all later runs.")
        tested, texts = set(source.load().test.texts), source.load_unlabelled()
        if fault := find_fault_among(texts):
            raise DataError(
                f"these are no reviews without labels: {fault}.",
                "correct load_unlabelled() of the source: a list with the text of every review",
            )
        kept = [text for text in texts if text not in tested]
        if not kept:
            raise DataError(NONE_LEFT)
        part = Part(kept, np.zeros(len(kept), dtype=np.int64), np.arange(len(kept), dtype=np.int64))
        meta = {"settings": settings, "dropped": len(texts) - len(kept)}
        before = settings["unlabelled"], settings["labelled"]
        _require_unchanged(before, (fingerprint_unlabelled(source), source.fingerprint()))
        return Entry(arrays={"unlabelled": _encode(part, tokenizer)}, tokenizer=tokenizer_json, meta=meta)

    entry = open_entry(cache_dir, digest(settings), make_entry, tell)
    unlabelled = _encoded_split(entry.arrays["unlabelled"])
    left_out = entry.meta["dropped"]
    log.info(
        "%s without labels; %s more stand in the test too.", format_count(len(unlabelled), "review"), f"{left_out:,}"
    )
    return unlabelled


def _note(extension: Extension | None) -> dict[str, object]:
    """Return what a cache entry's settings say of an extension; of built-in sources, nothing.

    Those without ``is_checked`` may hold reviews with the labels of others: texts were taken that are no list.
    """
    return {} if extension is None else {**extension._asdict(), "is_checked": True}


def _require_unchanged(before: object, after: object) -> None:
    """Insist that the data is what it was before it was read: the cache would keep other data under its name.

    Raises:
        DataError: It is not.
    """
    if before != after:
        raise DataError("the data changed while it was read; start again when it is all there")


def fingerprint_unlabelled(source: Source) -> str | None:
    """Return what identifies a source's reviews without labels; None where it has none.

    Raises:
        DataError: They cannot be found.
    """
    return source.fingerprint_unlabelled() if isinstance(source, UnlabelledSource) else None


def _count_alike(splits: Mapping[str, EncodedSplit]) -> dict[str, int]:
    """Count the reviews that the model cannot tell from others: by two splits those in both, by one its repetitions."""
    hashes = {name: split.hashes for name, split in splits.items()}
    pairs = {f"{one}_{other}": np.isin(hashes[one], hashes[other]) for one, other in itertools.combinations(splits, 2)}
    repeated = {name: len(found) - len(np.unique(found)) for name, found in hashes.items()}
    return {**{pair: int(found.sum()) for pair, found in pairs.items()}, **repeated}


def _corpus(entry: Entry, fingerprint: str, description: str) -> Corpus:
    train, validation, test = (_encoded_split(entry.arrays[name]) for name in SPLITS)
    return Corpus(
        train=train,
        validation=validation,
        test=test,
        tokenizer=load_tokenizer(entry.tokenizer),
        class_names=tuple(entry.meta["class_names"]),
        fingerprint=fingerprint,
        description=description,
        dropped=entry.meta["dropped"],
        skipped_rows=entry.meta["skipped_rows"],
        notes=tuple(entry.meta["notes"]),
    )


def _encoded_split(arrays: Mapping[str, npt.NDArray[np.integer]]) -> EncodedSplit:
    offsets, labels, rows = (arrays[name].astype(np.int64, copy=False) for name in ("offsets", "labels", "rows"))
    return EncodedSplit(arrays["ids"], offsets, labels, rows)


def _list_versions() -> dict[str, str]:
    """Return the libraries of which another release may give other ids or another split for the same settings."""
    return {library: version(library) for library in ("tokenizers", "numpy")}


def digest(content: Any) -> str:
    """Return a short name that changes with JSON values, such as settings."""
    return digest_json(content)[:32]


def _encode(part: Part, tokenizer: ReviewTokenizer) -> dict[str, npt.NDArray[np.integer]]:
    # The narrowest type: the file is read again in every epoch, and it is most of what a corpus weighs.
    dtype = np.uint16 if tokenizer.vocabulary_size <= 2**16 else np.uint32
    encoded = tokenizer.encode(part.texts)
    offsets = np.zeros(len(part) + 1, dtype=np.int64)
    np.cumsum([len(ids) for ids in encoded], out=offsets[1:])
    ids = np.concatenate(encoded).astype(dtype)
    return {"ids": ids, "offsets": offsets, "labels": part.labels, "rows": part.rows}


def _log_corpus(corpus: Corpus, alike: Mapping[str, int], label_map: Mapping[Any, Any]) -> None:
    for note in corpus.notes:
        log.info("%s", note)
    sizes, dropped = [len(getattr(corpus, name)) for name in SPLITS], corpus.dropped
    log.info(
        "%s training, %s validation and %s test reviews; dropped from train: %s also in test, %s also in validation.",
        *(f"{count:,}" for count in (*sizes, dropped["train_test"], dropped["train_validation"])),
    )
    if dropped["validation_test"]:
        log.warning("%s validation reviews also stand in the test and are left out.", f"{dropped['validation_test']:,}")
    for one, other in itertools.combinations(SPLITS, 2):
        if alike.get(f"{one}_{other}"):
            log.warning(
                "%s reviews of %s are to the model the same as reviews of %s, though written otherwise (blanks, tags, "
                "case, rare words): what is measured there is partly memory. Written alike, they are dropped.",
                f"{alike[f'{one}_{other}']:,}", one, other,
            )  # fmt: skip
    for name, size in zip(SPLITS, sizes, strict=True):
        if alike.get(name, 0) > REPEATED_SHARE * size:
            log.warning(
                "%s of the %s reviews of %s repeat another one; is a file there twice, or in two forms?",
                f"{alike[name]:,}", f"{size:,}", name,
            )  # fmt: skip
    if corpus.skipped_rows:
        log.warning("Bad rows left out (data.on_bad_row=skip): %s.", f"{corpus.skipped_rows:,}")
    report_classes(corpus.class_names, {name: getattr(corpus, name).labels for name in SPLITS}, label_map)
