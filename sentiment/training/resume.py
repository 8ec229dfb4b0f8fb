"""An interrupted run goes on where its last whole epoch ended.

``checkpoints/last.ckpt`` is written after every epoch and holds all that the rest of the run depends on: weights,
optimizer, schedule, progress, the callbacks' memory, the selected checkpoint so far and the state of the random
numbers. Batches are not in it: they follow from (seed, epoch).
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch.optim import Optimizer

from sentiment.atomic import replacing
from sentiment.errors import ModelFileError, first_line
from sentiment.models.checkpoint import read_checkpoint
from sentiment.training.result import BEST_FILE, CHECKPOINTS, LONGER_FILE, Reporter
from sentiment.training.start import FRESH, Beginning

log = logging.getLogger(__name__)

LAST_FILE = "last.ckpt"

KEY = "sentiment.resume"
"""Where our part stands in Lightning's checkpoint."""

TRAINED_ON = "trained_on"
"""Tells in our part that the run trained on; files of earlier versions lack it."""

DAMAGE = (ModelFileError, KeyError, TypeError, ValueError)
"""What is raised over a file that is cut off, altered, or none of our own."""


@dataclass(frozen=True)
class Identity:
    """Hashes of what determines a run; behind the one that is written stand those that earlier versions wrote."""

    run: tuple[str, ...]  # all of it
    training: tuple[str, ...]  # all but the settings of the optimizer, which may change while a model is trained


