"""The options that can be chosen in a config group, built-in ones and extensions alike: what stands behind each.

An entry holds an option's settings class, what it builds and what the project must know of it. What a built-in option
builds is named by its import path: torch is imported when a model is built, not when it is configured.
"""

from __future__ import annotations

import inspect
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Discriminator, Field, Tag

from sentiment.format import join_names

Kind = Literal["model", "data", "pretrain", "tracking"]
"""Config groups whose options are registered here."""

UNNAMED = "built_in"
"""Stands for the built-in options of a group that share one settings class, which has no key ``name``."""

EXTENSIONS = Path(__file__).parents[1] / "extensions"

_BEGAN = time.time()

S = TypeVar("S", bound=type[BaseModel])


@dataclass(frozen=True)
class Option:
    """One option of a config group, with what stands behind it."""

    group: Kind  # the config group
    name: str  # name of the option: ``rnn`` in ``model=rnn``
    settings: type[BaseModel]  # its keys, with their rules
    # Class of the network, source or recorder; of a built-in option its import path, ``MODULE:CLASS``.
    target: type | str
    # Import path of the function that fits a model in one go, on the CPU and with a single validation at its end; None:
    # by gradient steps, epoch after epoch.
    fitter: str | None = None
    # SHA-256 of the file of an extension's class and its package's parts; None for a built-in option.
    code: str | None = None
    # The module of an extension by which it was registered, whatever its class is of; None for a built-in option.
    module: str | None = None

    def load(self) -> type:
        """Import the class that the option builds."""
        return resolve_name(self.target) if isinstance(self.target, str) else self.target

    def build(self, settings: BaseModel, **given: Any) -> Any:
        """Build the network, source or recorder: its constructor gets those of all keys that it names."""
        values, target = {**settings.model_dump(exclude={"name"}), **given}, self.load()
        return target(**{name: value for name, value in values.items() if takes(target, name)})


OPTIONS: dict[tuple[Kind, str], Option] = {}
"""Every registered option, by group and name, the built-in ones first."""


def built_in(group: Kind, target: str, *, fitter: str | None = None) -> Callable[[S], S]:
    """Register a built-in option; a decorator of its settings class, see `Option`."""

    def add(settings: S) -> S:
        option = Option(group, str(choice_of(settings)), settings, target, fitter)
        OPTIONS[group, option.name] = option
        return settings

    return add


def list_options(group: Kind) -> list[Option]:
    """Return the options of a group."""
    return [option for option in OPTIONS.values() if option.group == group]


def find_option(settings: BaseModel) -> Option:
    """Return the option that settings belong to.

    Raises:
        LookupError: They belong to none.
    """
    for option in OPTIONS.values():
        if type(settings) is option.settings:
            return option
    raise LookupError(f"no option has the settings class {type(settings).__name__}")


def join_choices(group: Kind, unnamed: type[BaseModel] | None = None) -> Any:
    """Make the type of a config group: the settings classes of its options, told apart by ``name``.

    Args:
        group: The config group.
        unnamed: Class of the built-in options that share one, without a ``name``.
    """
    options = list_options(group)
    if unnamed is None:
        members = tuple(option.settings for option in options)
        return Annotated[Union[members], Field(discriminator="name")]  # noqa: UP007 - `|` takes no tuple
    if not options:
        return unnamed
    named = [(UNNAMED, unnamed), *((option.name, option.settings) for option in options)]
    tagged = tuple(Annotated[settings, Tag(name)] for name, settings in named)
    return Annotated[Union[tagged], Discriminator(_read_name)]  # noqa: UP007


def _read_name(content: Any) -> str:
    name = content.get("name") if isinstance(content, dict) else getattr(content, "name", None)
    return UNNAMED if name is None else str(name)


def add_later_files(remedy: str) -> str:
    """Return a remedy, before it what to do where files of extensions were written after this Python began."""
    files = [file for file in EXTENSIONS.rglob("*.py") if file.is_file()]  # an editor's lock is a link to nowhere
    later = sorted(file.name for file in files if file.stat().st_ctime > _BEGAN)
    if not later:
        return remedy
    anew = f"this Python began before {join_names(later)} was written: start it anew, in a notebook the kernel"
    return f"{anew}; else {remedy}"


def group_members(annotation: Any) -> list[type[BaseModel]]:
    """Return the settings classes behind a field: one for a plain group, several for a choice."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType) or hasattr(annotation, "__metadata__"):
        return [member for part in get_args(annotation) for member in group_members(part)]
    return []


def choice_of(member: type[BaseModel]) -> str | None:
    """Return the option (``transformer``) that a settings class stands behind; None: it is the group's only one."""
    field = member.model_fields.get("name")
    return str(get_args(field.annotation)[0]) if field is not None and get_origin(field.annotation) is Literal else None


def takes(target: Callable[..., Any], name: str) -> bool:
    """Return whether a class or function takes an argument by this name."""
    parameters = inspect.signature(target).parameters
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return (name in parameters and parameters[name].kind in by_name) or any(
        parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()
    )


def list_required(target: Callable[..., Any]) -> list[str]:
    """Return the arguments that a class or function needs."""
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(target).parameters.values()
    return [found.name for found in parameters if found.default is found.empty and found.kind not in optional]
