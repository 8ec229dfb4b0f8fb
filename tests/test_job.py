"""What a study hears of training: every validation, and how far it is, but not at every step."""

from __future__ import annotations

import json
import math
import multiprocessing
import re
import shutil
import sys
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch.testing import assert_close

from sentiment.config.home import PROJECT_DIR
from sentiment.config.reading import read_settings
from sentiment.config.run_context import RunContext
from sentiment.data.batching import Cut
from sentiment.data.build import build_corpus
from sentiment.errors import ConfigError, ModelFileError, RunPaused, RunPruned, SentimentError, TrackingError
from sentiment.job import find_missing, identity, run_job
from sentiment.job import run as job
from sentiment.job.run import TrialReporter, count_ahead, watch_training
from sentiment.models.build import build_model, count_parameters
from sentiment.models.bundle import Predictor
from sentiment.pretraining.run import place_words
from sentiment.search.study.current import running
from sentiment.tracking import runs
from sentiment.tracking.alive import RUN_FILE, Alive
from sentiment.tracking.anew import VERSIONS_TAG
from sentiment.tracking.folder import FolderRecorder
from sentiment.tracking.model_source import find_model_source
from sentiment.tracking.params import flatten_settings
from sentiment.tracking.result_file import (
    FINGERPRINT_TAG,
    KNOWN_TAGS,
    LESSONS_TAG,
    START_TAG,
    WORDS_TAG,
    ResultRecord,
    read_result,
    write_result,
)
from sentiment.training.debugging import limit_corpus
from sentiment.training.resume import KEY, LAST_FILE, LastCheckpoint
from sentiment.training.run import build_module
from tests.models.own import Reading, registered

CORPUS = SimpleNamespace(
    validation=range(100), class_names=("neg", "pos"), tokenizer=SimpleNamespace(vocabulary_size=50)
)


class Trial:
    """Writes down what it is told."""

    is_to_pause = False
    number = repeat = 0
    attempt = 1
    origin = None
    limited = ()

    def __init__(self):
        self.told, self.reported, self.described, self.codes, self.data = [], [], {}, [], []

    def depends_on(self, *, code=None, data=None):
        self.codes += [] if code is None else [code]
        self.data += [] if data is None else [data]

    def saved(self, steps):
        if self.is_to_pause:
            raise RunPaused.after(steps)

    def describe(self, metrics):
        self.described.update(metrics)

    def progress(self, fraction, note=""):
        self.told.append((fraction, note))

    def report(self, value, *, step, error=0.0):
        self.reported.append((step, value))
        self.error = error


class SeenEnough(Trial):
    """A probe: it ends the job."""

    def progress(self, fraction, note=""):
        raise RunPruned("enough")


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(job, "time", clock)
    return clock


def test_a_stopped_run_goes_on_only_where_an_epoch_was_whole(tmp_path):
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        settings = read_settings(compose("config", ["tracking=none"]), tmp_path)
    run = SimpleNamespace(output_dir=tmp_path / "a run", settings=settings)
    assert "starts anew" in job.explain_resuming(run)
    (run.output_dir / "checkpoints").mkdir(parents=True)
    (run.output_dir / "checkpoints" / LAST_FILE).touch()
    assert "starts anew" in job.explain_resuming(run), "it is of a command before"
    lost = ResultRecord(
        "a run", "rnn", "KILLED", "2026-01-01T00:00:00+00:00", params=flatten_settings(settings),
        tags={"git.commit.earlier": "unknown"},
    )  # fmt: skip
    write_result(run.output_dir, lost)
    assert "hydra.run.dir" in job.explain_resuming(run), "its record was lost, and it went on"
    for lr, told in (("0.1", "starts anew"), (None, f"'hydra.run.dir={tmp_path}/a run'")):
        params = {**flatten_settings(settings), **({} if lr is None else {"optimizer.lr": lr})}
        point = {"step": 1, "epoch": 1.0}
        record = ResultRecord("a run", "rnn", "KILLED", "2026-01-01T00:00:00+00:00", params=params, history=(point,))
        write_result(run.output_dir, record)
        assert told in job.explain_resuming(run)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["trainer.resume=false"], "It keeps no checkpoint (trainer.resume=false): the same command starts anew."),
        (["model=ngram"], "The same command starts anew."),
        (
            ["model=rnn", "pretrain=lm"],
            "No epoch was whole yet: the same command starts anew; its words are kept, those half learned up to their "
            "last validation.",
        ),
    ],
)
def test_a_stopped_run_without_a_checkpoint_says_what_starts_anew_and_why(tmp_path, overrides, told):
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        settings = read_settings(compose("config", ["tracking=none", *overrides]), tmp_path)
    assert job.explain_resuming(SimpleNamespace(output_dir=tmp_path, settings=settings)) == told


