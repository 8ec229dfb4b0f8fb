from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment.config.home import PROJECT_DIR
from sentiment.data.tokenizer import PAD_ID, UNK_ID, ReviewTokenizer, load_tokenizer, train_tokenizer
from sentiment.errors import DataError

KINDS = ["word", "bpe"]
TEXTS = [
    "A great, GREAT film<br /><br />It's the best I've seen; don't miss it!",
    "They'll say it isn't bad... I'd say 'never again' -- 3/10.",
    "caf\u00e9 cafe\u0301 na\u00efve \u65e5\u672c \U0001f600 _emphasis_",
] * 3


def train(kind: str, **changed: object) -> ReviewTokenizer:
    arguments = {"vocabulary_size": 600, "min_frequency": 1, "lowercase": True, **changed}
    return train_tokenizer(TEXTS, kind, **arguments)


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> ReviewTokenizer:
    return train(request.param)


class TestContract:
    """Holds for both kinds."""

    def test_gives_one_int64_array_a_text_at_full_length(self, tokenizer: ReviewTokenizer):
        encoded = tokenizer.encode(["good " * 5000, "bad"])
        assert [array.dtype for array in encoded] == [np.int64, np.int64]
        assert len(encoded[0]) >= 5000

    @pytest.mark.parametrize("text", ["", "   ", "<br /><br>"])
    def test_text_without_tokens_becomes_one_unknown(self, tokenizer: ReviewTokenizer, text: str):
        assert [ids.tolist() for ids in tokenizer.encode([text])] == [[UNK_ID]]

    def test_ids_lie_in_the_vocabulary_and_are_never_padding(self, tokenizer: ReviewTokenizer):
        ids = np.concatenate(tokenizer.encode([*TEXTS, "words unseen in [PAD] training [UNK] \u4e2d"]))
        assert ids.min() > PAD_ID
        assert ids.max() < tokenizer.vocabulary_size

    def test_padding_written_in_a_review_is_ordinary_text(self, tokenizer: ReviewTokenizer):
        assert PAD_ID not in tokenizer.encode(["[PAD] good [PAD]"])[0]

    def test_survives_serialisation(self, tokenizer: ReviewTokenizer):
        again = load_tokenizer(tokenizer.to_json())
        assert again.vocabulary_size == tokenizer.vocabulary_size
        for ours, theirs in zip(tokenizer.encode([*TEXTS, "[PAD]"]), again.encode([*TEXTS, "[PAD]"]), strict=True):
            np.testing.assert_array_equal(ours, theirs)

    def test_special_tokens_have_their_ids(self, tokenizer: ReviewTokenizer):
        assert tokenizer.tokens([0, 1]) == ["[PAD]", "[UNK]"]

    def test_names_as_many_tokens_as_ids(self, tokenizer: ReviewTokenizer):
        ids = tokenizer.encode(TEXTS[:1])[0]
        assert len(tokenizer.tokens(ids)) == len(ids)

    def test_refuses_an_id_outside_the_vocabulary(self, tokenizer: ReviewTokenizer):
        with pytest.raises(IndexError, match=f"id 99999 lies outside \\[0, {tokenizer.vocabulary_size}\\)"):
            tokenizer.tokens([1, 99999])

    def test_decodes_to_words_and_marks_without_padding(self, tokenizer: ReviewTokenizer):
        ids = [*tokenizer.encode(["A great film<br />don't miss it!"])[0], PAD_ID, PAD_ID]
        assert tokenizer.decode(ids) == "a great film do n't miss it !"

    def test_composed_and_decomposed_letters_are_one(self, tokenizer: ReviewTokenizer):
        composed, decomposed = tokenizer.encode(["caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")])
        np.testing.assert_array_equal(composed, decomposed)

    @settings(max_examples=60)
    @given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
    def test_takes_any_text(self, tokenizer: ReviewTokenizer, text: str):
        (ids,) = tokenizer.encode([text])
        assert len(ids) >= 1
        assert ids.min() > PAD_ID
        assert ids.max() < tokenizer.vocabulary_size


