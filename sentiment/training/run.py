"""One run: fit, select the checkpoint on validation, evaluate it once on test."""

from __future__ import annotations

import logging
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging, ModelCheckpoint, RichProgressBar
from torch import nn

from sentiment.config.schema import Settings, TrainerSettings
from sentiment.data.corpus import Corpus
from sentiment.data.datamodule import ReviewDataModule
from sentiment.errors import OutOfMemoryError
from sentiment.models.build import build_model, count_parameters
from sentiment.models.bundle import save_bundle
from sentiment.training.device import DEFAULT_THREADS, name_device
from sentiment.training.module import TextClassificationModule
from sentiment.training.reporter import Reporter
from sentiment.training.reporting import ReportingCallback, epochs_done
from sentiment.training.result import RunResult
from sentiment.training.validation_times import ValidationTimes

log = logging.getLogger(__name__)


def train_and_test(settings: Settings, corpus: Corpus, output_dir: Path, reporter: Reporter) -> RunResult:
    """Train one model.

    Args:
        settings: The run's settings.
        corpus: Tokenized reviews; a run reads nothing else.
        output_dir: Folder for the checkpoint and the model bundle.
        reporter: Takes the metrics while the run goes on; what it raises ends the run.

    Raises:
        DeviceError: The device asked for is not there.
        NonFiniteLossError: The loss became NaN or infinite.
        OutOfMemoryError: The host or the accelerator ran out of memory.
        KeyboardInterrupt: Ctrl-C.
    """
    device = name_device(settings.trainer)
    set_global_state(settings.seed, settings.trainer)
    data = ReviewDataModule(
        corpus,
        batch_size=settings.data.batch_size,
        max_tokens=settings.data.max_tokens,
        keep=settings.data.keep,
        head_fraction=settings.data.head_fraction,
        seed=settings.seed,
    )
    network = build_model(
        settings.model,
        vocabulary_size=corpus.tokenizer.vocabulary_size,
        classes=len(corpus.class_names),
        max_tokens=settings.data.max_tokens,
    )
    module = TextClassificationModule(
        network,
        classes=len(corpus.class_names),
        optimizer=settings.optimizer,
        scheduler=settings.scheduler,
        label_smoothing=settings.trainer.label_smoothing,
    )
    show_bar = wants_progress_bar(settings.trainer)
    reporting = ReportingCallback(
        reporter,
        every_n_steps=settings.trainer.log_every_n_steps,
        objective=settings.objective,
        maximize=settings.direction == "maximize",
        print_validations=not show_bar,
    )
    checkpoint = ModelCheckpoint(
        output_dir / "checkpoints",
        filename="best",
        monitor=settings.objective,
        mode="max" if settings.direction == "maximize" else "min",
        enable_version_counter=False,
    )
    parameters = count_parameters(network)
    started = time.monotonic()
    with lightning_habits():
        trainer = build_trainer(settings, output_dir, [reporting, checkpoint], show_bar=show_bar)
        log.info("%s: %s parameters, on %s", settings.model.name, f"{parameters:,}", device)
        trainer.fit(module, datamodule=data)
        epochs = epochs_done(trainer)
        load_weights(module, Path(checkpoint.best_model_path))
        if settings.trainer.test:
            trainer.test(module, datamodule=data, verbose=False)
    seconds = time.monotonic() - started

    bundle = output_dir / "model"
    save_bundle(
        bundle,
        network,
        settings.model,
        corpus.tokenizer.to_json(),
        corpus.class_names,
        settings.data.max_tokens,
        settings.data.keep,
        settings.data.head_fraction,
    )
    assert reporting.best is not None, "fit returned without a validation"
    tested = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/")}
    return RunResult(
        metrics={**reporting.best, **tested},
        parameters=parameters,
        seconds=seconds,
        epochs=epochs,
        best_epoch=reporting.best_epoch,
        checkpoint=Path(checkpoint.best_model_path),
        bundle=bundle,
        class_names=corpus.class_names,
        test=module.collect_test_predictions() if settings.trainer.test else None,
    )


