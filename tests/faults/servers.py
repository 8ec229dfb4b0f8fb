"""Train beside a tracking server that is slow, flaky or dead, and print what it cost.

    python -m tests.faults.servers --repeats 5          # training seconds beside each, and what MLflow has in the end

The servers are on the loopback (`FakeServer`): none; one that is well; slow, 2 s a request; flaky, 15 % of the requests
fail, half of them after they were done; one that dies in mid-training and is back for ``python -m sentiment sync``.
Each repeat trains once beside each, in an order of its own, and once more beside none: the control. Its times are
divided by that beside none of the same repeat. What counts is the time of the training thread, less what it waited for
a core, as Linux tells it: other processes of the machine are no matter, whatever tracking makes it wait for is. The
exit code is 1 where a record was lost or doubled, or where training is shown to be slower by more than 5 %.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy
from scipy import stats

from sentiment.config.home import PROJECT_DIR
from tests.tracking.mlflow.fake_server import FakeServer

EPOCHS = 8
CONTROL = "none again"
SERVERS = ("none", CONTROL, "well", "slow", "flaky", "dead")
ALLOWED = 1.05

TIMED = """
import os, runpy, sys, time
from types import SimpleNamespace
from sentiment.training import resume

def tell_time():
    with open(f"/proc/self/task/{os.getpid()}/schedstat") as file:
        return time.monotonic() - int(file.read().split()[1]) / 1e9  # ns that the thread waited for a core

resume.time = SimpleNamespace(monotonic=tell_time)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a script with a clock that stands while the training thread waits for a core."""


def train(kind: str, folder: Path, train_size: int) -> dict[str, float]:
    """Train once; return the figures."""
    server = FakeServer()
    is_recorded = kind not in ("none", CONTROL)
    command = [
        *(sys.executable, "-c", TIMED, "run.py", "model=rnn", "trainer.patience=null", f"trainer.max_epochs={EPOCHS}"),
        *(f"data.train_size={train_size}", "data.test_size=200", f"hydra.run.dir={folder}", "tracking.log_model=false"),
        *("trainer=cpu", "trainer.threads=1", f"tracking.uri={server.uri}" if is_recorded else "tracking=none"),
    ]
    server.delay_seconds = 2.0 if kind == "slow" else 0.0
    server.error_rate = 0.15 if kind == "flaky" else 0.0
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=PROJECT_DIR, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if kind == "dead":
        while process.poll() is None and not any(run["points"] for run in server.runs.values()):
            time.sleep(0.05)
        server.die()
    _, errors = process.communicate(timeout=1800)
    wall = time.monotonic() - began
    if process.returncode:
        print(errors)
    result = json.loads((folder / "result.json").read_text())
    requests = len(server.requests)
    if kind == "dead":
        server.start()
    if is_recorded:
        sync = [sys.executable, "-m", "sentiment", "sync", str(folder)]
        for _ in range(10):
            if subprocess.run(sync, cwd=PROJECT_DIR, capture_output=True, check=False).returncode == 0:
                break
    runs = [run for run in server.runs.values() if run["info"]["lifecycle_stage"] == "active"]
    validations = [point[1] for run in runs for point in run["points"] if point[0] == "val/accuracy"]
    server.die()
    return {
        "training s": round(result["seconds"], 3),
        "command s": round(wall, 1),
        "exit": process.returncode,
        "requests": requests,
        "requests of sync": len(server.requests) - requests,
        "runs": len(runs),
        "finished": sum(run["info"]["status"] == "FINISHED" for run in runs),
        "lost": EPOCHS - len(set(validations)) if is_recorded else 0,
        "doubled": len(validations) - len(set(validations)),
    }


def is_faulty(kind: str, figures: dict[str, float]) -> bool:
    """Return whether a record was lost or doubled, or the run failed."""
    is_whole = kind in ("none", CONTROL) or (figures["runs"], figures["finished"]) == (1, 1)
    return bool(figures["exit"] or figures["lost"] or figures["doubled"] or not is_whole)


def summarise(ratios: list[float]) -> tuple[float, float, float]:
    """Return the geometric mean of ratios and its 95 % interval (Student's t)."""
    logs = numpy.log(ratios)
    half = math.inf if len(logs) < 2 else stats.t.ppf(0.975, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs))
    return math.exp(logs.mean()), math.exp(logs.mean() - half), math.exp(logs.mean() + half)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train-size", type=int, default=4000, help="reviews; more train longer")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    seconds, faults = defaultdict(list), 0
    for repeat in range(options.repeats):
        for kind in random.sample(SERVERS, len(SERVERS)):
            with tempfile.TemporaryDirectory() as folder:
                figures = train(kind, Path(folder) / "run", options.train_size)
            seconds[kind].append(figures["training s"])
            faults += is_faulty(kind, figures)
            print(f"{repeat + 1} {kind:10}", "  ".join(f"{key} {value}" for key, value in figures.items()), flush=True)
    print(f"\ntraining time beside each, of that beside none; {options.repeats} repeats, mean and 95 % interval")
    is_slow = False
    for kind in SERVERS[1:]:
        mean, low, high = summarise([one / none for one, none in zip(seconds[kind], seconds["none"], strict=True)])
        print(f"{kind:10} {mean:.3f} [{low:.3f}, {high:.3f}]")
        is_slow |= low > ALLOWED
    print(f"runs with a record lost or doubled, or that failed: {faults}")
    sys.exit(bool(faults or is_slow))


if __name__ == "__main__":
    main()
