"""What does a trial cost in a study that has many already? Processor time and memory as a study grows.

    python experiments/sweep_engine/growth.py                                      # all of it, a quarter of an hour
    python experiments/sweep_engine/growth.py --only random,tpe --sizes 100,10000
    python experiments/sweep_engine/growth.py --only project,report --sizes 10000  # the report on so many trials

Each study runs in one process, with a job that computes nothing. Figures are processor milliseconds per trial (user and
system, all threads), which a busy machine changes less than the time on the wall; beside them the slope over the sizes.
A study of 10,000 trials would take hours: it is filled up with copies of its first trials, and then goes on (MLflow's
own store is not filled). `Optuna alone` goes on with the same study, without this engine, without Hydra and without
jobs: what no engine over it can go below.
Results are kept as JSON with commit and hardware.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from apps.marks import read_mark

HERE = Path(__file__).parent
APPS = HERE / "apps"
RESULTS = HERE / "results" / "growth.json"

SMALL = ("rate=tag(log,interval(1e-4,1e-2))", "depth=range(1,5)", "heads=1,2,4,8")
PROJECT = ("optimizer.lr=tag(log,interval(1e-4,1e-2))", "model.depth=range(1,5)", "model.heads=1,2,4,8", "seed=7")
STORE = ("tracking.uri=sqlite:///{folder}/mlflow.db", "tracking.artifact_dir={folder}/artifacts")

GRID = ("rate=0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1.0", "depth=range(1,101)", "heads=range(1,{hundredth})")

CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "random": ("bare.py", (*SMALL, "hydra/sweeper/sampler=random")),
    "tpe": ("bare.py", (*SMALL, "hydra/sweeper/sampler=tpe")),
    "multivariate_tpe": ("bare.py", (*SMALL, "hydra/sweeper/sampler=multivariate_tpe")),
    "promotion": ("bare.py", (*SMALL, "hydra/sweeper/sampler=random", "hydra/sweeper/pruner=promotion", "steps=9")),
    "grid": ("bare.py", (*GRID, "hydra/sweeper/sampler=grid")),
    "project": ("empty.py", (*PROJECT, *STORE, "tracking=none", "hydra/sweeper/sampler=random")),
    "project_mlflow": ("empty.py", (*PROJECT, *STORE, "tracking=mlflow", "hydra/sweeper/sampler=random")),
}
"""Studies of three parameters in an application of three keys, and of this project's configuration and record."""

EPOCHS = 12
LONG_RUN = (
    "model=transformer", "model.embedding_size=128", "model.heads=8", "model.depth=6", "data.max_tokens=512",
    "data.min_sentences=2", "data.max_sentences=60", "data.train_size=320", "data.test_size=64",
    f"trainer.max_epochs={EPOCHS}", "trainer.patience=null", "tracking=none",
)  # fmt: skip

STUDY = "growth"

PLAIN = ("random", "tpe", "multivariate_tpe")
"""Studies of which the cost of Optuna alone is measured."""

MEASURED = 20
"""Trials that run at each size; the costs are those from the second of them on."""

CREATE_TRIAL = 4
"""Optuna's code of a journal's line."""

Curve = list[tuple[int, float, float]]
"""Number of trials, processor milliseconds per trial there, resident mebibytes there."""


