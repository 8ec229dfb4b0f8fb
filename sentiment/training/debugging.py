"""``debug=fast|overfit|profile|nans``: try a run before it is trained.

Each works on a part of the reviews under a fingerprint of its own, so that nothing takes its figures for a result.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.profilers import Profiler
from torch import Tensor, nn

from sentiment.config.schema import Settings
from sentiment.data.corpus import Corpus, EncodedSplit
from sentiment.errors import NonFiniteLossError
from sentiment.format import format_count, format_percent

log = logging.getLogger(__name__)

BATCHES = {"fast": 1, "overfit": 2, "profile": 20}
"""Batches of each split that are left; ``nans`` has to see all of them."""

LEARNT_LOSS = 0.05
"""Training loss from which on a network has learnt its two batches by heart."""

SHOWN_OPERATORS = 15

PARTS = (
    ("[Callback]", "recording"), ("train_dataloader_next", "data"), ("training_step", "forward"),
    ("backward", "backward"), ("optimizer_step", "optimizer"), ("optimizer_zero_grad", "optimizer"),
)  # fmt: skip
"""How Lightning's actions contribute to the parts of a training step: by a part of their names, the first that fits."""

SHOWN_PARTS = ("data", "forward", "backward", "optimizer", "recording")
"""The parts in the order of a step: rows of the table, spans of the trace."""


def limit_corpus(corpus: Corpus, settings: Settings) -> Corpus:
    """Return the reviews that a run with `trainer.debug` sees; others see all."""
    mode = settings.trainer.debug
    if mode is None:
        return corpus
    count = count_reviews(settings) or len(corpus.train)
    train, validation, test = (_take(split, count) for split in (corpus.train, corpus.validation, corpus.test))
    if mode == "overfit":
        validation = train
    sizes = f"{len(train):,} training, {len(validation):,} validation and {len(test):,} test reviews"
    log.info("debug=%s: %s.", mode, sizes)
    fingerprint = f"debug:{mode}:{len(train)}:{corpus.fingerprint}"  # the number follows from data.batch_size
    return replace(corpus, train=train, validation=validation, test=test, fingerprint=fingerprint)


def find_whole(fingerprint: str) -> str:
    """Return the fingerprint of the data of which a run, with `trainer.debug` or without, saw all or a part."""
    return fingerprint.rpartition(":")[2]


def count_reviews(settings: Settings) -> int | None:
    """Return how many reviews of each split a run with `trainer.debug` sees at most; None: all."""
    batches = BATCHES.get(settings.trainer.debug or "")
    return None if batches is None else batches * settings.data.batch_size


def _take(split: EncodedSplit, count: int) -> EncodedSplit:
    """Take the first reviews of each class in turn, so that few reviews are of all classes."""
    position = np.zeros(len(split), dtype=np.int64)
    for label in np.unique(split.labels):
        of_class = split.labels == label
        position[of_class] = np.arange(of_class.sum())
    rows = np.sort(np.argsort(position, kind="stable")[:count])
    return split.take(rows)


