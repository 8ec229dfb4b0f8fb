"""Record learning curves: run.py, with a callback that keeps which validation reviews each validation got right.

    python experiments/search_efficiency/record.py -m search=transformer +experiment=... (see README.md)

A job leaves ``curve.npz`` in its folder: `hits`, (V, R / 8) packed bits of V validations of R reviews; `train_seconds`
and `validation_seconds`, (V,) seconds of processor time, the former cumulative. Processor time of one thread, because
other work on the machine does not change it much.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import run  # noqa: E402 - lies in the project's folder
from sentiment.training import run as training  # noqa: E402

CURVE_FILE = "curve.npz"


class CurveRecorder(pl.Callback):
    """Keeps which validation reviews were right, and what training and validating cost."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / CURVE_FILE
        self._hits: list[Any] = []
        self._train_seconds: list[float] = []
        self._validation_seconds: list[float] = []
        self._batches: list[tuple[Tensor, Tensor]] = []
        self._clock = 0.0
        self._trained = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._clock = time.process_time()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock of training."""
        now = time.process_time()
        self._trained += now - self._clock
        self._clock = now

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep which reviews of a batch were right."""
        self._batches.append((batch.rows.cpu(), (outputs.argmax(dim=1) == batch.labels).cpu()))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the validation; its file is whole after each one."""
        now = time.process_time()
        order = torch.cat([rows for rows, _ in self._batches]).argsort()
        self._hits.append(np.packbits(torch.cat([hits for _, hits in self._batches])[order].numpy()))
        self._batches.clear()
        self._train_seconds.append(self._trained)
        self._validation_seconds.append(now - self._clock)
        np.savez(
            self._file,
            hits=np.stack(self._hits),
            train_seconds=np.array(self._train_seconds, np.float32),
            validation_seconds=np.array(self._validation_seconds, np.float32),
            reviews=len(order),
        )
        self._clock = time.process_time()


def build_recorded_trainer(settings: Any, output_dir: Path, callbacks: list[pl.Callback], **options: Any) -> pl.Trainer:
    """Build the trainer with the recorder among its callbacks."""
    return build_trainer(settings, output_dir, [*callbacks, CurveRecorder(output_dir)], **options)


build_trainer = training.build_trainer
training.build_trainer = build_recorded_trainer  # at import: worker processes import this file too

if __name__ == "__main__":
    run.main()
