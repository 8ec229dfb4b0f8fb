"""What a configuration may not ask of Hydra: to run a program, to write outside its folders, to keep a password.

Hydra itself refuses to construct objects that `run.py` does not trust; here its plain values are checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sentiment.credentials import find_passwords
from sentiment.errors import Fault
from sentiment.paths import expand_home
from sentiment.private import CORE_PLUGIN

RUNNING_VARIABLE = re.compile(
    r"(LD|DYLD|GIT|PYTHON|BASH|XDG|SSH|CUDA_INJECTION|NV_).*|.*PATH|.*_?(EDITOR|PAGER|SHELL|BROWSER|ASKPASS|PRELOAD)"
    r"|HOME|ENV|IFS|PERL5.*|TMPDIR|CC|CXX|HYDRA_.*",
    re.IGNORECASE,
)
"""Environment variables that choose which program or library runs, or where it is looked for."""

TRUSTED = re.compile(
    r"sentiment\.(search\.plugin\.sweeper\.StudySweeper|search\.study\.promotion\.PromotionPruner"
    r"|search\.study\.population\.PopulationPruner"
    r"|search\.space\.hub\.build_hub_sampler"
    r"|report\.sweep\.callback\.SweepCallback)"
    rf"|{CORE_PLUGIN}|hydra_plugins\.\w+(\.\w+)+|optuna\.(pruners|samplers)\.\w+"
)
"""What Hydra may construct, as `run.py` tells it; it refuses others itself, in the middle of a sweep."""

OUTPUT_DIR = re.compile(r"\$\{hydra[.:]runtime\.output_dir\}/")

LONGEST_NAME = 200
"""Characters of a name that becomes a folder: file systems take 255 bytes."""


def find_forbidden(hydra: DictConfig) -> list[Fault]:
    """List what Hydra's own node of a composed configuration asks for and must not."""
    values = OmegaConf.to_container(hydra, resolve=False)
    assert isinstance(values, dict)
    storage = {"storage": _select(hydra, "sweeper.storage")}  # it may come from ${oc.env:...}
    return [
        *_find_variables(values),
        *_find_targets(values, "hydra"),
        *_find_log_files(values),
        *_find_outside(hydra),
        *_find_home(hydra),
        *_find_moving(values),
        *dict.fromkeys([*find_passwords(values, "hydra"), *find_passwords(storage, "hydra.sweeper")]),
    ]


def _find_variables(values: dict[Any, Any]) -> Iterator[Fault]:
    for name in (values.get("job") or {}).get("env_set") or {}:
        if RUNNING_VARIABLE.fullmatch(str(name)):
            problem = "would choose which programs and libraries run"
            yield Fault(f"hydra.job.env_set.{name}", problem, f"leave it out; if you need it: {name}=... python run.py")


def _find_targets(value: Any, key: str) -> Iterator[Fault]:
    """Yield what would be constructed and is no part of the project, of Hydra, of its plugins or of Optuna."""
    if not isinstance(value, dict):
        return
    target = value.get("_target_")
    if target is not None and not TRUSTED.fullmatch(str(target)):
        yield Fault(f"{key}._target_", f"{target} is not constructed from a configuration", "choose one of the options")
    for name, content in value.items():
        yield from _find_targets(content, f"{key}.{name}")


def _find_log_files(values: dict[Any, Any]) -> Iterator[Fault]:
    for group in ("job_logging", "hydra_logging"):
        handlers = (values.get(group) or {}).get("handlers") or {}
        for name, handler in handlers.items():
            file = (handler or {}).get("filename")
            if file is None:
                continue
            within = OUTPUT_DIR.sub("", str(file), count=1)
            if within == str(file) or _leads_out(within):
                remedy = "write ${hydra.runtime.output_dir}/NAME.log"
                yield Fault(f"hydra.{group}.handlers.{name}.filename", f"{file} is outside the run's folder", remedy)


def _find_outside(hydra: DictConfig) -> Iterator[Fault]:
    for key in ("sweeper.study_name", "job.name", "sweep.subdir", "output_subdir"):
        name = _select(hydra, key)
        if not isinstance(name, str):
            continue
        if _leads_out(name) or (not key.endswith("dir") and not is_folder_name(name)):
            yield Fault(f"hydra.{key}", f"{name:.80} leads out of its folder", "take a plain name: no .. and no slash")
        elif any(len(part) > LONGEST_NAME for part in PurePath(name).parts):
            yield Fault(f"hydra.{key}", f"has {len(name)} characters", f"take a name of at most {LONGEST_NAME}")


def _find_home(hydra: DictConfig) -> Iterator[Fault]:
    for key in ("run.dir", "sweep.dir"):
        folder = _select(hydra, key)
        if isinstance(folder, str) and expand_home(folder) != PurePath(folder):
            problem = f"{folder:.80} would be in a folder that is called ~, as Hydra takes the sign as it stands"
            yield Fault(f"hydra.{key}", problem, "write ${oc.env:HOME}/NAME")


def _find_moving(values: dict[Any, Any]) -> Iterator[Fault]:
    if (values.get("job") or {}).get("chdir"):
        problem = "would move a job away from where the paths that it is given were checked, trainer.init_from=./mine"
        yield Fault("hydra.job.chdir", problem, "leave it out: what a run writes lies in its own folder all the same")


def is_folder_name(name: str) -> bool:
    """Return whether a name is that of one folder, wherever it is put."""
    return name not in ("", ".", "..") and not re.search(r"[/\\\x00-\x1f]", name)


def _leads_out(path: str) -> bool:
    return PurePath(path).is_absolute() or ".." in PurePath(path).parts or "\0" in path


def _select(hydra: DictConfig, key: str) -> Any:
    try:
        return OmegaConf.select(hydra, key, throw_on_missing=False)
    except OmegaConfBaseException:  # what only a running job can resolve: ${hydra:job.num}
        return None
