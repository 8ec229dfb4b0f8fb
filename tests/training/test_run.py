"""One run from settings to result: selection on validation, one look at the test split, equal seeds, failures."""

from __future__ import annotations

import math
import signal
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.accelerators import MPSAccelerator
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from torch import nn

from sentiment.data.build import build_source
from sentiment.errors import ModelFileError, NonFiniteLossError, OutOfMemoryError
from sentiment.models.bundle import Predictor
from sentiment.training import run
from sentiment.training.device import DEFAULT_THREADS, DeviceError
from sentiment.training.lightning_setup import ReportingCallback, lightning_setup
from sentiment.training.metrics import SplitMetrics, UndefinedObjectiveError
from sentiment.training.module import TextClassificationModule, learning_rate_factor
from sentiment.training.result import Reporters
from sentiment.training.run import train_and_test
from sentiment.training.start import Beginning, hash_model
from tests.models.own import (
    Buffering,
    Counting,
    Drawing,
    Dropping,
    Masking,
    Normed,
    Passing,
    Plain,
    Reading,
    Remembering,
    registered,
)

METRICS = {"loss", "accuracy", "f1", "auroc", "macro_f1", "balanced_accuracy", "mcc", "brier"}


@pytest.mark.parametrize("model", ["transformer", "rnn"])
def test_a_run_learns_and_reports(small_settings, small_corpus, reporter, tmp_path, model):
    settings = small_settings(f"model={model}", "trainer.max_epochs=6", "optimizer.lr=0.005")
    result = train_and_test(settings, small_corpus, tmp_path, reporter)

    validations = reporter.of_kind("validated")
    assert [epoch for _, epoch, _ in validations] == [1, 2, 3, 4, 5, 6]
    assert all(set(metrics) == {f"val/{name}" for name in METRICS} for _, _, metrics in validations)
    assert result.metrics["val/accuracy"] == max(metrics["val/accuracy"] for _, _, metrics in validations)
    assert result.metrics["val/accuracy"] > 0.8

    assert len(reporter.of_kind("tested")) == 1
    assert {name for name in result.metrics if name.startswith("test/")} == {f"test/{n}" for n in METRICS | {"ece"}}
    losses = [metrics["train/loss"] for _, _, metrics in reporter.of_kind("trained")]
    assert len(losses) == 6 * 17  # 540 training reviews in batches of 32
    assert np.mean(losses[-17:]) < np.mean(losses[:17])


def test_test_predictions_stand_in_the_order_of_the_split(small_settings, small_corpus, reporter, tmp_path):
    result = train_and_test(small_settings("model=rnn"), small_corpus, tmp_path, reporter)
    assert result.test is not None
    np.testing.assert_array_equal(result.test.labels, small_corpus.test.labels)
    np.testing.assert_allclose(result.test.probabilities.sum(axis=1), 1, rtol=1e-5)
    confusion = result.test.confusion()
    assert confusion.sum() == len(small_corpus.test)
    assert np.trace(confusion) / confusion.sum() == pytest.approx(result.metrics["test/accuracy"], abs=1e-6)


def test_the_selected_checkpoint_is_tested_not_the_last(small_settings, small_corpus, reporter, tmp_path, monkeypatch):
    """Spoil the weights after the best epoch: the test must not see it."""
    settings = small_settings("model=rnn", "trainer.max_epochs=3", "optimizer.lr=0.005")

    def spoil(module):
        if module.trainer.current_epoch == 2:
            nn.init.zeros_(module.network.head.weight)
            for group in module.trainer.optimizers[0].param_groups:
                group["lr"] = 0.0
                module.trainer.lr_scheduler_configs.clear()

    monkeypatch.setattr(TextClassificationModule, "on_train_epoch_start", spoil)
    result = train_and_test(settings, small_corpus, tmp_path, reporter)
    last = reporter.of_kind("validated")[-1][2]
    assert last["val/accuracy"] < result.metrics["val/accuracy"]
    assert result.best_epoch <= 2
    assert result.metrics["test/accuracy"] > last["val/accuracy"]


def test_the_test_split_is_left_alone_where_the_settings_say_so(small_settings, small_corpus, reporter, tmp_path):
    result = train_and_test(small_settings("model=rnn", "trainer.test=false"), small_corpus, tmp_path, reporter)
    assert result.test is None
    assert reporter.of_kind("tested") == []
    assert not any(name.startswith("test/") for name in result.metrics)


