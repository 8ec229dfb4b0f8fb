"""The n-gram classifier: its features against naive counting, its scores, their parts, and its file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from sentiment.config.schema import NgramSettings
from sentiment.data.batching import Cut
from sentiment.data.tokenizer import UNK_ID, ReviewTokenizer
from sentiment.errors import ModelFileError
from sentiment.models.build import build_model, count_parameters
from sentiment.models.bundle import SETTINGS_FILE, WEIGHTS_FILE, Predictor, save_bundle
from sentiment.models.ngram import NgramClassifier, learn_ngrams

VOCABULARY = 6  # 0 is padding, 1 the unknown word
REVIEWS = st.lists(st.lists(st.integers(1, VOCABULARY - 1), min_size=1, max_size=8), min_size=1, max_size=6)
TEXTS = ["a fine film", "", "dull " * 3000, "not a dull one", "naïve 映画 \u202e \x00", "<br /><br />"]


def flatten(reviews: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.tensor([word for review in reviews for word in review])
    return ids, torch.tensor([row for row, review in enumerate(reviews) for _ in review])


def list_ngrams(review: list[int], max_n: int, keep_unknown: bool) -> list[tuple[int, ...]]:
    grams = [tuple(review[i : i + n]) for n in range(1, max_n + 1) for i in range(len(review) - n + 1)]
    return [gram for gram in grams if keep_unknown or UNK_ID not in gram]


def pack_by_hand(gram: tuple[int, ...]) -> int:
    return sum(word * VOCABULARY**place for place, word in enumerate(reversed(gram)))


def make_classifier(reviews: list[list[int]], max_n: int = 2, classes: int = 2, **changes: int) -> NgramClassifier:
    """A classifier that knows the reviews' n-grams, with random weights."""
    keep_unknown = bool(changes.get("keep_unknown", False))
    network = NgramClassifier(vocabulary_size=VOCABULARY, classes=classes, max_n=max_n, keep_unknown=keep_unknown)
    ngrams = learn_ngrams(
        *flatten(reviews),
        max_n=max_n,
        min_frequency=changes.get("min_frequency", 1),
        vocabulary_size=VOCABULARY,
        keep_unknown=keep_unknown,
    )
    count = sum(map(len, ngrams))
    network.set_weights(ngrams, torch.randn(network.outputs, count), torch.randn(network.outputs))
    return network


@given(REVIEWS, st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_the_known_ngrams_are_those_of_enough_reviews(reviews, max_n, min_frequency, keep_unknown):
    counts = Counter(gram for review in reviews for gram in set(list_ngrams(review, max_n, keep_unknown)))
    learnt = learn_ngrams(
        *flatten(reviews),
        max_n=max_n,
        min_frequency=min_frequency,
        vocabulary_size=VOCABULARY,
        keep_unknown=keep_unknown,
    )
    for n in range(1, max_n + 1):
        expected = [pack_by_hand(gram) for gram in counts if len(gram) == n and counts[gram] >= min_frequency]
        assert learnt[n - 1].tolist() == sorted(expected)


@given(REVIEWS, REVIEWS, st.integers(1, 3), st.booleans(), st.sampled_from([2, 3]))
def test_a_score_is_the_sum_of_the_weights_of_the_distinct_known_ngrams(train, other, max_n, keep_unknown, classes):
    network = make_classifier(train, max_n, classes, keep_unknown=keep_unknown)
    column_of: dict[tuple[int, int], int] = {}
    for n, known in enumerate(network.ngrams, start=1):
        column_of.update({(n, packed): len(column_of) + i for i, packed in enumerate(known.tolist())})
    scores = []
    for review in other:
        grams = {(len(gram), pack_by_hand(gram)) for gram in list_ngrams(review, max_n, keep_unknown)}
        columns = sorted(column_of[gram] for gram in grams if gram in column_of)
        scores.append(network.weight[:, columns].sum(dim=1) + network.bias)
    lengths = torch.tensor([len(review) for review in other])
    tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(review) for review in other], batch_first=True)
    got = network.score(tokens, lengths)
    torch.testing.assert_close(got, torch.stack(scores), rtol=1e-5, atol=1e-5)
    logits = network(tokens, lengths)
    assert logits.shape == (len(other), classes)
    if classes == 2:
        torch.testing.assert_close(logits, torch.cat([-got, got], dim=1) / 2, rtol=0, atol=0)
    else:
        torch.testing.assert_close(logits.exp(), got.sigmoid())


@given(REVIEWS, st.integers(1, 3))
def test_the_parts_of_the_words_add_up_to_the_score(reviews, max_n):
    network = make_classifier(reviews, max_n)
    for review in reviews:
        ids = torch.tensor(review)
        parts = network.share_out(ids)
        assert parts.shape == (len(review), 1)
        logits = network(ids[None], torch.tensor([len(review)]))[0]
        torch.testing.assert_close(parts.sum() + network.bias[0], logits[1] - logits[0], rtol=1e-4, atol=1e-5)


