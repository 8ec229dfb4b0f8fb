"""Run one job: train, evaluate and record, and tell the trial that it belongs to, if there is one.

The only place that knows both this application (training, tracking, its data) and the sweep engine's trial: training
knows neither MLflow nor Optuna, and the engine knows neither training nor MLflow.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import math
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache, partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf
from pydantic import TypeAdapter

from sentiment.composing import write_override
from sentiment.config.conflicts import explain_lost_pauses
from sentiment.config.home import PROJECT_DIR
from sentiment.config.objective import METRICS, select_objective
from sentiment.config.option import OPTIONS, find_option
from sentiment.config.run_context import RunContext
from sentiment.config.schema import DataSettings, Settings
from sentiment.credentials import name_server
from sentiment.errors import ConfigError, Fault, ModelFileError, RunPruned, SentimentError, refusing_exit
from sentiment.format import is_share
from sentiment.process import prepare_process
from sentiment.search.study.current import RunningTrial, current_trial
from sentiment.search.study.shared_results import IDENTITY_FILE

if TYPE_CHECKING:
    from sentiment.data.corpus import Corpus
    from sentiment.models.bundle import Predictor
    from sentiment.tracking.model_source import ModelSource
    from sentiment.tracking.result_file import ResultRecord
    from sentiment.training.teachers import Answered

prepare_process()  # here: jobs come to this module on whichever machine they run, and before they import torch

log = logging.getLogger(__name__)

PARAMETERS = "model/parameters"
"""The number that is known before training: as an objective, and where it is limited."""

JOB_MODULES = (
    "sentiment.data.build", "sentiment.models.recurrent", "sentiment.models.transformer", "sentiment.tracking.recorder",
    "sentiment.training.run",
)  # fmt: skip
"""What a job imports before its first step, torch and Lightning with it: seconds, which its workers share."""

CODE = ("data", "extensions", "models", "pretraining", "training")
"""Packages that a result depends on."""

PROGRESS_SECONDS = 2.0
"""Time between two tellings of progress within an epoch: each is a write to the study's storage."""


def run_job(run: RunContext) -> tuple[float, ...]:
    """Run one job, or read what an earlier process of the same job has left; return its objectives.

    Raises:
        RunPruned: The study has no use for the trial.
        RunPaused: The trial waits for its promotion; the same job goes on from its checkpoint.
        SentimentError: What stopped the run, with the remedy.
    """
    name_server(run.settings.tracking.uri)
    trial = current_trial()
    # Slurm may restart a job that has just ended. Of a study, a job that begins may find the folder of a study that is
    # gone, whose results are none of its own.
    is_again = "SLURM_RESTART_COUNT" in os.environ if trial is None else trial.attempt > 1
    outcome = read_earlier(run) if is_again else None
    if outcome is None:
        try:
            with refusing_exit():
                outcome = train(run, trial)
        except (KeyboardInterrupt, SystemExit):  # Ctrl-C, SIGTERM or a terminal that was closed
            if run.job_number is None:
                log.info("Stopped. %s", explain_resuming(run))
            raise
        end_with_answer(run)
    if trial is not None:
        trial.describe(outcome)
        trial.stopped_early(count_share(run))
    return tuple(outcome[name] for name in run.settings.objectives)


def count_share(run: RunContext) -> float:
    """Return the share of its epochs that a run which has ended trained; a model that is fitted in one go has none."""
    from sentiment.tracking.result_file import read_result_of

    record = read_result_of(run.output_dir)
    if record is None or record.epochs is None or find_option(run.settings.model).fitter:
        return 1.0
    return record.epochs / run.settings.trainer.max_epochs


