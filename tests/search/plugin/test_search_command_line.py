"""A search's command line is checked at every corner of its space, before Hydra starts anything."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import ListConfig

from sentiment.config.command_line import check_command_line
from sentiment.config.home import PROJECT_DIR, name_study
from sentiment.errors import ConfigError, Fault
from sentiment.search.plugin.registration import PRUNERS
from sentiment.search.plugin.sweeper import STUDY_SWEEPER, list_search_points
from sentiment.search.study.address_file import write_study_address

pytestmark = pytest.mark.usefixtures("composed_once")

FEW_CORNERS = ("model.cell=lstm", "model.depth=1", "model.embedding_size=32", "model.pooling=max", "model.dropout=0.1")
"""Leave one key of ``search=rnn`` to be drawn, where the corners are not the point."""


def check(*arguments: str) -> dict[str, Fault]:
    searches = {STUDY_SWEEPER: list_search_points}
    try:
        check_command_line(list(arguments), PROJECT_DIR / "conf", "config", searches=searches)
    except ConfigError as error:
        return {fault.key: fault for fault in error.faults}
    return {}


def find_faults(*arguments: str) -> dict[str, str]:
    return {key: fault.problem for key, fault in check(*arguments).items()}


@pytest.mark.parametrize("search", ["transformer", "rnn", "both"])
def test_the_searches_of_this_project_are_valid_at_every_corner(search: str):
    assert find_faults("-m", f"search={search}") == {}


def test_with_and_without_pretraining_is_one_search():
    assert find_faults("-m", "search=grid", "model=rnn", "pretrain=lm,none") == {}


@pytest.mark.parametrize(
    "option",
    [f"pruner={name}" for name in ("none", "successive_halving", "patient")]
    + [f"sampler={name}" for name in ("random", "cmaes", "nsgaii", "grid")],
)
def test_other_pruners_and_samplers_go_with_the_searches(option: str):
    assert find_faults("-m", "search=rnn", f"hydra/sweeper/{option}", *FEW_CORNERS) == {}


def test_faults_of_settings_and_of_corners_are_listed_together():
    faults = find_faults(
        "-m", "search=transformer", "model.depth=range(0,3)", "optimizer.lr=interval(0.1,100)", "trainer.max_epochs=0"
    )
    assert set(faults) == {"model.depth", "optimizer.lr", "trainer.max_epochs"}
    assert "0 is out of range" in faults["model.depth"]


def test_faults_within_a_branch_are_found():
    faults = find_faults("-m", "search=both", "model.cell=lstm,gruu")
    assert list(faults) == ["model.cell"]


def test_a_key_that_does_not_exist_is_explained():
    assert find_faults("-m", "search=rnn", "model.hidden=16,32", *FEW_CORNERS) == {"model.hidden": "no such key"}


@pytest.mark.parametrize("key", ["constraints", "ignore", "probe_overrides", "start"])
@pytest.mark.parametrize(("word", "values"), [("one", "one"), ("other:3", "other:3"), ("null", "")])
def test_one_word_for_a_list_is_shown_as_a_list(key: str, word: str, values: str):
    fault = check("-m", "search=rnn", f"hydra.sweeper.{key}={word}", *FEW_CORNERS)[f"hydra.sweeper.{key}"]
    assert fault.remedy == f"must be a list, as in hydra.sweeper.{key}=[{values}]"


def test_a_key_of_hydra_is_shown_by_hydras_part_of_the_configuration():
    fault = check("-m", "search=rnn", "hydra.sweeper.repeats=x", *FEW_CORNERS)["hydra.sweeper.repeats"]
    assert fault.remedy == "python run.py --cfg hydra shows it"


def test_combinations_that_constraints_exclude_are_no_faults():
    space = ("model.heads=3,4", "model.embedding_size=30,32")
    assert find_faults("-m", "search=transformer", *space) == {}
    without = find_faults("-m", "search=transformer", *space, "hydra.sweeper.constraints=[]")
    assert list(without) == ["model.heads"]


@pytest.mark.parametrize("search", sorted(file.stem for file in (PROJECT_DIR / "conf/search").glob("*.yaml")))
def test_every_search_goes_with_every_pruner(search: str):
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        for pruner in PRUNERS:
            compose("config", [f"search={search}", f"hydra/sweeper/pruner={pruner}"])


def test_a_sweeper_that_a_search_does_not_go_with_is_told_with_it():
    faults = check("-m", "search=rnn", "hydra/sweeper=optuna")
    assert faults["hydra/sweeper"].remedy == "leave out hydra/sweeper=optuna, or search=rnn"


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("hydra.sweeper.params.seed=0,1", "write seed=0,1"),
        ("+hydra.sweeper.params.model.depth='2,3'", "write model.depth=2,3"),
        ("++hydra.sweeper.params.model.depth=2", "write model.depth=2"),
        ("~hydra.sweeper.params.model.depth", "write model.depth=VALUE: with one value it is not searched"),
    ],
)
def test_a_parameter_has_its_own_key_on_the_command_line(line: str, remedy: str):
    [fault] = check("-m", "search=rnn", line, *FEW_CORNERS).values()
    assert fault.remedy == remedy


@pytest.mark.parametrize("sweeper", ["search=study", "seed=0,1"])
def test_parameters_in_groups_are_told_to_take_one_key(sweeper: str):
    faults = check("-m", sweeper, "+hydra.sweeper.params={model: {depth: '2,3', heads: 4}}")
    remedy = "write one key: model.depth: 2,3; or, for the text, model.depth: \"'2,3'\""
    assert faults["hydra.sweeper.params.model"].remedy == remedy


@pytest.mark.parametrize(
    ("lines", "key", "problem"),
    [
        (["trainer.max_epochs=abc"], "trainer.max_epochs", "'abc' is text"),
        (["trainer.max_epochs=${oc.env:NOPE}"], "trainer.max_epochs", "NOPE"),
        (["hydra.sweeper.study_name=null"], "hydra.sweeper.study_name", "every study without a name"),
        (["seed=0,1", "hydra.sweeper.repeats=2"], "hydra.sweeper.repeats", "trials share seeds"),
        (["hydra.sweeper.full_trials=true"], "hydra.sweeper.full_trials", "should be a valid number"),
        (["hydra.sweeper.n_trials=true"], "hydra.sweeper.n_trials", "should be a valid number"),
    ],
)
def test_a_fault_behind_a_search_stands_at_its_key(recwarn, lines: list[str], key: str, problem: str):
    assert problem in find_faults("-m", "search=rnn", *lines, *FEW_CORNERS)[key]
    assert not [warning for warning in recwarn if "Resolver" in str(warning.message)]


@pytest.mark.parametrize(
    ("params", "branches", "shares"),
    [
        ("seed: 3", "", False),
        ("seed: '0,1'", "", True),
        ("model: 'rnn,transformer'", "model=rnn: {seed: '0,1'}", True),
        ("model: rnn", "model=transformer: {seed: '0,1'}", False),
        ("model: 'rnn,transformer'", "model=rnn: {seed: 0}, model=transformer: {seed: 100}", False),
        ("model: 'rnn,transformer'", "model=rnn: {seed: 0}, model=transformer: {seed: '0,100'}", True),
    ],
)
def test_seeds_that_files_search_and_a_command_repeats_are_shared(tmp_path, params: str, branches: str, shares: bool):
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "mine.yaml").write_text(
        "# @package _global_\ndefaults: [study, _self_]\n"
        f"hydra: {{sweeper: {{params: {{{params}, model.dropout: '0,0.1'}}, branches: {{{branches}}}}}}}\n"
    )
    faults = find_faults("-m", "--config-dir", str(tmp_path), "search=mine", "hydra.sweeper.repeats=3")
    assert set(faults) == ({"hydra.sweeper.repeats"} if shares else set())


def test_every_point_of_a_grid_is_checked_as_multirun_alone_does():
    """Three heads do not divide the width, and lie between the ends of the range."""
    [alone] = find_faults("-m", "model.heads=range(1,5)").items()
    [grid] = find_faults("-m", "search=grid", "model.heads=range(1,5)").items()
    assert grid == alone
    assert find_faults("-m", "search=grid", "model.dropout=interval(0.1,0.1)", "model.heads=1,2") == {}


def test_an_experiment_that_tests_is_asked_whether_a_search_is_to_test():
    tiny = ("data=synthetic", *FEW_CORNERS)
    search = ("-m", "experiment=transformer_vs_rnn", "search=rnn", "model=rnn", *tiny)
    assert "its trials would read the test split" in find_faults(*search)["trainer.test"]
    for choice in ("false", "true"):
        assert "trainer.test" not in find_faults(*search, f"trainer.test={choice}")
        assert "trainer.test" not in find_faults(*search, f"trainer={{test: {choice}}}")


@pytest.mark.parametrize("sweep", ["experiment=plain,tested", "+hydra.sweeper.params={experiment: 'plain,tested'}"])
def test_an_experiment_among_several_that_tests_is_asked_too(tmp_path, sweep):
    (tmp_path / "experiment").mkdir()
    for name, content in {"plain": "model: {dropout: 0.2}", "tested": "trainer: {test: true}"}.items():
        (tmp_path / "experiment" / f"{name}.yaml").write_text(f"# @package _global_\n{content}\n")
    command = ("-m", "--config-dir", str(tmp_path), "search=grid", sweep, "seed=0,1")
    problem = "is true by experiment=tested, which comes after the search: its trials would read the test split"
    assert find_faults(*command) == {"trainer.test": problem}
    assert find_faults(*command, "trainer.test=false") == {}
    assert find_faults(*command, "trainer.test=false,true") == {}


@pytest.mark.parametrize(
    "tries",
    [
        ["debug=fast"],
        ["trainer.debug=null,fast"],
        ["+hydra.sweeper.params={trainer.debug: fast}"],
    ],
)
def test_no_point_of_a_study_is_a_try(tries):
    faults = find_faults("-m", "search=grid", "seed=0,1", *tries)
    assert faults == {"debug": "fast tries single runs and plain multiruns, and this is a study"}


@pytest.mark.parametrize(
    ("lines", "named", "key"),
    [
        (["search=rnn", "model=rnn", "experiment=transformer_vs_rnn", "seed=0"], "transformer_vs_rnn", "trainer.test"),
        (["search=rnn", "seed=0,1"], None, "hydra.sweeper.repeats"),
    ],
)
def test_a_study_that_has_begun_goes_on_though_its_trials_test_or_share_seeds(tmp_path, lines, named, key):
    lines = [*lines, "data=synthetic", *FEW_CORNERS]
    command = ("-m", *lines, f"hydra.sweep.dir={tmp_path}/${{hydra.sweeper.study_name}}", "hydra.sweeper.repeats=2")
    assert list(find_faults(*command)) == [key]
    folder = tmp_path / (named or name(*lines))
    folder.mkdir()
    assert list(find_faults(*command)) == [key]
    write_study_address(folder, folder.name, None, "python run.py")
    assert find_faults(*command) == {}
    assert list(find_faults(*command, "hydra.sweeper.study_name=other")) == [key]


def test_numbers_of_a_sweeper_may_be_texts(monkeypatch):
    monkeypatch.setenv("TASKS", "2")
    given = (f"hydra.sweeper.{key}='${{oc.env:TASKS}}'" for key in ("n_jobs", "n_trials", "repeats", "epochs"))
    assert find_faults("-m", "search=rnn", *given, *FEW_CORNERS) == {}
    assert find_faults("-m", "search=rnn", "hydra.sweeper.devices_per_trial='1'", *FEW_CORNERS) == {}


@pytest.mark.parametrize("search", ["transformer", "rnn", "both"])
def test_a_search_without_its_budget_has_the_trials_of_all_searches(search: str):
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        lines = [f"search={search}", "hydra.sweeper.full_trials=null"]
        assert compose("config", lines, return_hydra_config=True).hydra.sweeper.n_trials == 20


def test_seeds_that_an_experiment_searches_are_not_repeated_but_a_fixed_one_is():
    assert list(find_faults("-m", "experiment=heads", "data=synthetic", "hydra.sweeper.repeats=2")) == [
        "hydra.sweeper.repeats"
    ]
    assert find_faults("-m", "experiment=heads", "data=synthetic", "seed=1", "hydra.sweeper.repeats=2") == {}


def test_a_constraint_that_cannot_be_read_is_a_fault():
    faults = find_faults("-m", "search=transformer", "hydra.sweeper.constraints=['model.heads %']")
    assert len(faults) == 1


def test_a_space_that_cannot_be_drawn_from_is_a_fault():
    assert list(find_faults("-m", "search=rnn", "model.depth=range(3,3)")) == ["model.depth"]


def name(*lines: str) -> str:
    return name_study("rnn", ListConfig(list(lines)))


def test_the_same_command_names_the_same_study():
    assert name("search=rnn") == "rnn"
    named = name("search=rnn", "seed=1", "data=imdb")
    assert named == "rnn-ebb05d"
    assert named == name("data=imdb", "search=rnn", "seed=1"), "the order of overrides is no matter"
    assert named != name("search=rnn", "seed=2", "data=imdb")


@pytest.mark.parametrize(
    ("word", "counted"),
    [
        ("model.hidden_size=${.embedding_size}", "model.hidden_size=${.embedding_size}"),  # no place in a list
        ("data.max_tokens=${model.embedding_size}", "data.max_tokens=32"),  # as in earlier versions
    ],
)
def test_a_study_is_named_by_a_typed_interpolation_as_far_as_it_has_a_value(word, counted):
    lines = ["search=rnn", "model=rnn", "model.embedding_size=32"]
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        sweeper = compose("config", [*lines, word], return_hydra_config=True).hydra.sweeper
    assert sweeper.study_name == name(*lines, counted)


@pytest.mark.parametrize(
    ("option", "key", "problem"),
    [
        ("limits={model/parameter: 1000}", "hydra.sweeper.limits.model/parameter", "no job measures it"),
        ("limits={test/accuracy: 1}", "hydra.sweeper.limits.test/accuracy", "no job measures it"),
        ("ignore=[traking]", "hydra.sweeper.ignore", "traking: no such key"),
        ("probe_overrides=['trainer.tst=false']", "hydra.sweeper.probe_overrides", "trainer.tst: no such key"),
        ("probe_overrides=['tracking=nne']", "hydra.sweeper.probe_overrides", "tracking: no option 'nne'"),
        ("probe_overrides=[trainer]", "hydra.sweeper.probe_overrides", "trainer: cannot be read as an override"),
    ],
)
def test_names_in_the_options_of_a_search_are_checked(option: str, key: str, problem: str):
    assert find_faults("-m", "search=rnn", f"hydra.sweeper.{option}", *FEW_CORNERS) == {key: problem}


def test_names_that_exist_are_no_faults():
    options = ("limits={model/parameters: 1000}", "ignore=[tracking, model.cell]", "probe_overrides=['tracking=none']")
    given = (f"hydra.sweeper.{option}" for option in options)
    assert find_faults("-m", "search=rnn", "tracking=mlflow", *given, *FEW_CORNERS) == {}
