"""What Lightning does in its own way while it trains, and how a run wants it."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sentiment.errors import OutOfMemoryError


@contextmanager
def lightning_habits() -> Iterator[None]:
    """Run Lightning quietly, and let its exceptions be ours.

    Lightning turns Ctrl-C into `sys.exit(1)` and leaves SIGINT ignored; a caller must see a KeyboardInterrupt and a
    second Ctrl-C must work. Memory errors come in several types; all become one with a remedy.
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
            raise


def is_out_of_memory(error: BaseException) -> bool:
    """Recognise the memory errors of Python, CUDA and torch's host allocator, which raises a plain RuntimeError."""
    return isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or "can't allocate memory" in str(error)
