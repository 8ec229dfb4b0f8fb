"""A corpus as Lightning's data loaders."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from sentiment.data.batching import Cut, Item, LengthBatches, collate
from sentiment.data.corpus import Corpus, EncodedSplit


@dataclass(eq=False)
class CutReviews(Dataset[Item]):
    """The reviews of one split, cut to what a model sees."""

    split: EncodedSplit
    cut: Cut

    def __len__(self) -> int:
        """Number of reviews N."""
        return len(self.split)

    def __getitem__(self, index: int) -> Item:
        """Return one review."""
        ids = self.cut.cut_ids(self.split[index])
        targets = self.split.targets
        return Item(ids, int(self.split.labels[index]), index, None if targets is None else targets[index])


class ReviewDataModule(LightningDataModule):
    """Batches of similar length for training, validation and test.

    The training batches of an epoch depend on (`seed`, epoch) alone. The loader is made anew each epoch, so the
    Trainer must have ``reload_dataloaders_every_n_epochs=1``. Batches are made in the main process: a batch takes
    less time to cut and pad than to hand over from a worker process. Each replica of the run sees its share of every
    batch, so that there are the same batches on any number of devices.

    Batches hold `batch_size` reviews, of each what `cut` keeps; `seed` is that of the shuffling. Where a pass takes an
    hour, it is cut into `parts`, each of which is an epoch to the trainer: it can be taken up after each of them.
    """

    def __init__(self, corpus: Corpus, *, batch_size: int, cut: Cut, seed: int, parts: int = 1) -> None:
        super().__init__()
        self.corpus = corpus
        self.batch_size = batch_size
        self.cut = cut
        self.seed = seed
        self.parts = parts

    def train_dataloader(self) -> DataLoader[Item]:
        """Batches of the trainer's current epoch (the first one without a trainer), shuffled."""
        epoch, part = divmod(self.trainer.current_epoch if self.trainer is not None else 0, self.parts)
        return self._loader(self.corpus.train, seed=self.seed, epoch=epoch, part=part, parts=self.parts)

    def val_dataloader(self) -> DataLoader[Item]:
        """Validation batches, always the same ones."""
        return self._loader(self.corpus.validation)

    def test_dataloader(self) -> DataLoader[Item]:
        """Test batches, always the same ones."""
        return self._loader(self.corpus.test)

    def list_training(self) -> list[Item]:
        """List the training reviews as a network sees them, in the order of their split."""
        reviews = CutReviews(self.corpus.train, self.cut)
        return [reviews[row] for row in range(len(reviews))]

    def _loader(self, split: EncodedSplit, **which: int) -> DataLoader[Item]:
        on_cuda = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        replica, replicas = (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
        return DataLoader(
            CutReviews(split, self.cut),
            batch_sampler=LengthBatches(self.cut.cut_lengths(split.lengths), self.batch_size, **which),
            collate_fn=partial(collate, replica=replica, replicas=replicas),
            pin_memory=on_cuda,
            # A loader draws a number when it starts; its own stream keeps it from shifting that of dropout.
            generator=torch.Generator().manual_seed(self.seed),
        )
