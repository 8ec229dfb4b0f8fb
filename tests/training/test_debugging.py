"""Trying a run before it is trained: few reviews of all classes, and what the modes find."""

from __future__ import annotations

import gzip
import json
import re
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from sentiment.data.corpus import Corpus, EncodedSplit
from sentiment.errors import NonFiniteLossError
from sentiment.training.debugging import FindNonFinite, LearnByHeart, StepProfiler, limit_corpus


def make_split(labels):
    lengths = np.arange(1, len(labels) + 1)
    ids = np.repeat(np.arange(len(labels)), lengths).astype(np.uint16)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return EncodedSplit(ids, offsets, np.array(labels), np.arange(len(labels)))


@pytest.fixture
def corpus():
    splits = [make_split([0] * 80 + [1] * 20) for _ in range(3)]
    return Corpus(
        *splits, tokenizer=None, class_names=("a", "b"), fingerprint="f", description="", dropped={}, skipped_rows=0
    )


def settings_of(mode, batch_size=4):
    return SimpleNamespace(trainer=SimpleNamespace(debug=mode), data=SimpleNamespace(batch_size=batch_size))


def test_without_debug_nothing_changes(corpus):
    assert limit_corpus(corpus, settings_of(None)) is corpus


@pytest.mark.parametrize(("mode", "count"), [("fast", 4), ("overfit", 8), ("profile", 80), ("nans", 100)])
def test_few_reviews_of_all_classes_are_left_under_another_fingerprint(corpus, mode, count):
    limited = limit_corpus(corpus, settings_of(mode))
    assert [len(limited.train), len(limited.test)] == [count, count]
    assert set(limited.train.labels) == {0, 1}
    assert limited.fingerprint == f"debug:{mode}:{count}:f", "words learned of so many are those of no other number"
    for index, row in enumerate(limited.train.rows):
        assert limited.train[index].tolist() == [row] * (row + 1)
        assert limited.train.labels[index] == corpus.train.labels[row]


def test_learning_by_heart_is_validated_on_what_is_learnt(corpus):
    limited = limit_corpus(corpus, settings_of("overfit"))
    assert limited.validation is limited.train


def test_learning_by_heart_does_not_take_back_another_end():
    watch, trainer = LearnByHeart(), SimpleNamespace(should_stop=True, current_epoch=1)
    watch.losses = [0.7]
    watch.on_train_epoch_end(trainer, None)
    assert trainer.should_stop, "the patience was at its end"
    trainer.should_stop, watch.losses = False, [0.01]
    watch.on_train_epoch_end(trainer, None)
    assert trainer.should_stop


def test_nothing_is_said_of_learning_by_heart_where_no_step_was_taken(caplog):
    caplog.set_level("INFO")
    LearnByHeart().on_fit_end(SimpleNamespace(current_epoch=3), None)
    assert caplog.text == ""


class Broken(nn.Module):
    """A second layer that divides by zero."""

    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        with torch.no_grad():
            self.network[1].weight.fill_(float("inf"))


def test_the_first_output_that_is_not_finite_is_named():
    module, finder = Broken(), FindNonFinite()
    finder.on_fit_start(SimpleNamespace(global_step=6), module)
    with pytest.raises(NonFiniteLossError, match=r"the output of network.1 \(Linear\), \(3, 2\): .* in step 7"):
        module.network(torch.rand(3, 2))


def test_that_all_was_finite_is_said(caplog):
    caplog.set_level("INFO")
    FindNonFinite().on_fit_end(SimpleNamespace(global_step=1200), None)
    assert caplog.messages == ["\ndebug=nans: 1,200 steps, every output and gradient was finite."]


def test_a_gradient_that_is_not_finite_is_named():
    module, finder = nn.Linear(2, 2), FindNonFinite()
    module.weight.grad = torch.full((2, 2), float("nan"))
    with pytest.raises(NonFiniteLossError, match="the gradient of weight"):
        finder.on_after_backward(SimpleNamespace(global_step=0), module)


@pytest.mark.parametrize("kind", ["cpu", "mps"])
def test_the_profile_has_the_parts_the_operators_and_a_trace(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # of no matter to a run on another device
    waits: list[None] = []
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda: waits.append(None))
    profiler = StepProfiler(tmp_path, torch.device(kind))
    parts = ["data", "forward", "backward", "optimizer", "recording"]
    for action in ("[_TrainingEpochLoop].train_dataloader_next", "[Callback]Bar.on_before_optimizer_step"):
        with profiler.profile(action):
            torch.rand(8, 8) @ torch.rand(8, 8)
    with profiler.profile("[LightningModule]Module.optimizer_step"):
        with profiler.profile("[Strategy]Single.training_step"):
            time.sleep(0.1)
        with profiler.profile("[Strategy]Single.backward"):
            torch.rand(8, 8) @ torch.rand(8, 8)
    text = profiler.report()
    assert [line.split()[0] for line in text.splitlines()[2:7]] == parts
    assert profiler.seconds["forward"] >= 0.1 > profiler.seconds["optimizer"]  # what it calls is not its own
    assert bool(waits) == (kind == "mps")  # whose kernels are queued
    assert re.search(r"^mm +[\d.]+ ms +[\d.]+ % +3 ", text, re.MULTILINE)
    assert "aten::mm" in (tmp_path / "operators.txt").read_text()
    events = json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes()))["traceEvents"]
    assert set(parts) <= {event["name"] for event in events if event["ph"] == "X"}
