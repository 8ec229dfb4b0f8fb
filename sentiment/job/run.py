"""Run one job from its data to its record, or read what an earlier process of it has left; its study hears of it."""

from __future__ import annotations

import json
import logging
import math
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import TYPE_CHECKING

from sentiment.composing import write_override
from sentiment.config.conflicts import explain_lost_pauses
from sentiment.config.objective import select_objective
from sentiment.config.option import find_option
from sentiment.config.run_context import RunContext
from sentiment.config.schema import Settings
from sentiment.credentials import name_server
from sentiment.errors import ConfigError, RunPruned, refusing_exit
from sentiment.format import format_metric, is_share, write_metrics
from sentiment.job.identity import digest_code, find_model, identify_read, list_models
from sentiment.search.study.current import RunningTrial, current_trial
from sentiment.search.study.shared_results import IDENTITY_FILE
from sentiment.training.result import PROGRESS_SECONDS, Reporter

if TYPE_CHECKING:
    from sentiment.data.corpus import Corpus
    from sentiment.models.bundle import Predictor
    from sentiment.tracking.result_file import ResultRecord
    from sentiment.training.teachers import Answered

log = logging.getLogger(__package__)

PARAMETERS = "model/parameters"
"""The number that is known before training: as an objective, and where it is limited."""


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
    """Return the share of its epochs that a run which has ended trained; a model that is fitted in one go takes one."""
    from sentiment.tracking.result_file import read_result_of

    record = read_result_of(run.output_dir)
    if record is None or record.epochs is None:
        return 1.0
    return record.epochs / run.settings.trainer.max_epochs


def read_earlier(run: RunContext) -> dict[str, float] | None:
    """Read the numbers of a job that ended, but whose process was killed before it told the study; None: it has none.

    A process that still works at it, e.g. on a node that was cut off, is waited for.

    Raises:
        RunPruned: The study had ended it early.
        TrackingError: It is no job, and another process works in its folder.
    """
    from sentiment.tracking.alive import RUN_FILE, Alive
    from sentiment.tracking.params import flatten_settings
    from sentiment.tracking.result_file import read_ended
    from sentiment.training.result import describe_outcome

    Alive(run.output_dir, RUN_FILE, waits=run.job_number is not None).end()
    record = read_ended(run.output_dir, flatten_settings(run.settings))
    if record is not None and _has_read_others(record, run.settings):
        log.warning("%s holds a result of other data; it is not taken.", run.output_dir)
        return None
    if record is not None and record.status == "PRUNED":
        raise RunPruned(record.reason or "pruned")
    return None if record is None else describe_outcome(record.metrics, record.parameters, record.seconds)


def _has_read_others(record: ResultRecord, settings: Settings) -> bool:
    """Return whether a run read other data, models or texts than those that its settings name now."""
    from sentiment.data.build import fingerprint_data
    from sentiment.pretraining.run import place_words
    from sentiment.tracking.result_file import BEHIND_NAMES, FINGERPRINT_TAG, WORDS_TAG
    from sentiment.training.debugging import find_whole

    seen = record.tags.get(FINGERPRINT_TAG)
    if seen is not None and find_whole(seen) != fingerprint_data(settings.data):
        return True
    if BEHIND_NAMES.keys().isdisjoint(record.tags):
        return False
    trial = current_trial()
    _, corpus, _, tags, _ = read_inputs(settings, trial)  # as a rule, all of it is in caches
    if settings.pretrain is not None:
        tags |= {WORDS_TAG: place_words(settings, corpus, partial(_tell_before, trial))[2].name}
    return any(record.tags.get(tag, text) != text for tag, text in tags.items())


