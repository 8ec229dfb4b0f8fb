"""Settings of the ``data`` group to the objects behind them; sources are imported when they are chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from sentiment.config.group import DataGroup
from sentiment.config.option import find_option
from sentiment.config.reading import INPUT_PATHS
from sentiment.config.schema import DataSettings
from sentiment.data.cache import Tell, be_silent
from sentiment.data.corpus import (
    Corpus,
    EncodedSplit,
    Extension,
    fingerprint_corpus,
    prepare_corpus,
    prepare_unlabelled,
)
from sentiment.data.reviews import Source
from sentiment.data.tokenizer import ReviewTokenizer


def build_source(settings: DataSettings) -> Source:
    """Build the source that ``data=NAME`` names; nothing is read yet."""
    return cast(Source, find_option(settings).build(settings))


def build_corpus(settings: DataSettings, tokenizer: ReviewTokenizer | None = None, tell: Tell = be_silent) -> Corpus:
    """Read the reviews as token ids, from the token cache where they are in it; by another model's tokenizer if given.

    Raises:
        DataError: The data cannot be read; the message names the remedy.
    """
    made_by = settings.tokenizer.model_dump() if tokenizer is None else {"trained": tokenizer.to_json()}
    cache_dir, label_map = Path(settings.cache_dir).expanduser(), getattr(settings, "label_map", None)
    source, extension = build_source(settings), _describe_extension(settings)
    return prepare_corpus(source, made_by, split_of(settings), cache_dir, tell, extension, label_map)


def split_of(settings: DataSettings) -> dict[str, Any]:
    """Return what `sentiment.data.splits.split_reviews` splits by."""
    return settings.model_dump(include={"validation_fraction", "split_seed", "train_limit"})


def fingerprint_data(settings: DataSettings) -> str:
    """Return the `Corpus.fingerprint` that these settings lead to, without reading the data.

    Raises:
        DataError: The data cannot be found.
    """
    return fingerprint_corpus(build_source(settings), split_of(settings))


def build_unlabelled(settings: DataSettings, tokenizer: ReviewTokenizer, tell: Tell = be_silent) -> EncodedSplit | None:
    """Read the reviews without labels of a data set as token ids; None: it has none.

    Raises:
        DataError: They cannot be read; the message names the remedy.
    """
    cache_dir = Path(settings.cache_dir).expanduser()
    return prepare_unlabelled(build_source(settings), tokenizer, cache_dir, tell, _describe_extension(settings))


def _describe_extension(settings: DataSettings) -> Extension | None:
    """Return what tells an extension's reviews from those of another option, key or edit; None: it is built in."""
    code = find_option(settings).code
    shared = {*DataGroup.model_fields, *INPUT_PATHS}
    return None if code is None else Extension(code, settings.model_dump(mode="json", exclude=shared))