def test_models_that_are_not_there_are_faults_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "MULTIRUN_DIR", tmp_path)
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        names = [
            "trainer.init_from=nobody",
            "trainer.teachers=[no_one,models:/imdb@champion]",
            "data.unlabelled_size=9",
        ]
        settings = read_settings(compose("config", [*names, f"tracking.uri=sqlite:///{tmp_path}/none.db"]), tmp_path)
    faults = find_missing(settings, None)
    assert [(fault.key, "There is no run" in fault.problem) for fault in faults] == [
        ("trainer.init_from", True), ("trainer.teachers", True),
    ]  # fmt: skip
    assert all(fault.remedy and "->" not in fault.remedy for fault in faults)


@pytest.mark.parametrize(("data", "is_told"), [("hub", True), ("imdb", False), ("synthetic", False)])
def test_teachers_with_nothing_to_answer_are_a_fault_before_anything_starts(tmp_path, data, is_told):
    here = ["data.repository=a/b", "data.train_split=train", f"data.revision={'0' * 40}"] if data == "hub" else []
    here += ["data.unlabelled_size=9"] if data == "synthetic" else []
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        teachers = "trainer.teachers=[models:/a@champion]"
        settings = read_settings(compose("config", ["model=rnn", f"data={data}", *here, teachers]), tmp_path)
    problems = [fault.problem for fault in find_missing(settings, None)]
    assert problems == (["they answer reviews without labels, and data=hub has none"] if is_told else [])


@pytest.mark.parametrize(
    ("model", "devices", "key"),
    [
        ("rnn", "auto", "trainer.accelerator"),
        ("rnn", [0, 1], "trainer.accelerator"),
        ("rnn", "none", "hydra.sweeper.devices"),
        ("rnn", None, None),  # it runs on another machine
        ("ngram", "auto", None),  # it takes the CPU
    ],
)
def test_a_gpu_that_is_not_there_is_a_fault_before_anything_starts(tmp_path, monkeypatch, model, devices, key):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        settings = read_settings(compose("config", [f"model={model}", "trainer=gpu"]), tmp_path)
    identity._explain_no_gpu.cache_clear()
    assert [fault.key for fault in find_missing(settings, devices)] == ([key] if key else [])
    identity._explain_no_gpu.cache_clear()


def test_a_try_is_no_teacher_but_for_another_try(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "MULTIRUN_DIR", tmp_path)
    record = ResultRecord("a", "rnn", "FINISHED", "2026-01-01T00:00:00+00:00", params={"trainer.debug": "fast"})
    write_result(tmp_path / "tried", record)
    (tmp_path / "tried" / "model").mkdir()
    (tmp_path / "tried" / "model" / "settings.json").touch()
    (tmp_path / "tried" / "checkpoints").mkdir()
    (tmp_path / "tried" / "checkpoints" / "best.ckpt").touch()
    for name in ("tried", f"{tmp_path}/tried/model", f"{tmp_path}/tried/checkpoints/best.ckpt"):
        with initialize_config_dir(str(PROJECT_DIR / "conf")):
            configs = [compose("config", [f"trainer.init_from={name}", *more]) for more in ((), ("debug=fast",))]
        settings, trying = (read_settings(config, tmp_path) for config in configs)
        [fault] = find_missing(settings, None)
        assert (fault.key, fault.remedy) == ("trainer.init_from", "train it without debug")
        with pytest.raises(ModelFileError, match=r"is a try \(debug\), and no result"):
            identity.find_model(name, settings)
        assert find_missing(trying, None) == []


def report(trial):
    return TrialReporter(trial, ["val/accuracy"], 100, validations_per_epoch=2, max_epochs=4)


def test_a_validation_is_reported_with_its_step_and_its_progress():
    trial = Trial()
    report(trial).validated({"val/accuracy": 0.8, "val/loss": 1.0}, step=10, epoch=1.5)
    assert trial.reported == [(2, 0.8)]
    assert trial.error == pytest.approx(0.04), "of a share of 0.8 on 100 reviews"
    assert trial.told == [(0.375, "epoch 1.5/4, 80.00 %")]


def test_training_tells_how_far_it_is_every_two_seconds(clock):
    trial = Trial()
    bridge = report(trial)
    for step in range(1, 41):
        clock.now += 0.1
        bridge.stepped(epoch=step / 40)
    assert len(trial.told) == 2
    assert trial.told[0] == (1 / 160, "epoch 0.025/4")
    assert trial.reported == []


