"""A small grammar of English movie reviews whose sentiment depends on word order.

A review is a list of sentences. Opinions all agree with the review's label in what they *mean*; what their
words say alone is balanced, so counting words does not find the label:

* **Negation** flips its own clause and nothing else: "the plot was not dull, and the cast was superb" is praise,
  "the plot was dull, and the cast was not superb" is not, though both hold the same words. The negation stands
  before the polar word ("never dull") or around the clause ("I would not say that the plot was dull"). "hardly" and
  "far from" negate too.
* **Lures** negate nothing that matters: "there is no doubt that the plot was dull".
* **Contrast** has a winner: the clause after "but", "yet" or "however", and the main clause beside "although".
* **Hedges** ("somewhat", "arguably") flip nothing.
* **Plot summaries** ("The story follows ...") hold polar words without an opinion, and asides hold negations and
  contrasts without one.

At difficulty 1 the counts are balanced because, whatever the label, a polar word is as often praise as blame, and
nothing else depends on the label. A linear classifier of word counts then has its optimum at zero weights. Below
difficulty 1, the other opinions are plain: their words say what they mean.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

Polarity = Literal[-1, 1]
"""-1 is blame, +1 is praise."""

POLARITIES: tuple[Polarity, Polarity] = (-1, 1)

T = TypeVar("T")

VERSION = 1
"""Raise it with every change that makes the same seed give other reviews."""

ASPECTS = (
    "plot", "script", "ending", "soundtrack", "cast", "score", "villain", "finale", "opening", "climax",
    "lead performance", "love story", "final act", "setting",
)  # fmt: skip
ADJECTIVES: dict[Polarity, tuple[str, ...]] = {
    1: ("brilliant", "wonderful", "charming", "clever", "excellent", "superb", "amazing", "memorable"),
    -1: ("awful", "terrible", "dull", "boring", "dreadful", "clumsy", "annoying", "forgettable"),
}
VERBS: dict[Polarity, tuple[str, ...]] = {
    1: ("loved", "enjoyed", "admired"),
    -1: ("hated", "disliked", "despised"),
}
NOUNS: dict[Polarity, tuple[str, ...]] = {
    1: ("triumph", "masterpiece", "delight"),
    -1: ("disaster", "failure", "mess"),
}


@dataclass(frozen=True)
class Form:
    """One way to state a claim."""

    # Polar words that fill ``{word}``; the same ones in both moods, so that no word is always negated.
    words: dict[Polarity, tuple[str, ...]]
    plain: tuple[str, ...]  # patterns that mean what their word says
    negated: tuple[str, ...]  # patterns that mean the opposite


FORMS = (
    Form(
        ADJECTIVES,
        plain=(
            "the {aspect} was {word}",
            "the {aspect} was really {word}",
            "the {aspect} was somewhat {word}",
            "the {aspect} was arguably {word}",
            "I found the {aspect} {word}",
            "I found the {aspect} rather {word}",
        ),
        negated=(
            "the {aspect} was not {word}",
            "the {aspect} was never {word}",
            "the {aspect} was hardly {word}",
            "the {aspect} was far from {word}",
            "the {aspect} was not really {word}",
            "I found the {aspect} not at all {word}",
        ),
    ),
    Form(
        ADJECTIVES,
        plain=("it has a {word} {aspect}", "the film offers a {word} {aspect}"),
        negated=("it does not have a {word} {aspect}", "the film hardly offers a {word} {aspect}"),
    ),
    Form(
        VERBS,
        plain=("I {word} the {aspect}", "we all {word} the {aspect}"),
        negated=("I never {word} the {aspect}", "nobody {word} the {aspect}"),
    ),
    Form(
        NOUNS,
        plain=("the {aspect} was a {word}", "I call the {aspect} a {word}"),
        negated=("the {aspect} was not a {word}", "the {aspect} was by no means a {word}"),
    ),
)


@dataclass(frozen=True)
class Claim:
    """One clause about one aspect of the film."""

    form: Form  # how it is said
    variant: int  # which of the form's patterns, counted round
    aspect: str  # what it is about
    word: str  # the polar word
    surface: Polarity  # what the word says alone
    negated: bool  # whether the clause denies it

    @property
    def polarity(self) -> Polarity:
        """What the clause means."""
        return opposite(self.surface) if self.negated else self.surface

    def __str__(self) -> str:
        patterns = self.form.negated if self.negated else self.form.plain
        return patterns[self.variant % len(patterns)].format(aspect=self.aspect, word=self.word)


@dataclass(frozen=True)
class Frame:
    """What stands around the claims of a sentence."""

    pattern: str  # text with ``{0}`` and, for two claims, ``{1}``
    winner: int = 0  # index of the claim that decides; of agreeing claims either does
    flips: bool = False  # whether the frame denies what the claim says


BARE = Frame("{0}")
LURES = (
    Frame("there is no doubt that {0}"),
    Frame("I cannot deny that {0}"),
    Frame("nobody will be surprised that {0}"),
    Frame("{0}, and I am not exaggerating"),
    Frame("{0}, no question about it"),
)
DENIALS = (
    Frame("I would not say that {0}", flips=True),
    Frame("I do not think that {0}", flips=True),
    Frame("nobody could claim that {0}", flips=True),
    Frame("it is not true that {0}", flips=True),
    Frame("I never felt that {0}", flips=True),
)
AGREEMENTS = (Frame("{0}, and {1}"), Frame("{0}; {1}"), Frame("{0}, while {1}"))
OPPOSITIONS = (
    Frame("{0}, but {1}", winner=1),
    Frame("{0}, yet {1}", winner=1),
    Frame("{0}; however, {1}", winner=1),
    Frame("although {0}, {1}", winner=1),
    Frame("{0}, although {1}", winner=0),
    Frame("{0}, even though {1}", winner=0),
)


@dataclass(frozen=True)
class Opinion:
    """A sentence that praises or blames."""

    frame: Frame
    claims: tuple[Claim, ...]

    @property
    def polarity(self) -> Polarity:
        """What the sentence means."""
        decided = self.claims[self.frame.winner].polarity
        return opposite(decided) if self.frame.flips else decided

    def __str__(self) -> str:
        return as_sentence(self.frame.pattern.format(*self.claims))


PLOTS = (
    "The story follows a {person} who {verb} a {adjective} {relative}",
    "The plot concerns a {adjective} {person} and a {relative} who {verb} everybody",
    "It is the tale of a {adjective} {person} in a {adjective2} town",
    "The film tells of a {person} who never {verb} a {adjective} {relative}",
    "The hero is a {person} with a {adjective} secret and a {adjective2} {relative}",
    "In the first scene a {adjective} {person} meets a {relative} who is not {adjective2}",
)
PERSONS = ("detective", "nurse", "soldier", "teacher", "sailor", "lawyer", "singer", "farmer", "painter", "journalist")
RELATIVES = ("brother", "sister", "cousin", "uncle", "neighbour", "friend", "nephew", "aunt")
ASIDES = (
    "I saw it on a {day} with my {relative}",
    "I had not read the book before",
    "It was filmed in {place}",
    "We wanted to go on {day}, and the cinema was closed",
    "I did not know the director",
    "It runs for about two hours",
    "My {relative} could not come along",
    "It is set in {place}, although you hardly see the streets",
    "There are no subtitles",
    "It was shown on television last {day}",
    "I never watch the trailer first",
    "The credits name a {person} from {place}",
)
DAYS = ("Monday", "Tuesday", "Thursday", "Friday", "Saturday", "Sunday")
PLACES = ("Canada", "Ireland", "Mexico", "Paris", "Rome", "Texas", "Scotland", "Berlin")

OPINION_SHARE = 0.75
"""Share of a review's sentences that hold an opinion; at least one always does."""
BREAK_SHARE = 0.15
"""Share of sentences that open a paragraph, after ``<br /><br />`` as on IMDB."""
BREAK = "<br /><br />"


