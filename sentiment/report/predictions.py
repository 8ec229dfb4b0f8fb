"""Predictions as people and machines read them: a table, CSV, JSON lines; texts with the words that decided marked.

Those words are shown in colour on a terminal, as HTML, or with plain marks. Blue speaks for the class, orange against
it: a pair that people with any kind of colour vision tell apart.
"""

from __future__ import annotations

import csv
import html
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TextIO

from rich.console import Console
from rich.text import Text

from sentiment.atomic import replacing
from sentiment.data.tokenizer import LINE_BREAK
from sentiment.errors import explaining
from sentiment.format import write_csv_cell
from sentiment.models.attribution import Attribution
from sentiment.models.bundle import Predictions
from sentiment.report.draw.table import PLAIN_WIDTH

Format = Literal["table", "csv", "jsonl"]

FOR_RGB, AGAINST_RGB = (0, 114, 178), (213, 94, 0)
"""Blue and vermillion of Okabe & Ito (2008), "Color Universal Design"."""

FAINTEST = 0.08
"""Words whose share is a smaller part of the largest share have no colour at all."""

MARKED = 1 / 3
"""Without colour, words are marked from this part of the largest share on: marks do not fade."""

MOST_OPACITY = 0.65
"""Opacity of the largest share in HTML: light and dark letters both stay readable on it."""

CUT_NOTE = "not seen: the model cuts long texts"

LEGEND = Attribution(
    text="for the label against it",
    label="",
    probability=1.0,
    words=("for the label", "against it"),
    spans=((0, 13), (14, 24)),
    scores=(1.0, -1.0),
    baseline=0.0,
    margin=0.0,
    delta=0.0,
)
"""Says in the marks or colours themselves what they mean."""


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
            with explaining(f"{file} cannot be written", "choose another folder"):
                unfinished = stack.enter_context(replacing(file))
                stream = stack.enter_context(unfinished.open("w", encoding="utf-8", newline=""))
        yield WRITERS[form](stream, class_names)


class TableWriter:
    """A line per text: label, probability, text; with an attribution the whole text with its words highlighted."""

    def __init__(self, stream: TextIO, class_names: Sequence[str]) -> None:
        self._stream = stream
        # The width is that of the terminal; the table breaks no line itself, and a text with words marked is whole.
        self._console = Console(file=stream, soft_wrap=True, highlight=False, markup=False, emoji=False)
        self._line_width = shutil.get_terminal_size().columns if stream.isatty() else PLAIN_WIDTH
        self._label_width = max(len("label"), *map(len, class_names))
        self._has_begun = self._has_explained = False

    def write(self, texts: Sequence[str], predictions: Predictions, attributions: Iterable[Attribution | None]) -> None:
        """Write the header once, and what marks mean before the first; then a line or a paragraph per text."""
        if not self._has_begun:
            self._stream.write(f"{'label':<{self._label_width}}  probability  text\n")
            self._has_begun = True
        rows = zip(texts, predictions.labels, predictions.probabilities.max(axis=1), attributions, strict=True)
        for text, label, probability, attribution in rows:
            start = f"{shorten(label, self._label_width):<{self._label_width}}  {probability:>11.4f}  "
            if attribution is not None and not self._has_explained:
                self._stream.write(" " * len(start))
                self._console.print(format_terminal(LEGEND, self._console), soft_wrap=True)
                self._has_explained = True
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


class Piece(NamedTuple):
    """A part of the text: a word with its share, or what stands between words."""

    text: str  # the part as written
    score: float | None  # share of the word; None between words, and for words that the model did not see
    strength: float  # the share as a part of the largest one, in [-1, 1]; 0 where there is none
    is_cut: bool  # whether the model did not see this word


def format_terminal(attribution: Attribution, console: Console) -> Text:
    """Return the text with its words coloured, or marked where the console shows no colour (``NO_COLOR``, a pipe)."""
    if console.color_system is None or console.no_color:
        return Text(format_plain(attribution))
    text = Text()
    for piece in split_text(attribution):
        text.append(_printable(piece.text), _style(piece))
    return text


def format_plain(attribution: Attribution) -> str:
    """Return the text with ``[+word+]`` for what speaks for the class and ``[-word-]`` for what speaks against it."""
    parts = []
    for piece in split_text(attribution):
        mark = "" if abs(piece.strength) < MARKED else "+" if piece.strength > 0 else "-"
        shown = _printable(piece.text)
        parts.append(f"[{mark}{shown}{mark}]" if mark else shown)
    return "".join(parts)


def format_html(attribution: Attribution) -> str:
    """Return the text as an HTML fragment, escaped; colours are translucent, so that it reads on light and dark.

    Every coloured word has its share as its title. Tags that break a line, as in IMDB's reviews, do so.
    """
    parts = []
    shown = list(attribution.text)
    for tag in LINE_BREAK.finditer(attribution.text):
        shown[tag.start() : tag.end()] = ["\n", *[""] * (len(tag[0]) - 1)]
    end = 0
    for piece in split_text(attribution):
        start, end = end, end + len(piece.text)
        escaped = html.escape("".join(shown[start:end]))
        if piece.is_cut:
            parts.append(f'<span style="opacity:.5" title="{CUT_NOTE}">{escaped}</span>')
        elif piece.score is None or abs(piece.strength) < FAINTEST:
            parts.append(escaped)
        else:
            red, green, blue = FOR_RGB if piece.strength > 0 else AGAINST_RGB
            opacity = abs(piece.strength) * MOST_OPACITY
            parts.append(
                f'<span style="background:rgba({red},{green},{blue},{opacity:.2f})" '
                f'title="{piece.score:+.3f}">{escaped}</span>'
            )
    return f'<span class="attribution" style="white-space:pre-wrap">{"".join(parts)}</span>'


def split_text(attribution: Attribution) -> Iterator[Piece]:
    """Split the text at its words; joined again the pieces are the text."""
    largest = max((abs(score) for score in attribution.scores if score is not None), default=0.0)
    end = 0
    for (start, stop), score in zip(attribution.spans, attribution.scores, strict=True):
        if start > end:
            yield Piece(attribution.text[end:start], None, 0.0, is_cut=False)
        strength = score / largest if score is not None and largest > 0 else 0.0
        yield Piece(attribution.text[max(start, end) : stop], score, strength, is_cut=score is None)
        end = max(end, stop)
    if end < len(attribution.text):
        yield Piece(attribution.text[end:], None, 0.0, is_cut=False)


def _style(piece: Piece) -> str:
    if piece.is_cut:
        return "dim"
    if abs(piece.strength) < FAINTEST:
        return ""
    # A terminal has no opacity: a faint share is a colour mixed with white, and letters on it are black.
    hue = FOR_RGB if piece.strength > 0 else AGAINST_RGB
    mixed = [round(255 + (part - 255) * abs(piece.strength)) for part in hue]
    ink = "white" if abs(piece.strength) > 0.6 else "black"
    return f"{ink} on rgb({mixed[0]},{mixed[1]},{mixed[2]})"


def _printable(text: str) -> str:
    """Show control characters instead of sending them: a review must not steer the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)
