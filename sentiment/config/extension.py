"""Models, data sets and trackers that come as one file in ``sentiment/extensions/``; docs/extending.md shows how.

`sentiment.config.schema` loads the files before it closes its choices; Hydra has them as options of its config groups,
``model=cnn`` without a YAML file. Nothing here imports torch: a start without extensions stays as light as it is.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import json
import pkgutil
import re
import sys
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sentiment.config.group import DataGroup, Group, TrackingSettings
from sentiment.config.home import PROJECT_DIR
from sentiment.config.objective import METRICS, Direction, Metric
from sentiment.config.option import OPTIONS, Kind, Option, group_members, list_options, list_required, takes
from sentiment.errors import ConfigError, Fault, SentimentError

PACKAGE = "sentiment.extensions"

NAME = re.compile("[a-z][a-z0-9_]*")

T = TypeVar("T", bound=type)
C = TypeVar("C", bound=Callable[..., Any])


@dataclass(frozen=True)
class Rules:
    """What an extension of a config group keeps to."""

    decorator: str  # what registers it
    base: type[Group]  # what its settings class builds on; keys of it are shared, and a constructor need not take them
    given: tuple[str, ...]  # what the project gives its constructor, besides the settings' keys
    methods: tuple[str, ...]  # by what its class is known
    form: str  # what its class is
    shared_files: tuple[str, ...]  # files of conf/ in which the keys of `base` start, a later one over an earlier one
    joint: tuple[str, ...] = ()  # methods that its class has all or none of


RULES: dict[Kind, Rules] = {
    "model": Rules(
        decorator="add_model",
        base=Group,
        given=("vocabulary_size", "classes", "max_tokens"),
        methods=("forward", "state_dict"),
        form="torch.nn.Module",
        shared_files=(),
    ),
    "data": Rules(
        decorator="add_data",
        base=DataGroup,
        given=(),
        methods=("describe", "fingerprint", "load"),
        form="Source, see sentiment/data/reviews.py",
        shared_files=("reviews.yaml",),
        joint=("fingerprint_unlabelled", "load_unlabelled"),
    ),
    "tracking": Rules(
        decorator="add_tracker",
        base=TrackingSettings,
        given=("context", "earlier"),
        methods=("describe", "trained", "validated", "tested", "finished", "close"),
        form="Recorder, see sentiment/tracking/recorder.py",
        shared_files=("tracking/mlflow.yaml", "tracking/none.yaml"),
    ),
}


class ExtensionError(SentimentError):
    """An extension does not keep to the rules."""


_being_loaded: list[str] = []
"""Modules that `load_extensions` is importing: outside of it nothing can be added, the choices being fixed."""


def add_model(settings: type[BaseModel]) -> Callable[[T], T]:
    """Make a network an option of the config group ``model``; a decorator of its class.

    The network maps tokens (B, T) and a mask (B, T) of real tokens to logits (B, K). Its constructor takes every key of
    its settings by name, and of ``vocabulary_size``, ``classes`` and ``max_tokens`` those that it needs.

    Args:
        settings: Its keys: a `sentiment.config.group.Group` with ``name: Literal["cnn"] = "cnn"``. A key without a
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
        settings: Its keys: a `sentiment.config.group.DataGroup` with ``name: Literal["folder"] = "folder"``. Keys that
            all data sets have start with the values of conf/reviews.yaml, unless it declares them anew.

    Raises:
        ExtensionError: Settings and class do not fit, or the name is taken.
    """
    return _adding("data", settings)


def add_tracker(settings: type[BaseModel]) -> Callable[[T], T]:
    """Make a `sentiment.tracking.recorder.Recorder` an option of the group ``tracking``; a decorator of its class.

    Its constructor takes every key of its settings by name, and of ``context`` (a
    `sentiment.config.run_context.RunContext`), ``earlier`` (the `sentiment.tracking.result_file.ResultRecord` of an
    interrupted attempt at the run, or None) and the keys that all trackers have (``experiment``) those that it needs.

    Args:
        settings: Its keys: a `sentiment.config.group.TrackingSettings` with ``name: Literal["csv"] = "csv"``. Keys that
            all trackers have start as in conf/tracking/none.yaml: ``tracking.mlflow=true`` records in MLflow as well.

    Raises:
        ExtensionError: Settings and class do not fit, or the name is taken.
    """
    return _adding("tracking", settings)


def add_metric(name: str, direction: Direction) -> Callable[[C], C]:
    """Make a metric of validation and test, which can be ``objective=val/NAME``; a decorator.

    What it decorates is a function of labels (N,) int64 and probabilities (N, K) float32, both numpy arrays, that
    returns a number (NaN: undefined), or a torchmetrics class whose constructor takes ``num_classes``.

    Args:
        name: Its name: ``half_error`` is recorded as ``val/half_error`` and ``test/half_error``.
        direction: ``maximize`` or ``minimize``.

    Raises:
        ExtensionError: The name is taken or none, or it is no function or class that can be called so.
    """

    def add(target: C) -> C:
        if not _being_loaded:
            raise ExtensionError(f"the metric {name} comes too late", "move it to a file in sentiment/extensions/")
        if not NAME.fullmatch(name) or name in METRICS or name == "ece":
            raise ExtensionError(
                f"{name!r} cannot be the name of a metric: it is taken, or not in small letters, digits and _",
                f"choose another name than {', '.join(METRICS)}",
            )
        if direction not in ("maximize", "minimize"):
            raise ExtensionError(f"{direction!r} is no direction", "write maximize or minimize")
        _check_metric(name, target)
        METRICS[name] = Metric(name, direction, target)
        return target

    return add


def _check_metric(name: str, target: Callable[..., Any]) -> None:
    """Refuse what can never measure; not more: what is right for a data set may raise on an example of ours."""
    remedy = "write it as a function (labels, probabilities) that returns a number, or take a class of torchmetrics"
    if not inspect.isfunction(target) and not isinstance(target, type):
        raise ExtensionError(f"{name} is {target!r:.80}, and no function or class", remedy)
    try:
        if isinstance(target, type):
            inspect.signature(target).bind(num_classes=2)
        else:
            inspect.signature(target).bind("labels", "probabilities")
    except TypeError as error:
        given = "num_classes alone" if isinstance(target, type) else "labels and probabilities"
        raise ExtensionError(f"{name} cannot be called with {given}: {error}", remedy) from error


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


def list_extensions() -> list[Option]:
    """Return what the files registered."""
    return [option for option in OPTIONS.values() if not isinstance(option.target, str)]


def register_extension_options() -> None:
    """Make every extension known to Hydra; a file of the same name in conf/ comes before it. Safe to call again."""
    for option in list_extensions():
        ConfigStore.instance().store(
            group=option.group, name=option.name, node=read_defaults(option), provider=PACKAGE, replace=True
        )


def read_defaults(option: Option) -> dict[str, Any]:
    """Return what an option's YAML file would hold: its own keys first; ``???`` where a value has to be given."""
    rules = RULES[option.group]
    files = [OmegaConf.load(PROJECT_DIR / "conf" / file) for file in rules.shared_files]
    shared = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.merge({}, *files), resolve=False))
    values: dict[str, Any] = {}
    for name, field in option.settings.model_fields.items():
        if field.is_required():
            values[name] = shared.get(name, "???") if name in rules.base.model_fields else "???"
        else:
            values[name] = _read_default(field)
    values["name"] = option.name
    own = [name for name in values if name not in rules.base.model_fields]
    return {name: values[name] for name in ("name", *own, *values)}


