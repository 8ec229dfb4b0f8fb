"""What the schemas say of each key: default, values and meaning, and the rules between keys, as Markdown.

The values are read from pydantic's JSON schema, whose form is a standard; pydantic's own constraint objects are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from sentiment.config.option import group_members


@dataclass(frozen=True)
class KeyRow:
    """One key of an option."""

    # Its name within the group, e.g. ``tokenizer.kind``.
    name: str
    default: Any  # its value where nobody sets it, unresolved: ``${.embedding_size}``; ``???`` where it is required
    values: str  # the values it may take, in words
    meaning: str  # what it does


def list_keys_of(schema: type[BaseModel], defaults: Mapping[str, Any], prefix: str = "") -> Iterator[KeyRow]:
    """List every key of a settings class, the groups within it included, in the order of the class.

    Args:
        schema: The settings class.
        defaults: The composed values, unresolved.
        prefix: What stands before the keys, e.g. ``tokenizer.``.
    """
    properties: dict[str, Any] = schema.model_json_schema()["properties"]
    for name, field in schema.model_fields.items():
        members = group_members(field.annotation)
        if members:
            yield from list_keys_of(members[0], defaults[name], f"{prefix}{name}.")
        else:
            yield describe_key(f"{prefix}{name}", defaults[name], properties[name])


def describe_key(name: str, default: Any, form: Mapping[str, Any]) -> KeyRow:
    """Describe a key by its JSON schema; a key of one value is the option's name."""
    meaning = "The option; chosen, never set." if "const" in form else form.get("description", "")
    return KeyRow(name, default, describe_values(form), show_text(meaning))


def list_rules(schema: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """List the rules that span several keys: the key that is blamed, and the rule in a sentence."""
    for validator in schema.__pydantic_decorators__.field_validators.values():
        if validator.info.mode == "after":
            yield f"{prefix}{validator.info.fields[0]}", show_text(validator.func.__doc__ or "")
    for name, field in schema.model_fields.items():
        for member in group_members(field.annotation):
            yield from list_rules(member, f"{prefix}{name}.")


def describe_values(form: Mapping[str, Any]) -> str:
    """Return in words what a JSON schema allows, e.g. ``whole number, 1 to 1024``, or `relu`, `gelu`."""
    alternatives = form.get("anyOf") or form.get("oneOf")
    if alternatives:
        return "; or ".join(map(describe_values, alternatives))
    if "const" in form:
        return f"`{form['const']}`"
    if "enum" in form:
        return ", ".join(f"`{value}`" for value in form["enum"])
    kind = form.get("type")
    if kind == "array":
        least = form.get("minItems", 0)
        length = f", at least {least}" if least > 1 else ", not empty" if least else ""
        items = describe_values(form["items"])
        if "anyOf" in form["items"]:  # they are the items' alternatives, not the list's
            items = f"({items.replace('; or ', ' or ')})"
        return f"list of {items}{length}"
    if kind == "string":
        words = f"text that matches `{form['pattern']}`" if "pattern" in form else form.get("format", "text")
        return f"{words}, not empty" if form.get("minLength") else words
    return _KINDS[str(kind)] + _describe_bounds(form)


_KINDS = {
    "integer": "whole number",
    "number": "number",
    "boolean": "`true`, `false`",
    "null": "`null`",
    "object": "mapping",
}


def _describe_bounds(form: Mapping[str, Any]) -> str:
    if "minimum" in form and "maximum" in form:
        return f", {_show_number(form['minimum'])} to {_show_number(form['maximum'])}"
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "more than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    return "".join(f", {word} {_show_number(form[name])}" for name, word in words.items() if name in form)


def _show_number(number: float) -> str:
    return str(int(number)) if number == int(number) else f"{number:g}"


def show_value(value: Any) -> str:
    """Show a configured value as one types it, e.g. ``null``, ``[a, b]``; a value that is missing is required."""
    return "required" if value == "???" else f"`{type_value(value)}`"


def show_text(text: str) -> str:
    """Turn a docstring's or description's text into Markdown: one line, its code in GitHub's quotes."""
    return " ".join(text.replace("``", "`").replace("<", "\\<").split())


def type_value(value: Any) -> str:
    """Write a configured value as one types it on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(type_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {type_value(item)}' for key, item in value.items())}}}"
    return str(value) if value != "" else "''"
