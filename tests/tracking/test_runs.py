"""Runs are found by what a person would call them, and give back what was recorded."""

from __future__ import annotations

import errno
import io
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from mlflow import MlflowClient

from sentiment.config.home import PROJECT_DIR
from sentiment.data.batching import Cut
from sentiment.data.tokenizer import train_tokenizer
from sentiment.errors import ModelFileError, RunPruned, TrackingError
from sentiment.models.build import build_model
from sentiment.models.bundle import Predictor, save_bundle
from sentiment.tracking.mlflow.parent import start_sweep
from sentiment.tracking.mlflow.registry import record_evaluation
from sentiment.tracking.model_source import find_model_source
from sentiment.tracking.params import read_settings
from sentiment.tracking.recorder import open_recorder
from sentiment.tracking.result_file import RESULT_FILE, WORDS_TAG, read_results, write_result
from sentiment.tracking.runs import (
    _tell_asked,
    choose_tracking_uri,
    find_latest_run,
    find_stored_run,
    find_stored_runs,
)

OWN_STORE = f"sqlite:///{PROJECT_DIR}/mlflow.db"

TEXTS = ["a great film", "a terrible, terrible film"]


def write_model(folder: Path, settings, class_names) -> Path:
    tokenizer = train_tokenizer(TEXTS, "word", vocabulary_size=64, min_frequency=1, lowercase=True)
    data = settings.data
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_model(
            settings.model, vocabulary_size=tokenizer.vocabulary_size, classes=2, max_tokens=data.max_tokens
        )
    save_bundle(folder, network, settings.model, tokenizer.to_json(), class_names, Cut.of(data))
    return folder


@pytest.fixture(scope="module")
def sweep(make_project, result, tmp_path_factory):
    """Two jobs under a parent: one finished, with model and predictions; one pruned. Tests only read it."""
    project = make_project(tmp_path_factory.mktemp("project"))
    start_sweep(
        uri=project.uri,
        experiment="sentiment",
        artifact_dir=f"{project.folder}/mlartifacts",
        sweep_dir=project.sweep_dir,
        project_dir=project.folder,
        overrides=("seed=0,1",),
        base_yaml="seed: 0\n",
    )
    settings = project.settings("tracking.log_model=true", "model.embedding_size=8", "model.depth=1")
    context = project.context(settings, "seed=0", "model.depth=1", job_number=0)
    with open_recorder(context) as recorder:
        recorder.describe({"data.fingerprint": "f1"})
        recorder.validated({"val/accuracy": 0.7}, step=5, epoch=0.5)
        recorder.validated({"val/accuracy": 0.8}, step=10, epoch=1.0)
        recorder.tested({"test/accuracy": 0.75, "test/loss": 0.6}, step=10, epoch=1.0)
        bundle = write_model(context.output_dir / "model", settings, result.class_names)
        recorder.finished(replace(result, bundle=bundle, epochs=1.0))
    with pytest.raises(RunPruned):
        prune(project)
    project.deliver()
    return project


def prune(project) -> None:
    with open_recorder(project.context(project.settings("seed=1"), "seed=1", job_number=1)) as recorder:
        recorder.validated({"val/accuracy": 0.5}, step=5, epoch=0.5)
        raise RunPruned("worse than the median")


@pytest.fixture
def find(sweep, tmp_path):
    """Look a run up in a copy of the folders, which a test may damage."""
    shutil.copytree(sweep.folder / "multirun", tmp_path / "multirun")
    return lambda name: find_stored_run(name, tmp_path / "multirun", sweep.uri)


@pytest.fixture
def fetch(sweep, tmp_path):
    """Look runs up in the store alone."""
    return lambda name: find_stored_runs(name, tmp_path / "nowhere", sweep.uri)


def run_ids(project) -> tuple[str, str, str]:
    """Give parent, job 0 and job 1."""
    by_job = {run.data.tags.get("job"): run.info.run_id for run in project.runs()}
    return by_job[None], by_job["0"], by_job["1"]


