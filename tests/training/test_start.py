"""A run starts from a trained model's weights: all that fits is taken, what differs is refused or told."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from sentiment.data.batching import Item
from sentiment.data.corpus import EncodedSplit
from sentiment.data.fingerprint import UNTOLD, hash_reviews
from sentiment.errors import ModelFileError
from sentiment.models.transformer import TextClassificationTransformer
from sentiment.training.naive_bayes import learn_ratios
from sentiment.training.start import find_known, take_weights


def make_network(classes=2, width=4):
    return nn.Sequential(nn.Embedding(10, width), nn.Linear(width, width), nn.Linear(width, classes))


def make_start(classes=("a", "b"), width=4, make=make_network):
    return SimpleNamespace(network=make(classes=len(classes), width=width), class_names=classes)


def test_all_weights_are_taken_where_the_classes_are_the_same():
    network, start = make_network(), make_start()
    told = take_weights(network, make_network(), start, ("a", "b"), "mine")
    assert all(torch.equal(network.state_dict()[key], value) for key, value in start.network.state_dict().items())
    assert told == "Starts from mine: 70 weights and its tokenizer taken."


@pytest.mark.parametrize("classes", [("b", "a"), ("x", "y", "z")])
def test_with_other_classes_the_last_layer_starts_fresh(classes):
    network, start = make_network(len(classes)), make_start()
    fresh = network[2].weight.clone()
    told = take_weights(network, make_network(), start, classes, "mine")
    assert torch.equal(network[2].weight, fresh)
    assert torch.equal(network[1].weight, start.network[1].weight)
    assert "its classes are a, b, so that 2.bias, 2.weight start fresh" in told


class Remembering(nn.Sequential):
    """Keeps the number of classes, and a weight for each beside its last layer."""

    def __init__(self, classes, width):
        super().__init__(*make_network(classes, width))
        self.classes = classes
        self[1].outputs = classes
        self.prior = nn.Parameter(torch.zeros(classes))


def test_a_network_may_remember_the_number_of_its_classes():
    network, planned, start = Remembering(3, 4), Remembering(2, 4), make_start(make=Remembering)
    told = take_weights(network, planned, start, ("x", "y", "z"), "mine")
    assert torch.equal(network[1].weight, start.network[1].weight)
    assert "so that 2.bias, 2.weight, prior start fresh" in told
    planned[1].outputs = 5
    with pytest.raises(ModelFileError, match=r"of another form \(1 difference\): 1.outputs is 2 there and 5 here"):
        take_weights(network, planned, start, ("x", "y", "z"), "mine")


def test_another_form_is_refused_before_anything_is_taken():
    network = make_network()
    before = network[0].weight.clone()
    with pytest.raises(ModelFileError, match=r"0\.weight is 10x8 there and 10x4 here"):
        take_weights(network, make_network(), make_start(width=8), ("a", "b"), "mine")
    assert torch.equal(network[0].weight, before)


def make_transformer(**changed):
    sizes = {"vocabulary_size": 10, "classes": 2, "max_tokens": 8, "embedding_size": 8, "heads": 2}
    return TextClassificationTransformer(**{**sizes, "positions": "sinusoidal", **changed})


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"heads": 4}, r"blocks\.0\.attention\.heads is 2 there and 4 here"),
        ({"positions": "rotary"}, "positions is SinusoidalPositions there and Identity here"),
        ({"activation": "gelu"}, r"blocks\.0\.feedforward\.1 is ReLU there and GELU here"),
        ({"pooling": "max"}, "pooling is MeanPooling there and MaxPooling here"),
    ],
)
def test_what_weights_mean_is_a_part_of_the_form(changed, told):
    start = SimpleNamespace(network=make_transformer(), class_names=("a", "b"))
    with pytest.raises(ModelFileError, match=told):
        take_weights(make_transformer(**changed), make_transformer(**changed), start, ("a", "b"), "mine")


def test_heads_that_differ_as_the_classes_do_are_refused():
    start = SimpleNamespace(network=make_transformer(), class_names=("a", "b"))
    with pytest.raises(ModelFileError, match=r"heads is 2 there and 4 here"):
        take_weights(
            make_transformer(heads=4, classes=4), make_transformer(heads=4), start, ("w", "x", "y", "z"), "mine"
        )


def test_dropout_and_classes_are_no_part_of_the_form():
    start = SimpleNamespace(network=make_transformer(), class_names=("a", "b"))
    network, planned = (
        make_transformer(dropout=0.5, word_dropout=0.1, classes=classes, max_tokens=9) for classes in (3, 2)
    )
    assert "head.bias, head.weight start fresh" in take_weights(network, planned, start, ("x", "y", "z"), "mine")


@pytest.mark.parametrize("classes", [("a", "b"), ("b", "a"), ("x", "y", "z")])
def test_naive_bayes_ratios_stay_those_of_the_runs_own_reviews(classes):
    reviews = [Item(np.arange(2, 10), row % 2, row) for row in range(4)]
    network, start = (make_transformer(naive_bayes_ngrams=2, classes=size) for size in (len(classes), 2))
    learn_ratios(network, reviews, len(classes))
    learn_ratios(start, reviews[:1] * 2, 2)
    counted, words = dict(network.naive_bayes.named_buffers()), start.token_embedding.table.weight
    planned, start = make_transformer(naive_bayes_ngrams=2), SimpleNamespace(network=start, class_names=("a", "b"))
    told = take_weights(network, planned, start, classes, "mine")
    assert ("naive_bayes.map.weight start fresh" in told) == (classes != ("a", "b"))
    assert torch.equal(network.token_embedding.table.weight, words)
    assert all(torch.equal(tensor, counted[name]) for name, tensor in network.naive_bayes.named_buffers())
    network.train()(torch.full((2, 8), 3), torch.ones(2, 8, dtype=torch.bool))  # by fold, too


def test_longer_ngrams_are_another_form():
    start = SimpleNamespace(network=make_transformer(naive_bayes_ngrams=1), class_names=("a", "b"))
    for other in ({"naive_bayes_ngrams": 2}, {}):
        with pytest.raises(ModelFileError, match="of another form"):
            take_weights(make_transformer(**other), make_transformer(**other), start, ("a", "b"), "mine")


def encode_split(*reviews):
    offsets, numbers = np.cumsum([0, *map(len, reviews)]), np.arange(len(reviews))
    return EncodedSplit(np.concatenate(reviews), offsets, labels=numbers, rows=numbers)


@pytest.mark.parametrize(
    ("trained", "learned", "told"),
    [
        ((), (), []),
        ((), (0, 2, 3), ["2 of the 3 test reviews stood in its own training, validation or pretraining"]),
        ((3, 4), (3, 4), ["2 of the 2 validation reviews stood in its own training"]),
        ((3,), (0, 3), ["1 of the 2 validation reviews", "1 of the 3 test reviews"]),
    ],
)
def test_a_run_tells_of_reviews_that_its_start_has_learned(trained, learned, told):
    """A validation review that selected the start, as with the same split, is no fault."""
    reviews = [np.array(ids, dtype=np.uint16) for ids in ([2, 3], [4], [5, 6, 7], [8], [9, 10])]
    other = np.array([9, 9])
    test, validation = encode_split(*reviews[:3]), encode_split(*reviews[3:])
    corpus = SimpleNamespace(train=encode_split(other), validation=validation, test=test)
    start = SimpleNamespace(
        trained=hash_reviews([other, *(reviews[row] for row in trained)]),
        learned=hash_reviews([other, *(reviews[row] for row in learned)]),
    )
    found = find_known(start, corpus, is_tested=True)
    assert len(found) == len(told)
    assert all(one.warning.startswith(begin) for one, begin in zip(found, told, strict=True))
    assert all(begin.startswith(one.count.replace("of", "of the")) for one, begin in zip(found, told, strict=True))
    untested = find_known(start, corpus, is_tested=False)
    assert len(untested) == sum("validation reviews" in one for one in told)
    known = SimpleNamespace(train=encode_split(*reviews), validation=validation, test=test)
    assert find_known(start, known, is_tested=True) == [], "the run has them among its own training reviews"
    unknown = find_known(SimpleNamespace(trained=UNTOLD, learned=UNTOLD), corpus, is_tested=True)
    assert [(one.split, one.count, "does not tell" in one.warning) for one in unknown] == [
        ("validation", "unknown", True), ("test", "unknown", True),
    ]  # fmt: skip
