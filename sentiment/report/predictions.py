"""Predictions as people and machines read them: a table on the terminal, CSV, JSON lines."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, TextIO

from rich.console import Console

from sentiment.errors import SentimentError
from sentiment.models.attribution import Attribution
from sentiment.models.bundle import Predictions
from sentiment.report.highlight import format_terminal

PLAIN_WIDTH = 120
"""Columns of the table where the output is no terminal."""


class OutputError(SentimentError):
    """The predictions cannot be written."""


class PredictionWriter(Protocol):
    """Takes predictions a chunk at a time."""

    def __enter__(self) -> PredictionWriter:
        """Open."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close; what an error cut short is not left behind as if it were whole."""

    def write(self, texts: Sequence[str], predictions: Predictions, attributions: Iterable[Attribution | None]) -> None:
        """Write N texts and their predictions, with what decided them where that was asked for."""


class TableWriter:
    """A line a text: label, probability, text; with an attribution the whole text with its words highlighted."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        # The width is that of the terminal; the table breaks no line itself, and a text with words marked is whole.
        self._console = Console(file=stream, soft_wrap=True, highlight=False, markup=False, emoji=False)
        self._width = shutil.get_terminal_size().columns if stream.isatty() else PLAIN_WIDTH
        self._has_begun = False

    def __enter__(self) -> TableWriter:
        """Nothing to open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing to close."""

    def write(self, texts: Sequence[str], predictions: Predictions, attributions: Iterable[Attribution | None]) -> None:
        """Write the header once, then a line or a paragraph a text."""
        width = max(len("label"), *map(len, predictions.class_names))
        if not self._has_begun:
            self._stream.write(f"{'label':<{width}}  probability  text\n")
            self._has_begun = True
        rows = zip(texts, predictions.labels, predictions.probabilities.max(axis=1), attributions, strict=True)
        for text, label, probability, attribution in rows:
            start = f"{label:<{width}}  {probability:>11.4f}  "
            if attribution is None:
                self._stream.write(f"{start}{shorten(text, self._width - len(start))}\n")
            else:
                self._stream.write(start)
                self._console.print(format_terminal(attribution, self._console), soft_wrap=True)
                if not attribution.is_complete:
                    self._stream.write(f"{'':<{len(start)}}(shares are inexact: off by {attribution.delta:+.2f})\n")
        self._stream.flush()


class CsvWriter:
    """``text,label,probability_...``; the probabilities of all classes.

    Args:
        target: A stream, or a file that is put in its place when it is whole.
        class_names: K class names in index order.
    """

    def __init__(self, target: Path | TextIO, class_names: Sequence[str]) -> None:
        self._output = _Output(target)
        self._names = [f"probability_{name}" for name in class_names]

    def __enter__(self) -> CsvWriter:
        """Open and write the names of the columns."""
        self._rows = csv.writer(self._output.open(), lineterminator="\n")
        self._rows.writerow(["text", "label", *self._names])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Put the file in its place, or remove it after an error."""
        self._output.close(is_whole=kind is None)

    def write(self, texts: Sequence[str], predictions: Predictions, attributions: Iterable[Attribution | None]) -> None:
        """Write a row a text."""
        for text, label, row in zip(texts, predictions.labels, predictions.probabilities, strict=True):
            self._rows.writerow([text, label, *(f"{value:.6f}" for value in row.tolist())])


class JsonLinesWriter:
    """An object a text: ``text``, ``label``, ``probabilities``; with attributions ``words``, ``[word, share]`` each.

    Args:
        target: A stream, or a file that is put in its place when it is whole.
        class_names: K class names in index order.
    """

    def __init__(self, target: Path | TextIO, class_names: Sequence[str]) -> None:
        self._output = _Output(target)
        self._class_names = class_names

    def __enter__(self) -> JsonLinesWriter:
        """Open."""
        self._stream = self._output.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Put the file in its place, or remove it after an error."""
        self._output.close(is_whole=kind is None)

    def write(self, texts: Sequence[str], predictions: Predictions, attributions: Iterable[Attribution | None]) -> None:
        """Write a line a text."""
        rows = zip(texts, predictions.labels, predictions.probabilities, attributions, strict=True)
        for text, label, row, attribution in rows:
            values = [round(value, 6) for value in row.tolist()]
            content: dict[str, object] = {
                "text": text,
                "label": label,
                "probabilities": dict(zip(self._class_names, values, strict=True)),
            }
            if attribution is not None:
                content["words"] = list(zip(attribution.words, attribution.scores, strict=True))
                content["words_delta"] = attribution.delta
            self._stream.write(json.dumps(content, ensure_ascii=False) + "\n")


def shorten(text: str, width: int) -> str:
    """Show a text in one line of at most `width` characters, without anything that would steer the terminal."""
    line = " ".join(text.split())
    line = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)
    return line if len(line) <= width else f"{line[: max(width - 3, 0)]}..."


class _Output:
    """A stream, or a file that gets its name when it is whole."""

    def __init__(self, target: Path | TextIO) -> None:
        self._target = target
        self._file: IO[str] | None = None

    def open(self) -> IO[str]:
        if not isinstance(self._target, Path):
            return self._target
        try:
            self._file = self._unfinished().open("w", encoding="utf-8", newline="")
        except OSError as error:
            raise OutputError(
                f"{self._target} cannot be written ({error.strerror or error}).\n  -> choose another folder"
            ) from error
        return self._file

    def close(self, *, is_whole: bool) -> None:
        if self._file is None:
            return
        assert isinstance(self._target, Path)
        self._file.close()
        if is_whole:
            self._unfinished().replace(self._target)
        else:
            self._unfinished().unlink()

    def _unfinished(self) -> Path:
        assert isinstance(self._target, Path)
        return self._target.with_name(f".{self._target.name}.{os.getpid()}")
