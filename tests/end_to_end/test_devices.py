"""A run on two devices, as one command: one folder and one MLflow run, alone, in a multirun and in a study."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from sentiment.search.study.history import read_study

pytestmark = pytest.mark.slow

TWO = ("model=rnn", "model.dropout=0", "trainer.devices=2", "trainer.patience=null")


def read_runs(checkout):
    client = MlflowClient(checkout.store)
    (experiment,) = client.search_experiments(filter_string="name != 'Default'")
    return client.search_runs([experiment.experiment_id])


def read_metrics(folder: Path) -> dict[str, float]:
    metrics = json.loads((folder / "result.json").read_text())["metrics"]
    return {name: value for name, value in metrics.items() if not name.startswith("time/")}


def list_replicas(checkout) -> list[int]:
    """List the replicas that the commands of a checkout have started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:
            continue
        if b"training.replicas" in command and str(checkout.folder).encode() in environment:
            found.append(int(process.name))
    return found


def wait_until(holds, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_alone_and_in_a_multirun_two_devices_give_the_numbers_of_one(fresh_checkout, tiny):
    sweep = fresh_checkout.folder / "multirun" / "sweep"
    result = fresh_checkout.run("-m", *tiny, *TWO, "seed=0,1", f"hydra.sweep.dir={sweep}")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 finished" in result.stdout
    runs = read_runs(fresh_checkout)
    assert len(runs) == 3, "two jobs and their parent: no replica has started a sweep"
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert [run.data.params["trainer.devices"] for run in runs if "job" in run.data.tags] == ["2", "2"]
    assert [folder.name for folder in (fresh_checkout.folder / "multirun").iterdir()] == ["sweep"]

    alone = fresh_checkout.folder / "multirun" / "alone"
    result = fresh_checkout.run(*tiny, *TWO, "trainer.devices=1", "seed=1", f"hydra.run.dir={alone}")
    assert result.returncode == 0, result.stdout + result.stderr
    for name, value in read_metrics(alone).items():
        assert read_metrics(sweep / "1")[name] == pytest.approx(value, abs=1e-3 if "auroc" in name else 1e-5), name
    assert read_metrics(sweep / "0") != read_metrics(sweep / "1")
    assert list_replicas(fresh_checkout) == []


def test_a_study_of_runs_on_two_devices_survives_a_kill(fresh_checkout, tiny):
    study_dir = fresh_checkout.folder / "multirun" / "pairs"
    command = (
        "-m", "search=study", *tiny, *TWO, "hydra.sweeper.study_name=pairs", "hydra/sweeper/pruner=none",
        "optimizer.lr=tag(log,interval(1e-3,1e-2))", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1",
        "trainer.max_epochs=6",
    )  # fmt: skip
    process = fresh_checkout.start(*command)
    wait_until(lambda: list(study_dir.glob("*/checkpoints/last.ckpt")) or process.poll() is not None, 200)
    assert len(list_replicas(fresh_checkout)) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    wait_until(lambda: not list_replicas(fresh_checkout), 60)

    result = fresh_checkout.run(*command)
    assert result.returncode == 0, result.stdout + result.stderr
    assert [trial.state for trial in read_study(None, study_dir).trials] == ["complete", "complete"]
    logs = "".join(file.read_text() for file in study_dir.glob("*/*.log"))
    assert "Goes on after epoch" in logs
    runs = [run for run in read_runs(fresh_checkout) if "job" in run.data.tags]
    assert sorted((run.data.tags["job"], run.info.status) for run in runs) == [("0", "FINISHED"), ("1", "FINISHED")]
    assert sorted(path.parent.name for path in study_dir.glob("*/result.json")) == ["0", "1"]


def test_a_study_gives_every_trial_the_same_devices(fresh_checkout, tiny):
    result = fresh_checkout.run("-m", "search=study", *tiny, "model=rnn", "trainer.devices=1,2")
    assert result.returncode == 1
    assert "every trial of the study is given 1 (hydra.sweeper.devices_per_trial)" in result.stderr
    result = fresh_checkout.run("-m", "search=rnn", *tiny, *TWO, "hydra.sweeper.devices=[0]", "model.embedding_size=8")
    assert result.returncode == 1
    assert "a trial needs 2 GPUs, and there are 1" in result.stderr


def test_ctrl_c_ends_all_and_the_run_goes_on(fresh_checkout, tiny):
    folder = fresh_checkout.folder / "multirun" / "run"
    command = (*tiny, *TWO, "tracking=none", "trainer.max_epochs=8", f"hydra.run.dir={folder}")
    process = fresh_checkout.start(*command)
    wait_until((folder / "checkpoints" / "last.ckpt").exists, 200)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT, output + errors
    assert "goes on after its last whole epoch" in output
    assert list_replicas(fresh_checkout) == []
    result = fresh_checkout.run(*command)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Goes on after epoch" in result.stdout
    assert len(list(folder.rglob("result.json"))) == 1
