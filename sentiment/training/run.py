"""One run: fit, select the checkpoint on validation, evaluate it once on test."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from tempfile import TemporaryDirectory
from typing import cast

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, WeightAveraging
from lightning.pytorch.utilities.seed import isolate_rng
from torch import nn

from sentiment.config.identity import HASH_FORMS, identify
from sentiment.config.objective import find_direction
from sentiment.config.option import find_option
from sentiment.config.schema import Settings, TrainerSettings
from sentiment.data.batching import Cut
from sentiment.data.corpus import Corpus
from sentiment.errors import ModelFileError, Reached, RunPruned, RunStopped
from sentiment.models.build import build_model, count_parameters
from sentiment.models.bundle import Predictor, save_bundle
from sentiment.models.checkpoint import read_checkpoint
from sentiment.process import describe_load
from sentiment.training.debugging import StepProfiler, list_callbacks
from sentiment.training.device import count_threads, find_device, measure_latency_ms, name_device
from sentiment.training.lightning_setup import (
    OwnRandomNumbers,
    ProgressBar,
    ReportingCallback,
    ValidationTimes,
    epochs_done,
    lightning_setup,
    read_metrics,
)
from sentiment.training.metrics import UndefinedObjectiveError, check_metrics, require_defined
from sentiment.training.module import NetworkModule, ReviewDataModule, TextClassificationModule, move_average
from sentiment.training.naive_bayes import learn_ratios
from sentiment.training.probe import list_probe, require_same_answers
from sentiment.training.result import BEST_FILE, CHECKPOINTS, Reporter, RunResult
from sentiment.training.resume import Identity, LastCheckpoint, forget_attempts
from sentiment.training.start import FRESH, Beginning, hash_model, hash_weights, take_weights, take_words

log = logging.getLogger(__name__)


def train_and_test(
    settings: Settings, corpus: Corpus, output_dir: Path, reporter: Reporter, beginning: Beginning = FRESH
) -> RunResult:
    """Train one model; an interrupted run of the same settings and folder goes on after its last whole epoch.

    A model with a fitter of its own (`sentiment.config.option.Option`) has no epochs and is left to that. It trains in
    this process; for several devices there is `sentiment.training.replicas`.

    Args:
        settings: The run's settings.
        corpus: Tokenized reviews; a run reads nothing else.
        output_dir: Folder for the checkpoint and the model bundle.
        reporter: Takes the metrics while the run goes on; what it raises ends the run.
        beginning: What it begins with, and may go on from.

    Raises:
        DeviceError: The device asked for is not there.
        UndefinedObjectiveError: The validation reviews leave an objective undefined, or all validations did.
        RunPruned: The reporter ended the run early; how far it came is in `reached`, and its checkpoints are removed.
        RunPaused: The reporter stopped it at a checkpoint; the same call goes on from there.
        ModelFileError: The selected checkpoint was damaged since it was written, or no bundle can hold the network.
        NonFiniteLossError: The loss became NaN or infinite.
        OutOfMemoryError: The host or the accelerator ran out of memory.
        KeyboardInterrupt: Ctrl-C.
    """
    check_metrics(settings, corpus)
    fitter = find_option(settings.model).fitter
    if fitter is not None:
        torch.set_num_threads(count_threads(settings.trainer))
        return cast(RunResult, resolve_name(fitter)(settings, corpus, output_dir, reporter))
    result = train_replica(settings, corpus, output_dir, reporter, beginning)
    assert result is not None, "the only replica is the first"
    return result


def train_replica(
    settings: Settings, corpus: Corpus, output_dir: Path, reporter: Reporter, beginning: Beginning
) -> RunResult | None:
    """Train and test in one of the processes of a run; only the first one has the result and writes files.

    All of them take the same steps: each hears of the same metrics, and its reporter has to answer as the others'.
    Arguments and errors are those of `train_and_test`.
    """
    device, folder = name_device(settings), output_dir / CHECKPOINTS
    set_global_state(settings.seed, settings.trainer)
    with lightning_setup():
        data, module = build_data(settings, corpus), build_module(settings, corpus)
        learn_ratios(module.network, data.list_training(), len(corpus.class_names))
        started_from = take_start(module.network, settings, corpus, beginning)
        reporting = build_reporting(settings, reporter)
        last = _build_last(settings, corpus, folder, reporter, started_from, beginning)
        callbacks = [*list_callbacks(settings.trainer.debug), reporting, build_selection(settings, folder), last]
        trainer = build_trainer(settings, output_dir, callbacks)
        _require_savable(settings, corpus, module.network, output_dir, trainer.strategy.root_device)
        parameters = count_parameters(module.network)
        where = "; ".join(filter(None, [device, describe_load()]))
        log.info("%s: %s parameters, on %s", settings.model.name, f"{parameters:,}", where)
        seconds = fit(trainer, module, data, reporting, last)
        epochs = epochs_done(trainer)
        module.load_state_dict(read_checkpoint(folder / BEST_FILE)["state_dict"])
        if settings.trainer.test:
            trainer.test(module, datamodule=data, verbose=False)
        if not trainer.is_global_zero:
            return None
        latency_ms = _measure_latency(settings, corpus, module.network, trainer)
        assert reporting.best is not None, "fit returned without a validation"
        probe, asked_on = list_probe(settings, corpus), trainer.strategy.root_device
        check = partial(require_same_answers, module.network, asked_on, probe) if probe else None
        with _forgetting_refused(output_dir, trainer):
            bundle = save_run_bundle(
                output_dir / "model", settings, corpus, module.network, Cut.of(settings.data), beginning.start, check
            )
        return RunResult(
            metrics={**reporting.best, **read_metrics(trainer, "test/"), "time/latency_ms": latency_ms},
            parameters=parameters, seconds=seconds, epochs=epochs, best_epoch=reporting.best_epoch,
            checkpoint=folder / BEST_FILE, class_names=corpus.class_names, test=module.test_predictions,
            bundle=bundle,
        )  # fmt: skip


def _require_savable(
    settings: Settings, corpus: Corpus, network: nn.Module, output_dir: Path, device: torch.device
) -> None:
    """Say before a run trains what no bundle can hold of a network of one's own.

    Two copies from a bundle are asked, not the network itself, which might keep what it made before it trains. They are
    asked on the run's device: the network may compute on no other.
    """
    probe = list_probe(settings, corpus)
    if not probe:
        return
    with TemporaryDirectory(dir=output_dir, prefix=".") as trial, isolate_rng(include_cuda=False):
        folder = save_run_bundle(Path(trial) / "model", settings, corpus, network, Cut.of(settings.data))
        copy = Predictor.load(folder).network
        torch.rand(1)  # so that the other one draws other numbers while it is built
        require_same_answers(copy, device, probe, Predictor.load(folder))


def _build_last(
    settings: Settings, corpus: Corpus, folder: Path, reporter: Reporter, started_from: str, beginning: Beginning
) -> LastCheckpoint:
    """Build the callback that writes the last checkpoint, which a run of other weights or teachers never takes up."""
    taught_by = "" if corpus.lessons is None else corpus.lessons.fingerprint
    return LastCheckpoint(
        folder, settings.trainer.max_epochs, partial(_identify, settings, corpus.fingerprint), reporter,
        enabled=bool(settings.trainer.resume), started_from=" ".join(filter(None, [started_from, taught_by])),
        tokenizer_json=corpus.tokenizer.to_json(), beginning=beginning,
        validates_within=settings.trainer.validations_per_epoch > 1,
    )  # fmt: skip


def _measure_latency(settings: Settings, corpus: Corpus, network: nn.Module, trainer: pl.Trainer) -> float:
    """Measure the latency of the selected weights: every sweep can then show what its accuracy costs."""
    return measure_latency_ms(
        network,
        tokens=settings.data.max_tokens,
        vocabulary_size=corpus.tokenizer.vocabulary_size,
        device=trainer.strategy.root_device,
        precision=trainer.precision_plugin.forward_context(),
        is_objective="time/latency_ms" in settings.objectives,
    )


def take_start(network: nn.Module, settings: Settings, corpus: Corpus, beginning: Beginning) -> str:
    """Let a fresh network start from a trained model or from learned words; return the hash of these, or of nothing.

    Raises:
        ModelFileError: They are of another form.
    """
    start, words = beginning.start, beginning.words
    if start is not None:
        with torch.random.fork_rng(devices=[]):  # its fresh weights are nobody's
            planned = _build_network(settings, corpus, len(start.class_names))
        log.info("%s", take_weights(network, planned, start, corpus.class_names, str(settings.trainer.init_from)))
    if words is not None:
        log.info("%s", take_words(network, words))
        return hash_weights(words)
    return "" if start is None else hash_model(start)


def _identify(settings: Settings, fingerprint: str, max_epochs: int) -> Identity:
    """Identify the run, or one that differs in its number of epochs."""
    trainer = settings.trainer.model_copy(update={"max_epochs": max_epochs})
    whole = settings.model_copy(update={"trainer": trainer})
    run, training = (
        tuple(identify(whole, fingerprint, whatever=group, form=form) for form in range(HASH_FORMS))
        for group in (None, "optimizer")
    )
    return Identity(run, training)


def fit(
    trainer: pl.Trainer,
    module: NetworkModule,
    data: ReviewDataModule,
    reporting: ReportingCallback,
    last: LastCheckpoint,
) -> float:
    """Train, from the last whole epoch of an interrupted attempt (or part of one) if there is one; return its seconds.

    What these are says `RunResult`.

    Raises:
        RunPruned: With how far the run came; nobody will go on from its checkpoints, so they are removed.
        RunPaused: With how far it came; its checkpoints stay.
        UndefinedObjectiveError: The objective was a number at no validation.
    """
    try:
        trainer.fit(module, datamodule=data, ckpt_path=last.find(data.parts), weights_only=True)
    except RunStopped as stopped:
        stopped.reached = Reached(
            metrics=dict(reporting.best or {}),
            epochs=epochs_done(trainer),
            best_epoch=reporting.best_epoch,
            seconds=last.seconds,
            parameters=count_parameters(module.network),
        )
        is_there = last.folder.exists()  # not yet, where the first validation was the end
        if isinstance(stopped, RunPruned) and is_there and trainer.is_global_zero:
            shutil.rmtree(last.folder)
        raise
    except BaseException:
        if trainer.is_global_zero:
            last.give_back()
        raise
    seconds = last.seconds  # now: the clock runs on
    if reporting.best is not None:
        with _forgetting_refused(last.folder.parent, trainer):
            require_defined(reporting.best, reporting.objective)
    profiler = trainer.profiler  # type: ignore[attr-defined]  # set from outside of its class
    if isinstance(profiler, StepProfiler):
        log.info("%s", profiler.report())
    return seconds


@contextmanager
def _forgetting_refused(output_dir: Path, trainer: pl.Trainer) -> Iterator[None]:
    """Let the next attempt start anew where a trained run is refused: from its last epoch it would be refused again."""
    try:
        yield
    except (ModelFileError, UndefinedObjectiveError):
        if trainer.is_global_zero:
            forget_attempts(output_dir)
        raise


def build_reporting(settings: Settings, reporter: Reporter) -> ReportingCallback:
    """Build the callback that tells the reporter; where there is no bar, it prints the validations."""
    every, objective = settings.trainer.log_every_n_steps, settings.selection
    prints = not wants_progress_bar(settings.trainer)
    return ReportingCallback(reporter, every_n_steps=every, objective=objective, print_validations=prints)


def build_selection(settings: Settings, folder: Path) -> ModelCheckpoint:
    """Build the callback that keeps the checkpoint of the best objective."""
    return ModelCheckpoint(
        folder,
        filename=Path(BEST_FILE).stem,
        monitor=settings.selection,
        mode=_mode(settings),
        enable_version_counter=False,
        save_on_train_epoch_end=False,  # at every validation; by itself Lightning looks at an epoch's last one only
    )


def _mode(settings: Settings) -> str:
    """Return Lightning's word for the direction of the objective that selects."""
    return "max" if find_direction(settings.selection) == "maximize" else "min"


