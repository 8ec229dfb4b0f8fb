"""Find the words that a run starts from, or learn them first, in a recorded run of their own."""

from __future__ import annotations

import json
import logging
import math
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from sentiment import atomic
from sentiment.config.home import write_portable
from sentiment.config.option import find_option
from sentiment.config.run_context import RunContext
from sentiment.config.schema import Settings
from sentiment.data.build import build_source, build_unlabelled
from sentiment.data.cache import Tell
from sentiment.data.corpus import NONE_LEFT, Corpus, EncodedSplit, digest, fingerprint_unlabelled
from sentiment.errors import DataError, NonFiniteLossError, RunPaused, RunPruned
from sentiment.format import format_duration
from sentiment.models.build import build_model, count_parameters
from sentiment.models.checkpoint import read_checkpoint
from sentiment.pretraining.artifact import WEIGHTS_FILE, Words, open_words, save_words
from sentiment.pretraining.objectives import WordsModule, perplexity, take_encoder
from sentiment.pretraining.plan import PARTS, count_words, fingerprint_words, gather_pieces, plan_pretraining
from sentiment.tracking.params import flatten_settings
from sentiment.tracking.recorder import open_recorder
from sentiment.tracking.result_file import FINGERPRINT_TAG, WORDS_TAG, read_result_of
from sentiment.training.device import name_device
from sentiment.training.lightning_setup import epochs_done, lightning_setup
from sentiment.training.metrics import UndefinedObjectiveError
from sentiment.training.result import BEST_FILE, CHECKPOINTS, PROGRESS_SECONDS, Reporter, Reporters, RunResult
from sentiment.training.resume import LAST_FILE, Identity, LastCheckpoint
from sentiment.training.run import (
    build_data,
    build_reporting,
    build_selection,
    build_trainer,
    fit,
    set_global_state,
)

log = logging.getLogger(__name__)

RUN_TAG = "pretrain.run_id"
"""Tag beside it: the MLflow run in which they were learned."""

MEMORY_REMEDY = (
    "it is words that are learned: lower pretrain.batch_size, pretrain.max_tokens or model.embedding_size, or use "
    "trainer.precision=bf16-mixed"
)

CODE_FILE = "code.txt"
"""In the folder of words that are being learned: the code of each attempt that the next one goes on from."""


def find_words(run: RunContext, corpus: Corpus, code: str, tell: Tell) -> Words:
    """Return the words that a run starts from; whoever needs them first learns them, others wait for it.

    Args:
        run: The run.
        corpus: Its reviews. With debug=... they are few, and unlabelled ones are left alone.
        code: Digest of the code that trains.
        tell: Hears from time to time how far it is.

    Raises:
        SentimentError: The unlabelled reviews cannot be read, the training failed, or its folder cannot be written.
    """
    plan, texts, folder, unlabelled = place_words(run.settings, corpus, tell)
    words = open_words(folder, partial(learn_words, run, plan, corpus, unlabelled, folder, texts, code, tell), tell)
    facts = words.facts
    log.info(
        "Words: %s, learned in %s to a perplexity of %.4g; %s",
        _name(plan), format_duration(facts.seconds), perplexity(facts.loss), folder,
    )  # fmt: skip
    size = corpus.tokenizer.vocabulary_size
    if facts.loss >= math.log(size):
        log.warning(
            "That is no better than equal odds for each of the %s words of the vocabulary; fresh weights may serve as"
            " well: lower pretrain.lr, or raise pretrain.max_epochs.", f"{size:,}",
        )  # fmt: skip
    if facts.code != code:
        log.warning("Other code of this project learned these words; to learn them again, remove that folder.")
    precision = facts.settings.get("trainer.precision", plan.trainer.precision)
    if precision != plan.trainer.precision:
        log.warning(
            "They were learned at trainer.precision=%s, for all precisions; had this run come first, at %s, its figures"
            " would be a little others.",
            precision, plan.trainer.precision,
        )  # fmt: skip
    return words if unlabelled is None else replace(words, unlabelled=unlabelled.hashes)


