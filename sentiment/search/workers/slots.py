"""Shares a machine out among the jobs of a study: a slot is CPU threads, and a part of one GPU or of several."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from sentiment.errors import ConfigError, Fault
from sentiment.process import count_cores
from sentiment.search.options import StudyOptions
from sentiment.search.storage.lease import make_own_folder

log = logging.getLogger(__name__)

NOT_IN_NAMES = r"[^\w.-]"

DEVICE_FILES = Path("/dev/nvidia[0-9]*")
"""Files of NVIDIA's driver, one per GPU."""

LISTING_SECONDS = 30.0

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass
class Slot:
    """The share of the machine that one worker has."""

    index: int  # number of the slot, from 0
    # The GPU, or several, as CUDA_VISIBLE_DEVICES names them; empty: none of those that there may be; None: there is
    # none to be given.
    device: str | None
    threads: int  # CPU threads
    _locks: Sequence[FileLock] = field(default=(), repr=False)

    def environment(self) -> dict[str, str]:
        """Return the variables that a worker must have before it imports torch or NumPy."""
        variables = dict.fromkeys(THREAD_VARIABLES, str(self.threads))
        if self.device is not None:
            variables["CUDA_VISIBLE_DEVICES"] = self.device
        return variables

    def __str__(self) -> str:
        return f"GPU {self.device}" if self.device else f"worker {self.index}"

    def release(self) -> None:
        """Give the parts of GPUs back."""
        for lock in self._locks:
            lock.release()


def list_devices(devices: Literal["auto", "none", "unused"] | Sequence[int | str]) -> list[str]:
    """Return the GPUs that a study may use, as CUDA_VISIBLE_DEVICES names them.

    ``auto`` takes what CUDA_VISIBLE_DEVICES allows, else all that ``nvidia-smi`` lists, or that there are device files
    of: asking torch would start CUDA in a process that never computes.

    Raises:
        ConfigError: A GPU is named twice, or ``nvidia-smi`` does not answer.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    allowed = None
    if visible is not None:  # CUDA hides what stands behind a -1
        allowed = list(takewhile(lambda name: name not in ("", "-1"), (name.strip() for name in visible.split(","))))
    if not isinstance(devices, str):
        named = [str(device) for device in devices]
        visible_names = _find_visible(named, allowed)
        if hidden := [name for name in named if name not in visible_names]:
            problem = f"{', '.join(hidden)} is none of CUDA_VISIBLE_DEVICES={visible}"
            remedy = "name GPUs that the variable names, or take them all: hydra.sweeper.devices=auto"
            raise ConfigError([Fault("hydra.sweeper.devices", problem, remedy)])
        found = [visible_names[name] for name in named]
        if twice := sorted({name for name in found if found.count(name) > 1}):
            remedy = "name each once; hydra.sweeper.trials_per_device=2 lets two trials share one"
            raise ConfigError([Fault("hydra.sweeper.devices", f"{', '.join(twice)} is named twice", remedy)])
        return found
    if devices != "auto":
        return []
    if allowed is not None:
        return allowed
    try:
        known = _ask_driver()
    except subprocess.TimeoutExpired as error:
        problem = f"nvidia-smi has not listed the GPUs within {LISTING_SECONDS:g} s"
        remedy = (
            "see what ails the driver, name the GPUs, hydra.sweeper.devices=[0,1], or train on the CPU: devices=none"
        )
        raise ConfigError([Fault("hydra.sweeper.devices", problem, remedy)]) from error
    if known is not None:
        return list(known)
    # A driver without a GPU exits with an error, and a container may lack the command: the GPUs are there all the same.
    return [str(number) for number, _ in enumerate(DEVICE_FILES.parent.glob(DEVICE_FILES.name))]


def _find_visible(named: Sequence[str], allowed: Sequence[str] | None) -> dict[str, str]:
    """Return those of the named GPUs that are among the allowed ones, by whatever name; None allows all.

    With each is the name for CUDA, which may count in another order than the driver: a UUID, where either has one.
    """
    if allowed is None or set(named) <= set(allowed):
        return {name: name for name in named}
    known: Mapping[str, str] = {}
    with suppress(subprocess.TimeoutExpired):  # then only equal names are known to be the same
        known = _ask_driver() or {}
    visible = {_identify(name, known): name for name in allowed}
    found = {name: visible.get(_identify(name, known)) for name in named}
    return {name: other if name.isdecimal() else name for name, other in found.items() if other is not None}


def _ask_driver() -> dict[str, str] | None:
    """Ask the driver for the number and the UUID of each GPU; None where it does not say.

    Raises:
        subprocess.TimeoutExpired: It does not answer.
    """
    command = shutil.which("nvidia-smi")
    return None if command is None else _list_gpus(command)


@cache
def _list_gpus(command: str) -> dict[str, str] | None:
    """Run it once: a study asks for the GPUs, and then which they are."""
    query = [command, "--query-gpu=index,uuid", "--format=csv,noheader"]
    listed = subprocess.run(query, capture_output=True, text=True, timeout=LISTING_SECONDS, check=False)
    if listed.returncode != 0:
        return None
    lines = (line.partition(",") for line in listed.stdout.splitlines())
    return {index.strip(): uuid.strip() for index, _, uuid in lines}


def _identify(device: str, known: Mapping[str, str]) -> str:
    """Return a GPU's UUID, where it is known: two jobs of a node may each call their own 0, and one has two names."""
    return known.get(device) or next((uuid for uuid in known.values() if uuid.startswith(device)), device)


