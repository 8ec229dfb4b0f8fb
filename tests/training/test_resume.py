"""An interrupted run goes on as if nothing had happened, or starts anew and says why."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from sentiment.config.home import PROJECT_DIR
from sentiment.config.identity import HASH_FORMS, identify
from sentiment.data.batching import Cut
from sentiment.data.build import build_corpus
from sentiment.data.corpus import Lessons
from sentiment.data.fingerprint import UNTOLD
from sentiment.data.tokenizer import load_tokenizer
from sentiment.errors import ModelFileError, RunPaused, RunPruned
from sentiment.models.bundle import Predictor
from sentiment.training.module import TextClassificationModule
from sentiment.training.resume import forget_attempts
from sentiment.training.run import build_module, train_and_test
from sentiment.training.start import Beginning

DROPOUT = ("trainer.max_epochs=4", "model.dropout=0.2", "model.word_dropout=0.1", "optimizer.lr=0.005")


class PowerCut(Exception):  # noqa: N818 - whatever ends a process
    pass


@pytest.fixture
def small_corpus(small_settings):
    """Fewer reviews than elsewhere: what is compared here is one run with another."""
    return build_corpus(small_settings("model=rnn", "data.train_size=200", "data.test_size=40").data)


@pytest.fixture
def stopping_reporter(recording_reporter):
    """Make a reporter that raises after so many validations."""

    class Stopping(recording_reporter):
        def __init__(self, after, error):
            super().__init__()
            self.after, self.error = after, error

        def validated(self, metrics, *, step, epoch):
            super().validated(metrics, step=step, epoch=epoch)
            if len(self.of_kind("validated")) == self.after:
                raise self.error

    return Stopping


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """Keep the folders of interrupted runs, and their reports: several tests begin with the same one."""
    return tmp_path_factory.mktemp("interrupted"), {}


@pytest.fixture
def interrupt(small_corpus, stopping_reporter, interrupted):
    """Run until so many validations were reported, and return the reports; an equal run is copied."""
    kept_dir, reporters = interrupted

    def run_until(settings, folder, validations, error=PowerCut):
        key = hashlib.sha256(f"{settings.model_dump_json()} {validations}".encode()).hexdigest()
        is_first = error is PowerCut and not (folder.exists() and any(folder.iterdir()))
        if is_first and key in reporters:
            shutil.copytree(kept_dir / key, folder, dirs_exist_ok=True)
            return reporters[key]
        reporter = stopping_reporter(validations, error)
        with pytest.raises(error if isinstance(error, type) else type(error)):
            train_and_test(settings, small_corpus, folder, reporter)
        if is_first:
            shutil.copytree(folder, kept_dir / key)
            reporters[key] = reporter
        return reporter

    return run_until


def learned(result):
    """The metrics less the wall times, which are no result."""
    return {name: value for name, value in result.metrics.items() if not name.startswith("time/")}


def test_a_paused_run_ends_as_an_uninterrupted_one(small_settings, small_corpus, recording_reporter, tmp_path):
    """The schedule is that of the whole training, whatever pauses there are: cosine to the last epoch."""

    class Pausing(recording_reporter):
        target = 1

        def saved(self, *, epoch):
            if epoch >= self.target:
                raise RunPaused(f"epoch {epoch:g}")

    settings = small_settings("model=rnn", *DROPOUT, "scheduler=warmup_cosine", "trainer.max_epochs=3")
    whole = recording_reporter()
    expected = train_and_test(settings, small_corpus, tmp_path / "whole", whole)
    reports = []
    for epoch in (1, 2):
        torch.rand(100)
        part = Pausing()
        part.target = epoch
        for reporter in (part, again := Pausing()):
            with pytest.raises(RunPaused, match=f"epoch {epoch}") as caught:
                train_and_test(settings, small_corpus, tmp_path / "paused", reporter)
            assert caught.value.reached.epochs == epoch
        assert again.reports == [], "it is stopped at the checkpoint that it is taken up from"
        reports += part.reports
    last = Pausing()
    last.target = 3
    result = train_and_test(settings, small_corpus, tmp_path / "paused", last)
    assert [*reports, *last.reports] == whole.reports, "and after the last epoch it is not asked"
    assert learned(result) == learned(expected)


@pytest.fixture
def origin(small_settings, small_corpus, recording_reporter, tmp_path):
    """Settings and folder of a run that waits after its first epoch."""

    class Pausing(recording_reporter):
        def saved(self, *, epoch):
            raise RunPaused(f"epoch {epoch:g}")

    settings = small_settings("model=rnn", *DROPOUT, "trainer.max_epochs=2")
    with pytest.raises(RunPaused):
        train_and_test(settings, small_corpus, tmp_path / "origin", Pausing())
    return settings, tmp_path / "origin"


def test_a_copy_at_the_same_settings_ends_as_its_origin_does(origin, small_corpus, recording_reporter, tmp_path):
    settings, folder = origin
    copied, own = recording_reporter(), recording_reporter()
    copy = train_and_test(settings, small_corpus, tmp_path / "copy", copied, Beginning(origin=folder))
    expected = train_and_test(settings, small_corpus, folder, own)
    assert copied.reports == own.reports
    assert copied.of_kind("validated")[0][1] == 2, "its first epoch is that of its origin"
    assert learned(copy) == learned(expected)


def test_a_copy_with_a_checkpoint_of_fewer_epochs_trains_on_from_its_own(
    origin, small_settings, small_corpus, recording_reporter, tmp_path
):
    settings, folder = origin
    kept = settings.model_copy(update={"trainer": settings.trainer.model_copy(update={"resume": "keep"})})
    train_and_test(kept, small_corpus, tmp_path / "copy", recording_reporter(), Beginning(origin=folder))
    longer = kept.model_copy(update={"trainer": kept.trainer.model_copy(update={"max_epochs": 3})})
    reporter = recording_reporter()
    train_and_test(longer, small_corpus, tmp_path / "copy", reporter, Beginning(origin=folder))
    assert reporter.of_kind("validated")[0][1] == 3, "two epochs are its own"


@pytest.mark.parametrize("left", ["another run's", "damaged"])
def test_a_copy_goes_on_from_its_origin_whatever_its_folder_held_before(
    origin, small_settings, small_corpus, recording_reporter, tmp_path, left
):
    settings, folder = origin
    own = tmp_path / "copy/checkpoints/last.ckpt"
    own.parent.mkdir(parents=True)
    if left == "damaged":
        own.write_bytes(b"no checkpoint")
    else:
        other = small_settings("model=rnn", *DROPOUT, "trainer.max_epochs=3", "seed=5", "trainer.resume=keep")
        train_and_test(other, small_corpus, tmp_path / "copy", recording_reporter())
    assert own.exists()
    reporter = recording_reporter()
    train_and_test(settings, small_corpus, tmp_path / "copy", reporter, Beginning(origin=folder))
    assert reporter.of_kind("validated")[0][1] == 2, "its first epoch is that of its origin"


def test_a_copy_goes_on_with_the_optimizer_settings_that_are_its_own(
    origin, small_settings, small_corpus, recording_reporter, tmp_path
):
    settings, folder = origin
    rate, beta = 0.001, 0.5
    other = small_settings(
        "model=rnn", *DROPOUT, "trainer.max_epochs=2", f"optimizer.lr={rate}", f"optimizer.beta1={beta}"
    )
    reporters = recording_reporter(), recording_reporter()
    for one, reporter in zip((settings, other), reporters, strict=True):
        train_and_test(one, small_corpus, tmp_path / str(one.optimizer.lr), reporter, Beginning(origin=folder))
    own, theirs = (
        [report[2]["train/lr"] for report in reporter.of_kind("trained")] for reporter in reversed(reporters)
    )
    assert own
    at_the_same_place = [one * rate / settings.optimizer.lr for one in theirs]
    assert own == pytest.approx(at_the_same_place)
    last = torch.load(tmp_path / str(rate) / "checkpoints/last.ckpt", weights_only=True)
    assert {group["betas"][0] for group in last["optimizer_states"][0]["param_groups"]} == {beta}


def test_a_copy_of_another_network_is_refused(origin, small_settings, small_corpus, recording_reporter, tmp_path):
    other = small_settings("model=rnn", *DROPOUT, "trainer.max_epochs=2", "model.dropout=0.3")
    with pytest.raises(ModelFileError, match="differs in more than the optimizer"):
        train_and_test(other, small_corpus, tmp_path / "copy", recording_reporter(), Beginning(origin=origin[1]))


def test_a_copy_of_nothing_is_refused(origin, small_corpus, recording_reporter, tmp_path):
    settings, folder = origin
    (folder / "checkpoints/last.ckpt").unlink()
    with pytest.raises(ModelFileError):
        train_and_test(settings, small_corpus, tmp_path / "copy", recording_reporter(), Beginning(origin=folder))


def test_a_finished_run_trains_on_as_one_that_was_longer_from_the_start(
    small_settings, small_corpus, recording_reporter, tmp_path, caplog
):
    caplog.set_level("INFO")
    same = ("model=rnn", *DROPOUT, "scheduler=constant", "scheduler.warmup_fraction=0", "trainer.resume=keep")
    short, long = (small_settings(*same, f"trainer.max_epochs={epochs}") for epochs in (1, 2))
    expected = train_and_test(long, small_corpus, tmp_path / "whole", recording_reporter())
    train_and_test(short, small_corpus, tmp_path / "kept", recording_reporter())
    rest = recording_reporter()
    result = train_and_test(long, small_corpus, tmp_path / "kept", rest)
    assert rest.of_kind("validated")[0][1] > 1
    assert learned(result) == learned(expected)
    assert "Trains on after epoch 1 of 1" in caplog.text


def test_a_longer_run_that_is_cut_off_at_once_still_trains_on(
    small_settings, small_corpus, recording_reporter, monkeypatch, tmp_path
):
    """Nor is it of nobody: after 1 epoch and 2 that were cut off, one of 3 goes on too."""

    def cut(*arguments):
        raise PowerCut

    same = ("model=rnn", *DROPOUT, "optimizer.lr=1e-12", "trainer.patience=1", "trainer.validations_per_epoch=1")
    epochs = {n: small_settings(*same, "trainer.resume=keep", f"trainer.max_epochs={n}") for n in (3, 4, 5)}
    stopped = train_and_test(epochs[3], small_corpus, tmp_path, recording_reporter())
    assert stopped.epochs == 2, "it lost its patience, and its checkpoint says so"
    with monkeypatch.context() as patch:
        patch.setattr(TextClassificationModule, "training_step", cut)
        for n in (4, 5):
            with pytest.raises(PowerCut):
                train_and_test(epochs[n], small_corpus, tmp_path, recording_reporter())
    rest = recording_reporter()
    train_and_test(epochs[5], small_corpus, tmp_path, rest)
    assert [epoch for _, epoch, _ in rest.of_kind("validated")] == [3]


def test_a_longer_run_that_is_cut_off_before_it_trains_leaves_the_checkpoint_as_it_was(
    small_settings, small_corpus, recording_reporter, monkeypatch, tmp_path
):
    """Else a run of a number of epochs between the two could not train on."""

    def cut(*arguments):
        raise PowerCut

    same = ("model=rnn", *DROPOUT, "trainer.resume=keep")
    epochs = {n: small_settings(*same, f"trainer.max_epochs={n}") for n in (1, 2, 9)}
    train_and_test(epochs[1], small_corpus, tmp_path, recording_reporter())
    with monkeypatch.context() as patch:
        patch.setattr(TextClassificationModule, "on_fit_start", cut)
        with pytest.raises(PowerCut):
            train_and_test(epochs[9], small_corpus, tmp_path, recording_reporter())
    rest = recording_reporter()
    train_and_test(epochs[2], small_corpus, tmp_path, rest)
    assert [epoch for _, epoch, _ in rest.of_kind("validated")] == [2]
    assert {file.name for file in (tmp_path / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


def test_a_run_that_lost_its_patience_and_goes_further_has_all_of_it_again(
    small_settings, small_corpus, recording_reporter, tmp_path, caplog
):
    caplog.set_level("INFO")
    same = ("model=rnn", *DROPOUT, "optimizer.lr=1e-12", "trainer.patience=2", "trainer.resume=keep")
    told = []
    for epochs in (5, 7):
        rest = recording_reporter()
        train_and_test(small_settings(*same, f"trainer.max_epochs={epochs}"), small_corpus, tmp_path, rest)
        told.append([epoch for _, epoch, _ in rest.of_kind("validated")])
    assert told == [[1, 2, 3], [4, 5]]
    assert caplog.text.count("It had ended early; trainer.patience counts anew") == 1


def test_a_run_that_was_cut_off_keeps_count_of_its_patience_where_it_goes_further(
    small_settings, small_corpus, recording_reporter, interrupt, tmp_path
):
    """It was taken for one that had stopped within an epoch, and trained longer than without the cut."""
    same = ("model=rnn", *DROPOUT, "optimizer.lr=1e-12", "trainer.patience=3", "trainer.validations_per_epoch=1")
    epochs = {n: small_settings(*same, "trainer.resume=keep", f"trainer.max_epochs={n}") for n in (1, 5, 9)}
    train_and_test(epochs[1], small_corpus, tmp_path, recording_reporter())
    interrupt(epochs[5], tmp_path, 2)
    rest = recording_reporter()
    train_and_test(epochs[9], small_corpus, tmp_path, rest)
    assert rest.of_kind("validated")[-1][1] == 4


def test_a_longer_schedule_holds_from_its_first_step(
    small_settings, small_corpus, recording_reporter, monkeypatch, tmp_path
):
    rates, step = [], TextClassificationModule.training_step

    def take_step(module, batch, number):
        rates.append(module.trainer.optimizers[0].param_groups[0]["lr"])
        return step(module, batch, number)

    monkeypatch.setattr(TextClassificationModule, "training_step", take_step)
    same = ("model=rnn", *DROPOUT, "trainer.resume=keep", "scheduler.warmup_fraction=0")
    short, long = (small_settings(*same, f"trainer.max_epochs={epochs}") for epochs in (1, 2))
    train_and_test(long, small_corpus, tmp_path / "whole", recording_reporter())
    expected, steps = rates[len(rates) // 2 :], len(rates) // 2
    train_and_test(short, small_corpus, tmp_path / "kept", recording_reporter())
    train_and_test(long, small_corpus, tmp_path / "kept", recording_reporter())
    assert rates[-steps:] == pytest.approx(expected)


def test_a_run_that_stopped_early_within_an_epoch_trains_on_from_the_whole_one_before(
    small_settings, small_corpus, recording_reporter, tmp_path
):
    same = ("model=rnn", *DROPOUT, "optimizer.lr=1e-12", "trainer.patience=2", "trainer.validations_per_epoch=2")
    same = (*same, "trainer.resume=keep", "scheduler=constant", "scheduler.warmup_fraction=0")
    first, rest = recording_reporter(), recording_reporter()
    short, long = (small_settings(*same, f"trainer.max_epochs={epochs}") for epochs in (3, 4))
    result = train_and_test(short, small_corpus, tmp_path, first)
    assert result.epochs == 1.5
    again = train_and_test(long, small_corpus, tmp_path, rest)
    assert rest.of_kind("validated")[0] == first.of_kind("validated")[2]
    assert again.epochs == 2, "with all of its patience, as after one that stopped at the end of an epoch"


@pytest.mark.parametrize(
    ("model", "extra", "validations", "kept_epochs"),
    [
        ("transformer", (), 3, 2),
        ("rnn", (), 2, 1),
        ("rnn", ("trainer.validations_per_epoch=3",), 5, 1),  # in the middle of the second epoch
        ("rnn", ("trainer.weight_averaging=0.9", "optimizer=sgd", "optimizer.lr=0.1"), 3, 2),
        ("rnn", ("trainer.weight_averaging=0.9", "model.naive_bayes_ngrams=2"), 3, 2),
    ],
)
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    small_settings, small_corpus, recording_reporter, interrupt, tmp_path, model, extra, validations, kept_epochs
):
    settings = small_settings(f"model={model}", *DROPOUT, *extra)
    whole, rest = recording_reporter(), recording_reporter()
    expected = train_and_test(settings, small_corpus, tmp_path / "whole", whole)
    interrupt(settings, tmp_path / "cut", validations)
    torch.rand(100)  # another process has drawn other numbers
    result = train_and_test(settings, small_corpus, tmp_path / "cut", rest)

    assert rest.reports == [report for report in whole.reports if report[2] > kept_epochs or report[0] == "tested"]
    assert rest.of_kind("validated")[0][1] > kept_epochs
    assert learned(result) == learned(expected)
    assert (result.epochs, result.best_epoch) == (expected.epochs, expected.best_epoch)
    forget_attempts(tmp_path / "cut")  # as the job does once the result is recorded
    assert {file.name for file in (tmp_path / "cut/checkpoints").iterdir()} == {"best.ckpt"}


def test_a_run_goes_on_where_its_folder_was_moved_to(
    small_settings, small_corpus, recording_reporter, interrupt, tmp_path
):
    """What was selected before the move is kept: paths in Lightning's state follow."""
    settings = small_settings("model=rnn", *DROPOUT)
    expected = train_and_test(settings, small_corpus, tmp_path / "whole", recording_reporter())
    interrupt(settings, tmp_path / "before", 3)
    (tmp_path / "before").rename(tmp_path / "after")
    rest = recording_reporter()
    result = train_and_test(settings, small_corpus, tmp_path / "after", rest)
    assert rest.of_kind("validated")[0][1] > 2
    assert (learned(result), result.best_epoch) == (learned(expected), expected.best_epoch)
    forget_attempts(tmp_path / "after")  # as the job does once the result is recorded
    assert {file.name for file in (tmp_path / "after/checkpoints").iterdir()} == {"best.ckpt"}
    assert not (tmp_path / "before").exists()