def _read_default(field: FieldInfo) -> Any:
    default = field.get_default(call_default_factory=True)
    return default.model_dump() if isinstance(default, BaseModel) else default


def _adding(group: Kind, settings: type[BaseModel]) -> Callable[[T], T]:
    def add(target: T) -> T:
        option = Option(group, _read_name(group, settings), settings, target)
        _check(option, target)
        OPTIONS[group, option.name] = replace(option, code=_hash_code(target), module=_being_loaded[-1])
        return target

    return add


def _hash_code(target: type) -> str | None:
    """Return the SHA-256 of a class's file and of the parts in its package; None where it was typed at a prompt."""
    package = _being_loaded[-1].rpartition(".")[0]
    names = sorted(found.name for found in pkgutil.iter_modules(sys.modules[package].__path__))
    parts = [importlib.util.find_spec(f"{package}.{name}") for name in names if name.startswith("_")]
    own, *others = map(_read_code, [sys.modules[target.__module__].__spec__, *parts])
    return None if own is None else hashlib.sha256(b"".join([own, *filter(None, others)])).hexdigest()


def _read_code(spec: ModuleSpec | None) -> bytes | None:
    """Read the file of a module, which may lie in an archive; None where there is none."""
    read: Callable[[str], bytes] | None = getattr(spec and spec.loader, "get_data", None)
    return None if spec is None or spec.origin is None or read is None else read(spec.origin)