def test_the_last_validation_stays_in_view_while_training_goes_on(clock):
    trial = Trial()
    bridge = report(trial)
    bridge.validated({"val/accuracy": 0.8}, step=10, epoch=1.0)
    clock.now += 3
    bridge.stepped(epoch=2.0)
    assert trial.told[-1] == (0.5, "epoch 2/4, 80.00 %")


def test_training_does_not_tell_the_end_before_its_last_validation(clock):
    trial = Trial()
    report(trial).stepped(epoch=4.0)
    assert trial.told == []


def test_a_probe_may_end_training_within_an_epoch(clock):
    with pytest.raises(RunPruned):
        report(SeenEnough()).stepped(epoch=0.1)


@pytest.mark.parametrize(("model", "reported"), [("rnn", [(0, 0.9)]), ("ngram", [])])
def test_the_only_validation_of_a_linear_model_is_no_first_epoch_to_a_pruner(model, reported):
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        settings = read_settings(compose("config", [f"model={model}"]), Path.cwd())
    trial = Trial()
    watch_training(trial, settings, CORPUS).validated({"val/accuracy": 0.9}, step=1, epoch=1.0)
    assert trial.reported == reported
    assert len(trial.told) == 1


def test_a_run_without_checkpoints_cannot_be_paused():
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        settings = read_settings(compose("config", ["model=rnn", "trainer.resume=false"]), Path.cwd())
    trial = Trial()
    watch_training(trial, settings, CORPUS)
    trial.is_to_pause = True
    with pytest.raises(ConfigError, match=r"trainer\.resume: is false"):
        watch_training(trial, settings, CORPUS)


def test_of_several_objectives_those_are_reported_that_a_validation_tells_or_that_are_known_before():
    objective = "objective=[model/parameters,val/accuracy,time/latency_ms]"
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        settings = read_settings(compose("config", ["model=rnn", objective]), Path.cwd())
    trial = Trial()
    watch_training(trial, settings, CORPUS).validated({"val/accuracy": 0.9}, step=1, epoch=1.0)
    [(step, (parameters, accuracy, latency))] = trial.reported
    assert (step, accuracy) == (0, 0.9)
    assert math.isnan(latency)
    network = build_model(settings.model, vocabulary_size=50, classes=2, max_tokens=None)
    assert parameters == count_parameters(network)
    assert not trial.described
    assert trial.told[-1][1] == "epoch 1/8, 90.00 %"


def test_a_limit_above_what_there_is_is_said_once(tmp_path, caplog):
    small = ("model=rnn", "data.train_size=60", "data.test_size=20", f"data.cache_dir={tmp_path}")
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        few, many = (
            read_settings(compose("config", [*small, f"data.train_limit={limit}"]), tmp_path) for limit in (20, 59)
        )
    job.read_inputs(few, None)
    assert "train_limit" not in caplog.text
    for _ in range(2):
        job.read_inputs(many, None)
    assert caplog.text.count("data.train_limit=59: there are 54 training reviews, and all are taken") == 1


def test_the_size_of_a_network_that_reads_numbers_while_it_is_built_is_known_too():
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        settings = read_settings(compose("config", ["model=rnn"]), Path.cwd())
    with registered(Reading):
        network = build_module(settings, CORPUS).network
        assert count_ahead(settings, CORPUS) == count_parameters(network)


def test_a_limited_size_is_described_before_training_so_that_it_is_known_at_the_first_rung():
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        settings = read_settings(compose("config", ["model=rnn"]), Path.cwd())
    trial = Trial()
    trial.limited = ("model/parameters", "time/fit_seconds")
    watch_training(trial, settings, CORPUS)
    network = build_model(settings.model, vocabulary_size=50, classes=2, max_tokens=None)
    assert trial.described == {"model/parameters": count_parameters(network)}


def test_a_part_of_an_extension_is_code_that_a_result_depends_on(monkeypatch, tmp_path):
    monkeypatch.setattr(identity, "PROJECT_DIR", tmp_path)
    part = tmp_path / "sentiment" / "extensions" / "_layers.py"
    part.parent.mkdir(parents=True)
    digests = []
    for text in ("SCALE = 1", "SCALE = 2", "SCALE = 1"):
        part.write_text(text)
        digests.append(identity.hash_code())
    assert digests[0] == digests[2] != digests[1]
    (part.parent / ".#run.py").symlink_to("somebody@somewhere")  # Emacs has a buffer that is not saved
    assert identity.hash_code() == digests[2], "hidden files are no code"