def test_a_run_interrupted_twice(small_settings, small_corpus, recording_reporter, interrupt, tmp_path):
    settings = small_settings("model=rnn", *DROPOUT)
    whole, rest = recording_reporter(), recording_reporter()
    train_and_test(settings, small_corpus, tmp_path / "whole", whole)
    interrupt(settings, tmp_path / "cut", 2)
    interrupt(settings, tmp_path / "cut", 2)  # the second epoch again, then the third
    train_and_test(settings, small_corpus, tmp_path / "cut", rest)
    assert [epoch for _, epoch, _ in rest.of_kind("validated")] == [3, 4]
    assert rest.of_kind("validated") == whole.of_kind("validated")[2:]


def test_a_decision_to_stop_early_survives(small_settings, small_corpus, recording_reporter, tmp_path, monkeypatch):
    settings = small_settings("model=rnn", "trainer.max_epochs=20", "trainer.patience=2", "optimizer.lr=1e-12")

    def cut(self, metrics, *, step, epoch):
        raise PowerCut

    class CutInTest(recording_reporter):
        tested = cut

    first, second = CutInTest(), recording_reporter()
    with pytest.raises(PowerCut):
        train_and_test(settings, small_corpus, tmp_path, first)
    result = train_and_test(settings, small_corpus, tmp_path, second)
    assert [report[0] for report in second.reports] == ["tested"]
    assert result.epochs == first.of_kind("validated")[-1][1] < 20


