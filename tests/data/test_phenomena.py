"""Cues of negation and contrast in English reviews, and what only looks like one."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment.data.grammar import DENIALS, OPPOSITIONS, draw_plot, draw_review
from sentiment.data.phenomena import (
    CONTRAST_CUES,
    NEGATION_CUES,
    NOT_CONTRASTIVE,
    NOT_NEGATIVE,
    find_contrasts,
    find_negations,
)


@pytest.mark.parametrize(
    ("text", "cues"),
    [
        ("I did not like it", ["not"]),
        ("It isn't good, and it wasnt fun.", ["isn't", "wasnt"]),
        ("It is n’t good; it CAN’T be", ["n’t", "CAN’T"]),
        ("Never dull<br /><br />without a flaw", ["Never", "without"]),
        ("it was _not_ good, 'not' at all", ["not", "not"]),
        ("far\n from perfect, hardly a laugh", ["far\n from", "hardly"]),
        ("few films fail to move", ["few", "fail to"]),
        ("No one could say no", ["No one", "no"]),
        ("anything but dull", ["anything but"]),
    ],
)
def test_negations_are_found_as_they_are_written(text: str, cues: list[str]) -> None:
    assert [cue.words for cue in find_negations(text)] == cues


@pytest.mark.parametrize(
    "text",
    [
        "a notable note from Norway's knot",
        "It is not only clever; no doubt the best of a few.",
        "last but not least, nothing but praise",
        "I can't wait, I couldn't agree more",
        "it never fails to please",
        "",
    ],
)
def test_what_only_looks_like_a_negation_is_none(text: str) -> None:
    assert find_negations(text) == []


@pytest.mark.parametrize(
    ("text", "cues"),
    [
        ("Good, BUT long; however, in spite of that...", ["BUT", "however", "in spite of"]),
        ("Although dull, yet clever", ["Although", "yet"]),
        ("Silly.<br />But fun -- that said, long", ["But", "that said"]),
        ("On the other hand, it is far from good", ["On the other hand"]),
    ],
)
def test_contrasts_are_found_as_they_are_written(text: str, cues: list[str]) -> None:
    assert [cue.words for cue in find_contrasts(text)] == cues


@pytest.mark.parametrize("text", ["the butler's yeti", "nothing but fun", "yet another sequel", "not yet seen", "."])
def test_what_only_looks_like_a_contrast_is_none(text: str) -> None:
    assert find_contrasts(text) == []


def test_the_grammars_denials_negate_and_its_oppositions_contrast() -> None:
    assert all(find_negations(frame.pattern) for frame in DENIALS)
    assert all(find_contrasts(frame.pattern) for frame in OPPOSITIONS)


@given(st.integers(0, 2**32))
def test_plain_synthetic_opinions_hold_neither(seed: int) -> None:
    rng = random.Random(seed)
    text = draw_review(rng, 1, sentences=1, difficulty=0.0)
    assert not find_negations(text)
    assert not find_contrasts(text)
    plot = draw_plot(rng)
    assert bool(find_negations(plot)) == (" never " in plot or " not " in plot)


@given(st.text(max_size=40), st.sampled_from(sorted(NEGATION_CUES)), st.text(max_size=40))
def test_a_cue_between_other_words_is_found_where_it_stands(before: str, cue: str, after: str) -> None:
    text = f"{before} . {cue} . {after}"
    found = find_negations(text)
    start = len(before) + 3
    assert any(start <= one.start and one.end == start + len(cue) for one in found)
    assert all(text[one.start : one.end] == one.words for one in found)
    assert all(left.end <= right.start for left, right in itertools.pairwise(found))


@pytest.mark.parametrize("phrase", [*NOT_NEGATIVE, *NOT_CONTRASTIVE])
def test_every_exception_hides_its_own_cue(phrase: str) -> None:
    hidden = phrase in NOT_NEGATIVE
    assert (find_negations(phrase) if hidden else find_contrasts(phrase)) == []
    single = [cue for cue in (NEGATION_CUES if hidden else CONTRAST_CUES) if " " not in cue]
    held = any(word in single or word.endswith("n't") for word in phrase.split()) or "never fail" in phrase
    assert held, "an exception without a cue does nothing"
