"""Policies of searching against each other and the stock sweeper, simulated: at equal time, with paired seeds.

    python experiments/search_efficiency/compare.py --seeds 200             # all of it: hours of one core
    python experiments/search_efficiency/compare.py --seeds 4 --workers 2   # a taste, in a minute
    python experiments/search_efficiency/compare.py --draw                  # tables and pictures from what is there

A result is appended to results/ as soon as it is there: the command goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import warnings
from collections import defaultdict
from collections.abc import Iterable
from multiprocessing import Pool
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import optuna
from curves import FOLDER as CURVES
from curves import Curves
from omegaconf import OmegaConf
from scipy.stats import spearmanr
from simulate import TPE, Policy, Progress, sample, simulate

from sentiment.config.home import PROJECT_DIR
from sentiment.report.statistics import mean_interval
from sentiment.search.study.promotion import PromotionPruner

FOLDER = Path(__file__).parent / "results"

TABLES = {
    "transformer_synthetic": "transformer",
    "rnn_synthetic": "rnn",
    "transformer_reviews": "transformer",
}
"""Recorded tables, and the search in conf/search that they were drawn from."""

WORKERS = (2, 8, 32)

STOCK_TRIALS = 20
"""The horizon is the time that so many whole trainings take two workers."""

LONGEST = 5
"""Horizons after which a study of so many trials is over in any case."""

RANDOM = {"_target_": "optuna.samplers.RandomSampler", "seed": 0}

LATE_TPE = {**TPE, "n_startup_trials": 30}

warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)

POLICIES = [
    Policy("stock", in_batches=True),
    Policy("stock, drawn again", in_batches=True, draws_again=True),
    Policy("no pruning"),
    Policy("median", optuna.pruners.MedianPruner()),
    Policy("median, margin 1", optuna.pruners.MedianPruner(), margin=1.0),
    Policy("median, warm-up 2", optuna.pruners.MedianPruner(n_warmup_steps=2)),
    Policy("median, 2 start-up trials", optuna.pruners.MedianPruner(n_startup_trials=2)),
    Policy("median, 2 start-up trials, random", optuna.pruners.MedianPruner(n_startup_trials=2), sampler=RANDOM),
    Policy("percentile 25", optuna.pruners.PercentilePruner(25.0)),
    Policy("patient", optuna.pruners.PatientPruner(optuna.pruners.MedianPruner(), 2)),
    Policy("hyperband", optuna.pruners.HyperbandPruner(max_resource=9)),
    Policy("halving, stopping, eta 3", optuna.pruners.SuccessiveHalvingPruner(1, 3)),
    *(
        Policy(f"promotion, eta {eta}, first rung {rung}", PromotionPruner(rung, eta))
        for rung in (1, 2, 3)
        for eta in (2, 3, 4)
    ),
    Policy("promotion, eta 3, first rung 3, random", PromotionPruner(3, 3), sampler=RANDOM),
    Policy("promotion, eta 3, first rung 2, random", PromotionPruner(2, 3), sampler=RANDOM),
    Policy("promotion, eta 3, first rung 3, TPE after 30", PromotionPruner(3, 3), sampler=LATE_TPE),
    Policy("promotion, eta 3, first rung 2, TPE after 30", PromotionPruner(2, 3), sampler=LATE_TPE),
    # Of search=transformer, rnn and both: what is tried first runs to its end.
    Policy("default", PromotionPruner(3, 3), sampler=LATE_TPE, has_yardstick=True),
    Policy("default, growing", PromotionPruner(3, 3, growing=True), sampler=LATE_TPE, has_yardstick=True),
    Policy("stock, 20 trials", in_batches=True, n_trials=20),
    Policy("median, 20 trials", optuna.pruners.MedianPruner(), n_trials=20),
    Policy("default, 20 trials", PromotionPruner(3, 3), sampler=LATE_TPE, has_yardstick=True, n_trials=20),
    Policy("no pruning, random", sampler=RANDOM),
    Policy("oracle", oracle_from=1),
    Policy("oracle, random", oracle_from=1, sampler=RANDOM),
    Policy("oracle from validation 3, random", oracle_from=3, sampler=RANDOM),
]
BY_NAME = {policy.name: policy for policy in POLICIES}

Task = tuple[str, str, int, int]
"""Table, policy, workers, seed."""


def find_horizon(curves: Curves) -> float:
    """Return the seconds of simulated time of every study on a table."""
    from simulate import OBSERVED_REVIEWS, START_SECONDS

    validating = curves.validation_seconds.sum(axis=1) * OBSERVED_REVIEWS / curves.hits.shape[-1]
    whole = float((curves.train_seconds[:, -1] + validating).mean()) + START_SECONDS
    return STOCK_TRIALS * whole / min(WORKERS)


_tables: dict[str, Curves] = {}


def run(task: Task) -> tuple[Task, Progress, float]:
    """Simulate one study."""
    name, policy, workers, seed = task
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("sentiment").setLevel(logging.ERROR)
    if name not in _tables:
        _tables[name] = Curves.load(name)
    curves = _tables[name]
    params = OmegaConf.load(PROJECT_DIR / "conf" / "search" / f"{TABLES[name]}.yaml").hydra.sweeper.params
    seconds = find_horizon(curves) * (LONGEST if BY_NAME[policy].n_trials else 1)
    progress, end = simulate(BY_NAME[policy], curves, dict(params), workers=workers, seconds=seconds, seed=seed)
    return task, progress, end


def run_all(tasks: Iterable[Task], processes: int) -> None:
    """Simulate what is not there yet."""
    FOLDER.mkdir(exist_ok=True)
    missing = [task for task in tasks if task not in read_results(task[0])]
    with Pool(processes) as pool:
        for task, progress, end in pool.imap_unordered(run, missing):
            line = json.dumps([*task, [[round(float(x), 4) for x in row] for row in progress], round(float(end), 4)])
            with find_file(task[0]).open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def find_file(name: str) -> Path:
    """Return the file of a table's results, which are worth nothing for another version of the table."""
    digest = hashlib.sha256((CURVES / f"{name}.npz").read_bytes()).hexdigest()
    return FOLDER / f"{name}-{digest[:8]}.jsonl"


