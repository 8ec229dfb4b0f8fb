"""How the sweeper becomes known to Hydra, in this application and in any other."""

from __future__ import annotations

import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from sentiment.config.home import PROJECT_DIR

TEN_LINES = """
import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper

class Loud(Sweeper):
    def setup(self, **known): pass
    def sweep(self, arguments): print("swept", arguments)

Plugins.instance().register(Loud)
ConfigStore.instance().store(group="hydra/sweeper", name="loud", node={"_target_": "__main__.Loud"})

@hydra.main(config_path=None)
def main(config): pass

main()
"""

OTHER_APPLICATION = """
import sys
import hydra
import sentiment.search

@hydra.main(config_path=None)
def main(config):
    return (config.x - 1) ** 2

if __name__ == "__main__":
    sentiment.search.register()
    sentiment.search.register()
    main()
    print("imported", *sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "lightning", "mlflow"}))
    print("optuna", "optuna" in sys.modules)
"""


def run_application(folder, code, *overrides):
    file = folder / "application.py"
    file.write_text(code, encoding="utf-8")
    command = [sys.executable, "-W", "error:::hydra", str(file), "hydra.job.chdir=false", *overrides]
    environment = {"PYTHONPATH": str(PROJECT_DIR), "HOME": str(folder), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_hydra_takes_a_sweeper_that_is_registered_from_anywhere(tmp_path):
    done = run_application(tmp_path, TEN_LINES, "-m", "hydra/sweeper=loud", "+x=1,2")
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["swept ['+x=1,2']"]), done.stderr


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.slow
def test_another_application_has_the_sweeper_after_one_call_and_nothing_heavy(tmp_path, jobs):
    study = ["-m", "hydra/sweeper=study", "hydra.sweep.dir=study", f"hydra.sweeper.n_jobs={jobs}"]
    done = run_application(tmp_path, OTHER_APPLICATION, *study, "+x=choice(0,1,2)", "hydra/sweeper/sampler=grid")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["imported", "optuna True"]
    results = OmegaConf.load(tmp_path / "study" / "optimization_results.yaml")
    assert results == {"name": "optuna", "best_params": {"+x": 1}, "best_value": 0.0}


def test_a_command_that_searches_nothing_does_not_load_optuna(tmp_path):
    done = run_application(tmp_path, OTHER_APPLICATION, "+x=1")
    assert (done.returncode, done.stdout.splitlines()[-2:]) == (0, ["imported", "optuna False"]), done.stderr


def test_a_plain_sweep_stays_hydras_grid(tmp_path):
    done = run_application(tmp_path, OTHER_APPLICATION, "-m", "hydra.sweep.dir=grid", "+x=1,2,3")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "optuna False"), done.stderr
    overrides = [OmegaConf.load(tmp_path / "grid" / str(n) / ".hydra" / "overrides.yaml") for n in range(3)]
    assert overrides == [["+x=1"], ["+x=2"], ["+x=3"]]


def test_the_stock_sweeper_stays_the_stock_sweeper(tmp_path):
    stock = ["-m", "hydra/sweeper=optuna", "hydra/sweeper/sampler=random", "hydra.sweep.dir=stock"]
    done = run_application(tmp_path, OTHER_APPLICATION, *stock, "+x=choice(0,1)", "hydra.sweeper.n_trials=2")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "stock" / "optimization_results.yaml").exists()
    assert not (tmp_path / "stock" / "journal.log").exists()
