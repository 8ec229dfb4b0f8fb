"""What learned words depend on, and what they do not: the latter is shared."""

from __future__ import annotations

import numpy as np
import pytest

from sentiment.data import corpus as module
from sentiment.data.build import build_corpus, build_source, build_unlabelled
from sentiment.data.corpus import digest
from sentiment.errors import DataError
from sentiment.pretraining.plan import count_words, fingerprint_words, gather_pieces, plan_pretraining


@pytest.mark.parametrize(
    ("model", "changed"),
    [
        ("rnn", "model.pooling=mean_max"), ("rnn", "model.dropout=0.4"), ("rnn", "model.word_dropout=0.2"),
        ("rnn", "model.depth=2"), ("rnn", "model.convolution_width=3"),
        ("rnn", "model.naive_bayes_ngrams=2"), ("transformer", "model.naive_bayes_ngrams=2"),
        ("rnn", "optimizer.lr=0.1"), ("rnn", "optimizer=sgd"), ("rnn", "trainer.max_epochs=9"), ("rnn", "seed=5"),
        ("rnn", "data.batch_size=7"), ("rnn", "data.max_tokens=32"), ("rnn", "data.keep=tail"),
        ("rnn", "trainer.accelerator=auto"), ("rnn", "trainer.weight_averaging=0.9"), ("rnn", "objective=val/f1"),
        ("rnn", "pretrain.cache_dir=elsewhere"), ("rnn", "data.cache_dir=elsewhere"),
        ("transformer", "model.pooling=max"), ("transformer", "data.max_tokens=32"),
    ],
)  # fmt: skip
def test_words_are_shared_by_runs_that_differ_in_what_comes_afterwards(compose_settings, model: str, changed: str):
    one, other = (plan_pretraining(compose_settings(model, *extra)) for extra in ((), (changed,)))
    assert fingerprint_words(one, "texts", "words") == fingerprint_words(other, "texts", "words")


@pytest.mark.parametrize(
    ("model", "changed"),
    [
        ("rnn", "model.embedding_size=8"), ("rnn", "model.hidden_size=8"), ("rnn", "model.cell=gru"),
        ("rnn", "model.bidirectional=false"), ("rnn", "pretrain.seed=1"), ("rnn", "pretrain.lr=0.1"),
        ("rnn", "pretrain.max_epochs=1"), ("rnn", "pretrain.cutoffs=[10]"),
        ("transformer", "model.heads=2"), ("transformer", "model.depth=2"), ("transformer", "model.norm=post"),
        ("transformer", "model.positions=rotary"),
        ("transformer", "model.convolution_width=3"), ("transformer", "pretrain.mask_fraction=0.3"),
    ],
)  # fmt: skip
def test_words_of_another_network_or_training_are_others(compose_settings, model: str, changed: str):
    one, other = (plan_pretraining(compose_settings(model, *extra)) for extra in ((), (changed,)))
    assert fingerprint_words(one, "texts", "words") != fingerprint_words(other, "texts", "words")
    first = fingerprint_words(one, "texts", "words")
    assert first not in {fingerprint_words(one, "other texts", "words"), fingerprint_words(one, "texts", "other words")}


def test_learned_positions_are_as_many_as_the_classifier_has(compose_settings):
    plans = [
        plan_pretraining(compose_settings("transformer", "model.positions=learned", f"data.max_tokens={most}"))
        for most in (32, 64)
    ]
    assert [plan.data.max_tokens for plan in plans] == [32, 64]
    assert len({fingerprint_words(plan, "texts", "words") for plan in plans}) == 2


def test_pieces_are_no_longer_than_there_are_positions_and_the_plan_says_so(compose_settings, small_corpus):
    """What is cut to the same pieces is learned once, and recorded as it is done."""
    own = ("transformer", "model.positions=learned", "data.max_tokens=5")
    plans = [plan_pretraining(compose_settings(*own, f"pretrain.max_tokens={most}")) for most in (3, 5, 6, 32)]
    assert [plan.pretrain.max_tokens for plan in plans] == [3, 5, 5, 5]
    assert [plan.data.max_tokens for plan in plans] == [5] * 4, "the table is that of the classifier"
    assert len({fingerprint_words(plan, "texts", "words") for plan in plans}) == 2
    assert [gather_pieces(small_corpus, None, plan).train.lengths.max() for plan in plans] == [3, 5, 5, 5]