def place_words(settings: Settings, corpus: Corpus, tell: Tell) -> tuple[Settings, str, Path, EncodedSplit | None]:
    """Return the plan that a run's words are learned by, the fingerprint of their texts, and the folder named by both.

    The last one are the unlabelled reviews among the texts; None: there are none. Those that have the tokens of a test
    review, however they are written, are left out: nor is the test learned from.

    Raises:
        DataError: The unlabelled reviews cannot be read, or none is left.
    """
    plan = plan_pretraining(settings)
    assert plan.pretrain is not None
    unlabelled = None if settings.trainer.debug else build_unlabelled(plan.data, corpus.tokenizer, tell)
    named = None if unlabelled is None else fingerprint_unlabelled(build_source(plan.data))
    # What was learned from once is part of the fingerprint where there is any.
    left_out: list[object] = [corpus.dropped["validation_test"]] if corpus.dropped["validation_test"] else []
    if unlabelled is not None:
        unlabelled, count = _leave_out_tested(unlabelled, corpus.test)
        left_out += [f"{count} tested"] if count else []
    texts = digest([corpus.fingerprint, named, *left_out])
    folder = Path(plan.pretrain.cache_dir) / fingerprint_words(plan, texts, corpus.tokenizer.to_json())
    return plan, texts, folder, unlabelled


def _leave_out_tested(unlabelled: EncodedSplit, test: EncodedSplit) -> tuple[EncodedSplit, int]:
    """Return the reviews that have not the tokens of a test review, and how many have."""
    is_tested = np.isin(unlabelled.hashes, test.hashes)
    if not is_tested.any():
        return unlabelled, 0
    if is_tested.all():
        raise DataError(NONE_LEFT)
    count = int(is_tested.sum())
    log.info(
        "%s of the reviews without labels are to the model the same as reviews of the test, though written otherwise "
        "(blanks, tags, case, rare words), and are left out.", f"{count:,}",
    )  # fmt: skip
    return unlabelled.take(np.flatnonzero(~is_tested)), count


def describe_words(words: Words) -> dict[str, str]:
    """Return the tags of a run that starts from words."""
    record = read_result_of(words.folder)
    run_id = {} if record is None or record.run_id is None else {RUN_TAG: record.run_id}
    return {WORDS_TAG: words.facts.fingerprint, **run_id}


def learn_words(
    run: RunContext,
    plan: Settings,
    corpus: Corpus,
    unlabelled: EncodedSplit | None,
    folder: Path,
    texts: str,
    code: str,
    tell: Tell,
) -> None:
    """Train, record and keep the words of a plan.

    Arguments are as for `find_words`; `unlabelled` and `texts`, the fingerprint of all reviews, are of `place_words`.

    Raises:
        RunPruned: A dry run has seen enough; what was learned stays, and the next run goes on from there.
    """
    reviews = len(corpus.train) + len(corpus.validation)
    log.info(
        "Learns words first, once for all runs that start from them: %s, from %s labelled and %s unlabelled reviews.",
        _name(plan), f"{reviews:,}", "no" if unlabelled is None else f"{len(unlabelled):,}",
    )  # fmt: skip
    own = replace(
        run,
        settings=plan,
        overrides=(_name(plan),),
        output_dir=folder,
        sweep_dir=None,
        job_number=None,
        resolved_yaml=write_portable(json.dumps(plan.model_dump(mode="json"), indent=1)),  # JSON is YAML
    )
    try:
        with open_recorder(own, is_inner=True) as recorder:
            recorder.describe({FINGERPRINT_TAG: texts, "device": name_device(plan), WORDS_TAG: folder.name})
            reporter = Reporters([recorder, WordsProgress(tell, plan.trainer.max_epochs)])
            code = _note_code(folder, code)
            result, weights = train_words(plan, gather_pieces(corpus, unlabelled, plan), folder, reporter)
            record = read_result_of(folder)
            assert record is not None, "it has just been written"
            save_words(
                folder, weights, settings=flatten_settings(plan), texts=texts, code=code, curve=list(record.history),
                loss=result.metrics["val/loss"], seconds=result.seconds,
            )  # fmt: skip
            (folder / CODE_FILE).unlink()
            recorder.finished(result)
    except RunPaused as stopped:
        raise RunPruned(str(stopped)) from None