def test_the_selected_checkpoint_is_that_of_the_last_epoch_kept(small_settings, interrupt, small_corpus, tmp_path):
    """A newer selection, made just before the interruption, is undone: it would not fit the metrics kept."""
    settings = small_settings("model=rnn", *DROPOUT)
    interrupt(settings, tmp_path, 3)
    best = tmp_path / "checkpoints/best.ckpt"
    steps = torch.load(best, weights_only=True)["global_step"]
    best.write_bytes(b"written by an epoch that does not count")
    interrupt(settings, tmp_path, 1)
    assert torch.load(best, weights_only=True)["global_step"] == steps


def cut(content):
    return content[:-5000]


def flip_a_bit(content):
    """Flip a bit of a weight: torch itself would read the file as if nothing were wrong."""
    weights = torch.load(io.BytesIO(content), weights_only=True)["state_dict"]["network.head.weight"]
    position = content.index(weights.numpy().tobytes())
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


@pytest.mark.parametrize("damage", [lambda _: b"", lambda _: b"no checkpoint", cut, flip_a_bit])
def test_a_damaged_file_starts_the_run_anew(
    small_settings, small_corpus, reporter, interrupt, tmp_path, caplog, damage
):
    settings = small_settings("model=rnn", "trainer.max_epochs=2")
    interrupt(settings, tmp_path, 2)
    last = tmp_path / "checkpoints/last.ckpt"
    last.write_bytes(damage(last.read_bytes()))
    train_and_test(settings, small_corpus, tmp_path, reporter)
    assert "last.ckpt is damaged" in caplog.text
    assert [epoch for _, epoch, _ in reporter.of_kind("validated")] == [1, 2]