def train(run: RunContext, trial: RunningTrial | None) -> dict[str, float]:
    """Train, evaluate and record; return the numbers that a search may look at."""
    # Torch and Lightning take seconds, which a faulty command saves.
    from sentiment.pretraining.run import describe_words, find_words
    from sentiment.tracking.recorder import open_recorder
    from sentiment.tracking.result_file import CONTINUES_TAG, REPEAT_TAG, TRIAL_TAG
    from sentiment.training.device import name_device
    from sentiment.training.replicas import train_on_devices
    from sentiment.training.reporter import Reporters
    from sentiment.training.result import describe_outcome
    from sentiment.training.resume import forget_attempts

    settings = run.settings
    with open_recorder(run) as recorder:
        if trial is None:  # the folder of a job of a study may be this run's now
            (run.output_dir / IDENTITY_FILE).unlink(missing_ok=True)
        start, corpus, answered, tags = read_inputs(settings, trial)
        describe_data(corpus.description)
        recorder.describe({"data.description": corpus.description, **tags})
        recorder.describe({"device": name_device(settings)})
        if trial is not None:
            recorder.describe({TRIAL_TAG: str(trial.number), REPEAT_TAG: str(trial.repeat)})
        # The recorder first: the validation that ends a trial early is recorded too.
        reporter = recorder if trial is None else Reporters([recorder, watch_training(trial, settings, corpus)])
        origin = None if trial is None else trial.origin
        if origin is not None:
            recorder.describe({CONTINUES_TAG: origin.name})
        weights = None
        if settings.pretrain is not None:
            words = find_words(run, corpus, _identify_code(), partial(_tell_before, trial))
            recorder.describe(describe_words(words))
            weights = words.weights
        corpus = corpus if answered is None else answered.add_to(corpus)  # after the words, which read each review once
        result = train_on_devices(settings, corpus, run.output_dir, reporter, start, origin, weights)
        recorder.finished(result)
    if settings.trainer.resume != "keep":
        forget_attempts(run.output_dir)  # not before: a full disk must not cost the training
    return describe_outcome(result.metrics, result.parameters, result.seconds)


def read_inputs(
    settings: Settings, trial: RunningTrial | None
) -> tuple[Predictor | None, Corpus, Answered | None, dict[str, str]]:
    """Return the model that a run starts from, its reviews, what its teachers answer, and the tags that tell them.

    Raises:
        SentimentError: Reviews or models are not there, or cannot be read.
    """
    from sentiment.data.build import build_corpus
    from sentiment.tracking.result_file import FINGERPRINT_TAG, LESSONS_TAG, START_TAG
    from sentiment.training.debugging import limit_corpus
    from sentiment.training.start import hash_model

    trainer, tell = settings.trainer, partial(_tell_before, trial)
    start = None if trainer.init_from is None else load_model(trainer.init_from, settings)
    tokenizer = None if start is None else start.tokenizer
    corpus = build_corpus(settings.data, tokenizer, tell)
    if settings.data.train_limit is not None and len(corpus.train) < settings.data.train_limit:
        warn_of_limit(settings.data.train_limit, len(corpus.train))
    answered = None
    if trainer.teachers is not None:
        from sentiment.training.teachers import ask_teachers

        teachers = {name: load_model(name, settings) for name in trainer.teachers}
        answered = ask_teachers(settings, corpus, teachers, _identify_code(), tell)
    corpus = limit_corpus(corpus, settings)
    tags = {FINGERPRINT_TAG: corpus.fingerprint}
    tags |= {} if start is None else {START_TAG: hash_model(start)}
    tags |= {} if answered is None else {LESSONS_TAG: answered.lessons.fingerprint}
    return start, corpus, answered, tags


def _tell_before(trial: RunningTrial | None, note: str) -> None:
    """Tell how far it is with what comes before a trial's own training, of which nothing is done."""
    if trial is not None:
        trial.progress(0.0, note)


def list_models(settings: Settings) -> list[tuple[str, str]]:
    """List the trained models that a run needs: the key of each, and its name."""
    trainer = settings.trainer
    starts = [] if trainer.init_from is None else [trainer.init_from]
    return [("trainer.init_from", name) for name in starts] + [
        ("trainer.teachers", name) for name in trainer.teachers or ()
    ]


def find_missing_models(settings: Settings) -> list[Fault]:
    """Return a fault for each trained model that a run would look for in vain."""
    uri, is_try = settings.tracking.uri, settings.trainer.debug is not None
    faults = [(key, _explain_missing(name, uri, is_try)) for key, name in list_models(settings)]
    return [Fault(key, *problem) for key, problem in faults if problem is not None]


