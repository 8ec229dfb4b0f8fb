"""What the stock plugin's own tests ask of it, asked of this sweeper; it differs where the engine says so."""

from __future__ import annotations

import shutil
import sys
from typing import ClassVar

import pytest
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.experimental.callback import Callback
from hydra.plugins.sweeper import Sweeper
from hydra.utils import execution_whitelist
from omegaconf import OmegaConf
from optuna.trial import TrialState

from sentiment.errors import RunPruned
from sentiment.search.plugin.sweeper import StudyEndedError, StudySweeper
from sentiment.search.study.definition import Definition

STOCK_SAMPLERS = ["tpe", "random", "cmaes", "nsgaii", "nsgaiii", "gp", "qmc", "grid"]


def read_results(study_dir):
    return OmegaConf.to_container(OmegaConf.load(study_dir / "optimization_results.yaml"))


def evaluate_two(config):
    """Two objectives that pull x apart."""
    return float(config.x) ** 2 + float(config.y), (float(config.x) - 2) ** 2 + float(config.y)


def dominates(one, other):
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


@pytest.fixture
def multirun(tmp_path, monkeypatch):
    """Runs a grid, one job at a time, under this sweeper or the stock plugin, in the folder `out`."""
    monkeypatch.chdir(tmp_path)

    def run(sweeper, *overrides, task, config_dir=None):
        GlobalHydra.instance().clear()
        hydra = Hydra.create_main_hydra2("toy", create_config_search_path(config_dir))
        options = [f"hydra/sweeper={sweeper}", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_jobs=1"]
        name = None if config_dir is None else "config"
        hydra.multirun(name, task, [*options, "hydra.sweep.dir=out", *overrides], with_log_configuration=False)

    yield run
    GlobalHydra.instance().clear()


def test_hydra_knows_the_sweeper(sweep):
    assert StudySweeper in Plugins.instance().discover(Sweeper)


def test_a_study_launches_as_many_jobs_as_it_has_trials_in_folders_of_their_own(sweep, study_dir):
    study = sweep("x=interval(-5,5)", "hydra.sweeper.n_trials=8", noting=True)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 8
    overrides = [OmegaConf.load(study_dir / str(number) / ".hydra" / "overrides.yaml") for number in range(8)]
    assert [list(lines) for lines in overrides] == [[f"x={trial.params['x']}"] for trial in study.trials]


def test_a_space_without_parameters_runs_as_it_stands(sweep):
    study = sweep("hydra.sweeper.n_trials=2", "hydra.sweeper.reuse=false")
    assert [(trial.params, trial.value) for trial in study.trials] == [({}, 2.0)] * 2


@pytest.mark.parametrize("on_command_line", [False, True])
def test_a_study_of_one_objective(sweep, study_dir, tmp_path, on_command_line):
    params = "+hydra.sweeper.params={x:'range(-5.5,5.5,step=0.5)',y:'choice(-5,0,5)'}"
    sampler = ["hydra/sweeper/sampler=tpe", "hydra.sweeper.sampler.seed=123"]
    more = ["x=choice(0,1,2)", "y=0"] if on_command_line else []
    study = sweep(
        *(params, *sampler, "hydra.sweeper.n_trials=20", "hydra.sweeper.study_name=sphere", "~noise", *more),
        storage=f"sqlite:///{tmp_path / 'study.db'}",
        noting=True,
    )
    results = read_results(study_dir)
    assert (study.study_name, len(study.trials)) == ("sphere", 20)
    assert results == {"name": "optuna", "best_params": study.best_params, "best_value": study.best_value}
    assert results["best_value"] <= 2.27  # what this search reaches with 95 of 100 seeds
    configs = [OmegaConf.load(file) for file in study_dir.glob("*/.hydra/config.yaml")]
    assert configs
    assert not any("noise" in config for config in configs)
    if on_command_line:
        assert {trial.params["x"] for trial in study.trials} <= {0, 1, 2}
        assert all("y" not in trial.params and trial.user_attrs["y"] == "0" for trial in study.trials)
    else:
        assert {trial.params["y"] for trial in study.trials} <= {-5, 0, 5}


def test_equal_seeds_draw_equal_points(sweep, tmp_path):
    def draw(name, seed):
        options = ["x=interval(-5,5)", "hydra.sweeper.n_trials=4", f"hydra.sweeper.sampler.seed={seed}"]
        url = f"sqlite:///{tmp_path / name}.db"
        options += [f"hydra.sweeper.study_name={name}"]
        return [trial.params for trial in sweep(*options, storage=url, study_dir=tmp_path / name).trials]

    assert draw("one", 1) == draw("again", 1) != draw("other", 2)


@pytest.mark.parametrize("count", [10, 1])
def test_the_grid_sampler_tries_every_point_once_and_no_more(sweep, study_dir, count):
    grid = ["x=choice(-1,1)", "y=range(-1,1)", "+z=choice(foo,bar)"]
    study = sweep(*grid, "hydra/sweeper/sampler=grid", f"hydra.sweeper.n_trials={count}")
    assert len(study.trials) == min(count, 8)
    assert len({tuple(trial.params.values()) for trial in study.trials}) == len(study.trials)
    best = read_results(study_dir)["best_params"]
    assert (abs(best["x"]), best["+z"] in ("foo", "bar")) == (1, True)
    if count == 10:
        assert best["y"] == 0


@pytest.mark.parametrize("on_command_line", [False, True])
def test_a_study_of_several_objectives_keeps_its_pareto_front(sweep, study_dir, on_command_line):
    params = "+hydra.sweeper.params={x:'range(0,5,step=0.5)',y:'range(0,3,step=0.5)'}"
    more = ["x=range(0,5)", "y=range(0,3)"] if on_command_line else []
    sampler = ["hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=123"]
    direction = "hydra.sweeper.direction=[minimize,minimize]"
    sweep(params, *more, *sampler, direction, "hydra.sweeper.n_trials=20", task=evaluate_two)
    results = read_results(study_dir)
    assert results["name"] == "optuna"
    front = [solution["values"] for solution in results["solutions"]]
    assert not any(dominates(one, other) for one in front for other in front)
    step = 1 if on_command_line else 0.5
    assert all(value % step == 0 for solution in results["solutions"] for value in solution["params"].values())


CUSTOM = "hydra.sweeper.custom_search_space=toy_space.draw_near"


@pytest.fixture
def toy_space(tmp_path, monkeypatch):
    """The module in which the application keeps its search space."""
    lines = [
        "def draw_near(config, trial):",
        "    x = trial.params['x']",
        "    trial.suggest_float('y', x - config.noise, x + config.noise)",
        "    trial.suggest_float('+w', 0, 1)",
    ]
    (tmp_path / "toy_space.py").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "toy_space", raising=False)