def train(run: RunContext, trial: RunningTrial | None) -> dict[str, float]:
    """Train, evaluate and record; return the numbers that a search may look at."""
    # Torch and Lightning take seconds, which a faulty command saves.
    from sentiment.pretraining.run import describe_words, find_words
    from sentiment.tracking.recorder import open_recorder
    from sentiment.tracking.result_file import CONTINUES_TAG, LAST_CHECKPOINT, REPEAT_TAG, TRIAL_TAG
    from sentiment.training.device import name_device
    from sentiment.training.replicas import train_on_devices
    from sentiment.training.result import CHECKPOINTS, LONGER_FILE, Reporters, describe_outcome
    from sentiment.training.resume import forget_attempts
    from sentiment.training.start import Beginning

    settings = run.settings
    with open_recorder(run) as recorder:
        if trial is None:  # the folder of a job of a study may be this run's now
            (run.output_dir / IDENTITY_FILE).unlink(missing_ok=True)
        start, corpus, answered, tags, hashes = read_inputs(settings, trial)
        _say_once(logging.INFO, corpus.description)
        tags |= note_known(settings, corpus, start, answered)
        recorder.describe({"data.description": corpus.description, **tags})
        recorder.describe({"device": name_device(settings)})
        if trial is not None:
            recorder.describe({TRIAL_TAG: str(trial.number), REPEAT_TAG: str(trial.repeat)})
            is_begun = recorder.goes_on or (run.output_dir / LAST_CHECKPOINT).exists()
            if is_begun and trial.attempt == 1:  # from what a study that is gone has left there
                trial.depends_on(code="unknown")
            if hashes:  # a name may stand for another model since the job was planned
                trial.depends_on(data=identify_read(settings, hashes))
        # The recorder first: the validation that ends a trial early is recorded too.
        reporter = recorder if trial is None else Reporters([recorder, watch_training(trial, settings, corpus)])
        origin = None if trial is None else trial.origin
        if origin is not None:
            recorder.describe({CONTINUES_TAG: origin.name})
        weights = None
        if settings.pretrain is not None:
            words = find_words(run, corpus, digest_code(), partial(_tell_before, trial))
            recorder.describe(describe_words(words))
            weights, corpus = words.weights, replace(corpus, words_from=words.unlabelled)
            if trial is not None:
                trial.depends_on(code=words.facts.code)
        corpus = corpus if answered is None else answered.add_to(corpus)  # after the words, which read each review once
        beginning = Beginning(start, origin, weights, may_train_on=recorder.trains_on)
        result = train_on_devices(settings, corpus, run.output_dir, reporter, beginning)
        recorder.finished(result)
    # From here on the selected checkpoint is that of the record.
    (run.output_dir / CHECKPOINTS / LONGER_FILE).unlink(missing_ok=True)
    if settings.trainer.resume != "keep":
        forget_attempts(run.output_dir)  # not before: a full disk must not cost the training
    return describe_outcome(result.metrics, result.parameters, result.seconds)


def read_inputs(
    settings: Settings, trial: RunningTrial | None
) -> tuple[Predictor | None, Corpus, Answered | None, dict[str, str], list[str]]:
    """Return the model that a run starts from, its reviews, what its teachers answer, and what tells them.

    The latter are tags, and the digests of the models that it starts from or asks, in the order of `list_models`.

    Raises:
        SentimentError: Reviews or models are not there, or cannot be read.
    """
    from sentiment.data.build import build_corpus
    from sentiment.tracking.anew import VERSIONS_TAG
    from sentiment.tracking.result_file import FINGERPRINT_TAG, LESSONS_TAG, START_TAG
    from sentiment.training.debugging import limit_corpus
    from sentiment.training.start import hash_model

    trainer, tell = settings.trainer, partial(_tell_before, trial)
    sources = {name: find_model(name, settings) for _, name in list_models(settings)}
    start = None if trainer.init_from is None else sources[trainer.init_from].load()
    tokenizer = None if start is None else start.tokenizer
    corpus = build_corpus(settings.data, tokenizer, tell)
    limit, count = settings.data.train_limit, len(corpus.train)
    if limit is not None and count < limit:
        _say_once(
            logging.WARNING,
            f"data.train_limit={limit}: there are {count} training reviews, and all are taken, as with null; yet it "
            "counts as another setting of the data, so that the same training runs again under each of them.",
        )
    answered, hashes = None, [] if start is None else [hash_model(start)]
    if trainer.teachers is not None:
        from sentiment.training.teachers import ask_teachers

        teachers = {name: sources[name].load() for name in trainer.teachers}
        hashes += map(hash_model, teachers.values())
        answered = ask_teachers(settings, corpus, teachers, digest_code(), tell)
    corpus = limit_corpus(corpus, settings)
    tags = {FINGERPRINT_TAG: corpus.fingerprint}
    tags |= {} if start is None else {START_TAG: hashes[0]}
    tags |= {} if answered is None else {LESSONS_TAG: answered.lessons.fingerprint}
    versions = {name: source.version for name, source in sources.items() if source.version not in (None, name)}
    tags |= {VERSIONS_TAG: json.dumps(versions)} if versions else {}
    return start, corpus, answered, tags, hashes


