"""When to validate within an epoch."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl


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


def validation_batches(batches: int, per_epoch: int) -> set[int]:
    """Return the numbers (from 1) of the batches after which an epoch is validated.

    An epoch with fewer batches than validations is validated after each batch.
    """
    return {max(1, round(index * batches / per_epoch)) for index in range(1, per_epoch + 1)}