def test_a_custom_search_space_adds_to_what_is_drawn(sweep, toy_space, study_dir):
    with execution_whitelist("toy_space.*"):
        study = sweep("x=interval(-5,5)", "noise=0.3", CUSTOM, "hydra.sweeper.n_trials=6", noting=True)
    for trial in study.trials:
        config = OmegaConf.load(study_dir / str(trial.number) / ".hydra" / "config.yaml")
        assert (config.x, config.y, config.w) == (trial.params["x"], trial.params["y"], trial.params["+w"])
        assert abs(config.x - config.y) <= 0.3
    assert read_results(study_dir)["best_params"] == study.best_params


def test_strings_that_a_custom_search_space_draws_arrive_as_they_are(sweep, tmp_path, monkeypatch):
    drawn = ["a,b", "1", "true", "null", None, "it's", "k=v", "a b", ""]
    draw = "    trial.suggest_categorical(f'+w{trial.number}', [DRAWN[trial.number]])"
    lines = [f"DRAWN = {drawn}", "def draw_word(config, trial):", draw]
    (tmp_path / "toy_words.py").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    seen = []
    with execution_whitelist("toy_words.*"):
        sweep(
            *("x=interval(-5,5)", "hydra.sweeper.custom_search_space=toy_words.draw_word"),
            f"hydra.sweeper.n_trials={len(drawn)}",
            task=lambda config: seen.append(config[f"w{len(seen)}"]) or 0.0,
        )
    assert seen == drawn


@pytest.fixture
def own_space(tmp_path, monkeypatch):
    """Functions that draw one parameter."""
    drawn = {"seed": "int('seed'", "x": "float('x'", "y": "int('y'", "also_y": "int('y'"}
    lines = [f"def draw_{name}(config, trial):\n    trial.suggest_{text}, 10, 9999)" for name, text in drawn.items()]
    (tmp_path / "own_space.py").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_space", raising=False)
    with execution_whitelist("own_space.*"):
        yield lambda name: f"hydra.sweeper.custom_search_space=own_space.draw_{name}"


