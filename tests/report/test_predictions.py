"""Predictions, and texts with their deciding words marked: shown as written, they do no harm where they are shown."""

from __future__ import annotations

import html
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sentiment.models.attribution import Attribution
from sentiment.models.bundle import Predictions
from sentiment.report.predictions import TableWriter, format_html, format_plain, format_terminal, split_text


def test_a_class_of_anybody_s_bundle_steers_no_terminal():
    stream = io.StringIO()
    names = ("good", "\x1b[31mbad")
    shares = np.array([[0.25, 0.75]], dtype=np.float32)
    answers = Predictions([names[1]], shares, np.log(shares), names, 1)
    TableWriter(stream, names).write(["dull"], answers, [None])
    assert stream.getvalue().splitlines()[1].split() == ["\N{REPLACEMENT CHARACTER}[31mbad", "0.7500", "dull"]


def make_attribution(parts: list[tuple[str, float | None]], between: str = " ") -> Attribution:
    """An attribution of words joined by blanks."""
    text, spans = "", []
    for word, _ in parts:
        start = len(text) + (len(between) if text else 0)
        text = f"{text}{between}{word}" if text else word
        spans.append((start, start + len(word)))
    words, scores = tuple(word for word, _ in parts), tuple(score for _, score in parts)
    return Attribution(text, "positive", 0.9, words, tuple(spans), scores, baseline=0.0, margin=1.0, delta=0.0)


SHOWN = make_attribution([("a", 0.001), ("great", 1.0), ("<b>", -0.9), ("film", 0.2), ("gone", None)])


def test_plain_marks_the_words_that_decided():
    assert format_plain(SHOWN) == "a [+great+] [-<b>-] film gone"


def test_the_table_says_what_its_marks_mean_before_the_first():
    stream = io.StringIO()
    shares = np.array([[0.25, 0.75]] * 3, dtype=np.float32)
    answers = Predictions(["positive"] * 3, shares, np.log(shares), ("negative", "positive"), 3)
    table = TableWriter(stream, answers.class_names)
    table.write(["plain", "a", "b"], answers, [None, SHOWN, SHOWN])
    lines = stream.getvalue().splitlines()
    assert lines[2].strip() == "[+for the label+] [-against it-]"
    assert lines[2].index("[+for") == lines[3].index("a [+great+]")
    assert [line.count("for the label") for line in lines] == [0, 0, 1, 0, 0]


def test_html_is_escaped_and_every_colour_has_its_number():
    fragment = format_html(SHOWN)
    assert "<b>" not in fragment
    assert '<span style="background:rgba(0,114,178,0.65)" title="+1.000">great</span>' in fragment
    assert 'title="-0.900">&lt;b&gt;</span>' in fragment
    assert 'title="not seen: the model cuts long texts">gone</span>' in fragment
    assert ">a " in fragment  # too small a share for a colour


def test_a_terminal_gets_colours_for_and_against():
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", no_color=False, width=200)
    shown = format_terminal(SHOWN, console)
    assert shown.plain == SHOWN.text
    colours = {shown.plain[span.start : span.end]: str(span.style) for span in shown.spans}
    assert "rgb(0,114,178)" in colours["great"]
    assert colours["gone"] == "dim"
    assert colours["<b>"] != colours["great"]
    assert "a" not in colours


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1", "TERM": "xterm-256color"}, {"TERM": "dumb"}])
def test_no_colour_gets_marks(environment):
    console = Console(file=io.StringIO(), force_terminal=True, _environ=environment)
    assert format_terminal(SHOWN, console).plain == format_plain(SHOWN)


def test_a_pipe_gets_marks():
    assert format_terminal(SHOWN, Console(file=io.StringIO())).plain == format_plain(SHOWN)


def test_a_text_cannot_steer_the_terminal():
    attribution = make_attribution([("\x1b[2J", 1.0), ("\x07", 0.0)])
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for shown in (format_plain(attribution), format_terminal(attribution, console).plain):
        assert "\x1b" not in shown
        assert "\\x1b[2J" in shown


def test_texts_without_words_or_shares():
    empty = make_attribution([])
    assert format_plain(empty) == ""
    assert format_plain(make_attribution([("a", 0.0), ("b", None)])) == "a b"


WORD = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1)
SCORE = st.none() | st.floats(-5, 5)


@given(st.lists(st.tuples(WORD, SCORE)), st.sampled_from([" ", "", "<br />", "<BR>"]))
def test_the_pieces_are_the_text(parts, between):
    attribution = make_attribution(parts, between)
    assert "".join(piece.text for piece in split_text(attribution)) == attribution.text
    assert all(-1 <= piece.strength <= 1 for piece in split_text(attribution))
    shown = html.unescape(re.sub("<[^>]*>", "", format_html(attribution)))
    assert shown == attribution.text.replace("<br />", "\n").replace("<BR>", "\n")
