"""Faults in plain words, key, problem and remedy: what pydantic finds, and files and arguments that cannot be read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_loader import ConfigLoader
from pydantic import BaseModel, ValidationError

from sentiment.config.identity import REMOVED
from sentiment.config.objective import RETIRED
from sentiment.config.option import UNNAMED, choice_of, group_members
from sentiment.config.schema import Settings
from sentiment.errors import ConfigError, Fault, SentimentError
from sentiment.flat import is_within
from sentiment.nearest import nearest

WHOLE_NUMBER = "must be a whole number"

FROM_VARIABLE = "without quotes; of an environment variable ${oc.decode:${oc.env:NAME}}"

LAUNCHER_EXTRAS = {"joblib": "joblib", "ray": "ray", "submitit_local": "submitit", "submitit_slurm": "submitit"}
"""Launchers that this project runs with, and its extra that installs each."""

TOP_LEVEL_KEYS = (*Settings.model_fields, "hydra")

YAML_REMEDIES = {
    "cannot start any token": "indent with blanks, not with tabs; quote texts that begin with @, ` or %",
    "did not find expected": "close the bracket, the quote or the list that is open there, and line the keys up",
    "mapping values are not allowed": "quote the text that holds a colon, or line the keys up",
    "found duplicate key": "keep one of the two",
    "undefined alias": "write the value itself, or quote a text that begins with *",
    "recursive alias": "write the value itself in place of the alias",
    "expansion exceeds": "write fewer aliases: together they stand for too much",
    "single document": "keep one document: remove what follows ---",
    "constructor for the tag": "write a plain value; a file that names Python objects is not read",
    "control characters": "save the file as UTF-8 text",
    "codec can't decode": "save the file as UTF-8 text",
    "nesting depth": "write fewer brackets inside each other",
}

SHOWN_LENGTH = 80

LONGEST_REASON = 300


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
    "string_pattern_mismatch": "a full commit, as a branch or a tag can move: 40 hexadecimal digits",
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


def shorten(text: str, length: int = SHOWN_LENGTH) -> str:
    """Cut an argument, or a reason, to what a fault can show."""
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= length else f"{text[:length]}... ({len(text)} characters)"


@contextmanager
def explaining_breaks(folders: Sequence[Path] = (), lines: Sequence[str] = ()) -> Iterator[None]:
    """Turn what a broken file or argument makes YAML, Hydra and Python raise into a `ConfigError` of one fault.

    Args:
        folders: Where the files of options are.
        lines: The command's overrides.

    Raises:
        ConfigError: With the fault; the cause is the library's exception.
    """
    try:
        yield
    except SentimentError:
        raise
    except yaml.YAMLError as error:
        raise ConfigError([explain_yaml(error)]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([Fault("a YAML file", str(error), "save it as UTF-8 text")]) from error
    except RecursionError as error:
        raise ConfigError([_explain_cycle(folders, lines)]) from error
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        reason = shorten(f"{type(error).__name__}: {' '.join(str(error).split())}", LONGEST_REASON)
        remedy = "correct what was written last; HYDRA_FULL_ERROR=1 shows where it broke"
        raise ConfigError([Fault("the configuration", f"cannot be composed ({reason})", remedy)]) from error


def explain_yaml(error: yaml.YAMLError) -> Fault:
    """Return the fault of a file that is no YAML."""
    mark: Any = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    file = mark.name if mark is not None else getattr(error, "name", "a YAML file")
    place = file if mark is None else f"{file}, line {mark.line + 1}"
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error).splitlines()[0]
    known = f"{problem} {error}".lower()
    remedy = next((text for part, text in YAML_REMEDIES.items() if part in known), "correct the file there")
    return Fault(place, shorten(problem), remedy)


def _explain_cycle(folders: Sequence[Path], lines: Sequence[str]) -> Fault:
    """Return the fault of a defaults list that leads back to itself, found by following the options of a command."""
    for line in lines:
        group, _, option = line.lstrip("+").partition("=")
        for folder in folders:
            file = folder / group / f"{shorten(option)}.yaml"
            if file.is_file():
                written = file.read_text(encoding="utf-8", errors="replace").splitlines()
                number = next((at for at, text in enumerate(written, 1) if text.startswith("defaults")), None)
                if number is not None:
                    problem = "the defaults list leads back to the file itself"
                    return Fault(f"{file}, line {number}", problem, "remove the entry that names the file again")
    return Fault("defaults", "a defaults list leads back to its own file", "remove the entry that names it again")


def require_folders(folders: Mapping[str, str | Path | None]) -> list[Fault]:
    """Return the faults of folders that ``--config-dir`` and ``--config-path`` name and that are not there.

    A relative one starts from the current folder, and that of ``--config-path`` from the folder of ``run.py``.
    """
    return [
        Fault(option, f"{shorten(str(folder))} is no folder", "name a folder with YAML files")
        for option, folder in folders.items()
        if folder and not os.path.isdir(folder)  # noqa: PTH112 - it answers for any text
    ]


def find_hidden(folders: Sequence[Path], names: Iterable[str]) -> list[Fault]:
    """Return the faults of files that a command means, by names as ``trainer/gpu``, and Hydra does not read.

    One of that name lies in a folder that comes before: folders are in the order in which Hydra looks.
    """
    faults = []
    for name in names:
        first, *others = [file for folder in folders if (file := folder / f"{name}.yaml").is_file()] or [Path()]
        hidden = [other for other in others if other.read_bytes() != first.read_bytes()]
        problem = f"is hidden by {first}, which Hydra finds first"
        faults += [Fault(str(other), problem, "give it another name") for other in hidden]
    return faults


def require_config(loader: ConfigLoader, name: str) -> list[Fault]:
    """Return the fault of a primary config, ``--config-name``, that is not there."""
    known = [option for option in loader.get_group_options("") if not option.startswith("_")]
    if name.removesuffix(".yaml") in known:
        return []
    return [Fault("--config-name", f"there is no config {shorten(name)}", f"one of {', '.join(known)}")]
