from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from sentiment.data.batching import Batch, Cut
from sentiment.data.corpus import Corpus, prepare_corpus
from sentiment.data.datamodule import ReviewDataModule


@pytest.fixture
def corpus(source, tmp_path: Path) -> Corpus:
    tokenizer = {"kind": "word", "vocabulary_size": 500, "min_frequency": 1, "lowercase": True}
    split = {"validation_fraction": 0.1, "split_seed": 0, "train_limit": None}
    return prepare_corpus(source, tokenizer, split, tmp_path)


def make(corpus: Corpus, **changed: object) -> ReviewDataModule:
    settings = {"batch_size": 16, "cut": Cut(12, "head_tail", 0.5), "seed": 1}
    return ReviewDataModule(corpus, **{**settings, **changed})


def test_batches_hold_the_cut_reviews_of_their_split(corpus: Corpus):
    module = make(corpus)
    for split, loader in (
        (corpus.train, module.train_dataloader()),
        (corpus.validation, module.val_dataloader()),
        (corpus.test, module.test_dataloader()),
    ):
        rows = []
        for batch in loader:
            assert isinstance(batch, Batch)
            for tokens, mask, label, row in zip(*batch[:4], strict=True):
                expected = Cut(12, "head_tail", 0.5).cut_ids(split[row])
                np.testing.assert_array_equal(tokens[mask].numpy(), expected)
                assert label == split.labels[row]
                rows.append(int(row))
        assert sorted(rows) == list(range(len(split)))


def test_reviews_of_similar_cut_length_go_together(corpus: Corpus):
    """Reviews beyond `max_tokens` are all alike, however long they were."""
    masks = [batch.mask for batch in make(corpus).test_dataloader()]
    assert masks[0].all()
    assert masks[0].shape[1] == 12


def test_reviews_that_look_equally_long_are_mixed(corpus: Corpus):
    """Sorting by the full length would bring the same long reviews together in every epoch."""
    lengths = corpus.train.lengths
    spreads = [lengths[batch.rows].std() for batch in make(corpus, cut=Cut(2, "head_tail", 0.5)).train_dataloader()]
    assert np.mean(spreads) > 0.8 * lengths.std()


def test_making_batches_leaves_the_random_numbers_of_the_model_alone(corpus: Corpus):
    before = torch.random.get_rng_state()
    list(make(corpus).train_dataloader())
    assert torch.equal(before, torch.random.get_rng_state())


def rows_of(module: ReviewDataModule) -> list[list[int]]:
    return [batch.rows.tolist() for batch in module.train_dataloader()]


def test_training_batches_depend_on_the_seed(corpus: Corpus):
    assert rows_of(make(corpus)) == rows_of(make(corpus))
    assert rows_of(make(corpus)) != rows_of(make(corpus, seed=2))


class Recorder(LightningModule):
    """Learns nothing; writes down which reviews came in which epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: dict[int, list[list[int]]] = {}

    def training_step(self, batch: Batch) -> Tensor:
        self.seen.setdefault(self.current_epoch, []).append(batch.rows.tolist())
        return self.weight.sum()

    def validation_step(self, batch: Batch) -> None:
        """Take part, so that Lightning does not miss it."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning")  # batches are made in the main process
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning 2.6.6 meets torch 2.13
def test_each_epoch_of_a_trainer_has_its_own_batches(corpus: Corpus):
    def train(seed: int) -> dict[int, list[list[int]]]:
        trainer = Trainer(
            max_epochs=3, reload_dataloaders_every_n_epochs=1, accelerator="cpu", logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        recorder = Recorder()
        trainer.fit(recorder, datamodule=make(corpus, seed=seed))
        return recorder.seen

    seen = train(1)
    assert seen == train(1)
    assert seen != train(2)
    assert sorted(seen) == [0, 1, 2]
    for batches in seen.values():
        assert sorted(row for batch in batches for row in batch) == list(range(len(corpus.train)))
    assert seen[0] != seen[1] != seen[2] != seen[0]
