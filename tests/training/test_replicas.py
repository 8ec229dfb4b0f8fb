"""Several devices for one run: the same steps and numbers as on one, one end for all, and no process left behind."""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import threading
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import nn

from sentiment.config.home import PROJECT_DIR
from sentiment.config.reading import read_settings
from sentiment.data.batching import Item, collate
from sentiment.data.build import build_corpus
from sentiment.errors import ConfigError, Fault, NonFiniteLossError, RunPaused, RunPruned, SentimentError
from sentiment.training.replicas import ReplicaError, attend, make_picklable, train_on_devices, write_srun
from sentiment.training.run import build_module
from tests.models.own import Normed, registered

# One review is left for the last batch of an epoch and of the test, so that replicas go without a share of it.
UNEVEN = ("data.batch_size=49", "data.test_size=99", "model.dropout=0", "model.word_dropout=0", "trainer.patience=null")

TOLERANCE = 1e-5


def near(metrics):
    """Take rounding for nothing; two reviews that it lets change places count in AUROC as one pair of thousands."""
    return {name: pytest.approx(value, abs=1e-3 if "auroc" in name else TOLERANCE) for name, value in metrics.items()}


# Shares


@pytest.mark.parametrize("model", ["rnn", "transformer"])
@pytest.mark.parametrize("extra", ["trainer.label_smoothing=0.1", "trainer.label_smoothing=0.0"])
@pytest.mark.parametrize("count", [2, 3])
def test_the_mean_of_the_gradients_of_the_shares_is_that_of_the_batch(
    small_settings, small_corpus, model, extra, count
):
    settings = small_settings(f"model={model}", *UNEVEN, extra)
    torch.manual_seed(0)
    module = build_module(settings, small_corpus)
    split = small_corpus.train
    items = [Item(split[row], int(split.labels[row]), row) for row in range(7)]

    def differentiate(batch):
        module.zero_grad()
        loss = module.training_step(batch, 0)
        loss.backward()
        return loss.detach(), [parameter.grad.clone() for parameter in module.parameters()]

    expected, whole = differentiate(collate(items))
    shares = [differentiate(collate(items, replica, count)) for replica in range(count)]
    assert sum(loss for loss, _ in shares) / count == pytest.approx(float(expected), abs=1e-6)
    for index, gradient in enumerate(whole):
        torch.testing.assert_close(sum(parts[index] for _, parts in shares) / count, gradient, atol=1e-6, rtol=1e-4)


