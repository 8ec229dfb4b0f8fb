"""Report files and arguments that cannot be read, as one fault each: which file and line, why, what to do."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_loader import ConfigLoader

from sentiment.errors import ConfigError, Fault, SentimentError

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
