"""How Lightning is set up while it trains: quiet, with this project's exceptions, validations and reports."""

from __future__ import annotations

import logging
import math
import signal
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import RichProgressBar
from torch import Tensor

from sentiment.config.objective import find_direction, is_leading
from sentiment.errors import NonFiniteLossError
from sentiment.format import write_metrics
from sentiment.private import describe_epochs
from sentiment.training.device import DeviceError, memory_errors
from sentiment.training.module import ReviewDataModule
from sentiment.training.result import Reporter

log = logging.getLogger(__name__)

MEMORY_REMEDY = (
    "lower data.batch_size, data.max_tokens, model.embedding_size or model.naive_bayes_ngrams, or use "
    "trainer.precision=bf16-mixed"
)


@contextmanager
def lightning_setup(memory_remedy: str = MEMORY_REMEDY) -> Iterator[None]:
    """Run Lightning quietly, and raise its errors as this project's.

    Lightning turns Ctrl-C into `sys.exit(1)` and leaves SIGINT ignored; a caller must see a KeyboardInterrupt and a
    second Ctrl-C must work.

    Args:
        memory_remedy: The settings of this training that need less memory.

    Raises:
        OutOfMemoryError: The host or the accelerator ran out of memory; the libraries have several types for it.
        DeviceError: The processor lacks what the network needs at this precision.
        NonFiniteLossError: A gradient is not a number, with debug=nans.
        KeyboardInterrupt: Ctrl-C.
    """
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    handler = signal.getsignal(signal.SIGINT)
    with memory_errors(memory_remedy), warnings.catch_warnings():
        # Batches come from a memory map and are assembled faster than worker processes could hand them over.
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        # Lightning 2.6 meets torch 2.13; drop this with the next Lightning.
        warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`", category=FutureWarning)
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        # It was not asked for, or is a Mac's: its remedy is no setting of ours, and the log names the device.
        warnings.filterwarnings("ignore", message="GPU available but not used")
        # Where Slurm is installed: srun would start the command once per device, and each would be a run of its own.
        warnings.filterwarnings("ignore", message="The `srun` command is available")
        # Every replica logs the metrics of all of them.
        warnings.filterwarnings("ignore", message="It is recommended to use `self.log")
        try:
            yield
        except SystemExit as error:
            if isinstance(error.__context__, KeyboardInterrupt):
                signal.signal(signal.SIGINT, handler)
                raise KeyboardInterrupt from None
            raise
        except RuntimeError as error:
            if "could not create a primitive" in str(error):  # oneDNN: an LSTM in bfloat16 needs AVX-512 or better
                raise DeviceError(
                    f"This processor cannot compute the network at the chosen precision: {str(error).split('.')[0]}.",
                    "use trainer.precision=32-true; of the recurrent cells, model.cell=gru runs in bfloat16 anywhere",
                ) from error
            if "returned nan values" in str(error):  # torch's anomaly detection, which has just shown the forward call
                operation = str(error).split("'")[1]
                raise NonFiniteLossError(
                    f"The first gradient that is not a number comes out of {operation}; where it was "
                    "called in the forward pass stands above.",
                    "lower optimizer.lr, set trainer.gradient_clip_norm=1.0, or look at that layer",
                ) from error
            raise