def test_every_name_of_a_run_leads_to_it(sweep, find, tmp_path, monkeypatch):
    folder = tmp_path / "multirun/sweep/0"
    monkeypatch.chdir(tmp_path)
    for name in ("sweep/0", str(folder), "multirun/sweep/0", run_ids(sweep)[1]):
        assert find(name).folder.resolve() == folder
    assert find("sweep/0").record.metrics["test/accuracy"] == 0.75


def test_every_name_of_a_sweep_leads_to_its_runs(sweep):
    for name in ("sweep", str(sweep.sweep_dir), run_ids(sweep)[0]):
        runs = find_stored_runs(name, sweep.folder / "multirun", sweep.uri)
        assert [(run.record.job_number, run.record.status) for run in runs] == [(0, "FINISHED"), (1, "PRUNED")]
    assert len(find_stored_runs("sweep/1", sweep.folder / "multirun", sweep.uri)) == 1


def test_a_run_gives_its_predictions_settings_and_model(sweep, find):
    run = find("sweep/0")
    predictions = run.read_test_predictions()
    with np.load(run.folder / "predictions/test.npz") as content:
        assert content["class_names"].tolist() == ["negative", "positive"]
    np.testing.assert_array_equal(predictions.labels, [0, 1, 1, 1])
    np.testing.assert_allclose(predictions.probabilities[0], [0.9, 0.1], atol=1e-6)
    assert read_settings(run.record.params) == sweep.settings(
        "tracking.log_model=true", "model.embedding_size=8", "model.depth=1"
    )
    assert len(Predictor.load(run.bundle).predict(TEXTS).labels) == 2


def test_the_number_of_a_job_is_not_taken_for_that_of_a_trial(find, tmp_path, monkeypatch):
    """With two repeats, jobs 2 and 3 are those of trial 1, which reports call 1."""
    for job in (0, 1):
        record = find(f"sweep/{job}").record
        tags = {**record.tags, "trial.number": "0", "trial.repeat": str(job)}
        write_result(tmp_path / "multirun/sweep" / str(job), replace(record, tags=tags))
    assert find("sweep/0").record.job_number == 0
    with pytest.raises(TrackingError, match="sweep/1 is job 1 of its study, and not trial 1: it is repeat 1 of trial"):
        find("sweep/1")
    assert find(str(tmp_path / "multirun/sweep/1")).record.job_number == 1, "its folder is meant"
    (tmp_path / "sweep/1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TrackingError, match="and not trial 1"):
        find("sweep/1")  # a folder of that name here is no run
    assert len(find_stored_runs("sweep", tmp_path / "multirun", "")) == 2


def test_a_name_for_several_runs_is_refused_where_one_is_needed(find):
    with pytest.raises(TrackingError, match=r"holds 2 runs, but one is needed(.|\n)*sweep/0"):
        find("sweep")


def test_a_closed_file_of_somebody_else_hides_no_other_run(sweep, find, tmp_path, monkeypatch):
    closed = tmp_path / "multirun/a/0" / RESULT_FILE
    closed.parent.mkdir(parents=True)
    closed.touch()
    read = Path.read_text

    def refuse(file, *arguments, **options):
        if file == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(file))
        return read(file, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", refuse)  # root may read whatever there is
    assert find(run_ids(sweep)[1]).folder == tmp_path / "multirun/sweep/0"


def test_nobody_is_at_home_where_there_is_no_such_person(find):
    with pytest.raises(TrackingError, match="no run '~nobody-at-all/sweep'"):
        find("~nobody-at-all/sweep")


def test_an_unknown_name_lists_what_is_near(find):
    with pytest.raises(TrackingError, match=r"no run 'swep/0'(.|\n)*did you mean sweep"):
        find("swep/0")


def test_an_unknown_id_names_the_store(find):
    with pytest.raises(TrackingError, match=r"no run 0{32}(.|\n)*mlflow\.db(.|\n)*--tracking-uri"):
        find("0" * 32)


def test_nothing_is_created_where_there_is_no_store(sweep, tmp_path):
    with pytest.raises(TrackingError, match="no MLflow store"):
        find_stored_run("0" * 32, tmp_path, f"sqlite:///{tmp_path}/none.db")
    assert not (tmp_path / "none.db").exists()


def test_a_model_that_its_folder_has_no_more_is_that_of_the_store(find):
    run = find("sweep/0")
    shutil.rmtree(run.folder / "model")
    assert len(Predictor.load(run.bundle).predict(TEXTS).labels) == 2
    assert not (run.folder / "model").exists(), "who made room keeps it"


def test_what_mlflow_calls_the_model_of_a_run_leads_to_it(sweep, tmp_path):
    run_id = run_ids(sweep)[1]
    (model,) = sweep.client().get_run(run_id).outputs.model_outputs
    expected = Predictor.load(sweep.sweep_dir / "0/model").predict(TEXTS).probabilities
    for name in (f"runs:/{run_id}/model", f"models:/{model.model_id}"):
        source = find_model_source(name, tmp_path, sweep.uri)
        assert (source.run_id, source.store) == (run_id, sweep.uri)
        np.testing.assert_array_equal(source.load().predict(TEXTS).probabilities, expected)
    with pytest.raises(TrackingError, match=f"no model m-{'0' * 32} in the MLflow store .*\n  -> copy the id"):
        find_model_source(f"models:/m-{'0' * 32}", tmp_path, sweep.uri)


def test_a_logged_model_outlasts_its_run(sweep, tmp_path, monkeypatch):
    shutil.copy(sweep.folder / "mlflow.db", tmp_path)
    run_id, uri = run_ids(sweep)[1], f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri)
    (model,) = client.get_run(run_id).outputs.model_outputs
    client.delete_run(run_id)
    name = f"models:/{model.model_id}"
    source = find_model_source(name, tmp_path, uri)
    assert source.run_id is None
    assert source.title == f"{sweep.client().get_run(run_id).info.run_name} ({name})"
    expected = Predictor.load(sweep.sweep_dir / "0/model").predict(TEXTS).probabilities
    np.testing.assert_array_equal(source.load().predict(TEXTS).probabilities, expected)
    monkeypatch.setattr("sentiment.tracking.mlflow.read.look_up_run", lambda client, run_id: None)
    assert find_model_source(name, tmp_path, uri).title == name, "MLflow has forgotten the run"