def _read_name(group: Kind, settings: type[BaseModel]) -> str:
    rules = RULES[group]
    if not (isinstance(settings, type) and issubclass(settings, rules.base)):
        raise ExtensionError(
            f"{rules.decorator} takes a settings class, not {settings!r:.80}",
            f"write class MySettings({rules.base.__name__}): ... and @{rules.decorator}(MySettings) above the class",
        )
    field = settings.model_fields.get("name")
    names = get_args(field.annotation) if field is not None and get_origin(field.annotation) is Literal else ()
    if len(names) != 1 or not NAME.fullmatch(str(names[0])):
        raise ExtensionError(
            f"{settings.__name__} does not say which option of {group} it stands for",
            'give it a name in small letters, digits and _: name: Literal["mine"] = "mine"',
        )
    return str(names[0])


def _check(option: Option, target: type) -> None:
    group, name, rules = option.group, option.name, RULES[option.group]
    if not _being_loaded:
        raise ExtensionError(
            f"{group}={name} comes too late: the choices of {group} are fixed when the configuration is first used",
            "move the class to a file in sentiment/extensions/, which is loaded before that",
        )
    taken = {other.name: other.target for other in list_options(group)}
    if name in taken:
        other = taken[name]
        where = (
            "a built-in option"
            if isinstance(other, str)
            else f"registered in {_show(Path(inspect.getfile(other)))} already"
        )
        raise ExtensionError(f"{group}={name} is {where}", f"choose another name than {', '.join(sorted(taken))}")
    file = PROJECT_DIR / "conf" / group / f"{name}.yaml"
    told = OmegaConf.select(OmegaConf.load(file), "name") if file.is_file() else name
    if told != name:  # a file of the extension itself comes first, too
        raise ExtensionError(
            f"{_show(file)} comes before {group}={name}, and says nothing of it", f"name: {name} in it, or another name"
        )
    own = {method for method in (*rules.methods, *rules.joint) if callable(getattr(target, method, None))}
    needed = (*rules.methods, *(rules.joint if own.intersection(rules.joint) else ()))
    absent = [method for method in needed if method not in own]
    if absent:
        raise ExtensionError(f"{target.__name__} has no {', '.join(absent)}", f"write it: {group} takes a {rules.form}")
    _check_constructor(option, target)
    _check_types(option)


def _check_types(option: Option) -> None:
    """Refuse keys that no configuration could hold, and defaults that do not come back from one as they are.

    Nor is there what does not come back from a record of it, in JSON: the keys of its mappings are texts.
    """
    kinds = "bool, int, float, str, list, dict with keys of text, Literal or None"
    for name, field in option.settings.model_fields.items():
        if not _is_written(field.annotation):
            raise ExtensionError(
                f"{option.settings.__name__}.{name} is of a type that no record of a run can hold: {field.annotation}",
                f"declare it with {kinds}, and convert it in __init__ of the class",
            )
        if field.is_required():
            continue
        default = _read_default(field)
        try:
            composed = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.create({name: default})))[name]
            returned = json.loads(json.dumps(composed))
        except (OmegaConfBaseException, TypeError):
            returned = None
        if repr(returned) != repr(default):
            raise ExtensionError(
                f"the default of {option.settings.__name__}.{name}, {default!r:.80}, cannot stand in a configuration",
                f"give it a default of {kinds}, and convert it in __init__ of the class",
            )