class LastCheckpoint(pl.Callback):
    """Write ``last.ckpt`` after every epoch, and take a run up from it.

    Not within an epoch, where a run may validate too: Lightning counts the batches of an epoch that is taken up in
    its middle, but asks the loader for its first batch again.

    Args:
        folder: Folder of the run's checkpoints.
        max_epochs: Epochs of the run.
        identify: Return the hash of what determines the run, at a number of epochs; a file of another run is not taken
            up, but that of a shorter one trains on.
        reporter: Learns where the run could be stopped.
        enabled: False: write nothing and always start anew. What an attempt before it left there is removed where this
            one replaces the record of that one: the record would be of one training, the file of another.
        started_from: Hashes of the weights at the start and of the teachers' answers; empty: fresh ones, and
            no teachers. A file of a run of others is not taken up: its tokens may be others, too.
        tokenizer_json: The run's tokenizer: another release of its library may give the same words other ids.
        beginning: Its origin, from whose checkpoint the run goes on where it has none of its own; and whether it may
            train on. Where not, the run's record does not say that it trains on, so no file of a shorter run is taken
            up, nor one of this run that did.
        validates_within: Whether an epoch is validated before its end too, and the run may lose its patience there.
    """

    def __init__(
        self,
        folder: Path,
        max_epochs: int,
        identify: Callable[[int], Identity],
        reporter: Reporter,
        *,
        enabled: bool,
        started_from: str = "",
        tokenizer_json: str = "",
        beginning: Beginning = FRESH,
        validates_within: bool = False,
    ) -> None:
        self.folder, self.file = folder, folder / LAST_FILE
        self._identities = identify(max_epochs)
        self.identity = {"run": self._identities.run[0], "folder": str(folder.resolve())}
        self._beginning, self._started_from = beginning, started_from
        self._tokenizer = hashlib.sha256(tokenizer_json.encode()).hexdigest()
        self._max_epochs, self._identify = max_epochs, identify
        self.enabled, self._validates_within = enabled, validates_within
        self._reporter = reporter
        self._started = time.monotonic()
        self._taken_up: dict[str, Any] | None = None
        self._is_writing = False
        self._longer: Path | None = None

    @property
    def seconds(self) -> float:
        """Wall time spent on the training, that of interrupted attempts up to their last epoch included."""
        earlier = 0.0 if self._taken_up is None else float(self._taken_up["seconds"])
        return earlier + time.monotonic() - self._started

    def find(self, parts: int = 1) -> Path | None:
        """Return the file to go on from; None where the run starts anew. `parts`: see `ReviewDataModule`.

        The selected checkpoint is put back as it was at that time: the run may have been interrupted between the
        selection of a newer one and the end of its epoch. Several replicas may do so at once: all write the same.
        """
        if self._beginning.origin is not None and not self._is_own():
            self._copy(self._beginning.origin / CHECKPOINTS / LAST_FILE)
        if not self.enabled or not self.file.exists():
            return None
        try:
            checkpoint = read_checkpoint(self.file)
            part = checkpoint[KEY]
            identity, best = part["identity"], part["best"]
            epoch = int(checkpoint["epoch"]) + 1
        except DAMAGE as error:
            log.warning("%s is damaged (%s); the run starts anew.", self.file, first_line(error)[:200])
            return None
        if hindrance := self._find_hindrance(part):
            log.warning("%s %s; the run starts anew.", self.file, hindrance)
            return None
        if trains_on := self._trains_on(part):
            log.info(
                "Trains on after epoch %d of %d. The learning rate is that of a schedule over %d epochs: it may jump.",
                *(epoch, part["max_epochs"], self._max_epochs),
            )
        file = self.file
        if identity != self.identity:  # it is of a shorter run, or the folder was moved or copied since
            checkpoint["callbacks"] = _relocate(checkpoint["callbacks"], identity["folder"], self.identity["folder"])
            # It may have stopped within an epoch, of which the file of the whole one before does not know.
            stopped_within = self._validates_within and epoch < part["max_epochs"]
            self._make_own(checkpoint, ended_early=trains_on and (part["should_stop"] or stopped_within))
            part[TRAINED_ON] = trains_on or part.get(TRAINED_ON, False)
            if trains_on:  # the shorter run's file stays until this one has a whole epoch
                file = self._longer = self.folder / LONGER_FILE
            _save(checkpoint, file)
        _save(best, self.folder / BEST_FILE)
        self._taken_up = part
        log.info("Goes on after epoch %g, from %s", epoch / parts, self.file)
        return file

    def give_back(self) -> None:
        """Leave a shorter run, on which this one was to train on, as it was: this one ends before a whole epoch."""
        if self._longer is not None:
            _save(read_checkpoint(self.file)[KEY]["best"], self.folder / BEST_FILE)
            self._longer.unlink(missing_ok=True)

    def _find_hindrance(self, part: Mapping[str, Any]) -> str | None:
        """Return why the run cannot go on from our part of a checkpoint; None: it can."""
        if other := self._find_other(part):
            return other
        if part.get("started_from", self._started_from) != self._started_from:
            return "is of a run of other weights at the start or other answers of teachers"
        if part.get("tokenizer", self._tokenizer) != self._tokenizer:  # files of earlier versions lack it
            return "is of a run whose words have other ids"
        return None

    def _find_other(self, part: Mapping[str, Any]) -> str | None:
        """Return why our part of a checkpoint is of another run; None: it is of this one."""
        if part["identity"]["run"] not in self._identities.run and not self._trains_on(part):
            return "is of other settings or data"
        if part.get(TRAINED_ON) and not self._beginning.may_train_on:  # its record would be that of a run in one piece
            return "trained on after fewer epochs, which its record does not say"
        return None

    def _is_own(self) -> bool:
        """Return whether the file is there, whole and of this run: the folder may have been another's before."""
        try:
            return self.file.exists() and self._find_other(read_checkpoint(self.file)[KEY]) is None
        except DAMAGE:
            return False

    def _trains_on(self, part: Mapping[str, Any]) -> bool:
        """Return whether our part of a checkpoint is of the same run with fewer epochs, and may be taken up."""
        shorter = part.get("max_epochs", self._max_epochs)
        is_shorter = shorter < self._max_epochs and part["identity"]["run"] in self._identify(shorter).run
        return bool(is_shorter and self._beginning.may_train_on and self.enabled)

    def _make_own(self, checkpoint: dict[str, Any], *, ended_early: bool) -> None:
        """Make another run's checkpoint one of this run: all of it, or a later attempt errs.

        A run that goes further than one that ended before its last epoch is not bound by its decision to stop early:
        its patience, which was at its end, counts anew.
        """
        part = checkpoint[KEY]
        part |= {"identity": self.identity, "max_epochs": self._max_epochs}
        if ended_early:
            part["should_stop"] = False
            for name, state in checkpoint["callbacks"].items():
                if name.startswith(EarlyStopping.__name__):
                    state["wait_count"] = 0
                    log.info("It had ended early; trainer.patience counts anew.")

    def _copy(self, origin: Path) -> None:
        """Take over the checkpoint of another run: from here on it is one of this run.

        Raises:
            ModelFileError: It is not there, is damaged, or of a run that differs in more than the optimizer.
        """
        checkpoint = read_checkpoint(origin)
        part = checkpoint.get(KEY, {})
        if part.get("training") not in self._identities.training:
            raise ModelFileError(
                f"{origin} is of a run that differs in more than the optimizer.",
                "change optimizer settings alone: hydra.sweeper.pruner.keys=[optimizer]",
            )
        folder = part["identity"]["folder"]  # the paths of its callbacks lie there
        self._make_own(checkpoint, ended_early=part["should_stop"])
        part["identity"] = {**self.identity, "folder": folder}
        self.folder.mkdir(parents=True, exist_ok=True)
        _save(checkpoint, self.file)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the random numbers back where they were, and a decision to stop early with them.

        Raises:
            RunPaused: The reporter stops the run at the checkpoint that it was taken up from.
        """
        if self._taken_up is None:
            return
        take_own_settings(trainer.optimizers[0], trainer.lr_scheduler_configs[0].scheduler, pl_module)
        torch.set_rng_state(self._taken_up["random"])
        if pl_module.device.type != "cpu" and self._taken_up["device_random"] is not None:
            torch.get_device_module(pl_module.device).set_rng_state(self._taken_up["device_random"])
        trainer.should_stop = bool(self._taken_up["should_stop"])
        self._tell_saved(trainer, trainer.current_epoch)  # it may have been stopped before it could pause here

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove a file that is not to be taken up: one of this run from its first validation on, others with an epoch.

        It is from there on that the record in the run's folder is of this training, and no longer of theirs.
        """
        if not self.enabled and trainer.is_global_zero and (trainer.is_last_batch or self._is_own()):
            forget_attempts(self.folder.parent)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the file, where the epoch is whole.

        Raises:
            RunPaused: The reporter stops the run here; it goes on from the file.
        """
        if not (self.enabled and trainer.is_last_batch):  # else the run was stopped early within the epoch
            return
        self._is_writing = True
        try:
            # Of several replicas the first one writes, but all take part.
            with replacing(self.file) if trainer.is_global_zero else nullcontext(self.file) as unfinished:
                trainer.save_checkpoint(unfinished)
            if trainer.is_global_zero:  # one of a run that was killed may lie there, too
                (self.folder / LONGER_FILE).unlink(missing_ok=True)
            self._longer = None
        finally:
            self._is_writing = False
        self._tell_saved(trainer, trainer.current_epoch + 1)

    def _tell_saved(self, trainer: pl.Trainer, epochs: int) -> None:
        if not (trainer.should_stop or epochs == trainer.max_epochs):
            self._reporter.saved(epoch=epochs)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add our part to ``last.ckpt``; the selected checkpoint is written through here too and needs none."""
        if not self._is_writing or not trainer.is_global_zero:
            return
        device = pl_module.device
        checkpoint[KEY] = {
            "identity": self.identity,
            "training": self._identities.training[0],
            "started_from": self._started_from,
            "tokenizer": self._tokenizer,
            "max_epochs": self._max_epochs,
            # A file of an earlier version has no mark.
            TRAINED_ON: self._taken_up is not None and self._beginning.may_train_on,
            "seconds": self.seconds,
            "should_stop": trainer.should_stop,
            # Python's and numpy's global numbers have no part in training.
            "random": torch.get_rng_state(),
            "device_random": None if device.type == "cpu" else torch.get_device_module(device).get_rng_state(),
            "best": torch.load(self.folder / BEST_FILE, map_location="cpu", weights_only=True),
        }


