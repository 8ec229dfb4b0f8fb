"""How long do two workers stand idle? Trials of very unequal length, this sweeper against the stock plugin.

    python experiments/sweep_engine/idle_time.py

Both run the same trials on two workers, one after the other, in the same command. Idle is the share of the workers'
time without a trial, from the start of the first trial until the queue is empty (the start of the last one).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

APP = Path(__file__).parent / "apps" / "unequal.py"
WORKERS = 2

ENGINES = {
    "hydra/sweeper=study": ["hydra/sweeper=study", "hydra.sweeper.reuse=false"],
    "hydra/sweeper=optuna, hydra/launcher=joblib": [
        "hydra/sweeper=optuna",
        "hydra/launcher=joblib",
        f"hydra.launcher.n_jobs={WORKERS}",
    ],
}


@dataclass(frozen=True)
class Timing:
    """What one engine did."""

    window_seconds: float  # from the start of the first trial to the start of the last
    idle: float  # share of the workers' time in that window without a trial
    trials_seconds: float  # from the start of the first trial to the end of the last
    command_seconds: float  # the whole command


def measure(overrides: list[str], trials: int) -> Timing:
    """Run so many trials once."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, str(APP), "-m", *overrides, "x=interval(0,1)", f"hydra.sweeper.n_trials={trials}",
            f"hydra.sweeper.n_jobs={WORKERS}", f"hydra.sweep.dir={folder}/sweep",
        ]  # fmt: skip
        began = time.time()
        subprocess.run(command, check=True, capture_output=True)
        command_seconds = time.time() - began
        spans = [tuple(map(float, file.read_text().split())) for file in Path(folder).rglob("times.txt")]
    assert len(spans) == trials, f"{len(spans)} of {trials} trials ran"
    first, last = min(start for start, _ in spans), max(start for start, _ in spans)
    busy = sum(min(end, last) - start for start, end in spans if start < last)
    return Timing(
        window_seconds=last - first,
        idle=1 - busy / (WORKERS * (last - first)),
        trials_seconds=max(end for _, end in spans) - first,
        command_seconds=command_seconds,
    )


def main() -> None:
    """Measure both and print their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=16)
    trials = parser.parse_args().trials
    print("| engine | idle until the queue is empty | first to last trial | whole command |")
    print("|---|---|---|---|")
    timings = {}
    for name, overrides in ENGINES.items():
        timing = timings[name] = measure(overrides, trials)
        print(f"| `{name}` | {timing.idle:.1%} | {timing.trials_seconds:.1f} s | {timing.command_seconds:.1f} s |")
    ours, stock = timings.values()
    print(
        f"\nThe stock plugin takes {stock.trials_seconds / ours.trials_seconds:.2f} times as long for the same trials."
    )


if __name__ == "__main__":
    main()