def _is_written(annotation: Any, within: tuple[type[BaseModel], ...] = ()) -> bool:
    """Return whether a configuration and its record, in JSON, have values of a type; groups may hold themselves."""
    is_written = partial(_is_written, within=within)
    if annotation in (bool, int, float, str, type(None), Any) or get_origin(annotation) is Literal:
        return True
    if get_origin(annotation) is Annotated:
        return is_written(get_args(annotation)[0])
    if get_origin(annotation) in (dict, Mapping) and not all(map(_may_be_text, get_args(annotation)[:1])):  # Dict alone
        return False
    if get_origin(annotation) in (Union, types.UnionType, list, dict, Sequence, Mapping):
        return all(map(is_written, get_args(annotation)))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        keys = () if annotation in within else annotation.model_fields.values()
        return all(_is_written(key.annotation, (*within, annotation)) for key in keys)
    return annotation in (list, dict)


def _may_be_text(annotation: Any) -> bool:
    """Return whether the values of a type are texts, or may be anything, as those of no declared type."""
    if get_origin(annotation) is Annotated:
        return _may_be_text(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return all(isinstance(choice, str) for choice in get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return all(map(_may_be_text, get_args(annotation)))
    return annotation in (str, Any)


def _check_constructor(option: Option, target: type) -> None:
    settings, rules = option.settings, RULES[option.group]
    keys = [name for name in settings.model_fields if name != "name"]
    doubled = [name for name in keys if name in rules.given]
    if doubled:
        raise ExtensionError(
            f"{settings.__name__}.{doubled[0]} would hide the {doubled[0]} that every {option.group} is given",
            "choose another name for the key",
        )
    own = {name: field for name, field in settings.model_fields.items() if name not in rules.base.model_fields}
    mixed = [name for name, field in own.items() if name != "name" and _is_mixed(field.annotation)]
    if mixed:
        raise ExtensionError(
            f"{settings.__name__}.{mixed[0]} may be text or something else, and a record of the run tells not which",
            "give it one type, or that and None; choices of text stand in a Literal",
        )
    unused = [name for name in keys if name not in rules.base.model_fields and not takes(target, name)]
    if unused:
        raise ExtensionError(
            f"{target.__name__}() does not take {', '.join(unused)}, of {settings.__name__}",
            f"add it to the arguments of __init__ by that name, or remove it from {settings.__name__}",
        )
    unknown = [name for name in list_required(target) if name not in (*keys, *rules.given)]
    if unknown:
        raise ExtensionError(
            f"{target.__name__}() needs {', '.join(unknown)}, which nothing gives it",
            f"add it to {settings.__name__}, or give it a default; known are {', '.join((*rules.given, *keys))}",
        )


def _is_mixed(annotation: Any, around: tuple[type[BaseModel], ...] = ()) -> bool:
    """Return whether a value may be any text, or something of another type: recorded, 3 and '3' are the same.

    So it is of a group's key; what is within a list or a mapping is recorded with its type. A group may hold itself.
    """
    members = get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    others = [one for one in members if one not in (str, type(None)) and get_origin(one) is not Literal]
    groups = [group for group in group_members(annotation) if group not in around]
    keys = [key for group in groups for key in group.model_fields.values()]
    within = (_is_mixed(key.annotation, (*around, *groups)) for key in keys)
    return Any in members or (str in members and bool(others)) or any(within)


def _load(module: str) -> list[Fault]:
    """Import one file and return the fault that it has. Nothing of a broken file stays registered."""
    before, metrics_before = dict(OPTIONS), dict(METRICS)
    _being_loaded.append(module)
    try:
        importlib.import_module(module)
    except Exception as error:  # a file can raise anything, and each file's fault is told together with the others'
        OPTIONS.clear()
        OPTIONS.update(before)
        METRICS.clear()
        METRICS.update(metrics_before)
        return [_explain(error, module)]
    finally:
        _being_loaded.remove(module)
    return []


def _explain(error: Exception, module: str) -> Fault:
    """Return the fault of a broken file: its place, what is wrong, and what helps."""
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
            "and on the classes of sentiment/config/group.py, not on what is made from the settings of a run"
        )
    return "correct that line"


def _show(file: Path) -> str:
    return "/".join(file.parts[-3:])
