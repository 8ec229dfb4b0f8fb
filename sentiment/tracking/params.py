"""A run's settings as flat text, the form of MLflow's params, and back."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from sentiment.config.home import read_portable, write_portable
from sentiment.config.identity import read_recorded
from sentiment.config.objective import translate_retired
from sentiment.config.option import choice_of, group_members
from sentiment.config.schema import Settings
from sentiment.errors import TrackingError
from sentiment.flat import flatten_model

NULL_TEXT = '"null"'
"""How the text null is recorded, which by itself stands for nothing."""


def flatten_settings(settings: Settings) -> dict[str, str]:
    """Return every resolved setting as ``model.heads: "4"``, in the order of the schema.

    Values look as one would type them on the command line: ``true``, ``null``, ``0.0003``, ``["neg","pos"]``; the
    project's folder as in the YAML files: ``${project_dir:}``.
    """
    return {name: write_portable(_write_value(value)) for name, value in flatten_model(settings).items()}


def read_settings(params: Mapping[str, str]) -> Settings:
    """Read settings back from their flat text: the inverse of `flatten_settings`.

    The text alone does not tell a string from a number (a file named ``12`` from the number 12), so the schema says
    what each value is. The result is checked: flattened again it gives the same text.

    Args:
        params: Every resolved setting, as `flatten_settings` wrote them in this version or an earlier one.

    Raises:
        TrackingError: A setting is missing, unknown or of another form: another version wrote it.
    """
    params = read_recorded(translate_retired(params))
    try:
        here = {key: read_portable(value) for key, value in params.items()}
        settings = Settings.model_validate(_read_group(Settings, here, ""))
    except ValidationError as error:
        faults = [f"{_key(fault['loc'], params)}: {fault['msg']}" for fault in error.errors()]
        raise _unreadable("; ".join(faults)) from error
    again = flatten_settings(settings)
    changed = sorted(name for name in {*params, *again} if params.get(name) != again.get(name))
    if changed:
        raise _unreadable(f"{', '.join(changed)} would not come back as recorded")
    return settings


def _key(location: tuple[int | str, ...], params: Mapping[str, str]) -> str:
    """Write a fault's location as a dotted key; pydantic puts a group's option between the group and its key."""
    option = params.get(f"{location[0]}.name") if location else None
    return ".".join(str(part) for index, part in enumerate(location) if not (index == 1 and part == option))


def _unreadable(reason: str) -> TrackingError:
    return TrackingError(
        f"The recorded settings of the run do not fit this version: {reason}",
        "check out the commit that wrote them (tag git.commit in result.json), or run it again",
    )


def _read_group(group: type[BaseModel], params: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """Read the settings under a prefix; what is missing or unknown is left to the schema's own check."""
    values: dict[str, Any] = {}
    for name in _names(params, prefix):
        key = f"{prefix}{name}"
        field = group.model_fields.get(name)
        inner = None if field is None else _choose_group(field.annotation, params, f"{key}.")
        if inner is not None and params.get(key) == "null":  # a group that is left out
            values[name] = None
        elif inner is not None:
            values[name] = _read_group(inner, params, f"{key}.")
        elif key in params:
            values[name] = params[key] if field is None else _read_value(field.annotation, params[key])
        else:
            values[name] = {}  # keys of a group that this version does not have
    return values


def _names(params: Mapping[str, str], prefix: str) -> list[str]:
    return list(dict.fromkeys(key[len(prefix) :].partition(".")[0] for key in params if key.startswith(prefix)))


def _choose_group(annotation: Any, params: Mapping[str, str], prefix: str) -> type[BaseModel] | None:
    """Return the schema of a group: that of the option, or of those without options the one that has its keys.

    None: the field is a value.
    """
    groups, option = group_members(annotation), params.get(f"{prefix}name")
    if not groups:
        return None
    groups = [group for group in groups if choice_of(group) == option] or groups
    names = set(_names(params, prefix))
    matching = (group for group in groups if set(group.model_fields) == names)
    return next(matching, groups[0])  # its own check then says what does not exist


def _members(annotation: Any) -> tuple[Any, ...]:
    members = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    return tuple(member.__origin__ if get_origin(member) is Annotated else member for member in members)


def _write_value(value: object) -> str:
    if value == "null":  # the text, which is not nothing
        return NULL_TEXT
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _read_value(annotation: Any, text: str) -> Any:
    members = _members(annotation)
    if text == "null" and type(None) in members:
        return None
    if text == NULL_TEXT and str in members:
        return "null"
    if text in ("true", "false") and bool in members:
        return text == "true"
    is_list = text.startswith("[") and any(get_origin(member) is list for member in members)
    choices = [choice for member in members if get_origin(member) is Literal for choice in get_args(member)]
    if not is_list and (str in members or text in choices):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text  # the schema refuses it, and says which key it is
