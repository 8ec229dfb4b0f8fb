"""Compare the speed of this checkout with another one, e.g. of an earlier commit: what commands cost beside training.

    git worktree add ../before COMMIT && python -m venv ../before/.venv && ../before/.venv/bin/pip install -e ../before
    python tests/speed.py ../before --python ../before/.venv/bin/python

Each command runs in both checkouts in turn, A B A B, so that a machine whose speed drifts is fair to both. Figures are
processor seconds (user and system, children included), which a busy machine changes less than the time on the wall;
the ratio is this checkout's median over the other's. The last row times this checkout against itself: what a ratio is
worth.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]

SPACE = ("optimizer.lr=tag(log,interval(1e-4,1e-2))", "model.depth=range(1,5)", "model.heads=1,2,4,8", "seed=7")
STORE = ("tracking.uri=sqlite:///{folder}/mlflow.db", "tracking.artifact_dir={folder}/artifacts")

STUDY = (
    "experiments/sweep_engine/apps/empty.py", "-m", "hydra/sweeper=study", *SPACE, *STORE, "hydra.sweeper.n_trials={n}",
    "hydra.sweeper.n_jobs=1", "hydra.sweep.dir={folder}/sweep",
)  # fmt: skip

COMMANDS = {
    "start-up: run.py --help": ("run.py", "--help"),
    "start-up: run.py --cfg job": ("run.py", "--cfg", "job"),
    "start-up: python -m sentiment --help": ("-m", "sentiment", "--help"),
    "a study of 40 empty trials, tracking=none": (*STUDY, "tracking=none"),
    "a study of 40 empty trials, tracking=mlflow": (*STUDY, "tracking=mlflow"),
    "a report on 40 trials": ("-m", "sentiment", "report", "{folder}/sweep"),
}


def measure(root: Path, python: str, words: tuple[str, ...], folder: Path) -> float:
    """Run a command and return the processor seconds that it took."""
    command = [python, *(word.format(folder=folder, n=40) for word in words)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        command, cwd=root, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(root)}, timeout=600
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def compare(sides: dict[str, tuple[Path, str]], words: tuple[str, ...], runs: int) -> list[float]:
    """Return the median of each side, after one run that does not count; a report is on a study made just before."""
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(runs + 1):
        for name, (root, python) in sides.items():
            with tempfile.TemporaryDirectory() as folder:
                if "report" in words:
                    measure(root, python, (*STUDY, "tracking=none"), Path(folder))
                seconds = measure(root, python, words, Path(folder))
            if number:
                figures[name].append(seconds)
    return [statistics.median(each) for each in figures.values()]


def main() -> None:
    """Print the figures and their ratios as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="the other checkout")
    parser.add_argument("--python", default=sys.executable, help="its interpreter")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    here, other = (HERE, sys.executable), (options.other.resolve(), options.python)
    print("| processor seconds | here | there | ratio |\n|---|---|---|---|")
    for name, words in COMMANDS.items():
        ours, theirs = compare({"here": here, "there": other}, words, options.runs)
        print(f"| {name} | {ours:.2f} | {theirs:.2f} | {ours / theirs:.2f} |", flush=True)
    ours, again = compare({"here": here, "again": here}, COMMANDS["start-up: run.py --help"], options.runs)
    print(f"| control: run.py --help against itself | {ours:.2f} | {again:.2f} | {ours / again:.2f} |")


if __name__ == "__main__":
    main()
