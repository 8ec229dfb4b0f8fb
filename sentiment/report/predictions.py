"""Predictions as people and machines read them: a table on the terminal, CSV, JSON lines."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, Protocol, TextIO

from rich.console import Console

from sentiment.atomic import replacing
from sentiment.errors import SentimentError
from sentiment.format import write_csv_cell
from sentiment.models.attribution import Attribution
from sentiment.models.bundle import Predictions
from sentiment.report.highlight import format_terminal

PLAIN_WIDTH = 120
"""Columns of the table where the output is no terminal."""

Format = Literal["table", "csv", "jsonl"]


class PredictionWriter(Protocol):
    """Takes predictions chunk by chunk."""

    def write(self, texts: Sequence[str], predictions: Predictions, attributions: Iterable[Attribution | None]) -> None:
        """Write N texts and their predictions, with what decided them where that was asked for."""


@contextmanager
def open_writer(form: Format, file: Path | None, class_names: Sequence[str]) -> Iterator[PredictionWriter]:
    """Open a writer of a form, to a file or to standard output.

    The file gets its name when it is whole; after an error nothing is left of it.

    Raises:
        SentimentError: The file cannot be written.
    """
    with ExitStack() as stack:
        stream: TextIO = sys.stdout
        if file is not None:
            try:
                unfinished = stack.enter_context(replacing(file))
                stream = stack.enter_context(unfinished.open("w", encoding="utf-8", newline=""))
            except OSError as error:
                raise SentimentError(
                    f"{file} cannot be written ({error.strerror or error}).", "choose another folder"
                ) from error
        yield WRITERS[form](stream, class_names)


class TableWriter:
    """A line per text: label, probability, text; with an attribution the whole text with its words highlighted."""

    def __init__(self, stream: TextIO, class_names: Sequence[str]) -> None:
        self._stream = stream
        # The width is that of the terminal; the table breaks no line itself, and a text with words marked is whole.
        self._console = Console(file=stream, soft_wrap=True, highlight=False, markup=False, emoji=False)
        self._line_width = shutil.get_terminal_size().columns if stream.isatty() else PLAIN_WIDTH
        self._label_width = max(len("label"), *map(len, class_names))
        self._has_begun = False

    def write(self, texts: Sequence[str], predictions: Predictions, attributions: Iterable[Attribution | None]) -> None:
        """Write the header once, then a line or a paragraph per text."""
        if not self._has_begun:
            self._stream.write(f"{'label':<{self._label_width}}  probability  text\n")
            self._has_begun = True
        rows = zip(texts, predictions.labels, predictions.probabilities.max(axis=1), attributions, strict=True)
        for text, label, probability, attribution in rows:
            start = f"{shorten(label, self._label_width):<{self._label_width}}  {probability:>11.4f}  "
            if attribution is None:
                self._stream.write(f"{start}{shorten(text, self._line_width - len(start))}\n")
            else:
                self._stream.write(start)
                self._console.print(format_terminal(attribution, self._console), soft_wrap=True)
                self._stream.writelines(f"{'':<{len(start)}}({note})\n" for note in attribution.notes)
        self._stream.flush()


class CsvWriter:
    """``text,label,probability_...``; the probabilities of all K classes."""

    def __init__(self, stream: TextIO, class_names: Sequence[str]) -> None:
        self._rows = csv.writer(stream)  # it quotes the characters that end its own lines alone, here both of them
        self._rows.writerow(["text", "label", *(f"probability_{name}" for name in class_names)])

    def write(self, texts: Sequence[str], predictions: Predictions, attributions: Iterable[Attribution | None]) -> None:
        """Write a row per text."""
        for text, label, row in zip(texts, predictions.labels, predictions.probabilities, strict=True):
            self._rows.writerow(
                [write_csv_cell(text), write_csv_cell(label), *(f"{value:.6f}" for value in row.tolist())]
            )


class JsonLinesWriter:
    """An object per text: ``text``, ``label``, ``probabilities``; if explained ``words``, ``[word, share]`` each."""

    def __init__(self, stream: TextIO, class_names: Sequence[str]) -> None:
        self._stream, self._class_names = stream, class_names

    def write(self, texts: Sequence[str], predictions: Predictions, attributions: Iterable[Attribution | None]) -> None:
        """Write a line per text."""
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
                content |= {"words_baseline": attribution.baseline, "words_delta": attribution.delta}
            self._stream.write(json.dumps(content, ensure_ascii=False) + "\n")


WRITERS: dict[Format, Callable[[TextIO, Sequence[str]], PredictionWriter]] = {
    "table": TableWriter,
    "csv": CsvWriter,
    "jsonl": JsonLinesWriter,
}


def shorten(text: str, width: int) -> str:
    """Show a text in one line of at most `width` characters, without anything that would steer the terminal."""
    line = " ".join(text.split())
    line = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)
    return line if len(line) <= width else f"{line[: max(width - 3, 0)]}..."
