"""A study under the name of this one that another program has made in the storage."""

from __future__ import annotations

import json

import optuna
import pytest

from sentiment.search.plugin.sweeper import StudyEndedError

OPTIONS = ("x=interval(-5,5)", "y=2", "hydra.sweeper.study_name=shared", "hydra.sweeper.n_trials=4")


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'shared.db'}"


@pytest.fixture
def make_foreign(url):
    def make(trials=0, **directions):
        study = optuna.create_study(storage=url, study_name="shared", **directions)
        study.optimize(lambda trial: trial.suggest_float("x", -4, 5) ** 2, n_trials=trials)
        return study

    return make


@pytest.mark.parametrize("is_dry", [False, True])
def test_trials_of_which_nobody_knows_the_settings_are_not_gone_on_with(sweep, make_foreign, url, study_dir, is_dry):
    foreign = make_foreign(trials=3)
    dry = [f"hydra.sweeper.dry_run={str(is_dry).lower()}", "hydra.sweeper.allow_changes=true"]
    with pytest.raises(StudyEndedError, match="'shared' has trials of another program") as caught:
        sweep(*OPTIONS, *dry, storage=url)
    assert "hydra.sweeper.study_name=shared_2" in str(caught.value)
    assert "hydra.sweeper.prior=FOLDER" in str(caught.value)
    assert len(foreign.trials) == 3
    assert foreign.metric_names is None
    assert not (study_dir / "study.json").exists()


def test_another_study_learns_from_them(sweep, make_foreign, url, study_dir):
    """As the refusal says."""
    make_foreign(trials=3)
    learned = study_dir.parent / "foreign"
    learned.mkdir()
    (learned / "study.json").write_text(json.dumps({"study_name": "shared", "storage": url}))
    study = sweep("x=interval(-5,5)", "y=1", "hydra.sweeper.n_trials=2", "hydra.sweeper.prior=foreign")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 2


@pytest.mark.parametrize("is_dry", [False, True])
@pytest.mark.parametrize("directions", [["maximize"], ["minimize", "minimize"]])
def test_a_study_that_another_way_is_better_is_refused_though_it_is_empty(sweep, make_foreign, url, directions, is_dry):
    foreign = make_foreign(directions=directions)
    options = ["hydra.sweeper.metric_names=[loss]", "hydra.sweeper.allow_changes=true"]
    with pytest.raises(StudyEndedError) as caught:
        sweep(*OPTIONS, *options, f"hydra.sweeper.dry_run={str(is_dry).lower()}", storage=url)
    assert f"directions: stored {directions}, now ['minimize']" in str(caught.value)
    assert (foreign.trials, foreign.metric_names) == ([], None)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_study_without_trials_is_a_new_one(sweep, make_foreign, url):
    """As one is whose command was killed before it had written what the study is about."""
    make_foreign().set_metric_names(["error"])
    for count in (2, 4):
        study = sweep(*OPTIONS, "hydra.sweeper.metric_names=[loss]", f"hydra.sweeper.n_trials={count}", storage=url)
        assert len(study.trials) == count
        assert study.metric_names == ["loss"]