def take_own_settings(optimizer: Optimizer, schedule: Any, module: pl.LightningModule) -> None:
    """Give an optimizer that was restored from a checkpoint the settings of this run; its state stays.

    The checkpoint may be another run's, or of a shorter schedule, at whose rate the next step would be. Where it is of
    this very run, nothing changes.

    The schedule goes on where it stood, as a share of this run's learning rate.
    """
    fresh = cast(Any, module.configure_optimizers())["optimizer"]
    for group, own in zip(optimizer.param_groups, fresh.param_groups, strict=True):
        group.update({key: value for key, value in own.items() if key != "params"})
    schedule.base_lrs = [group["initial_lr"] for group in fresh.param_groups]
    for group, base, factor in zip(optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True):
        group["lr"] = base * factor(schedule.last_epoch)


def forget_attempts(output_dir: Path) -> None:
    """Remove what a run would go on from, once its result is recorded; also what killed attempts left half-written."""
    folder = output_dir / CHECKPOINTS
    for file in (*folder.glob(f"{LAST_FILE}*"), *folder.glob(f".{LAST_FILE}.*")):
        file.unlink(missing_ok=True)


def _relocate(state: Any, old: str, new: str) -> Any:
    """Return a state in which every path below the old folder lies below the new one: Lightning keeps them whole."""
    if isinstance(state, dict):
        return {_relocate(key, old, new): _relocate(value, old, new) for key, value in state.items()}
    if isinstance(state, str) and (state == old or state.startswith(f"{old}/")):
        return new + state[len(old) :]
    return state


def _save(checkpoint: dict[str, Any], file: Path) -> None:
    with replacing(file) as unfinished:
        torch.save(checkpoint, unfinished)
