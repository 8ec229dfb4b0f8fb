"""Reviews to token ids and back: whole words or byte-pair encoding, by Hugging Face `tokenizers`.

Both kinds share one normalisation (line-break tags become line ends, NFC, case folded if asked) and one rule of
what a word is, so that they differ in their vocabulary only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from sentiment.data.files.records import LONGEST_TEXT
from sentiment.errors import DataError

PAD_ID = 0
UNK_ID = 1
PAD_TOKEN = "[PAD]"
UNK_TOKEN = "[UNK]"

LINE_BREAK_TAG = r"<br\s*/?>"  # of either case
LINE_BREAK = re.compile(LINE_BREAK_TAG, re.IGNORECASE)
LETTER = r"[^\W_]"  # IMDB writes _emphasis_ with underscores, so they are marks here, not letters
CONTRACTION = r"n't|'(?:s|m|d|re|ve|ll)"
WORD_OR_MARK = "|".join(
    [
        rf"(?:{CONTRACTION})(?!{LETTER})",  # the clitics of the Penn Treebank: do n't, it 's, we 'll
        rf"{LETTER}+?(?=n't(?!{LETTER}))",  # what a n't hangs on
        rf"{LETTER}+",
        r"[^\s]",  # a punctuation mark or a symbol
    ]
)
BYTES = 256
BATCH_REVIEWS = 1000  # an Encoding keeps far more than its ids; encoding by batches bounds the memory


class AlignedText(NamedTuple):
    """Tokens and their places in the text as it was written, before normalisation."""

    ids: npt.NDArray[np.int64]  # (T,) int64 ids, as from `ReviewTokenizer.encode`
    spans: npt.NDArray[np.int64]  # (T, 2) int64, first character and the one after the last
    # (T,) int64 number of the word that each token is (a part of); -1 for the unknown token that stands for a text
    # without any word.
    words: npt.NDArray[np.int64]


class ReviewTokenizer:
    """A trained tokenizer: texts to full-length token ids.

    Padding and cutting are left to `sentiment.data.batching`; no special token is added.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        for token, expected in ((PAD_TOKEN, PAD_ID), (UNK_TOKEN, UNK_ID)):
            if tokenizer.token_to_id(token) != expected:
                raise ValueError(
                    f"{token} must have id {expected}, but has {tokenizer.token_to_id(token)}; "
                    "make tokenizers with sentiment.data.tokenizer.train_tokenizer"
                )
        # Encoded special tokens in the text would let a review contain padding: here they are ordinary text.
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer

    @property
    def vocabulary_size(self) -> int:
        """Number of ids, special tokens included: ids lie in [0, vocabulary_size)."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def encode(self, texts: Sequence[str]) -> list[npt.NDArray[np.int64]]:
        """Turn each text into its (T,) int64 ids at full length, T >= 1.

        A text without any token becomes one unknown token, so that every review has something to pool over.
        """
        encoded: list[npt.NDArray[np.int64]] = []
        for start in range(0, len(texts), BATCH_REVIEWS):
            batch = list(texts[start : start + BATCH_REVIEWS])
            for text in batch:
                _check_length(text)
            encodings = self._tokenizer.encode_batch_fast(batch, add_special_tokens=False)
            encoded += [np.array(encoding.ids or [UNK_ID], dtype=np.int64) for encoding in encodings]
        return encoded

    def align(self, text: str) -> AlignedText:
        """Turn one text into its ids, as `encode` does, and tell where in the text each stands."""
        _check_length(text)
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        if not encoding.ids:
            return AlignedText(np.array([UNK_ID]), np.zeros((1, 2), dtype=np.int64), np.array([-1]))
        words = [-1 if word is None else word for word in encoding.word_ids]
        return AlignedText(np.array(encoding.ids), np.array(encoding.offsets, dtype=np.int64), np.array(words))

    def tokens(self, ids: Sequence[int] | npt.NDArray[np.integer]) -> list[str]:
        """Name each id as the vocabulary spells it, e.g. to label the axes of an attention map.

        Raises:
            IndexError: An id lies outside the vocabulary.
        """
        outside = [int(token) for token in ids if not 0 <= token < self.vocabulary_size]
        if outside:
            raise IndexError(f"id {outside[0]} lies outside [0, {self.vocabulary_size})")
        return [str(self._tokenizer.id_to_token(int(token))) for token in ids]

    def decode(self, ids: Sequence[int] | npt.NDArray[np.integer]) -> str:
        """Write ids as readable text: spaces between words and marks, padding left out, unknown words visible."""
        shown = [int(token) for token in ids if token != PAD_ID]
        return str(self._tokenizer.decode(shown, skip_special_tokens=False)).strip()

    def to_json(self) -> str:
        """Serialise everything that `load_tokenizer` needs."""
        return str(self._tokenizer.to_str())


def _check_length(text: str) -> None:
    """Refuse a text on which the library's regular expressions would run out of their stack, and panic."""
    if len(text) > LONGEST_TEXT:
        raise DataError(f"a text has {len(text):,} characters, and at most {LONGEST_TEXT:,} are read; split it")


