"""JSON files, whoever wrote them, and what JSON values are known by."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

import pydantic

from sentiment.atomic import write_text

Kind = TypeVar("Kind")


def read_json(file: Path) -> dict[str, Any]:
    """Read an object of JSON.

    Raises:
        OSError: The file cannot be read.
        ValueError: It holds something else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError(f"it holds no object, but {type(content).__name__}")
    return content


def read_dataclass(kind: type[Kind], file: Path) -> Kind:
    """Read an object of JSON as a dataclass; it raises what `read_json` and `parse_dataclass` raise."""
    return parse_dataclass(kind, read_json(file))


def parse_dataclass(kind: type[Kind], content: Mapping[str, Any]) -> Kind:
    """Make a dataclass of what JSON says, whose values have the types of the fields.

    Raises:
        TypeError: A field is missing, or there is one that the dataclass has not.
        ValueError: A value is of another type.
    """
    made = kind(**content)
    try:
        _check_types(cast(Any, kind)).model_validate(vars(made))
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    return made


@functools.cache
def _check_types(kind: Any) -> type[pydantic.BaseModel]:
    fields: Any = {name: (hint, ...) for name, hint in get_type_hints(kind).items()}
    return pydantic.create_model(kind.__name__, __config__=pydantic.ConfigDict(strict=True), **fields)


def write_json(file: Path, content: Any) -> None:
    """Write JSON for people and programs; numbers that are no numbers as Python's json does: ``NaN``, ``Infinity``.

    Raises:
        OSError: It cannot be written.
    """
    write_text(file, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def digest_json(content: Any) -> str:
    """Return the SHA-256 of JSON values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