@pytest.mark.parametrize("model", ["transformer", "rnn"])
def test_the_same_seed_gives_bit_equal_metrics(small_settings, small_corpus, recording_reporter, tmp_path, model):
    first, second, other = recording_reporter(), recording_reporter(), recording_reporter()
    settings = small_settings(f"model={model}", "model.dropout=0.2", "model.word_dropout=0.1")
    train_and_test(settings, small_corpus, tmp_path / "a", first)
    torch.rand(100)  # whatever happens in between must not matter
    train_and_test(settings, small_corpus, tmp_path / "b", second)
    assert first.reports == second.reports
    train_and_test(settings.model_copy(update={"seed": 1}), small_corpus, tmp_path / "c", other)
    assert other.reports != first.reports


@pytest.mark.parametrize("model", ["model=transformer", "model=rnn model.cell=lstm", "model=rnn model.cell=gru"])
def test_mixed_precision(small_settings, small_corpus, reporter, tmp_path, model):
    """In bfloat16 a run trains, or is refused with the remedy where the processor has no LSTM of that type."""
    settings = small_settings(*model.split(), "trainer.precision=bf16-mixed", "optimizer.lr=0.005")
    if "lstm" in model and not can_compute_lstm_in_bfloat16():
        with pytest.raises(DeviceError, match=r"trainer\.precision=32-true"):
            train_and_test(settings, small_corpus, tmp_path, reporter)
        return
    result = train_and_test(settings, small_corpus, tmp_path, reporter)
    assert result.metrics["val/loss"] < 1
    assert torch.load(result.checkpoint, weights_only=True)["state_dict"]["network.head.weight"].dtype == torch.float32


def can_compute_lstm_in_bfloat16():
    try:
        with torch.autocast("cpu", torch.bfloat16):
            torch.nn.LSTM(2, 2)(torch.zeros(1, 1, 2))
    except RuntimeError:
        return False
    return True


def test_every_run_measures_its_latency(small_settings, small_corpus, reporter, tmp_path):
    settings = small_settings("model=rnn", "trainer.max_epochs=1")
    assert 0 < train_and_test(settings, small_corpus, tmp_path, reporter).metrics["time/latency_ms"] < 1000


def test_every_step_is_told_however_rarely_the_loss_is(small_settings, small_corpus, recording_reporter, tmp_path):
    class Following(recording_reporter):
        def stepped(self, *, epoch):
            steps.append(epoch)

    steps, reporter = [], Following()
    settings = small_settings("model=rnn", "trainer.max_epochs=1", "trainer.log_every_n_steps=1000")
    train_and_test(settings, small_corpus, tmp_path, Reporters([recording_reporter(), reporter]))
    assert steps == [step / 17 for step in range(1, 18)]
    assert len(reporter.of_kind("trained")) == 1


def test_validation_within_an_epoch(small_settings, small_corpus, reporter, tmp_path):
    settings = small_settings("model=rnn", "trainer.validations_per_epoch=3", "trainer.max_epochs=1")
    train_and_test(settings, small_corpus, tmp_path, reporter)
    assert [round(epoch, 2) for _, epoch, _ in reporter.of_kind("validated")] == [0.35, 0.65, 1.0]  # 6, 11 and 17 of 17


def test_the_selection_looks_at_every_validation(small_settings, small_corpus, reporter, tmp_path, monkeypatch):
    """Spoil the weights after the first validation of the epoch: the selected ones must be from before."""
    settings = small_settings("model=rnn", "trainer.validations_per_epoch=2", "trainer.max_epochs=1")
    on_train_batch_end = ReportingCallback.on_train_batch_end

    def spoil(self, trainer, pl_module, *arguments):
        on_train_batch_end(self, trainer, pl_module, *arguments)
        if trainer.global_step == 16:
            with torch.no_grad():
                pl_module.network.head.bias.copy_(torch.tensor([50.0, -50.0]))

    monkeypatch.setattr(ReportingCallback, "on_train_batch_end", spoil)
    settings = settings.model_copy(update={"objective": "val/loss"})
    result = train_and_test(settings, small_corpus, tmp_path, reporter)
    assert result.best_epoch < 1
    assert result.metrics["test/loss"] < 1
    assert torch.load(result.checkpoint, weights_only=True)["global_step"] < 16


