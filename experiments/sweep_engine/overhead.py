"""What does the engine itself cost? Ask, compose, run, record and tell, with a job that computes nothing.

    python experiments/sweep_engine/overhead.py

The median time from the start of one trial to the start of the next, after the first, in one process: without
MLflow, with it, and the stock plugin on the same job for comparison. Checkpoints and models are not part of it.
"""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

APP = Path(__file__).parent / "apps" / "empty.py"
TRIALS = 40
SPACE = ["optimizer.lr=tag(log,interval(1e-4,1e-2))", "model.depth=range(1,5)", "model.heads=1,2,4,8", "seed=7"]


def measure(sweeper: str, tracking: str) -> float:
    """Give the median milliseconds from one trial's start to the next."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, str(APP), "-m", f"hydra/sweeper={sweeper}", f"tracking={tracking}", *SPACE,
            f"hydra.sweeper.n_trials={TRIALS}", "hydra.sweeper.n_jobs=1", f"hydra.sweep.dir={folder}/sweep",
            f"tracking.uri=sqlite:///{folder}/mlflow.db", f"tracking.artifact_dir={folder}/artifacts",
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        starts = sorted(float(file.read_text()) for file in Path(folder).rglob("started.txt"))
    assert len(starts) == TRIALS, f"{len(starts)} of {TRIALS} trials ran"
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts[1:])]
    return 1000 * statistics.median(gaps)


def main() -> None:
    """Measure all and print the ratio to the stock plugin."""
    print("| | this sweeper | stock plugin | ratio |")
    print("|---|---|---|---|")
    for tracking in ("none", "mlflow"):
        ours, stock = measure("study", tracking), measure("optuna", tracking)
        print(f"| tracking={tracking}, ms a trial | {ours:.0f} | {stock:.0f} | {ours / stock:.2f} |")


if __name__ == "__main__":
    main()