def _note_code(folder: Path, code: str) -> str:
    """Note the code that trains; return the digests of all code versions that trained this checkpoint.

    They are separated by spaces: words that several versions trained are taken for those of none.
    """
    file = folder / CODE_FILE
    earlier = file.read_text().split() if file.exists() and (folder / CHECKPOINTS / LAST_FILE).exists() else []
    codes = " ".join(dict.fromkeys([*earlier, code]))
    atomic.write_text(file, codes)
    return codes


def train_words(
    plan: Settings, pieces: Corpus, folder: Path, reporter: Reporter
) -> tuple[RunResult, dict[str, Tensor]]:
    """Train on pieces of reviews, from the last whole part of a pass of an interrupted attempt if there is one.

    Returns:
        The result, and the best weights on the pieces held out, without those that classify.

    Raises:
        NonFiniteLossError: The loss became NaN or infinite.
        OutOfMemoryError: The host or the accelerator ran out of memory.
    """
    assert plan.pretrain is not None
    set_global_state(plan.seed, plan.trainer)
    with lightning_setup(MEMORY_REMEDY):
        size = pieces.tokenizer.vocabulary_size
        network = build_model(
            plan.model, vocabulary_size=size, classes=len(pieces.class_names), max_tokens=plan.data.max_tokens
        )
        objective = find_option(plan.pretrain).build(
            plan.pretrain, network=network, counts=count_words(pieces.train, size)
        )
        module = WordsModule(objective, plan.optimizer, plan.scheduler, plan.seed)
        reporting = build_reporting(plan, reporter)
        checkpoints = folder / CHECKPOINTS
        # The folder's name is the fingerprint; on another device, other numbers are drawn and a training begins anew.
        device = plan.trainer.accelerator, plan.trainer.precision, plan.trainer.deterministic
        identity = Identity((f"{folder.name} {device}",), (folder.name,))
        last = LastCheckpoint(checkpoints, plan.trainer.max_epochs, lambda _: identity, reporter, enabled=True)
        callbacks = [reporting, build_selection(plan, checkpoints), last]
        trainer = build_trainer(plan, folder, callbacks, parts=PARTS)
        try:
            seconds = fit(trainer, module, build_data(plan, pieces, PARTS), reporting, last)
        except (NonFiniteLossError, UndefinedObjectiveError) as error:
            raise type(error)(f"While words were learned: {error.problem}", "lower pretrain.lr") from error
        module.load_state_dict(read_checkpoint(checkpoints / BEST_FILE)["state_dict"])
        epochs = epochs_done(trainer)
    assert reporting.best is not None, "fit returned without a validation"
    result = RunResult(
        metrics=reporting.best,
        parameters=count_parameters(objective),
        seconds=seconds,
        epochs=epochs,
        best_epoch=reporting.best_epoch,
        checkpoint=folder / WEIGHTS_FILE,
        bundle=folder,
        class_names=pieces.class_names,
        test=None,
    )
    return result, take_encoder(objective)


def _name(plan: Settings) -> str:
    assert plan.pretrain is not None
    return f"pretrain={plan.pretrain.name}"


class WordsProgress(Reporter):
    """Tells how far it is; its validations are none of the run."""

    def __init__(self, tell: Tell, max_epochs: int) -> None:
        self._tell, self._max_epochs = tell, max_epochs
        self._told = -math.inf

    def stepped(self, *, epoch: float) -> None:
        """Tell, now and then.

        Raises:
            RunPaused: A dry run has seen enough; nothing that others could go on from is removed for it.
        """
        if time.monotonic() - self._told >= PROGRESS_SECONDS:
            self._told = time.monotonic()
            try:
                self._tell(f"words, epoch {epoch:.3g}/{self._max_epochs}")
            except RunPruned as enough:
                raise RunPaused(str(enough)) from None