def test_no_code_from_the_file_is_run(small_settings, small_corpus, reporter, interrupt, tmp_path, caplog):
    class Malicious:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    settings = small_settings("model=rnn", "trainer.max_epochs=2")
    interrupt(settings, tmp_path, 2)
    torch.save({"sentiment.resume": Malicious()}, tmp_path / "checkpoints/last.ckpt")
    train_and_test(settings, small_corpus, tmp_path, reporter)
    assert "last.ckpt is damaged" in caplog.text
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("changed", "starts_at"),
    [
        ("seed=1", 1), ("optimizer.lr=0.1", 1), ("trainer.threads=2", 2), ("objective=[val/accuracy,val/f1]", 2),
        ("trainer.log_every_n_steps=7", 2),
    ],
)  # fmt: skip
def test_only_a_run_of_the_same_settings_goes_on(
    small_settings, small_corpus, reporter, interrupt, tmp_path, caplog, changed, starts_at
):
    interrupt(small_settings("model=rnn"), tmp_path, 2)
    train_and_test(small_settings("model=rnn", changed), small_corpus, tmp_path, reporter)
    assert reporter.of_kind("validated")[0][1] == starts_at
    assert ("of other settings" in caplog.text) is (starts_at == 1)


@pytest.mark.parametrize("form", range(1, HASH_FORMS))
def test_a_checkpoint_of_an_earlier_version_goes_on_and_is_copied(
    origin, small_corpus, recording_reporter, tmp_path, caplog, form
):
    """Its hashes told in which folder teachers lay, and those before how often the loss is logged."""
    settings, folder = origin
    teachers = [str(PROJECT_DIR / "multirun/a")]  # nobody asks them here
    settings = settings.model_copy(update={"trainer": settings.trainer.model_copy(update={"teachers": teachers})})
    assert settings.trainer.log_every_n_steps != 20
    file = folder / "checkpoints/last.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    run, training = (
        identify(settings, small_corpus.fingerprint, whatever=group, form=form) for group in (None, "optimizer")
    )
    part = checkpoint["sentiment.resume"]
    assert (part["identity"]["run"], part["training"]) != (run, training)
    part["identity"]["run"], part["training"] = run, training
    torch.save(checkpoint, file)
    copied, own = recording_reporter(), recording_reporter()
    train_and_test(settings, small_corpus, tmp_path / "copy", copied, Beginning(origin=folder))
    train_and_test(settings, small_corpus, folder, own)
    assert copied.of_kind("validated")[0][1] == own.of_kind("validated")[0][1] == 2
    assert "of other settings" not in caplog.text