@pytest.fixture
def part(monkeypatch, tmp_path):
    """A file of code that this process has not looked at."""
    monkeypatch.setattr(identity, "PROJECT_DIR", tmp_path)
    monkeypatch.setattr(identity, "_seen", defaultdict(set))
    identity._digest_imported.cache_clear()
    part = tmp_path / "sentiment" / "models" / "layers.py"
    part.parent.mkdir(parents=True)
    part.write_text("SCALE = 1")
    yield part
    identity._digest_imported.cache_clear()


def test_a_process_has_the_code_that_it_has_imported(monkeypatch, part):
    first = identity.digest_code()
    part.write_text("SCALE = 2")
    assert identity.digest_code() == first, "an edit changes nothing of what is imported"
    monkeypatch.setitem(sys.modules, "sentiment.models.more", ModuleType("more"))
    mixed = identity.digest_code()
    assert mixed not in (first, identity.hash_code()), "what is imported is of before and after the edit"
    part.write_text("SCALE = 1")
    monkeypatch.setitem(sys.modules, "sentiment.models.further", ModuleType("further"))
    assert identity.digest_code() == mixed


def test_processes_that_are_forked_from_one_have_the_same_code_after_the_same_edit(monkeypatch, part):
    identity.digest_code()
    part.write_text("SCALE = 2")
    monkeypatch.setitem(sys.modules, "sentiment.models.more", ModuleType("more"))
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        one, other = (pool.apply(identity.digest_code) for _ in range(2))
    assert one == other != identity.hash_code()


def test_code_that_cannot_be_read_is_nobodys(monkeypatch, part, caplog):
    first = identity.digest_code()
    (part.parent / "gone.py").symlink_to("nowhere")
    monkeypatch.setitem(sys.modules, "sentiment.models.more", ModuleType("more"))
    assert identity.digest_code() != first
    assert "gone.py" in caplog.text


def test_a_job_tells_what_code_learned_the_words_that_it_starts_from(monkeypatch, tmp_path):
    learning = ("pretrain=lm", "pretrain.max_epochs=1", "pretrain.cutoffs=[20,100]", "data.unlabelled_size=20")
    told = []
    for code in ("first", "second"):
        monkeypatch.setattr(job, "digest_code", lambda code=code: code)
        trial = Trial()
        shutil.rmtree(tmp_path / "0", ignore_errors=True)
        train(tmp_path, trial, *learning, f"pretrain.cache_dir={tmp_path}/words", "trainer.max_epochs=1")
        told.append(trial.codes)
    assert told == [["first"], ["first"]]


def test_a_job_tells_what_models_it_has_read_and_reads_each_once(monkeypatch, tmp_path):
    small, trial, read = ("trainer.max_epochs=1", "data.unlabelled_size=20"), Trial(), []
    names = [str(tmp_path / name) for name in ("start", "teacher")]
    for seed, name in enumerate(names):
        train(tmp_path, None, *small, f"seed={seed}")
        (tmp_path / "0").rename(name)
    find = identity._find_source
    monkeypatch.setattr(identity, "_find_source", lambda name, *others: read.append(name) or find(name, *others))
    train(tmp_path, trial, *small, f"trainer.init_from={names[0]}", f"trainer.teachers=[{names[1]}]")
    assert read == names
    [data] = trial.data
    settings = SimpleNamespace(tracking=SimpleNamespace(uri=None), trainer=SimpleNamespace(debug=None))
    assert data.split(":")[-2:] == [identity._hash_named(name, settings) for name in names]


@pytest.mark.parametrize("named", ["trainer.init_from={}", "trainer.teachers=[{}]"])
def test_a_run_notes_how_many_reviews_that_measure_it_a_model_knows(tmp_path, caplog, named):
    """The log of a job of a study is a worker's: who ranks, compares or registers the figures goes by the tags."""
    small, other = ("trainer.max_epochs=1", "data.unlabelled_size=20"), tmp_path / "other"
    before = train(tmp_path, None, *small, "data.split_seed=1")
    assert before.tags.keys().isdisjoint(KNOWN_TAGS.values())
    (tmp_path / "0").rename(other)
    same = train(tmp_path, None, *small, "data.split_seed=1", named.format(other))
    assert [same.tags[tag] for tag in KNOWN_TAGS.values()] == ["none", "none"]
    shutil.rmtree(tmp_path / "0")
    record = train(tmp_path, None, *small, "trainer.test=false", named.format(other))
    known, tested = (record.tags.get(tag) for tag in KNOWN_TAGS.values())
    assert re.fullmatch("[1-6] of 6", known)
    assert f"{known.split()[0]} of the 6 validation reviews stood in its own training" in caplog.text
    assert tested is None