def take_slots(options: StudyOptions, devices: Sequence[str], count: int) -> list[Slot]:
    """Deal `count` slots evenly over the devices; with `devices_per_trial`, each has so many different ones.

    Where there are no devices, or none is to be used, a slot is a share of the CPU.

    A slot on a GPU is held by a file lock for the life of this process, so that a second command on the same machine
    takes the slots that are left, and a killed one gives its slots back.

    Raises:
        ConfigError: There are fewer slots on the GPUs than were asked for.
    """
    share = options.threads_per_job or max(1, count_cores() // count)
    if not devices:
        none = "" if options.devices in ("none", []) else None  # though there may be some
        return [Slot(index, none, share) for index in range(count)]
    folder = make_own_folder("sentiment-devices-")
    try:
        known = _ask_driver() or {}
    except subprocess.TimeoutExpired:
        log.warning("nvidia-smi does not answer: a GPU that another command calls by another name may be taken twice.")
        known = {}
    slots: list[Slot] = []
    for part in range(options.trials_per_device):  # evenly: device by device
        taken: list[tuple[str, FileLock]] = []
        for device in devices if len(slots) < count else ():
            lock = FileLock(folder / f"{re.sub(NOT_IN_NAMES, '_', _identify(device, known))}-{part}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue  # another command trains there
            taken.append((device, lock))
            if len(taken) == options.devices_per_trial:
                names, locks = zip(*taken, strict=True)
                slots.append(Slot(len(slots), ",".join(names), share, locks))
                taken = []
                if len(slots) == count:
                    break
        for _, lock in taken:  # too few for one more slot
            lock.release()
    if len(slots) < count:
        for slot in slots:
            slot.release()
        raise ConfigError([_explain_shortage(options, devices, count, len(slots))])
    return slots


def _explain_shortage(options: StudyOptions, devices: Sequence[str], count: int, free: int) -> Fault:
    per_device, per_trial = options.trials_per_device, options.devices_per_trial
    total = len(devices) // per_trial * per_device
    taken = f", {total - free} of them taken by another command" if total > free and total >= count else ""
    if total == 0:
        return Fault(
            "hydra.sweeper.devices_per_trial",
            f"a trial needs {per_trial} GPUs, and there are {len(devices)}",
            "let a trial have fewer, or train on the CPU: hydra.sweeper.devices=none",
        )
    each = "" if per_trial == 1 else f", {per_trial} to a trial,"
    return Fault(
        "hydra.sweeper.n_jobs",
        f"{count} jobs, but {len(devices)} GPUs with {per_device} trials each{each} give {total} slots{taken}",
        f"set hydra.sweeper.n_jobs={max(free, 1)}, raise hydra.sweeper.trials_per_device, "
        "or train on the CPU: hydra.sweeper.devices=none",
    )
