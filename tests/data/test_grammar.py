"""The grammar keeps its promises: meaning follows from the text, flips where it should, and reads like English."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment.data.grammar import (
    ADJECTIVES,
    BARE,
    BREAK,
    DENIALS,
    LURES,
    NOUNS,
    OPPOSITIONS,
    POLARITIES,
    VERBS,
    Opinion,
    Polarity,
    draw_agreement,
    draw_opinion,
    draw_opposition,
    draw_review,
    draw_single,
    opposite,
)

seeds = st.integers(min_value=0, max_value=2**32 - 1)
polarities = st.sampled_from(POLARITIES)

PRAISE = {*ADJECTIVES[1], *VERBS[1], *NOUNS[1]}
BLAME = {*ADJECTIVES[-1], *VERBS[-1], *NOUNS[-1]}
OPENINGS = ("The story follows", "The plot concerns", "It is the tale", "The film tells", "The hero is", "In the first")

NEGATIONS = (
    "not", "no", "never", "nobody", "none", "nothing", "nowhere", "neither", "nor", "cannot", "hardly", "barely",
    "scarcely", "without",
)  # fmt: skip
CONTRASTS = ("but", "yet", "however", "although", "though", "despite", "nevertheless", "whereas")
WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")


def has_negation(text: str) -> bool:
    """Return whether a text holds a word that negates, lures such as "no doubt" included."""
    lowered = text.lower().replace("\u2019", "'")
    return "far from" in lowered or any(w in NEGATIONS or w.endswith("n't") for w in WORD.findall(lowered))


def has_contrast(text: str) -> bool:
    """Return whether a text holds a word that sets one clause against another."""
    return any(word in CONTRASTS for word in WORD.findall(text.lower()))


def read_sentence(sentence: str) -> Polarity | None:
    """Find what a sentence means from its text alone, by rules written apart from the grammar; None: no opinion."""
    if sentence.startswith(OPENINGS):
        return None
    text = sentence.lower().rstrip(".")
    denied = re.match(r"(i would not say|i do not think|nobody could claim|it is not true|i never felt) that ", text)
    lure = re.match(r"(there is no doubt|i cannot deny|nobody will be surprised) that ", text)
    text = text[(denied or lure).end() :] if denied or lure else text  # type: ignore[union-attr]
    text = re.sub(r", (and i am not exaggerating|no question about it)$", "", text)
    if leading := re.match(r"although .*?, (.*)", text):
        text = leading[1]
    text = re.split(r", (?:although|even though) ", text)[0]
    text = re.split(r", but |, yet |; however, ", text)[-1]
    meanings = {read_clause(clause) for clause in re.split(r", and |; |, while ", text)} - {None}
    assert len(meanings) <= 1, f"the clauses of {sentence!r} disagree"
    meaning = next(iter(meanings), None)
    return opposite(meaning) if denied and meaning else meaning


def read_clause(clause: str) -> Polarity | None:
    polar = [word for word in clause.split() if word in PRAISE | BLAME]
    if not polar:
        return None
    surface: Polarity = 1 if polar[0] in PRAISE else -1
    negated = re.search(r"\b(not|never|hardly|nobody|far from|by no means)\b", clause)
    return opposite(surface) if negated else surface


def read_review(text: str) -> set[Polarity]:
    meanings = {read_sentence(sentence) for sentence in re.split(r"(?<=\.)(?:<br /><br />| )", text)}
    return {meaning for meaning in meanings if meaning}


@given(seeds, polarities, st.integers(1, 12), st.floats(0, 1))
def test_the_text_alone_tells_the_label(seed: int, label: Polarity, sentences: int, difficulty: float) -> None:
    assert read_review(draw_review(random.Random(seed), label, sentences, difficulty)) == {label}


@given(seeds, polarities, st.floats(0, 1))
def test_an_opinion_means_what_was_asked_for(seed: int, meaning: Polarity, difficulty: float) -> None:
    assert draw_opinion(random.Random(seed), meaning, difficulty).polarity == meaning


@given(seeds, polarities, st.floats(0, 1))
def test_negating_the_deciding_claim_flips_the_meaning(seed: int, meaning: Polarity, difficulty: float) -> None:
    opinion = draw_opinion(random.Random(seed), meaning, difficulty)
    flipped = with_claim_negated(opinion, opinion.frame.winner)
    assert flipped.polarity == opposite(meaning)
    assert str(flipped) != str(opinion)


@given(seeds, polarities)
def test_negating_the_losing_claim_of_a_contrast_changes_nothing(seed: int, meaning: Polarity) -> None:
    opinion = draw_opposition(random.Random(seed), meaning)
    assert with_claim_negated(opinion, 1 - opinion.frame.winner).polarity == meaning


@given(seeds, polarities, st.sampled_from([draw_agreement, draw_opposition]))
def test_swapping_two_polar_words_flips_the_meaning_but_not_the_polar_words(seed, meaning, draw) -> None:  # type: ignore[no-untyped-def]
    opinion = draw(random.Random(seed), meaning)
    first, second = opinion.claims
    swapped = Opinion(
        opinion.frame,
        (
            replace(first, form=second.form, word=second.word, surface=second.surface),
            replace(second, form=first.form, word=first.word, surface=first.surface),
        ),
    )
    assert swapped.polarity == opposite(meaning)
    assert polar_words(str(swapped)) == polar_words(str(opinion))


@given(seeds, polarities)
def test_a_denial_flips_and_a_lure_does_not(seed: int, meaning: Polarity) -> None:
    opinion = draw_single(random.Random(seed), meaning)
    claim = opinion.claims[0]
    for frame in DENIALS:
        assert Opinion(frame, (claim,)).polarity == opposite(claim.polarity)
    for frame in (*LURES, BARE):
        assert Opinion(frame, (claim,)).polarity == claim.polarity


@pytest.mark.parametrize(
    ("sentence", "meaning"),
    [
        ("The plot was not a mess.", 1),
        ("The plot was far from brilliant.", -1),
        ("The plot was somewhat dull.", -1),
        ("I would not say that the plot was dull.", 1),
        ("There is no doubt that the plot was dull.", -1),
        ("The plot was dull, but I loved the cast.", 1),
        ("The plot was dull, although I loved the cast.", -1),
        ("Although the plot was dull, I loved the cast.", 1),
        ("The story follows a nurse who hated a brilliant brother.", None),
    ],
)
def test_the_readers_own_rules(sentence: str, meaning: Polarity | None) -> None:
    assert read_sentence(sentence) == meaning


def test_at_difficulty_one_polar_words_are_balanced_in_both_classes() -> None:
    for label in POLARITIES:
        rng = random.Random(5)
        words = Counter(
            word for _ in range(6000) for word in polar_words(str(draw_opinion(rng, label, difficulty=1.0))).elements()
        )
        praise = sum(count for word, count in words.items() if word in PRAISE)
        assert praise / words.total() == pytest.approx(0.5, abs=0.02)


def test_at_difficulty_one_every_opinion_holds_a_negation_or_a_contrast() -> None:
    rng = random.Random(3)
    for _ in range(500):
        text = str(draw_opinion(rng, 1, difficulty=1.0))
        assert has_negation(text) or has_contrast(text), text


def test_at_difficulty_zero_no_opinion_holds_a_negation_or_a_contrast() -> None:
    rng = random.Random(3)
    for _ in range(500):
        text = str(draw_opinion(rng, 1, difficulty=0.0))
        assert not has_negation(text), text
        assert not has_contrast(text), text


@given(seeds, polarities, st.integers(1, 12))
def test_a_review_reads_like_english(seed: int, label: Polarity, sentences: int) -> None:
    text = draw_review(random.Random(seed), label, sentences, difficulty=0.5)
    assert not re.search(r"\b[Aa] [aeiou]", text)
    assert not re.search(r"\b[Aa]n [^aeiou]", text)
    assert not re.search(r"  |[{}]| [.,;]", text)
    parts = re.split(r"(?<=\.) ", text.replace(BREAK, " "))
    assert len(parts) == sentences
    assert all(re.fullmatch(r"[A-Z][^.]*\.", part) for part in parts)


def test_some_reviews_have_paragraphs_as_on_imdb() -> None:
    texts = [draw_review(random.Random(seed), 1, 4, 0.5) for seed in range(100)]
    assert 10 < sum(BREAK in text for text in texts) < 90


@pytest.mark.parametrize("text", ["It isn\u2019t good", "NOT good", "far from good", "hardly good", "I can't", "No!"])
def test_negations_are_found(text: str) -> None:
    assert has_negation(text)


@pytest.mark.parametrize("text", ["a notable film", "nobleman", "It was good", ""])
def test_what_only_looks_like_a_negation_is_not_one(text: str) -> None:
    assert not has_negation(text)


def test_contrasts_are_found_as_words() -> None:
    assert has_contrast("Good, BUT long")
    assert has_contrast("Although long, good")
    assert not has_contrast("a rebuttal by the butler")


def test_every_contrast_frame_is_a_contrast_and_every_denial_a_negation() -> None:
    assert all(has_contrast(frame.pattern) for frame in OPPOSITIONS)
    assert all(has_negation(frame.pattern) for frame in DENIALS)


def with_claim_negated(opinion: Opinion, index: int) -> Opinion:
    """Negate a claim, or take its negation away; of two agreeing claims both, as they must go on agreeing."""
    agreeing = len({claim.polarity for claim in opinion.claims}) == 1
    return replace(
        opinion,
        claims=tuple(
            replace(claim, negated=not claim.negated) if agreeing or position == index else claim
            for position, claim in enumerate(opinion.claims)
        ),
    )


def polar_words(text: str) -> Counter[str]:
    return Counter(word for word in re.findall(r"[a-z]+", text.lower()) if word in PRAISE | BLAME)