@cache
def _explain_missing(name: str, uri: str, is_try: bool) -> tuple[str, str] | None:
    """Return why there is no such model, and the remedy; None: there is one. A registered one is looked for later."""
    if name.startswith("models:/"):
        return None
    try:
        _find_source(name, uri, is_try)
    except SentimentError as error:
        problem, _, remedy = str(error).partition("\n")
        return problem, remedy.partition("\n")[0].strip().removeprefix("->").strip()
    return None


def _find_source(name: str, uri: str, is_try: bool) -> ModelSource:
    """Find a trained model; one of a try (debug) is no result, but another try may learn from it."""
    from sentiment.tracking.model_source import find_model_source
    from sentiment.tracking.runs import MULTIRUN_DIR

    source = find_model_source(name, MULTIRUN_DIR, uri)
    if source.is_try and not is_try:
        raise ModelFileError(f"The model {name} is a try (debug), and no result.\n  -> train it without debug")
    return source


def load_model(name: str, settings: Settings) -> Predictor:
    """Read a trained model by the name of its run, bundle, checkpoint or registered version.

    Raises:
        ModelFileError: There is no such model, or it cannot be read.
    """
    return _find_source(name, settings.tracking.uri, settings.trainer.debug is not None).load()


@cache
def describe_data(description: str) -> None:
    """Say what the reviews are: once a command, not once a job."""
    log.info("%s", description)


@cache
def warn_of_limit(limit: int, reviews: int) -> None:
    """Say once a command that a limit of the training reviews is above what there is."""
    log.warning(
        "data.train_limit=%d: there are %d training reviews, and all are taken, as with null; yet it counts as another "
        "setting of the data, so that the same training runs again under each of them.",
        limit, reviews,
    )  # fmt: skip


def end_with_answer(run: RunContext) -> None:
    """Say how a run ended: a single one with what comes next, a job in a line, as its sweep has a table."""
    from sentiment.report.run_summary import write_selection, write_summary
    from sentiment.tracking.result_file import read_result_of

    record = read_result_of(run.output_dir)
    assert record is not None, "the run has just ended"
    if run.job_number is None:
        is_result = run.settings.trainer.debug is None
        log.info("%s", "\n".join(write_summary(record, run.output_dir, is_result=is_result)))
        return
    shown = {name: record.metrics[name] for name in (run.settings.selection, "test/accuracy") if name in record.metrics}
    log.info("  %s: %s", write_selection(record), "  ".join(f"{name} {value:.4f}" for name, value in shown.items()))


def explain_resuming(run: RunContext) -> str:
    """Return how an interrupted single run goes on: a run without checkpoints starts anew."""
    if not run.settings.trainer.resume or not (run.output_dir / "checkpoints" / "last.ckpt").exists():
        return "No epoch was whole yet: the same command starts anew."
    folder = shlex.quote(write_override("hydra.run.dir", str(run.output_dir)))
    return f"The same command goes on after its last whole epoch with {folder}"


def read_earlier(run: RunContext) -> dict[str, float] | None:
    """Read the numbers of a job that ended, but whose process was killed before it told the study; None: it has none.

    Raises:
        RunPruned: The study had ended it early.
    """
    from sentiment.tracking.params import flatten_settings
    from sentiment.tracking.result_file import read_ended
    from sentiment.training.result import describe_outcome

    record = read_ended(run.output_dir, flatten_settings(run.settings))
    if record is not None and _has_read_others(record, run.settings):
        log.warning("%s holds a result of other data; it is not taken.", run.output_dir)
        return None
    if record is not None and record.status == "PRUNED":
        raise RunPruned(record.reason or "pruned")
    return None if record is None else describe_outcome(record.metrics, record.parameters, record.seconds)


