"""Keep passwords of addresses out of configurations: they stand in the environment, or in a file that it names.

`hide_passwords` takes them out of a command's arguments before anything reads those, and `read_password` gives them to
the code that connects. So nothing that is written from the configuration holds one: Hydra's files, params, reports,
stored studies. Child processes inherit the environment. Texts from outside, as an exception of a driver, are masked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from sentiment.errors import ConfigError, Fault
from sentiment.format import QUERY_PASSWORD, USER_PASSWORD

TRACKING_PASSWORD = "SENTIMENT_TRACKING_PASSWORD"
STORAGE_PASSWORD = "SENTIMENT_STORAGE_PASSWORD"
"""Environment variables with the passwords of the two servers; with ``_FILE`` behind it, one names a file instead."""

TRACKING_URI = "MLFLOW_TRACKING_URI"
"""Environment variable with the MLflow store, as in MLflow's own commands."""

ADDRESSES = {"tracking": TRACKING_PASSWORD, "hydra.sweeper": STORAGE_PASSWORD}
"""Groups with a key that takes an address."""

SQLITE = "sqlite:///"

LOST_PASSWORD = re.compile(r"(?P<before>[\w.+-]+):(?P<password>[^\s@'\"]+)@")
"""A password in what was to be a URL."""


def hide_passwords(arguments: Sequence[str]) -> list[str]:
    """Move the passwords of a command's arguments into the environment, and return the arguments without them.

    ``tracking.uri=http://me:password@host`` becomes ``tracking.uri=http://me@host``; likewise ``MLFLOW_TRACKING_URI``.

    Raises:
        ConfigError: A password stands where no key takes one, in a text that is no URL, or beside another one.
    """
    read_tracking_uri()
    return [_hide(argument, _read_key(argument), _choose_variable(argument)) for argument in arguments]


def hide_tracking_password(uri: str, name: str = "--tracking-uri") -> str:
    """Move the password of a tracking URI into the environment, and return the URI without it.

    Raises:
        ConfigError: It is no URL, or holds several; `name` is how the error calls it.
    """
    return _hide(uri, name, TRACKING_PASSWORD)


def read_tracking_uri() -> str | None:
    """Return the MLflow store that the environment names, and leave it there, without its password; None: it does not.

    Raises:
        ConfigError: It is no URL, or holds several passwords.
    """
    named = os.environ.get(TRACKING_URI)
    if named:
        os.environ[TRACKING_URI] = hide_tracking_password(named, TRACKING_URI)
    return os.environ.get(TRACKING_URI) or None


def _read_key(argument: str) -> str:
    return argument.partition("=")[0] if "=" in argument.partition("://")[0] else "an argument"


def _choose_variable(argument: str) -> str | None:
    key = argument.partition("=")[0].lstrip("+")
    return next((ADDRESSES[group] for group in ADDRESSES if key == group or key.startswith(f"{group}.")), None)


def _hide(text: str, key: str, variable: str | None) -> str:
    found = [*USER_PASSWORD.finditer(text), *QUERY_PASSWORD.finditer(text)]
    if not found:
        if variable is not None and "://" not in text and LOST_PASSWORD.search(text):
            raise ConfigError([Fault(key, "is not a URL that can be read", "write kind://user@host/name")])
        return text
    password = found[0]["password"]
    if variable is None or len(found) > 1 or "://" in password:
        known = " or ".join(ADDRESSES.values())
        problem = "holds a password where none is taken" if variable is None else "holds several passwords"
        raise ConfigError([Fault(key, problem, f"leave it out; passwords of servers come from {known}")])
    if "\0" in unquote(password):
        raise ConfigError([Fault(key, "holds a null character, which no password has", "check the %00 in it")])
    os.environ[variable] = unquote(password)
    if "postgresql" in text:
        os.environ.setdefault("PGPASSWORD", unquote(password))  # for the stock sweeper, which knows no other variable
    if found[0].re is USER_PASSWORD:
        return text[: found[0].start()] + found[0]["before"] + "@" + text[found[0].end() :]
    rest = text[found[0].end() :]
    separator = found[0]["before"][0]
    return text[: found[0].start()] + (separator + rest[1:] if rest[:1] == "&" else rest)


def take_tracking_uri(uri: str) -> str:
    """Take a tracking URI that a person typed: see `hide_tracking_password`; the server is named by it.

    A relative SQLite file is looked for where the command was started, as `tracking.uri` is.

    Raises:
        ConfigError: It is no URL, or holds several passwords.
    """
    hidden = anchor_store(hide_tracking_password(uri), Path.cwd())
    name_server(hidden)
    return hidden


_named: set[str] = set()
"""Servers that this process was told of by a person: on the command line, in the environment or the configuration."""


def name_server(uri: str) -> None:
    """Note that a person named a server: the password is for it."""
    _named.add(_locate(uri))


def is_named(uri: str) -> bool:
    """Return whether a person named the server; a stored record may name any, which must not get the password."""
    return _locate(uri) in _named


def _locate(uri: str) -> str:
    parts = urlsplit(uri)
    return f"{parts.scheme.partition('+')[0]}://{parts.netloc.rpartition('@')[2]}"


def anchor_store(uri: str, working_dir: Path) -> str:
    """Return a tracking URI that names the same SQLite file wherever it is read."""
    file = uri.removeprefix(SQLITE)
    is_relative = file not in ("", uri) and not file.startswith(("/", ":memory:"))
    return f"{SQLITE}{os.path.normpath(working_dir / file)}" if is_relative else uri


def is_same_store(uri: str, other: str) -> bool:
    """Return whether two addresses are of one store: a server may be called with a user's name or without."""
    paths = {urlsplit(one).path.rstrip("/") for one in (uri, other)}
    is_server = bool(urlsplit(uri).hostname)
    return uri == other or (is_server and _locate(uri) == _locate(other) and len(paths) == 1)


def read_password(variable: str) -> str | None:
    """Return a password from the environment, or from the first line of the file that ``VARIABLE_FILE`` names.

    Raises:
        ConfigError: There is no such file.
    """
    file = os.environ.get(f"{variable}_FILE")
    if not os.environ.get(variable) and file:
        try:
            os.environ[variable] = Path(file).read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
        except (OSError, ValueError) as error:  # another encoding, or a null character
            remedy = "name a text file whose first line is the password"
            raise ConfigError([Fault(f"{variable}_FILE", f"{file} cannot be read: {error}", remedy)]) from error
    return os.environ.get(variable) or None


def find_passwords(values: Mapping[Any, Any], prefix: str = "") -> list[Fault]:
    """Return a fault for every key of a configuration that holds a password: all that is recorded would hold it too."""
    return [
        Fault(
            key,
            "holds a password, which every record of the run would keep",
            "leave it out, and give it in the environment: "
            f"export {_choose_variable(key) or STORAGE_PASSWORD}=..., or the name of its file: ..._FILE=FILE",
        )
        for key, text in _list_texts(values, prefix)
        if USER_PASSWORD.search(text) or QUERY_PASSWORD.search(text)
    ]


def _list_texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, content in value.items():
            yield from _list_texts(content, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for content in value:
            yield from _list_texts(content, key)