@pytest.mark.parametrize("kind", ["start", "words", "teachers"])
def test_only_a_run_that_started_from_the_same_weights_goes_on(
    small_settings, small_corpus, stopping_reporter, recording_reporter, tmp_path, caplog, kind
):
    """A name such as ``models:/imdb@champion`` comes to other weights, whose tokenizer may have other ids."""
    settings = small_settings("model=rnn", "trainer.max_epochs=3")

    def start_from(seed):
        if kind == "teachers":
            return {"corpus": replace(small_corpus, lessons=Lessons(f"teacher {seed}", UNTOLD, UNTOLD))}
        torch.manual_seed(seed)
        network = build_module(settings, small_corpus).network
        cut = Cut.of(settings.data)
        predictor = Predictor(network, small_corpus.tokenizer, small_corpus.class_names, cut)
        beginning = Beginning(start=predictor) if kind == "start" else Beginning(words=network.state_dict())
        return {"corpus": small_corpus, "beginning": beginning}

    with pytest.raises(PowerCut):
        train_and_test(settings, output_dir=tmp_path, reporter=stopping_reporter(2, PowerCut), **start_from(1))
    for seed, epochs in ((1, [2, 3]), (2, [1, 2, 3])):
        shutil.copytree(tmp_path, tmp_path.with_name(f"{tmp_path.name}-{seed}"))
        rest, folder = recording_reporter(), tmp_path.with_name(f"{tmp_path.name}-{seed}")
        train_and_test(settings, output_dir=folder, reporter=rest, **start_from(seed))
        assert [epoch for _, epoch, _ in rest.of_kind("validated")] == epochs
    assert "is of a run of other weights at the start or other answers of teachers; the run starts anew" in caplog.text


