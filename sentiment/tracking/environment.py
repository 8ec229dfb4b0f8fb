"""What a run was made with: code, libraries, machine."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

from sentiment.checkout import read_commit, read_output

LIBRARIES = (
    "torch", "lightning", "torchmetrics", "scikit-learn", "tokenizers", "datasets", "mlflow", "hydra-core", "numpy",
)  # fmt: skip
"""Those that decide numbers."""

CPUINFO = Path("/proc/cpuinfo")


@cache
def describe_environment(project_dir: Path) -> Mapping[str, str]:
    """Return the tags ``git.*``, ``version.*`` and ``hardware``; nothing that names the machine or its user.

    Looked up once per process: what it runs is what it imported then, whatever is committed meanwhile.
    """
    versions = {f"version.{name}": metadata.version(name) for name in LIBRARIES}
    versions["version.python"] = platform.python_version()
    return MappingProxyType({**describe_code(project_dir), **versions, "hardware": describe_hardware()})


def describe_code(project_dir: Path) -> dict[str, str]:
    """Return the commit of the checkout, and whether files differ from it.

    A project without git (an unpacked archive) has the commit ``unknown``.
    """
    commit = read_commit(project_dir)
    if commit is None:
        return {"git.commit": "unknown"}
    dirty = "unknown" if commit.is_dirty is None else str(commit.is_dirty).lower()
    return {"git.commit": commit.hash, "git.dirty": dirty, "mlflow.source.git.commit": commit.hash}


def describe_hardware() -> str:
    """Return processor, memory and graphics cards in a line, without the machine's name."""
    parts = [f"{_processor()}, {os.cpu_count()} cores"]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        parts.append(f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB")
    if shutil.which("nvidia-smi"):  # asks the driver, so that no CUDA context is made here
        cards = read_output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
        parts.extend(cards.splitlines() if cards else [])
    return ", ".join(parts)


def _processor() -> str:
    """Return the processor's name; on ARM, where Linux tells none, the numbers of its maker and its model."""
    facts: dict[str, str] = {}
    if CPUINFO.exists():
        first, *_ = CPUINFO.read_text(encoding="utf-8", errors="replace").split("\n\n")
        facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    elif platform.system() == "Darwin":
        facts = {"model name": read_output(["sysctl", "-n", "machdep.cpu.brand_string"]) or ""}
    numbers = [facts[key] for key in ("CPU implementer", "CPU part") if key in facts]
    return facts.get("model name") or " ".join([platform.processor() or platform.machine(), *numbers])