def test_every_word_of_every_review_but_those_of_the_test_stands_in_one_piece(compose_settings, small_corpus):
    settings = compose_settings("rnn", "pretrain.max_tokens=7")
    unlabelled = build_unlabelled(settings.data, small_corpus.tokenizer)
    pieces = gather_pieces(small_corpus, unlabelled, plan_pretraining(settings))
    parts = [small_corpus.train, small_corpus.validation, unlabelled]
    assert pieces.train.lengths.max() == 7
    size = small_corpus.tokenizer.vocabulary_size
    learned, held_out = (np.array(count_words(part, size)) for part in (pieces.train, pieces.validation))
    np.testing.assert_array_equal(learned + held_out, sum(np.array(count_words(part, size)) for part in parts))
    assert abs(held_out.sum() / learned.sum() - 0.1) < 0.05
    joined = " ".join(map(str, pieces.train.ids))
    whole = [split[row] for split in parts for row in range(len(split))]
    assert sum(" ".join(map(str, ids)) in joined for ids in whole) == len(whole) - round(0.1 * len(whole))


def test_unlabelled_reviews_are_read_once_and_those_of_the_test_left_out(compose_settings, small_corpus, monkeypatch):
    settings = compose_settings("rnn", "data.unlabelled_size=61")
    source = type(build_source(settings.data))
    texts = [*source.load(build_source(settings.data)).test.texts[:3], "a film", "a plot"]
    monkeypatch.setattr(source, "load_unlabelled", lambda self: texts)
    unlabelled = build_unlabelled(settings.data, small_corpus.tokenizer)
    assert [small_corpus.tokenizer.decode(unlabelled[row]) for row in range(len(unlabelled))] == ["a film", "a plot"]
    monkeypatch.setattr(source, "load_unlabelled", None)
    again = build_unlabelled(settings.data, small_corpus.tokenizer)
    np.testing.assert_array_equal(again.ids, unlabelled.ids)


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ("a film\na plot", "the texts are no list, but str"),
        (None, "the texts are no list, but NoneType"),
        (["a film", None], "of review 1 the text is missing"),
        (["a film", 7.5], "of review 1 the text is no string but 7.5"),
        (["a \ud800"], "of review 0 the text is not valid UTF-8"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(compose_settings, small_corpus, monkeypatch, texts, told):
    """Of one text, each letter was a review."""
    settings = compose_settings("rnn", "data.unlabelled_size=62")
    monkeypatch.setattr(type(build_source(settings.data)), "load_unlabelled", lambda self: texts)
    with pytest.raises(DataError, match=rf"{told}\.\n  -> correct load_unlabelled\(\) of the source"):
        build_unlabelled(settings.data, small_corpus.tokenizer)


def test_what_an_earlier_version_took_for_reviews_is_not_found_in_the_cache(
    compose_settings, small_corpus, monkeypatch
):
    settings = compose_settings("rnn", "data.unlabelled_size=66")
    monkeypatch.setattr(type(build_source(settings.data)), "load_unlabelled", lambda self: "a film")
    with monkeypatch.context() as earlier:
        keys = ("unlabelled", "labelled", "tokenizer", "format_version", "made_by")
        earlier.setattr(module, "digest", lambda settings: digest({key: settings[key] for key in keys}))
        earlier.setattr(module, "find_fault_among", lambda texts: None)
        assert len(build_unlabelled(settings.data, small_corpus.tokenizer)) == len("a film")
    with pytest.raises(DataError, match="the texts are no list, but str"):
        build_unlabelled(settings.data, small_corpus.tokenizer)


def test_without_unlabelled_reviews_the_labelled_ones_are_all_there_is(compose_settings):
    settings = compose_settings("rnn", "data.unlabelled_size=null")
    corpus = build_corpus(settings.data)
    assert build_unlabelled(settings.data, corpus.tokenizer) is None
    pieces = gather_pieces(corpus, None, plan_pretraining(settings))
    assert len(pieces.train) + len(pieces.validation) == len(corpus.train) + len(corpus.validation)
