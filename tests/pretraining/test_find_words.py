"""Words are learned once, go on after an interruption, and reach the network that classifies."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace

import pytest
import torch

from sentiment.config.run_context import RunContext
from sentiment.data.batching import Cut
from sentiment.data.build import build_source, build_unlabelled
from sentiment.data.corpus import digest
from sentiment.data.fingerprint import hash_reviews
from sentiment.errors import DataError, ModelFileError, NonFiniteLossError, OutOfMemoryError, RunPruned
from sentiment.job import run as job
from sentiment.models.bundle import Predictor
from sentiment.pretraining import run as pretraining
from sentiment.pretraining.artifact import Words
from sentiment.pretraining.objectives import CLASSIFYING
from sentiment.pretraining.run import place_words
from sentiment.tracking.outbox import Outbox
from sentiment.tracking.result_file import read_result_of
from sentiment.training import run
from sentiment.training.run import build_module, train_and_test
from sentiment.training.start import Beginning, take_words


class PowerCut(Exception):  # noqa: N818 - whatever ends a process
    pass


@pytest.fixture(params=["rnn", "transformer"])
def model(request) -> str:
    return request.param


def equal(one: Words, other: Words) -> bool:
    return one.weights.keys() == other.weights.keys() and all(
        torch.equal(tensor, other.weights[name]) for name, tensor in one.weights.items()
    )


def test_words_are_learned_once_and_recorded_with_their_curve(compose_settings, find, caplog, model):
    caplog.set_level("INFO")
    words = find(compose_settings(model))
    record = read_result_of(words.folder)
    assert (record.status, record.name) == ("FINISHED", f"{model} pretrain={words.facts.settings['pretrain.name']}")
    assert len(record.history) == 8, "four validations in each of two epochs"
    assert list(record.history) == words.facts.curve
    losses = [point["val/loss"] for point in record.history]
    assert words.facts.loss == record.metrics["val/loss"] == min(losses) < losses[0]
    assert record.metrics["val/perplexity"] == pytest.approx(math.exp(min(losses)))
    assert not (words.folder / "checkpoints").exists()
    again = find(compose_settings(model, "model.pooling=max", "seed=3", "optimizer.lr=0.1"))
    assert (again.folder, equal(words, again)) == (words.folder, True)
    assert caplog.text.count("Learns words first") == 1
    assert "learned in" in caplog.text
    assert "Other code" not in caplog.text
    find(compose_settings(model), code="another")
    assert "Other code of this project learned these words" in caplog.text
    assert "trainer.precision" not in caplog.text
    find(compose_settings(model, "trainer.precision=bf16-mixed"))
    assert "They were learned at trainer.precision=32-true" in caplog.text


def test_an_interrupted_training_ends_as_an_uninterrupted_one(compose_settings, find, tmp_path, model, caplog):
    caplog.set_level("INFO")
    whole = find(compose_settings(model, f"pretrain.cache_dir={tmp_path}/whole"))

    def cut(note):
        if float(re.match(r"words, epoch ([\d.]+)", note)[1]) > 1.5:
            raise PowerCut

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sentiment.pretraining.run.PROGRESS_SECONDS", 0.0)
        with pytest.raises(PowerCut):
            find(compose_settings(model), cut)
    torch.rand(100)  # another process has drawn other numbers
    rest = find(compose_settings(model, "model.dropout=0.3"), code="later")
    assert "Goes on after epoch 1.5," in caplog.text
    assert "Other code of this project learned these words" in caplog.text, "half of them"
    assert equal(whole, rest)
    assert rest.facts.curve == whole.facts.curve


def test_a_dry_run_that_has_seen_enough_costs_nobody_what_was_learned(compose_settings, find, caplog, monkeypatch):
    caplog.set_level("INFO")
    monkeypatch.setattr("sentiment.pretraining.run.PROGRESS_SECONDS", 0.0)

    def stop(note):
        if note.startswith("words, epoch 1."):
            raise RunPruned("the probe has seen enough")

    with pytest.raises(RunPruned, match="seen enough"):
        find(compose_settings("rnn"), stop)
    assert find(compose_settings("rnn")).facts.curve[-1]["epoch"] == 2
    assert "Goes on after epoch 1" in caplog.text


def test_a_store_that_is_away_stands_in_no_runs_way(compose_settings, find, caplog):
    """The run that waits for the words may be a job of a sweep, which itself only notes what MLflow is to have."""
    words = find(compose_settings("rnn", "tracking.mlflow=true", "tracking.uri=http://127.0.0.1:9"))
    assert read_result_of(words.folder).status == "FINISHED"
    assert Outbox(words.folder).read()[-1][1]["kind"] == "end"
    assert not Outbox(words.folder).is_delivered
    assert f"python -m sentiment sync {words.folder}" in caplog.text


def test_the_weights_reach_the_network_that_classifies(
    compose_settings, find, small_corpus, tmp_path, monkeypatch, model, caplog
):
    caplog.set_level("INFO")
    parts = ("model.convolution_width=3", "model.depth=2", "model.pooling=attention")
    settings = compose_settings(model, *parts, "pretrain.max_epochs=1")
    words = find(settings)
    states = []

    def look(trainer, module, *_):
        states.append({name: tensor.clone() for name, tensor in module.network.state_dict().items()})
        raise PowerCut

    monkeypatch.setattr(run, "fit", look)
    for given in (words.weights, None):
        with pytest.raises(PowerCut):
            train_and_test(settings, small_corpus, tmp_path, None, Beginning(words=given))
    started, fresh = states
    changed = {name for name in started if not torch.equal(started[name], fresh[name])}
    assert all(torch.equal(started[name], tensor) for name, tensor in words.weights.items())
    assert changed == set(words.weights), "all others start as they would without"
    assert not any(name.startswith(CLASSIFYING) for name in words.weights)
    told = "front.filters, layers.1, pooling" if model == "rnn" else "taken; pooling"
    assert told in caplog.text


def test_with_teachers_the_words_are_learned_from_each_review_once_too(
    compose_settings, small_corpus, tmp_path, monkeypatch
):
    """What teachers answered stands among the training reviews, under the same fingerprint of the data."""
    learning = []

    def stop(plan, pieces, folder, reporter):
        learning.append((folder, plan, pieces))
        raise PowerCut

    monkeypatch.setattr(pretraining, "train_words", stop)
    settings = compose_settings("rnn")
    network, cut = build_module(settings, small_corpus).network, Cut(settings.data.max_tokens, "head", 0.5)
    teacher = Predictor(network, small_corpus.tokenizer, small_corpus.class_names, cut)
    monkeypatch.setattr(job, "find_model", lambda *_: SimpleNamespace(load=lambda: teacher, version=None))
    for name, more in (("plain", ()), ("taught", ("trainer.teachers=[mine]",))):
        (tmp_path / name).mkdir()
        run_context = RunContext(compose_settings("rnn", *more), (), tmp_path / name, tmp_path, None, None, "")
        with pytest.raises(PowerCut):
            job.train(run_context, None)
    (folder, plan, pieces), (again, taught_plan, taught) = learning
    assert (again, taught_plan) == (folder, plan)
    for part in ("train", "validation"):
        assert getattr(taught, part).offsets.tolist() == getattr(pieces, part).offsets.tolist()
        assert getattr(taught, part).ids.tolist() == getattr(pieces, part).ids.tolist()


def test_nothing_is_learned_from_test_reviews_that_are_written_otherwise(
    compose_settings, small_corpus, monkeypatch, caplog
):
    """By their text they are no test reviews, and by their tokens they are; all other words keep their fingerprint."""
    caplog.set_level("INFO")
    found = []
    for size, places in ((63, ()), (64, (0, 2))):
        settings = compose_settings("rnn", f"data.unlabelled_size={size}")
        source = build_source(settings.data)
        tested, texts = source.load().test.texts, ["a film", "a plot", "the film", "a film"]
        for row, place in enumerate(places):
            texts[place] = f"  {tested[row].upper()}\r\n"
        monkeypatch.setattr(type(source), "load_unlabelled", lambda self, texts=texts: texts)
        _, fingerprint, _, unlabelled = place_words(settings, small_corpus, print)
        found.append([small_corpus.tokenizer.decode(ids) for ids in unlabelled])
        everything = digest([small_corpus.fingerprint, source.fingerprint_unlabelled()])
        assert (fingerprint == everything) == (not places)
        assert ("2 of the reviews without labels are to the model" in caplog.text) == bool(places)
    assert found == [["a film", "a plot", "the film", "a film"], ["a plot", "a film"]]
    settings = compose_settings("rnn", "data.unlabelled_size=65")
    monkeypatch.setattr(type(source), "load_unlabelled", lambda self: [tested[0].upper()])
    with pytest.raises(DataError, match="no review without a label is left"):
        place_words(settings, small_corpus, print)


def test_a_bundle_tells_the_reviews_without_labels_that_words_were_learned_from(
    compose_settings, small_corpus, tmp_path
):
    """`evaluate` measured a model on them, once they had labels, without a word."""
    settings = compose_settings("rnn", "pretrain.max_epochs=1")
    unlabelled = set(hash_reviews(build_unlabelled(settings.data, small_corpus.tokenizer)))
    trained, validated = (set(hash_reviews(split)) for split in (small_corpus.train, small_corpus.validation))
    for number in range(2):  # the second one finds the words
        folder = tmp_path / str(number)
        folder.mkdir()
        job.train(RunContext(settings, (), folder, folder, None, None, ""), None)
        found = Predictor.load(folder / "model")
        assert set(found.trained) == trained, "words alone are learned of validation reviews too"
        assert set(found.learned) == trained | validated | unlabelled
    assert found.find_learned(build_source(settings.data).load_unlabelled()).all()


def test_words_of_another_form_are_refused(compose_settings, small_corpus):
    words = build_module(compose_settings("rnn"), small_corpus).network.token_embedding.state_dict(
        prefix="token_embedding."
    )
    other = build_module(compose_settings("rnn", "model.embedding_size=8"), small_corpus).network
    before = other.token_embedding.table.weight.clone()
    with pytest.raises(ModelFileError, match=r"token_embedding\.table\.weight is .*x16 there and .*x8 here"):
        take_words(other, words)
    assert torch.equal(other.token_embedding.table.weight, before)


def test_a_loss_that_is_no_number_names_the_key_that_helps(compose_settings, find, monkeypatch):
    monkeypatch.setattr(
        "sentiment.pretraining.objectives.WordSoftmax.forward", lambda self, states, words: states.sum() * math.nan
    )
    with pytest.raises(NonFiniteLossError, match=r"While words were learned: .*\n  -> lower pretrain.lr"):
        find(compose_settings("rnn"))


def test_memory_that_words_use_up_names_the_keys_that_help(compose_settings, find, monkeypatch):
    def fail(*given):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("sentiment.pretraining.objectives.WordSoftmax.forward", fail)
    with pytest.raises(OutOfMemoryError, match=r"-> it is words that are learned: lower pretrain\.batch_size"):
        find(compose_settings("rnn"))


def test_words_that_are_no_better_than_equal_odds_are_told_however_large_their_loss(
    compose_settings, find, monkeypatch, caplog
):
    loss = 1000.0
    monkeypatch.setattr(
        "sentiment.pretraining.objectives.WordSoftmax.forward", lambda self, states, words: states.sum() * 0 + loss
    )
    assert find(compose_settings("rnn")).facts.loss == loss
    assert "no better than equal odds" in caplog.text
