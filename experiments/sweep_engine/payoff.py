"""Does it pay? The same space, seed and wall time on the synthetic reviews, this sweeper against the stock plugin.

    python experiments/sweep_engine/payoff.py run        # two engines x five seeds x two and a half minutes: 25 minutes
    python experiments/sweep_engine/payoff.py draw       # table and figure again, from results.csv

Both have two workers with one CPU thread each. The stock plugin cannot run jobs side by side itself, so it gets
`hydra/launcher=joblib`; without that it would be slower still. Each command is ended by Ctrl-C when its time is up,
and what its jobs have recorded by then is counted: also jobs that the stock plugin never took in because their batch
was not complete.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import pandas as pd

from sentiment.config.home import PROJECT_DIR
from sentiment.tracking.environment import describe_code, describe_hardware
from sentiment.tracking.result_file import RESULT_FILE, read_result

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results.csv"
SEEDS = (0, 1, 2, 3, 4)
SECONDS = 150
STEP_SECONDS = 5

TRAINING = [
    "data.train_size=4000", "data.test_size=200", "trainer.max_epochs=6", "trainer.validations_per_epoch=2",
    "trainer.test=false", "trainer.threads=1", "tracking=none", "optimizer=adamw",
]  # fmt: skip
SPACE = [
    "model.heads=1,2,4,8", "model.depth=range(1,5)", "model.embedding_size=32,64,128",
    "model.dropout=interval(0.0,0.3)", "optimizer.lr=tag(log,interval(3e-4,1e-2))",
]  # fmt: skip
ENGINES = {
    "this sweeper": ["hydra/sweeper=study", "hydra/sweeper/pruner=median", "hydra.sweeper.pruner.n_warmup_steps=1"],
    "stock plugin": ["hydra/sweeper=optuna", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
}


def run_all(seconds: int) -> None:
    """Run every engine with every seed and write ``results.csv``: one row a trial."""
    rows = [row for seed in SEEDS for engine in ENGINES for row in run(engine, seed, seconds)]
    table = pd.DataFrame(rows)
    table.to_csv(RESULTS, index=False)
    commit = describe_code(PROJECT_DIR)["git.commit"]
    lines = f"commit: {commit}\nhardware: {describe_hardware()}\nseconds: {seconds}\n"
    (FOLDER / "conditions.txt").write_text(lines)


def run(engine: str, seed: int, seconds: int) -> list[dict[str, object]]:
    """Run one command for its time; gives a row for every trial that finished or was pruned."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, str(PROJECT_DIR / "run.py"), "-m", *ENGINES[engine], *TRAINING, *SPACE,
            f"hydra.sweeper.sampler.seed={seed}", "hydra.sweeper.direction=maximize", "hydra.sweeper.n_trials=1000",
            "hydra.sweeper.n_jobs=2", "hydra.sweeper.max_failure_rate=1.0", f"hydra.sweep.dir={folder}/sweep",
        ]  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        began = time.time()
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(seconds)
        records = read_trials(Path(folder), began, seconds)
        assert process.poll() is None, f"{engine} ended by itself: {process.returncode}"
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    print(f"{engine}, seed {seed}: {len(records)} trials", flush=True)
    return [{"engine": engine, "seed": seed, **record} for record in records]


def read_trials(folder: Path, began: float, seconds: int) -> list[dict[str, object]]:
    """Read the jobs that have ended within the time."""
    trials: list[dict[str, object]] = []
    for file in folder.rglob(RESULT_FILE):
        record = read_result(file)
        ended = file.stat().st_mtime - began
        if record.status in ("FINISHED", "PRUNED") and ended <= seconds:
            started = datetime.fromisoformat(record.started).timestamp() - began
            trials.append(
                {
                    "trial": record.job_number,
                    "state": record.status,
                    "started_seconds": round(started, 1),
                    "ended_seconds": round(ended, 1),
                    "validation_accuracy": record.metrics["val/accuracy"],
                }
            )
    return sorted(trials, key=lambda trial: float(str(trial["ended_seconds"])))


def best_over_time(table: pd.DataFrame, seconds: int) -> pd.DataFrame:
    """Compute the best validation accuracy of finished trials after every few seconds, a column an engine and seed."""
    times = range(0, seconds + 1, STEP_SECONDS)
    finished = table[table["state"] == "FINISHED"]
    columns = {
        key: [trials.loc[trials["ended_seconds"] <= now, "validation_accuracy"].max() for now in times]
        for key, trials in finished.groupby(["engine", "seed"])
    }
    return pd.DataFrame(columns, index=pd.Index(times, name="seconds"))


def draw() -> None:
    """Write the table and the figure from ``results.csv``."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    table = pd.read_csv(RESULTS)
    conditions = dict(line.split(": ", 1) for line in (FOLDER / "conditions.txt").read_text().splitlines())
    seconds = int(conditions["seconds"])
    best = best_over_time(table, seconds)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    rows = []
    for color, engine in zip(("tab:blue", "tab:orange"), ENGINES, strict=True):
        trials = table[table["engine"] == engine]
        for _, of_seed in trials.groupby("seed"):
            left.step(of_seed["ended_seconds"], range(1, len(of_seed) + 1), where="post", color=color, alpha=0.5)
        left.plot([], [], color=color, label=engine)
        curves = best[engine]
        right.plot(curves.index, curves, color=color, alpha=0.25)
        right.plot(curves.index, curves.mean(axis=1, skipna=False), color=color, linewidth=2, label=f"{engine} (mean)")
        last = curves.iloc[-1]
        by_seed = trials.groupby("seed").size()
        pruned = (trials["state"] == "PRUNED").sum() / len(by_seed)
        rows.append(
            f"| {engine} | {by_seed.mean():.1f} ({by_seed.min()} to {by_seed.max()}) | {pruned:.1f} "
            f"| {100 * last.mean():.2f} ± {100 * last.std():.2f} | {', '.join(f'{100 * v:.2f}' for v in last)} |"
        )
    left.set(xlabel="seconds", ylabel="trials ended (finished or pruned)", xlim=(0, seconds))
    right.set(xlabel="seconds", ylabel="best validation accuracy", xlim=(0, seconds))
    left.legend(frameon=False)
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(FOLDER / "payoff.png", dpi=150)
    print("| engine | trials ended (range) | of them pruned | best validation accuracy, % | each seed |")
    print("|---|---|---|---|---|")
    print("\n".join(rows))
    print(f"\nCommit {conditions['commit']}; {conditions['hardware']}; {seconds} s a run, {len(SEEDS)} seeds.")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["run", "draw"])
    parser.add_argument("--seconds", type=int, default=SECONDS, help="wall time of each run")
    arguments = parser.parse_args()
    if arguments.action == "run":
        run_all(arguments.seconds)
    draw()


if __name__ == "__main__":
    main()
