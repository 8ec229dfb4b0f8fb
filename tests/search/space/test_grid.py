"""The grid: every valid point once, whoever draws."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from hydra_plugins.hydra_optuna_sweeper import config as stock
from hydra_plugins.hydra_optuna_sweeper._impl import OptunaSweeperImpl
from omegaconf import OmegaConf

from sentiment.errors import ConfigError
from sentiment.search.space.distributions import build_distribution, parse_line
from sentiment.search.space.grid import list_grid, list_grid_values
from sentiment.search.space.points import PointReader
from sentiment.search.space.reading import read_space
from sentiment.search.space.sampling import FreshSampler, build_sampler
from sentiment.search.storage.opening import open_storage
from sentiment.search.study.outcome import Outcome
from sentiment.search.study.stored.store import TrialStore
from sentiment.search.study.stored.study import StoredStudy

GRID = OmegaConf.structured(stock.GridSamplerConfig(seed=3))
SPACE = read_space(["a=range(1,5)", "b=x,y,z", "c=range(0,1,0.25)"], {}, {}, None)


def is_valid(point):
    return point["b"] != "y" or point["a"] > 2


def as_set(points):
    return {tuple(sorted(point.items())) for point in points}


def run(study, count):
    points = []
    for _ in range(count):
        trial = study.ask()
        points.append(SPACE.suggest(trial))
        study.tell(trial, 0.0)
    return points


@pytest.mark.parametrize("text", ["choice(a,b)", "range(1,9,3)", "range(0,1,0.1)", "range(1,0,-0.3)"])
def test_values_are_those_of_the_stock_plugin(text):
    distribution = build_distribution(parse_line(f"x={text}", None))
    wanted = list(OptunaSweeperImpl._to_grid_sampler_choices(distribution))
    assert list_grid_values(read_space([f"x={text}"], {}, {}, None)) == {"x": wanted}


def test_without_constraints_the_order_is_that_of_plain_optuna():
    plain = optuna.samplers.GridSampler(list_grid_values(SPACE), seed=3)
    sampler = build_sampler(GRID, trial_number=0, space=SPACE)
    size = len(list_grid(SPACE))
    assert size == 4 * 3 * 4
    # One short of the end, where plain Optuna stops the study and fails outside `optimize`.
    ours = run(optuna.create_study(sampler=sampler), size)
    assert ours[: size - 2] == run(optuna.create_study(sampler=plain), size - 2)
    assert len(as_set(ours)) == size


def test_invalid_points_are_skipped_and_valid_ones_run_once():
    size = len(list_grid(SPACE, is_valid))
    points = run(optuna.create_study(sampler=FreshSampler(GRID, SPACE, is_valid)), size)
    assert size == 4 * 3 * 4 - 2 * 4
    assert len(as_set(points)) == size
    assert all(is_valid(point) for point in points)


def test_a_point_that_was_enqueued_is_not_drawn_again():
    study = optuna.create_study(sampler=FreshSampler(GRID, SPACE))
    later = list(list_grid(SPACE, seed=3).values())[5]
    study.enqueue_trial(later)
    points = run(study, len(list_grid(SPACE)))
    assert points[0] == later
    assert len(as_set(points)) == len(list_grid(SPACE))


def test_a_point_lost_before_it_was_drawn_is_run_in_the_end():
    study = optuna.create_study(sampler=FreshSampler(GRID, SPACE))
    first = run(study, 3)
    lost = study._storage.create_new_trial(study._study_id)  # a worker that died at once
    study._storage.set_trial_state_values(lost, optuna.trial.TrialState.FAIL)
    rest = run(study, len(list_grid(SPACE)) - 3)
    assert len(as_set(first + rest)) == len(list_grid(SPACE))


def test_workers_at_once_never_run_a_point_twice(study_dir, make_search):
    """Each claims under the study's lock."""

    class Grid(type(make_search())):
        grid = list_grid(SPACE, is_valid)
        reader = PointReader(SPACE)

    def work(worker):
        search = Grid(make_search(n_trials=100).options, study_dir, SPACE.suggest, FreshSampler(GRID, SPACE, is_valid))
        points = []
        with StoredStudy(TrialStore(open_storage(None, study_dir), None, search), search) as study:
            while (claimed := study.claim()) is not None:
                points.append(claimed.values)
                study.settle(claimed.trial_id, Outcome("complete", (1.0,)))
        return points

    open_storage(None, study_dir)
    with ThreadPoolExecutor(4) as pool:
        points = [point for drawn in pool.map(work, range(4)) for point in drawn]
    assert len(points) == len(as_set(points)) == len(list_grid(SPACE, is_valid))


def test_a_space_without_a_grid_is_a_fault():
    space = read_space([], {"m": "a,b", "lr": "interval(0,1)"}, {"m=a": {"x": "1,2"}}, None)
    with pytest.raises(ConfigError) as caught:
        build_sampler(GRID, trial_number=0, space=space)
    assert {fault.key for fault in caught.value.faults} == {"lr", "x"}
    with pytest.raises(ConfigError):
        list_grid(space)


def test_an_interval_that_holds_one_number_is_that_number():
    space = read_space(["x=interval(0.5,0.5)", "y=1,2"], {}, {}, None)
    assert sorted((point["x"], point["y"]) for point in list_grid(space).values()) == [(0.5, 1), (0.5, 2)]