def opposite(polarity: Polarity) -> Polarity:
    """Turn praise into blame and blame into praise."""
    return -1 if polarity == 1 else 1


def as_sentence(text: str) -> str:
    """Return a clause with its capital letter and its full stop."""
    return f"{text[0].upper()}{text[1:]}."


def pick(rng: random.Random, options: Sequence[T]) -> T:
    """Draw evenly; only `random()` gives the same numbers in every Python version, `choice` need not."""
    return options[int(rng.random() * len(options))]


def draw_claim(rng: random.Random, meaning: Polarity, *, negated: bool, besides: str = "") -> Claim:
    """Draw a clause of a given meaning, about another aspect than `besides`."""
    surface = opposite(meaning) if negated else meaning
    form = pick(rng, FORMS)
    aspect = pick(rng, [a for a in ASPECTS if a != besides])
    variant = int(rng.random() * 60)  # 60: every number of patterns up to six divides it, so all are equally likely
    return Claim(form, variant, aspect, pick(rng, form.words[surface]), surface, negated)


def draw_plain_opinion(rng: random.Random, meaning: Polarity) -> Opinion:
    """Draw a sentence that means what its polar words say."""
    return Opinion(BARE, (draw_claim(rng, meaning, negated=False),))


def draw_single(rng: random.Random, meaning: Polarity) -> Opinion:
    """Draw one claim: half of them are flipped, half are lures, so that the polar word alone tells nothing."""
    if rng.random() < 0.5:
        return Opinion(pick(rng, LURES), (draw_claim(rng, meaning, negated=False),))
    if rng.random() < 0.7:
        return Opinion(BARE, (draw_claim(rng, meaning, negated=True),))
    return Opinion(pick(rng, DENIALS), (draw_claim(rng, opposite(meaning), negated=False),))