def _has_read_others(record: ResultRecord, settings: Settings) -> bool:
    """Return whether a run read other data, models or texts than those that its settings name now."""
    from sentiment.data.build import build_splits
    from sentiment.pretraining.run import place_words
    from sentiment.tracking.result_file import BEHIND_NAMES, FINGERPRINT_TAG, WORDS_TAG
    from sentiment.training.debugging import find_whole

    seen = record.tags.get(FINGERPRINT_TAG)
    if seen is not None and find_whole(seen) != build_splits(settings.data).fingerprint:
        return True
    if BEHIND_NAMES.keys().isdisjoint(record.tags):
        return False
    _, corpus, _, tags = read_inputs(settings, current_trial())  # as a rule, all of it is in caches
    tags |= {} if settings.pretrain is None else {WORDS_TAG: place_words(settings, corpus)[2].name}
    return any(record.tags.get(tag, text) != text for tag, text in tags.items())


def identify_code(config: DictConfig) -> str:
    """Return a digest of the code that a result depends on, whatever else a commit changes.

    That is what reads data, builds models and trains, extensions and their parts included, and the libraries that
    decide numbers.
    """
    return _identify_code()


@cache
def _identify_code() -> str:
    from sentiment.tracking.environment import LIBRARIES

    folders = [PROJECT_DIR / "sentiment" / name for name in CODE]
    files = {file for folder in folders for file in folder.rglob("*.py")}
    own = [metric.target for metric in METRICS.values() if callable(metric.target)]
    files |= {Path(inspect.getfile(target)) for target in own}
    files |= {Path(inspect.getfile(option.target)) for option in OPTIONS.values() if isinstance(option.target, type)}
    content = [[str(file.name), file.read_text(encoding="utf-8")] for file in sorted(files)]
    versions = {name: metadata.version(name) for name in LIBRARIES}
    return hashlib.sha256(json.dumps([content, versions], sort_keys=True).encode()).hexdigest()


def adopt(folder: Path, job_number: int) -> None:
    """Make the record of an equal run of another study, whose folder was taken over, that of a job here."""
    from sentiment.tracking.outbox import Outbox
    from sentiment.tracking.result_file import (
        ADOPTED_TAG,
        REPEAT_TAG,
        RESULT_FILE,
        TRIAL_TAG,
        read_result,
        write_result,
    )

    record = read_result(folder / RESULT_FILE)
    keys = [note["key"] for _, note in Outbox(folder).read() if note["kind"] == "start"]
    Outbox(folder).remove()  # what it records is delivered from the original
    kept = {name: text for name, text in record.tags.items() if name not in (TRIAL_TAG, REPEAT_TAG)}  # of its own study
    kept[ADOPTED_TAG] = (keys or [kept.get(ADOPTED_TAG, "true")])[-1]
    write_result(folder, replace(record, job_number=job_number, tags=kept))


def identify_data(config: DictConfig) -> str:
    """Return the fingerprint of the data behind a composed configuration: changed data is never taken for the same."""
    from sentiment.config.reading import read_settings

    task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    settings = read_settings(task, Path(config.hydra.runtime.cwd))
    reads_unlabelled = settings.pretrain is not None or settings.trainer.teachers is not None
    fingerprint = _fingerprint(settings.data.model_dump_json(), reads_unlabelled)
    named = list_models(settings)
    if not named:
        return fingerprint
    from sentiment.training.start import hash_model

    return ":".join([fingerprint, *(hash_model(load_model(name, settings)) for _, name in named)])


@lru_cache(maxsize=64)
def _fingerprint(settings_json: str, reads_unlabelled: bool) -> str:
    """Fingerprint once per study and settings: data that changes under a running study is not supported anyway.

    Where words are learned before, or teachers answer them, reviews without labels count too. The settings come as
    JSON because a list among them (``data.labels``) cannot be the key of a cache.
    """
    from sentiment.data.build import build_splits
    from sentiment.data.corpus import fingerprint_unlabelled

    adapter: TypeAdapter[DataSettings] = TypeAdapter(DataSettings)
    splits = build_splits(adapter.validate_json(settings_json))
    unlabelled = fingerprint_unlabelled(splits.source) if reads_unlabelled else None
    parts = [splits.content, *([] if unlabelled is None else [unlabelled])]
    with suppress(Exception):  # what cannot be read has no splits, and the job that needs them says why
        parts += [] if splits.draw_version == 1 else [f"draw version {splits.draw_version}"]
    return ":".join(parts)