def test_a_run_whose_words_have_other_ids_starts_anew(
    small_settings, small_corpus, interrupt, reporter, tmp_path, caplog
):
    """Another release of the library made another vocabulary of the same texts, as large as the one before."""
    settings = small_settings("model=rnn")
    interrupt(settings, tmp_path, 2)
    content = json.loads(small_corpus.tokenizer.to_json())
    words = content["model"]["vocab"]
    one, other = list(words)[-2:]
    words[one], words[other] = words[other], words[one]
    corpus = replace(small_corpus, tokenizer=load_tokenizer(json.dumps(content)))
    train_and_test(settings, corpus, tmp_path, reporter)
    assert reporter.of_kind("validated")[0][1] == 1
    assert "is of a run whose words have other ids; the run starts anew" in caplog.text


def test_resume_can_be_switched_off(small_settings, small_corpus, reporter, interrupt, tmp_path):
    interrupt(small_settings("model=rnn"), tmp_path, 2)
    train_and_test(small_settings("model=rnn", "trainer.resume=false"), small_corpus, tmp_path, reporter)
    assert reporter.of_kind("validated")[0][1] == 1


@pytest.mark.parametrize(("validations", "first"), [(1, 2 + 1 / 3), (2, 1 / 3), (5, 1 / 3)])
def test_what_was_trained_before_a_new_start_is_not_taken_up_after_it(
    small_settings, small_corpus, reporter, interrupt, tmp_path, validations, first
):
    """It goes with the new start's first validation, with which the record begins anew, too."""
    same = ("model=rnn", *DROPOUT, "trainer.validations_per_epoch=3", "trainer.patience=null")
    settings, anew = (small_settings(*same, f"trainer.resume={resume}") for resume in ("true", "false"))
    interrupt(settings, tmp_path, 7)
    interrupt(anew, tmp_path, validations)
    train_and_test(settings, small_corpus, tmp_path, reporter)
    assert reporter.of_kind("validated")[0][1] == pytest.approx(first, abs=0.1)


