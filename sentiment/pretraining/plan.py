"""The settings and the texts with which a run's words are learned, in a training of their own.

Runs whose plans are equal share the learned words. Pooling, dropout, the head, and the settings by which classes are
learned are no part of the plan.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from sentiment.config.schema import AdamWSettings, Settings, WarmupCosineSettings
from sentiment.data.corpus import Corpus, EncodedSplit, digest
from sentiment.data.splits import held_out_count

VERSION = 4
"""Raise it when the same settings would learn other words."""

PARTS = 4
"""How often in a pass over the texts, which takes long, the words are validated and can be taken up again."""

HELD_OUT_STREAM = 3
"""Stream of random numbers, beside those of `sentiment.data.splits`."""

NO_PART = {"pooling": "mean", "dropout": 0.0, "word_dropout": 0.0, "naive_bayes_ngrams": None}
"""Keys of a network that come after its states, know of classes, or hide words: a small one does not overfit."""

SHOWING = {"depth": 1, "convolution_width": None}
"""Parts that would show a recurrent cell the word that it predicts: they start fresh when the classes are learned."""


def plan_pretraining(settings: Settings) -> Settings:
    """Return the settings of the training in which the words of a run are learned.

    They are those of a run of its own, so that all that trains and records runs takes them as they are.
    """
    pretrain, model = settings.pretrain, settings.model
    assert pretrain is not None, "there are words to be learned"
    has_table = getattr(model, "positions", None) == "learned"  # of so many positions as the classifier reads
    read = settings.data.max_tokens if has_table else pretrain.max_tokens
    data = {
        "max_tokens": read,
        "batch_size": pretrain.batch_size, "keep": "head", "head_fraction": 0.5,
    }  # fmt: skip
    trainer = {
        "max_epochs": pretrain.max_epochs, "validations_per_epoch": PARTS, "patience": None,
        "gradient_clip_norm": 1.0, "label_smoothing": 0.0, "weight_averaging": None,
        "log_every_n_steps": 20, "resume": True, "test": False, "debug": None, "devices": 1, "nodes": 1,
        "init_from": None, "teachers": None,
    }  # fmt: skip
    return settings.model_copy(
        update={
            "model": model.model_copy(update={**NO_PART, **(SHOWING if pretrain.name == "lm" else {})}),
            "optimizer": AdamWSettings(name="adamw", lr=pretrain.lr, weight_decay=0.01, beta1=0.9, beta2=0.98),
            "scheduler": WarmupCosineSettings(name="warmup_cosine", warmup_fraction=0.05, final_fraction=0.0),
            "data": settings.data.model_copy(update=data),
            "trainer": settings.trainer.model_copy(update=trainer),
            "pretrain": pretrain.model_copy(update={"max_tokens": min(pretrain.max_tokens, read)}),
            "tracking": settings.tracking.model_copy(update={"log_model": False}),  # it has no classes to predict
            "seed": pretrain.seed,
            "objective": "val/loss",
        }
    )


def fingerprint_words(plan: Settings, texts: str, tokenizer_json: str) -> str:
    """Hash what determines the weights that a plan leads to: the device is no part of it.

    The tokenizer itself is, and not its settings: from the same texts, another release of its library may learn another
    vocabulary, whose ids have other words.

    Args:
        plan: From `plan_pretraining`.
        texts: Fingerprint of the reviews.
        tokenizer_json: From `ReviewTokenizer.to_json`.
    """
    assert plan.pretrain is not None
    content = {
        "version": VERSION,
        "model": plan.model.model_dump(mode="json"),
        "pretrain": plan.pretrain.model_dump(mode="json", exclude={"cache_dir"}),
        "tokenizer": hashlib.sha256(tokenizer_json.encode()).hexdigest(),
        "max_tokens": plan.data.max_tokens,
        "texts": texts,
    }
    return digest(content)


def gather_pieces(corpus: Corpus, unlabelled: EncodedSplit | None, plan: Settings) -> Corpus:
    """Return a corpus to learn words from: its validation part is held out for the learning curve.

    The texts are those of the training and validation reviews, whose labels are not used, and of the unlabelled ones;
    the test reviews are never among them. Reviews longer than a piece become several, so that no word is lost.
    """
    assert plan.pretrain is not None
    assert corpus.lessons is None, "what teachers answered stands among the unlabelled reviews too"
    longest = plan.pretrain.max_tokens
    splits = [corpus.train, corpus.validation, *([] if unlabelled is None else [unlabelled])]
    ids = np.concatenate([split.ids for split in splits])
    lengths = np.concatenate([split.lengths for split in splits])  # (N,)
    held_out = np.zeros(len(lengths), dtype=np.bool_)
    order = np.random.default_rng([plan.pretrain.seed, HELD_OUT_STREAM]).permutation(len(lengths))
    held_out[order[: held_out_count(len(lengths), plan.pretrain.held_out_fraction)]] = True
    train, validation = (_cut(ids, lengths, chosen, longest) for chosen in (~held_out, held_out))
    return replace(corpus, train=train, validation=validation)


def _cut(
    ids: npt.NDArray[np.integer], lengths: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_], longest: int
) -> EncodedSplit:
    """Take the chosen of N reviews, in pieces of at most `longest` tokens."""
    kept = lengths[chosen]
    pieces = -(-kept // longest)
    sizes = np.full(pieces.sum(), longest, dtype=np.int64)
    sizes[np.cumsum(pieces) - 1] = kept - (pieces - 1) * longest  # the last one of each review has the rest
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return EncodedSplit(
        ids=ids[np.repeat(chosen, lengths)],
        offsets=offsets,
        labels=np.zeros(len(sizes), dtype=np.int64),
        rows=np.arange(len(sizes), dtype=np.int64),
    )


def count_words(split: EncodedSplit, vocabulary_size: int) -> Sequence[int]:
    """Return how often each id of the vocabulary stands in the reviews."""
    counts: list[int] = np.bincount(split.ids, minlength=vocabulary_size).tolist()
    return counts
