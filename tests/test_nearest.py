"""A name that nobody knows leads to the one that was meant: by its last part, an abbreviation, a habit or a slip."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment.nearest import nearest

METRICS = [
    "val/accuracy", "val/f1", "val/auroc", "val/loss", "model/parameters", "time/fit_seconds", "time/latency_ms",
]  # fmt: skip
KEYS = [
    "model", "model.name", "model.embedding_size", "model.heads", "model.head_form", "model.depth", "model.dropout",
    "optimizer", "optimizer.lr", "optimizer.weight_decay", "trainer.max_epochs", "trainer.threads", "data.batch_size",
    "data.max_tokens", "tracking", "seed", "objective",
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("val/acc", "val/accuracy"),
        ("val_acc", "val/accuracy"),
        ("acc", "val/accuracy"),
        ("val/acuracy", "val/accuracy"),
        ("validation/accuracy", "val/accuracy"),
        ("auc", "val/auroc"),
        ("val_loss", "val/loss"),
        ("params", "model/parameters"),
        ("latency", "time/latency_ms"),
        ("colour", None),
        ("", None),
    ],
)
def test_metrics(name, meant):
    assert nearest(name, METRICS) == meant


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("lr", "optimizer.lr"),
        ("learning_rate", "optimizer.lr"),
        ("model.lr", "optimizer.lr"),
        ("hidden_dim", "model.embedding_size"),
        ("n_heads", "model.heads"),
        ("num_heads", "model.heads"),
        ("n_layers", "model.depth"),
        ("model.num_layers", "model.depth"),
        ("epochs", "trainer.max_epochs"),
        ("max_epochs", "trainer.max_epochs"),
        ("batch_size", "data.batch_size"),
        ("weight_decay", "optimizer.weight_decay"),
        ("dropout", "model.dropout"),
        ("logger", "tracking"),
        ("embed", "model.embedding_size"),
        ("model.hed", "model.heads"),
        ("model.head", "model.heads"),
        ("optimzer", "optimizer"),
        ("optimzer.lr", "optimizer.lr"),
        ("trainer.threds", "trainer.threads"),
        ("model.colour", None),
    ],
)
def test_keys(name, meant):
    assert nearest(name, KEYS) == meant


def test_a_synonym_follows_what_is_known():
    assert nearest("hidden_dim", ["model.embedding_size", "model.hidden_size"]) == "model.hidden_size"
    assert nearest("lr", ["training.learning_rate"]) == "training.learning_rate"


@given(st.sampled_from([*METRICS, *KEYS]))
def test_a_known_name_is_nearest_to_itself(name):
    assert nearest(name, [*METRICS, *KEYS]) == name


@given(st.text(), st.lists(st.text()))
def test_the_answer_is_known_whatever_is_asked(name, known):
    assert nearest(name, known) in [None, *known]