def test_a_job_that_goes_on_from_what_a_study_that_is_gone_has_left_is_of_unknown_code(tmp_path):
    first, second, third = Trial(), Trial(), Trial()
    first.is_to_pause = True
    with pytest.raises(RunPaused):
        train(tmp_path, first, "trainer.max_epochs=2")
    assert first.codes == []
    third.attempt = 2
    shutil.copytree(tmp_path / "0", tmp_path / "kept")
    for trial, codes in [(second, ["unknown"]), (third, [])]:
        shutil.rmtree(tmp_path / "0")
        shutil.copytree(tmp_path / "kept", tmp_path / "0")
        train(tmp_path, trial, "trainer.max_epochs=2")
        assert [step for step, _ in trial.reported] == [1]
        assert trial.codes == codes


def test_a_job_that_slurm_starts_again_after_its_end_keeps_its_result(monkeypatch):
    settings = SimpleNamespace(tracking=SimpleNamespace(uri="sqlite:///mlflow.db"), objectives=["val/accuracy"])
    monkeypatch.setattr(job, "read_earlier", lambda run: {"val/accuracy": 0.7})
    monkeypatch.setattr(job, "train", lambda run, trial: pytest.fail("it was trained again"))
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert run_job(SimpleNamespace(settings=settings)) == (0.7,)


def test_a_job_takes_the_result_of_an_earlier_process_that_comes_to_its_end_only_now(tmp_path, monkeypatch):
    """It was taken for dead: its node was cut off from the storage for a time, not from the folder."""
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        settings = read_settings(compose("config", ["tracking=none"]), tmp_path)
    record = ResultRecord(
        "a run", "transformer", "RUNNING", "2026-01-01T00:00:00+00:00", params=flatten_settings(settings),
        metrics={"val/accuracy": 0.5}, parameters=1, seconds=1.0,
    )  # fmt: skip
    write_result(tmp_path, record)
    earlier = Alive(tmp_path, RUN_FILE)

    def end_it(seconds):
        write_result(tmp_path, replace(record, status="FINISHED"))
        earlier.end()

    monkeypatch.setattr(time, "sleep", end_it)
    monkeypatch.setattr(job, "train", lambda run, trial: pytest.fail("it was trained again"))
    trial, run = Trial(), SimpleNamespace(settings=settings, output_dir=tmp_path, job_number=0)
    trial.attempt, trial.stopped_early = 2, lambda share: None
    with running(trial):
        assert run_job(run)[0] == trial.described["val/accuracy"] == 0.5


@pytest.mark.parametrize("debug", [None, "fast", "nans"])
def test_a_result_of_the_same_data_is_taken_and_one_of_others_is_not(tmp_path, debug, caplog):
    small = ["data.train_size=64", "data.test_size=32", f"data.cache_dir={tmp_path}/cache", "tracking=none"]
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        config = compose("config", [*small, *([] if debug is None else [f"debug={debug}"])])
    settings = read_settings(config, tmp_path)
    assert settings.trainer.debug == debug
    corpus = limit_corpus(build_corpus(settings.data), settings)
    record = ResultRecord(
        "a run", "transformer", "FINISHED", "2026-01-01T00:00:00+00:00", params=flatten_settings(settings),
        tags={FINGERPRINT_TAG: corpus.fingerprint}, metrics={"val/accuracy": 0.5}, parameters=1, seconds=1.0,
    )  # fmt: skip
    run = SimpleNamespace(settings=settings, output_dir=tmp_path, job_number=0)
    write_result(tmp_path, record)
    assert job.read_earlier(run)["val/accuracy"] == 0.5
    other = f"{corpus.fingerprint[:-1]}{'0' if corpus.fingerprint[-1] != '0' else '1'}"
    write_result(tmp_path, replace(record, tags={FINGERPRINT_TAG: other}))
    assert job.read_earlier(run) is None
    assert "holds a result of other data" in caplog.text