def note_known(
    settings: Settings, corpus: Corpus, start: Predictor | None, answered: Answered | None
) -> dict[str, str]:
    """Return as tags how many of the reviews that measure a run its start and its teachers know; a start is warned of.

    In a study the log is a worker's, which nobody reads: reports, comparisons and the registry go by the tags.
    """
    from sentiment.tracking.result_file import KNOWN_TAGS, NONE_KNOWN
    from sentiment.training.start import find_known

    if start is None and answered is None:
        return {}
    found = [] if start is None else find_known(start, corpus, is_tested=settings.trainer.test)
    for one in found:
        log.warning("%s", one.warning)
    found += () if answered is None else answered.known
    splits = KNOWN_TAGS if settings.trainer.test else ("validation",)
    counts = {split: dict.fromkeys(one.count for one in found if one.split == split) for split in splits}
    return {KNOWN_TAGS[split]: "; ".join(told) or NONE_KNOWN for split, told in counts.items()}


def _tell_before(trial: RunningTrial | None, note: str) -> None:
    """Report progress 0 with a note while data, words or teachers are prepared."""
    if trial is not None:
        trial.progress(0.0, note)


@cache
def _say_once(level: int, text: str) -> None:
    """Say what is true of a whole command: once, not once a job."""
    log.log(level, "%s", text)


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
    log.info("  %s: %s", write_selection(record), write_metrics(shown))


def explain_resuming(run: RunContext) -> str:
    """Return how an interrupted single run goes on: a run without checkpoints starts anew."""
    from sentiment.tracking.params import flatten_settings
    from sentiment.tracking.result_file import can_go_on

    settings = run.settings
    if settings.trainer.resume and can_go_on(run.output_dir, flatten_settings(settings)):
        folder = shlex.quote(write_override("hydra.run.dir", str(run.output_dir)))
        return f"The same command goes on after its last whole epoch with {folder}"
    if find_option(settings.model).fitter is not None:
        return "The same command starts anew."
    why = "No epoch was whole yet" if settings.trainer.resume else "It keeps no checkpoint (trainer.resume=false)"
    words = "" if settings.pretrain is None else "; its words are kept, those half learned up to their last validation"
    return f"{why}: the same command starts anew{words}."


def watch_training(trial: RunningTrial, settings: Settings, corpus: Corpus) -> TrialReporter:
    """Let a trial's study watch one training run.

    A model that is fitted in one go has a single validation, at its end: it cannot be pruned, and a pruner would
    compare the first epoch of networks with it.

    Raises:
        ConfigError: The trial is to pause, and the run would write no checkpoint.
    """
    trainer, fitter = settings.trainer, find_option(settings.model).fitter
    if trial.is_to_pause and not (trainer.resume or fitter):
        raise ConfigError([explain_lost_pauses()])
    watch = partial(TrialReporter, trial, settings.objectives, len(corpus.validation))
    if fitter:
        return watch(validations_per_epoch=1, max_epochs=1, is_pruned=False)
    is_asked = PARAMETERS in (*settings.objectives, *trial.limited)
    known = {PARAMETERS: float(count_ahead(settings, corpus))} if is_asked else {}
    if PARAMETERS in trial.limited:
        trial.describe(known)
    return watch(trainer.validations_per_epoch, trainer.max_epochs, known=known)


def count_ahead(settings: Settings, corpus: Corpus) -> int:
    """Count the parameters of a run's network before it is built."""
    from sentiment.models.build import count_parameters
    from sentiment.training.run import plan_network

    return count_parameters(plan_network(settings, corpus))


@dataclass
class TrialReporter(Reporter):
    """Lets a study prune by validations; a study must not see the test split."""

    trial: RunningTrial  # the job's trial
    # Metrics that the study compares; what a validation does not tell, and `known` does not, is NaN.
    objectives: Sequence[str]
    reviews: int  # number of validation reviews: the standard error of a share follows from it
    # Steps of the pruner in an epoch: it counts validations, so that trials with different batch sizes are compared at
    # the same share of their training.
    validations_per_epoch: int
    max_epochs: int  # epochs that training takes at most
    is_pruned: bool = True  # whether the pruner hears of the validations
    known: Mapping[str, float] = field(default_factory=dict)  # metrics that are known from the start
    _told: float = field(default=0.0, init=False)
    _last: str = field(default="", init=False)

    def stepped(self, *, epoch: float) -> None:
        """Tell how far training is, now and then.

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
        leading = select_objective(self.objectives)
        self._last = f", {format_metric(leading, metrics[leading])}"
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

    def _tell(self, epoch: float) -> None:
        self._told = time.monotonic()
        self.trial.progress(epoch / self.max_epochs, f"epoch {epoch:.3g}/{self.max_epochs}{self._last}")
