"""Nested settings as one flat table of dotted keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flatten(tree: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Return every leaf of nested mappings under its dotted key, in order; an empty mapping has none.

    ``{"model": {"heads": 4}, "seed": 0}`` becomes ``{"model.heads": 4, "seed": 0}``.
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