def test_test_predictions_that_their_folder_has_no_more_are_those_of_the_store(find, caplog):
    _tell_asked.cache_clear()
    run = find("sweep/0")
    shutil.rmtree(run.folder / "predictions")
    np.testing.assert_array_equal(run.read_test_predictions().labels, [0, 1, 1, 1])
    find("sweep/0").read_test_predictions()
    assert caplog.text.count("is asked of the MLflow store sqlite:///") == 1, "it may take its time; one line for all"
    assert not (run.folder / "predictions").exists(), "who made room keeps it"
    alone = replace(find("sweep/0"), record=replace(run.record, run_id=None))
    with pytest.raises(TrackingError, match=r"no test predictions.\n  -> its folder was emptied: run it again"):
        alone.read_test_predictions()


def test_a_run_that_learned_words_is_no_model_and_says_what_is(find, tmp_path):
    run = find("sweep/0")
    words = replace(run.record, metrics={"val/loss": 5.0}, tags={**run.record.tags, WORDS_TAG: "0"})
    write_result(run.folder, words)
    shutil.rmtree(run.folder / "model")
    for stored in (find("sweep/0"), replace(run, record=words, folder=tmp_path / "none", tracking_uri="sqlite:///a")):
        with pytest.raises(TrackingError, match="learned words alone: name a run that started from them"):
            _ = stored.bundle


def test_the_checkpoint_of_a_run_whose_model_is_gone_leads_to_the_run(find, sweep):
    run = find("sweep/0")
    (run.folder / "checkpoints").mkdir()
    (run.folder / "checkpoints/best.ckpt").touch()
    shutil.rmtree(run.folder / "model")
    with pytest.raises(ModelFileError, match=rf"tokenizer is not there: .*\n  -> name the run: --model {run.folder}"):
        find_model_source(str(run.folder / "checkpoints/best.ckpt"), run.folder.parent, sweep.uri)


