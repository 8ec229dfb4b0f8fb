"""Faults in plain words: from pydantic's findings to key, problem and remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ValidationError

from sentiment.config.identity import REMOVED
from sentiment.config.objective import RETIRED
from sentiment.config.option import UNNAMED, choice_of, group_members
from sentiment.config.schema import Settings
from sentiment.errors import Fault
from sentiment.flat import is_within
from sentiment.nearest import nearest

WHOLE_NUMBER = "must be a whole number"

FROM_VARIABLE = "without quotes; of an environment variable ${oc.decode:${oc.env:NAME}}"

LAUNCHER_EXTRAS = {"joblib": "joblib", "ray": "ray", "submitit_local": "submitit", "submitit_slurm": "submitit"}
"""Launchers that this project runs with, and its extra that installs each."""

TOP_LEVEL_KEYS = (*Settings.model_fields, "hydra")


def explain_unknown_key(
    key: str, known: Sequence[str], choices: Mapping[str, str], groups: Mapping[str, Sequence[str]] | None = None
) -> Fault:
    """Return the fault of a key that does not exist, with what the person may have meant.

    Args:
        key: The dotted key as typed.
        known: Every dotted key of the composed configuration, and the names of the config groups.
        choices: The chosen option of each group, e.g. ``{"model": "rnn"}``.
        groups: The options of each config group, to be listed where the person meant a group.
    """
    gone = RETIRED | REMOVED
    if key in gone:
        return Fault(key, "is no key any more", gone[key])
    group, _, leaf = key.partition(".")
    field = Settings.model_fields.get(group)
    members = group_members(field.annotation) if field else []
    having = [option for member in members if leaf in member.model_fields and (option := choice_of(member))]
    if having and group not in choices:
        remedy = f"choose what has it: {' or '.join(f'{group}={option}' for option in having)}"
        return Fault(key, f"no such key while {group} is left out", remedy)
    others = [option for option in having if option != choices.get(group)]
    if others:
        remedy = f"it belongs to {group}={others[0]}; choose that, or leave {key} out"
        return Fault(key, f"no such key in {group}={choices[group]}", remedy)
    guess = nearest(key, known)
    siblings = [name for name in known if name.startswith(f"{group}.")] if leaf else []
    if guess:
        options = f" options: {', '.join(groups[guess])}" if groups and guess in groups else ""
        remedy = f"did you mean {guess}?{options}"
    elif siblings:
        remedy = f"keys of {group}: {', '.join(name.partition('.')[2] for name in siblings)}"
    else:
        remedy = "python run.py --help lists the groups and keys"
    return Fault(key, "no such key", remedy)


def explain_unknown_option(group: str, option: str, options: Sequence[str]) -> Fault:
    """Return the fault of an option that a config group does not have."""
    guess = nearest(option, options)
    listed = ", ".join(options)
    if option == "null":
        leaving = f"{group}=none" if "none" in options else f"~{group}"
        return Fault(group, "null is no option on the command line", f"{leaving} leaves it out; options: {listed}")
    remedy = f"did you mean {group}={guess}? options: {listed}" if guess else f"options: {listed}"
    if group == "hydra/launcher":
        extras = sorted({extra for launcher, extra in LAUNCHER_EXTRAS.items() if launcher not in options})
        if option in LAUNCHER_EXTRAS:
            remedy = f"pip install -e '.[{LAUNCHER_EXTRAS[option]}]' brings it; options: {listed}"
        elif extras:
            remedy += f"; pip install -e '.[{','.join(extras)}]' brings others"
    return Fault(group, f"no option {option!r}", remedy)


def read_faults(error: ValidationError, known: Sequence[str], choices: dict[str, str]) -> list[Fault]:
    """Turn everything that pydantic found into faults; a value that fits none of several forms is one."""
    found: dict[tuple[str, str], Fault] = {}
    for detail in error.errors(include_url=False):
        fault = _explain(dict(detail), known, choices)
        same = found.setdefault((fault.key, repr(detail["input"])), fault)
        if same is not fault:
            found[fault.key, repr(detail["input"])] = replace(same, remedy=f"{same.remedy}; or {fault.remedy}")
    return list(found.values())


def _explain(detail: dict[str, Any], known: Sequence[str], choices: dict[str, str]) -> Fault:
    key, kind, context, value = _key(detail["loc"]), detail["type"], detail.get("ctx", {}), detail["input"]
    if kind == "conflict":
        return Fault(key, context["problem"], context["remedy"])
    if kind == "missing":
        return Fault(key, "has no value", f"set it: {key}=...")
    if kind == "extra_forbidden":
        misplaced = [name for name in value if name in TOP_LEVEL_KEYS] if isinstance(value, dict) else []
        if misplaced and "." not in key:
            problem = f"holds keys of the whole configuration ({', '.join(misplaced)}) as keys of its own"
            return Fault(key, problem, "begin its file with the line: # @package _global_ (docs/extending.md)")
        return explain_unknown_key(key, [name for name in known if not is_within(name, [key])], choices)
    if kind == "literal_error":
        allowed = [part.strip().strip("'") for part in context["expected"].replace(" or ", ", ").split(",")]
        guess = nearest(str(value), allowed)
        meant = f"did you mean {guess}? " if guess else ""
        return Fault(key, f"{value!r} is no valid value", f"{meant}one of {', '.join(allowed)}")
    if kind == "union_tag_invalid":
        return Fault(f"{key}.name", f"{context['tag']!r} is no known kind", f"one of {context['expected_tags']}")
    if kind in _BOUNDS:
        words, name = _BOUNDS[kind]
        return Fault(key, f"{value} is out of range", f"must be {words} {context[name]:g}")
    if kind in ("int_type", "int_from_float"):
        remedy = f"{WHOLE_NUMBER}: {FROM_VARIABLE}" if isinstance(value, str) and value.isdecimal() else WHOLE_NUMBER
        return Fault(key, f"{value!r} is {_name_type(value)}", remedy)
    if kind in _TYPES:
        return Fault(key, f"{value!r} is {_name_type(value)}", f"must be {_TYPES[kind]}")
    return Fault(key, f"{value!r}: {detail['msg']}", "see python run.py --help")


_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
    "too_short": ("of length at least", "min_length"),
}
_TYPES = {
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text (quote it if it looks like a number)",
    "string_too_short": "text that is not empty",
    "string_pattern_mismatch": "a full commit: 40 hexadecimal digits",
    "list_type": "a list such as [a,b]",
    "model_type": "a group of keys",
    "model_attributes_type": "a group of keys",
    "dict_type": "a group of keys",
}


_TYPE_NAMES = {
    type(None): "empty (null)",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a group",
}


def _name_type(value: object) -> str:
    return _TYPE_NAMES.get(type(value), type(value).__name__)


def _key(location: tuple[int | str, ...]) -> str:
    """Return the dotted key as typed: pydantic's location also names the member of a choice, or the type that it tried.

    Those are left out; a place in a list stays.
    """
    parts = list(location)
    if len(parts) > 1 and parts[0] in Settings.model_fields:
        options = {choice_of(member) for member in group_members(Settings.model_fields[str(parts[0])].annotation)}
        if parts[1] in {*options, UNNAMED, "one", "several"}:
            del parts[1]
    key: list[str] = []
    groups: list[type[BaseModel]] = [Settings]
    for part in parts:
        if groups or isinstance(part, int):
            key.append(str(part))
        fields = [group.model_fields[str(part)] for group in groups if part in group.model_fields]
        groups = [member for field in fields for member in group_members(field.annotation)]
    return ".".join(key)
