"""Data flows one way, heavy packages stay behind their door, and nothing is imported before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from sentiment.config.home import PROJECT_DIR

FLOW = ["config", "data", "models", "extensions", "training", "tracking", "search", "report", "commands"]
"""Each package may import those before it, never those after it."""

ONLY_IN = {
    "mlflow": {"tracking"},
    "optuna": {"search"},
    "hydra": {"config", "report", "search"},
    "omegaconf": {"config", "report", "search"},
    "datasets": {"data"},
    "tokenizers": {"data"},
    "captum": {"models"},
    "sklearn": {"training"},
    "plotly": {"report"},
    "jinja2": {"report"},
}
"""Which packages may know a library. `report` knows Hydra for its callback alone (see the next table)."""

ONLY_IN_FILES = {("report", "hydra"): {"sweep_callback.py"}, ("report", "omegaconf"): {"sweep_callback.py"}}

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

SOURCES = sorted((PROJECT_DIR / "sentiment").rglob("*.py"))


def read_imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def package_of(path: Path) -> str | None:
    parts = path.relative_to(PROJECT_DIR / "sentiment").parts
    return parts[0] if len(parts) > 1 else None


def test_every_package_has_its_place_in_the_flow():
    packages = {package_of(path) for path in SOURCES} - {None}
    assert packages <= set(FLOW), "a new package needs a place in the flow"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PROJECT_DIR)))
def test_imports_go_against_the_flow_only(path: Path):
    package = package_of(path)
    ours = {name.split(".")[1] for name in read_imports(path) if name.startswith("sentiment.")}
    packages = ours & set(FLOW)
    allowed = set() if package is None else set(FLOW[: FLOW.index(package) + 1])
    assert packages <= allowed


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PROJECT_DIR)))
def test_nothing_imports_an_extension_by_name(path: Path):
    if package_of(path) != "extensions":
        assert not any(name.startswith("sentiment.extensions") for name in read_imports(path))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PROJECT_DIR)))
def test_libraries_stay_behind_their_door(path: Path):
    package = package_of(path)
    libraries = {name.split(".")[0] for name in read_imports(path)}
    for library, packages in ONLY_IN.items():
        if library in libraries and package is not None:
            assert package in packages, f"{library} belongs to {packages}"
            files = ONLY_IN_FILES.get((package, library))
            assert files is None or path.name in files, f"{library} belongs to {files}"


def test_starting_a_command_imports_nothing_heavy():
    code = "import sys, run, sentiment.report.sweep_callback; print(*sorted(m.split('.')[0] for m in sys.modules))"
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_DIR, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert set(output.split()) & set(HEAVY) == set()


def test_no_drawers():
    drawers = {"utils", "util", "helpers", "common", "misc"}
    assert [path for path in SOURCES if path.stem in drawers or path.parent.name in drawers] == []
