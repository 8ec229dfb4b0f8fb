"""Nested settings, flat."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sentiment.flat import flatten

KEYS = st.sampled_from(["a", "b", "c"])
TREES = st.recursive(st.integers(), lambda leaves: st.dictionaries(KEYS, leaves, min_size=1, max_size=3), max_leaves=8)


def test_every_leaf_has_a_dotted_key_in_order():
    tree = {"model": {"heads": 4, "size": {"embedding": 8}}, "empty": {}, "labels": [{"a": 1}], "seed": 0}
    assert list(flatten(tree).items()) == [
        ("model.heads", 4), ("model.size.embedding", 8), ("labels", [{"a": 1}]), ("seed", 0),
    ]  # fmt: skip


@given(st.dictionaries(KEYS, TREES))
def test_no_leaf_is_lost(tree):
    for key, value in flatten(tree).items():
        node = tree
        for name in key.split("."):
            node = node[name]
        assert node == value
    assert len(flatten(tree)) == count_leaves(tree)


def count_leaves(tree):
    return sum(map(count_leaves, tree.values())) if isinstance(tree, dict) else 1
