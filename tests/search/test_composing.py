"""The quick way to compose a job gives what Hydra's own way gives."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf

from sentiment.search.application import freeze
from sentiment.search.composer import Composer

TOY = Path(__file__).parent / "toy" / "conf"


def make_composer(config_dir: Path, *fixed: str) -> Composer:
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    study = hydra.compose_config(config_name="config", overrides=list(fixed), run_mode=RunMode.MULTIRUN)
    context = freeze(HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks()))
    return Composer(context.config_loader, study, ignored=["seconds"])


@pytest.fixture
def composer() -> Iterator[Composer]:
    with initialize_config_dir(str(TOY)):
        yield make_composer(TOY)


@pytest.fixture
def real(project_dir: Path) -> Iterator[Composer]:
    with initialize_config_dir(str(project_dir / "conf")):
        yield make_composer(project_dir / "conf")


def test_a_study_takes_typed_interpolations_as_they_are_typed(sweep, study_dir, tmp_path):
    """The storage's password is hidden among Hydra's own words: there, before any job, it has no number."""
    lines = ("x=${.y}", "y=choice(1,2)", "hydra.sweep.subdir=at_${hydra:job.num}", "hydra.sweeper.n_trials=${.repeats}")
    study = sweep(*lines, "hydra.sweeper.repeats=2", storage=f"sqlite:///{tmp_path}/study.db")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE"]
    assert {trial.value for trial in study.trials} <= {2, 8}
    assert {folder.name for folder in study_dir.glob("at_*")} == {f"at_{number}" for number in range(4)}


def as_plain(config: DictConfig) -> str:
    return OmegaConf.to_yaml(config)  # text: NaN differs from itself


@pytest.mark.parametrize(
    "overrides",
    [
        ["x=2.5"],
        ["x=2.5", "x=3.5"],
        ["shape=round", "shape.sides=5", "x=1e-5"],
        ["shape.sides=5", "shape=round"],
        ["+extra=1", "x=2"],
        ["++extra.deep=[1,2]", "x=null"],
        ["~seed", "x=2"],
        ["mark='a, b = c'", "accident=nan"],
        ["mark=${accident}"],
        ["hydra.job.name=other", "x=3"],
    ],
    ids=" ".join,
)
def test_both_ways_agree_on_every_kind_of_override(composer: Composer, overrides: list[str]):
    assert as_plain(composer.compose(overrides)) == as_plain(composer.compose_slowly(overrides))
    # the second time, from what the first one kept
    assert as_plain(composer.compose(overrides)) == as_plain(composer.compose_slowly(overrides))


PIECES = [
    "a=5",
    "++a=6",
    "l=[8]",
    "l=extend_list(3)",
    "d={p:9}",
    "d.p=7",
    "++d={p:3}",
    "++d.r=4",
    "~d.q",
    "kind=two",
    "kind={t: 1}",
    "kind.t=5",
]


@pytest.mark.filterwarnings("ignore:extend_list")
def test_both_ways_agree_on_every_order_of_overrides(tmp_path: Path):
    (tmp_path / "kind").mkdir()
    (tmp_path / "config.yaml").write_text("defaults: [_self_, {kind: one}]\na: 1\nl: [9]\nd: {p: 1, q: 2}\n")
    for name in ("one", "two"):
        (tmp_path / "kind" / f"{name}.yaml").write_text(f"# @package _global_\nd: {{s: {name}}}\nkind: {{t: 0}}\n")

    def attempt(compose, overrides):
        try:
            return as_plain(compose(overrides))
        except HydraException as error:
            return str(error)

    with initialize_config_dir(str(tmp_path)):
        composer = make_composer(tmp_path)
        for overrides in [*permutations(PIECES, 2), *permutations(PIECES[4:8], 3)]:
            assert attempt(composer.compose, overrides) == attempt(composer.compose_slowly, overrides), overrides


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=rnn", "model.embedding_size=32", "optimizer.lr=0.01"],
        ["model=transformer", "model.heads=8", "seed=3"],
        ["data=imdb", "data.tokenizer.kind=bpe"],
        ["trainer.max_epochs=5", "trainer={max_epochs: 3}"],
        ["optimizer={lr: 1e-2}", "optimizer.lr=1e-3"],
    ],
    ids=" ".join,
)
def test_both_ways_agree_on_this_project(real: Composer, overrides: list[str]):
    quick, slow = real.compose(overrides), real.compose_slowly(overrides)
    assert as_plain(quick) == as_plain(slow)
    assert real.resolve(quick) == real.resolve(slow)
    assert quick.hydra.overrides.task == overrides


def test_an_interpolation_follows_the_value_that_is_merged_last(real: Composer):
    flat = real.resolve(real.compose(["model=rnn", "model.embedding_size=48"]))
    assert flat["model.hidden_size"] == "48"


def test_jobs_have_the_store_of_their_command_whatever_environment_they_run_in(project_dir: Path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://here:5000")
    with initialize_config_dir(str(project_dir / "conf")):
        real = make_composer(project_dir / "conf")
        assert real._study.tracking.uri == "http://here:5000"  # as what starts a sweep asks
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there:5000")
        for compose in (real.compose, real.compose_slowly):
            assert pickle.loads(pickle.dumps(compose(["seed=3"]))).tracking.uri == "http://here:5000"


def test_a_job_does_not_change_the_next_one(composer: Composer):
    first = composer.compose(["x=2"])
    OmegaConf.update(first, "y", 99)
    assert composer.compose(["x=3"]).y == 1.0


def test_an_unknown_key_fails_in_hydras_words(composer: Composer):
    with pytest.raises(HydraException, match=r"Could not override 'shape.corners'"):
        composer.compose(["shape.corners=3"])


def test_what_determines_a_result_leaves_out_hydra_and_ignored_keys(composer: Composer):
    flat = composer.resolve(composer.compose(["x=2", "seconds=9"]))
    assert flat["x"] == "2"
    assert "seconds" not in flat
    assert not any(key.startswith("hydra") for key in flat)


def test_what_only_a_job_can_resolve_stays_as_written(composer: Composer):
    flat = composer.resolve(composer.compose(["mark=${hydra:job.num}", "x=2"]))
    assert flat["mark"] == "${hydra:job.num}"
    assert flat["x"] == "2"
