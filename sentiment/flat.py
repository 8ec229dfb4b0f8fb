"""Nested settings as one flat table of dotted keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel


def flatten(tree: Mapping[Any, Any], prefix: str = "", whole: Collection[str] = ()) -> dict[str, Any]:
    """Return every leaf of nested mappings under its dotted key, in order; an empty mapping has none.

    ``{"model": {"heads": 4}, "seed": 0}`` becomes ``{"model.heads": 4, "seed": 0}``.

    Args:
        tree: The mappings.
        prefix: What stands before the keys.
        whole: Dotted keys whose mapping is one value.
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.", whole) if isinstance(value, Mapping) and name not in whole else {name: value}
    return flat


def flatten_model(settings: BaseModel, prefix: str = "") -> dict[str, Any]:
    """Return every setting under its dotted key, in JSON's types.

    A mapping such as ``data.label_map`` is one value: a dot in one of its keys separates nothing.
    """
    from pydantic import BaseModel  # here: Hydra imports what imports this module in every command

    flat: dict[str, Any] = {}
    for name, content in settings.model_dump(mode="json").items():
        value = getattr(settings, name)
        key = f"{prefix}{name}"
        flat |= flatten_model(value, f"{key}.") if isinstance(value, BaseModel) else {key: content}
    return flat


def is_within(key: str, names: Collection[str]) -> bool:
    """Return whether a dotted key is one of the names, or belongs to a group among them."""
    return any(f"{key}.".startswith(f"{name}.") for name in names)


def write_dotted(key: str) -> str:
    """Return a key with dots in place of the brackets that Hydra takes as well: ``sizes[0]`` is ``sizes.0``."""
    return key.replace("[", ".").replace("]", "")


def are_related(one: str, other: str) -> bool:
    """Return whether two keys are the same, or one is within the other."""
    one, other = write_dotted(one), write_dotted(other)
    return is_within(one, [other]) or is_within(other, [one])
