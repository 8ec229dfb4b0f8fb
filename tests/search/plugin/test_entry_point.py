"""Where this package is installed, any Hydra application has the sweeper without a line of code."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

PLUGINS = importlib.metadata.entry_points(group="hydra.plugins")

pytestmark = pytest.mark.skipif(
    not any(plugin.value.startswith("sentiment.") for plugin in PLUGINS),
    reason="the package is not installed, or its installation is older than its entry points: pip install -e .",
)

APPLICATION = """
import sys
import hydra

@hydra.main(config_path=None)
def main(config):
    return (config.x - 1) ** 2

main()
heavy = {"optuna", "torch", "lightning", "mlflow", "pydantic", "pandas"}
print("imported", *sorted({name.partition(".")[0] for name in sys.modules} & heavy))
"""

RESTORED = """
import copy, sys
import hydra
from hydra import compose, initialize
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.global_hydra import GlobalHydra
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path

if sys.argv[1] == "register":
    import sentiment.search
    sentiment.search.register()
else:
    Plugins.instance()  # Hydra's own launchers are lost too where a state is kept before it has looked for plugins

def run(number):
    GlobalHydra.instance().clear()
    application = Hydra.create_main_hydra2("application", create_config_search_path(None))
    options = ["hydra/sweeper=study", "hydra/sweeper/pruner=median", "+x=choice(0,1)"]
    options += [f"hydra.sweep.dir=study-{number}"]
    options += ["hydra.sweeper.n_trials=1", "hydra.sweeper.n_jobs=1", "hydra.sweeper.progress=none"]
    application.multirun(None, lambda config: config.x, options, with_log_configuration=False)

for number in range(3):  # what the fixture `hydra_restore_singletons` does around each test
    state = copy.deepcopy(Singleton.get_state())
    run(number)
    Singleton.set_state(state)
GlobalHydra.instance().clear()
with initialize(config_path=None, version_base=None):
    config = compose(overrides=["hydra/sweeper=study"], return_hydra_config=True)
print(config.hydra.sweeper._target_, config.hydra.sweeper.pruner._target_)
"""


def run_python(folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    file = folder / "application.py"
    file.write_text(code, encoding="utf-8")
    command = [sys.executable, "-W", "error:::hydra", str(file), *arguments]
    environment = {"HOME": str(folder), "PATH": "/usr/bin:/bin"}  # no PYTHONPATH: it is the installation that counts
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=180, check=False
    )


@pytest.mark.slow
def test_another_application_has_the_sweeper_without_a_line(tmp_path: Path):
    study = ["-m", "hydra/sweeper=study", "hydra.sweep.dir=study", "hydra.sweeper.n_jobs=1"]
    done = run_python(tmp_path, APPLICATION, *study, "+x=choice(0,1,2)", "hydra/sweeper/sampler=grid")
    assert done.returncode == 0, done.stderr
    results = OmegaConf.load(tmp_path / "study" / "optimization_results.yaml")
    assert results == {"name": "optuna", "best_params": {"+x": 1}, "best_value": 0.0}


def test_an_application_that_does_not_search_imports_nothing_heavy(tmp_path: Path):
    done = run_python(tmp_path, APPLICATION, "+x=1")
    assert (done.returncode, done.stdout.splitlines()) == (0, ["imported"]), done.stderr


@pytest.mark.parametrize("way", ["register", "entry point"])
@pytest.mark.slow
def test_it_survives_a_change_of_hydras_singletons(tmp_path: Path, way: str):
    done = run_python(tmp_path, RESTORED, way)
    assert done.returncode == 0, done.stderr
    sweeper = "sentiment.search.plugin.sweeper.StudySweeper"
    assert done.stdout.splitlines()[-1] == f"{sweeper} optuna.pruners.NopPruner"
    assert all((tmp_path / f"study-{number}" / "optimization_results.yaml").exists() for number in range(3))
