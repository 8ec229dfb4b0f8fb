"""Data flows one way, heavy packages stay behind their door, and nothing is imported before it is needed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from sentiment.config.home import PROJECT_DIR

FLOW = [
    "config",
    "data",
    "models",
    "extensions",
    "training",
    "tracking",
    "pretraining",
    "search",
    "report",
    "job",
    "api",
    "commands",
]
"""Each package may import those before it, never those after it; `search` is held to less, see below."""

BASE = [
    "private",
    "process",
    "format",
    "errors",
    "credentials",
    "atomic",
    "picture",
    "json_file",
    "paths",
    "checkout",
    "flat",
    "composing",
    "nearest",
    "scratch",
]
"""Modules that know nothing of the project but those before them, and that everything may import."""

ROOMS = {
    "search": [
        "budget", "storage", "options", "application", "space", "composer", "study", "workers", "progress",
        "live_table", "starts", "search", "controller", "planning", "dry_run", "engine", "plugin",
    ],
    "tracking": [
        "ending", "environment", "params", "run_name", "outbox", "alive", "result_file", "parent_file", "folder",
        "tensorboard", "mlflow", "recorder", "runs", "model_source",
    ],
    "report": ["statistics", "draw", "sweep", "compare", "errors", "record"],
}  # fmt: skip
"""The rooms of a package, and some of the files beside them: each may import those before it."""

LARGEST_FOLDER = 20

ONLY_IN = {
    "mlflow": {"tracking/mlflow"},
    "optuna": {"search"},
    "hydra": {"config", "report/sweep", "search"},
    "omegaconf": {"config", "report/sweep", "search", "job"},
    "datasets": {"data"},
    "tokenizers": {"data"},
    "captum": {"models"},
    "sklearn": {"training"},
    "plotly": {"report"},
    "jinja2": {"config", "report"},
}
"""Which packages may know a library. `report/sweep` knows Hydra for its callback alone (see the next table)."""

ONLY_IN_FILES = {("report", "hydra"): {"callback.py"}, ("report", "omegaconf"): {"callback.py"}}

HEAVY = [
    "torch",
    "lightning",
    "mlflow",
    "datasets",
    "pandas",
    "matplotlib",
    "optuna",
    "sklearn",
    "pyarrow",
    "plotly",
    "scipy",
    "captum",
]

PACKAGE_DIR = PROJECT_DIR / "sentiment"

SOURCES = sorted(PACKAGE_DIR.rglob("*.py"))


@cache
def read_imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def package_of(path: Path) -> str | None:
    parts = path.relative_to(PACKAGE_DIR).with_suffix("").parts
    return parts[0] if parts[0] in FLOW else None


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE_DIR).parent.as_posix()


def name_module(path: Path) -> str:
    parts = path.relative_to(PACKAGE_DIR.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_module(path): path for path in SOURCES}


@cache
def read_own_imports(path: Path) -> set[str]:
    """Return the project's modules that a file imports, wherever in it: late ones and those for types too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {
                full if (full := f"{node.module}.{alias.name}") in MODULES else node.module for alias in node.names
            }
    return {name for name in found if name.partition(".")[0] == "sentiment" and name != name_module(path)}


OUTSIDE_CI = {
    "tests/data": "they need the real reviews",
    "tests/end_to_end/test_devices.py": "minutes, at two devices for each run",
    "tests/end_to_end/test_servers.py": "servers of its own: `tests/servers.sh`",
    "tests/end_to_end/test_slurm.py": "a cluster: `tests/slurm.sh`",
    "tests/faults": "minutes of kills",
    "tests/search/workers": "clusters: Ray, Slurm",
}
"""Slow tests that `.ci/run` leaves out; CONTRIBUTING.md says when to run them."""

every_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PROJECT_DIR).as_posix())


def test_every_slow_test_is_run_on_each_change_or_told_why_not():
    """Four that nobody ran had failed for weeks."""
    run = re.findall(r"\btests/[\w/.]+", (PROJECT_DIR / ".ci/run").read_text(encoding="utf-8"))
    for file in sorted((PROJECT_DIR / "tests").rglob("test_*.py")):
        text, name = file.read_text(encoding="utf-8"), file.relative_to(PROJECT_DIR).as_posix()
        if "mark.slow" in text.replace("mark.slow\n@pytest.mark.postgresql", "") and file != Path(__file__):
            assert name.startswith((*run, *OUTSIDE_CI)), "name it in .ci/run, or here"