@pytest.mark.parametrize("damage", ["damaged", "missing", "elsewhere"])
def test_what_a_run_lacks_is_said_with_the_remedy(find, damage):
    pruned = find("sweep/1")
    with pytest.raises(TrackingError, match=r"PRUNED(.|\n)*only finished runs"):
        pruned.read_test_predictions()
    with pytest.raises(TrackingError, match=r"no model(.|\n)*only finished runs"):
        _ = pruned.bundle
    whole = find("sweep/0")
    file = whole.folder / "predictions/test.npz"
    if damage == "damaged":
        right = file.read_bytes()
        array = io.BytesIO()
        np.save(array, np.zeros(4))
        for content in (b"PK no archive", b"", right[: len(right) // 2], array.getvalue()):
            file.write_bytes(content)
            with pytest.raises(TrackingError, match=r"test\.npz cannot be read"):
                whole.read_test_predictions()
        for place in range(len(right)):
            file.write_bytes(right[:place] + bytes([right[place] ^ 0xFF]) + right[place + 1 :])
            with suppress(TrackingError):  # some bytes, such as times, say nothing of the content
                whole.read_test_predictions()
    else:
        shutil.rmtree(whole.folder / "model")
        params, run_id = whole.record.params, whole.record.run_id if damage == "elsewhere" else None
        params = {**params, "tracking.uri": f"sqlite:///{whole.folder}/none.db"}
        told = "emptied, and .*no MLflow store" if damage == "elsewhere" else "emptied: run it again"
        with pytest.raises(TrackingError, match=told):
            _ = replace(whole, record=replace(whole.record, params=params, run_id=run_id)).bundle


def test_what_a_shorter_run_left_is_not_that_of_the_one_that_trains_on(find):
    shorter = find("sweep/0")
    longer = replace(shorter, record=replace(shorter.record, status="KILLED", metrics={}, test_reviews=None))
    with pytest.raises(TrackingError, match=r"no model(.|\n)*the run before it: .*model"):
        _ = longer.bundle
    with pytest.raises(TrackingError, match="no test predictions"):
        longer.read_test_predictions()


def test_pickled_predictions_are_refused(find, tmp_path):
    run = find("sweep/0")
    with (run.folder / "predictions/test.npz").open("wb") as file:
        np.savez(file, labels=np.array([object()], dtype=object), probabilities=np.zeros(1), class_names=np.zeros(1))
    with pytest.raises(TrackingError, match="allow_pickle"):
        run.read_test_predictions()


def test_a_run_is_put_together_from_the_store_alone(sweep, fetch):
    (run,) = fetch(run_ids(sweep)[1])
    record = run.record
    assert (record.status, record.model, record.job_number) == ("FINISHED", "transformer", 0)
    assert record.overrides == ("seed=0", "model.depth=1")
    assert record.metrics == {"val/accuracy": 0.8, "val/loss": 0.5, "test/accuracy": 0.75, "test/loss": 0.6}
    assert [(point["step"], point["epoch"], point["val/accuracy"]) for point in record.history] == [
        (5, 0.5, 0.7),
        (10, 1.0, 0.8),
    ]
    assert (record.parameters, record.seconds, record.epochs, record.best_epoch) == (1234, 5.5, 1.0, 1.0)
    assert record.tags["data.fingerprint"] == "f1"
    assert read_settings(run.record.params).model.embedding_size == 8
    np.testing.assert_array_equal(run.read_test_predictions().labels, [0, 1, 1, 1])
    assert len(Predictor.load(run.bundle).predict(TEXTS).labels) == 2


def test_a_parent_in_the_store_gives_its_jobs(sweep, fetch):
    runs = fetch(run_ids(sweep)[0])
    assert [(run.record.job_number, run.record.status) for run in runs] == [(0, "FINISHED"), (1, "PRUNED")]
    assert runs[1].record.reason == "worse than the median"


def test_a_run_without_a_logged_model_says_how_to_get_one(sweep, fetch):
    (run,) = fetch(run_ids(sweep)[2])
    with pytest.raises(TrackingError, match="no model"):
        _ = run.bundle
    with pytest.raises(TrackingError, match="no test predictions"):
        run.read_test_predictions()


def test_the_run_of_an_evaluation_leads_to_the_one_that_it_is_of(sweep, find, tmp_path):
    trained = run_ids(sweep)[1]
    evaluated = record_evaluation(sweep.uri, trained, "rev.csv", "d" * 32, {"accuracy": 0.5}, [], tmp_path)
    try:
        with pytest.raises(
            TrackingError, match=f"evaluation of that of the run {trained}(.|\n)*name that one: {trained}"
        ):
            find(evaluated)
    finally:
        MlflowClient(tracking_uri=sweep.uri).delete_run(evaluated)


def test_long_settings_come_back_whole(project, result):
    names = [f"class number {number} of very many" for number in range(400)]
    path = project.folder / "train.csv"
    path.write_text("text,label\n", encoding="utf-8")
    settings = project.settings("data=files", f"data.path={path}", f"data.labels={names!r}")
    with open_recorder(project.context(settings)) as recorder:
        recorder.finished(result)
    (run,) = find_stored_runs(project.run().info.run_id, project.folder / "nowhere", project.uri)
    assert read_settings(run.record.params) == settings


def test_the_latest_finished_run_with_a_model(sweep, tmp_path):
    assert find_latest_run(sweep.folder / "multirun").folder == sweep.sweep_dir / "0"
    with pytest.raises(TrackingError, match=r"no finished run(.|\n)*python run\.py"):
        find_latest_run(tmp_path / "nowhere")


def test_a_run_behind_a_link_to_another_disk_is_found(sweep, tmp_path):
    (tmp_path / "multirun").mkdir()
    (tmp_path / "multirun/big").symlink_to(sweep.sweep_dir)
    latest = find_latest_run(tmp_path / "multirun")
    for name in ("big/0", latest.record.run_id, str(tmp_path / "multirun/big/0")):
        assert find_stored_run(name, tmp_path / "multirun", "").folder == tmp_path / "multirun/big/0" == latest.folder


def test_a_link_in_the_folder_of_a_sweep_is_no_job_of_it(find, tmp_path):
    """As for its report."""
    multirun = tmp_path / "multirun"
    shutil.copytree(multirun / "sweep/0", multirun / "other/5")
    (multirun / "sweep/start").symlink_to("../other/5")
    (multirun / "links").mkdir()
    (multirun / "links/5").symlink_to("../other/5")
    names = [run.folder.name for run in find_stored_runs("sweep", multirun, "")]
    assert names == ["0", "1"]
    assert len(read_results(multirun / "sweep")[0]) == 2
    with pytest.raises(TrackingError, match="no run 'links'"):
        find_stored_runs("links", multirun, "")


@pytest.mark.parametrize("code", [errno.EACCES, errno.ENOTCONN])
def test_a_link_whose_target_cannot_be_looked_at_is_no_hindrance(find, tmp_path, monkeypatch, code):
    """A colleague's closed folder, or a mount that is dead."""
    link, stat = tmp_path / "multirun/theirs", os.stat
    link.symlink_to(tmp_path)

    def refuse(path, **options):
        if os.fspath(path) == str(link) and options.get("follow_symlinks", True):
            raise OSError(code, os.strerror(code), str(link))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(OSError, match=os.strerror(code)):
        link.stat()
    assert find_latest_run(tmp_path / "multirun").folder == tmp_path / "multirun/sweep/0"


def test_a_try_is_not_the_latest_run(find, tmp_path):
    run = find("sweep/0")
    write_result(run.folder, replace(run.record, params={**run.record.params, "trainer.debug": "fast"}))
    with pytest.raises(TrackingError, match="no finished run"):
        find_latest_run(tmp_path / "multirun")


@pytest.mark.parametrize("named", ["", "http://me:planted@host:5000"])
def test_runs_and_commands_have_one_store(monkeypatch: pytest.MonkeyPatch, named):
    monkeypatch.setenv("SENTIMENT_TRACKING_PASSWORD", "")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", named)
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        recorded, typed = compose("config").tracking.uri, compose("config", ["tracking.uri=http://other"]).tracking.uri
    assert recorded == choose_tracking_uri(None) == ("http://me@host:5000" if named else OWN_STORE)
    assert typed == choose_tracking_uri("http://other") == "http://other"


def test_the_option_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///env.db")
    assert choose_tracking_uri("sqlite:///option.db") == f"sqlite:///{tmp_path}/option.db"
    assert choose_tracking_uri(None) == f"sqlite:///{tmp_path}/env.db"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert choose_tracking_uri(None) == OWN_STORE