@pytest.mark.parametrize(("origin", "tag"), [("pretrain=lm", WORDS_TAG), ("trainer.init_from=a", START_TAG)])
def test_a_result_of_other_models_or_texts_behind_the_names_is_not_taken(tmp_path, monkeypatch, origin, tag):
    small = ["model=rnn", origin, "data.train_size=64", "data.test_size=32", "data.unlabelled_size=20"]
    small += ["trainer.teachers=[b]", f"data.cache_dir={tmp_path}/cache", "tracking=none"]
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        settings = read_settings(compose("config", small), tmp_path)
    corpus = build_corpus(settings.data)
    cut = Cut(settings.data.max_tokens, "head", 0.5)
    model = Predictor(build_module(settings, corpus).network, corpus.tokenizer, corpus.class_names, cut)
    source = SimpleNamespace(load=lambda: model, version="models:/mine/3")
    monkeypatch.setattr(job, "find_model", lambda name, settings: source)
    _, corpus, _, tags, _ = job.read_inputs(settings, None)
    tags |= {WORDS_TAG: place_words(settings, corpus, print)[2].name} if tag == WORDS_TAG else {}
    assert tags.keys() == {FINGERPRINT_TAG, LESSONS_TAG, VERSIONS_TAG, tag}
    assert json.loads(tags[VERSIONS_TAG])["b"] == "models:/mine/3"
    record = ResultRecord(
        "a run", "rnn", "FINISHED", "2026-01-01T00:00:00+00:00", params=flatten_settings(settings), tags=tags,
        metrics={"val/accuracy": 0.5}, parameters=1, seconds=1.0,
    )  # fmt: skip
    run = SimpleNamespace(settings=settings, output_dir=tmp_path, job_number=0)
    write_result(tmp_path, record)
    assert job.read_earlier(run)["val/accuracy"] == 0.5
    shutil.rmtree(tmp_path / "cache")
    trial = Trial()
    with running(trial):
        assert job.read_earlier(run)["val/accuracy"] == 0.5
    assert trial.told, "a study takes a job that asks its teachers in silence for one that hangs"
    for name in tags:
        write_result(tmp_path, replace(record, tags={**tags, name: "another"}))
        assert job.read_earlier(run) is None


def train(tmp_path, trial, *overrides):
    """Train a small run, a job of a trial where there is one; return its record."""
    small = ["model=rnn", "data.train_size=64", "data.test_size=32", f"data.cache_dir={tmp_path}/cache"]
    tracking = [] if any(one.startswith("tracking=") for one in overrides) else ["tracking=none"]
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        settings = read_settings(compose("config", [*small, *tracking, *overrides]), tmp_path)
    number = None if trial is None else 0
    job.train(RunContext(settings, (), tmp_path / "0", PROJECT_DIR, trial and tmp_path, number, ""), trial)
    return read_result(tmp_path / "0" / "result.json")


def test_a_finished_run_whose_checkpoint_is_damaged_is_not_trained_anew(tmp_path):
    shorter, longer = (("trainer.resume=keep", f"trainer.max_epochs={epochs}") for epochs in (1, 2))
    folder = tmp_path / "0"
    before, last = train(tmp_path, None, *shorter), folder / "checkpoints/last.ckpt"
    kept = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and file != last}
    whole = last.read_bytes()
    last.write_bytes(b"no checkpoint")
    with pytest.raises(TrackingError, match="is FINISHED; it would be overwritten"):
        train(tmp_path, None, *longer)
    assert read_result(folder / "result.json") == before
    assert {file: file.read_bytes() for file in kept} == kept
    last.write_bytes(whole)
    record = train(tmp_path, None, *longer)
    assert [point["epoch"] for point in record.history] == [1, 2]
    assert record.tags["trainer.trained_on"] == "1"


@pytest.mark.parametrize(("model", "epochs", "share"), [("rnn", 3.0, 0.75), ("ngram", 1.0, 0.25), ("rnn", None, 1.0)])
def test_a_run_counts_as_many_epochs_as_it_trained(tmp_path, model, epochs, share):
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        settings = read_settings(compose("config", [f"model={model}", "trainer.max_epochs=4"]), tmp_path)
    record = ResultRecord(
        "a run", model, "FINISHED", "2026-01-01T00:00:00+00:00", params=flatten_settings(settings), epochs=epochs,
        metrics={"val/accuracy": 0.5}, parameters=1, seconds=1.0,
    )  # fmt: skip
    write_result(tmp_path, record)
    assert job.count_share(SimpleNamespace(settings=settings, output_dir=tmp_path)) == share