def test_every_package_has_its_place_in_the_flow():
    packages = {path.relative_to(PACKAGE_DIR).parts[0] for path in SOURCES if path.parent != PACKAGE_DIR}
    assert packages <= set(FLOW), "a new package needs a place in the flow"


@every_source
def test_imports_go_against_the_flow_only(path: Path):
    package = package_of(path)
    packages = {name.split(".")[1] for name in read_own_imports(path) if "." in name} - {*BASE, "exits"}
    allowed = set() if package is None else set(FLOW[: FLOW.index(package) + 1])
    assert packages <= allowed


def test_the_map_of_the_layers_names_them_all():
    text = (PROJECT_DIR / "CONTRIBUTING.md").read_text(encoding="utf-8")
    layers = text.partition("## Layers")[2].partition("```text\n")[2].partition("```")[0]
    base, _, flow = layers.partition("\n\n")
    assert {*BASE} <= {*re.findall(r"\w+", base)}
    assert {*FLOW, "exits"} <= {*re.findall(r"\w+", flow)}


def test_the_base_knows_nothing_of_the_project():
    for place, name in enumerate(BASE):
        assert read_own_imports(PACKAGE_DIR / f"{name}.py") <= {f"sentiment.{before}" for before in BASE[:place]}


@pytest.mark.parametrize(
    "path", sorted((PACKAGE_DIR / "search").rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE_DIR).as_posix()
)
def test_the_engine_knows_nothing_of_this_application(path: Path):
    """Neither training nor MLflow nor this configuration: any Hydra application can search with it."""
    own = {name for name in read_own_imports(path) if not name.startswith("sentiment.search")}
    assert own <= {f"sentiment.{name}" for name in BASE}


@pytest.mark.parametrize("package", sorted(ROOMS))
def test_rooms_import_downwards_only(package: str):
    """The rooms of a package have an order, too: a room knows those before it."""
    order = ROOMS[package]
    folder = PACKAGE_DIR / package
    rooms = {path.relative_to(folder).parts[0] for path in folder.rglob("*.py") if path.parent != folder}
    assert rooms == {room for room in order if (folder / room).is_dir()}, "every room needs a place in the order"
    wrong = []
    for path in folder.rglob("*.py"):
        own = path.relative_to(folder).with_suffix("").parts[0]
        if own not in order:
            continue
        for name in read_own_imports(path):
            parts = name.split(".")
            is_room = parts[1:2] == [package] and parts[2:3] != [] and parts[2] in order
            if is_room and order.index(parts[2]) > order.index(own):
                wrong.append(f"{path.relative_to(folder)} -> {name}")
    assert wrong == []


def test_no_circles():
    """Count late imports and those for types too: who reads a circle has to read all of it."""
    left = {module: read_own_imports(path) & set(MODULES) for module, path in MODULES.items()}
    size = len(left) + 1
    while len(left) < size:  # take away what imports nothing that is left, and what nothing that is left imports
        size = len(left)
        imported = {name for needed in left.values() for name in needed}
        left = {module: needed & set(left) for module, needed in left.items() if needed & set(left)}
        left = {module: needed for module, needed in left.items() if module in imported}
    assert left == {}


def test_no_folder_is_too_large_to_see_at_once():
    sizes = Counter(room_of(path) for path in SOURCES)
    assert {room: size for room, size in sizes.items() if size > LARGEST_FOLDER} == {}


@every_source
def test_nothing_imports_an_extension_by_name(path: Path):
    if package_of(path) != "extensions":
        assert not any(name.startswith("sentiment.extensions") for name in read_imports(path))


@every_source
def test_libraries_stay_behind_their_door(path: Path):
    room = room_of(path) if path.parent != PACKAGE_DIR else path.stem
    libraries = {name.split(".")[0] for name in read_imports(path)}
    for library, doors in ONLY_IN.items():
        if library in libraries and package_of(path) is not None:
            assert any(f"{room}/".startswith(f"{door}/") for door in doors), f"{library} belongs to {doors}"
            files = ONLY_IN_FILES.get((package_of(path), library))
            assert files is None or path.name in files, f"{library} belongs to {files}"


def test_starting_a_command_imports_nothing_heavy():
    code = "import sys, run, sentiment.report.sweep.callback; print(*sorted(m.split('.')[0] for m in sys.modules))"
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_DIR, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert set(output.split()) & set(HEAVY) == set()


def test_no_drawers():
    drawers = {"utils", "util", "helpers", "common", "misc"}
    assert [path for path in SOURCES if path.stem in drawers or path.parent.name in drawers] == []
