"""How Lightning is set up while it trains: quiet, with this project's exceptions, with evenly spread validations."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from sentiment.errors import NonFiniteLossError, OutOfMemoryError, describe_failure
from sentiment.training.device import DeviceError

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


@contextmanager
def memory_errors(remedy: str) -> Iterator[None]:
    """Raise the memory errors of Python, CUDA and torch's host allocator as one that says what helps.

    Raises:
        OutOfMemoryError: The host or the accelerator ran out of memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if describe_failure(error).kind != "out_of_memory":
            raise
        reason = str(error).splitlines()[0] if str(error) else "the host has none left"
        raise OutOfMemoryError(f"Out of memory: {reason}", remedy) from error


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
