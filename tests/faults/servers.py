"""Train beside a tracking server that is slow, flaky or dead, and print what it cost.

    python -m tests.faults.servers                      # training seconds beside each, and what MLflow has in the end

The servers are on the loopback (`FakeServer`): none; one that is well; slow, 2 s a request; flaky, 15 % of the requests
fail, half of them after they were done; one that dies in mid-training and is back for ``python -m sentiment sync``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sentiment.config.home import PROJECT_DIR
from tests.tracking.mlflow.fake_server import FakeServer

EPOCHS = 8
SERVERS = ("none", "well", "slow", "flaky", "dead")


def train(kind: str, folder: Path, train_size: int) -> dict[str, object]:
    """Train once; return the figures."""
    server = FakeServer()
    command = [
        *(sys.executable, "run.py", "model=rnn", "trainer.patience=null", f"trainer.max_epochs={EPOCHS}"),
        *(f"data.train_size={train_size}", "data.test_size=200", f"hydra.run.dir={folder}", "tracking.log_model=false"),
        *(["tracking=none"] if kind == "none" else [f"tracking.uri={server.uri}"]),
    ]
    server.delay_seconds = 2.0 if kind == "slow" else 0.0
    server.error_rate = 0.15 if kind == "flaky" else 0.0
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=PROJECT_DIR, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if kind == "dead":
        while process.poll() is None and not any(run["points"] for run in server.runs.values()):
            time.sleep(0.05)
        server.die()
    _, errors = process.communicate(timeout=600)
    wall = time.monotonic() - began
    result = json.loads((folder / "result.json").read_text())
    if kind == "dead":
        server.start()
    if kind != "none":
        sync = [sys.executable, "-m", "sentiment", "sync", str(folder)]
        for _ in range(10):
            if subprocess.run(sync, cwd=PROJECT_DIR, capture_output=True, check=False).returncode == 0:
                break
    runs = [run for run in server.runs.values() if run["info"]["lifecycle_stage"] == "active"]
    validations = [point[1] for run in runs for point in run["points"] if point[0] == "val/accuracy"]
    server.die()
    if process.returncode:
        print(errors)
    return {
        "training s": round(result["seconds"], 2),
        "command s": round(wall, 1),
        "exit": process.returncode,
        "requests": len(server.requests),
        "runs": len(runs),
        "finished": sum(run["info"]["status"] == "FINISHED" for run in runs),
        "lost": 0 if kind == "none" else EPOCHS - len(set(validations)),
        "doubled": len(validations) - len(set(validations)),
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train-size", type=int, default=4000, help="reviews; more train longer")
    options = parser.parse_args()
    wrong = False
    for kind in SERVERS:
        with tempfile.TemporaryDirectory() as folder:
            figures = train(kind, Path(folder) / "run", options.train_size)
        print(f"{kind:6}", "  ".join(f"{name} {value}" for name, value in figures.items()), flush=True)
        is_whole = kind == "none" or (figures["runs"], figures["finished"]) == (1, 1)
        wrong |= bool(figures["exit"] or figures["lost"] or figures["doubled"] or not is_whole)
    sys.exit(wrong)


if __name__ == "__main__":
    main()
