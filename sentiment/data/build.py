"""Settings of the ``data`` group to the objects behind them; sources are imported when they are chosen."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from sentiment.config.extension import find_extension
from sentiment.config.schema import DataSettings, FilesDataSettings, ImdbDataSettings
from sentiment.data.corpus import Corpus, prepare_corpus
from sentiment.data.reviews import Source


def build_source(settings: DataSettings) -> Source:
    """Make the source that ``data=imdb|files|synthetic`` or an extension's option names; nothing is read yet."""
    extension = find_extension(settings)
    if extension is not None:
        return cast(Source, extension.build(settings))
    if isinstance(settings, ImdbDataSettings):
        return _build_imdb(settings)
    if isinstance(settings, FilesDataSettings):
        return _build_files(settings)
    from sentiment.data.synthetic import SyntheticSource

    return SyntheticSource(
        train_size=settings.train_size,
        test_size=settings.test_size,
        min_sentences=settings.min_sentences,
        max_sentences=settings.max_sentences,
        difficulty=settings.difficulty,
        label_noise=settings.label_noise,
        generator_seed=settings.generator_seed,
    )


def build_corpus(settings: DataSettings) -> Corpus:
    """Read the reviews as token ids, from the token cache where they are in it.

    Raises:
        DataError: The data cannot be read; the message names the remedy.
    """
    return prepare_corpus(
        build_source(settings),
        tokenizer_kind=settings.tokenizer.kind,
        vocabulary_size=settings.tokenizer.vocabulary_size,
        min_frequency=settings.tokenizer.min_frequency,
        lowercase=settings.tokenizer.lowercase,
        validation_fraction=settings.validation_fraction,
        split_seed=settings.split_seed,
        train_limit=settings.train_limit,
        cache_dir=Path(settings.cache_dir).expanduser(),
    )


def _build_imdb(settings: ImdbDataSettings) -> Source:
    from sentiment.data.imdb import ImdbSource

    return ImdbSource(path=_path(settings.path), repository=settings.repository, revision=settings.revision)


def _build_files(settings: FilesDataSettings) -> Source:
    from sentiment.data.files import FilesSource

    return FilesSource(
        path=Path(settings.path).expanduser(),
        validation_path=_path(settings.validation_path),
        test_path=_path(settings.test_path),
        test_fraction=settings.test_fraction,
        split_seed=settings.split_seed,
        text_column=settings.text_column,
        label_column=settings.label_column,
        labels=None if settings.labels is None else tuple(settings.labels),
        on_bad_row=settings.on_bad_row,
    )


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text).expanduser()
