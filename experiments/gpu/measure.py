"""What does one card do? Steps, time to an accuracy, trials an hour, memory: one command, under ten minutes.

    python experiments/gpu/measure.py --data-path FOLDER  # with the reviews of IMDB; without: synthetic ones
    python experiments/gpu/measure.py --device cpu --tiny # try the script itself; the figures mean nothing

1. Steps: reviews and tokens a second of both networks, on real and synthetic reviews, in float32 and bfloat16, the
   memory that torch held, and the share of the speed that a large matrix product reaches on the same card. Operations
   of a step are 6 per weight of a matrix and token, and 12 T per width and block for attention (Chowdhery et al. 2022,
   "PaLM", appendix B).
2. Time to an accuracy: seconds until a validation stands at 88.5 %, and the accuracy on test, met once at the end.
3. Trials an hour: a study with 1, 2, 4 and 8 trials at once on the card, and the memory in use.

The results, with commit and hardware, go to ``experiments/gpu/results/<device>.json`` and are printed as tables.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "speed"))

from results import keep
from steps import Stepper, build_network, draw_batches

from sentiment.config.command_line import compose_settings
from sentiment.config.home import PROJECT_DIR
from sentiment.config.schema import Settings
from sentiment.data.build import build_corpus
from sentiment.data.corpus import Corpus
from sentiment.format import format_bytes
from sentiment.search.workers.slots import list_devices
from sentiment.training.result import Reporter
from sentiment.training.run import train_and_test

TARGET = 0.885
"""Validation accuracy, the chosen one of some, for 88 % on test."""

MODELS = {
    "transformer": ["model=transformer", "model.embedding_size=128", "model.heads=4", "model.depth=2"],
    "rnn": ["model=rnn", "model.cell=gru", "model.embedding_size=128", "model.pooling=mean_max"],
}
LEARNING = {
    "transformer": ["optimizer.lr=2e-3", "model.dropout=0.2", "model.word_dropout=0.2", "model.pooling=mean_max"],
    "rnn": ["optimizer.lr=4e-3", "model.dropout=0.3", "model.word_dropout=0.2"],
}
PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed"}


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    steps: int = 100  # steps that are timed
    overrides: Sequence[str] = ("data.max_tokens=512", "data.batch_size=64")  # of all runs
    epochs: int = 6  # of the run to an accuracy
    trial: Sequence[str] = ("data.train_size=10000", "trainer.max_epochs=4")  # overrides of a trial
    at_once: Sequence[int] = (1, 2, 4, 8)  # trials at once on the card
    matrix: int = 8192  # rows and columns of the large matrix product


TINY = Size(
    steps=2,
    overrides=("data.max_tokens=16", "data.batch_size=8", "data.train_limit=64", "model.embedding_size=8"),
    epochs=1,
    trial=("data.train_size=64", "data.test_size=20", "trainer.max_epochs=1"),
    at_once=(1, 2),
    matrix=64,
)


def measure_peak(device: torch.device, precision: str, size: int) -> float:
    """Return the operations a second of a large matrix product: what the card reaches at best."""
    left, right = (torch.randn(size, size, device=device, dtype=getattr(torch, precision)) for _ in range(2))
    for _ in range(3):
        left @ right
    _wait(device)
    began, products = time.perf_counter(), 10
    for _ in range(products):
        left @ right
    _wait(device)
    return products * 2 * size**3 / (time.perf_counter() - began)


def count_operations(network: nn.Module, settings: Settings, lengths: Sequence[int]) -> float:
    """Count the operations of training on reviews of such lengths, in the usual approximation (see the top)."""
    tables = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
    matrices = sum(one.numel() for one in network.parameters() if one.ndim >= 2 and id(one) not in tables)
    blocks = settings.model.depth * settings.model.embedding_size if settings.model.name == "transformer" else 0
    return float(sum(6 * matrices * length + 12 * blocks * length**2 for length in lengths))


def measure_steps(
    settings: Settings, corpus: Corpus, device: torch.device, precision: str, steps: int, peak: float
) -> dict[str, Any]:
    """Time training steps."""
    batches = draw_batches(settings, corpus, steps)
    network = build_network(settings, corpus)
    lengths = [int(length) for batch in batches for length in batch.mask.sum(1)]
    operations = count_operations(network, settings, lengths)
    timing = Stepper(network, settings, device, precision).time(batches)
    return {
        "reviews_per_second": timing.reviews / timing.seconds,
        "tokens_per_second": timing.tokens / timing.seconds,
        "share_of_peak": operations / timing.seconds / peak,
        "memory_bytes": timing.memory_bytes,
    }


@dataclass
class Watch(Reporter):
    """A reporter that notes when a run first stood at the target."""

    began: float = field(default_factory=time.perf_counter)
    reached: float | None = None
    best: float = 0.0

    def validated(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Note the time."""
        self.best = max(self.best, metrics["val/accuracy"])
        if self.reached is None and metrics["val/accuracy"] >= TARGET:
            self.reached = time.perf_counter() - self.began