@pytest.mark.parametrize(("validations", "is_there"), [(2, True), (3, True), (4, False)])
def test_what_another_run_left_stays_until_a_new_start_has_an_epoch(
    small_settings, interrupt, tmp_path, validations, is_there
):
    settings = small_settings("model=rnn", *DROPOUT)
    interrupt(settings, tmp_path, 2)
    more = ("optimizer.lr=0.1", "trainer.validations_per_epoch=3", "trainer.resume=false")
    interrupt(small_settings("model=rnn", *DROPOUT, *more), tmp_path, validations)
    assert (tmp_path / "checkpoints/last.ckpt").exists() == is_there


def test_the_time_of_both_attempts_counts(small_settings, small_corpus, reporter, interrupt, tmp_path):
    settings = small_settings("model=rnn")
    interrupt(settings, tmp_path, 2)
    last = tmp_path / "checkpoints/last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    checkpoint["sentiment.resume"]["seconds"] += 1000
    torch.save(checkpoint, last)
    assert 1000 < train_and_test(settings, small_corpus, tmp_path, reporter).seconds < 1100


def test_neither_a_test_nor_what_is_counted_already_is_time_of_training(
    small_settings, small_corpus, recording_reporter, monkeypatch, tmp_path
):
    now, tests = [0.0], []
    monkeypatch.setattr("sentiment.training.resume.time", SimpleNamespace(monotonic=lambda: now[0]))

    class Slow(recording_reporter):
        def validated(self, metrics, **at):
            now[0] += 1

        def tested(self, metrics, **at):
            now[0] += 1000
            tests.append(metrics)
            if len(tests) == 1:
                raise PowerCut

    settings = small_settings("model=rnn", "trainer.max_epochs=2", "trainer.patience=null", "trainer.test=true")
    with pytest.raises(PowerCut):
        train_and_test(settings, small_corpus, tmp_path, Slow())
    assert train_and_test(settings, small_corpus, tmp_path, Slow()).seconds == 2


@pytest.mark.parametrize("validations", [1, 3])
def test_a_pruned_run_says_how_far_it_came_and_leaves_no_checkpoint(small_settings, interrupt, tmp_path, validations):
    pruned = RunPruned("hopeless")
    reporter = interrupt(small_settings("model=rnn", *DROPOUT), tmp_path, validations, pruned)
    seen = [metrics for _, _, metrics in reporter.of_kind("validated")]
    assert pruned.reached.metrics == max(seen, key=lambda metrics: metrics["val/accuracy"])
    assert pruned.reached.epochs == validations
    assert pruned.reached.parameters > 0
    assert pruned.reached.seconds > 0
    assert list(tmp_path.iterdir()) == []
