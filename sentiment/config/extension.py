"""Models and data sets that come as one file in ``sentiment/extensions/``; docs/extending.md shows how.

`sentiment.config.schema` loads the files and takes their settings classes into its choices. This module knows what a
file registered and nothing of torch or Hydra: a start without extensions stays as light as it is.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Field

from sentiment.errors import ConfigError, Fault, SentimentError

PACKAGE = "sentiment.extensions"

Kind = Literal["model", "data"]
"""Config groups that take extensions."""

GIVEN = {"model": ("vocabulary_size", "classes", "max_tokens"), "data": ()}
"""What the project gives a constructor, besides the settings' keys."""

METHODS = {"model": ("forward", "state_dict"), "data": ("describe", "fingerprint", "load")}
"""By what a class is known to be a network or a `sentiment.data.reviews.Source`."""

OPTION = re.compile("[a-z][a-z0-9_]*")

T = TypeVar("T", bound=type)


class ExtensionError(SentimentError):
    """An extension does not keep to the rules."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem, self.remedy = problem, remedy
        super().__init__(f"{problem}\n  -> {remedy}")


@dataclass(frozen=True)
class Extension:
    """One option of a config group, with what stands behind it.

    Attributes:
        group: The config group.
        option: Name of the option: ``cnn`` in ``model=cnn``.
        settings: Its keys, with their rules and defaults.
        target: The network's or the source's class.
    """

    group: Kind
    option: str
    settings: type[BaseModel]
    target: type

    def build(self, settings: BaseModel, **given: Any) -> Any:
        """Make the network or the source: its constructor gets those of all keys that it names."""
        values = {**settings.model_dump(exclude={"name"}), **given}
        return self.target(**{name: value for name, value in values.items() if _takes(self.target, name)})


_extensions: dict[tuple[Kind, str], Extension] = {}
_being_loaded: list[str] = []
"""Modules that `load_extensions` is importing: outside of it nothing can be added, the choices being fixed."""


def add_model(settings: type[BaseModel]) -> Callable[[T], T]:
    """Make a network an option of the config group ``model``; a decorator of its class.

    The network maps tokens (B, T) and a mask (B, T) of real tokens to logits (B, K). Its constructor takes every key of
    its settings by name, and of ``vocabulary_size``, ``classes`` and ``max_tokens`` those that it needs.

    Args:
        settings: Its keys: a `sentiment.config.schema.Group` with ``name: Literal["cnn"] = "cnn"``. A key without a
            default has to be given on the command line.

    Raises:
        ExtensionError: Settings and class do not fit, or the name is taken.
    """
    return _adding("model", settings)


def add_data(settings: type[BaseModel]) -> Callable[[T], T]:
    """Make a `sentiment.data.reviews.Source` an option of the config group ``data``; a decorator of its class.

    Its constructor takes every key of its settings by name, and of the keys that all data sets have (``split_seed``)
    those that it needs.

    Args:
        settings: Its keys: a `sentiment.config.schema.DataGroup` with ``name: Literal["folder"] = "folder"``. Keys that
            all data sets have start with the values of conf/data/files.yaml, unless it declares them anew.

    Raises:
        ExtensionError: Settings and class do not fit, or the name is taken.
    """
    return _adding("data", settings)


def load_extensions(package: str = PACKAGE) -> None:
    """Import every file of the package; names that begin with ``_`` are parts of others.

    Raises:
        ConfigError: With a fault for every file that is broken.
    """
    spec = importlib.util.find_spec(package)
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    faults: list[Fault] = []
    for found in sorted(pkgutil.iter_modules(folders), key=lambda found: found.name):
        if not found.name.startswith("_"):
            faults += _load(f"{package}.{found.name}")
    if faults:
        raise ConfigError(faults)


def list_extensions() -> list[Extension]:
    """List what the files registered."""
    return list(_extensions.values())


def find_extension(settings: BaseModel) -> Extension | None:
    """Find the extension that settings belong to; None: they are of a built-in option."""
    return next((extension for extension in _extensions.values() if type(settings) is extension.settings), None)


def join_choices(group: Kind, built_in: Any) -> Any:
    """Make the type of a config group: its built-in settings classes and those of the extensions, told by ``name``.

    Args:
        group: The config group.
        built_in: Union of the built-in classes.

    Raises:
        ConfigError: An extension has the name of a built-in option.
    """
    taken = {str(get_args(member.model_fields["name"].annotation)[0]) for member in get_args(built_in)}
    extensions = [extension for extension in _extensions.values() if extension.group == group]
    faults = [
        Fault(
            _show(Path(inspect.getfile(extension.target))),
            f"{group}={extension.option} is a built-in option",
            f"choose another name than {', '.join(sorted(taken))}",
        )
        for extension in extensions
        if extension.option in taken
    ]
    if faults:
        raise ConfigError(faults)
    members = (built_in, *(extension.settings for extension in extensions))
    return Annotated[Union[members], Field(discriminator="name")]  # noqa: UP007 - `|` takes no tuple


def _adding(group: Kind, settings: type[BaseModel]) -> Callable[[T], T]:
    def add(target: T) -> T:
        extension = Extension(group, _read_option(group, settings), settings, target)
        _check(extension)
        _extensions[group, extension.option] = extension
        return target

    return add


def _read_option(group: Kind, settings: type[BaseModel]) -> str:
    from sentiment.config import schema  # which loads the extensions, and has these two by then

    base = {"model": schema.Group, "data": schema.DataGroup}[group]
    if not (isinstance(settings, type) and issubclass(settings, base)):
        raise ExtensionError(
            f"add_{group} takes a settings class, not {settings!r:.80}",
            f"write class MySettings({base.__name__}): ... and @add_{group}(MySettings) above the class",
        )
    field = settings.model_fields.get("name")
    names = get_args(field.annotation) if field is not None and get_origin(field.annotation) is Literal else ()
    if len(names) != 1 or not OPTION.fullmatch(str(names[0])):
        raise ExtensionError(
            f"{settings.__name__} does not say which option of {group} it stands for",
            'give it a name in small letters, digits and _: name: Literal["mine"] = "mine"',
        )
    return str(names[0])


def _check(extension: Extension) -> None:
    group, option, target = extension.group, extension.option, extension.target
    if not _being_loaded:
        raise ExtensionError(
            f"{group}={option} comes too late: the choices of {group} are fixed when the configuration is first used",
            "move the class to a file in sentiment/extensions/, which is loaded before that",
        )
    if (group, option) in _extensions:
        other = _show(Path(inspect.getfile(_extensions[group, option].target)))
        raise ExtensionError(f"{group}={option} is registered in {other} already", "choose another name")
    absent = [name for name in METHODS[group] if not callable(getattr(target, name, None))]
    if absent:
        kind = "torch.nn.Module" if group == "model" else "Source, see sentiment/data/reviews.py"
        raise ExtensionError(f"{target.__name__} has no {', '.join(absent)}", f"write it: {group} takes a {kind}")
    _check_constructor(extension)


def _check_constructor(extension: Extension) -> None:
    from sentiment.config import schema

    settings, target, given = extension.settings, extension.target, GIVEN[extension.group]
    shared = set(schema.DataGroup.model_fields) if extension.group == "data" else set()
    keys = [name for name in settings.model_fields if name != "name"]
    doubled = [name for name in keys if name in given]
    if doubled:
        raise ExtensionError(
            f"{settings.__name__}.{doubled[0]} would hide the {doubled[0]} that every model is given",
            "choose another name for the key",
        )
    unused = [name for name in keys if name not in shared and not _takes(target, name)]
    if unused:
        raise ExtensionError(
            f"{target.__name__}() does not take {', '.join(unused)}, of {settings.__name__}",
            f"add it to the arguments of __init__ by that name, or remove it from {settings.__name__}",
        )
    unknown = [name for name in _list_required(target) if name not in (*keys, *given)]
    if unknown:
        raise ExtensionError(
            f"{target.__name__}() needs {', '.join(unknown)}, which nothing gives it",
            f"add it to {settings.__name__}, or give it a default; known are {', '.join((*given, *keys))}",
        )


def _takes(target: type, name: str) -> bool:
    parameters = inspect.signature(target).parameters
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return (name in parameters and parameters[name].kind in by_name) or any(
        parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()
    )


def _list_required(target: type) -> list[str]:
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(target).parameters.values()
    return [found.name for found in parameters if found.default is found.empty and found.kind not in optional]


def _load(module: str) -> list[Fault]:
    """Import one file; gives the fault that it has. Nothing of a broken file stays registered."""
    before = dict(_extensions)
    _being_loaded.append(module)
    try:
        importlib.import_module(module)
    except Exception as error:  # a file can raise anything, and each file's fault is told together with the others'
        _extensions.clear()
        _extensions.update(before)
        return [_explain(error, module)]
    finally:
        _being_loaded.remove(module)
    return []


def _explain(error: Exception, module: str) -> Fault:
    """Say where a file is broken, what is wrong, and what helps."""
    spec = importlib.util.find_spec(module)
    file = str(spec.origin) if spec is not None else module
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    if isinstance(error, SyntaxError) and error.filename == file:
        lines = [error.lineno]
    place = _show(Path(file)) + (f", line {lines[-1]}" if lines else "")
    if isinstance(error, ExtensionError):
        return Fault(place, error.problem, error.remedy)
    problem = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    return Fault(place, problem, f"{_suggest(error)}, or move the file out of {Path(file).parent.name}/")


def _suggest(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("sentiment"):
        return f"install {str(error.name).partition('.')[0]}"
    if isinstance(error, ImportError):
        return (
            "correct the import; an extension builds on the layers in sentiment/models/, on sentiment/data/reviews.py "
            "and on the classes Group and DataGroup, not on what is made from the settings of a run"
        )
    return "correct that line"


def _show(file: Path) -> str:
    return "/".join(file.parts[-3:])