@pytest.mark.parametrize(
    ("objective", "values", "best"),
    [("val/accuracy", [math.nan, 0.6, 0.6, math.nan], 0.6), ("val/loss", [math.nan, 0.6, 0.5, math.nan], 0.5)],
)
def test_the_best_validation_is_the_selected_one_where_the_first_is_no_number(reporter, objective, values, best):
    """`ModelCheckpoint` takes NaN for the worst value there is: the metrics beside its checkpoint must be its own."""
    callback = ReportingCallback(reporter, every_n_steps=1, objective=objective, print_validations=False)
    for step, value in enumerate(values, start=1):
        trainer = SimpleNamespace(callback_metrics={objective: value}, global_step=step, num_training_batches=1)
        callback.on_validation_end(trainer, None)
    assert (callback.best, callback.best_epoch) == ({objective: best}, values.index(best) + 1)


def test_patience_counts_validations(small_settings, small_corpus, reporter, tmp_path):
    settings = small_settings(
        "model=rnn", "trainer.max_epochs=9", "trainer.patience=2", "trainer.validations_per_epoch=3",
        "optimizer.lr=1e-12",
    )  # fmt: skip
    result = train_and_test(settings, small_corpus, tmp_path, reporter)
    assert len(reporter.of_kind("validated")) == 3
    assert result.epochs == 1


def test_a_metric_that_is_no_number_yet_does_not_end_a_run(
    small_settings, small_corpus, reporter, tmp_path, monkeypatch
):
    """A metric of one's own may be undefined at first: a validation without progress, which patience counts."""
    compute, values = SplitMetrics.compute, iter([math.nan, 0.1, 0.2, math.nan, math.nan, 0.9])

    def without_number(self):
        return compute(self) | {"val/accuracy": torch.tensor(next(values))}

    monkeypatch.setattr(SplitMetrics, "compute", without_number)
    settings = small_settings("model=rnn", "trainer.max_epochs=9", "trainer.patience=2", "trainer.test=false")
    result = train_and_test(settings, small_corpus, tmp_path, reporter)
    assert (result.epochs, result.best_epoch) == (5, 3)


def test_an_objective_that_is_a_number_at_no_validation_selects_nothing(
    small_settings, small_corpus, reporter, tmp_path, monkeypatch
):
    """The weights of the first validation were tested and bundled as the selected ones."""
    compute = SplitMetrics.compute
    monkeypatch.setattr(SplitMetrics, "compute", lambda self: compute(self) | {"val/brier": torch.tensor(math.nan)})
    settings = small_settings("model=rnn", "objective=val/brier")
    with pytest.raises(UndefinedObjectiveError, match="val/brier was no number at any validation"):
        train_and_test(settings, small_corpus, tmp_path, reporter)
    assert reporter.of_kind("tested") == []
    assert not (tmp_path / "model").exists()
    monkeypatch.setattr(SplitMetrics, "compute", compute)  # the metric is mended
    assert train_and_test(settings, small_corpus, tmp_path, reporter).metrics["val/brier"] > 0


def test_early_stopping_ends_a_run_without_progress(small_settings, small_corpus, reporter, tmp_path):
    settings = small_settings("model=rnn", "trainer.max_epochs=20", "trainer.patience=2", "optimizer.lr=1e-12")
    result = train_and_test(settings, small_corpus, tmp_path, reporter)
    assert result.epochs < 20


