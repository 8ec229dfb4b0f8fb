"""Learn from the answers of trained models to reviews without labels (``trainer.teachers``).

A run with teachers learns the mean of their probabilities for each review without a label, beside the labels of the
others (Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural Network"; Xie et al. 2020, "Self-training
with Noisy Student improves ImageNet classification": the student reads with dropout, its teachers without).

Shapes: N reviews, K classes.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from sentiment.config.schema import Settings
from sentiment.data.build import build_corpus, build_unlabelled
from sentiment.data.cache import Entry, Tell, open_entry
from sentiment.data.corpus import Corpus, EncodedSplit, Lessons, digest
from sentiment.data.fingerprint import UNTOLD
from sentiment.errors import DataError, ModelFileError
from sentiment.format import format_count, format_percent
from sentiment.models.bundle import Predictor, require_answers
from sentiment.training.debugging import count_reviews
from sentiment.training.device import count_threads, find_device, memory_errors
from sentiment.training.start import Known, find_known, hash_model

log = logging.getLogger(__name__)

CHUNK = 1024
"""Reviews between two tellings of progress."""

DOUBTFUL = 0.9
"""A probability below which an answer counts as doubtful, for people; the run learns all of them."""

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Answered:
    """Reviews without labels, as their teachers answer them."""

    # N reviews; their labels are the most probable classes, their targets the (N, K) probabilities.
    reviews: EncodedSplit
    lessons: Lessons  # what the teachers are, and what they have seen
    known: tuple[Known, ...]  # what they know of the reviews by which the run is measured

    def add_to(self, corpus: Corpus) -> Corpus:
        """Return a corpus with these among its training reviews, behind those with labels."""
        known, added = corpus.train, self.reviews
        assert added.targets is not None, "they are answered"
        certain = np.eye(len(corpus.class_names), dtype=np.float32)[known.labels]
        train = EncodedSplit(
            ids=np.concatenate([known.ids, added.ids]),
            offsets=np.concatenate([known.offsets, known.offsets[-1] + added.offsets[1:]]),
            labels=np.concatenate([known.labels, added.labels]),
            rows=np.concatenate([known.rows, added.rows]),
            targets=np.concatenate([certain, added.targets]),
        )
        return replace(corpus, train=train, lessons=self.lessons)


def ask_teachers(
    settings: Settings, corpus: Corpus, teachers: Mapping[str, Predictor], code: str, tell: Tell
) -> Answered:
    """Let trained models answer the reviews without labels of a data set.

    The answers of each are kept beside the tokens, for all runs that ask for them. Reviews that also stand among those
    with labels, by their token ids, are left out. With debug=... as many are answered as it takes of the others.

    Args:
        settings: The run's.
        corpus: Its reviews with labels.
        teachers: Trained models by the names that they were given.
        code: Digest of the code that answers.
        tell: See `Tell`.

    Raises:
        DataError: There are no reviews without labels, or none that does not also stand among the others.
        ModelFileError: A teacher knows other classes, or is another one under a second name.
        OutOfMemoryError: A teacher does not fit.
    """
    unlabelled = build_unlabelled(settings.data, corpus.tokenizer, tell)
    if unlabelled is None:
        raise DataError(
            f"data={settings.data.name} has no reviews without labels, which trainer.teachers answer; leave them out"
        )
    torch.set_num_threads(count_threads(settings.trainer))
    device = find_device(settings.trainer.accelerator)
    own = _Reviews(corpus, unlabelled)
    known = {corpus.tokenizer.to_json(): own}  # a tokenizer that several teachers have in common reads once
    asked = [_introduce(name, model, settings, known, tell) for name, model in teachers.items()]
    named: dict[str, str] = {}
    for teacher in asked:
        if (first := named.setdefault(teacher.fingerprint, teacher.name)) != teacher.name:
            raise ModelFileError(
                f"trainer.teachers names one model twice, as {first} and as {teacher.name}, and each counts once.",
                "leave one of the two names out",
            )
    count = min(len(unlabelled), count_reviews(settings) or len(unlabelled))
    cache_dir = Path(settings.data.cache_dir).expanduser()
    with memory_errors("let the teachers answer on the CPU, trainer.accelerator=cpu, or take smaller ones"):
        answers = [teacher.answer(corpus.class_names, count, code, cache_dir, device, tell) for teacher in asked]
    targets = np.stack(answers).mean(axis=0)  # (N, K)
    labelled = np.concatenate([own.labelled_hashes, corpus.test.hashes])  # nor is the test learned from
    rows = np.flatnonzero(~np.isin(own.unlabelled.hashes[:count], labelled))
    if not len(rows):
        raise DataError(
            f"each of the {count:,} reviews without labels also stands among those with labels; give others, or leave "
            "trainer.teachers out"
        )
    log.info("%s", _describe(targets[rows], corpus.class_names, len(teachers), count - len(rows)))
    known_by_name = {
        teacher.name: find_known(teacher.model, teacher.reviews.corpus, is_tested=settings.trainer.test)
        for teacher in asked
    }
    for name, found in known_by_name.items():
        for one in found:
            log.warning("trainer.teachers, %s: %s", name, one.warning)
    reviews = replace(unlabelled.take(rows), labels=targets[rows].argmax(axis=1), targets=targets[rows])
    answered = sorted(digest(teacher.identify(count)) for teacher in asked)
    taught = {"answers": answered, "reviews": _hash(own.unlabelled.hashes[rows])}
    seen = [teacher.look_back(own) for teacher in asked]
    lessons = Lessons(digest(taught), *map(np.concatenate, zip(*seen, strict=True)))
    return Answered(reviews, lessons, tuple(one for found in known_by_name.values() for one in found))


@dataclass(frozen=True)
class _Reviews:
    """A run's reviews by one tokenizer; by another one they are the same, in the same order."""

    corpus: Corpus
    unlabelled: EncodedSplit

    @property
    def labelled_hashes(self) -> Hashes:
        return np.concatenate([self.corpus.train.hashes, self.corpus.validation.hashes])