def test_a_word_gets_its_own_weight_and_its_share_of_the_ngrams_it_stands_in():
    network = make_classifier([[2, 3, 2]])
    assert [known.tolist() for known in network.ngrams] == [[2, 3], [15, 20]]
    network.set_weights(network.ngrams, torch.tensor([[4.0, 1.0, 10.0, 20.0]]), torch.zeros(1))
    assert network.share_out(torch.tensor([2, 3, 2]))[:, 0].tolist() == [2 + 5, 1 + 5 + 10, 2 + 10]
    assert network.share_out(torch.tensor([5, 4]))[:, 0].tolist() == [0, 0]


def test_a_fourth_word_does_not_fit():
    with pytest.raises(ValueError, match="max_n=4 with 6 token ids does not fit"):
        NgramClassifier(vocabulary_size=6, classes=2, max_n=4, keep_unknown=False)
    with pytest.raises(ValueError, match="does not fit 64 bits"):
        NgramClassifier(vocabulary_size=2**21, classes=2, max_n=3, keep_unknown=False)


def test_the_largest_vocabulary_of_the_settings_fits_three_words():
    size = 1_000_000
    ids = torch.tensor([size - 1] * 3)
    [_, _, threes] = learn_ngrams(
        ids, torch.zeros(3, dtype=torch.int64), max_n=3, min_frequency=1, vocabulary_size=size, keep_unknown=True
    )
    assert threes.tolist() == [size**3 - 1]


@pytest.fixture
def settings() -> NgramSettings:
    return NgramSettings(
        name="ngram", max_n=2, min_frequency=1, keep_unknown=False, classifier="logistic", cost=1.0, smoothing=1.0,
        interpolation=1.0,
    )  # fmt: skip


@pytest.fixture
def network(settings: NgramSettings, tokenizer: ReviewTokenizer) -> NgramClassifier:
    """One that knows the words and pairs of a text."""
    size = tokenizer.vocabulary_size
    network = build_model(settings, vocabulary_size=size, classes=3, max_tokens=None)
    assert isinstance(network, NgramClassifier)
    [ids] = map(torch.from_numpy, tokenizer.encode(["a fine film , not a dull one"]))
    ngrams = learn_ngrams(
        ids, torch.zeros_like(ids), max_n=2, min_frequency=1, vocabulary_size=size, keep_unknown=False
    )
    network.set_weights(ngrams, torch.randn(3, sum(map(len, ngrams))), torch.randn(3))
    return network


@pytest.fixture
def bundle(network: NgramClassifier, settings: NgramSettings, tokenizer: ReviewTokenizer, tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    save_bundle(folder, network, settings, tokenizer.to_json(), ("bad", "good", "so-so"), Cut(None, "head_tail", 0.5))
    return folder


def test_a_stored_classifier_answers_as_before(bundle: Path, network: NgramClassifier, tokenizer: ReviewTokenizer):
    predictor = Predictor.load(bundle)
    assert count_parameters(predictor.network) == count_parameters(network) == 3 * (7 + 7) + 3
    predictions = predictor.predict(TEXTS)
    ids = [torch.from_numpy(ids) for ids in tokenizer.encode(TEXTS)]
    expected = [network(review[None], torch.tensor([len(review)])).softmax(dim=1)[0] for review in ids]
    np.testing.assert_allclose(predictions.probabilities, torch.stack(expected).detach(), atol=1e-6)
    alone = np.concatenate([predictor.predict([text]).probabilities for text in TEXTS])
    np.testing.assert_allclose(predictions.probabilities, alone, atol=1e-6)
    assert np.ptp(alone, axis=0).max() > 1e-3


def test_it_reads_a_long_review_to_its_end_and_in_its_middle(bundle: Path):
    predictor = Predictor.load(bundle)
    plain, middle = predictor.predict(["x " * 9000, "x " * 4000 + "fine film " + "x " * 4000]).probabilities
    assert np.abs(plain - middle).max() > 1e-3


def test_a_bundle_whose_ngrams_are_none_is_refused(
    bundle: Path, network: NgramClassifier, settings: NgramSettings, tokenizer: ReviewTokenizer
):
    network.ngrams[1].copy_(network.ngrams[1].flip(0))
    with pytest.raises(ModelFileError, match="do not belong together: the 2-grams are no ascending packed ids"):
        save_bundle(bundle, network, settings, tokenizer.to_json(), ("a", "b", "c"), Cut(None, "head_tail", 0.5))


def test_weights_of_another_size_are_refused(network: NgramClassifier):
    state = network.state_dict()
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        network.load_state_dict({**state, "weight": state["weight"][:, 1:]})
    with pytest.raises(RuntimeError, match="Missing key"):
        network.load_state_dict({name: state[name] for name in ("weight", "bias", "ngrams_1")})


def test_a_flipped_bit_is_found(bundle: Path):
    content = bytearray((bundle / WEIGHTS_FILE).read_bytes())
    content[-7] ^= 1
    (bundle / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(ModelFileError, match=f"its checksum differs from the one in {SETTINGS_FILE}"):
        Predictor.load(bundle)


def test_the_file_holds_numbers_only(bundle: Path):
    state = safetensors.torch.load((bundle / WEIGHTS_FILE).read_bytes())
    assert {name: tensor.dtype for name, tensor in state.items()} == {
        "ngrams_1": torch.int64,
        "ngrams_2": torch.int64,
        "weight": torch.float32,
        "bias": torch.float32,
    }