def refuse(small_settings, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        small_settings(*overrides)
    (fault,) = caught.value.faults
    return str(fault)


def test_what_cannot_be_shared_is_refused_with_the_remedy(small_settings):
    assert "2 devices cannot share a batch of 1" in refuse(
        small_settings, "model=rnn", "trainer.devices=2", "data.batch_size=1"
    )
    assert "4 devices" in refuse(
        small_settings, "model=rnn", "trainer.devices=2", "trainer.nodes=2", "data.batch_size=3"
    )
    assert "debug=overfit looks at the steps of one device" in refuse(
        small_settings, "model=rnn", "trainer.devices=2", "trainer.debug=overfit"
    )
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        config = compose("config", ["model=ngram", "trainer.devices=2"])
    with pytest.raises(ConfigError, match="2 devices, but model=ngram is fitted in one go, on one"):
        read_settings(config, Path.cwd())


def test_a_split_with_fewer_reviews_than_devices_is_refused(small_settings, small_corpus, reporter, tmp_path):
    settings = small_settings("model=rnn", "trainer.devices=61", "data.batch_size=64")
    with pytest.raises(ConfigError, match="61 devices in all, and one of the splits that the run reads has 60 reviews"):
        train_on_devices(settings, small_corpus, tmp_path, reporter)


@pytest.fixture
def _not_started(monkeypatch):
    """Starting replicas is an error."""

    def start(trainer):
        raise ChildProcessError

    monkeypatch.setattr("sentiment.training.replicas.started", start)


@pytest.mark.usefixtures("_not_started")
@pytest.mark.parametrize(
    ("norm", "is_shared"),
    [
        (nn.BatchNorm1d, False), (nn.LazyBatchNorm1d, False),
        (nn.SyncBatchNorm, True), (lambda size: nn.BatchNorm1d(size).eval(), True),
    ],
)  # fmt: skip
def test_a_network_that_takes_the_means_of_whole_batches_is_refused_before_replicas_start(
    small_settings, small_corpus, reporter, tmp_path, monkeypatch, norm, is_shared
):
    monkeypatch.setattr(Normed, "norm", staticmethod(norm))
    told = "^$" if is_shared else r"2 in all, and head\.0 of the network, a batch norm, needs whole batches"
    with registered(Normed), pytest.raises(ChildProcessError if is_shared else SentimentError, match=told):
        train_on_devices(small_settings("model=rnn", "trainer.devices=2"), small_corpus, tmp_path, reporter)


def test_a_network_that_takes_the_means_of_whole_batches_trains_on_one_device(
    small_settings, small_corpus, reporter, tmp_path
):
    with registered(Normed):
        train_on_devices(small_settings("model=rnn", "trainer.max_epochs=1"), small_corpus, tmp_path, reporter)


@pytest.mark.usefixtures("_not_started")
def test_the_test_split_of_a_run_that_leaves_it_alone_may_be_smaller(small_settings, small_corpus, reporter, tmp_path):
    corpus = replace(small_corpus, test=small_corpus.test.take(np.array([0])))
    for test, error in (("true", ConfigError), ("false", ChildProcessError)):
        settings = small_settings("model=rnn", "trainer.devices=2", f"trainer.test={test}")
        with pytest.raises(error):
            train_on_devices(settings, corpus, tmp_path, reporter)


def test_the_other_nodes_are_srun_s(small_settings, monkeypatch):
    monkeypatch.setenv("SLURMD_NODENAME", "first")
    command = write_srun(small_settings("model=rnn", "trainer.devices=2", "trainer.nodes=3").trainer)
    assert command[0] == "srun"
    assert {"--nodes=2", "--ntasks=4", "--ntasks-per-node=2", "--exclude=first", "--kill-on-bad-exit=1"} <= {*command}


# What replicas tell


class Process:
    """A process that has ended."""

    def __init__(self, code: int) -> None:
        self.code = code

    def wait(self, timeout: float) -> int:
        return self.code


@pytest.fixture
def told(reporter):
    """Let replicas tell what is given of each, and return what the job makes of it."""

    def tell(*messages, codes=(0, 0)):
        pairs = [Pipe() for _ in messages]
        for (_, theirs), lines in zip(pairs, messages, strict=True):
            for line in lines:
                theirs.send(line)
        answers = [theirs for _, theirs in pairs]
        for (_, theirs), lines in zip(pairs, messages, strict=True):
            if not lines or lines[-1][0] not in ("ended", "failed"):
                theirs.close()  # as its process was killed
        result = attend([ours for ours, _ in pairs], [Process(code) for code in codes], pickle.dumps("work"), reporter)
        return result, answers

    return tell


def test_the_first_replica_reports_and_all_get_the_answer(told, reporter):
    report = ("report", ("validated", [{"val/loss": 0.5}], {"step": 3, "epoch": 1.0}))
    result, answers = told([report, ("ended", "a result")], [("ended", None)])
    assert result == "a result"
    assert reporter.reports == [("validated", 3, 1.0, {"val/loss": 0.5})]
    for connection in answers:
        assert [connection.recv(), connection.recv()] == ["work", None]


def test_a_reporter_s_stop_reaches_all_and_comes_back_with_how_far_the_run_came(told, reporter, monkeypatch):
    def stop(metrics, *, step, epoch):
        raise RunPruned("no use")

    monkeypatch.setattr(reporter, "validated", stop)
    reached = RunPruned("no use")
    reached.reached = "as far as that"
    report = ("report", ("validated", [{}], {"step": 3, "epoch": 1.0}))
    with pytest.raises(RunPruned) as caught:
        told([report, ("ended", reached)], [("ended", RunPruned("no use"))])
    assert caught.value.reached == "as far as that"


def test_what_is_logged_is_logged_by_the_job(told, caplog):
    record = logging.LogRecord("sentiment.somewhere", logging.INFO, "", 0, "said", None, None)
    told([("log", record), ("ended", "a result")], [("ended", None)])
    assert "said" in caplog.text


COMPLAINT = ("failed", (RuntimeError("connection closed by peer"), "Traceback: of the complaint"))


@pytest.mark.parametrize("place", [0, 1])
def test_the_cause_of_a_failure_is_told_and_not_the_complaints_about_it(told, place):
    cause = ("failed", (NonFiniteLossError("the loss became nan"), "Traceback: of the cause"))
    lines = [[COMPLAINT], [COMPLAINT]]
    lines[place] = [cause]
    with pytest.raises(NonFiniteLossError, match="became nan") as caught:
        told(*lines)
    assert "of the cause" in str(caught.value.__cause__)


def test_a_replica_that_is_killed_is_named(told):
    with pytest.raises(ReplicaError, match=r"Replica 1 of the run was killed by SIGKILL; .*\n  -> the same"):
        told([COMPLAINT], [], codes=(0, -9))


def test_errors_keep_their_words_on_the_way(small_settings):
    error = ConfigError([Fault("a.key", "is wrong", "right it")])
    for one in (error, RunPaused.after(3), NonFiniteLossError("nan")):
        assert str(one) in str(make_picklable(one))
    assert make_picklable(RunPaused.after(3)).steps == 3


# Real processes


def train(settings, folder: Path, reporter):
    return train_on_devices(settings, build_corpus(settings.data), folder, reporter)


def learned(result):
    return {name: value for name, value in result.metrics.items() if not name.startswith("time/")}


def list_children() -> list[int]:
    file = Path(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/children")
    return [int(pid) for pid in file.read_text().split()]


def read_command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def list_replicas() -> list[int]:
    return [pid for pid in list_children() if "training.replicas" in read_command(pid)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "devices", "extra"),
    [
        ("rnn", 2, ()),
        ("rnn", 3, ("optimizer=sgd", "optimizer.lr=0.5")),
        ("rnn", 2, ("model.naive_bayes_ngrams=3", "trainer.weight_averaging=0.9")),
        ("transformer", 2, ("model.positions=sinusoidal", "trainer.weight_averaging=0.9")),
        ("transformer", 2, ("trainer.label_smoothing=0.1", "trainer.validations_per_epoch=2")),
    ],
)
def test_several_devices_give_the_numbers_of_one(small_settings, recording_reporter, tmp_path, model, devices, extra):
    class Following(recording_reporter):
        def stepped(self, *, epoch):
            steps.append(epoch)

    steps: list[float] = []
    settings = small_settings(f"model={model}", *UNEVEN, *extra)
    several = small_settings(f"model={model}", *UNEVEN, *extra, f"trainer.devices={devices}")
    one, other = recording_reporter(), Following()
    expected, result = train(settings, tmp_path / "one", one), train(several, tmp_path / "several", other)
    assert steps == sorted(set(steps))
    assert max(steps) == other.of_kind("validated")[-1][1]
    assert learned(result) == near(learned(expected))
    assert (result.best_epoch, result.parameters) == (expected.best_epoch, expected.parameters)
    np.testing.assert_array_equal(result.test.labels, expected.test.labels)
    np.testing.assert_allclose(result.test.probabilities, expected.test.probabilities, atol=TOLERANCE)
    assert [report[:3] for report in other.reports] == [report[:3] for report in one.reports]
    for ours, theirs in zip(other.reports, one.reports, strict=True):
        assert ours[3] == near(theirs[3])
    assert {file.relative_to(tmp_path / "several") for file in (tmp_path / "several").rglob("*")} == {
        file.relative_to(tmp_path / "one") for file in (tmp_path / "one").rglob("*")
    }
    assert list_replicas() == []


@pytest.mark.slow
def test_a_run_goes_on_on_another_number_of_devices(small_settings, recording_reporter, tmp_path):
    class Pausing(recording_reporter):
        def saved(self, *, epoch):
            raise RunPaused.after(int(epoch))

    options = ("model=rnn", *UNEVEN, "trainer.max_epochs=3")
    one, two = small_settings(*options), small_settings(*options, "trainer.devices=2")
    expected = train(one, tmp_path / "whole", recording_reporter())
    with pytest.raises(RunPaused) as caught:
        train(two, tmp_path / "cut", Pausing())
    assert (caught.value.reached.epochs, caught.value.steps) == (1.0, 1)
    paused = Pausing()
    paused.saved = lambda *, epoch: None if epoch < 2 else Pausing.saved(paused, epoch=epoch)
    with pytest.raises(RunPaused):
        train(one, tmp_path / "cut", paused)
    last = recording_reporter()
    result = train(two, tmp_path / "cut", last)
    assert [epoch for _, epoch, _ in last.of_kind("validated")] == [3.0]
    assert learned(result) == near(learned(expected))


@pytest.mark.slow
def test_dropout_goes_on_where_it_was(small_settings, recording_reporter, tmp_path):
    """Interrupted and taken up, a run on two devices ends as one that was not, bit by bit, with dropout too."""
    settings = small_settings("model=rnn", "model.dropout=0.3", "trainer.devices=2", "trainer.max_epochs=2")

    class Pausing(recording_reporter):
        def saved(self, *, epoch):
            raise RunPaused.after(1)

    expected = train(settings, tmp_path / "whole", recording_reporter())
    with pytest.raises(RunPaused):
        train(settings, tmp_path / "cut", Pausing())
    assert learned(train(settings, tmp_path / "cut", recording_reporter())) == learned(expected)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_replica_ends_the_run_and_the_others(small_settings, recording_reporter, tmp_path, victim):
    settings = small_settings("model=rnn", "trainer.devices=2")
    others = []

    class Killing(recording_reporter):
        def validated(self, metrics, *, step, epoch):
            others.extend(list_replicas())
            number = json.loads(read_command(others[victim]).split()[-1])
            assert number == victim
            os.kill(others[victim], signal.SIGKILL)

    with pytest.raises(ReplicaError, match=f"Replica {victim} of the run was killed by SIGKILL"):
        train(settings, tmp_path, Killing())
    assert len(others) == 2
    assert list_replicas() == []


@pytest.mark.slow
def test_an_error_in_the_replicas_and_ctrl_c_end_all(small_settings, recording_reporter, tmp_path):
    class Interrupted(recording_reporter):
        def validated(self, metrics, *, step, epoch):
            raise KeyboardInterrupt

    settings = small_settings("model=rnn", "trainer.devices=2")
    corpus = build_corpus(settings.data)
    broken = replace(corpus.validation, ids=corpus.validation.ids.astype(np.uint32) + 1_000_000)
    with pytest.raises(IndexError) as caught:
        train_on_devices(settings, replace(corpus, validation=broken), tmp_path / "error", recording_reporter())
    assert "in validation_step" in str(caught.value.__cause__)
    assert list_replicas() == []
    with pytest.raises(KeyboardInterrupt):
        train_on_devices(settings, corpus, tmp_path / "interrupted", Interrupted())
    assert list_replicas() == []


SRUN = """#!/bin/sh
# Stands in for srun: starts the tasks here, each with its number.
while [ "${1#--}" != "$1" ]; do
  case $1 in --ntasks=*) tasks=${1#--ntasks=} ;; esac
  shift
done
for task in $(seq 0 $((tasks - 1))); do SLURM_PROCID=$task SLURM_STEP_NUM_TASKS=$tasks "$@" & done
wait
"""


@pytest.mark.slow
def test_replicas_of_other_nodes_take_part(small_settings, recording_reporter, tmp_path, monkeypatch):
    """Started by what stands in for srun, and connected by the network: two nodes with two devices each."""
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text(SRUN)
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{srun.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    settings = small_settings("model=rnn", *UNEVEN)
    four = small_settings("model=rnn", *UNEVEN, "trainer.devices=2", "trainer.nodes=2")
    expected = train(settings, tmp_path / "one", recording_reporter())
    result = train(four, tmp_path / "four", recording_reporter())
    assert learned(result) == near(learned(expected))
    assert list_replicas() == []
