"""The device of a run: which one it takes, how it tells that its memory is full, how long it takes for one review."""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from statistics import median

import torch
from torch import nn

from sentiment.config.option import find_option
from sentiment.config.schema import Settings, TrainerSettings
from sentiment.errors import OutOfMemoryError, SentimentError, describe_failure
from sentiment.process import count_cores

log = logging.getLogger(__name__)

DEFAULT_THREADS = min(torch.get_num_threads(), count_cores())
"""torch's own choice within what this process may use. Restored by runs that set none: jobs share the process."""

WARM_UP_PASSES = 5
MEASURED_PASSES = 30

BUDGET_SECONDS = 0.6
"""Every run measures itself, so it stops after this time: a slow network shows its pace in few passes."""

LEAST_PASSES = 4
"""Passes that are made whatever they take."""


class DeviceError(SentimentError):
    """The device that the configuration asks for is not there."""


def count_threads(trainer: TrainerSettings) -> int:
    """Return the CPU threads of a run's process; several devices of one machine share them out."""
    return max(1, (trainer.threads or DEFAULT_THREADS) // trainer.devices)


def find_device(kind: str) -> torch.device:
    """Return the device of a kind: `gpu` is any that torch finds, and `auto` a CUDA GPU; else it is the CPU.

    No other GPU is taken unasked: on that of a Mac, torch has no deterministic backward pass of an embedding.
    """
    found = None if kind == "cpu" else torch.accelerator.current_accelerator(check_available=True)
    if found is None or (kind == "auto" and found.type != "cuda"):
        return torch.device("cpu")
    return found


def name_device(settings: Settings) -> str:
    """Name in words the devices that a run takes; a model that is fitted in one go takes the CPU.

    Raises:
        DeviceError: There are fewer GPUs or nodes than are asked for, or they lack the precision or determinism.
    """
    trainer = settings.trainer
    if find_option(settings.model).fitter:
        return name_cpu(count_threads(trainer))
    device = require_gpu() if trainer.accelerator == "gpu" else find_device(trainer.accelerator)
    if device.type == "mps" and trainer.deterministic:
        raise DeviceError(
            "trainer.deterministic=true, but torch lacks deterministic algorithms on the GPU of a Mac.",
            "use trainer.deterministic=false, or trainer=cpu",
        )
    require_nodes(trainer)
    times = f"{trainer.replicas} x " if trainer.replicas > 1 else ""
    if device.type == "cpu":
        if trainer.precision == "16-mixed":  # Lightning would take bf16-mixed, and the record say 16-mixed
            raise DeviceError(
                "trainer.precision=16-mixed is for GPUs, and this run takes the CPU.",
                "use trainer.precision=bf16-mixed or 32-true",
            )
        return times + name_cpu(count_threads(trainer))
    if trainer.devices > 1 and torch.accelerator.device_count() < trainer.devices:
        raise DeviceError(
            f"trainer.devices={trainer.devices}, but torch finds {torch.accelerator.device_count()} "
            f"{device.type} devices.",
            "ask for so many at most; in a study, hydra.sweeper.devices and devices_per_trial say what a trial gets",
        )
    return times + (torch.cuda.get_device_name() if device.type == "cuda" else device.type)


def require_gpu() -> torch.device:
    """Return the GPU that ``trainer.accelerator=gpu`` takes.

    Raises:
        DeviceError: There is none.
    """
    device = find_device("gpu")
    if device.type == "cpu":
        raise DeviceError(
            "trainer.accelerator=gpu, but torch finds no GPU.",
            "use trainer=auto or trainer=cpu; if the machine has one, check its driver and that torch was installed "
            "with support for it",
        )
    return device


def name_cpu(threads: int) -> str:
    """Name the processor and a number of its threads, as `sentiment.tracking.result_file` reads it again."""
    return f"cpu ({threads} thread{'s' if threads != 1 else ''})"


def require_nodes(trainer: TrainerSettings) -> None:
    """Insist that a run of several processes is one, and has the nodes that it asks for.

    Raises:
        DeviceError: There is no allocation of so many nodes, or Slurm has started the command several times.
    """
    tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
    if trainer.replicas > 1 and tasks > 1:
        raise DeviceError(
            f"srun started this command {tasks} times, and each would be a run of its own on {trainer.replicas} "
            "devices.",
            "start it once, with srun --nodes=1 --ntasks=1 or from the batch script itself: it starts its other "
            "processes by itself",
        )
    nodes = int(os.environ.get("SLURM_JOB_NUM_NODES", 1))
    if trainer.nodes > 1 and (nodes < trainer.nodes or shutil.which("srun") is None):
        raise DeviceError(
            f"trainer.nodes={trainer.nodes} needs an allocation of Slurm with so many nodes, and there is "
            f"{f'one of {nodes}' if 'SLURM_JOB_ID' in os.environ else 'none'}.",
            f"sbatch --nodes={trainer.nodes} --ntasks-per-node={trainer.devices} --wrap='python run.py ...', or "
            "stay on one machine: trainer.nodes=1",
        )


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


def measure_latency_ms(
    network: nn.Module,
    *,
    tokens: int,
    vocabulary_size: int,
    device: torch.device,
    precision: AbstractContextManager[None],
    is_objective: bool = False,
) -> float:
    """Measure the median wall time in milliseconds of one forward pass: batch size 1, a review of full length.

    It is a wall time: jobs that run beside this one on the same cores make it longer.

    NaN, with a warning, where the memory is too small: perhaps no review of the data was so long, and the rest of the
    run's result stands. Not so where it `is_objective`: a study has no use for a trial without it.

    The review has T = `tokens` tokens, all ids of the vocabulary in turn. The network maps tokens (1, T) and a mask
    (1, T) to logits; it is moved to the device and back to the CPU. The run computes in the context `precision`.

    Raises:
        OutOfMemoryError: The memory is too small for an objective.
    """
    review = (torch.arange(tokens) % vocabulary_size).unsqueeze(0).to(device)  # (1, T)
    mask = torch.ones_like(review, dtype=torch.bool)  # (1, T)
    was_training = network.training
    network.to(device).eval()
    milliseconds = []
    try:
        with memory_errors("lower data.max_tokens"), torch.inference_mode(), precision:
            begun = time.perf_counter()
            for passes in range(WARM_UP_PASSES + MEASURED_PASSES):
                started = time.perf_counter()
                if passes >= LEAST_PASSES and started - begun > BUDGET_SECONDS:
                    break
                network(review, mask)
                if device.type != "cpu":  # kernels are queued: the call returns before they are done
                    torch.accelerator.synchronize(device)
                milliseconds.append(1000 * (time.perf_counter() - started))
    except OutOfMemoryError as error:
        if is_objective:
            raise
        log.warning("There is no time/latency_ms, of a review of %s tokens: %s", f"{tokens:,}", error)
        return math.nan
    finally:
        network.cpu().train(was_training)
    # Cut short, the first half is the warm-up.
    return median(milliseconds[min(WARM_UP_PASSES, len(milliseconds) // 2) :])