class Found(NamedTuple):
    """What a study had found and when, and at which second it ended; None: from before that was kept."""

    progress: Progress
    end: float | None = None


def read_results(name: str) -> dict[Task, Found]:
    """Read the results of a table."""
    file = find_file(name)
    if not file.exists():
        return {}
    rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return {(row[0], row[1], row[2], row[3]): Found([tuple(one) for one in row[4]], *row[5:]) for row in rows}


GRID = np.linspace(0, 1, 401)
"""Shares of the horizon at which studies are compared."""


def gather(name: str, workers: int) -> dict[str, npt.NDArray[np.float64]]:
    """Return, per policy, (S, 401) what each seed's study had found over time; seeds that every policy has."""
    horizon = find_horizon(Curves.load(name))
    found: dict[str, dict[int, npt.NDArray[np.float64]]] = defaultdict(dict)
    for (_, policy, count, seed), study in read_results(name).items():
        if count == workers and BY_NAME[policy].n_trials is None:
            found[policy][seed] = sample(study.progress, GRID * horizon)
    if not found:
        return {}
    seeds = sorted(set.intersection(*(set(one) for one in found.values())))
    return {policy: np.stack([one[seed] for seed in seeds]) for policy, one in found.items()}


def find_speed(stock: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Return how many times sooner the mean of a policy stands where the stock sweeper's mean ends.

    Below 1 where it stands lower at the end: then it is how soon the stock sweeper was there.
    """
    own, theirs = other.mean(axis=0), stock.mean(axis=0)
    if own[-1] >= theirs[-1]:
        return float(1 / max(GRID[np.argmax(own >= theirs[-1] - 1e-12)], GRID[1]))
    return float(max(GRID[np.argmax(theirs >= own[-1] - 1e-12)], GRID[1]))


def bootstrap(
    stock: npt.NDArray[np.float64], other: npt.NDArray[np.float64], draws: int = 1000
) -> tuple[float, float, float]:
    """Return the speed and its 95 % interval over seeds, which are drawn in pairs."""
    random, seeds = np.random.default_rng(0), len(stock)
    speeds = [find_speed(stock[chosen], other[chosen]) for chosen in random.integers(seeds, size=(draws, seeds))]
    return find_speed(stock, other), float(np.quantile(speeds, 0.025)), float(np.quantile(speeds, 0.975))


def print_table(name: str, workers: int) -> None:
    """Print a table in Markdown: speeds, and by how many points more was found at each quarter of the time."""
    found = gather(name, workers)
    if "stock" not in found:
        return
    stock = found["stock"]
    ends = ", ".join(f"{100 * stock[:, quarter].mean():.2f}" for quarter in QUARTERS)
    print(f"\n{name}, {workers} workers, {len(stock)} seeds; the stock sweeper stands at {ends} % at the quarters\n")
    print("| policy | speed | points above stock at 1/4 | 2/4 | 3/4 | 4/4 |\n|---|---|---|---|---|---|")
    for policy, values in sorted(found.items(), key=lambda item: -item[1][:, -1].mean()):
        speed, low, high = bootstrap(stock, values)
        cells = [f"{speed:.2f} [{low:.2f}, {high:.2f}]"]
        for quarter in QUARTERS:
            cells.append(write_difference(values[:, quarter] - stock[:, quarter]))
        print(f"| {policy} | {' | '.join(cells)} |")
    for ahead, behind in PAIRS:
        if ahead in found and behind in found:
            difference = write_difference(found[behind][:, -1] - found[ahead][:, -1])
            print(f"\n{behind}, at the end, less {ahead}: {difference}")


def write_difference(more: npt.NDArray[np.float64]) -> str:
    """Write the mean of differences between pairs of seeds in points, with its 95 % interval."""
    found = mean_interval((100 * more).tolist())
    return f"{found.value:+.2f} ± {found.high - found.value:.2f}"


def print_equal_trials(name: str, workers: int) -> None:
    """Print what was found with equally many trials, when the last of it was found, and when the study ended.

    A policy that stops finding early has an early last find, however long it then goes on.
    """
    ends: dict[str, dict[int, Found]] = defaultdict(dict)
    for (_, policy, count, seed), study in read_results(name).items():
        if count == workers and BY_NAME[policy].n_trials and study.progress:
            ends[policy][seed] = study
    stock = ends.get("stock, 20 trials")
    if stock is None:
        return
    print(f"\n{name}, {workers} workers, equally many trials; moments over those of the stock sweeper\n")
    print("| policy | found | less stock, points | moment of the last find | end |\n|---|---|---|---|---|")
    for policy, found in sorted(ends.items()):
        pairs = [(found[seed], stock[seed]) for seed in sorted(stock.keys() & found.keys())]
        values, theirs = (np.array([one.progress[-1][2] for one in side]) for side in zip(*pairs, strict=True))
        last = [np.mean([one.progress[-1][0] for one in side]) for side in zip(*pairs, strict=True)]
        closing = [[one.end for one in side if one.end is not None] for side in zip(*pairs, strict=True)]
        is_kept = all(len(one) == len(pairs) for one in closing)
        end = f"{np.mean(closing[0]) / np.mean(closing[1]):.2f}" if is_kept else "not kept"
        cells = f"{100 * values.mean():.2f} %", write_difference(values - theirs), f"{last[0] / last[1]:.2f}", end
        print(f"| {policy} | {' | '.join(cells)} |")


def print_recorded(name: str) -> None:
    """Print what early validations of the recorded trainings say of their end, and how near the best they end."""
    accuracy = Curves.load(name).accuracy
    best = accuracy.max(axis=1)
    correlations = ", ".join(f"{spearmanr(column, best).statistic:.2f}" for column in accuracy.T)
    near = int((best > best.max() - 0.01).sum())
    print(f"\n{name}: rank correlation of each validation with the end {correlations}; {near} of {len(best)} trainings")
    print("end within a point of the best")


PAIRS = (
    ("oracle from validation 3, random", "default"),
    ("default", "median"),
    ("default", "median, margin 1"),
    ("default", "no pruning"),
    ("promotion, eta 3, first rung 3, random", "promotion, eta 3, first rung 3"),
)
"""Policies that are compared with each other, not with the stock sweeper."""

QUARTERS = (100, 200, 300, 400)
"""Indices of `GRID`."""

SHOWN = ("stock", "no pruning", "median", "default", "oracle, random")
"""Policies in the picture, which would be unreadable with all."""


def draw(name: str) -> Path | None:
    """Draw what the mean study had found over time, with its 95 % band, per number of workers."""
    import matplotlib.pyplot as plt

    there = {workers: found for workers in WORKERS if "stock" in (found := gather(name, workers))}
    if not there:
        return None
    figure, axes = plt.subplots(1, len(there), figsize=(4.4 * len(there), 3.8), squeeze=False, layout="constrained")
    horizon = find_horizon(Curves.load(name))
    for panel, (workers, found) in zip(axes[0], there.items(), strict=True):
        for policy in (one for one in SHOWN if one in found):
            moments = [mean_interval(values) for values in (100 * found[policy]).T.tolist()]
            (line,) = panel.plot(GRID * horizon, [one.value for one in moments], label=policy)
            band = [one.low for one in moments], [one.high for one in moments]
            panel.fill_between(GRID * horizon, *band, color=line.get_color(), alpha=0.15)
        panel.set_title(f"{workers} workers, {len(found['stock'])} studies each")
        panel.set_xlabel("simulated time (s)")
        panel.set_ylim(bottom=100 * found["stock"][:, 100].mean() - 5)
    axes[0, 0].set_ylabel("accuracy of the best so far on unseen reviews (%)")
    axes[0, -1].legend(fontsize=7, loc="lower right")
    file = FOLDER / f"{name}.png"
    figure.savefig(file, dpi=120)
    plt.close(figure)
    return file


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--workers", type=int, nargs="*", default=list(WORKERS))
    parser.add_argument("--tables", nargs="*", default=list(TABLES))
    parser.add_argument("--policies", nargs="*", default=list(BY_NAME))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--draw", action="store_true")
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    if not arguments.draw:
        run_all(
            (
                (name, policy, workers, seed)
                for seed in seeds
                for name in arguments.tables
                for workers in arguments.workers
                for policy in arguments.policies
            ),
            arguments.processes,
        )
    for name in arguments.tables:
        print_recorded(name)
        for workers in arguments.workers:
            print_table(name, workers)
            print_equal_trials(name, workers)
        if arguments.draw and (picture := draw(name)) is not None:
            print(picture)


if __name__ == "__main__":
    main()
