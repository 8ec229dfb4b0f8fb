"""How long does a run take on a machine that is shared, against its time alone?

    python experiments/speed/shared_machine.py --repeats 3

Cases: alone; beside three busy processes a core; beside four runs of its own kind. Each with threads that wait for each
other as `sentiment` sets it (they spin briefly, then sleep) and, as the peers, with OpenMP's two policies: threads that
spin, threads that sleep at once. In every repeat each case runs once, in an order of its own, and alone once more: the
control. Every run, and all busy processes together, are sessions of their own, as those of two users are: Linux shares
the cores between sessions first. Times are those of the training on the wall, divided by that alone of the same repeat.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy
from results import RESULTS, describe, keep

from sentiment.config.home import PROJECT_DIR
from sentiment.process import count_cores

RUNS_BESIDE = 4
BUSY_PER_CORE = 3

SPINNING = {"GOMP_SPINCOUNT": "300000"}
"""What GNU OpenMP does by itself while there are no more threads than cores."""

SLEEPING = {"OMP_WAIT_POLICY": "passive"}

CASES = {
    "alone": ("none", {}),
    "alone again": ("none", {}),
    "alone, spinning": ("none", SPINNING),
    "alone, sleeping": ("none", SLEEPING),
    "beside busy processes": ("busy", {}),
    "beside busy processes, spinning": ("busy", SPINNING),
    "beside busy processes, sleeping": ("busy", SLEEPING),
    "beside runs of its kind": ("runs", {}),
    "beside runs of its kind, spinning": ("runs", SPINNING),
}


def start_run(folder: Path, variables: dict[str, str], overrides: list[str]) -> subprocess.Popen[bytes]:
    """Start a run of the default model; the folder takes its results."""
    command = [
        sys.executable, "run.py", "tracking=none", "trainer.patience=null", "trainer.test=false",
        "trainer.progress_bar=off", f"hydra.run.dir={folder}", *overrides,
    ]  # fmt: skip
    return subprocess.Popen(
        command, cwd=PROJECT_DIR, env={**os.environ, **variables}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


@contextmanager
def surroundings(kind: str, folder: Path, variables: dict[str, str], overrides: list[str]) -> Iterator[None]:
    """Keep the machine busy meanwhile: with nothing, spinning processes, or further runs that begin together."""
    with ExitStack() as stack:
        others: list[subprocess.Popen[bytes]] = []
        if kind == "busy":
            spin = f"for number in $(seq {BUSY_PER_CORE * count_cores()}); do (while :; do :; done) & done; wait"
            others = [subprocess.Popen(["sh", "-c", spin], start_new_session=True)]
        elif kind == "runs":  # longer than the run that is timed, so that it is never alone
            longer = [*overrides, "trainer.max_epochs=1000"]
            others = [start_run(folder / f"other{number}", variables, longer) for number in range(RUNS_BESIDE)]
            wait_for_training(folder, others)
        for other in others:
            stack.callback(other.wait)
            stack.callback(os.killpg, other.pid, signal.SIGKILL)
        yield


def wait_for_training(folder: Path, others: list[subprocess.Popen[bytes]]) -> None:
    """Wait until all further runs train: they have a checkpoint of their first epoch."""
    while len(list(folder.glob("other*/checkpoints/*.ckpt"))) < len(others):
        for other in others:
            assert other.poll() is None, other.stderr and other.stderr.read().decode()
        time.sleep(0.5)


def measure(kind: str, variables: dict[str, str], overrides: list[str]) -> float:
    """Return the seconds of training."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with surroundings(kind, folder, variables, overrides):
            run = start_run(folder / "run", variables, overrides)
            _, errors = run.communicate()
        assert run.returncode == 0, errors.decode()
        return float(json.loads((folder / "run" / "result.json").read_text())["seconds"])


def main() -> None:
    """Measure, print the ratios with their intervals, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--reviews", type=int, default=1000, help="training reviews")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES), help="`alone` is always among them")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    cases = sorted({"alone", *options.cases}, key=list(CASES).index)
    overrides = [f"data.train_size={options.reviews}", f"trainer.max_epochs={options.epochs}"]
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    order = random.Random(0)
    for repeat in range(options.repeats):
        for name in order.sample(cases, len(cases)):
            kind, variables = CASES[name]
            seconds[name].append(measure(kind, dict(variables), overrides))
            print(f"{repeat + 1} {name}: {seconds[name][-1]:.1f} s", flush=True)
    print(f"\n| on {count_cores()} cores | times as long as alone (95 % interval) |\n|---|---|")
    for name, values in seconds.items():
        print(f"| {name} | {describe(numpy.log(values) - numpy.log(seconds['alone']))} |")
    keep(
        options.results / "shared_machine.json",
        {"reviews": options.reviews, "epochs": options.epochs, "seconds": seconds},
    )


if __name__ == "__main__":
    main()
