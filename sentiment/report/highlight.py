"""A text as it was written, with the words that decided: in colour on a terminal, as HTML, or with plain marks.

Blue speaks for the class, orange against it: a pair that people with any kind of colour vision tell apart.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from sentiment.data.tokenizer import LINE_BREAK
from sentiment.models.attribution import Attribution

FOR_RGB, AGAINST_RGB = (0, 114, 178), (213, 94, 0)
"""Blue and vermillion of Okabe & Ito (2008), "Color Universal Design"."""

FAINTEST = 0.08
"""Words whose share is a smaller part of the largest share have no colour at all."""

MARKED = 1 / 3
"""Without colour, words are marked from this part of the largest share on: marks do not fade."""

MOST_OPACITY = 0.65
"""Opacity of the largest share in HTML: light and dark letters both stay readable on it."""

CUT_NOTE = "not seen: the model cuts long texts"


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