def run_study(name: str, sizes: Sequence[int], folder: Path) -> tuple[Curve, list[float]]:
    """Run a study at some sizes; return its curve, and the cost of Optuna alone at the sizes.

    Between two sizes the study is filled up with trials in the place of those that would have run: lines of its journal
    and records, as its first trials left them.
    """
    app, overrides = CASES[name]
    words = [word.format(folder=folder, hundredth=max(2, sizes[-1] // 1000 + 1)) for word in overrides]
    curve: Curve = []
    plain = []
    for size in [0, *sizes]:
        if size:
            fill(folder / "sweep", size)
            if name in PLAIN:
                plain.append(run_optuna(name, folder / "sweep" / "journal.log"))
        command = [
            sys.executable, str(APPS / app), "-m", "hydra/sweeper=study", *words, "hydra.sweeper.n_jobs=1",
            f"hydra.sweeper.n_trials={size + MEASURED}", f"hydra.sweep.dir={folder}/sweep",
            f"hydra.sweeper.study_name={STUDY}",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        marks = [read_mark(folder / "sweep" / str(number)) for number in range(size + 1, size + MEASURED)]
        costs = [later[1] - earlier[1] for earlier, later in itertools.pairwise(marks)]
        if size:
            curve.append((size, 1000 * statistics.fmean(costs), marks[-1][2] / 2**20))
    return curve, plain


def fill(sweep_dir: Path, size: int) -> None:
    """Fill a study up with copies of its first trials: their lines of the journal and their records."""
    journal = sweep_dir / "journal.log"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    begun = [line for line in lines if line["op_code"] == CREATE_TRIAL]
    patterns = [[line for line in lines if line.get("trial_id") == number] for number in range(MEASURED)]
    generator = random.Random(0)
    with journal.open("a") as file:
        for number in range(len(begun), size):
            pattern = generator.randrange(MEASURED)
            for line in (begun[pattern], *patterns[pattern]):
                file.write(json.dumps(renumber(line, number, generator), separators=(",", ":")) + "\n")
            copy_record(sweep_dir / str(pattern), sweep_dir / str(number), number)


def renumber(line: dict[str, Any], number: int, generator: random.Random) -> dict[str, Any]:
    """Return a line of a journal as one of another trial."""
    if "trial_id" not in line:
        return line
    changed = {**line, "trial_id": number}
    for key, value in line.get("system_attr", {}).items():
        if key.startswith("study:attempt"):
            changed["system_attr"] = {key: {**value, "folder": str(number)}}
        elif key.startswith("study:identity"):
            changed["system_attr"] = {key: generator.randbytes(32).hex()}
    if line.get("values"):
        changed["values"] = [value * (1 + generator.random() / 100) for value in line["values"]]
    return changed


def copy_record(source: Path, folder: Path, number: int) -> None:
    """Copy the record of a run as that of another job, if it has one."""
    folder.mkdir()
    for file in source.iterdir():
        if file.name == "result.json":
            record = {**json.loads(file.read_text()), "job_number": number}
            (folder / file.name).write_text(json.dumps(record))
        elif file.name.startswith("mlflow.json"):
            (folder / file.name).write_bytes(file.read_bytes())


def run_optuna(name: str, journal: Path) -> float:
    """Go on with the same study with Optuna alone; return processor milliseconds per trial: ask, draw and tell."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    samplers: dict[str, Callable[[], Any]] = {
        "random": lambda: optuna.samplers.RandomSampler(),
        "tpe": lambda: optuna.samplers.TPESampler(multivariate=False, group=False, constant_liar=False),
        "multivariate_tpe": lambda: optuna.samplers.TPESampler(
            multivariate=True, group=True, constant_liar=True, n_startup_trials=30
        ),
    }
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "journal.log"
        copied.write_bytes(journal.read_bytes())
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(copied)))
        study = optuna.load_study(study_name=STUDY, storage=storage, sampler=samplers[name]())
        moments = []
        for _ in range(MEASURED):
            moments.append(time.process_time())
            trial = study.ask()
            rate = trial.suggest_float("rate", 1e-4, 1e-2, log=True)
            trial.suggest_int("depth", 1, 4), trial.suggest_categorical("heads", [1, 2, 4, 8])
            study.tell(trial, rate)
    return 1000 * statistics.fmean(later - earlier for earlier, later in itertools.pairwise(moments[1:]))


def fit_slope(points: Sequence[tuple[float, float]]) -> float:
    """Fit the slope of the second number over the first."""
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def print_curve(name: str, curve: Curve) -> dict[str, Any]:
    """Print a line of a curve, and return it for the record."""
    cells = ", ".join(f"{size}: {cost:.1f} ms, {memory:.0f} MiB" for size, cost, memory in curve)
    if len(curve) < 2:
        print(f"{name}: {cells}; one size has no slope", flush=True)
        return {"curve": curve}
    milliseconds = 1000 * fit_slope([(size, cost) for size, cost, _ in curve])
    mebibytes = 1000 * fit_slope([(size, memory) for size, _, memory in curve])
    print(f"{name}: {cells}; per 1,000 trials more: {milliseconds:+.2f} ms a trial, {mebibytes:+.1f} MiB", flush=True)
    return {"curve": curve, "milliseconds_per_1000": milliseconds, "mebibytes_per_1000": mebibytes}


def measure_first_trial(points: int) -> dict[str, float]:
    """Measure the time until the first trial of a grid of so many points starts, and that of its dry run."""
    overrides = ["rate=range(0.001,1,0.001)", f"depth=range(1,{points // 1000 + 1})", "hydra/sweeper/sampler=grid"]
    seconds = {}
    for kind in ("grid", "dry_run"):
        with tempfile.TemporaryDirectory() as folder:
            more = ["hydra.sweeper.dry_run=true"] if kind == "dry_run" else ["hydra.sweeper.n_trials=1"]
            command = [
                sys.executable, str(APPS / "bare.py"), "-m", "hydra/sweeper=study", *overrides, *more,
                f"hydra.sweep.dir={folder}/sweep",
            ]  # fmt: skip
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
            subprocess.run(command, check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds[f"{kind}_seconds"] = time.time() - began
            seconds[f"{kind}_processor_seconds"] = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    print(
        f"a grid of {points:,} points:", ", ".join(f"{key} {value:.1f}" for key, value in seconds.items()), flush=True
    )
    return seconds


def measure_report(trials: int, folder: Path) -> dict[str, float]:
    """Measure the report on a study that was run into `folder`: seconds and size of the page."""
    command = [sys.executable, "-m", "sentiment", "report", str(folder / "sweep")]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    page = folder / "sweep" / "report" / "report.html"
    found = {
        "trials": trials,
        "seconds": time.time() - began,
        "processor_seconds": after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime,
        "page_mebibytes": page.stat().st_size / 2**20,
    }
    found |= open_page(page)
    print("a report:", ", ".join(f"{key} {value:,.1f}" for key, value in found.items()), flush=True)
    return found


def measure_run() -> dict[str, Any]:
    """Measure the memory of a Transformer run of many epochs over reviews of very different lengths."""
    with tempfile.TemporaryDirectory() as folder:
        words = [word.format(folder=folder) for word in (*LONG_RUN, *STORE)]
        command = [sys.executable, "run.py", *words, f"hydra.run.dir={folder}/run", f"data.cache_dir={folder}/cache"]
        with subprocess.Popen(command, cwd=HERE.parents[1], stdout=subprocess.DEVNULL) as process:
            memory = []
            while process.poll() is None:
                try:
                    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
                except (OSError, IndexError):
                    break
                if pages == 0:  # it has ended, and waits to be noticed
                    break
                memory.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
                time.sleep(0.2)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed")
    trained = memory[len(memory) // 4 :]  # the first quarter imports and tokenises
    slope = fit_slope([(place / len(trained), value) for place, value in enumerate(trained)])
    ends = {"peak_mebibytes": max(memory), "last_mebibytes": memory[-1], "growth_mebibytes": slope}
    print(
        f"a Transformer run of {EPOCHS} epochs: peak {max(memory):.0f} MiB, in the end {memory[-1]:.0f} MiB; over its "
        f"last three quarters {slope:+.0f} MiB",
        flush=True,
    )
    return {**ends, "curve": memory[::10]}


def open_page(page: Path) -> dict[str, float]:
    """Measure how long a browser takes to show the page, and until all is drawn; nothing where there is no browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return {}
    browsers = [path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(path).exists()]
    if not browsers:
        return {}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browsers[0], args=["--no-sandbox"])
        opened, began = browser.new_page(), time.time()
        opened.goto(page.as_uri(), wait_until="domcontentloaded", timeout=300_000)
        shown = time.time() - began
        opened.wait_for_selector("html[data-drawn=true]", timeout=300_000)
        drawn = time.time() - began
        browser.close()
    return {"browser_shown_seconds": shown, "browser_drawn_seconds": drawn}


def main() -> None:
    """Measure what is asked for, print it, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*CASES, "first_trial", "report", "run_memory"]
    parser.add_argument("--sizes", default="100,300,1000,3000,10000", help="trials that a study has, comma-separated")
    parser.add_argument("--only", default=",".join(names), help=f"comma-separated, of {', '.join(names)}")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file of the results; earlier ones stay in it")
    options = parser.parse_args()
    chosen, sizes = options.only.split(","), sorted(map(int, options.sizes.split(",")))
    if unknown := set(chosen) - set(names):
        parser.error(f"--only: no {', '.join(sorted(unknown))} among {', '.join(names)}")
    if "report" in chosen and "project" not in chosen:
        parser.error("--only: report is that on the study project; write --only project,report")
    found: dict[str, Any] = {}
    for name in [name for name in CASES if name in chosen]:
        with tempfile.TemporaryDirectory() as folder:
            curve, plain = run_study(name, sizes, Path(folder))
            found[name] = print_curve(name, curve)
            if plain:
                found[name]["plain_optuna_milliseconds"] = plain
                told = ", ".join(f"{size}: {one:.1f} ms" for (size, *_), one in zip(curve, plain, strict=True))
                print(f"{name}, Optuna alone: {told}", flush=True)
            if name == "project" and "report" in chosen:
                found["report"] = measure_report(sizes[-1], Path(folder))
    if "first_trial" in chosen:
        found["first_trial_of_100000"] = measure_first_trial(100_000)
    if "run_memory" in chosen:
        found["run_memory"] = measure_run()
    keep(options.results, found)


def keep(file: Path, found: dict[str, Any]) -> None:
    """Add the results to a file, with what they were measured on."""
    from sentiment.checkout import read_commit
    from sentiment.config.home import PROJECT_DIR
    from sentiment.tracking.environment import describe_hardware

    known = json.loads(file.read_text()) if file.exists() else []
    commit = read_commit(PROJECT_DIR)
    known.append(
        {
            "commit": str(commit), "hardware": describe_hardware(), "load": os.getloadavg()[0],
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "results": found,
        }
    )  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
