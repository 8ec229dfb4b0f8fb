"""Samplers in real studies: seeds by trial, constraints avoided, conditional branches."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product

import optuna
import pytest
from hydra_plugins.hydra_optuna_sweeper import config as stock
from omegaconf import OmegaConf

from sentiment.errors import ConfigError, SentimentError
from sentiment.search.space.constraints import any_point
from sentiment.search.space.points import TARGET_KEY
from sentiment.search.space.reading import read_space
from sentiment.search.space.sampling import AvoidingSampler, FreshSampler, build_sampler, derive_seed
from sentiment.search.space.seen import SeenStudy

SAMPLERS = {
    "tpe": stock.TPESamplerConfig(seed=1, n_startup_trials=4),
    "tpe_joint": stock.TPESamplerConfig(seed=1, n_startup_trials=4, multivariate=True, group=True, constant_liar=True),
    "random": stock.RandomSamplerConfig(seed=1),
    "cmaes": stock.CmaEsSamplerConfig(seed=1, warn_independent_sampling=False),
    "cmaes_margin": stock.CmaEsSamplerConfig(seed=1, with_margin=True, warn_independent_sampling=False),
    "nsgaii": stock.NSGAIISamplerConfig(seed=1, population_size=4),
    "nsgaiii": stock.NSGAIIISamplerConfig(seed=1, population_size=4),
    "gp": stock.GPSamplerConfig(seed=1, n_startup_trials=2, warn_independent_sampling=False),
    "qmc": stock.QMCSamplerConfig(seed=1, warn_independent_sampling=False),
    "qmc_scrambled": stock.QMCSamplerConfig(seed=1, scramble=True, warn_independent_sampling=False),
}
TRIAL_COUNTS = {"gp": 3}

SPACE = read_space(["x=interval(-1.0,1.0)", "n=range(1,7)", "lr=tag(log,interval(1e-4,1e-1))"], {}, {}, None)
BRANCHED = read_space(
    [],
    {"m": "a,b", "x": "interval(-1.0,1.0)", "n": "range(1,7)"},
    {"m=a": {"h": "choice(1,2,4)", "d": "range(1,5)"}, "m=b": {"d": "range(1,3)"}},
    None,
)


def evaluate(point):
    return (point["x"] - 0.3) ** 2 + abs(point["n"] - 3) + 0.1 * point.get("h", 0)


def run(study, space, count):
    points = []
    for _ in range(count):
        trial = study.ask()
        point = space.suggest(trial)
        study.tell(trial, evaluate(point))
        points.append(point)
    return points


def is_odd_and_right(point):
    """Forbid three quarters of the space, and part of a branch."""
    return point["x"] > 0 and point["n"] % 2 == 1 and (point.get("h", 1) != 4 or point["d[m=a]"] > 2)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_plain_sampler_is_built_where_there_are_no_constraints(name):
    sampler = build_sampler(OmegaConf.structured(SAMPLERS[name]), trial_number=0, space=SPACE)
    assert type(sampler).__module__.startswith("optuna.samplers")


OPTUNA = "optuna.samplers"


@pytest.mark.parametrize(
    "config",
    [
        *({"_target_": f"{OPTUNA}.TPESampler", "seed": seed} for seed in (-1, 1.5, "many")),
        *({"_target_": f"{OPTUNA}.GridSampler", "_partial_": True, "seed": seed} for seed in (-1, 2**32)),
        {"_target_": f"{OPTUNA}.QMCSampler", "seed": -1},
        {
            "_target_": f"{OPTUNA}.PartialFixedSampler", "fixed_params": {},
            "base_sampler": {"_target_": f"{OPTUNA}.RandomSampler", "seed": -1},
        },
    ],
    ids=lambda config: str(config["_target_"].rpartition(".")[2]),
)  # fmt: skip
def test_a_seed_that_generators_do_not_take_is_a_fault(config):
    with pytest.raises(ConfigError, match="takes whole numbers from 0 on") as caught:
        build_sampler(config, trial_number=0, space=read_space(["x=1,2"], {}, {}, None))
    assert [fault.key for fault in caught.value.faults] == ["hydra.sweeper.sampler.seed"]


def test_without_constraints_the_draws_are_those_of_plain_optuna():
    plain = optuna.samplers.TPESampler(seed=derive_seed(1, 0), multivariate=False, constant_liar=False)
    ours = build_sampler(OmegaConf.structured(stock.TPESamplerConfig(seed=1)), trial_number=0, space=SPACE)
    assert run(optuna.create_study(sampler=ours), SPACE, 15) == run(optuna.create_study(sampler=plain), SPACE, 15)


@pytest.mark.parametrize(
    ("name", "space"),
    [
        *(pytest.param(name, SPACE, id=f"{name}-flat") for name in SAMPLERS),
        *(pytest.param(name, BRANCHED, id=f"{name}-branched") for name in SAMPLERS if name != "cmaes_margin"),
    ],
)
def test_constraints_are_avoided_by_every_sampler(name, space):
    config = OmegaConf.structured(SAMPLERS[name])
    study = optuna.create_study(sampler=FreshSampler(config, space, is_odd_and_right))
    points = run(study, space, TRIAL_COUNTS.get(name, 15))
    assert all(is_odd_and_right(point) for point in points)
    assert [trial.params for trial in study.trials] == points
    assert {trial.state for trial in study.trials} == {optuna.trial.TrialState.COMPLETE}
    assert len({tuple(point.items()) for point in points}) > len(points) / 2, "it still explores"


@pytest.mark.parametrize("name", SAMPLERS)
def test_no_trial_repeats_the_draws_of_another(name):
    """The seed differs from trial to trial, also for what is drawn independently in a branch."""
    config = OmegaConf.structured(SAMPLERS[name])
    # Until a trial has finished, Optuna's quasi-random sampler starts a sequence for each branch it meets.
    space = SPACE if name.startswith(("qmc", "cmaes_margin")) else BRANCHED
    study = optuna.create_study(sampler=FreshSampler(config, space))
    trials = [study.ask() for _ in range(4)]
    points = [space.suggest(trial) for trial in trials]
    assert len({point["x"] for point in points}) == 4


def test_two_workers_start_at_different_points():
    study = optuna.create_study()
    drawn = []
    for _ in range(2):
        study.sampler = FreshSampler(OmegaConf.structured(SAMPLERS["tpe"]), SPACE)
        drawn.append(SPACE.suggest(study.ask())["x"])
    assert drawn[0] != drawn[1]


RESUME = """
import json, sys, optuna
from omegaconf import OmegaConf
sys.path.insert(0, {folder!r})
from test_sampling import FreshSampler, SAMPLERS, BRANCHED, run
storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend({path!r}))
sampler = FreshSampler(OmegaConf.structured(SAMPLERS["tpe"]), BRANCHED)
study = optuna.load_study(storage=storage, study_name="s", sampler=sampler)
print(json.dumps(run(study, BRANCHED, 15)))
"""


def test_a_new_process_goes_on_as_if_the_study_had_not_stopped(tmp_path, request):
    def create_study(file):
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / file)))
        sampler = FreshSampler(OmegaConf.structured(SAMPLERS["tpe"]), BRANCHED)
        return optuna.create_study(storage=storage, study_name="s", sampler=sampler)

    straight = run(create_study("straight"), BRANCHED, 25)
    first = run(create_study("resumed"), BRANCHED, 10)
    code = RESUME.format(folder=str(request.path.parent), path=str(tmp_path / "resumed"))
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert first + json.loads(output.stdout) == straight


@pytest.mark.parametrize("is_valid", [any_point, is_odd_and_right], ids=["free", "constrained"])
@pytest.mark.parametrize("name", ["tpe_joint", "random", "cmaes", "nsgaii", "qmc"])
def test_a_restarted_study_draws_what_an_uninterrupted_one_draws(name, is_valid):
    config = OmegaConf.structured(SAMPLERS[name])
    straight = run(optuna.create_study(sampler=FreshSampler(config, SPACE, is_valid)), SPACE, 16)
    study = optuna.create_study(sampler=FreshSampler(config, SPACE, is_valid))
    points = run(study, SPACE, 8)
    study.sampler = FreshSampler(config, SPACE, is_valid)
    assert points + run(study, SPACE, 8) == straight


def run_on_ladder(config, space, count, *, is_first_paused=True, is_anew=False):
    """Draw points while the three before have reported and not ended, as under promotion with some workers."""
    config = OmegaConf.structured(config)
    study = optuna.create_study(sampler=FreshSampler(config, space))
    points, under_way = [], []
    for number in range(count):
        if is_anew:
            study.sampler = FreshSampler(config, space)
        trial = study.ask()
        point = space.suggest(trial)
        if number or is_first_paused:
            study._storage.set_trial_system_attr(trial._trial_id, TARGET_KEY, 1)
        trial.report(evaluate(point), 0)
        points.append(point)
        under_way.append((trial, point))
        if len(under_way) > 3:
            ended, found = under_way.pop(0)
            study.tell(ended, evaluate(found))
    return points


@pytest.mark.parametrize("is_first_paused", [True, False])
@pytest.mark.parametrize("space", [SPACE, BRANCHED], ids=["flat", "branched"])
@pytest.mark.parametrize(
    ("config", "count"),
    [
        pytest.param(SAMPLERS["tpe_joint"], 12, id="tpe"),
        pytest.param(SAMPLERS["cmaes"], 24, id="cmaes"),
        pytest.param(
            stock.CmaEsSamplerConfig(seed=1, consider_pruned_trials=True, warn_independent_sampling=False),
            24,
            id="cmaes_pruned",
        ),
        pytest.param(SAMPLERS["nsgaii"], 12, id="nsgaii"),
        pytest.param(SAMPLERS["nsgaiii"], 12, id="nsgaiii"),
        pytest.param(SAMPLERS["gp"], 8, id="gp"),
    ],
)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_what_pauses_before_it_is_complete_is_learned_from(config, count, space, is_first_paused):
    """One worker that goes on, and one that starts anew for each trial, know the same space."""
    drawn, anew, random = (
        run_on_ladder(one, space, count, is_first_paused=is_first_paused, is_anew=is_anew)
        for one, is_anew in ((config, False), (config, True), (SAMPLERS["random"], False))
    )
    assert drawn == anew
    assert [point["x"] for point in drawn] != [point["x"] for point in random]


def test_of_several_objectives_joint_tpe_draws_jointly_though_trials_pause():
    config = OmegaConf.structured(stock.TPESamplerConfig(seed=1, n_startup_trials=2, multivariate=True))
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=FreshSampler(config, SPACE))
    trials = [study.ask() for _ in range(4)]
    for trial in trials:
        SPACE.suggest(trial)
        study._storage.set_trial_system_attr(trial._trial_id, TARGET_KEY, 1)
        study._storage.set_trial_intermediate_value(trial._trial_id, 0, 1.0)
    SPACE.suggest(study.ask())
    for number, trial in enumerate(trials):
        study.tell(trial, [number, -number])
    assert study.ask().relative_params.keys() == {"x", "n", "lr"}


def test_a_gaussian_process_proposes_no_point_that_waits_for_its_promotion():
    space = read_space(["a=1,2,3,4", "b=1,2,3,4"], {}, {}, None)
    config = OmegaConf.structured(stock.GPSamplerConfig(seed=1, n_startup_trials=2))
    study = optuna.create_study(sampler=FreshSampler(config, space))
    for a, b in product((1, 2, 4), (1, 3)):
        study.enqueue_trial({"a": a, "b": b})
        trial = study.ask()
        space.suggest(trial)
        study.tell(trial, (a - 2.2) ** 2 + (b - 2.4) ** 2)
    points = []
    for _ in range(3):
        trial = study.ask()
        points.append(tuple(space.suggest(trial).values()))
        study._storage.set_trial_system_attr(trial._trial_id, TARGET_KEY, 1)
        trial.report(1.0, 0)
    assert len(set(points)) == 3


def test_a_gaussian_process_sees_limits_in_one_order_whatever_was_known_first():
    excesses = {"constraints:latency": 5.0, "constraints:size": -2.0}
    study = optuna.create_study()
    for attributes in (excesses, dict(reversed(excesses.items()))):
        study.add_trial(optuna.trial.create_trial(value=1.0, system_attrs=attributes))
    seen = SeenStudy(study, None, (), [], reads_pruned=False)
    assert [list(trial.constraints.values()) for trial in seen.get_trials()] == [[5.0, -2.0]] * 2


def test_a_nested_sampler_is_seeded_by_trial_too():
    inner = {"_target_": "optuna.samplers.RandomSampler", "seed": 5}
    config = {"_target_": "optuna.samplers.CmaEsSampler", "seed": 1, "independent_sampler": inner}
    points = run(optuna.create_study(sampler=FreshSampler(config, SPACE)), SPACE, 1)
    study = optuna.create_study()
    study.ask()
    study.sampler = FreshSampler(config, SPACE)
    assert run(study, SPACE, 1) != points


def test_without_a_seed_nothing_is_reproducible():
    config = OmegaConf.structured(stock.RandomSamplerConfig())
    one, other = (run(optuna.create_study(sampler=FreshSampler(config, SPACE)), SPACE, 3) for _ in range(2))
    assert one != other
    assert derive_seed(None, 3) is None


def test_derived_seeds_differ_and_zero_is_a_seed():
    assert len({derive_seed(seed, number) for seed in range(20) for number in range(200)}) == 4000
    assert derive_seed(0, 0) is not None


def test_enqueued_values_are_kept():
    study = optuna.create_study(sampler=FreshSampler(OmegaConf.structured(SAMPLERS["tpe"]), BRANCHED, is_odd_and_right))
    study.enqueue_trial({"m": "b", "n": 5})
    (point,) = run(study, BRANCHED, 1)
    assert (point["m"], point["n"]) == ("b", 5)
    assert is_odd_and_right(point)


def test_constraints_that_leave_no_point_are_told():
    sampler = FreshSampler(OmegaConf.structured(SAMPLERS["random"]), SPACE, lambda point: False)
    trial = optuna.create_study(sampler=sampler).ask()
    with pytest.raises(SentimentError, match="leave no valid point"):
        SPACE.suggest(trial)


def test_a_rare_valid_point_is_found_by_uniform_draws():
    class Stubborn(optuna.samplers.RandomSampler):
        draws = 0

        def sample_independent(self, study, trial, param_name, param_distribution):
            Stubborn.draws += 1
            return param_distribution.low

    sampler = AvoidingSampler(Stubborn(), SPACE, lambda point: point["x"] > 0.98, seed=1)
    points = run(optuna.create_study(sampler=sampler), SPACE, 5)
    assert all(point["x"] > 0.98 for point in points)
    assert len({point["x"] for point in points}) == 5
    assert Stubborn.draws == 5 * 3 * 3, "three equal proposals are enough to give up on it"


def test_several_objectives():
    config = OmegaConf.structured(SAMPLERS["nsgaiii"])
    sampler = FreshSampler(config, SPACE, lambda point: point["n"] > 2)
    study = optuna.create_study(directions=["minimize", "maximize"], sampler=sampler)
    for _ in range(20):
        trial = study.ask()
        point = SPACE.suggest(trial)
        study.tell(trial, [point["x"], point["n"]])
    assert {trial.params["n"] for trial in study.trials} <= {3, 4, 5, 6}


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (stock.NSGAIISamplerConfig(population_size=1), "greater than or equal to 2"),
        (stock.MOTPESamplerConfig(), "motpe"),
        (stock.QMCSamplerConfig(scramble=True), "without a seed"),
        (stock.SamplerConfig(_target_="os.getcwd"), "os.getcwd"),
        (stock.SamplerConfig(_target_="optuna.samplers.NoSampler"), "NoSampler"),
    ],
)
def test_a_sampler_that_cannot_be_built_is_a_fault(config, problem):
    with pytest.raises(ConfigError, match=problem):
        build_sampler(OmegaConf.structured(config), trial_number=0, space=SPACE)


def test_a_margin_and_branches_are_refused():
    """Optuna's CMA-ES with margin mixes points of different dimensions there and fails in the middle of a study."""
    with pytest.raises(ConfigError, match="with_margin"):
        build_sampler(OmegaConf.structured(SAMPLERS["cmaes_margin"]), trial_number=0, space=BRANCHED)
