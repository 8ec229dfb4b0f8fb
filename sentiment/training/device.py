"""Which device a run takes."""

from __future__ import annotations

import torch

from sentiment.config.option import find_option
from sentiment.config.schema import Settings
from sentiment.cores import count_cores
from sentiment.errors import SentimentError

DEFAULT_THREADS = min(torch.get_num_threads(), count_cores())
"""torch's own choice within what this process may use. Restored by runs that set none: jobs share the process."""


class DeviceError(SentimentError):
    """The device that the configuration asks for is not there."""


def name_device(settings: Settings) -> str:
    """Name in words the device that a run takes; a model that is fitted in one go takes one thread of the CPU.

    Raises:
        DeviceError: A GPU is asked for, but torch finds none.
    """
    if find_option(settings.model).fitter:
        return "cpu (1 thread)"
    trainer = settings.trainer
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if trainer.accelerator == "gpu" and accelerator is None:
        raise DeviceError(
            "trainer.accelerator=gpu, but torch finds no GPU.\n"
            "-> use trainer=auto or trainer=cpu; if the machine has one, check its driver and that torch was installed "
            "with support for it"
        )
    if accelerator is None or trainer.accelerator == "cpu":
        threads = trainer.threads or DEFAULT_THREADS
        return f"cpu ({threads} thread{'s' if threads != 1 else ''})"
    return torch.cuda.get_device_name() if accelerator.type == "cuda" else accelerator.type
