"""Real training under Hydra's official launchers: recorded as anywhere else, resumed where it was stopped."""

from __future__ import annotations

import importlib.util
import os
import signal
import time

import optuna
import pytest
from mlflow import MlflowClient

from sentiment.search.storage.opening import open_storage
from sentiment.search.study.trial import JOB_KEY

PARENT_TAG = "mlflow.parentRunId"

PLUGINS = {"joblib": "hydra_joblib_launcher", "ray": "hydra_ray_launcher", "submitit_local": "hydra_submitit_launcher"}

SETTINGS = {
    "joblib": ["hydra.launcher.n_jobs=2"],
    "ray": [f"+hydra.launcher.ray.init.{option}" for option in ("include_dashboard=false", "num_cpus=2")],
    "submitit_local": [],
}

pytestmark = pytest.mark.slow


def launch_with(launcher: str) -> list[str]:
    if importlib.util.find_spec(f"hydra_plugins.{PLUGINS[launcher]}") is None:
        pytest.skip(f"the extra that brings hydra/launcher={launcher} is not installed")
    return [f"hydra/launcher={launcher}", *SETTINGS[launcher]]


def read_family(checkout):
    """The parent run and its children."""
    client = MlflowClient(tracking_uri=checkout.store)
    runs = client.search_runs([client.get_experiment_by_name("sentiment").experiment_id])
    [parent] = [run for run in runs if PARENT_TAG not in run.data.tags]
    children = [run for run in runs if run.data.tags.get(PARENT_TAG) == parent.info.run_id]
    assert len(children) == len(runs) - 1
    return parent, children


@pytest.mark.parametrize("launcher", list(PLUGINS))
def test_a_grid_is_recorded_under_one_parent(launcher, fresh_checkout, tiny):
    result = fresh_checkout.run("-m", *launch_with(launcher), *tiny, "model=transformer,rnn")
    assert result.returncode == 0, result.stderr
    parent, children = read_family(fresh_checkout)
    assert parent.info.status == "FINISHED"
    assert [child.info.status for child in children] == ["FINISHED"] * 2
    [multirun] = (fresh_checkout.folder / "multirun").iterdir()  # the jobs agree on the name of the folder
    assert {path.parent.name for path in multirun.glob("*/result.json")} == {"0", "1"}


@pytest.mark.parametrize("launcher", list(PLUGINS))
def test_a_study_is_recorded_under_one_parent(launcher, fresh_checkout, tiny):
    small = [override for override in tiny if not override.startswith(("model.embedding_size", "model.depth"))]
    result = fresh_checkout.run(
        *("-m", *launch_with(launcher), *small, "search=transformer", "hydra.sweeper.n_trials=2")
    )
    assert result.returncode == 0, result.stderr
    parent, children = read_family(fresh_checkout)
    assert parent.info.status == "FINISHED"
    assert [child.info.status for child in children] == ["FINISHED"] * 2
    best = max(child.data.metrics["val/accuracy"] for child in children)
    assert parent.data.metrics["best/val/accuracy"] == best


def test_a_requeued_trial_goes_on_from_its_checkpoint(fresh_checkout, tiny):
    small = [
        item for item in tiny if not item.startswith(("model.embedding_size", "model.depth", "trainer.max_epochs"))
    ]
    command = fresh_checkout.start(
        *("-m", *launch_with("submitit_local"), *small, "search=transformer", "hydra.sweeper.n_trials=1"),
        *("hydra.sweeper.n_jobs=1", "trainer.max_epochs=25", "data.train_size=1000", "hydra.sweep.dir=multirun/study"),
    )
    study_dir = fresh_checkout.folder / "multirun" / "study"
    deadline = time.monotonic() + 120
    while not (study_dir / "0" / "checkpoints" / "last.ckpt").exists():
        assert time.monotonic() < deadline
        assert command.poll() is None, command.communicate()
        time.sleep(0.02)

    def read_trials():
        storage = open_storage(None, study_dir)
        [name] = optuna.get_all_study_names(storage)
        return optuna.load_study(study_name=name, storage=storage).trials

    os.kill(read_trials()[0].system_attrs[JOB_KEY]["pid"], signal.SIGUSR2)  # what submitit sends before a timeout
    output, errors = command.communicate(timeout=250)
    assert command.returncode == 0, errors
    logs = "".join(path.read_text() for path in study_dir.glob("**/*log.*") if path.is_file())
    assert "Requeued job" in logs
    assert "Goes on after epoch" in logs
    [trial] = read_trials()
    assert trial.state.name == "COMPLETE", output
    _, children = read_family(fresh_checkout)
    assert [child.info.status for child in children] == ["FINISHED"]