def watch_training(trial: RunningTrial, settings: Settings, corpus: Corpus) -> TrialReporter:
    """Let a trial's study watch one training run.

    A model that is fitted in one go has a single validation, at its end: there is nothing left to prune, and a pruner
    that took it for a first epoch would hold networks against it.

    Raises:
        ConfigError: The trial is to pause, and the run would write no checkpoint.
    """
    trainer, reviews = settings.trainer, len(corpus.validation)
    if trial.is_to_pause and not (trainer.resume or find_option(settings.model).fitter):
        raise ConfigError([explain_lost_pauses()])
    if find_option(settings.model).fitter:
        return TrialReporter(
            trial, settings.objectives, reviews, validations_per_epoch=1, max_epochs=1, is_pruned=False
        )
    is_asked = PARAMETERS in (*settings.objectives, *trial.limited)
    known = {PARAMETERS: float(count_ahead(settings, corpus))} if is_asked else {}
    if PARAMETERS in trial.limited:
        trial.describe(known)
    paces = trainer.validations_per_epoch, trainer.max_epochs
    return TrialReporter(trial, settings.objectives, reviews, *paces, known=known)


def count_ahead(settings: Settings, corpus: Corpus) -> int:
    """Count the parameters of a run's network before it is built: shapes alone, without memory or random numbers."""
    import torch

    from sentiment.models.build import count_parameters
    from sentiment.training.run import build_module

    with suppress(Exception), torch.device("meta"):
        return count_parameters(build_module(settings, corpus).network)
    return count_parameters(build_module(settings, corpus).network)  # one of one's own, which reads numbers meanwhile


@dataclass
class TrialReporter:
    """A `sentiment.training.reporter.Reporter` that lets a study prune.

    Attributes:
        trial: The job's trial.
        objectives: Metrics that the study compares; what a validation does not tell, and `known` does not, is NaN.
        reviews: Number of validation reviews: the standard error of a share follows from it.
        validations_per_epoch: Steps of the pruner in an epoch: it counts validations, so that trials with different
            batch sizes are compared at the same share of their training.
        max_epochs: Epochs that training takes at most.
        is_pruned: Whether the pruner hears of the validations.
        known: Metrics that are known from the start.
    """

    trial: RunningTrial
    objectives: Sequence[str]
    reviews: int
    validations_per_epoch: int
    max_epochs: int
    is_pruned: bool = True
    known: Mapping[str, float] = field(default_factory=dict)
    _told: float = field(default=0.0, init=False)
    _last: str = field(default="", init=False)

    def trained(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Tell how far training is, now and then; a pruner compares validations.

        Raises:
            RunPruned: The trial is a probe that has seen enough.
        """
        if time.monotonic() - self._told >= PROGRESS_SECONDS and epoch < self.max_epochs:
            self._tell(epoch)

    def validated(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Report the objective.

        Raises:
            RunPruned: The study has no use for this trial.
        """
        values = [{**self.known, **metrics}.get(name, math.nan) for name in self.objectives]
        self._last = f", {metrics[select_objective(self.objectives)]:.4f}"
        self._tell(epoch)
        if not self.is_pruned:
            return
        step = round(epoch * self.validations_per_epoch) - 1
        if len(values) > 1:
            self.trial.report(values, step=step)
        else:
            error = math.sqrt(values[0] * (1 - values[0]) / self.reviews) if is_share(self.objectives[0]) else 0.0
            self.trial.report(values[0], step=step, error=error)

    def saved(self, *, epoch: float) -> None:
        """Tell that the run can go on from here.

        Raises:
            RunPaused: The trial waits for its promotion.
        """
        self.trial.saved(round(epoch * self.validations_per_epoch))

    def tested(self, metrics: Mapping[str, float], *, step: int, epoch: float) -> None:
        """Nothing: a study must not see the test split."""

    def _tell(self, epoch: float) -> None:
        self._told = time.monotonic()
        self.trial.progress(epoch / self.max_epochs, f"epoch {epoch:.3g}/{self.max_epochs}{self._last}")