def draw_agreement(rng: random.Random, meaning: Polarity) -> Opinion:
    """Draw two claims that agree, one of them negated: swap their polar words, and the meaning is the opposite."""
    first_negated = rng.random() < 0.5
    first = draw_claim(rng, meaning, negated=first_negated)
    second = draw_claim(rng, meaning, negated=not first_negated, besides=first.aspect)
    return Opinion(pick(rng, AGREEMENTS), (first, second))


def draw_opposition(rng: random.Random, meaning: Polarity) -> Opinion:
    """Draw two claims that disagree, neither negated: swap their polar words, and the meaning is the opposite."""
    frame = pick(rng, OPPOSITIONS)
    meanings = [opposite(meaning), opposite(meaning)]
    meanings[frame.winner] = meaning
    first = draw_claim(rng, meanings[0], negated=False)
    second = draw_claim(rng, meanings[1], negated=False, besides=first.aspect)
    return Opinion(frame, (first, second))


def draw_opinion(rng: random.Random, meaning: Polarity, difficulty: float) -> Opinion:
    """Draw a sentence of a given meaning, which depends on word order with probability `difficulty`."""
    if rng.random() >= difficulty:
        return draw_plain_opinion(rng, meaning)
    # Single claims come twice as often: in the other two kinds a reader may get by without undoing a negation.
    draw = pick(rng, (draw_single, draw_single, draw_agreement, draw_opposition))
    return draw(rng, meaning)


def draw_plot(rng: random.Random) -> str:
    """Draw a sentence of a plot summary: polar words, no opinion."""
    return as_sentence(
        pick(rng, PLOTS).format(
            person=pick(rng, PERSONS),
            relative=pick(rng, RELATIVES),
            adjective=pick(rng, ADJECTIVES[pick(rng, POLARITIES)]),
            adjective2=pick(rng, ADJECTIVES[pick(rng, POLARITIES)]),
            verb=pick(rng, VERBS[pick(rng, POLARITIES)]),
        )
    )


def draw_aside(rng: random.Random) -> str:
    """Draw a sentence about something else."""
    pattern = pick(rng, ASIDES)
    return as_sentence(
        pattern.format(
            person=pick(rng, PERSONS), relative=pick(rng, RELATIVES), day=pick(rng, DAYS), place=pick(rng, PLACES)
        )
    )


_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiou])")


def draw_review(rng: random.Random, label: Polarity, sentences: int, difficulty: float) -> str:
    """Draw the text of a review of so many sentences; every opinion in it means `label`; see `draw_opinion`."""
    opinions = max(1, round(OPINION_SHARE * sentences))
    drawn = [str(draw_opinion(rng, label, difficulty)) for _ in range(opinions)]
    drawn += [draw_plot(rng) if rng.random() < 0.5 else draw_aside(rng) for _ in range(sentences - opinions)]
    order = sorted(range(sentences), key=lambda _: rng.random())  # a shuffle that no Python version changes
    text = drawn[order[0]]
    for index in order[1:]:
        text += (BREAK if rng.random() < BREAK_SHARE else " ") + drawn[index]
    return _ARTICLE.sub(r"\1n ", text)