def test_each_step_is_told_with_its_own_learning_rate(small_settings, small_corpus, reporter, tmp_path):
    settings = small_settings("model=rnn", "scheduler=warmup_cosine")
    train_and_test(settings, small_corpus, tmp_path, reporter)
    steps = [(step, metrics["train/lr"]) for step, _, metrics in reporter.of_kind("trained")]
    factor = learning_rate_factor(settings.scheduler, 2 * 17)
    assert [step for step, _ in steps] == list(range(1, 35))
    assert [rate for _, rate in steps] == pytest.approx([settings.optimizer.lr * factor(step - 1) for step, _ in steps])


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_lightning_and_an_average_of_weights_take_the_device_of_the_run(small_settings, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(run, "find_device", lambda accelerator: torch.device(kind))
    monkeypatch.setattr(run.pl, "Trainer", SimpleNamespace)
    settings = small_settings("model=rnn", "trainer.weight_averaging=0.9", "trainer.accelerator=auto")
    trainer = run.build_trainer(settings, tmp_path, [])
    assert trainer.accelerator == kind
    assert [one._device.type for one in trainer.callbacks if isinstance(one, WeightAveraging)] == [kind]


def test_a_gpu_that_is_not_taken_is_no_warning(small_settings, tmp_path, monkeypatch):
    monkeypatch.setattr(MPSAccelerator, "is_available", lambda: True)
    with lightning_setup():
        run.build_trainer(small_settings("model=rnn", "trainer.accelerator=cpu"), tmp_path, [])


@pytest.mark.parametrize("more", [(), ("model.naive_bayes_ngrams=3",)])
def test_weight_averaging_selects_and_stores_the_averaged_weights(
    small_settings, small_corpus, reporter, tmp_path, more
):
    settings = small_settings("model=rnn", "trainer.weight_averaging=0.9", "trainer.test=false", *more)
    result = train_and_test(settings, small_corpus, tmp_path, reporter)
    module = run.build_module(settings, small_corpus)
    module.load_state_dict(torch.load(result.checkpoint, weights_only=True)["state_dict"])
    data = run.build_data(settings, small_corpus)
    with lightning_setup():
        trainer = run.build_trainer(settings, tmp_path, [])
        [metrics] = trainer.validate(module, datamodule=data, verbose=False)
    assert metrics["val/loss"] == pytest.approx(result.metrics["val/loss"], rel=1e-6)


def test_weight_averaging_leaves_the_mask_of_a_window_as_it_is(small_settings, small_corpus, reporter, tmp_path):
    settings = small_settings("model=rnn", "trainer.weight_averaging=0.9")
    with registered(Masking):
        result = train_and_test(settings, small_corpus, tmp_path, reporter)
        network = Predictor.load(result.bundle).network
    assert all(map(math.isfinite, result.metrics.values())), result.metrics
    assert torch.equal(network.window, torch.full_like(network.window, -torch.inf).triu(1))


@pytest.mark.parametrize("model", ["transformer", "rnn"])
def test_counted_ngrams_go_into_the_bundle(small_settings, small_corpus, reporter, tmp_path, model):
    settings = small_settings(f"model={model}", "model.naive_bayes_ngrams=3", "trainer.weight_averaging=0.9")
    result = train_and_test(settings, small_corpus, tmp_path, reporter)
    predictor = Predictor.load(result.bundle)
    assert sum(map(len, predictor.network.naive_bayes.ngrams)) > 100
    texts = build_source(settings.data).load().test.texts
    np.testing.assert_allclose(predictor.predict(texts).probabilities, result.test.probabilities, atol=1e-5)
    [metrics] = [metrics for _, epoch, metrics in reporter.of_kind("validated") if epoch == 1]
    assert metrics["val/accuracy"] > 0.7


def test_decaying_embeddings_are_used(small_settings, small_corpus, reporter, tmp_path):
    losses = set()
    for number, options in enumerate(([], ["optimizer.embedding_decay=0.1"])):
        settings = small_settings("model=rnn", "trainer.test=false", "trainer.max_epochs=1", *options)
        losses.add(train_and_test(settings, small_corpus, tmp_path / str(number), reporter).metrics["val/loss"])
    assert len(losses) == 2


def test_a_loss_that_is_no_number_ends_the_run_with_a_remedy(small_settings, small_corpus, reporter, tmp_path):
    settings = small_settings(
        "model=rnn", "optimizer=sgd", "optimizer.lr=1000", "trainer.gradient_clip_norm=null", "trainer.max_epochs=50",
        "trainer.patience=null",
    )  # fmt: skip
    object.__setattr__(settings.optimizer, "lr", 1e38)
    with pytest.raises(NonFiniteLossError, match=r"became (nan|inf).*\n  -> lower optimizer.lr"):
        train_and_test(settings, small_corpus, tmp_path, reporter)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("CPUAllocator: can't allocate memory"), RuntimeError("MPS backend out of memory (")],
)
@pytest.mark.parametrize("place", [(run, "build_module"), (run, "learn_ratios"), (TextClassificationModule, "forward")])
def test_memory_errors_become_one_with_a_remedy(
    small_settings, small_corpus, reporter, tmp_path, monkeypatch, error, place
):
    def fail(*given):
        raise error

    monkeypatch.setattr(*place, fail)
    with pytest.raises(OutOfMemoryError, match=r"data\.batch_size"):
        train_and_test(small_settings("model=rnn"), small_corpus, tmp_path, reporter)


