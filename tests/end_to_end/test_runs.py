"""Runs end to end: recorded wherever the command was started, equal for equal seeds, honest about their end."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from mlflow import MlflowClient

from sentiment.tracking.result_file import read_result
from tests.end_to_end.conftest import Checkout

PARENT_TAG = "mlflow.parentRunId"


def read_runs(checkout):
    client = MlflowClient(tracking_uri=checkout.store)
    experiment = client.get_experiment_by_name("sentiment")
    return client.search_runs([experiment.experiment_id])


def read_results(checkout) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(checkout.folder.glob("multirun/**/result.json"))]


def wait_for(process, path: Path, pattern: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not list(path.glob(pattern)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"no {pattern} after {seconds} s"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_run_started_elsewhere_is_recorded_in_the_project(fresh_checkout, tiny, tmp_path, empty_store):
    shutil.copy(empty_store, fresh_checkout.folder / "mlflow.db")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    result = fresh_checkout.run(*tiny, cwd=elsewhere)
    assert result.returncode == 0, result.stderr
    assert list(elsewhere.iterdir()) == []
    [run] = read_runs(fresh_checkout)
    assert run.info.status == "FINISHED"
    assert run.data.params["model.heads"] == "4"
    assert "synthetic" in result.stdout
    assert "data=imdb" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("model", ["transformer", "rnn"])
def test_the_same_command_and_seed_gives_bit_equal_metrics(fresh_checkout, tiny, model):
    for _ in range(2):
        result = fresh_checkout.run(f"model={model}", *tiny, "tracking=none", "model.dropout=0.3", "seed=7")
        assert result.returncode == 0, result.stderr
    first, second = (run["metrics"] for run in read_results(fresh_checkout))
    names = [name for name in first if name.startswith(("val/", "test/"))]
    assert {"val/loss", "val/accuracy", "val/brier", "test/loss", "test/auroc", "test/mcc"} <= set(names)
    assert {name: first[name] for name in names} == {name: second[name] for name in names}


@pytest.mark.slow
def test_a_failed_job_is_marked_and_the_rest_goes_on(fresh_checkout, tiny):
    """A learning rate that no loss survives, in the middle of a grid."""
    result = fresh_checkout.run(
        "-m", *tiny, "optimizer=sgd", "optimizer.momentum=0.9", "trainer.gradient_clip_norm=null",
        "scheduler=constant", "trainer.max_epochs=3", "optimizer.lr=0.01,1000.0,0.1",
    )  # fmt: skip
    assert result.returncode == 1
    assert "The training loss became" in result.stderr
    assert "Traceback" not in result.stderr
    runs = read_runs(fresh_checkout)
    children = {run.data.params["optimizer.lr"]: run for run in runs if PARENT_TAG in run.data.tags}
    assert {rate: run.info.status for rate, run in children.items()} == {
        "0.01": "FINISHED",
        "1000.0": "FAILED",
        "0.1": "FINISHED",
    }
    assert "became" in children["1000.0"].data.tags["failure.reason"]
    [parent] = [run for run in runs if PARENT_TAG not in run.data.tags]
    assert parent.info.status == "FAILED"


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_an_interrupted_multirun_is_marked_killed(fresh_checkout, tiny, sent, code):
    process = fresh_checkout.start(
        "-m", *tiny, "trainer.max_epochs=100000", "trainer.patience=null", "seed=0,1", "data.train_size=2000"
    )
    wait_for(process, fresh_checkout.folder, "multirun/*/0/checkpoints/best.ckpt")
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    runs = read_runs(fresh_checkout)
    assert {run.info.status for run in runs} == {"KILLED"}
    assert len(runs) == 2  # the parent and the first job; the second was not started


@pytest.mark.slow
@pytest.mark.parametrize("sent", [None, signal.SIGINT])
def test_a_multirun_whose_output_nobody_reads_any_more_ends_as_any_other(fresh_checkout, tiny, sent):
    """As in ``... | head -1``, or ``... | tee log``, where Ctrl-C ends tee too."""
    epochs = 1 if sent is None else 100000
    process = fresh_checkout.start("-m", *tiny, f"trainer.max_epochs={epochs}", "trainer.patience=null", "seed=0,1")
    process.stdout.close()
    if sent is not None:
        wait_for(process, fresh_checkout.folder, "multirun/*/0/checkpoints/best.ckpt")
        process.send_signal(sent)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == (0 if sent is None else -sent), errors
    assert "rror" not in errors
    [page] = fresh_checkout.folder.glob("multirun/*/report/report.html")
    assert (page.parent.parent / "ranking.csv").exists()
    [parent] = [run for run in read_runs(fresh_checkout) if PARENT_TAG not in run.data.tags]
    assert parent.info.status == ("FINISHED" if sent is None else "KILLED")
    client = MlflowClient(tracking_uri=fresh_checkout.store)
    assert "report" in {file.path for file in client.list_artifacts(parent.info.run_id)}


@pytest.mark.slow
def test_own_files_with_three_classes(fresh_checkout, tiny, tmp_path):
    rows = [f"the {word} one,{label}" for label, word in (("low", "bad"), ("mid", "plain"), ("high", "good"))] * 40
    path = tmp_path / "reviews.csv"
    path.write_text(
        "text,label\n" + "\n".join(f"{row.partition(',')[0]} {i},{row.partition(',')[2]}" for i, row in enumerate(rows))
    )
    settings = [item for item in tiny if not item.startswith(("data.", "trainer.max_epochs"))]
    result = fresh_checkout.run(
        "data=files", f"data.path={path}", *settings, "tracking=none", "trainer.max_epochs=15", "optimizer.lr=0.02"
    )
    assert result.returncode == 0, result.stderr
    [outcome] = read_results(fresh_checkout)
    assert outcome["metrics"]["test/accuracy"] == 1.0


@pytest.mark.slow
def test_the_stock_optuna_sweeper_is_recorded_under_one_parent(fresh_checkout, tiny):
    result = fresh_checkout.run(
        "-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.direction=maximize",
        "hydra.sweeper.study_name=stock", *tiny, "optimizer.lr=tag(log, interval(1e-4, 1e-2))",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    runs = read_runs(fresh_checkout)
    [parent] = [run for run in runs if PARENT_TAG not in run.data.tags]
    children = [run for run in runs if run.data.tags.get(PARENT_TAG) == parent.info.run_id]
    assert len(children) == 2
    assert parent.info.status == "FINISHED"
    # Two tiny trainings may tie; then the earlier job is the best one.
    best = max(children, key=lambda run: (run.data.metrics["val/accuracy"], -int(run.data.tags["job"])))
    assert parent.data.metrics["best/val/accuracy"] == best.data.metrics["val/accuracy"]
    assert parent.data.tags["best.run_id"] == best.info.run_id


@pytest.mark.slow
def test_a_moved_project_goes_on_where_it_is(fresh_checkout, tmp_path):
    command = (
        "-m", "search=ngram", "hydra.sweeper.n_jobs=1", "data.train_size=200", "data.test_size=60",
        "hydra.sweeper.study_name=moved",
    )  # fmt: skip
    first = fresh_checkout.run(*command, "hydra.sweeper.n_trials=2")
    assert first.returncode == 0, first.stderr
    parent = next(run.info.run_id for run in read_runs(fresh_checkout) if PARENT_TAG not in run.data.tags)
    files = [file for file in fresh_checkout.folder.glob("multirun/**/*") if file.is_file()]
    script, here = f"{fresh_checkout.folder}/run.py".encode(), str(fresh_checkout.folder).encode()
    holding = [file for file in files if here in file.read_bytes().replace(script, b"")]
    assert {file.parent.name for file in holding} == {".hydra"}, "only what Hydra itself writes"

    moved = Checkout(tmp_path / "elsewhere")
    fresh_checkout.folder.rename(moved.folder)
    second = moved.run(*command, "hydra.sweeper.n_trials=3")
    assert second.returncode == 0, second.stderr
    assert "2 of 3 trials have ended" in second.stdout
    assert not fresh_checkout.folder.exists(), "nothing is written to where it was"
    runs = read_runs(moved)
    assert len(runs) == 4
    assert [run.info.run_id for run in runs if PARENT_TAG not in run.data.tags] == [parent]
    assert all(run.info.artifact_uri.startswith(str(moved.folder)) for run in runs)
    assert not [name for run in runs for name, text in run.data.params.items() if str(tmp_path) in text]


@pytest.mark.slow
def test_a_yaml_edited_during_a_multirun_changes_no_later_job(fresh_checkout, tiny):
    process = fresh_checkout.start("-m", "seed=0,1", *tiny, "tracking=none")
    wait_for(process, fresh_checkout.folder, "multirun/*/0/result.json")
    file = fresh_checkout.folder / "conf/optimizer/adamw.yaml"
    file.write_text(
        file.read_text() + "\nweight_decay: 0.5\n"
        if "weight_decay" not in file.read_text()
        else re.sub("weight_decay: .*", "weight_decay: 0.5", file.read_text())
    )
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    first, second = (record["params"] for record in read_results(fresh_checkout))
    assert {key for key in first if first[key] != second[key]} == {"seed"}


@pytest.mark.slow
def test_a_grid_that_failed_by_a_bad_file_heals_by_the_same_command(fresh_checkout):
    for name in "ab":
        (fresh_checkout.folder / f"{name}.csv").write_text(
            "text,label\n"
            + "".join(
                f"{word} {number},{label}\n"
                for number in range(60)
                for word, label in (("good", "pos"), ("bad", "neg"))
            )
        )
    whole = (fresh_checkout.folder / "b.csv").read_text()
    (fresh_checkout.folder / "b.csv").write_text(whole + "a row without a label\n")
    command = (
        "-m", "model=ngram", "data=files", "data.path=a.csv,b.csv", "hydra/sweeper=study", "hydra/sweeper/sampler=grid",
        "hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=2", "hydra.sweeper.study_name=files",
        "hydra.sweep.dir=multirun/files", "hydra.sweeper.max_failure_rate=0.5", "hydra.sweeper.direction=maximize",
    )  # fmt: skip
    broken = fresh_checkout.run(*command)
    assert broken.returncode == 1, "the sweep is not whole"
    (fresh_checkout.folder / "b.csv").write_text(whole)
    healed = fresh_checkout.run(*command)
    assert healed.returncode == 0, healed.stderr
    states = [record["status"] for record in read_results(fresh_checkout)]
    assert states.count("FINISHED") == 2


@pytest.mark.slow
def test_a_study_takes_over_equal_results_of_another(fresh_checkout):
    command = (
        "-m", "model=ngram", "hydra/sweeper=study", "hydra/sweeper/sampler=grid", "hydra/sweeper/pruner=none",
        "hydra.sweeper.direction=maximize", "hydra.sweeper.n_jobs=1", "data.train_size=200", "data.test_size=60",
    )  # fmt: skip
    first = fresh_checkout.run(*command, "hydra.sweep.dir=multirun/one", "model.max_n=1,2")
    assert first.returncode == 0, first.stderr
    second = fresh_checkout.run(*command, "hydra.sweep.dir=multirun/two", "model.max_n=1,2,3")
    assert second.returncode == 0, second.stderr
    assert second.stdout.count("not run again") == 2
    assert "3 finished" in second.stdout
    records = {name: {} for name in ("one", "two")}
    for name in records:
        for file in fresh_checkout.folder.glob(f"multirun/{name}/*/result.json"):
            record = asdict(read_result(file))
            assert record["job_number"] == int(file.parent.name)
            records[name][record["params"]["model.max_n"]] = record
    for key, record in records["one"].items():
        assert records["two"][key]["metrics"] == record["metrics"]
        assert records["two"][key]["run_id"] == record["run_id"], "the run in MLflow is the one that was trained"
    assert set(records["two"]) == {"1", "2", "3"}