def load_tokenizer(json: str) -> ReviewTokenizer:
    """Read a tokenizer back from `ReviewTokenizer.to_json`.

    Raises:
        DataError: The text is no tokenizer of this project.
    """
    try:
        return ReviewTokenizer(Tokenizer.from_str(json))
    except Exception as error:  # the library raises plain Exception for a text that it cannot read
        raise DataError(f"this is no stored tokenizer ({error}); make it again from its data") from error


def train_tokenizer(
    texts: Sequence[str],
    kind: Literal["word", "bpe"],
    vocabulary_size: int,
    min_frequency: int,
    lowercase: bool,
) -> ReviewTokenizer:
    """Learn a vocabulary; the same texts and arguments give the same vocabulary in every process.

    Texts are those of training only: validation and test must stay unseen. A ``word`` vocabulary has a word or mark per
    entry; ``bpe`` is byte-pair encoding within words, over UTF-8 bytes, so that no text is unknown (Sennrich et al.
    2016, Radford et al. 2019). `vocabulary_size` includes special tokens; what is seen fewer than `min_frequency` times
    is left out.

    Raises:
        DataError: Texts without a single token to learn.
    """
    special = {PAD_TOKEN: PAD_ID, UNK_TOKEN: UNK_ID}
    tokenizer = Tokenizer(
        models.WordLevel(special, unk_token=UNK_TOKEN) if kind == "word" else models.BPE(unk_token=UNK_TOKEN)
    )
    tokenizer.normalizer = _normalizer(lowercase)
    words = pre_tokenizers.Split(Regex(WORD_OR_MARK), behavior="removed", invert=True)
    wanted: dict[str, Any] = {
        "vocab_size": vocabulary_size, "min_frequency": min_frequency, "special_tokens": [PAD_TOKEN, UNK_TOKEN],
        "show_progress": False,
    }  # fmt: skip
    trainer: trainers.Trainer
    if kind == "word":
        tokenizer.pre_tokenizer = words
        trainer = trainers.WordLevelTrainer(**wanted)
    else:
        assert vocabulary_size >= BYTES + 2, "the settings see to it"
        # The prefix space marks where a word begins; each word is its own unit, so merges never cross words.
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [words, pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)]
        )
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(**wanted, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts, trainer, length=len(texts))
    least = 2 if kind == "word" else 2 + BYTES
    if tokenizer.get_vocab_size() <= least and (kind == "word" or vocabulary_size > least):
        raise DataError(
            f"no {'word' if kind == 'word' else 'pair'} occurs {min_frequency} times or more in {len(texts)} training "
            "reviews, so the vocabulary is empty; lower data.tokenizer.min_frequency or give more reviews"
        )
    return ReviewTokenizer(tokenizer)


def _normalizer(lowercase: bool) -> normalizers.Normalizer:
    steps = [
        normalizers.Replace(Regex(f"(?i){LINE_BREAK_TAG}"), "\n"),
        normalizers.Replace("\u2019", "'"),  # the typographic apostrophe, so that its contractions are found too
        normalizers.NFC(),
    ]
    return normalizers.Sequence([*steps, normalizers.Lowercase()] if lowercase else steps)
