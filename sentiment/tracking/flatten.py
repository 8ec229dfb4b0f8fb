"""Nested settings as one flat table of text, the form of MLflow's params and TensorBoard's hparams."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sentiment.config.schema import Settings


def flatten(settings: Settings) -> dict[str, str]:
    """Write every resolved setting as ``model.heads: "4"``, in the order of the schema.

    Values look as one would type them on the command line: ``true``, ``null``, ``0.0003``, ``["neg","pos"]``.
    """
    return {name: _text(value) for name, value in _leaves(settings.model_dump(mode="json"))}


def flatten_typed(settings: Settings) -> dict[str, str | int | float]:
    """Write every resolved setting flat, numbers as numbers (a bool is an int); the rest as in `flatten`."""
    leaves = _leaves(settings.model_dump(mode="json"))
    return {name: value if isinstance(value, (int, float)) else _text(value) for name, value in leaves}


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
