"""What an earlier version stored is still read: its MLflow store, its multiruns, and a study that it left unfinished.

``stores.tar.xz`` was made by commit c303df3, the last one before the packages were divided into rooms, all of it with
``data.train_size=120 data.test_size=20 data.max_tokens=32 data.batch_size=16 trainer.threads=1`` and with every place
under ``/tmp/sentiment-before``::

    python run.py -m search=transformer SPACE hydra.sweeper.n_trials=3 hydra.sweeper.n_jobs=1 trainer.max_epochs=2 \
        hydra.sweeper.study_name=finished hydra.sweep.dir=.../multirun/finished
    python run.py -m model=transformer,rnn model.embedding_size=8 trainer.max_epochs=1 \
        hydra.sweep.dir=.../multirun/plain
    python run.py -m search=transformer SPACE hydra.sweeper.n_trials=2 hydra.sweeper.n_jobs=1 trainer.max_epochs=12 \
        hydra/sweeper/pruner=none hydra.sweeper.study_name=interrupted hydra.sweep.dir=.../multirun/interrupted

where SPACE is ``model.embedding_size=8,16 model.heads=1,2 model.depth=1 'optimizer.lr=tag(log,interval(3e-4,1e-2))'``.
The last command was killed (SIGKILL) in its second trial, between the validation of its fourth epoch and the
checkpoint of it. Pictures, reports, and the copies of the
package in the logged models were left out.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from sentiment.__main__ import main
from sentiment.config import home

ARCHIVE = Path(__file__).with_name("stores.tar.xz")

MADE_AT = "/tmp/sentiment-before"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Unpack the stores in another place; what they tell of their own places is corrected, in files and database."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    for file in tmp_path.rglob("*"):
        if file.is_file() and file.suffix not in (".db", ".ckpt", ".safetensors", ".npz", ".png"):
            file.write_bytes(file.read_bytes().replace(MADE_AT.encode(), str(tmp_path).encode()))
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        for table, column in [
            ("experiments", "artifact_location"), ("runs", "artifact_uri"), ("params", "value"), ("tags", "value"),
            ("logged_models", "artifact_location"),
        ]:  # fmt: skip
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (MADE_AT, str(tmp_path)))
    return tmp_path


def test_a_study_is_reported(store: Path, capsys: pytest.CaptureFixture[str]):
    main(["report", str(store / "multirun" / "finished")])
    told = capsys.readouterr().out
    assert "3 trials: 3 complete" in told
    assert (store / "multirun" / "finished" / "report" / "report.html").is_file()


def test_a_plain_multirun_is_reported_and_compared(store: Path, capsys: pytest.CaptureFixture[str]):
    folder = str(store / "multirun" / "plain")
    main(["report", folder])
    assert "2 trials" in capsys.readouterr().out
    main(["compare", folder, "--metric", "test/accuracy"])
    assert "transformer" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["finished", "plain"])
def test_a_sweep_is_reported_from_mlflow_alone(name: str, store: Path, capsys: pytest.CaptureFixture[str]):
    parent = json.loads((store / "multirun" / name / "parent_run.json").read_text())["run_id"]
    (store / "multirun").rename(store / "elsewhere")
    output = store / "report"
    main(["report", parent, "--tracking-uri", f"sqlite:///{store}/mlflow.db", "--output", str(output)])
    assert "complete" in capsys.readouterr().out
    assert (output / "report.html").is_file()


def test_the_best_trial_becomes_an_experiment(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, project_dir: Path
):
    shutil.copytree(project_dir / "conf", store / "conf")  # other tests read the checkout's meanwhile
    monkeypatch.setattr(home, "PROJECT_DIR", store)
    main(["best", str(store / "multirun" / "finished"), "--name", "before"])
    told = capsys.readouterr().out
    assert (store / "conf" / "experiment" / "before.yaml").is_file()
    assert "rank 1 of 3" in told
    assert "as champion" in told


@pytest.mark.parametrize("model", ["multirun/finished/0", "multirun/plain/1"])
def test_a_model_predicts(model: str, store: Path, capsys: pytest.CaptureFixture[str]):
    main(["predict", "--model", str(store / model), "Not a dull moment.", "I never laughed."])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3


def test_a_model_predicts_from_mlflow(store: Path, capsys: pytest.CaptureFixture[str]):
    run_id = json.loads((store / "multirun" / "finished" / "0" / "result.json").read_text())["run_id"]
    uri = f"sqlite:///{store}/mlflow.db"
    (store / "multirun").rename(store / "elsewhere")
    main(["predict", "--model", run_id, "--tracking-uri", uri, "A fine film."])
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.slow
def test_an_interrupted_study_goes_on_from_its_checkpoint(store: Path, project_dir: Path):
    """The same command: the finished trial counts, the other goes on in its fourth epoch, in the same MLflow run."""
    folder = store / "multirun" / "interrupted"
    run_id = json.loads((folder / "1" / "result.json").read_text())["run_id"]
    command = [
        "-m", "search=transformer", "model.embedding_size=8,16", "model.heads=1,2", "model.depth=1",
        "optimizer.lr=tag(log,interval(3e-4,1e-2))", "data.train_size=120", "data.test_size=20", "data.max_tokens=32",
        "data.batch_size=16", "trainer.threads=1", f"data.cache_dir={store}/cache",
        f"tracking.uri=sqlite:///{store}/mlflow.db", f"tracking.artifact_dir={store}/mlartifacts",
        f"tracking.tensorboard_dir={store}/tb", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1",
        "hydra.sweeper.study_name=interrupted", f"hydra.sweep.dir={folder}", "trainer.max_epochs=12",
        "hydra/sweeper/pruner=none",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "run.py", *command], cwd=project_dir, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr
    log = (folder / "1" / "run.log").read_text()
    assert "Goes on after epoch 3" in log, log
    record = json.loads((folder / "1" / "result.json").read_text())
    assert (record["status"], record["run_id"]) == ("FINISHED", run_id)
    assert [point["epoch"] for point in record["history"]] == [1, 2, 3, 4, 5], "patience ends it one epoch later"
    assert log.count("epoch 3 ") == 1, "the earlier attempt made this epoch, and it is not made again"
    with sqlite3.connect(store / "mlflow.db") as database:
        (status,) = database.execute("SELECT status FROM runs WHERE run_uuid = ?", (run_id,)).fetchone()
        children = database.execute("SELECT count(*) FROM runs").fetchone()
        parent = json.loads((folder / "parent_run.json").read_text())["run_id"]
        tags = dict(database.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (parent,)).fetchall())
    assert status == "FINISHED"
    assert children == (10,), "no second MLflow run of the same trial"
    assert tags["trials"] == tags["trials.complete"] == "2"
    assert not any(name.startswith("jobs") for name in tags), "what the earlier version wrote is gone"


def test_the_store_alone_tells_of_each_run_what_its_folder_tells(store: Path):
    from sentiment.tracking.mlflow.read import read_record  # imports mlflow
    from sentiment.tracking.result_file import read_results

    records = [record for sweep in ("finished", "plain") for record in read_results(store / "multirun" / sweep)[0]]
    assert len(records) == 5
    for record in records:
        fetched = read_record(f"sqlite:///{store}/mlflow.db", str(record.run_id))
        apart = {"name": "", "started": "", "test_reviews": None}  # a path in the name; seconds apart; in no tag
        assert replace(fetched, **apart) == replace(record, **apart)
