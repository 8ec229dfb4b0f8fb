"""A run learns what trained models make of reviews without labels; the answers are kept, and what they know is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - the name everybody knows

from sentiment.data import cache
from sentiment.data.batching import Cut, collate
from sentiment.data.build import build_corpus, build_unlabelled
from sentiment.data.fingerprint import UNTOLD, hash_reviews
from sentiment.errors import DataError, ModelFileError, OutOfMemoryError
from sentiment.models.bundle import Predictor
from sentiment.training.debugging import limit_corpus
from sentiment.training.run import build_data, build_module, save_run_bundle, train_and_test
from sentiment.training.teachers import ask_teachers

UNLABELLED = ("data.train_size=60", "data.test_size=40", "data.unlabelled_size=50")

TAUGHT = ("model=rnn", *UNLABELLED, "trainer.teachers=[mine]")


@pytest.fixture
def settings(small_settings, tmp_path):
    return small_settings(*TAUGHT, f"data.cache_dir={tmp_path}")


@pytest.fixture
def corpus(settings):
    return build_corpus(settings.data)


@pytest.fixture
def make_teacher(settings):
    """Builds a network that has learned nothing but is sure of something: its answers are its own all the same."""

    def make(corpus, seed=0, class_names=None, **seen):
        torch.manual_seed(seed)
        network = build_module(settings, corpus).network
        names = corpus.class_names if class_names is None else class_names
        return Predictor(network, corpus.tokenizer, names, Cut(settings.data.max_tokens, "head", 0.5), **seen)

    return make


def ask(settings, corpus, *teachers, code="code", told=lambda note: None):
    return ask_teachers(settings, corpus, {f"teacher {n}": one for n, one in enumerate(teachers)}, code, told)


def test_a_run_learns_the_mean_of_its_teachers_beside_the_labels(settings, corpus, make_teacher, caplog):
    caplog.set_level("INFO")
    reviews = build_unlabelled(settings.data, corpus.tokenizer)
    one, other = make_teacher(corpus, 1), make_teacher(corpus, 2)
    taught = ask(settings, corpus, one, other).add_to(corpus).train
    expected = np.mean([teacher.answer([reviews[row] for row in range(50)])[0] for teacher in (one, other)], axis=0)
    assert len(taught) == len(corpus.train) + 50
    assert np.array_equal(taught.targets[: len(corpus.train)], np.eye(2)[corpus.train.labels])
    assert taught.targets[len(corpus.train) :] == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(taught.labels[len(corpus.train) :], expected.argmax(axis=1))
    assert all(np.array_equal(taught[row], corpus.train[row]) for row in range(len(corpus.train)))
    assert all(np.array_equal(taught[len(corpus.train) + row], reviews[row]) for row in range(50))
    assert "Learns from 50 reviews without labels, too, as 2 teachers answer:" in caplog.text


def test_a_teacher_that_does_not_fit_is_told_with_a_remedy(settings, corpus, make_teacher, monkeypatch):
    def fail(self, reviews, batch_size=64):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Predictor, "answer", fail)
    with pytest.raises(OutOfMemoryError, match=r"trainer\.accelerator=cpu"):
        ask(settings, corpus, make_teacher(corpus))


def test_the_loss_is_against_the_probabilities(settings, corpus, make_teacher):
    taught = ask(settings, corpus, make_teacher(corpus)).add_to(corpus)
    module = build_module(settings, taught).eval().requires_grad_(False)
    items = build_data(settings, taught).list_training()[-3:]
    batch = collate(items)
    logits, targets = module(batch.tokens, batch.mask), torch.from_numpy(taught.train.targets[-3:])
    expected = -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()
    assert float(module.training_step(batch, 0)) == pytest.approx(float(expected))
    plain = collate([item._replace(target=None) for item in items])
    assert float(module.training_step(plain, 0)) == pytest.approx(float(F.cross_entropy(logits, batch.labels)))


def test_answers_are_kept_for_every_run_that_asks_the_same(settings, corpus, make_teacher, caplog):
    caplog.set_level("INFO")
    notes = []
    first = ask(settings, corpus, make_teacher(corpus, 1), told=notes.append)
    again = ask(settings, corpus, make_teacher(corpus, 1))
    assert caplog.text.count("answers 50 reviews without labels, once") == 1
    assert np.array_equal(first.reviews.targets, again.reviews.targets)
    assert notes == ["teacher 0 answers 0 of 50 reviews"]
    other = ask(settings, corpus, make_teacher(corpus, 2))
    ask(settings, corpus, make_teacher(corpus, 1), code="changed")
    ask(settings, corpus, replace(make_teacher(corpus, 1), cut=Cut(5, "head", 0.5)))
    assert caplog.text.count("answers 50 reviews without labels, once") == 4
    assert not np.array_equal(first.reviews.targets, other.reviews.targets)
    assert first.lessons.fingerprint == again.lessons.fingerprint != other.lessons.fingerprint


def test_answers_that_are_no_numbers_are_refused_and_not_kept(settings, corpus, make_teacher, monkeypatch):
    teacher = make_teacher(corpus, 1)
    with monkeypatch.context() as patch:
        patch.setattr(teacher.network, "forward", lambda tokens, mask: torch.full((len(tokens), 2), torch.nan))
        with pytest.raises(ModelFileError, match="answers to 50 of 50 texts are no numbers"):
            ask(settings, corpus, teacher)
    assert np.isfinite(ask(settings, corpus, teacher).reviews.targets).all()


def test_who_waits_for_the_tokens_or_answers_of_another_run_says_so(
    small_settings, corpus, make_teacher, tmp_path, monkeypatch
):
    """A study takes a trial that tells nothing for hung."""

    class BusyLock(cache.FileLock):
        def acquire(self, timeout):
            if timeout == 0:
                raise cache.Timeout(self.lock_file)
            return super().acquire(timeout)

    other = build_corpus(small_settings(*TAUGHT, f"data.cache_dir={tmp_path}", "data.tokenizer.kind=bpe").data)
    monkeypatch.setattr(cache, "FileLock", BusyLock)
    settings, notes = small_settings(*TAUGHT, f"data.cache_dir={tmp_path}/new"), []
    build_corpus(settings.data, tell=notes.append)
    ask(settings, corpus, make_teacher(other), told=notes.append)
    waiting = [note for note in notes if note.startswith("waits for tokens or answers, ")]
    assert (len(waiting), len(notes)) == (5, 6), "two corpora, the unlabelled reviews by two tokenizers, the answers"


def test_classes_are_told_apart_by_name(settings, corpus, make_teacher):
    names = corpus.class_names
    straight = ask(settings, corpus, make_teacher(corpus, 1)).reviews
    turned = ask(settings, corpus, make_teacher(corpus, 1, class_names=names[::-1])).reviews
    assert np.array_equal(turned.targets, straight.targets[:, ::-1])
    with pytest.raises(ModelFileError, match=r"The classes of trainer\.teachers, teacher 0, are good, bad"):
        ask(settings, corpus, make_teacher(corpus, class_names=("good", "bad")))


def test_a_teacher_under_two_names_is_refused(settings, corpus, make_teacher):
    """A run and its bundle, or a registered model: it would count twice in the mean."""
    with pytest.raises(ModelFileError, match="names one model twice, as teacher 0 and as teacher 2,"):
        ask(settings, corpus, *(make_teacher(corpus, seed) for seed in (1, 2, 1)))


def test_a_review_that_stands_among_those_with_labels_keeps_its_label(settings, corpus, make_teacher, caplog):
    caplog.set_level("INFO")
    reviews = build_unlabelled(settings.data, corpus.tokenizer)
    parts = (reviews.take(np.array(rows)) for rows in ([0, 3], [1], [7]))
    doubled = replace(corpus, **dict(zip(("train", "validation", "test"), parts, strict=True)))
    taught = ask(settings, doubled, make_teacher(corpus)).reviews
    assert len(taught) == 46
    assert "; 4 also stand among those with labels and are left out." in caplog.text
    with pytest.raises(DataError, match="each of the 50 reviews"):
        ask(settings, replace(corpus, train=reviews), make_teacher(corpus))


def test_what_a_teacher_has_seen_its_student_has_seen(settings, corpus, make_teacher, reporter, tmp_path, caplog):
    tested = hash_reviews(corpus.test)
    teacher = make_teacher(corpus, learned=tested[:7], trained=tested[:5])
    taught = ask(settings, corpus, teacher).add_to(corpus)
    assert "teacher 0: 7 of the 40 test reviews stood in its own training, validation or pretraining" in caplog.text
    result = train_and_test(settings, taught, tmp_path / "run", reporter)
    student = Predictor.load(result.bundle)
    own = [*hash_reviews(corpus.train), *hash_reviews(build_unlabelled(settings.data, corpus.tokenizer))]
    assert set(student.trained) == {*own, *tested[:5]}
    assert set(student.learned) == {*own, *hash_reviews(corpus.validation), *tested[:7]}
    ask(settings, corpus, make_teacher(corpus))
    assert "teacher 0: Its bundle does not tell all that it learned from" in caplog.text
    lessons = ask(settings, corpus, teacher, make_teacher(corpus, 1)).lessons
    assert (set(lessons.learned), set(lessons.trained)) == ({*tested[:7], *UNTOLD}, {*tested[:5], *UNTOLD})


def test_what_a_run_is_taught_is_known_by_its_teachers_and_the_reviews_that_they_answer(
    settings, corpus, make_teacher, reporter, tmp_path, caplog
):
    """The name of a file or model stays when another one comes to lie there."""

    def teach(size, *teachers):
        data = settings.data.model_copy(update={"unlabelled_size": size})
        return ask(settings.model_copy(update={"data": data}), corpus, *teachers)

    one, other = make_teacher(corpus, 1), make_teacher(corpus, 2)
    first = teach(50, one, other)
    assert teach(50, other, one).lessons.fingerprint == first.lessons.fingerprint, "a mean has no order"
    changed = [teach(50, one), teach(49, one, other), teach(50, replace(one, cut=Cut(5, "head", 0.5)), other)]
    assert len({answered.lessons.fingerprint for answered in (first, *changed)}) == 4
    for epochs, answered in ((1, first), (2, changed[1])):
        own = settings.trainer.model_copy(update={"max_epochs": epochs, "resume": "keep"})
        train_and_test(settings.model_copy(update={"trainer": own}), answered.add_to(corpus), tmp_path, reporter)
    assert "Trains on" not in caplog.text
    assert "or other answers of teachers; the run starts anew" in caplog.text


def test_a_teacher_with_another_tokenizer_reads_the_same_reviews(
    small_settings, settings, corpus, make_teacher, tmp_path, caplog
):
    pieces = small_settings(*TAUGHT, f"data.cache_dir={tmp_path}", "data.tokenizer.kind=bpe")
    other = build_corpus(pieces.data)
    theirs = build_unlabelled(pieces.data, other.tokenizer)
    seen = np.concatenate([hash_reviews(other.train)[:4], hash_reviews(other.validation)[:2], hash_reviews(theirs)[:3]])
    teacher = make_teacher(other, learned=seen, trained=seen)
    answered = ask(settings, corpus, teacher)
    assert answered.reviews.targets == pytest.approx(teacher.answer([theirs[row] for row in range(50)])[0], abs=1e-6)
    assert "2 of the" in caplog.text, "validation reviews that it was trained on are told by its own tokenizer"
    unlabelled = build_unlabelled(settings.data, corpus.tokenizer)
    expected = [*hash_reviews(corpus.train)[:4], *hash_reviews(corpus.validation)[:2], *hash_reviews(unlabelled)[:3]]
    assert set(answered.lessons.learned) == set(expected)
    foreign = np.array([1], dtype=np.uint64)  # of a review that is not here, and cannot be told by this tokenizer
    taught = ask(settings, corpus, replace(teacher, learned=np.append(seen, foreign)))
    assert set(taught.lessons.learned) == {*expected, *UNTOLD}
    network = build_module(settings, corpus).network
    save_run_bundle(tmp_path / "model", settings, taught.add_to(corpus), network, teacher.cut)
    student = Predictor.load(tmp_path / "model")
    own = {*hash_reviews(corpus.train), *hash_reviews(corpus.validation), *hash_reviews(unlabelled)}
    assert set(student.learned) == {*own, *UNTOLD}, "its own reviews are known all the same"
    assert UNTOLD not in student.trained


def test_a_trial_run_has_few_reviews_answered(small_settings, corpus, make_teacher, tmp_path):
    fast = small_settings(*TAUGHT, f"data.cache_dir={tmp_path}", "trainer.debug=fast", "data.batch_size=8")
    answered = ask(fast, corpus, make_teacher(corpus))
    assert len(answered.add_to(limit_corpus(corpus, fast)).train) == 16


def test_data_without_such_reviews_is_refused(small_settings, corpus, make_teacher, tmp_path):
    bare = small_settings(*TAUGHT, f"data.cache_dir={tmp_path}")
    data = bare.data.model_copy(update={"unlabelled_size": None})
    with pytest.raises(DataError, match="data=synthetic has no reviews without labels"):
        ask(bare.model_copy(update={"data": data}), corpus, make_teacher(corpus))
