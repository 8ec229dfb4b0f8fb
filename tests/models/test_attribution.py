"""Shares of words add up to what they explain, and belong to the words as written."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from sentiment.data.batching import Cut
from sentiment.data.tokenizer import UNK_ID, train_tokenizer
from sentiment.errors import SentimentError
from sentiment.models.attribution import Attribution, attend, attribute, find_hindrance
from sentiment.models.build import build_model
from sentiment.models.bundle import Predictor
from sentiment.models.ngram import NgramClassifier
from tests.models.own import Plain, Turned, registered

TEXT = "Not a DULL film,<br />but a fine one \U0001f600"


def make_predictor(
    make_settings, tokenizer, name, classes=2, max_tokens=16, keep="head_tail", head_fraction=0.5, **changes
) -> Predictor:
    network = build_model(
        make_settings(name, **changes),
        vocabulary_size=tokenizer.vocabulary_size,
        classes=classes,
        max_tokens=max_tokens,
    )
    names = [f"class {index}" for index in range(classes)]
    return Predictor(network, tokenizer, names, Cut(max_tokens, keep, head_fraction))


def make_ngrams(tokenizer, classes=2, max_n=2) -> Predictor:
    """A linear classifier that knows all single words, and a few pairs, with random weights."""
    size = tokenizer.vocabulary_size
    network = NgramClassifier(vocabulary_size=size, classes=classes, max_n=max_n, keep_unknown=False)
    known = [torch.arange(2, size), torch.arange(2 * size + 2, 9 * size, 1)][:max_n]
    outputs = 1 if classes == 2 else classes
    network.set_weights(known, torch.randn(outputs, sum(map(len, known))), torch.randn(outputs))
    names = [f"class {index}" for index in range(classes)]
    return Predictor(network, tokenizer, names, Cut(None, "head", 0.5))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("transformer", {}),
        ("transformer", {"norm": "pre", "positions": "sinusoidal", "pooling": "mean_max"}),
        ("transformer", {"naive_bayes_ngrams": 3, "convolution_width": 3}),
        ("rnn", {"pooling": "mean_max_attention"}),
        ("rnn", {}),
        ("rnn", {"naive_bayes_ngrams": 2}),
        ("rnn", {"cell": "gru", "pooling": "last", "bidirectional": False}),
    ],
)
def test_shares_add_up_to_the_change_of_the_margin(make_settings, tokenizer, name, changes, classes):
    predictor = make_predictor(make_settings, tokenizer, name, classes, **changes)
    predictions = predictor.predict([TEXT])
    (shares,) = attribute(predictor, [TEXT])
    assert shares.label == predictions.labels[0]
    assert shares.probability == pytest.approx(predictions.probabilities.max(), abs=1e-6)
    assert abs(shares.delta) < 0.02
    assert shares.is_complete
    assert sum(shares.scores) == pytest.approx(shares.margin - shares.baseline + shares.delta)
    assert any(abs(score) > 1e-4 for score in shares.scores)


def test_the_margin_is_the_log_odds_of_two_classes(make_settings, tokenizer):
    (shares,) = attribute(make_predictor(make_settings, tokenizer, "rnn"), [TEXT])
    assert shares.margin == pytest.approx(np.log(shares.probability / (1 - shares.probability)), abs=1e-4)


@pytest.mark.parametrize(("network", "told"), [(Plain, "no methods embed"), (Turned, "forward is not classify")])
def test_a_network_whose_answer_is_not_made_of_its_parts_is_refused(make_settings, tokenizer, network, told):
    """The words of one that inherits the parts were coloured for what the parts say: here the other way round."""
    with registered(network):
        predictor = make_predictor(make_settings, tokenizer, "rnn")
    assert told in find_hindrance(predictor, ["a fine film", TEXT])
    with pytest.raises(SentimentError, match=rf"{network.__name__} cannot be explained: .*{told}(.|\n)*-> "):
        attribute(predictor, [TEXT])


@pytest.mark.parametrize("classes", [2, 3])
def test_a_linear_classifier_is_explained_exactly(tokenizer, classes):
    predictor = make_ngrams(tokenizer, classes)
    for target in range(classes):
        (shares,) = attribute(predictor, [TEXT], target=target)
        assert abs(shares.delta) < 1e-5
        assert shares.label == f"class {target}"


@pytest.mark.parametrize("classes", [2, 3])
def test_a_linear_network_has_the_shares_that_one_can_work_out(make_settings, tokenizer, classes):
    """Without blocks, with mean pooling: the share of a word is the difference of vectors times the head, over T."""
    predictor = make_predictor(make_settings, tokenizer, "transformer", classes, depth=1)
    network = predictor.network
    network.blocks = nn.ModuleList()
    text = "a fine dull film"
    (shares,) = attribute(predictor, [text], target=1)
    with torch.no_grad():
        table, weight = network.token_embedding.table.weight, network.head.weight
        direction = weight[1] - weight[[row for row in range(classes) if row != 1]].mean(dim=0)
        ids = torch.from_numpy(tokenizer.encode([text])[0])
        expected = (table[ids] - table[UNK_ID]) @ direction / len(ids)
    np.testing.assert_allclose(shares.scores, expected.numpy(), atol=1e-5)


def test_the_unknown_word_and_the_other_class(make_settings, tokenizer):
    predictor = make_predictor(make_settings, tokenizer, "transformer")
    one, other = (attribute(predictor, ["a fine zzz film"], target=target)[0] for target in (0, 1))
    np.testing.assert_allclose(one.scores, -np.array(other.scores), atol=1e-4)
    assert one.probability + other.probability == pytest.approx(1)
    assert one.scores[2] == pytest.approx(0, abs=1e-6)  # zzz is unknown: the baseline itself


@pytest.mark.parametrize(
    ("baseline", "margin", "delta", "told"),
    [
        (0.2, 0.4, 0.0, []),
        (-1.0, 5.0, 0.0, []),
        (2.6, 4.6, 0.0, ["without a known word the margin is +2.60, with these +4.60"]),
        (0.0, 1.0, 0.3, ["shares are inexact: off by +0.30"]),
        (-2.0, 1.0, 0.3, ["shares are inexact: off by +0.30", "without a known word the margin is -2.00, with these"]),
    ],
)
def test_shares_say_where_they_start_far_from_even_odds_and_do_not_add_up(baseline, margin, delta, told):
    shares = Attribution("good", "positive", 0.9, ("good",), ((0, 4),), (1.0,), baseline, margin, delta)
    assert [note[: len(start)] for note, start in zip(shares.notes, told, strict=True)] == told


@pytest.mark.parametrize("name", ["rnn", "ngram"])
def test_only_the_cpu_is_asked_for_double_precision(make_settings, tokenizer, monkeypatch, name):
    """An Apple GPU refuses it; here, the order of the calls is all that one can see."""
    predictor = make_ngrams(tokenizer) if name == "ngram" else make_predictor(make_settings, tokenizer, name)
    fetched = []

    def double(tensor: torch.Tensor) -> torch.Tensor:
        assert any(tensor is one for one in fetched)
        return tensor.to(torch.float64)

    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: fetched.append(tensor) or tensor)
    monkeypatch.setattr(torch.Tensor, "double", double)
    attribute(predictor, [TEXT])
    assert fetched


@pytest.mark.parametrize("name", ["transformer", "rnn"])
def test_no_draw_stands_behind_the_shares_of_a_network_that_met_no_unknown_word(make_settings, tokenizer, name):
    """The seed that built the network decided by an untrained vector which word had told most."""
    predictor = make_predictor(make_settings, tokenizer, name)
    optimizer = torch.optim.Adam(predictor.network.parameters(), lr=0.01)
    tokens = torch.tensor(np.array(tokenizer.encode(["a fine film", "a dull film"])))  # (B, T)
    for _ in range(3):
        optimizer.zero_grad()
        logits = predictor.network(tokens, torch.ones_like(tokens).bool())
        nn.functional.cross_entropy(logits, torch.tensor([1, 0])).backward()
        optimizer.step()
    assert predictor.network.token_embedding.table.weight[UNK_ID].abs().max() == 0


def test_words_are_those_of_the_text_as_written(make_settings, tokenizer):
    (shares,) = attribute(make_predictor(make_settings, tokenizer, "rnn"), [TEXT])
    assert shares.words == ("Not", "a", "DULL", "film", ",", "but", "a", "fine", "one", "\U0001f600")
    assert [TEXT[start:end] for start, end in shares.spans] == list(shares.words)


@pytest.mark.parametrize(("keep", "seen"), [("head", (0, 1, 2)), ("tail", (3, 4, 5)), ("head_tail", (0, 1, 5))])
def test_words_that_were_cut_have_no_share(make_settings, tokenizer, keep, seen):
    predictor = make_predictor(make_settings, tokenizer, "rnn", max_tokens=3, keep=keep, head_fraction=0.67)
    (shares,) = attribute(predictor, ["a fine film not a dull"])
    assert tuple(row for row, score in enumerate(shares.scores) if score is not None) == seen


def test_parts_of_a_word_count_together(make_settings):
    tokenizer = train_tokenizer(["a fine film", "a dull film"] * 3, "bpe", 300, 2, lowercase=True)
    predictor = make_predictor(make_settings, tokenizer, "rnn", max_tokens=64)
    text = "A finest \U0001f600 ﬁlm"
    (shares,) = attribute(predictor, [text])
    assert shares.words == ("A", "finest", "\U0001f600", "ﬁlm")
    assert sum(shares.scores) == pytest.approx(shares.margin - shares.baseline + shares.delta, abs=1e-4)


WRITTEN = st.text(st.sampled_from("aé e\u0301 İß\n.,'’nt<br/>\U0001f600最ﬁ"), max_size=30)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=WRITTEN)
def test_aligned_ids_are_the_ids_of_the_model(tokenizer, text):
    """What is explained is what is predicted, whatever the text; and words stand in order, inside the text."""
    aligned = tokenizer.align(text)
    assert aligned.ids.tolist() == tokenizer.encode([text])[0].tolist()
    assert (np.diff(aligned.spans[:, 0]) >= 0).all()
    assert ((aligned.spans >= 0) & (aligned.spans <= len(text))).all()


@pytest.mark.parametrize("name", ["transformer", "rnn"])
def test_an_empty_text_has_no_words(make_settings, tokenizer, name):
    (shares,) = attribute(make_predictor(make_settings, tokenizer, name), [" "])
    assert (shares.words, shares.scores, shares.delta) == ((), (), 0)


def test_attributing_leaves_the_model_alone(make_settings, tokenizer):
    predictor = make_predictor(make_settings, tokenizer, "rnn")
    before = predictor.predict([TEXT]).probabilities
    attribute(predictor, [TEXT])
    assert all(parameter.grad is None for parameter in predictor.network.parameters())
    np.testing.assert_array_equal(predictor.predict([TEXT]).probabilities, before)


def test_attention_is_that_of_every_head_over_the_tokens_kept(make_settings, tokenizer):
    predictor = make_predictor(make_settings, tokenizer, "transformer", max_tokens=4, keep="head")
    attention = attend(predictor, "A fine film, not dull")
    assert attention.tokens == ("a", "fine", "film", ",")
    assert attention.weights.shape == (2, 2, 4, 4)
    np.testing.assert_allclose(attention.weights.sum(axis=-1), 1, atol=1e-5)


def test_what_cannot_be_explained_is_said(make_settings, tokenizer):
    predictor = make_predictor(make_settings, tokenizer, "rnn")
    with pytest.raises(SentimentError, match=r"no attention(.|\n)*model=transformer"):
        attend(predictor, "a")
    with pytest.raises(ValueError, match="0 to 1, not 2"):
        attribute(predictor, ["a"], target=2)