class ValidationTimes(pl.Callback):
    """Validate at evenly spread steps of every epoch, the last of which is the epoch's last step.

    Lightning's own `val_check_interval` counts from the start of the epoch and rounds down, so that the last steps
    of an epoch go unvalidated unless the numbers divide: 3 validations of 17 batches would come after 5, 10 and 15.
    """

    def __init__(self, per_epoch: int) -> None:
        self.per_epoch = per_epoch

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Decide whether Lightning validates after this batch: it does when `val_check_batch` divides its number."""
        batches = int(trainer.num_training_batches)
        number = batch_idx + 1
        trainer.val_check_batch = number if number in validation_batches(batches, self.per_epoch) else batches + 1


class OwnRandomNumbers(pl.Callback):
    """Let the replicas of a run draw different numbers for dropout.

    The first one goes on with its own, as a run on one device does; they are in its checkpoint. Those of the others
    follow from (seed, replica, epoch).
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seed the epoch."""
        if trainer.global_rank:
            key = [self.seed, trainer.global_rank, trainer.current_epoch]
            torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))


def validation_batches(batches: int, per_epoch: int) -> set[int]:
    """Return the numbers (from 1) of the batches after which an epoch is validated.

    An epoch with fewer batches than validations is validated after each batch.
    """
    return {max(1, round(index * batches / per_epoch)) for index in range(1, per_epoch + 1)}


class ReportingCallback(pl.Callback):
    """Report training every few steps, every step and every validation, and remember the best validation.

    Args:
        reporter: Takes the numbers.
        every_n_steps: Steps between two reports of ``train/loss``, the mean since the last report; each validation is
            preceded by another one.
        objective: Metric that selects the checkpoint.
        print_validations: Also log one line per validation, where no progress bar shows it.
    """

    def __init__(self, reporter: Reporter, *, every_n_steps: int, objective: str, print_validations: bool) -> None:
        self.reporter = reporter
        self.every_n_steps = every_n_steps
        self.objective = objective
        self.print_validations = print_validations
        self.losses: list[Tensor] = []
        self.rate = math.nan
        self.best: Mapping[str, float] | None = None
        self.best_epoch = 0.0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the learning rate of the step; at its end Lightning has set that of the next."""
        self.rate = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Collect the loss; it stays on the device until it is reported, as reading it waits for the device."""
        self.losses.append(outputs["loss"].detach())
        if trainer.global_step % self.every_n_steps == 0:
            self._report_training(trainer)
        self.reporter.stepped(epoch=epochs_done(trainer))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the steps since the last report, so that a NaN is found before it is validated."""
        self._report_training(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Pass on the validation metrics."""
        metrics = read_metrics(trainer, "val/")
        step, epoch = trainer.global_step, epochs_done(trainer)
        if self.best is None or self._is_better(metrics[self.objective], self.best[self.objective]):
            self.best, self.best_epoch = metrics, epoch
        if self.print_validations:
            log.info("  epoch %-5.3g %s", epoch, write_line(metrics, self.objective))
        self.reporter.validated(metrics, step=step, epoch=epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the best validation so far, for a run that is interrupted."""
        return {"best": None if self.best is None else dict(self.best), "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the best validation up again."""
        self.best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Pass on the test metrics."""
        self.reporter.tested(read_metrics(trainer, "test/"), step=trainer.global_step, epoch=self.best_epoch)

    def _is_better(self, score: float, best: float) -> bool:
        """Compare as `ModelCheckpoint` does, to which NaN is the worst there is."""
        if math.isnan(best) or math.isnan(score):
            return not math.isnan(score)
        return score > best if find_direction(self.objective) == "maximize" else score < best

    def _report_training(self, trainer: pl.Trainer) -> None:
        if not self.losses:
            return
        loss = trainer.strategy.reduce(torch.stack(self.losses).mean()).item()  # the mean over replicas, if several
        self.losses.clear()
        step, epoch = trainer.global_step, epochs_done(trainer)
        if not math.isfinite(loss):
            raise NonFiniteLossError(
                f"The training loss became {loss} by step {step} (epoch {epoch:.2f}).",
                "lower optimizer.lr, lengthen scheduler.warmup_fraction, set trainer.gradient_clip_norm=1.0, "
                "or use trainer.precision=32-true",
            )
        self.reporter.trained({"train/loss": loss, "train/lr": self.rate}, step=step, epoch=epoch)


class ProgressBar(RichProgressBar):
    """Lightning's bar, which counts epochs as the log and the records do: from 1."""

    def __init__(self) -> None:
        super().__init__(leave=True)
        describe_epochs(self, self.describe_epoch)

    def describe_epoch(self, number: int) -> str:
        """Name the epoch of a number from 0."""
        parts = _count_parts(self.trainer)
        assert self.trainer.max_epochs is not None
        description = f"Epoch {number // parts + 1}/{self.trainer.max_epochs // parts}"
        return description.ljust(len(self.validation_description))  # as Lightning's own: the bar does not jump


def write_line(metrics: Mapping[str, float], objective: str) -> str:
    """Return the metrics that people follow, in a line of even columns: the leading ones and the objective."""
    shown = {name: value for name, value in metrics.items() if is_leading(name) or name == objective}
    return write_metrics(shown)


def read_metrics(trainer: pl.Trainer, prefix: str) -> dict[str, float]:
    """Return the metrics of the last evaluation whose names start with `prefix`, sorted by name."""
    metrics = trainer.callback_metrics
    return {name: float(metrics[name]) for name in sorted(metrics) if name.startswith(prefix)}


def epochs_done(trainer: pl.Trainer) -> float:
    """Return the passes over the training data so far; 0.5 is halfway through the first."""
    return trainer.global_step / (trainer.num_training_batches * _count_parts(trainer))


def _count_parts(trainer: pl.Trainer) -> int:
    """Return how many of the trainer's epochs are a pass over the data."""
    data = getattr(trainer, "datamodule", None)  # Lightning sets it when it is given one
    return data.parts if isinstance(data, ReviewDataModule) else 1