def build_data(settings: Settings, corpus: Corpus, parts: int = 1) -> ReviewDataModule:
    """Batch a corpus as the settings say; for `parts` see `ReviewDataModule`."""
    return ReviewDataModule(
        corpus,
        batch_size=settings.data.batch_size,
        cut=Cut.of(settings.data),
        seed=settings.seed,
        parts=parts,
    )


def build_module(settings: Settings, corpus: Corpus) -> TextClassificationModule:
    """Build the network for a corpus, with fresh weights, in its LightningModule."""
    return TextClassificationModule(
        _build_network(settings, corpus, len(corpus.class_names)),
        classes=len(corpus.class_names),
        optimizer=settings.optimizer,
        scheduler=settings.scheduler,
        label_smoothing=settings.trainer.label_smoothing,
    )


def plan_network(settings: Settings, corpus: Corpus) -> nn.Module:
    """Return a run's network before it is built: shapes alone, without memory or random numbers."""
    with suppress(Exception), torch.device("meta"):
        return build_module(settings, corpus).network
    return build_module(settings, corpus).network  # one of one's own, which reads numbers meanwhile


def _build_network(settings: Settings, corpus: Corpus, classes: int) -> nn.Module:
    return build_model(
        settings.model,
        vocabulary_size=corpus.tokenizer.vocabulary_size,
        classes=classes,
        max_tokens=settings.data.max_tokens,
    )