def build_trainer(settings: Settings, output_dir: Path, callbacks: list[pl.Callback], *, show_bar: bool) -> pl.Trainer:
    """Build Lightning's trainer from our settings; logging is the reporter's task."""
    trainer = settings.trainer
    callbacks = [*callbacks, ValidationTimes(trainer.validations_per_epoch)]
    if trainer.patience is not None:
        mode = "max" if settings.direction == "maximize" else "min"
        callbacks = [*callbacks, EarlyStopping(settings.objective, mode=mode, patience=trainer.patience)]
    if trainer.weight_averaging is not None:
        callbacks = [*callbacks, EMAWeightAveraging(decay=trainer.weight_averaging)]
    if show_bar:
        callbacks = [*callbacks, RichProgressBar(leave=True)]
    return pl.Trainer(
        accelerator=trainer.accelerator,
        devices=1,  # one run, one device: a sweep fills several devices with several runs
        precision=trainer.precision,
        max_epochs=trainer.max_epochs,
        gradient_clip_val=trainer.gradient_clip_norm,
        deterministic=trainer.deterministic,
        default_root_dir=output_dir,
        callbacks=callbacks,
        logger=False,
        enable_progress_bar=show_bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,  # settings are checked beforehand, and a report before step 1 would mislead
        use_distributed_sampler=False,
        reload_dataloaders_every_n_epochs=1,  # batches are drawn anew from (seed, epoch)
    )


def set_global_state(seed: int, trainer: TrainerSettings) -> None:
    """Give every run of a process the same start, whatever ran before it."""
    torch.set_num_threads(trainer.threads or DEFAULT_THREADS)
    pl.seed_everything(seed, workers=True, verbose=False)
    # With deterministic algorithms torch also fills all new memory with NaN, to expose code that reads it unwritten;
    # that took an eighth of an RNN's training time on a CPU.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if torch.cuda.is_available():
        # Of the fused attention kernels only flash attention has a deterministic backward pass.
        torch.backends.cuda.enable_mem_efficient_sdp(not trainer.deterministic)
        torch.backends.cuda.enable_cudnn_sdp(not trainer.deterministic)


def wants_progress_bar(trainer: TrainerSettings) -> bool:
    """Decide on the bar: `auto` shows it to a person at a terminal only."""
    return trainer.progress_bar == "on" or (trainer.progress_bar == "auto" and sys.stdout.isatty())


def load_weights(module: nn.Module, checkpoint: Path) -> None:
    """Load the selected checkpoint; `weights_only` keeps pickled code out."""
    module.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"])


@contextmanager
def lightning_habits() -> Iterator[None]:
    """Run Lightning quietly, and let its exceptions be ours.

    Lightning turns Ctrl-C into `sys.exit(1)` and leaves SIGINT ignored; a caller must see a KeyboardInterrupt and a
    second Ctrl-C must work. Memory errors come in several types; all become one with a remedy.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    handler = signal.getsignal(signal.SIGINT)
    with warnings.catch_warnings():
        # Batches come from a memory map and are assembled faster than worker processes could hand them over.
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        # Lightning 2.6 meets torch 2.13; drop this with the next Lightning.
        warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`", category=FutureWarning)
        warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
        try:
            yield
        except SystemExit as error:
            if isinstance(error.__context__, KeyboardInterrupt):
                signal.signal(signal.SIGINT, handler)
                raise KeyboardInterrupt from None
            raise
        except (MemoryError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise OutOfMemoryError(
                    f"Out of memory: {str(error).splitlines()[0] if str(error) else 'the host has none left'}\n"
                    "-> lower data.batch_size, data.max_tokens or model.embedding_size, "
                    "or use trainer.precision=bf16-mixed"
                ) from error
            raise


def is_out_of_memory(error: BaseException) -> bool:
    """Recognise the memory errors of Python, CUDA and torch's host allocator, which raises a plain RuntimeError."""
    return isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or "can't allocate memory" in str(error)
