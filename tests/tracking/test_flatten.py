from __future__ import annotations

from sentiment.tracking.flatten import flatten, flatten_typed


def test_every_leaf_has_a_line(project):
    flat = flatten(project.settings("model=rnn", "optimizer.lr=3e-4", "trainer.patience=null", "seed=0"))
    assert (flat["model.name"], flat["model.bidirectional"], flat["optimizer.lr"]) == ("rnn", "true", "0.0003")
    assert (flat["trainer.patience"], flat["seed"]) == ("null", "0")
    assert count_leaves(project.settings("model=rnn").model_dump()) == len(flat)


def test_numbers_stay_numbers_where_they_are_plotted(project):
    typed = flatten_typed(project.settings("optimizer.lr=3e-4", "trainer.patience=null"))
    assert typed["optimizer.lr"] == 3e-4
    assert typed["data.tokenizer.lowercase"] is True
    assert typed["trainer.patience"] == "null"


def count_leaves(tree):
    return sum(count_leaves(value) if isinstance(value, dict) else 1 for value in tree.values())