@pytest.mark.parametrize("options", [[], ["hydra.sweeper.repeats=2"]])
def test_a_seed_that_a_custom_search_space_draws_is_that_of_the_job(sweep, own_space, options):
    seeds, failing = [], [1]

    def train(config):
        seeds.append(config.seed)
        if len(seeds) in failing:
            raise ValueError("for the moment")
        return 0.0

    command = ["x=interval(0,1)", own_space("seed"), "hydra.sweeper.max_failure_rate=1", *options]
    with pytest.raises(StudyEndedError, match="1 of 3 trials"):
        sweep(*command, "hydra.sweeper.n_trials=3", task=train)
    study = sweep(*command, "hydra.sweeper.n_trials=3", task=train)
    assert [trial.state.name for trial in study.trials] == ["FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert study.trials[3].params == study.trials[0].params
    per_trial = 2 if options else 1
    drawn = [trial.params["seed"] + repeat for trial in study.trials[1:] for repeat in range(per_trial)]
    assert seeds == [study.trials[0].params["seed"], *drawn]


def test_what_was_searched_and_is_drawn_by_a_custom_search_space_reaches_the_job(sweep, own_space):
    sweep("x=interval(0,1)", "y=interval(0,1)", "hydra.sweeper.n_trials=2")
    seen = []
    study = sweep("y=interval(0,1)", own_space("x"), "hydra.sweeper.n_trials=4", task=lambda c: seen.append(c.x) or 0.0)
    assert seen == [trial.params["x"] for trial in study.trials[2:]]
    assert min(seen) >= 10


@pytest.mark.parametrize(("first", "second"), [("y", None), (None, "y"), ("y", "also_y")])
def test_trials_of_another_custom_search_space_are_no_points_of_this_one(sweep, own_space, caplog, first, second):
    def run(name, total):
        caplog.clear()
        with caplog.at_level("INFO"):
            sweep("x=interval(0,1)", *([own_space(name)] if name else []), f"hydra.sweeper.n_trials={total}")
        return caplog.text

    run(first, 2)
    told = {None: "without", "y": "own_space.draw_y", "also_y": "own_space.draw_also_y"}
    text = run(second, 3)
    assert f"has changed: space custom_search_space: stored {told[first]}, now {told[second]}" in text
    assert f"{2 if first is None else 0} trials there belong to the new space" in text
    assert "has changed" not in run(second, 4)
    assert f"{4 if second is None else 2} trials there belong" in run(first, 4)


def test_a_trial_of_another_custom_search_space_does_not_go_on_where_nothing_else_is_searched(sweep, own_space):
    def interrupt(config):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(own_space("x"), "hydra.sweeper.n_trials=1", task=interrupt)
    study = sweep(own_space("y"), "hydra.sweeper.n_trials=2")
    assert [(trial.state.name, [*trial.params]) for trial in study.trials] == [("PRUNED", ["x"]), ("COMPLETE", ["y"])]


def test_trials_of_an_earlier_version_are_of_the_custom_search_space_with_which_it_was_joined(
    sweep, own_space, caplog, monkeypatch
):
    def write_as_before(definition):
        content = write(definition)
        return {key: content[key] for key in content.keys() - {"custom_space", "custom_before"}}

    write = Definition.to_json
    with monkeypatch.context() as patch:
        patch.setattr(Definition, "to_json", write_as_before)
        patch.setattr("sentiment.search.search.OWN_KEY", "study:none")
        sweep("x=interval(0,1)", own_space("y"), "hydra.sweeper.n_trials=2")
    sweep("x=interval(0,1)", own_space("y"), "hydra.sweeper.n_trials=3")
    with caplog.at_level("INFO"):
        sweep("x=interval(0,1)", own_space("also_y"), "hydra.sweeper.n_trials=4")
    assert "0 trials there belong to the new space" in caplog.text


@pytest.mark.parametrize("sweeper", ["optuna", "study"])
def test_a_config_group_without_a_default_may_be_swept(multirun, tmp_path, sweeper):
    (tmp_path / "conf" / "shape").mkdir(parents=True)
    (tmp_path / "conf" / "config.yaml").write_text("defaults:\n  - shape: ???", encoding="utf-8")
    for number, name in enumerate(("flat", "round")):
        (tmp_path / "conf" / "shape" / f"{name}.yaml").write_text(f"edges: {number}", encoding="utf-8")
    multirun(sweeper, "shape=flat,round", task=lambda config: config.shape.edges, config_dir=str(tmp_path / "conf"))
    assert read_results(tmp_path / "out") == {"name": "optuna", "best_params": {"shape": "flat"}, "best_value": 0.0}


class JobEnds(Callback):
    """Keeps what Hydra's callbacks are told of each job."""

    seen: ClassVar[list[tuple[str, str]]] = []

    def on_job_end(self, config, job_return, **kwargs):
        self.seen.append((job_return.status.name, repr(job_return._return_value)))


@pytest.mark.parametrize("sweeper", ["optuna", "study"])
def test_callbacks_of_hydra_are_told_what_the_task_returned_or_raised(multirun, monkeypatch, sweeper):
    def work(config):
        if config.x == 1:
            raise ValueError("one")
        if config.x == 2 and sweeper == "study":
            raise RunPruned("two")
        return config.x

    monkeypatch.setattr(JobEnds, "seen", [])
    ends = f"+hydra.callbacks.ends._target_={JobEnds.__module__}.JobEnds"
    with execution_whitelist(f"{JobEnds.__module__}.*"):
        multirun(
            sweeper,
            "+x=0,1,2",
            ends,
            "hydra.sweeper.max_failure_rate=1",
            *([] if sweeper == "optuna" else ["hydra.sweeper.retry=none"]),
            task=work,
        )
    two = ("COMPLETED", "2") if sweeper == "optuna" else ("FAILED", "RunPruned('two')")
    assert sorted(JobEnds.seen) == sorted([("COMPLETED", "0"), ("FAILED", "ValueError('one')"), two])


def test_what_a_custom_search_space_draws_cannot_be_fixed_too(sweep, toy_space):
    with execution_whitelist("toy_space.*"), pytest.raises(StudyEndedError, match="y: is fixed, and drawn by"):
        sweep("x=interval(-5,5)", "y=1", CUSTOM, "hydra.sweeper.n_trials=2")


def test_a_custom_search_space_draws_nothing_beside_a_grid(sweep, toy_space):
    grid = ["hydra/sweeper/sampler=grid", "x=1,2"]
    told = r"custom_search_space: draws y, and a grid .* alone\n +-> leave it out, or choose another sampler"
    with execution_whitelist("toy_space.*"), pytest.raises(StudyEndedError, match=told):
        sweep(*grid, "noise=0.3", CUSTOM)


def test_a_custom_search_space_that_the_application_does_not_trust_is_refused(sweep, toy_space, study_dir):
    with (
        execution_whitelist("somewhere_else.*"),
        pytest.raises(StudyEndedError, match="not in the Hydra execution whi"),
    ):
        sweep("x=interval(-5,5)", CUSTOM, "hydra.sweeper.n_trials=2")
    assert not study_dir.exists()


@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_more_failures_than_allowed_end_the_study_with_their_reason(sweep, rate):
    def fail(config):
        raise RuntimeError("cfg.error is True")

    options = ["x=interval(-5,5)", "hydra.sweeper.n_trials=6", f"hydra.sweeper.max_failure_rate={rate}"]
    with pytest.raises(StudyEndedError) as caught:
        sweep(*options, task=fail)
    assert "trial 0: RuntimeError: cfg.error is True" in str(caught.value)
    # With all allowed to fail it goes on to the end, where a study without a result is an error all the same.
    assert str(caught.value).startswith("\n4 trials" if rate == 0.5 else "\nNo trial of the study 'study' finished: 6")


def test_failures_within_the_allowed_rate_are_kept_beside_the_results(sweep, study_dir):
    def fail_below_zero(config):
        if config.x < 0:
            raise ValueError(f"{config.x} is below zero")
        return config.x

    study = sweep(
        *(
            "x=choice(-1,-2,3,4)",
            "hydra/sweeper/sampler=grid",
            "hydra.sweeper.max_failure_rate=0.5",
            "hydra.sweeper.retry=none",
        ),
        task=fail_below_zero,
    )
    failed = [trial for trial in study.trials if trial.state == TrialState.FAIL]
    assert sorted(trial.user_attrs["failure.reason"] for trial in failed) == [
        "ValueError: -1 is below zero",
        "ValueError: -2 is below zero",
    ]
    assert all("fail_below_zero" in trial.user_attrs["failure.traceback"] for trial in failed)
    assert read_results(study_dir)["best_value"] == 3


@pytest.mark.parametrize("returned", ["a word", None, [1.0, 2.0]])
def test_a_return_value_that_is_no_number_fails_the_trial(sweep, returned):
    with pytest.raises(StudyEndedError, match=r"trial 0: Return value must be float-castable\. Got"):
        sweep("x=interval(-5,5)", "hydra.sweeper.n_trials=1", task=lambda config: returned)


def test_a_return_value_of_the_wrong_length_fails_the_trial(sweep):
    direction = "hydra.sweeper.direction=[minimize,maximize]"
    with pytest.raises(StudyEndedError, match="Expect 2, but actually 3"):
        sweep("x=interval(-5,5)", direction, "hydra.sweeper.n_trials=1", task=lambda config: (1, 2, 3))


def test_the_number_of_trials_is_the_total_of_all_commands(sweep):
    options = ["x=interval(-5,5)", "hydra.sweeper.study_name=once"]
    assert len(sweep(*options, "hydra.sweeper.n_trials=3").trials) == 3
    assert len(sweep(*options, "hydra.sweeper.n_trials=3").trials) == 3
    assert len(sweep(*options, "hydra.sweeper.n_trials=5").trials) == 5


@pytest.mark.parametrize("sampler", STOCK_SAMPLERS)
def test_every_sampler_of_the_stock_plugin_composes_and_runs(sweep, sampler):
    space = ["x=range(1,5)", "y=range(0,3)"]
    if sampler == "nsgaiii":
        study = sweep(
            *(*space, f"hydra/sweeper/sampler={sampler}", "hydra.sweeper.n_trials=3"),
            "hydra.sweeper.direction=[minimize,minimize]",
            task=evaluate_two,
        )
    else:
        study = sweep(*space, f"hydra/sweeper/sampler={sampler}", "hydra.sweeper.n_trials=3")
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3


def test_a_sampler_that_optuna_has_given_up_is_refused_before_anything_starts(sweep, study_dir):
    with pytest.raises(StudyEndedError, match="'motpe' sampler was removed"):
        sweep("x=interval(-5,5)", "hydra/sweeper/sampler=motpe")
    assert not study_dir.exists()


def test_the_samplers_are_those_of_the_stock_plugin():
    names = ConfigStore.instance().list("hydra/sweeper/sampler")
    assert sorted(name.removesuffix(".yaml") for name in names) == sorted(
        [*STOCK_SAMPLERS, "hub", "motpe", "multivariate_tpe"]
    )


@pytest.mark.slow
def test_the_example_as_a_command_under_the_basic_launcher(start_toy, study_dir):
    command = start_toy("hydra/launcher=basic", "x=interval(-5,5)", "y=choice(0,1)", "hydra.sweeper.n_trials=8")
    output, _ = command.communicate(timeout=120)
    assert command.returncode == 0, output
    assert read_results(study_dir)["best_value"] <= 25
    assert sorted(int(path.name) for path in study_dir.iterdir() if path.name.isdigit()) == list(range(8))


@pytest.mark.slow
def test_a_failed_study_as_a_command_says_why_without_a_traceback_of_the_study(start_toy):
    command = start_toy("x=interval(-5,5)", "error=true", "hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=4")
    output, _ = command.communicate(timeout=120)
    assert command.returncode == 1
    assert "trial 0: RuntimeError: cfg.error is True" in output
    assert "sentiment/search/" not in output


@pytest.mark.slow
def test_a_failure_names_its_log_and_is_printed_in_full_where_that_is_asked_for(start_toy, study_dir, monkeypatch):
    for is_full, jobs in (("0", 1), ("1", 2)):
        log = study_dir / is_full / "0" / "app.log"
        monkeypatch.setenv("HYDRA_FULL_ERROR", is_full)
        study = [f"hydra.sweep.dir={study_dir / is_full}", "hydra.sweeper.n_trials=1", f"hydra.sweeper.n_jobs={jobs}"]
        output, _ = start_toy("x=interval(-5,5)", "error=true", *study).communicate(timeout=120)
        assert f"#0 failed: RuntimeError: cfg.error is True (log: {log}) | 0 done, 1 failed of 1" in output
        assert f"  trial 0: RuntimeError: cfg.error is True (log: {log})" in output
        assert ("Trial 0 failed:\nTraceback (most recent call last):" in output) == (is_full == "1")
    assert "RuntimeError: cfg.error is True" in log.read_text(encoding="utf-8")


def test_a_command_that_is_refused_leaves_no_folder(sweep, study_dir, tmp_path):
    url = f"sqlite:///{tmp_path}/study.db"
    sweep("x=interval(-5,5)", "hydra.sweeper.study_name=mine", "hydra.sweeper.n_trials=1", storage=url)
    shutil.rmtree(study_dir)
    with pytest.raises(StudyEndedError, match="study_name"):
        sweep("x=interval(-5,5)", "hydra.sweeper.direction=maximize", "hydra.sweeper.study_name=mine", storage=url)
    with pytest.raises(StudyEndedError, match="2 jobs, but 1 GPUs"):
        sweep("x=interval(-5,5)", "hydra.sweeper.n_jobs=2", "hydra.sweeper.devices=[0]")
    assert not study_dir.exists()
