"""How Lightning is set up while it trains: quiet, and with exceptions that this project's callers know."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sentiment.errors import OutOfMemoryError
from sentiment.training.device import DeviceError


@contextmanager
def lightning_setup() -> Iterator[None]:
    """Run Lightning quietly, and raise its errors as this project's.

    Lightning turns Ctrl-C into `sys.exit(1)` and leaves SIGINT ignored; a caller must see a KeyboardInterrupt and a
    second Ctrl-C must work.

    Raises:
        OutOfMemoryError: The host or the accelerator ran out of memory; the libraries have several types for it.
        DeviceError: The processor lacks what the network needs at this precision.
        KeyboardInterrupt: Ctrl-C.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    handler = signal.getsignal(signal.SIGINT)
    with warnings.catch_warnings():
        # Batches come from a memory map and are assembled faster than worker processes could hand them over.
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        # Lightning 2.6 meets torch 2.13; drop this with the next Lightning.
        warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`", category=FutureWarning)
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        try:
            yield
        except SystemExit as error:
            if isinstance(error.__context__, KeyboardInterrupt):
                signal.signal(signal.SIGINT, handler)
                raise KeyboardInterrupt from None
            raise
        except (MemoryError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise OutOfMemoryError(
                    f"Out of memory: {str(error).splitlines()[0] if str(error) else 'the host has none left'}\n"
                    "-> lower data.batch_size, data.max_tokens or model.embedding_size, "
                    "or use trainer.precision=bf16-mixed"
                ) from error
            if "could not create a primitive" in str(error):  # oneDNN: an LSTM in bfloat16 needs AVX-512 or better
                raise DeviceError(
                    f"This processor cannot compute the network at the chosen precision: {str(error).split('.')[0]}.\n"
                    "-> use trainer.precision=32-true; of the recurrent cells, model.cell=gru runs in bfloat16 anywhere"
                ) from error
            raise


def is_out_of_memory(error: BaseException) -> bool:
    """Recognise the memory errors of Python, CUDA and torch's host allocator, which raises a plain RuntimeError."""
    return isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or "can't allocate memory" in str(error)
