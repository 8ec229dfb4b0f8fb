"""Samplers of OptunaHub, from a registry in a folder: what is fetched is code, and a person has to name it."""

from __future__ import annotations

import pytest

from sentiment.errors import ConfigError
from sentiment.search.plugin.sweeper import StudyEndedError
from sentiment.search.space import hub

CODE = """
from optuna.samplers import BaseSampler, RandomSampler

class CornerSampler(RandomSampler):
    def __init__(self, corner=1.0, seed=None):
        super().__init__(seed)
        self.corner = corner

    def sample_independent(self, study, trial, name, distribution):
        return self.corner

__all__ = ["CornerSampler"]
"""


@pytest.fixture
def registry(tmp_path):
    pytest.importorskip("optunahub")
    folder = tmp_path / "registry" / "samplers" / "corner"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(CODE)
    return tmp_path / "registry"


COMMAND = ("x=interval(-5,5)", "hydra/sweeper/sampler=hub", "hydra.sweeper.n_trials=2")
PACKAGE = "hydra.sweeper.sampler.package=samplers/corner"


def test_a_sampler_of_a_package_draws_with_its_options(sweep, registry):
    where = f"hydra.sweeper.sampler.registry={registry}"
    study = sweep(*COMMAND, PACKAGE, where, "+hydra.sweeper.sampler.corner=2.5", task=lambda config: config.x)
    assert [trial.params["x"] for trial in study.trials] == [2.5, 2.5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], r"sampler\.package: decides which code runs, and is not on the command line"),
        ([PACKAGE], r"sampler\.ref: is None, which is no commit"),
        ([PACKAGE, "hydra.sweeper.sampler.ref=main"], r"sampler\.ref: is 'main', which is no commit"),
        ([PACKAGE, "hydra.sweeper.sampler.registry=/nowhere"], r"samplers/corner cannot be loaded"),
    ],
)
def test_what_does_not_say_which_code_runs_is_refused(sweep, study_dir, options, message):
    pytest.importorskip("optunahub")
    with pytest.raises(StudyEndedError, match=message):
        sweep(*COMMAND, *options)
    assert not study_dir.exists()


def test_a_package_that_cannot_be_fetched_may_come_from_a_folder(monkeypatch):
    optunahub = pytest.importorskip("optunahub")

    def fetch(*arguments, **options):
        raise RuntimeError("git fetch\n  stderr: 'fatal: unable to access'")

    monkeypatch.setattr(optunahub, "load_module", fetch)
    with pytest.raises(ConfigError, match=r"\(stderr: 'fatal: unable to access'\)\n.*sampler\.registry=FOLDER"):
        hub.build_hub_sampler("samplers/unfetched", "0" * 40)


def test_another_class_or_option_is_refused_with_what_there_is(sweep, registry):
    where = f"hydra.sweeper.sampler.registry={registry}"
    with pytest.raises(StudyEndedError, match="is 'Corner', and samplers/corner has CornerSampler"):
        sweep(*COMMAND, PACKAGE, where, "hydra.sweeper.sampler.name=Corner")
    with pytest.raises(StudyEndedError, match="unexpected keyword argument 'edge'"):
        sweep(*COMMAND, PACKAGE, where, "+hydra.sweeper.sampler.edge=1")


def test_without_the_package_it_is_said_how_to_get_it(sweep, monkeypatch):
    monkeypatch.setattr(hub.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(StudyEndedError, match=r"pip install -e '\.\[hub\]'"):
        sweep(*COMMAND, PACKAGE)


LEARNING = """
from optuna.samplers import RandomSampler

class LearningSampler(RandomSampler):
    told = 0

    def sample_independent(self, study, trial, name, distribution):
        return float(self.told)

    def after_trial(self, study, trial, state, values):
        self.told += 1
"""


@pytest.mark.parametrize("constraints", ["[]", "['x < 5']"])
def test_what_a_sampler_keeps_in_memory_lasts_as_long_as_the_command(sweep, registry, constraints, caplog):
    caplog.set_level("INFO")
    (registry / "samplers" / "corner" / "__init__.py").write_text(LEARNING)
    where, limits = f"hydra.sweeper.sampler.registry={registry}", f"hydra.sweeper.constraints={constraints}"
    options = ("x=interval(-5,5)", "hydra/sweeper/sampler=hub", PACKAGE, where, limits)
    study = sweep(*options, "hydra.sweeper.n_trials=3", task=lambda config: config.x)
    assert [trial.params["x"] for trial in study.trials] == [0, 1, 2]
    assert "begins anew" not in caplog.text
    study = sweep(*options, "hydra.sweeper.n_trials=5", task=lambda config: config.x)
    assert [trial.params["x"] for trial in study.trials] == [0, 1, 2, 0, 1]
    assert caplog.text.count("what it kept in memory alone begins anew") == 1
