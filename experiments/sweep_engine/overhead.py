"""What does the engine itself cost? Ask, compose, run, record and tell, with a job that computes nothing.

    python experiments/sweep_engine/overhead.py

The median time from the start of one trial to the start of the next, after the first, in one process, beside the
stock plugin on the same job: an application of three keys; and this project's configuration and record, without MLflow
and with it. Checkpoints and models are not part of it.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from apps.marks import read_marks

APPS = Path(__file__).parent / "apps"
SMALL = ["rate=tag(log,interval(1e-4,1e-2))", "depth=range(1,5)", "heads=1,2,4,8"]
PROJECT = ["optimizer.lr=tag(log,interval(1e-4,1e-2))", "model.depth=range(1,5)", "model.heads=1,2,4,8", "seed=7"]
STORE = ["tracking.uri=sqlite:///{folder}/mlflow.db", "tracking.artifact_dir={folder}/artifacts"]

CASES = {
    "an application of three keys": ("bare.py", SMALL),
    "this project, `tracking=none`": ("empty.py", [*PROJECT, *STORE, "tracking=none"]),
    "this project, `tracking=mlflow`": ("empty.py", [*PROJECT, *STORE, "tracking=mlflow"]),
}


def measure(sweeper: str, app: str, overrides: list[str], trials: int) -> float:
    """Return the median milliseconds from one trial's start to the next."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, str(APPS / app), "-m", f"hydra/sweeper={sweeper}",
            *(override.replace("{folder}", folder) for override in overrides),
            f"hydra.sweeper.n_trials={trials}", "hydra.sweeper.n_jobs=1", f"hydra.sweep.dir={folder}/sweep",
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        starts = [started for started, _, _ in read_marks(Path(folder))]
    assert len(starts) == trials, f"{len(starts)} of {trials} trials ran"
    return 1000 * statistics.median(later - earlier for earlier, later in itertools.pairwise(starts[1:]))


def main() -> None:
    """Measure all and print the ratio to the stock plugin."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40)
    trials = parser.parse_args().trials
    print("| milliseconds a trial | this sweeper | stock plugin | ratio |")
    print("|---|---|---|---|")
    for name, (app, overrides) in CASES.items():
        ours, stock = (measure(sweeper, app, overrides, trials) for sweeper in ("study", "optuna"))
        print(f"| {name} | {ours:.0f} | {stock:.0f} | {ours / stock:.2f} |", flush=True)


if __name__ == "__main__":
    main()
