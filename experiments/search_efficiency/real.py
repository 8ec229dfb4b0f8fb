"""Real studies, the stock sweeper against the default search: at equal wall time, with paired seeds.

    python experiments/search_efficiency/real.py --seeds 10 --seconds 180    # an hour of two idle cores
    python experiments/search_efficiency/real.py --draw                      # the table from what is there
    python experiments/search_efficiency/real.py trainer.max_epochs=3        # other trainings, for both
    python experiments/search_efficiency/real.py data=imdb ...               # other reviews

Both search the same space on the same reviews, synthetic ones if no others are named, with two workers; after the
time they are stopped (Ctrl-C). What had been found at a moment is the trial that was then the best on validation; how
good it is, its accuracy on the test reviews tells, which no study sees. A study is appended to results/ as soon as it
is over: the command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from compare import FOLDER, QUARTERS, bootstrap, write_difference
from omegaconf import OmegaConf
from simulate import CHANCE

from sentiment.checkout import read_commit
from sentiment.config.home import PROJECT_DIR
from sentiment.tracking.environment import describe_hardware
from sentiment.tracking.result_file import RESULT_FILE, read_result

FILE = "real.jsonl"

TRAINING = [
    "trainer.max_epochs=9", "trainer.patience=null", "trainer.threads=1", "trainer.test=true", "tracking=none",
]  # fmt: skip
"""What every trial is; the test split is for the comparison alone, a study selects on validation."""

REVIEWS = ["data.train_size=1500", "data.validation_fraction=0.2"]
"""Where the overrides choose no other data: so many synthetic ones."""

GRACE_SECONDS = 120


def list_commands(seed: int, folder: Path, overrides: Sequence[str]) -> dict[str, list[str]]:
    """Return the arguments of run.py per policy."""
    search = OmegaConf.load(PROJECT_DIR / "conf" / "search" / "transformer.yaml").hydra.sweeper
    space = [f"{key}={value}" for key, value in search.params.items()]  # every combination is valid
    reviews = [] if any(override.startswith("data=") for override in overrides) else REVIEWS
    common = [*TRAINING, *reviews, *overrides, f"seed={seed}", f"hydra.sweep.dir={folder}", "hydra.sweeper.n_jobs=2"]
    return {
        "stock": [
            "-m", "hydra/sweeper=optuna", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "model=transformer",
            "hydra.sweeper.direction=maximize", "hydra.sweeper.n_trials=1000", f"hydra.sweeper.sampler.seed={seed}",
            *common, *space,
        ],
        "default": [
            "-m", "search=transformer", "hydra.sweeper.study_name=real", "hydra.sweeper.full_trials=1000", *common,
        ],
    }  # fmt: skip


def search(policy: str, seed: int, seconds: float, overrides: Sequence[str]) -> list[tuple[float, float, float]]:
    """Run one study for so long; return when, and at which validation and test accuracy, its whole trainings ended.

    Raises:
        SystemExit: The study ended by itself, so that it tells nothing of what it would have found.
    """
    folder = Path(tempfile.mkdtemp(), "study")  # alone in its parent: studies beside each other share their results
    folder.mkdir()
    try:
        command = [sys.executable, str(PROJECT_DIR / "run.py"), *list_commands(seed, folder, overrides)[policy]]
        began = time.time()
        with (folder / "output.txt").open("w+", encoding="utf-8") as output:
            process = subprocess.Popen(command, cwd=PROJECT_DIR, stdout=output, stderr=subprocess.STDOUT)
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(seconds)
                output.seek(0)
                raise SystemExit(f"{policy}, seed {seed}, ended by itself with {code}:\n{output.read()[-2000:]}")
        process.send_signal(signal.SIGINT)
        process.wait(GRACE_SECONDS)
        return sorted(one for one in _read_trials(folder, began) if one[0] <= seconds)
    finally:
        shutil.rmtree(folder.parent)


def _read_trials(folder: Path, began: float) -> Iterator[tuple[float, float, float]]:
    for file in folder.glob(f"*/{RESULT_FILE}"):
        record = read_result(file)
        if record.status == "FINISHED":
            yield file.stat().st_mtime - began, record.metrics["val/accuracy"], record.metrics["test/accuracy"]


def sample(trials: list[Any], seconds: float) -> Any:
    """Return (401,) what had been found at each moment, by its test accuracy."""
    found, best = np.full(401, CHANCE), -1.0
    for ended, validation, test in trials:
        if validation > best:
            best = validation
            found[np.linspace(0, seconds, 401) >= ended] = test
    return found


def read_studies(file: Path, seconds: float, overrides: Sequence[str]) -> dict[tuple[str, int], list[Any]]:
    """Return, by policy and seed, the whole trainings of the studies that are there of these commands."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []
    kind = seconds, list(overrides)
    return {(row["policy"], row["seed"]): row["trials"] for row in rows if (row["seconds"], row["overrides"]) == kind}


def print_table(studies: Mapping[tuple[str, int], list[Any]], seconds: float) -> None:
    """Print, in Markdown, speed and points above stock, over the seeds that both have."""
    seeds = sorted({seed for _, seed in studies if {("stock", seed), ("default", seed)} <= studies.keys()})
    if len(seeds) < 2:
        return
    stock, default = (
        np.stack([sample(studies[policy, seed], seconds) for seed in seeds]) for policy in ("stock", "default")
    )
    speed, low, high = bootstrap(stock, default)
    print(f"\n{len(seeds)} seeds, {seconds:g} s each, two workers: {speed:.2f} [{low:.2f}, {high:.2f}] times as fast\n")
    print("| | 1/4 | 2/4 | 3/4 | 4/4 |\n|---|---|---|---|---|")
    print(f"| stock | {' | '.join(f'{100 * stock[:, quarter].mean():.2f} %' for quarter in QUARTERS)} |")
    cells = [write_difference(default[:, quarter] - stock[:, quarter]) for quarter in QUARTERS]
    print(f"| default, points above | {' | '.join(cells)} |")
    counts = [np.mean([len(studies[policy, seed]) for seed in seeds]) for policy in ("stock", "default")]
    print(f"\nWhole trainings in a study: stock {counts[0]:.1f}, default {counts[1]:.1f}.")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--draw", action="store_true", help="run nothing")
    parser.add_argument("--results", type=Path, default=FOLDER)
    parser.add_argument("overrides", nargs="*", help="of run.py, for every training of both")
    arguments = parser.parse_args()
    seconds, overrides, results = arguments.seconds, arguments.overrides, arguments.results / FILE
    results.parent.mkdir(parents=True, exist_ok=True)
    # Where a shell has put this command into the background, its studies would not hear the Ctrl-C that ends them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    there = read_studies(results, seconds, overrides)
    for seed in range(0 if arguments.draw else arguments.seeds):
        for policy in ("stock", "default") if seed % 2 else ("default", "stock"):
            if (policy, seed) in there:
                continue
            trials = search(policy, seed, seconds, overrides)
            commit = read_commit(PROJECT_DIR)
            line = {
                "policy": policy, "seed": seed, "seconds": seconds, "overrides": overrides,
                "commit": commit and commit.hash, "hardware": describe_hardware(),
                "trials": [[round(number, 4) for number in trial] for trial in trials],
            }  # fmt: skip
            with results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(f"{policy}, seed {seed}: {len(trials)} whole trainings", flush=True)
    print_table(read_studies(results, seconds, overrides), seconds)


if __name__ == "__main__":
    main()