def measure_training(settings: Settings, corpus: Corpus, folder: Path) -> dict[str, Any]:
    """Train to the end; return the time to the target, and the test accuracy."""
    watch = Watch()
    result = train_and_test(settings, corpus, folder, watch)
    return {
        "seconds_to_target": watch.reached,
        "seconds": result.seconds,
        "best_validation": watch.best,
        "test": result.metrics["test/accuracy"],
    }


def measure_study(device: str, trials_at_once: int, overrides: Sequence[str], folder: Path) -> dict[str, Any]:
    """Run a study of two trials for each at once, and return its pace and the largest memory in use."""
    trials = 2 * trials_at_once
    command = [
        sys.executable, "run.py", "-m", "search=study", "hydra/sweeper/sampler=random", "tracking=none",
        "optimizer.lr=tag(log,interval(1e-4,1e-2))", f"hydra.sweeper.n_trials={trials}", "hydra.sweeper.sampler.seed=0",
        f"hydra.sweeper.n_jobs={trials_at_once}", f"hydra.sweeper.trials_per_device={trials_at_once}",
        f"hydra.sweep.dir={folder}", f"trainer={'gpu' if device == 'cuda' else 'cpu'}", "trainer.patience=null",
        "hydra.sweeper.reuse=none", "hydra/sweeper/pruner=none", "hydra.sweeper.start=[]", *overrides,
    ]  # fmt: skip
    memory = []
    with tempfile.TemporaryFile() as errors:  # a pipe that nobody reads would hold the study up
        study = subprocess.Popen(command, cwd=PROJECT_DIR, stdout=subprocess.DEVNULL, stderr=errors)
        while study.poll() is None:
            memory.append(_read_memory())
            time.sleep(1)
        errors.seek(0)
        assert study.returncode == 0, errors.read().decode()
    records = [json.loads(file.read_text()) for file in folder.glob("*/result.json")]
    assert len(records) == trials, f"{len(records)} of {trials} trials ended"
    starts = [datetime.fromisoformat(record["started"]).timestamp() for record in records]
    ends = [file.stat().st_mtime for file in folder.glob("*/result.json")]
    hours = (max(ends) - min(starts)) / 3600
    return {"trials": trials, "trials_per_hour": trials / hours, "memory_bytes": max(memory) or None}


def keep_to_one_card() -> None:
    """Let this process, the studies that it starts and the question for memory mean the same one card.

    A study would share its trials out among all cards of the machine, and torch counts them in another order than the
    driver unless told.
    """
    if cards := list_devices("auto"):
        os.environ |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": cards[0]}


def _read_memory() -> int:
    """Return the bytes in use on the card, 0 where there is none to ask."""
    tool, card = shutil.which("nvidia-smi"), os.environ.get("CUDA_VISIBLE_DEVICES")
    if tool is None or not card:
        return 0
    query = [tool, "--query-gpu=memory.used", "--format=csv,noheader,nounits", f"--id={card}"]
    return int(subprocess.run(query, capture_output=True, text=True, check=True).stdout) * 2**20


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize()