@pytest.mark.parametrize(("epochs", "steps"), [(2, [1]), (3, [0, 1, 2])])
def test_a_training_that_was_paused_is_no_part_of_one_of_more_epochs(tmp_path, epochs, steps):
    """Its schedule was another one: only what had come to its end is trained on, and its record says so."""

    class Job(Trial):
        number = repeat = 0

        def saved(self, steps):
            if self.is_to_pause:
                raise RunPaused.after(steps)

    first, second = Job(), Job()
    first.is_to_pause = True
    with pytest.raises(RunPaused):
        train(tmp_path, first, "trainer.max_epochs=2")
    record = train(tmp_path, second, f"trainer.max_epochs={epochs}")
    assert [step for step, _ in second.reported] == steps
    assert [point["epoch"] for point in record.history] == list(range(1, epochs + 1))
    assert "trainer.trained_on" not in record.tags


@pytest.fixture
def cut_off(monkeypatch, tmp_path):
    """Train a single run that is cut off at the validation after so many epochs."""

    def train_until(epoch, *overrides):
        def cut(recorder, metrics, *, step, epoch):
            if epoch == until:
                raise KeyboardInterrupt
            validated(recorder, metrics, step=step, epoch=epoch)

        until, validated = epoch, FolderRecorder.validated
        with monkeypatch.context() as patch:
            patch.setattr(FolderRecorder, "validated", cut)
            with pytest.raises(KeyboardInterrupt):
                train(tmp_path, None, *overrides)

    return train_until


@pytest.mark.parametrize("slip", ["optimizer.lr=0.1", "trainer.max_epochs=5", None])
def test_a_slip_does_not_cost_an_interrupted_training(tmp_path, cut_off, slip):
    """What it left stays until the wrong command has a whole epoch; so it does where its record is lost."""
    right = ("trainer.max_epochs=4", "optimizer.lr=0.001")
    cut_off(3, *right)
    if slip is None:
        (tmp_path / "0/result.json").write_text("no record")
    else:
        cut_off(1, *right, slip)
    record = train(tmp_path, None, *right)
    assert [point["epoch"] for point in record.history] == ([3, 4] if slip is None else [1, 2, 3, 4])
    assert "trainer.trained_on" not in record.tags
    assert record.tags.get("git.commit.earlier") == ("unknown" if slip is None else None), "who trained a lost record?"


@pytest.mark.parametrize("tracking", ["none", "tensorboard", "mlflow"])
def test_a_slip_that_ends_before_its_first_whole_epoch_leaves_no_trace(tmp_path, cut_off, tracking):
    def read_all():
        return {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}

    right = ("trainer.max_epochs=4", f"tracking={tracking}", "trainer.validations_per_epoch=2", "trainer.patience=null")
    cut_off(3, *right)
    before = read_all()
    cut_off(1, *right, "optimizer.lr=0.1")
    assert read_all().keys() == before.keys()
    changed = {str(file.relative_to(tmp_path)) for file, content in read_all().items() if content != before[file]}
    assert changed <= {"0/checkpoints/best.ckpt", "mlflow.db"}, changed
    record = train(tmp_path, None, *right)
    assert [point["epoch"] for point in record.history] == [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4]


def test_a_slip_that_has_a_whole_epoch_takes_the_folder(tmp_path, cut_off):
    cut_off(3, "trainer.max_epochs=4")
    cut_off(2, "trainer.max_epochs=4", "optimizer.lr=0.1")
    record = read_result(tmp_path / "0/result.json")
    assert (record.params["optimizer.lr"], [point["epoch"] for point in record.history]) == ("0.1", [1])


def test_the_selected_checkpoint_is_in_doubt_where_a_longer_run_was_killed(tmp_path, cut_off, monkeypatch):
    keep = ("trainer.resume=keep", "trainer.validations_per_epoch=2", "trainer.patience=null")
    best = tmp_path / "0/checkpoints/best.ckpt"
    train(tmp_path, None, *keep, "trainer.max_epochs=1")
    assert find_model_source(str(best), tmp_path, "").checkpoint == best
    with monkeypatch.context() as patch:
        patch.setattr(LastCheckpoint, "give_back", lambda callback: None)  # SIGKILL
        cut_off(2, *keep, "trainer.max_epochs=50")
    with pytest.raises(ModelFileError, match="may be of a longer run"):
        find_model_source(str(best), tmp_path, "")
    train(tmp_path, None, *keep, "trainer.max_epochs=2")
    assert find_model_source(str(best), tmp_path, "").checkpoint == best
    cut_off(4, *keep, "trainer.max_epochs=4")
    with monkeypatch.context() as patch:
        patch.setattr(LastCheckpoint, "give_back", lambda callback: None)
        cut_off(4, *keep, "trainer.max_epochs=50")
    with pytest.raises(ModelFileError, match="is not over"):
        find_model_source(str(best), tmp_path, "")
    train(tmp_path, None, *keep, "trainer.max_epochs=4")
    assert find_model_source(str(best), tmp_path, "").checkpoint == best