def save_run_bundle(
    folder: Path,
    settings: Settings,
    corpus: Corpus,
    network: nn.Module,
    cut: Cut,
    start: Predictor | None = None,
    check: Callable[[Predictor], None] | None = None,
) -> Path:
    """Write all that prediction needs; return the folder. `check` is as in `save_bundle`.

    The network reads of a review what `cut` keeps. `start` is the trained model that it started from. The bundle also
    lists the reviews that `start` and the teachers learned from, and those without labels that words were learned from.
    """
    tokenizer_json = corpus.tokenizer.to_json()
    own_trained = corpus.train.hashes
    words_from = [] if corpus.words_from is None else [corpus.words_from]
    own_learned = np.concatenate([own_trained, corpus.validation.hashes, *words_from])
    # All are by the same tokenizer, and so of the same kind.
    seen = [(one.learned, one.trained) for one in (start, corpus.lessons) if one is not None]
    learned, trained = map(np.concatenate, zip((own_learned, own_trained), *seen, strict=True))
    return save_bundle(
        folder, network, settings.model, tokenizer_json, corpus.class_names, cut, learned, trained, check
    )


def build_trainer(settings: Settings, output_dir: Path, callbacks: list[pl.Callback], *, parts: int = 1) -> pl.Trainer:
    """Build Lightning's trainer from our settings; logging is the reporter's task. `parts`: see `ReviewDataModule`."""
    trainer, device = settings.trainer, find_device(settings.trainer.accelerator)
    callbacks = [*callbacks, ValidationTimes(trainer.validations_per_epoch // parts), OwnRandomNumbers(settings.seed)]
    if trainer.patience is not None:
        stopping = EarlyStopping(
            settings.selection, 0.0, trainer.patience, mode=_mode(settings),
            check_on_train_epoch_end=False,  # patience counts validations, not epochs
            check_finite=False,  # a metric that is no number is a validation without progress, and not the end
        )  # fmt: skip
        callbacks = [*callbacks, stopping]
    if trainer.weight_averaging is not None:
        averaging = partial(move_average, decay=trainer.weight_averaging)
        # Lightning's own choice is where the network is before it moves: each step would copy all weights to the host.
        callbacks = [*callbacks, WeightAveraging(device=device, multi_avg_fn=averaging)]
    show_bar = wants_progress_bar(trainer)
    if show_bar:
        callbacks = [*callbacks, ProgressBar()]
    return pl.Trainer(
        accelerator=device.type,  # its own auto would take any GPU
        devices=trainer.devices,
        num_nodes=trainer.nodes,
        strategy=_choose_strategy(settings),
        # One device is one process, whatever Slurm or MPI say of the machine; replicas have torchrun's names.
        plugins=[LightningEnvironment()] if trainer.replicas == 1 else None,
        precision=trainer.precision,
        max_epochs=trainer.max_epochs * parts,
        gradient_clip_val=trainer.gradient_clip_norm,
        deterministic=trainer.deterministic,
        default_root_dir=output_dir,
        callbacks=callbacks,
        logger=False,
        profiler=StepProfiler(output_dir / "profile", device) if trainer.debug == "profile" else None,
        detect_anomaly=trainer.debug == "nans",
        enable_progress_bar=show_bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,  # settings are checked beforehand, and a report before step 1 would mislead
        use_distributed_sampler=False,
        reload_dataloaders_every_n_epochs=1,  # batches are drawn anew from (seed, epoch)
    )


def _choose_strategy(settings: Settings) -> str:
    """Return Lightning's word for how replicas agree; of a network of one's own, a step may leave weights unused."""
    if settings.trainer.replicas == 1:
        return "auto"
    return "ddp" if find_option(settings.model).code is None else "ddp_find_unused_parameters_true"


def set_global_state(seed: int, trainer: TrainerSettings) -> None:
    """Start every run of a process alike, whatever ran before it."""
    torch.set_num_threads(count_threads(trainer))
    pl.seed_everything(seed, workers=True, verbose=False)
    # With deterministic algorithms torch also fills all new memory with NaN, to expose code that reads it unwritten;
    # that took an eighth of an RNN's training time on a CPU.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if torch.cuda.is_available():
        # Of the attention kernels that take a mask, only the plain one has a deterministic backward pass.
        torch.backends.cuda.enable_mem_efficient_sdp(not trainer.deterministic)
        torch.backends.cuda.enable_cudnn_sdp(not trainer.deterministic)


def wants_progress_bar(trainer: TrainerSettings) -> bool:
    """Decide on the bar: `auto` shows it to a person at a terminal only."""
    return trainer.progress_bar == "on" or (trainer.progress_bar == "auto" and sys.stdout.isatty())
