"""A study on a database server: four worker processes, five hundred trials, each run exactly once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import optuna
import pytest

from sentiment.search.storage.opening import close_storage, open_storage

APP = Path(__file__).parents[1] / "toy" / "app.py"
TRIALS = 500


@pytest.mark.slow
@pytest.mark.postgresql
@pytest.mark.timeout(900)
def test_four_workers_run_five_hundred_trials_on_postgresql_once_each(
    postgresql_url: str, tmp_path: Path, project_dir: Path
):
    mark = tmp_path / "mark.txt"
    command = [
        sys.executable, str(APP), "-m", "hydra/sweeper=study", "hydra/sweeper/sampler=random", "x=interval(-5,5)",
        "y=interval(-5,5)", f"hydra.sweeper.storage='{postgresql_url}'", "hydra.sweeper.study_name=five_hundred",
        f"hydra.sweeper.n_trials={TRIALS}", "hydra.sweeper.n_jobs=2", f"mark={mark}",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(project_dir)}
    commands = [
        subprocess.Popen(
            [*command, f"hydra.sweep.dir={tmp_path}/sweep"], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]  # two commands of two workers, as from two machines that share the server
    outputs = [process.communicate()[0] for process in commands]
    assert [process.returncode for process in commands] == [0, 0], outputs

    starts = Counter(int(line.split()[0]) for line in mark.read_text().splitlines())
    assert starts == Counter(range(TRIALS)), "every trial ran exactly once"
    storage = open_storage(postgresql_url, tmp_path)
    try:
        study = optuna.load_study(study_name="five_hundred", storage=storage)
        states = Counter(trial.state.name for trial in study.trials)
        owners = {trial.system_attrs["study:owner"] for trial in study.trials}
    finally:
        close_storage(storage)
    assert states == {"COMPLETE": TRIALS}
    assert len(owners) == 2, "both commands took part"