@pytest.mark.parametrize("first", [1, 2])
def test_a_number_of_epochs_that_was_mistyped_does_not_cost_the_run_that_it_was_to_train_on(tmp_path, cut_off, first):
    """Neither a finished one, nor one that trained on and was cut off."""
    keep = ("trainer.resume=keep", "trainer.validations_per_epoch=2", "trainer.patience=null")
    train(tmp_path, None, *keep, "trainer.max_epochs=1")
    if first == 2:
        cut_off(3, *keep, "trainer.max_epochs=3")
    before, best = read_result(tmp_path / "0/result.json"), tmp_path / "0/checkpoints/best.ckpt"
    selected = torch.load(best.with_name("last.ckpt"), weights_only=True)[KEY]["best"]["state_dict"]
    cut_off(first + 1, *keep, "trainer.max_epochs=50")
    assert read_result(tmp_path / "0/result.json") == before
    assert_close(torch.load(best, weights_only=True)["state_dict"], selected, rtol=0, atol=0)
    record = train(tmp_path, None, *keep, "trainer.max_epochs=3")
    assert [point["epoch"] for point in record.history] == [0.5, 1, 1.5, 2, 2.5, 3]
    assert record.tags["trainer.trained_on"] == "1"
    assert {file.name for file in (tmp_path / "0/checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


def test_what_a_training_left_is_no_part_of_one_of_more_epochs_that_was_cut_off_once(tmp_path, cut_off):
    cut_off(2, "trainer.max_epochs=2")
    cut_off(1, "trainer.max_epochs=3")
    assert [point["epoch"] for point in train(tmp_path, None, "trainer.max_epochs=3").history] == [1, 2, 3]


def test_a_training_whose_record_no_longer_says_that_it_trained_on_starts_anew(tmp_path, cut_off):
    longer = ("trainer.resume=keep", "trainer.max_epochs=4")
    train(tmp_path, None, "trainer.resume=keep", "trainer.max_epochs=1")
    cut_off(3, *longer)
    shutil.copytree(tmp_path / "0", tmp_path / "kept")
    (tmp_path / "0/result.json").write_text("no record")
    record = train(tmp_path, None, *longer)
    assert [point["epoch"] for point in record.history] == [1, 2, 3, 4]
    assert "trainer.trained_on" not in record.tags
    shutil.rmtree(tmp_path / "0")
    (tmp_path / "kept").rename(tmp_path / "0")
    record = train(tmp_path, None, *longer)
    assert ([point["epoch"] for point in record.history], record.tags["trainer.trained_on"]) == ([1, 2, 3, 4], "1")


def test_a_job_that_begins_takes_no_result_from_a_study_that_had_its_folder_before(monkeypatch):
    settings = SimpleNamespace(tracking=SimpleNamespace(uri="sqlite:///mlflow.db"), objectives=["val/accuracy"])
    monkeypatch.setattr(job, "read_earlier", lambda run: {"val/accuracy": 0.7})
    monkeypatch.setattr(job, "train", lambda run, trial: {"val/accuracy": 0.6})
    monkeypatch.setattr(job, "end_with_answer", lambda run: None)
    monkeypatch.setattr(job, "count_share", lambda run: 1.0)
    told = SimpleNamespace(describe=lambda metrics: None, stopped_early=lambda share: None)
    for attempt, value in ((1, 0.6), (2, 0.7)):
        with running(SimpleNamespace(attempt=attempt, **vars(told))):
            assert run_job(SimpleNamespace(settings=settings)) == (value,)


@pytest.mark.parametrize("code", [0, None, 1, "no data"])
def test_a_run_that_ends_its_process_has_failed(monkeypatch, code):
    settings = SimpleNamespace(tracking=SimpleNamespace(uri="sqlite:///mlflow.db"), objectives=["val/accuracy"])
    monkeypatch.setattr(job, "train", lambda run, trial: sys.exit(code))
    with pytest.raises(SentimentError, match=r"The run called sys.exit\("):
        run_job(SimpleNamespace(settings=settings, job_number=0))
    for passed in (143, 144, -1):  # SIGTERM; submitit's, for a job that is queued again
        monkeypatch.setattr(job, "train", lambda run, trial, passed=passed: sys.exit(passed))
        with pytest.raises(SystemExit):
            run_job(SimpleNamespace(settings=settings, job_number=0))
