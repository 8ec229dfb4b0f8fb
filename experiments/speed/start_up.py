"""How long does a command take to its answer, and a run to its first training step, against what its libraries take?

    python experiments/speed/start_up.py --rounds 5    # three minutes of two idle cores

Caches are warm: every case runs once before it is timed. In every round each case runs once, in an order of its own,
and one of each group once more: the control. Seconds are those on the wall, and of the processor (the process alone).
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from results import RESULTS, describe, keep

from sentiment.config.home import PROJECT_DIR

DONE = "it took"
"""What a timed process says last, with its seconds of processor time."""

TELL = f"import time; print('{DONE}', time.process_time(), flush=True)"

PEER = f"""
import torch, lightning.pytorch as pl
from torch import nn

class Stop(pl.Callback):
    def on_train_batch_end(self, *args):
        {TELL}

class Network(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(1000, 64), nn.Linear(64, 2)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 256, batch_first=True), 2)
    def training_step(self, batch, index):
        tokens, labels = batch
        return nn.functional.cross_entropy(self.head(self.encoder(self.table(tokens)).mean(1)), labels)
    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters())

reviews = torch.utils.data.TensorDataset(torch.randint(1000, (64, 64)), torch.randint(2, (64,)))
pl.Trainer(max_epochs=1, logger=False, enable_checkpointing=False, accelerator="cpu", callbacks=[Stop()]).fit(
    Network(), torch.utils.data.DataLoader(reviews, 32)
)
"""
"""The least that a Lightning program does up to its first step."""

OURS = f"""
import sys
sys.path.insert(0, {str(PROJECT_DIR)!r})
import run
from sentiment.training import run as training
import lightning.pytorch as pl

class Stop(pl.Callback):
    def on_train_batch_end(self, *args):
        {TELL}

build = training.build_trainer
training.build_trainer = lambda settings, folder, callbacks, **rest: build(
    settings, folder, [*callbacks, Stop()], **rest
)
run.main()
"""

HYDRA, BARE, COMMAND = "import hydra", "a bare Hydra program, --cfg job", "run.py --cfg job"
KNOWING = "the same, knowing the keys and their ranges"
STEP, MAIN = "a bare Lightning program, first step", "run.py, first step"

GROUPS = {HYDRA: [HYDRA, BARE, KNOWING, COMMAND], STEP: [STEP, MAIN]}
"""What each case is divided by, and the cases."""


def build_command(case: str, folder: Path) -> list[str]:
    """Return the command of a case."""
    own = tempfile.mkdtemp(dir=folder)
    where = [f"hydra.run.dir={own}", f"tracking.uri=sqlite:///{folder}/mlflow.db", "trainer.threads=1"]
    commands = {
        HYDRA: [sys.executable, "-c", f"import hydra; {TELL}"],
        BARE: [sys.executable, "-c", f"{TELL_LAST}\n{BARE_PROGRAM}"],
        KNOWING: [sys.executable, "-c", f"{TELL_LAST}\n{SCHEMA}\n{BARE_PROGRAM}"],
        COMMAND: [sys.executable, "-c", f"{TELL_LAST}\n{LIKE_A_SCRIPT}"],
        STEP: [sys.executable, "-c", PEER],
        MAIN: [sys.executable, "-c", OURS, *where],
    }
    return commands[case]


TELL_LAST = f"import atexit; atexit.register(lambda: exec({TELL!r}))"

BARE_PROGRAM = f"""
import hydra, sys
sys.argv = ["run.py", "--cfg", "job"]

@hydra.main(config_path={str(PROJECT_DIR / "conf")!r}, config_name="config")
def main(config):
    pass

main()
"""
"""Hydra alone on the same configuration, unchecked: it finds its plugins and composes."""

SCHEMA = f"import sys; sys.path.insert(0, {str(PROJECT_DIR)!r}); import sentiment.config.schema"
"""With pydantic: the least that a command takes which can say what is wrong with a value."""

LIKE_A_SCRIPT = f"""
import runpy, sys
sys.argv = ["run.py", "--cfg", "job"]
sys.path.insert(0, {str(PROJECT_DIR)!r})
runpy.run_path({str(PROJECT_DIR / "run.py")!r}, run_name="__main__")
"""


def measure(case: str, folder: Path) -> tuple[float, float]:
    """Return the seconds of a case on the wall and of the processor; the folder takes what it writes."""
    started = time.monotonic()
    process = subprocess.Popen(
        build_command(case, folder), cwd=PROJECT_DIR, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    told = next((line for line in process.stdout if line.startswith(DONE)), None)
    seconds = time.monotonic() - started
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    if told is None:
        raise SystemExit(f"{case}: the command ended without an answer")
    return seconds, float(told.removeprefix(DONE))


def main() -> None:
    """Read the command line, measure, print a table and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    cases = {name: name for group in GROUPS.values() for name in group} | {f"{name}, again": name for name in GROUPS}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for name in dict.fromkeys(cases.values()):
            measure(name, Path(folder))
        for number in range(options.rounds):
            for name in random.Random(number).sample(list(cases), len(cases)):
                found[name].append(measure(cases[name], Path(folder)))
    print(
        "| | seconds on the wall | of the processor | times as much processor time (95 % interval) |\n|---|---|---|---|"
    )
    for base, group in GROUPS.items():
        for name in [*group, f"{base}, again"]:
            wall, processor = np.mean(found[name], axis=0)
            logs = np.log([own[1] / other[1] for own, other in zip(found[name], found[base], strict=True)])
            print(f"| {name} | {wall:.2f} | {processor:.2f} | {describe(logs)} |")
    keep(options.results / "start_up.json", {"seconds": found})


if __name__ == "__main__":
    main()