def test_a_start_of_other_classes_is_held_against_what_the_settings_make_for_its_own(small_settings, small_corpus):
    settings = small_settings("model=rnn", "trainer.init_from=mine")
    torch.manual_seed(1)
    start = Predictor(run.build_module(settings, small_corpus).network, small_corpus.tokenizer, ("a", "b"), None)
    corpus = replace(small_corpus, class_names=("x", "y", "z"))
    network = run.build_module(settings, corpus).network
    following = torch.get_rng_state()
    assert run.take_start(network, settings, corpus, Beginning(start)) == hash_model(start)
    assert torch.equal(torch.get_rng_state(), following)
    taken, state = start.network.state_dict(), network.state_dict()
    assert {key for key in state if not torch.equal(state[key], taken[key])} == {"head.weight", "head.bias"}


def test_what_no_bundle_can_hold_is_said_before_the_training(small_settings, small_corpus, reporter, tmp_path):
    with registered(Remembering), pytest.raises(ModelFileError, match="_extra_state, which is no tensor"):
        train_and_test(small_settings("model=rnn"), small_corpus, tmp_path, reporter)
    assert reporter.reports == []


@pytest.mark.parametrize(("network", "validations"), [(Drawing, 0), (Passing, 0), (Counting, 2)])
def test_a_network_that_answers_by_what_no_bundle_holds_is_refused(
    small_settings, small_corpus, reporter, tmp_path, network, validations
):
    """From its bundle it answered about at random; what only its training changes is known at the end."""
    with registered(network), pytest.raises(ModelFileError, match=r"answers otherwise(.|\n)*-> keep what it draws"):
        train_and_test(small_settings("model=rnn"), small_corpus, tmp_path, reporter)
    assert len(reporter.of_kind("validated")) == validations
    assert not (tmp_path / "model").exists()


def test_a_network_of_one_s_own_is_asked_on_the_device_of_its_run(
    small_settings, small_corpus, reporter, tmp_path, monkeypatch
):
    """One that computes on a GPU alone was refused before it trained."""
    asked_on = []

    def ask(network, device, *given):
        asked_on.append(device)
        raise KeyboardInterrupt

    there = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("meta")))
    monkeypatch.setattr(run, "build_trainer", lambda *given, **keywords: there)
    monkeypatch.setattr(run, "require_same_answers", ask)
    with registered(Plain), pytest.raises(KeyboardInterrupt):
        train_and_test(small_settings("model=rnn"), small_corpus, tmp_path, reporter)
    assert asked_on == [torch.device("meta")]


def test_a_network_of_one_s_own_is_asked_by_a_review_at_a_time_and_its_memory_errors_have_a_remedy(
    small_settings, small_corpus, reporter, tmp_path, monkeypatch
):
    sizes, answer = set(), Predictor.answer

    def fail(saved, reviews, **given):
        sizes.add(given.get("batch_size"))
        if reporter.of_kind("tested"):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return answer(saved, reviews, **given)

    monkeypatch.setattr(Predictor, "answer", fail)
    with registered(Plain), pytest.raises(OutOfMemoryError, match=r"data\.max_tokens"):
        train_and_test(small_settings("model=rnn"), small_corpus, tmp_path, reporter)
    assert sizes == {1}


def test_a_network_that_was_refused_once_it_had_trained_trains_anew_when_it_is_mended(
    small_settings, small_corpus, recording_reporter, tmp_path
):
    """It went on after its last epoch: from what the mended network does not load, or without a validation."""
    mended = recording_reporter()
    with registered(Counting), pytest.raises(ModelFileError, match="answers otherwise"):
        train_and_test(small_settings("model=rnn"), small_corpus, tmp_path, recording_reporter())
    with registered(Plain):
        train_and_test(small_settings("model=rnn"), small_corpus, tmp_path, mended)
    assert len(mended.of_kind("validated")) == 2


