"""The benchmark of searches: simulated studies take the engine's own way, and what they find follows from the table."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import optuna
import pytest

from sentiment.config.home import PROJECT_DIR
from sentiment.search.study.promotion import PromotionPruner

FOLDER = PROJECT_DIR / "experiments" / "search_efficiency"
PARAMS = {"model.depth": "range(1,4)", "optimizer.lr": "tag(log,interval(1e-4,1e-2))"}


@pytest.fixture
def simulation(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import curves
    import simulate

    return curves, simulate


@pytest.fixture
def table(simulation):
    """Twenty trainings of nine validations: the larger the learning rate, the better, from the start on."""
    random = np.random.default_rng(0)
    drawn = [(int(random.integers(1, 4)), float(10 ** random.uniform(-4, -2))) for _ in range(20)]
    points = [{"model.depth": depth, "optimizer.lr": rate} for depth, rate in drawn]
    quality = np.array([0.6 + 0.15 * (np.log10(point["optimizer.lr"]) + 4) for point in points])
    chance = quality[:, None] * np.linspace(0.7, 1, 9)[None, :]
    hits = random.random((20, 9, 1500)) < chance[:, :, None]
    seconds = np.arange(1, 10, dtype=np.float32)[None, :] * np.ones((20, 1), np.float32)
    return simulation[0].Curves(points, hits, seconds, np.full((20, 9), 0.1, np.float32), {})


def test_a_table_comes_back_as_it_was_saved(simulation, table, tmp_path, monkeypatch):
    curves, _ = simulation
    monkeypatch.setattr(curves, "FOLDER", tmp_path)
    table.save("some")
    back = curves.Curves.load("some")
    assert back.points == table.points
    np.testing.assert_array_equal(back.hits, table.hits)


def test_every_recorded_point_is_the_nearest_to_itself(simulation, table):
    _, simulate = simulation
    problem = simulate.Problem.draw(table, PARAMS, seed=0)
    assert [problem.landscape.find(point) for point in table.points] == list(range(20))


def test_a_study_sees_other_reviews_than_it_is_judged_on(simulation, table):
    _, simulate = simulation
    problem = simulate.Problem.draw(table, PARAMS, seed=0)
    weighted = (problem.observed * 300 + problem.true * 1200) / 1500
    np.testing.assert_allclose(weighted, table.accuracy)


@pytest.mark.parametrize("pruner", [None, optuna.pruners.MedianPruner(n_startup_trials=2), PromotionPruner(1, 3)])
def test_a_simulated_study_is_reproducible_and_finds_better_ones(simulation, table, pruner):
    _, simulate = simulation
    policy = simulate.Policy("one", pruner or optuna.pruners.NopPruner())
    first, second = (simulate.simulate(policy, table, PARAMS, workers=2, seconds=120, seed=3) for _ in range(2))
    assert first == second
    progress, end = first
    times, observed, _ = zip(*progress, strict=True)
    assert list(times) == sorted(times)
    assert list(observed) == sorted(observed)
    assert times[-1] <= end <= 120


def test_the_stock_algorithm_waits_for_its_batch(simulation, table):
    _, simulate = simulation
    policy = simulate.Policy("stock", in_batches=True, n_trials=4)
    progress, end = simulate.simulate(policy, table, PARAMS, workers=2, seconds=1000, seed=0)
    whole = 9 + 9 * 0.1 * 300 / 1500 + simulate.START_SECONDS
    assert {round(moment / whole, 6) for moment, *_ in progress} <= {1.0, 2.0}
    assert end == pytest.approx(2 * whole)


def test_a_study_whose_first_trials_are_its_best_ends_when_all_have_run(simulation, table):
    _, simulate = simulation
    table.hits[:] = True  # nobody is ever better than the first
    whole = 9 + 9 * 0.1 * 300 / 1500 + simulate.START_SECONDS
    for in_batches in (False, True):
        policy = simulate.Policy("one", in_batches=in_batches, n_trials=8)
        progress, end = simulate.simulate(policy, table, PARAMS, workers=2, seconds=1000, seed=0)
        assert (progress[-1][0], end) == pytest.approx((whole, 4 * whole))


def test_of_equally_many_trials_the_last_find_is_told_apart_from_the_end(simulation, monkeypatch, capsys):
    import compare

    stock, other = [(10.0, 0.8, 0.8), (90.0, 0.9, 0.9)], [(20.0, 0.8, 0.9)]
    rows = {
        ("some", f"{name}, 20 trials", 2, seed): compare.Found(progress, end)
        for seed in (0, 1)
        for name, progress, end in (("stock", stock, 100.0), ("default", other, 80.0), ("median", other, None))
    }
    monkeypatch.setattr(compare, "read_results", lambda _: rows)
    compare.print_equal_trials("some", 2)
    shown = capsys.readouterr().out
    assert "| default, 20 trials | 90.00 % | +0.00 ± 0.00 | 0.22 | 0.80 |" in shown
    assert "| median, 20 trials | 90.00 % | +0.00 ± 0.00 | 0.22 | not kept |" in shown


def test_a_difference_over_few_seeds_has_the_interval_of_its_degrees_of_freedom(simulation):
    import compare

    assert compare.write_difference(np.array([0.0, 0.02])) == "+1.00 ± 12.71"


@pytest.mark.slow
def test_a_small_version_runs_in_one_command(tmp_path):
    copy = tmp_path / "search_efficiency"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("results"))
    command = [sys.executable, str(copy / "compare.py"), "--seeds", "2", "--workers", "2", "--tables"]
    command += ["transformer_synthetic", "--policies", "stock", "median", "oracle"]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200).stdout
    assert "transformer_synthetic, 2 workers, 2 seeds" in output
    assert "| oracle |" in output


@pytest.mark.slow
def test_a_study_is_recorded_and_collected_by_the_documented_commands(tmp_path):
    study = tmp_path / "multirun" / "some"
    record = [sys.executable, str(FOLDER / "record.py"), "-m", "search=rnn", "hydra/sweeper/sampler=random"]
    record += ["hydra/sweeper/pruner=none", "hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=2", "tracking=none"]
    record += [f"hydra.sweep.dir={study}", "data.train_size=40", "data.test_size=10", "data.validation_fraction=0.5"]
    record += ["trainer.max_epochs=2", "trainer.patience=null", "trainer.resume=false"]
    subprocess.run(record, check=True, timeout=300, cwd=tmp_path)
    copy = tmp_path / "search_efficiency"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("results"))
    collect = [sys.executable, str(copy / "curves.py"), str(study)]
    output = subprocess.run(collect, capture_output=True, text=True, check=True, timeout=100).stdout
    assert "some.npz: 2 curves of 2 validations" in output
    with np.load(copy / "curves" / "some.npz") as file:
        assert file["hits"].shape == (2, 2, 3)  # 20 reviews, eight to a byte
        assert (np.diff(file["train_seconds"]) > 0).all()
