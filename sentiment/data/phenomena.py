"""Where English reviews negate and contrast: two phenomena that a model of single words cannot follow.

Cues are found by their words; their scope is not looked at. The cues of negation are the negative words, the
contractions in ``n't`` (with and without the apostrophe), the approximate negators ("hardly", "few"; Quirk et al.
1985, section 10.59) and some phrases that deny what follows ("fails to"). The cues of contrast are connectives of
comparison of the Penn Discourse Treebank (Prasad et al. 2008), and some like them ("despite", "albeit", "that said"),
that are seldom anything else: "while", "still" and "rather" mostly do not contrast and are left out. Expressions that
hold a cue and do not mean it ("not only", "no doubt", "nothing but") are listed and passed over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

NEGATION_CUES = frozenset((
    "not", "no", "never", "nobody", "none", "nothing", "nowhere", "neither", "nor", "cannot", "hardly", "barely",
    "scarcely", "without", "nought", "rarely", "seldom", "few", "aint", "arent", "cant", "couldnt", "didnt", "doesnt",
    "dont", "hadnt", "hasnt", "havent", "isnt", "shouldnt", "wasnt", "werent", "wouldnt", "no one", "far from",
    "anything but", "by no means", "in no way", "lack of", "fail to", "fails to", "failed to",
))  # fmt: skip
"""What negates, lower case; every contraction in ``n't`` does too."""

CONTRAST_CUES = frozenset((
    "but", "yet", "however", "although", "though", "despite", "nevertheless", "whereas", "albeit", "nonetheless",
    "notwithstanding", "conversely", "in spite of", "even so", "on the other hand", "on the contrary", "in contrast",
    "except that", "that said", "having said that",
))  # fmt: skip
"""What sets one clause against another, lower case."""

NOT_NEGATIVE = (
    "not only", "not just", "not merely", "not to mention", "no doubt", "no wonder", "no matter", "nothing but",
    "nothing short of", "or not", "a few", "last but not least", "couldn't agree more", "could not agree more",
    "can't wait", "cannot wait", "never fails to", "never failed to",
)  # fmt: skip
"""Expressions whose cue negates nothing that a reader would miss."""

NOT_CONTRASTIVE = (
    "nothing but", "anything but", "all but", "everything but", "last but not least", "cannot help but",
    "can't help but", "couldn't help but", "could not help but", "not yet", "yet another", "yet to", "as yet",
)  # fmt: skip
"""Expressions whose cue contrasts no clauses."""


@dataclass(frozen=True)
class Cue:
    """A word or expression where it stands."""

    words: str  # as written
    start: int  # offset of its first character in the text
    end: int  # offset behind its last one


def find_negations(text: str) -> list[Cue]:
    """Find the cues of negation in the order of the text; none overlap."""
    return _find(_NEGATION, NOT_NEGATIVE, text)


def find_contrasts(text: str) -> list[Cue]:
    """Find the cues of contrast in the order of the text; none overlap."""
    return _find(_CONTRAST, NOT_CONTRASTIVE, text)


def _compile(cues: frozenset[str], exceptions: tuple[str, ...], ending: str | None = None) -> re.Pattern[str]:
    """Build one pattern of both, the longer expression first, so that an exception wins over the cue within it."""
    longest_first = sorted({*cues, *exceptions}, key=lambda phrase: (-len(phrase), phrase))
    options = [r"\s+".join(map(re.escape, phrase.split())) for phrase in longest_first]
    options += [] if ending is None else [ending]
    return re.compile(rf"(?<!{_LETTER})(?<!{_LETTER}')(?:{'|'.join(options)})(?!'?{_LETTER})", re.IGNORECASE)


_LETTER = r"[^\W_]"  # reviewers write _emphasis_ with underscores
_NEGATION = _compile(NEGATION_CUES, NOT_NEGATIVE, ending=rf"{_LETTER}*n't")
_CONTRAST = _compile(CONTRAST_CUES, NOT_CONTRASTIVE)


def _find(pattern: re.Pattern[str], exceptions: tuple[str, ...], text: str) -> list[Cue]:
    spelled = text.replace("\u2019", "'")  # the typographic apostrophe; offsets stay
    return [
        Cue(text[match.start() : match.end()], match.start(), match.end())
        for match in pattern.finditer(spelled)
        if " ".join(match.group().lower().split()) not in exceptions
    ]