class Session:
    """One call of this script: measures the parts one after the other, and prints each as a table."""

    def __init__(self, device: str, size: Size, data: Mapping[str, Sequence[str]]) -> None:
        self.device, self.size, self.data = torch.device(device), size, data
        self.common = [f"trainer={'cpu' if device == 'cpu' else 'gpu'}", "trainer.progress_bar=off", "tracking=none"]
        self.peaks = {name: measure_peak(self.device, name, size.matrix) for name in PRECISIONS}

    def measure_steps(self) -> list[dict[str, Any]]:
        """Time steps on all kinds of reviews, of all networks, in all precisions."""
        peaks = (f"{peak / 1e12:.1f} TFLOP/s in {name}" for name, peak in self.peaks.items())
        print(f"A large matrix product reaches {' and '.join(peaks)}.\n")
        _print_header("reviews", "network", "precision", "reviews/s", "tokens/s", "share of that", "memory")
        rows = []
        for kind in self.data:
            for name in MODELS:
                settings = self.compose(kind, name)
                corpus = build_corpus(settings.data)
                for precision, peak in self.peaks.items():
                    found = measure_steps(settings, corpus, self.device, precision, self.size.steps, peak)
                    rows.append({"reviews": kind, "network": name, "precision": precision, **found})
                    pace = f"{found['reviews_per_second']:,.0f}", f"{found['tokens_per_second']:,.0f}"
                    memory = _write_bytes(found["memory_bytes"])
                    _print_row(kind, name, precision, *pace, f"{found['share_of_peak']:.1%}", memory)
        return rows

    def measure_trainings(self) -> list[dict[str, Any]]:
        """Train both networks, on the real reviews where they are at hand."""
        print()
        _print_header("reviews", "network", "precision", f"seconds to {TARGET:.1%} on validation", "test accuracy")
        kind, precision = list(self.data)[-1], "float32" if self.device.type == "cpu" else "bfloat16"
        training = [
            f"trainer.max_epochs={self.size.epochs}",
            "trainer.validations_per_epoch=4",
            "trainer.patience=null",
        ]
        rows = []
        for name in MODELS:
            settings = self.compose(kind, name, *training, f"trainer.precision={PRECISIONS[precision]}")
            with tempfile.TemporaryDirectory() as folder:
                found = measure_training(settings, build_corpus(settings.data), Path(folder))
            rows.append({"reviews": kind, "network": name, "precision": precision, **found})
            seconds = found["seconds_to_target"]
            reached = "not reached" if seconds is None else f"{seconds:.1f}"
            _print_row(kind, name, precision, reached, f"{found['test']:.2%}")
        return rows

    def measure_studies(self) -> list[dict[str, Any]]:
        """Run studies with more and more trials at once."""
        print()
        _print_header("trials at once", "trials an hour", "memory in use")
        rows = []
        for at_once in self.size.at_once:
            with tempfile.TemporaryDirectory() as folder:
                overrides = [*MODELS["transformer"], *self.size.trial]
                found = measure_study(self.device.type, at_once, overrides, Path(folder) / "study")
            rows.append({"at_once": at_once, **found})
            _print_row(str(at_once), f"{found['trials_per_hour']:,.0f}", _write_bytes(found["memory_bytes"]))
        return rows

    def compose(self, kind: str, name: str, *overrides: str) -> Settings:
        """Compose the settings of one network on one kind of reviews."""
        own = [*self.data[kind], *MODELS[name], *LEARNING[name], *self.common, *self.size.overrides]
        return compose_settings([*own, *overrides])


def main() -> None:
    """Measure everything, print and keep it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-path", help="folder of the IMDB reviews; without: synthetic reviews alone")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes that show that the script works")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    if options.device == "cuda":
        keep_to_one_card()  # before torch asks for them
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU; try the script itself with --device cpu --tiny")
    data = {"synthetic": ["data=synthetic", *(["data.train_size=100", "data.test_size=20"] if options.tiny else [])]}
    if options.data_path is not None:
        data["real"] = ["data=imdb", f"data.path={options.data_path}"]
    session = Session(options.device, TINY if options.tiny else Size(), data)
    name = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    record = {
        "device": name,
        "torch": torch.__version__,
        "size": asdict(session.size),
        "peaks": session.peaks,
        "steps": session.measure_steps(),
        "trainings": session.measure_trainings(),
        "studies": session.measure_studies(),
    }
    file = options.results / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}.json"
    keep(file, record)
    print(f"\n{file}")


def _print_header(*names: str) -> None:
    _print_row(*names)
    print("|" + "---|" * len(names))


def _print_row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def _write_bytes(count: int | None) -> str:
    return "" if count is None else format_bytes(count)


if __name__ == "__main__":
    main()