@pytest.mark.parametrize("network", [Plain, Masking, Normed, Reading, Buffering, Dropping])
def test_a_network_of_one_s_own_is_left_as_it_is_by_what_is_asked_of_its_copies(
    small_settings, small_corpus, recording_reporter, tmp_path, monkeypatch, network
):
    """The same numbers as without asking, so the same random states and modes; the bundle answers as the run did."""
    settings = small_settings("model=rnn", "trainer.weight_averaging=0.9", "trainer.max_epochs=1")
    asked, unasked = recording_reporter(), recording_reporter()
    for name in ("asked", "unasked"):
        (tmp_path / name).mkdir()
    with registered(network):
        result = train_and_test(settings, small_corpus, tmp_path / "asked", asked)
        answers, *_ = Predictor.load(result.bundle).answer(small_corpus.test)
        monkeypatch.setattr(run, "list_probe", lambda *given: [])
        train_and_test(settings, small_corpus, tmp_path / "unasked", unasked)
    assert asked.reports == unasked.reports
    if network is not Dropping:
        np.testing.assert_allclose(answers, result.test.probabilities, atol=1e-5)


@pytest.mark.parametrize("names", [{"SLURM_NTASKS": "8"}, {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}])
def test_a_run_on_one_device_is_no_task_of_a_cluster(small_settings, tmp_path, monkeypatch, names):
    """Lightning would refuse several tasks, and take its own checkpoint up from where a signal came in an epoch."""
    for name, value in {"SLURM_JOB_NAME": "wrap", "SLURM_JOB_ID": "7", **names}.items():
        monkeypatch.setenv(name, value)
    trainer = run.build_trainer(small_settings("model=rnn"), tmp_path, [])
    assert isinstance(trainer._accelerator_connector.cluster_environment, LightningEnvironment)
    assert trainer.world_size == 1


def test_replicas_of_a_network_of_one_s_own_may_leave_weights_unused(small_settings, tmp_path):
    settings = small_settings("model=rnn", "trainer.devices=2")
    assert not run.build_trainer(settings, tmp_path, []).strategy._ddp_kwargs
    with registered(Plain):
        strategy = run.build_trainer(settings, tmp_path, []).strategy
    assert strategy._ddp_kwargs == {"find_unused_parameters": True}


def test_ctrl_c_reaches_the_caller_and_a_second_one_works(
    small_settings, small_corpus, reporter, tmp_path, monkeypatch
):
    def interrupt(self, tokens, mask):
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(TextClassificationModule, "forward", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_and_test(small_settings("model=rnn"), small_corpus, tmp_path, reporter)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_exception_of_the_reporter_ends_the_run_and_reaches_the_caller(
    small_settings, small_corpus, recording_reporter, tmp_path
):
    class Stop(Exception):  # noqa: N818 - no error, but the way a search ends a hopeless run
        pass

    class Impatient(recording_reporter):
        def validated(self, metrics, *, step, epoch):
            raise Stop

    with pytest.raises(Stop):
        train_and_test(small_settings("model=rnn"), small_corpus, tmp_path, Impatient())


def test_a_run_leaves_no_thread_count_behind(small_settings, small_corpus, reporter, tmp_path):
    train_and_test(small_settings("model=rnn", "trainer.threads=1"), small_corpus, tmp_path / "a", reporter)
    assert torch.get_num_threads() == 1
    train_and_test(small_settings("model=rnn", "trainer.threads=null"), small_corpus, tmp_path / "b", reporter)
    assert torch.get_num_threads() == DEFAULT_THREADS


@pytest.mark.parametrize(
    ("choice", "terminal", "expected"),
    [("auto", True, True), ("auto", False, False), ("on", False, True), ("off", True, False)],
)
def test_the_progress_bar_shows_on_a_terminal_only(small_settings, monkeypatch, choice, terminal, expected):
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal, raising=False)
    assert run.wants_progress_bar(small_settings("model=rnn", f"trainer.progress_bar={choice}").trainer) is expected


def test_the_checkpoint_of_the_best_objective_is_kept(small_settings, tmp_path):
    settings = small_settings("model=rnn", "objective=val/loss")
    trainer = run.build_trainer(settings, tmp_path, [ModelCheckpoint(monitor="val/loss")])
    stopping = [callback for callback in trainer.callbacks if type(callback).__name__ == "EarlyStopping"]
    assert stopping[0].mode == "min"