def _introduce(name: str, model: Predictor, settings: Settings, known: dict[str, _Reviews], tell: Tell) -> _Teacher:
    """Give a teacher the run's reviews by its tokenizer, of the known ones or read now."""
    tokenizer, [own, *_] = model.tokenizer.to_json(), known.values()
    if sorted(model.class_names) != sorted(own.corpus.class_names):
        raise ModelFileError(
            f"The classes of trainer.teachers, {name}, are {', '.join(model.class_names)}, and those of the data "
            f"{', '.join(own.corpus.class_names)}.",
            "take a model that was trained on these classes",
        )
    if tokenizer not in known:
        unlabelled = build_unlabelled(settings.data, model.tokenizer, tell)
        assert unlabelled is not None, "it was there by another tokenizer"
        known[tokenizer] = _Reviews(build_corpus(settings.data, model.tokenizer, tell), unlabelled)
    return _Teacher(name, model, hash_model(model), known[tokenizer])


@dataclass(frozen=True)
class _Teacher:
    """A trained model, what identifies it, and a run's reviews by its tokenizer."""

    name: str
    model: Predictor
    fingerprint: str
    reviews: _Reviews

    def identify(self, count: int) -> dict[str, object]:
        """Return what the answers to the first reviews depend on, but for the code: the numbers differ by device."""
        model = self.model
        return {
            "teacher": self.fingerprint,
            "classes": model.class_names,
            "reading": [model.cut.max_tokens, model.cut.keep, model.cut.head_fraction],
            "reviews": _hash(self.reviews.unlabelled.hashes[:count]),
        }

    def answer(
        self,
        class_names: tuple[str, ...],
        count: int,
        code: str,
        cache_dir: Path,
        device: torch.device,
        tell: Tell,
    ) -> npt.NDArray[np.float32]:
        """Return the (count, K) probabilities of the first reviews, with the classes in the order of the run's."""
        model, reviews = self.model, self.reviews
        settings = {**self.identify(count), "code": code}

        def make_entry() -> Entry:
            log.info("%s answers %s reviews without labels, once for all later runs.", self.name, f"{count:,}")
            model.network.to(device)
            parts = []
            for start in range(0, count, CHUNK):
                tell(f"{self.name} answers {start:,} of {count:,} reviews")
                rows = range(start, min(start + CHUNK, count))
                parts.append(model.answer([reviews.unlabelled[row] for row in rows])[0])
                require_answers(parts[-1], model.network)
            model.network.to("cpu")
            content = {"answers": {"probabilities": np.concatenate(parts)}}
            return Entry(content, tokenizer=model.tokenizer.to_json(), meta={"settings": settings})

        entry = open_entry(cache_dir, digest(settings), make_entry, tell)
        order = [model.class_names.index(name) for name in class_names]
        return entry.arrays["answers"]["probabilities"][:, order]

    def look_back(self, own: _Reviews) -> tuple[Hashes, Hashes]:
        """Return what the teacher has learned from and was trained on (see `Lessons`), by the run's own tokenizer.

        By another tokenizer, reviews can be told only where they are the run's, too.
        """
        if self.reviews is own:
            return self.model.learned, self.model.trained
        theirs, ours = (
            np.concatenate([reviews.labelled_hashes, reviews.unlabelled.hashes]) for reviews in (self.reviews, own)
        )
        learned, trained = (
            np.concatenate([ours[np.isin(theirs, seen)], *([] if np.isin(seen, theirs).all() else [UNTOLD])])
            for seen in (self.model.learned, self.model.trained)
        )
        return learned, trained


def _hash(hashes: Hashes) -> str:
    return hashlib.sha256(hashes.tobytes()).hexdigest()


def _describe(targets: npt.NDArray[np.float32], class_names: tuple[str, ...], teachers: int, left_out: int) -> str:
    """Say what the teachers make of the reviews."""
    counts = np.bincount(targets.argmax(axis=1), minlength=len(class_names))
    shares = ", ".join(
        f"{format_percent(count / len(targets))} {name}" for name, count in zip(class_names, counts, strict=True)
    )
    doubtful = format_percent(float((targets.max(axis=1) < DOUBTFUL).mean()))
    told = f"; {left_out:,} also stand among those with labels and are left out" if left_out else ""
    return (
        f"Learns from {len(targets):,} reviews without labels, too, as {format_count(teachers, 'teacher')} "
        f"answer{'' if teachers > 1 else 's'}: {shares}; {doubtful} with a probability below {DOUBTFUL:g}{told}."
    )
