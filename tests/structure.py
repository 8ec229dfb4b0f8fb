"""Measure the structure of the project: how much there is, and how much of it one command crosses.

    python tests/structure.py                 # this checkout
    python tests/structure.py ../other        # another one, e.g. of an earlier commit

Files and lines are those of the package and `run.py`. A command enters a function when it calls it, in its own process
(each command below runs its jobs there); a file counts where any of its functions is entered. A circle is a set of
files that import each other, late imports and those for types included.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import runpy
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

CO_OPTIMIZED = 1
"""Flag of the code of functions; modules and class bodies lack it."""

SWEEPING = ("search", "tracking", "report")
"""Packages that make a sweep of runs: searching, recording, reporting."""

TINY = (
    "data.train_size=60", "data.test_size=20", "data.max_tokens=16", "model.embedding_size=8", "trainer.max_epochs=1",
    "trainer.threads=1",
)  # fmt: skip

COMMANDS: dict[str, tuple[str, ...]] = {
    "a single run": ("run.py", *TINY, "hydra.run.dir={folder}/multirun/single"),
    "a grid": ("run.py", "-m", "seed=0,1", *TINY, "hydra.sweep.dir={folder}/multirun/grid"),
    "a study": (
        "run.py", "-m", "search=transformer", "hydra.sweeper.params={{model.heads:'1,2',model.depth:'1,2'}}",
        "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=1", *TINY, "hydra.sweep.dir={folder}/multirun/study",
    ),
    "a report": ("-m", "sentiment", "report", "{folder}/multirun/study"),
    "a prediction": ("-m", "sentiment", "predict", "--model", "{folder}/multirun/single", "A fine film."),
}  # fmt: skip

STORES = (
    "tracking.uri=sqlite:///{folder}/mlflow.db", "tracking.artifact_dir={folder}/artifacts",
    "data.cache_dir={folder}/cache",
)  # fmt: skip


def list_sources(root: Path) -> list[Path]:
    """List the project's Python files."""
    return [root / "run.py", *sorted((root / "sentiment").rglob("*.py"))]


def measure_size(root: Path) -> dict[str, Any]:
    """Count files, lines, those of code, and the files of the largest folder."""
    sources = list_sources(root)
    folders = Counter(file.parent.relative_to(root).as_posix() for file in sources)
    largest, files = folders.most_common(1)[0]
    texts = [file.read_text(encoding="utf-8") for file in sources]
    lines, code = sum(len(text.splitlines()) for text in texts), sum(map(count_code, texts))
    return {"files": len(sources), "lines": lines, "lines of code": code, "largest folder": f"{largest}: {files} files"}


def count_code(text: str) -> int:
    """Count the lines that hold code: no docstring, no comment alone, no blank line."""
    described = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    words = (line.strip() for number, line in enumerate(text.splitlines(), 1) if number not in described)
    return sum(bool(word) and not word.startswith("#") for word in words)


def find_circles(root: Path) -> list[list[str]]:
    """Find the sets of files that import each other (Tarjan's strongly connected components, by mutual reach)."""
    modules = {_name_module(file, root): file for file in list_sources(root)}
    imports = {name: _read_imports(file, set(modules)) - {name} for name, file in modules.items()}
    reach = {name: _reach(name, imports) for name in imports}
    circles = {tuple(sorted(o for o in reach[name] if name in reach[o])) for name in imports if name in reach[name]}
    return [list(circle) for circle in sorted(circles)]


def _reach(start: str, imports: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(imports[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += imports[name]
    return seen


def _name_module(file: Path, root: Path) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _read_imports(file: Path, known: set[str]) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    found &= known
    return {name for name in found if not any(other.startswith(f"{name}.") for other in found)}


def measure_command(root: Path, words: tuple[str, ...], folder: Path) -> dict[str, int]:
    """Run a command in a process of its own; count the project's files (those that sweep apart) and functions."""
    stores = STORES if words[0] == "run.py" else ()
    command = [word.format(folder=folder) for word in (*words, *stores)]
    result = folder / "entered.json"
    subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), "--trace", str(result), str(root), *command],
        cwd=root, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    entered = json.loads(result.read_text(encoding="utf-8"))
    files = {file for file, _ in entered}
    rooms = [Path(file).relative_to(root).parts[1:2] for file in files]
    sweeping = sum(room != () and room[0] in SWEEPING for room in rooms)
    return {"files": len(files), "sweeping": sweeping, "functions": len(entered)}


def trace(result: Path, root: Path, command: list[str]) -> None:
    """Run a command in this process and write down which functions of the project it enters."""
    sources = {str(file) for file in list_sources(root)}
    entered: set[tuple[str, str]] = set()

    def enter(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        is_function = event == "call" and code.co_flags & CO_OPTIMIZED and not code.co_name.startswith("<")
        if is_function and code.co_filename in sources:
            entered.add((code.co_filename, code.co_qualname))

    threading.setprofile(enter)
    sys.setprofile(enter)
    try:
        if command[0] == "-m":
            sys.argv = command[1:]
            runpy.run_module(command[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = command
            runpy.run_path(str(root / command[0]), run_name="__main__")
    finally:
        sys.setprofile(None)
        result.write_text(json.dumps(sorted(entered)), encoding="utf-8")


def main() -> None:
    """Print the figures as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).parents[1])
    root = parser.parse_args().root.resolve()
    print("| measure | figure |\n|---|---|")
    for name, figure in measure_size(root).items():
        print(f"| {name} | {figure} |")
    print(f"| circles | {len(find_circles(root))} |")
    with tempfile.TemporaryDirectory() as folder:
        for name, words in COMMANDS.items():
            figures = measure_command(root, words, Path(folder))
            print(
                f"| {name} enters | {figures['files']} files, {figures['sweeping']} of them to sweep; "
                f"{figures['functions']} functions |",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--trace"]:
        trace(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
    else:
        main()
