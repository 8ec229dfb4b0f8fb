"""A group's servers: one for the records and their artifacts, one for the studies; two commands share a study there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy
from mlflow import MlflowClient

from sentiment.search.storage.address import read_address
from sentiment.search.study.history import read_study
from sentiment.tracking.result_file import read_result_of
from tests.end_to_end.conftest import Checkout, make_checkout

pytestmark = pytest.mark.slow

TRIALS = 6

STUDY = (
    "-m", "search=rnn", "hydra.sweeper.study_name=shared", f"hydra.sweeper.n_trials={TRIALS}", "hydra.sweeper.n_jobs=1",
    "hydra.sweeper.params={model.embedding_size: '8,16', optimizer.lr: 'tag(log,interval(1e-3,1e-2))'}",
    "trainer.max_epochs=3", "tracking.log_model=true",
)  # fmt: skip


@pytest.fixture
def servers() -> tuple[str, str]:
    """The addresses that tests/servers.sh gives: of the records and of the studies."""
    if "SENTIMENT_TEST_MLFLOW" not in os.environ:
        pytest.skip(
            "no servers: run `bash tests/servers.sh python -m pytest -n 0 -m slow tests/end_to_end/test_servers.py`"
        )
    return os.environ["SENTIMENT_TEST_MLFLOW"], os.environ["SENTIMENT_TEST_STUDIES"]


def run_module(checkout: Checkout, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "sentiment", *arguments],
        cwd=checkout.folder,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def search(folder: Path, secret: bytes) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and secret in file.read_bytes()]


def search_database(url: str, secret: str) -> tuple[int, int]:
    """Return how many rows a database has, and how many of them hold a secret."""
    engine = sqlalchemy.create_engine(read_address(url, Path()).connection_url)
    try:
        with engine.connect() as connection:
            rows = [
                repr(tuple(row))
                for table in sqlalchemy.inspect(engine).get_table_names()
                for row in connection.execute(sqlalchemy.text(f'SELECT * FROM "{table}"'))
            ]
    finally:
        engine.dispose()
    return len(rows), sum(secret in row for row in rows)


def test_two_commands_share_a_study_and_another_machine_reads_it(servers, tiny, tmp_path):
    records, studies = servers
    here = make_checkout(tmp_path / "here")
    small = [item for item in tiny if not item.startswith(("model.embedding_size", "trainer.max_epochs", "tracking"))]
    command = (*small, *STUDY, f"tracking.uri={records}", f"hydra.sweeper.storage={studies}")
    commands = [here.start(*command) for _ in range(2)]
    outputs = [process.communicate(timeout=280) for process in commands]
    assert [process.returncode for process in commands] == [0, 0], outputs

    study_dir = here.folder / "multirun/shared"
    trials = read_study(studies, study_dir).trials
    assert [trial.number for trial in trials] == list(range(TRIALS))
    assert {trial.state for trial in trials} == {"complete", "pruned"}
    client = MlflowClient(records)
    runs = client.search_runs([client.get_experiment_by_name("sentiment").experiment_id])
    [parent] = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run is not parent]
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert Counter(int(child.data.tags["job"]) for child in children) == Counter(range(TRIALS)), "each once"
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["trials"] == str(TRIALS)
    for child in children:
        record = read_result_of(study_dir / child.data.tags["job"])
        assert record is not None
        assert record.run_id == child.info.run_id
        assert child.info.artifact_uri.startswith("mlflow-artifacts:/")
        epochs = client.get_metric_history(child.info.run_id, "val/accuracy")
        assert [point.step for point in epochs] == sorted({point.step for point in epochs}), "each epoch once"

    said = run_module(here, "report", "shared")
    said += run_module(here, "best", "shared")
    model = f"models:/{client.search_registered_models()[0].name}@champion"
    study_dir.rename(tmp_path / "taken")  # from here on the servers alone have it
    there = make_checkout(tmp_path / "there")
    predicted = run_module(there, "predict", "--tracking-uri", records, "--model", model, "Not a dull moment.")
    assert "Not a dull moment." in predicted
    report = run_module(there, "report", parent.info.run_id, "--tracking-uri", records)
    best = max(child.data.metrics["val/accuracy"] for child in children)
    assert f"{100 * best:.2f} %" in report

    password = Path(os.environ["SENTIMENT_STORAGE_PASSWORD_FILE"]).read_text().strip()
    said += predicted + report + "".join(map(str, outputs))
    assert password not in said
    assert search(tmp_path, password.encode()) == []
    for url in (studies, studies.replace("/studies", "/records")):
        rows, found = search_database(url, password)
        assert rows > 50
        assert found == 0
