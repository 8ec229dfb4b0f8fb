"""How do time and memory of training grow with the length of reviews, the vocabulary, width, depth and their number?

    python experiments/speed/growth.py

One quantity at a time, the rest as it stands in `BASE`; each point in a process of its own. Time is processor seconds a
review (for the number of reviews: of reading them and of an epoch), memory the largest of the process, and how much of
it came after the libraries were there. The exponent of time is the slope of logarithms between the two largest points:
1 is linear; of a batch, whose time its reviews share, 0. Attention grows with the square of the length, the matrices
with the square of the width; nothing else may be above 1, but for what a machine's caches add.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from results import RESULTS, keep

from sentiment.config.command_line import compose_settings
from sentiment.config.home import PROJECT_DIR
from sentiment.format import format_bytes
from sentiment.process import prepare_process

STEPS = 12


@dataclass(frozen=True)
class Work:
    """What is trained: one step is `batch` reviews of `length` tokens."""

    model: str  # ``transformer`` or ``rnn``
    length: int = 256  # tokens of every review
    vocabulary: int = 10_000  # token ids
    width: int = 64  # of embedding and states
    depth: int = 2  # blocks or layers
    batch: int = 8  # reviews of a step


QUANTITIES = {
    "length": [256, 512, 1024, 2048],
    "vocabulary": [10_000, 40_000, 160_000],
    "width": [64, 128, 256],
    "depth": [2, 4, 8],
    "batch": [8, 16, 32],
}

TINY = {"length": [8, 16]}


def measure(work: Work) -> dict[str, float]:
    """Train some steps in this process; return seconds a review, the largest memory and that of the libraries."""
    # Here only: the largest memory of a process is never told as less than that of the one which started it.
    import torch
    from steps import Stepper

    from sentiment.data.batching import Item, collate
    from sentiment.models.build import build_model

    torch.set_num_threads(1)
    shape = [f"model={work.model}", f"model.embedding_size={work.width}", f"model.depth={work.depth}"]
    settings = compose_settings([*shape, f"data.max_tokens={work.length}", "tracking=none"])
    before = read_peak()
    network = build_model(settings.model, vocabulary_size=work.vocabulary, classes=2, max_tokens=work.length)
    random = np.random.default_rng(0)
    ids = random.integers(2, work.vocabulary, size=(STEPS, work.batch, work.length))
    batches = [collate([Item(review, row % 2, row) for row, review in enumerate(batch)]) for batch in ids]
    timing = Stepper(network, settings, torch.device("cpu")).time(batches)
    return {"seconds": timing.seconds / timing.reviews, "memory": read_peak(), "before": before}


def read_peak() -> float:
    """Return the largest memory of this process so far, in bytes."""
    return 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure_data(reviews: int) -> dict[str, float]:
    """Read so many synthetic reviews afresh and train the smallest network on them for an epoch, in one command."""
    tiny = ["model=rnn", "model.embedding_size=4", "data.max_tokens=16", "trainer.max_epochs=1", "trainer.threads=1"]
    command = [
        "run.py",
        *tiny,
        f"data.train_size={reviews}",
        "data.test_size=100",
        "tracking=none",
        "trainer.test=false",
    ]
    began = time.perf_counter()
    # A generator seed of its own: the token cache has none of it yet.
    fresh = [f"data.generator_seed={time.time_ns() % 10**9}"]
    run = subprocess.Popen([sys.executable, *command, *fresh], cwd=PROJECT_DIR, stdout=subprocess.DEVNULL)
    # RUSAGE_CHILDREN would give the largest memory of any process before.
    _, status, used = os.wait4(run.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed, see above")
    return {
        "seconds": used.ru_utime + used.ru_stime, "wall": time.perf_counter() - began, "memory": 1024.0 * used.ru_maxrss
    }  # fmt: skip


def measure_apart(work: Work) -> dict[str, float]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--one", json.dumps(asdict(work))]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {name: float(value) for name, value in json.loads(found).items()}


def find_exponent(sizes: list[int], values: list[float]) -> float:
    """Return the slope of logarithms between the two largest points."""
    return math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2])


def show(name: str, sizes: list[int], rows: list[dict[str, float]]) -> None:
    """Print one curve."""
    times = ", ".join(f"{1000 * row['seconds']:,.0f}" for row in rows)
    peaks = ", ".join(format_bytes(int(row["memory"])) for row in rows)
    own = ", ".join(format_bytes(int(row["memory"] - row["before"])) for row in rows if "before" in row)
    exponent = find_exponent(sizes, [row["seconds"] for row in rows])
    cells = name, ", ".join(f"{size:,}" for size in sizes), times, peaks, own, f"{exponent:.2f}"
    print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Measure all curves, print and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--tiny", action="store_true", help="sizes that say nothing, to see that everything works")
    parser.add_argument("--one", help="a point, as JSON; used by this script itself")
    options = parser.parse_args()
    prepare_process()
    if options.one is not None:
        print(json.dumps(measure(Work(**json.loads(options.one)))))
        return
    print("| quantity | sizes | ms a review | memory | above libraries | exponent of time |\n|---|---|---|---|---|---|")
    curves = {}
    for model in ("transformer", "rnn"):
        for quantity, sizes in (TINY if options.tiny else QUANTITIES).items():
            rows = [measure_apart(Work(model, **{quantity: size})) for size in sizes]
            curves[f"{model}, {quantity}"] = [{"size": size, **row} for size, row in zip(sizes, rows, strict=True)]
            show(f"{model}: {quantity}", sizes, rows)
    sizes = [100, 200] if options.tiny else [10_000, 40_000, 160_000]
    rows = [measure_data(size) for size in sizes]
    curves["reviews"] = [{"size": size, **row} for size, row in zip(sizes, rows, strict=True)]
    show("reviews: whole command", sizes, rows)
    keep(options.results / "growth.json", {"curves": curves})


if __name__ == "__main__":
    main()
