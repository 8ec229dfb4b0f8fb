"""Batches hold the reviews of their split, schedules have the shape of their names, and decay reaches matrices only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from sentiment.config.schema import (
    AdamSettings,
    AdamWSettings,
    ConstantSettings,
    SGDSettings,
    WarmupCosineSettings,
    WarmupLinearSettings,
)
from sentiment.data.batching import Batch, Cut
from sentiment.data.build import build_corpus
from sentiment.data.corpus import Corpus
from sentiment.training.module import (
    ReviewDataModule,
    build_optimizer,
    group_by_decay,
    learning_rate_factor,
    move_average,
)


@pytest.fixture
def corpus(small_settings) -> Corpus:
    return build_corpus(small_settings("model=rnn", "data.train_size=200", "data.test_size=60").data)


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


fractions = st.floats(0, 0.9)
steps = st.integers(1, 500)
COSINE = {"name": "warmup_cosine", "final_fraction": 0.1}
LINEAR = {"name": "warmup_linear", "final_fraction": 0.1}


@given(fractions, steps, st.sampled_from(["cosine", "linear"]))
def test_warmup_rises_to_the_peak_then_falls_to_the_end(fraction, total, kind):
    settings = (
        WarmupCosineSettings(warmup_fraction=fraction, **COSINE)
        if kind == "cosine"
        else WarmupLinearSettings(warmup_fraction=fraction, **LINEAR)
    )
    factor = learning_rate_factor(settings, total)
    values = [factor(step) for step in range(total + 1)]
    peak = values.index(max(values))
    assert all(0 < value <= 1 for value in values)
    assert values[: peak + 1] == sorted(values[: peak + 1])
    assert values[peak:] == sorted(values[peak:], reverse=True)
    assert values[peak] == pytest.approx(1) or peak == total
    assert factor(10 * total) == pytest.approx(0.1, abs=1e-6)


def test_halfway_points():
    cosine = learning_rate_factor(WarmupCosineSettings(warmup_fraction=0.0, **COSINE), 100)
    linear = learning_rate_factor(WarmupLinearSettings(warmup_fraction=0.0, **LINEAR), 100)
    assert cosine(50) == pytest.approx(0.55)
    assert cosine(25) > linear(25)
    assert linear(50) == pytest.approx(0.55)


def test_constant_stays_at_the_peak_after_its_warmup():
    factor = learning_rate_factor(ConstantSettings(name="constant", warmup_fraction=0.1), 100)
    assert factor(0) < factor(9) < 1
    assert {factor(step) for step in range(10, 200)} == {1.0}


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.linear = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)


def test_only_matrices_decay():
    network = Small()
    decaying, others = group_by_decay(network, 0.5)
    assert decaying["weight_decay"] == 0.5
    assert others["weight_decay"] == 0.0
    assert [id(p) for p in decaying["params"]] == [id(network.linear.weight)]
    expected = {id(network.embedding.weight), id(network.linear.bias), id(network.norm.weight), id(network.norm.bias)}
    assert {id(p) for p in others["params"]} == expected


def test_embeddings_decay_where_asked_for():
    network = Small()
    *_, embeddings = group_by_decay(network, 0.5, 0.1)
    assert embeddings == {"params": [network.embedding.weight], "weight_decay": 0.1}
    counted = [id(p) for group in group_by_decay(network, 0.5, 0.1) for p in group["params"]]
    assert sorted(counted) == sorted(id(p) for p in network.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (AdamWSettings(name="adamw", lr=0.1, weight_decay=0.01, beta1=0.8, beta2=0.9), torch.optim.AdamW),
        (AdamSettings(name="adam", lr=0.1, beta1=0.8, beta2=0.9), torch.optim.Adam),
        (SGDSettings(name="sgd", lr=0.001, weight_decay=0.0, momentum=0.9, nesterov=True), torch.optim.SGD),
    ],
)
def test_every_optimizer_takes_its_settings_and_a_step_lowers_the_loss(settings, kind):
    network = Small()
    optimizer = build_optimizer(settings, network)
    assert type(optimizer) is kind
    assert optimizer.param_groups[0]["lr"] == settings.lr
    tokens = torch.tensor([1, 2, 3])

    def loss() -> torch.Tensor:
        return network.norm(network.linear(network.embedding(tokens))).square().sum()

    before = loss()
    before.backward()
    optimizer.step()
    assert loss() < before


def test_an_average_leaves_its_first_weights_behind_soon():
    averages, counts = [torch.tensor([0.0]), torch.tensor([[0.0]])], [torch.tensor(0)]
    for step in range(100):
        move_average(averages, [torch.tensor([1.0]), torch.tensor([[2.0]])], torch.tensor(step), decay=0.998)
        move_average(counts, [torch.tensor(step)], torch.tensor(step), decay=0.998)
    left = np.prod([min(0.998, (1 + step) / (10 + step)) for step in range(100)])
    assert left < 1e-9  # by 0.998 alone, four fifths would be left
    assert [float(tensor) for tensor in (*averages, *counts)] == pytest.approx([1 - left, 2 * (1 - left), 99])


def test_an_average_keeps_infinities_and_takes_complex_weights_along():
    averages, turning = torch.tensor([0.0, -torch.inf, -torch.inf]), torch.tensor([0j])
    for step in range(3):
        move_average([averages], [torch.tensor([1.0, -torch.inf, 2.0])], torch.tensor(step), decay=0.5)
        move_average([turning], [torch.tensor([1j])], torch.tensor(step), decay=0.5)
    assert averages[0] < 1
    assert averages[1:].tolist() == [-torch.inf, 2]
    assert turning[0] == pytest.approx(complex(0, averages[0]))