class LearnByHeart(pl.Callback):
    """Stop once the loss is all but 0, and say whether it came there."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin an epoch's mean."""
        self.losses.clear()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add a loss."""
        self.losses.append(float(outputs["loss"]))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop where all is learnt."""
        trainer.should_stop |= float(np.mean(self.losses)) < LEARNT_LOSS  # it may be over for another reason

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say how it went; nothing where no step was left to take."""
        if not self.losses:
            return
        loss = float(np.mean(self.losses))
        verdict = "it can learn these reviews by heart, as every sound network can"
        if not loss < LEARNT_LOSS:
            verdict = f"not below {LEARNT_LOSS}: raise optimizer.lr or trainer.max_epochs, or look for a fault"
        log.info("\ndebug=overfit: loss %.4f after %d epochs: %s.", loss, trainer.current_epoch, verdict)


class FindNonFinite(pl.Callback):
    """Name the first tensor that is not finite: of a layer's output, else of a gradient."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at every layer's output from now on."""
        for name, module in pl_module.named_modules():
            if name.startswith("network"):
                module.register_forward_hook(self._watch(trainer, name))

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the gradients.

        Raises:
            NonFiniteLossError: One is not finite.
        """
        for name, parameter in pl_module.named_parameters():
            if parameter.grad is not None:
                _require_finite(parameter.grad, f"the gradient of {name}", trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say that all of them were."""
        log.info("\ndebug=nans: %s, every output and gradient was finite.", format_count(trainer.global_step, "step"))

    def _watch(self, trainer: pl.Trainer, name: str) -> Any:
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            for tensor in output if isinstance(output, tuple) else (output,):
                if isinstance(tensor, Tensor):
                    _require_finite(tensor, f"the output of {name} ({type(module).__name__})", trainer)

        return look


def _require_finite(tensor: Tensor, what: str, trainer: pl.Trainer) -> None:
    if not torch.isfinite(tensor).all():
        kind = "NaN" if torch.isnan(tensor).any() else "infinite"
        raise NonFiniteLossError(
            f"The first tensor that is not finite is {what}, {tuple(tensor.shape)}: {kind} in step "
            f"{trainer.global_step + 1}.",
            "if weights grew, lower optimizer.lr or set trainer.gradient_clip_norm=1.0; else look at that layer",
        )


class StepProfiler(Profiler):
    """Measures the parts of a training step for people, and everything for torch's profiler.

    A part has the time in which no part within it ran: the optimizer's step calls forward and backward.

    Args:
        folder: Where trace and tables go.
        device: What the run is on, not what the machine has.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        super().__init__()
        self.folder, self._device = folder, device
        self._torch: Any = torch.profiler.profile(profile_memory=True, record_shapes=False)
        self._open: dict[str, ExitStack] = {}
        self._running: list[str] = []
        self._since = 0.0
        self.seconds = dict.fromkeys(SHOWN_PARTS, 0.0)
        self._has_begun = False

    def start(self, action_name: str) -> None:
        """Begin an action; the trace shows it within its part."""
        if not self._has_begun:
            self._torch.__enter__()
            self._has_begun = True
        scopes = self._open[action_name] = ExitStack()
        part = _find_part(action_name)
        if part is not None:
            self._charge()
            self._running.append(part)
            scopes.enter_context(torch.profiler.record_function(part))
        scopes.enter_context(torch.profiler.record_function(action_name))

    def stop(self, action_name: str) -> None:
        """End an action."""
        if action_name in self._open:
            if _find_part(action_name) is not None:
                self._charge()
                self._running.pop()
            self._open.pop(action_name).close()

    def _charge(self) -> None:
        """Charge the innermost part with the time since the last change."""
        if self._device.type != "cpu":
            torch.accelerator.synchronize()  # else a part would be charged with the waiting for another
        now = time.perf_counter()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now

    def report(self) -> str:
        """Write the trace and the table of operators; return what a person reads."""
        self._torch.__exit__(None, None, None)
        self.folder.mkdir(parents=True, exist_ok=True)
        trace = self.folder / "trace.json.gz"
        self._torch.export_chrome_trace(str(trace))
        averages, on_gpu = self._torch.key_averages(), self._device.type == "cuda"  # of others torch tells the CPU
        table = averages.table("self_device_time_total" if on_gpu else "self_cpu_time_total", row_limit=200)
        (self.folder / "operators.txt").write_text(table, encoding="utf-8")

        def measure_time(event: Any) -> float:
            return float(event.self_device_time_total if on_gpu else event.self_cpu_time_total)  # microseconds

        operators = [event for event in averages if event.key.startswith("aten::")]
        heaviest = sorted(operators, key=measure_time, reverse=True)
        total = sum(self.seconds.values()) or 1.0
        lines = ["", "part               time    share"]
        for part, seconds in self.seconds.items():
            lines.append(f"{part:<10}{1e3 * seconds:>10,.1f} ms  {format_percent(seconds / total):>7}")
        shown = {event.key.removeprefix("aten::"): event for event in heaviest[:SHOWN_OPERATORS]}
        width = max(map(len, ("operator", *shown)))
        lines += ["", f"{'operator':<{width}}         time    share    calls  memory"]
        for name, event in shown.items():
            share = measure_time(event) / (sum(map(measure_time, heaviest)) or 1.0)
            memory = (event.self_device_memory_usage if on_gpu else event.self_cpu_memory_usage) / 2**20
            time_and_share = f"{measure_time(event) / 1e3:>10,.1f} ms  {format_percent(share):>7}"
            lines.append(f"{name:<{width}}{time_and_share}  {event.count:>7,}  {memory:+,.1f} MiB")
        return "\n".join(
            [*lines, "", f"{trace} opens in https://ui.perfetto.dev; operators.txt beside it has the whole table."]
        )


def _find_part(action_name: str) -> str | None:
    return next((part for key, part in PARTS if key in action_name), None)


def list_callbacks(mode: str | None) -> list[pl.Callback]:
    """Return the callbacks that `trainer.debug` adds."""
    if mode == "overfit":
        return [LearnByHeart()]
    return [FindNonFinite()] if mode == "nans" else []