@pytest.mark.parametrize("kind", KINDS)
def test_case_is_folded_only_if_asked(kind: str):
    folded, kept = train(kind), train(kind, lowercase=False)
    assert folded.encode(["GREAT"])[0].tolist() == folded.encode(["great"])[0].tolist()
    assert kept.encode(["GREAT"])[0].tolist() != kept.encode(["great"])[0].tolist()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's 'fine'.", ["it", "'s", "'", "fine", "'", "."]),
        ("don't didn\u2019t won't", ["do", "n't", "did", "n't", "wo", "n't"]),
        ("they'll I'd we've I'm they're", ["they", "'ll", "i", "'d", "we", "'ve", "i", "'m", "they", "'re"]),
        ("great<br /><br />film<BR>end<br/>.", ["great", "film", "end", "."]),
        ("well...?!", ["well", ".", ".", ".", "?", "!"]),
        ("10/10 _so_ good", ["10", "/", "10", "_", "so", "_", "good"]),
        ("'sad O'Sullivan n'tx", ["'", "sad", "o", "'", "sullivan", "n", "'", "tx"]),
        ("a < b<brother", ["a", "<", "b", "<", "brother"]),
    ],
)
def test_words_marks_and_contractions_are_split(text: str, words: list[str]):
    tokenizer = train_tokenizer([text], "word", 100, 1, True)
    assert tokenizer.tokens(tokenizer.encode([text])[0]) == words


def test_word_vocabulary_is_the_most_frequent_words_ties_by_spelling():
    tokenizer = train_tokenizer(["b a c c d e", "c f"], "word", 5, 1, True)
    assert tokenizer.tokens(range(tokenizer.vocabulary_size)) == ["[PAD]", "[UNK]", "c", "a", "b"]


@pytest.mark.parametrize("kind", KINDS)
def test_vocabulary_keeps_its_size(kind: str):
    assert train(kind, vocabulary_size=270).vocabulary_size <= 270
    assert train_tokenizer(TEXTS, "word", 16, 1, True).vocabulary_size == 16


def test_rare_words_are_unknown():
    tokenizer = train_tokenizer(["twice twice once"], "word", 100, 2, True)
    assert tokenizer.encode(["once twice"])[0].tolist() == [UNK_ID, 2]


@pytest.mark.parametrize(("kind", "told"), [("word", "no word occurs 9 times"), ("bpe", "no pair occurs 9 times")])
def test_an_empty_vocabulary_is_refused(kind: str, told: str):
    with pytest.raises(DataError, match=told):
        train_tokenizer(["twice twice once"], kind, 300, 9, True)


def test_bytes_leave_nothing_unknown():
    assert UNK_ID not in train("bpe").encode(["\u4e2d\u6587 \U0001f525 zzz"])[0]


def test_an_empty_vocabulary_is_an_error():
    with pytest.raises(DataError, match=r"occurs 5 times .* lower data.tokenizer.min_frequency"):
        train_tokenizer(["each word once"], "word", 100, 5, True)


def test_other_json_is_an_error():
    with pytest.raises(DataError, match="no stored tokenizer"):
        load_tokenizer('{"not": "a tokenizer"}')


@pytest.mark.parametrize("kind", KINDS)
def test_training_gives_the_same_vocabulary_in_every_process(kind: str):
    """Every word is tied with hundreds of others, and hash tables are seeded anew in each process."""
    code = (
        "import hashlib; from sentiment.data.tokenizer import train_tokenizer\n"
        "texts = [f'w{n % 700} v{n % 300}' for n in range(2100)]\n"
        f"print(hashlib.sha256(train_tokenizer(texts, {kind!r}, 400, 2, True).to_json().encode()).hexdigest())"
    )
    environments = [
        {"PYTHONHASHSEED": "1", "RAYON_NUM_THREADS": "1"},
        {"PYTHONHASHSEED": "2", "RAYON_NUM_THREADS": "4"},
    ]
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": str(PROJECT_DIR), **environment},
            capture_output=True, text=True, check=True, timeout=60,
        ).stdout
        for environment in environments
    }  # fmt: skip
    texts = [f"w{n % 700} v{n % 300}" for n in range(2100)]
    ours = hashlib.sha256(train_tokenizer(texts, kind, 400, 2, True).to_json().encode()).hexdigest()
    assert digests == {f"{ours}\n"}
