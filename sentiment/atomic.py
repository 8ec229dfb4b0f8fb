"""Write files so that a reader sees the old content or the new one, never half of either.

A file is written beside its place under another name, and renamed when it is whole: POSIX and Windows rename atomically
within a folder. What cannot be written raises OSError, for the caller to say what helps.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

import pydantic

Kind = TypeVar("Kind")


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Give a path to write to; when the block ends well, what was written there becomes `file`.

    The folder is made where it is missing. After an exception `file` is as it was, and nothing else is left behind.

    Raises:
        OSError: The folder or the file cannot be written.
    """
    if file.is_dir():  # else it would be told after all was written
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        yield unfinished
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def write_text(file: Path, text: str) -> None:
    """Write a text as UTF-8, its line ends as they are.

    Raises:
        OSError: It cannot be written.
    """
    write_bytes(file, text.encode())


def write_bytes(file: Path, content: bytes) -> None:
    """Write bytes.

    Raises:
        OSError: They cannot be written.
    """
    with replacing(file) as unfinished:
        unfinished.write_bytes(content)


def read_json(file: Path) -> dict[str, Any]:
    """Read an object of JSON, whoever wrote it.

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


def build(kind: type[Kind], content: Mapping[str, Any]) -> Kind:
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
