"""A command line is checked as a whole: all faults at once, in plain words, with the remedy."""

from __future__ import annotations

import shutil
from typing import Literal

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from optuna.distributions import IntDistribution
from pydantic import BaseModel

from sentiment.config.command_line import check_command_line, complete_study_keys
from sentiment.config.group import DataGroup
from sentiment.config.home import PROJECT_DIR
from sentiment.config.option import OPTIONS, Option, group_members
from sentiment.config.schema import ImdbDataSettings, Settings
from sentiment.config.unread import UNREAD, UnreadKeys
from sentiment.errors import ConfigError
from sentiment.search.options import StudyOptions
from sentiment.search.plugin.sweeper import STUDY_SWEEPER, list_search_points
from sentiment.search.space.distributions import build_distribution
from tests.composing import compose_project

pytestmark = pytest.mark.usefixtures("composed_once")


SEARCHES = {STUDY_SWEEPER: list_search_points}

SMALL = ["-m", "search=study", "optimizer.lr=interval(0.1,0.2)"]
"""A search of few points, where the space is not the point."""

OPTUNA = ["hydra/sweeper=optuna", "hydra.sweeper.direction=maximize"]


def find_faults(*arguments: str, searches=None, **others) -> dict[str, tuple[str, str]]:
    try:
        check_command_line(list(arguments), PROJECT_DIR / "conf", "config", searches, **others)
    except ConfigError as error:
        return {fault.key: (fault.problem, fault.remedy) for fault in error.faults}
    return {}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["model=rnn", "model.depth=2"],
        ["-m", "model=transformer,rnn", "seed=0,1"],
        ["-m", "model.embedding_size=range(16,64,16)"],
        ["--help"],
        ["--info", "searchpath"],
        ["--run", "seed=1"],
        ["-m", "--cfg", "job", "--help"],
        ["--cfg", "job", "model=rnn"],
        ["hydra.verbose=true"],
        ["model=rnn", "pretrain=lm"],
        ["pretrain=mlm", "-m", "pretrain.mask_fraction=0.1,0.2"],
        ["-m", "model=rnn", "pretrain=lm,none"],
        ["experiment=imdb_rnn_pretrained", "pretrain=none", "data=synthetic"],
        ["-m", "search=rnn", "pretrain=none"],
        ["-m", "search=rnn", "experiment=imdb_rnn_pretrained", "pretrain=none", "data=synthetic", "trainer.test=false"],
        [
            "hydra/sweeper=optuna",
            "hydra.sweeper.direction=maximize",
            "-m",
            "model.heads=choice(1,2,4)",
            "optimizer.lr=tag(log, interval(1e-4, 1e-2))",
        ],
    ],
)
def test_valid_commands_pass(arguments):
    assert find_faults(*arguments, searches=SEARCHES) == {}


@pytest.mark.parametrize(
    ("arguments", "key", "problem", "remedy"),
    [
        (["model.hed=3"], "model.hed", "no such key", "did you mean model.heads?"),
        (["heads=3"], "heads", "no such key", "did you mean model.heads?"),
        (["learning_rate=1e-3"], "learning_rate", "no such key", "did you mean optimizer.lr?"),
        (["hidden_dim=64"], "hidden_dim", "no such key", "did you mean model.embedding_size?"),
        (["model=rnn", "hidden_dim=64"], "hidden_dim", "no such key", "did you mean model.hidden_size?"),
        (["model.n_layers=2"], "model.n_layers", "no such key", "did you mean model.depth?"),
        (["batch_size=8"], "batch_size", "no such key", "did you mean data.batch_size?"),
        (["logger=wandb"], "logger", "no such key", "did you mean tracking? options: both, mlflow, none, tensorboard"),
        (["model=lstm"], "model", "no option 'lstm'", "did you mean model=rnn?"),
        (["n_trials=4"], "n_trials", "no such key", "did you mean hydra.sweeper.n_trials?"),
        (
            ["-m", "seed=0,1", "hydra.sweeper.n_trials=4"],
            "hydra.sweeper.n_trials",
            "no such key in",
            "add search=study",
        ),
        (["optimzer=sgd"], "optimzer", "no such key", "did you mean optimizer?"),
        (["hydra.sweper=3"], "hydra.sweper", "no such key", "did you mean hydra.sweeper?"),
        (
            ["pretrain=null"],
            "pretrain",
            "null is no option on the command line",
            "pretrain=none leaves it out; options: lm, mlm, none",
        ),
        (["model=transfomer"], "model", "no option 'transfomer'", "did you mean model=transformer?"),
        (["experiment=nope"], "experiment", "no option 'nope'", "options: "),
        (["model=rnn", "model.heads=4"], "model.heads", "no such key in model=rnn", "belongs to model=transformer"),
        (["+model.colour=red"], "model.colour", "no such key", ""),
        (["model.heads=3"], "model.heads", "do not divide embedding_size=64", "model.head_form=wide"),
        (["trainer.max_epochs=0"], "trainer.max_epochs", "0 is out of range", "at least 1"),
        (["trainer.max_epochs=2.5"], "trainer.max_epochs", "2.5 is a number", "a whole number"),
        (["model.dropout=1.0"], "model.dropout", "1.0 is out of range", "less than 1"),
        (["model.dropout=a lot"], "model.dropout", "'a lot' is text", "must be a number"),
        (["optimizer.lr=0"], "optimizer.lr", "0 is out of range", "more than 0"),
        (["optimizer.lr=nan"], "optimizer.lr", "nan", "a finite number"),
        (["seed=null"], "seed", "empty (null)", "a whole number"),
        (["seed=true"], "seed", "true or false", "a whole number"),
        (["objective=val/acuracy"], "objective", "no valid value", "did you mean val/accuracy?"),
        (["objective=val/acc"], "objective", "no valid value", "did you mean val/accuracy?"),
        (["objective=val_acc"], "objective", "no valid value", "did you mean val/accuracy?"),
        (["objective=test/accuracy"], "objective", "no valid value", "one of val/accuracy"),
        (["direction=minimize"], "direction", "no key any more", "follows from objective"),
        (["model.bigram_buckets=64"], "model.bigram_buckets", "no key any more", "model.naive_bayes_ngrams=2"),
        (["+trainer.adversarial_share=0.1"], "trainer.adversarial_share", "no key any more", "leave it out"),
        (["objectives=[val/accuracy,val/f1]"], "objectives", "no key any more", "write objective=[...]"),
        (
            ["-m", "hydra/sweeper=optuna", "hydra.sweeper.direction=${direction}", "seed=choice(0,1)"],
            "hydra.sweeper.direction",
            "'direction' not found",
            "${directions:${objective}}",
        ),
        (["objective=model/parameters"], "objective", "cannot select", "objective=[val/accuracy,model/parameters]"),
        (["model.pooling=last"], "model.pooling", "no valid value", "one of mean, max"),
        (["model.heads=64", "model.positions=rotary"], "model.positions", "every head is 1 wide", "take fewer heads"),
        (
            ["model.embedding_size=1", "model.heads=1", "model.head_form=wide", "model.positions=rotary"],
            "model.positions",
            "every head is 1 wide",
            "a larger model.embedding_size",
        ),
        (["optimizer=sgd", "optimizer.momentum=0"], "optimizer.nesterov", "momentum=0", "optimizer.momentum=0.9"),
        (["data=files"], "data.path", "has no value", "data.path=..."),
        (["data=imdb", "data.path=/no/such/folder"], "data.path", "does not exist", "correct the path"),
        (["data.min_sentences=9"], "data.max_sentences", "less than min_sentences=9", "at least 9"),
        (
            ["data.tokenizer.kind=bpe", "data.tokenizer.vocabulary_size=99"],
            "data.tokenizer.vocabulary_size",
            "256 bytes",
            "258",
        ),
        (
            ["data=files", "data.path=.", 'data.label_map="{a: b, a: c}"'],
            "data.label_map",
            "duplicate key",
            "{LABEL: CL",
        ),
        (["trainer.resume=maybe"], "trainer.resume", "'maybe' is text", "must be true or false; or one of keep"),
        (
            ["data=files", "data.path=.", "data.label_map={a: [1]}"],
            "data.label_map",
            "[1] is a list",
            "; or must be a whole",
        ),
        (["data=files", "data.path=.", "data.labels=[0,x]"], "data.labels.0", "0 is a whole number", "must be text"),
        (["data=imdb", "data.revision=main"], "data.revision", "'main' is text", "branch or a tag can move: 40 hex"),
        (["data=hub", "data.repository=a/b", "data.revision=main"], "data.revision", "'main' is text", "move: 40 hex"),
        (["pretrain=lm"], "pretrain", "lm is for model=rnn, not for transformer", "model=rnn, or pretrain=mlm"),
        (["model=rnn", "pretrain=mlm"], "pretrain", "is for model=transformer", "model=transformer, or pretrain=lm"),
        (["model=ngram", "pretrain=lm"], "pretrain", "not for ngram", "model=rnn, or leave pretrain out"),
        (["pretrain=mlm", "trainer.init_from=RUN"], "pretrain", "trainer.init_from=RUN", "leave one of the two out"),
        (["model=ngram", "trainer.teachers=[A]"], "trainer", "fitted in one go, to labels", "a teacher itself"),
        (["trainer.teachers=[A]"], "trainer", "and there are none", "data.unlabelled_size"),
        (["data=files", "data.path=.", "trainer.teachers=[A]"], "trainer", "there are none", "data.unlabelled_path"),
        (["trainer.teachers=[]"], "trainer.teachers", "", ""),
        (["trainer.teachers=[A,B,A]", "data.unlabelled_size=9"], "trainer", "names one twice", "name each once"),
        (["debug=overfit", "trainer.teachers=[A]"], "trainer", "learns a few labels by heart", "one of the two out"),
        (["pretrain=mlm", "pretrain.cutoffs=[50,20]"], "pretrain.cutoffs", "no rising ranks", "[1000,5000]"),
        (["pretrain=mlm", "pretrain.max_epochs=0"], "pretrain.max_epochs", "out of range", "at least 1"),
        (["model=rnn", "pretrain=lm", "pretrain.mask_fraction=0.1"], "pretrain.mask_fraction", "pretrain=lm", "=mlm"),
        (["pretrain.lr=0.1"], "pretrain.lr", "while pretrain is left out", "pretrain=mlm or pretrain=lm"),
        (["pretrain=bert"], "pretrain", "no option 'bert'", "options: lm, mlm"),
        (["data=files", "data.unlabelled_path=/no/such"], "data.unlabelled_path", "does not exist", "correct the path"),
        (["~seed"], "seed", "has no value", "seed=..."),
        (["seed=${nowhere}"], "seed", "nowhere", "${...}"),
        (["model=transformer,rnn"], "model", "several values (transformer,rnn)", "add -m"),
        (["nonsense"], "nonsense", "cannot be read", "key=value"),
        (["model=[1,2"], "model=[1,2", "cannot be read", "key=value"),
    ],
)
def test_a_fault_is_explained_with_its_remedy(arguments, key, problem, remedy):
    faults = find_faults(*arguments)
    assert key in faults, faults
    assert problem in faults[key][0]
    assert remedy in faults[key][1]


@pytest.mark.parametrize(
    ("arguments", "key", "remedy"),
    [
        (["-m", "search=rnn", "--cfg", "job"], "-m, --cfg", "leave out -m: --cfg shows one configuration"),
        (["-m", "--info"], "-m, --info", "leave out -m: --info runs nothing"),
        (["--run", "-m"], "--run, -m", "leave out --run: -m runs a sweep"),
        (["-m", "-sc", "install=bash"], "-m, --shell-completion", "leave out -m: --shell-completion runs nothing"),
        (["--run", "-m", "--info", "--cfg", "all"], "--run, -m, --info, --cfg", "leave out --run and -m and --info"),
    ],
)
def test_of_flags_that_exclude_each_other_it_is_told_which_to_leave_out(arguments, key, remedy):
    faults = find_faults(*arguments)
    assert faults[key][1].startswith(remedy)


def test_all_faults_are_reported_together():
    faults = find_faults(
        "model.hed=3", "model.heads=5", "model.dropout=2", "optimzer=sgd", "scheduler=steps", "seed=-1", "objective=x",
        "trainer.max_epochs=none", "nonsense",
    )  # fmt: skip
    assert set(faults) == {
        "model.hed", "model.heads", "model.dropout", "optimzer", "scheduler", "seed", "objective",
        "trainer.max_epochs", "nonsense",
    }  # fmt: skip


def test_all_points_of_a_grid_are_checked():
    faults = find_faults("-m", "model.heads=4,6,8", "model.embedding_size=64,72,100")
    assert faults["model.heads"]
    with pytest.raises(ConfigError) as caught:
        check_command_line(
            ["-m", "model.heads=4,6,8", "model.embedding_size=64,72,100"], PROJECT_DIR / "conf", "config"
        )
    problems = [fault.problem for fault in caught.value.faults]
    assert len(problems) == 3  # 6 in 64, 6 and 8 in 100; each once
    assert len(set(problems)) == 3


def test_a_grid_over_models_names_the_key_that_one_of_them_lacks():
    assert (
        "belongs to model=transformer" in find_faults("-m", "model=transformer,rnn", "model.heads=8")["model.heads"][1]
    )


def test_an_endless_sweep_from_the_configuration_is_told():
    params = "+hydra.sweeper.params={seed: 'range(0,1e9)'}"
    assert "more than 100,000" in find_faults("-m", params)["seed"][0]
    assert find_faults("-m", params, "seed=0,1") == {}


def test_sweeps_from_the_configuration_are_checked_too():
    faults = find_faults("-m", "+hydra.sweeper.params={trainer.max_epochs: '0,1'}")
    assert faults["trainer.max_epochs"][0] == "0 is out of range"


@pytest.mark.parametrize(("own", "is_fault"), [("null", False), ("2", False), ("1", True)])
def test_threads_that_a_run_would_not_take_from_its_study_are_a_fault(own, is_fault):
    threads = [f"trainer.threads={own}", "hydra.sweeper.threads_per_job=2"]
    faults = find_faults("-m", "search=study", "model.depth=1,2", *threads, searches=SEARCHES)
    assert ("trainer.threads" in faults) == is_fault, faults
    if is_fault:
        assert "leave out the one" in faults["trainer.threads"][1], "one that is searched cannot be null"


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["search=transformer,rnn"], "take search=both, one study of several models, or run them one after the other"),
        (["search=study", "experiment=heads,pooling"], "one after the other: -m experiment=heads, then -m experiment="),
    ],
)
def test_several_searches_in_one_command_are_a_fault(arguments, remedy):
    [(problem, found)] = find_faults("-m", *arguments).values()
    assert "set up the sweep itself" in problem
    assert remedy in found


def test_options_that_leave_the_sweep_alone_can_be_swept(tmp_path):
    (tmp_path / "experiment").mkdir()
    for seed in (1, 2):
        (tmp_path / "experiment" / f"seed{seed}.yaml").write_text(f"# @package _global_\nseed: {seed}\n")
    for sweeper in ([], ["search=grid"], ["search=grid", "hydra.sweeper.study_name=mine"]):
        command = ("--config-dir", str(tmp_path), "-m", *sweeper, "experiment=seed1,seed2")
        assert find_faults(*command, searches=SEARCHES) == {}


def test_options_may_say_what_stands_beside_the_number_in_the_folders_of_their_jobs(tmp_path):
    text = "# @package _global_\nhydra: {sweep: {subdir: '%s_${hydra:job.num}'}}\n"
    folder = write_options(tmp_path, experiment_a=text % "a", experiment_b=text % "b")
    (tmp_path / "experiment" / "c.yaml").write_text("# @package _global_\nseed: 3\n")
    assert find_faults("--config-dir", folder, "-m", "experiment=a,b,c") == {}


@pytest.mark.parametrize(
    ("arguments", "values", "key"),
    [
        (["debug=fast,overfit"], "fast,overfit", "hydra.sweep"),
        (["+hydra.sweeper.params={debug: 'fast,nans'}", "seed=0,1"], "fast,nans", "hydra.sweep"),
        (["+hydra.sweeper.params={hydra.sweep.dir: there}", "seed=0,1"], "there", "hydra.sweep"),
        (["search=tried"], "fast", "hydra.sweep"),
        (["experiment=alone,none"], "alone,none", "hydra.sweep"),
        (["experiment=quiet,pooling"], "quiet,pooling", "hydra.hydra_logging"),
        (["experiment=apart,pooling"], "apart,pooling", "hydra.launcher"),
        (["trainer=twice,auto"], "twice,auto", "hydra.callbacks"),
    ],
)
def test_options_of_single_jobs_that_say_how_the_sweep_runs_are_refused(tmp_path, arguments, values, key):
    files = {
        "experiment_alone": "hydra: {sweep: {subdir: here}}\n",
        "experiment_none": "seed: 3\n",
        "experiment_quiet": "hydra: {hydra_logging: {disable_existing_loggers: true}}\n",
        "experiment_apart": "defaults: [{override /hydra/launcher: joblib}]\n",
        "trainer_twice": "hydra: {callbacks: {again: '${hydra.callbacks.sweep}'}}\n",
        "search_tried": "defaults: [both, _self_]\nhydra: {sweeper: {branches: {model=rnn: {debug: fast}}}}\n",
    }
    folder = write_options(tmp_path, **{name: f"# @package _global_\n{text}" for name, text in files.items()})
    problem, remedy = find_faults("--config-dir", folder, "-m", *arguments, searches=SEARCHES).popitem()[1]
    assert problem.startswith(f"{values} set up the sweep itself (")
    assert key in problem
    assert remedy.startswith("run them one after the other: -m ")


def write_options(folder, **files: str):
    for name, text in files.items():
        group, _, option = name.partition("_")
        (folder / group).mkdir(parents=True, exist_ok=True)
        (folder / group / f"{option}.yaml").write_text(text)
    return str(folder)


def test_a_file_that_a_command_means_and_another_one_hides_is_refused(tmp_path):
    mine = write_options(tmp_path / "mine", trainer_auto="max_epochs: 3\n", trainer_short="max_epochs: 3\n")
    theirs = write_options(tmp_path / "theirs", model_rnn="depth: 2\n", trainer_short="max_epochs: 4\n")
    write_options(tmp_path / "theirs", search_study="a: 2\n")
    pruners = write_options(tmp_path / "theirs/hydra/sweeper", pruner_promotion="min_resource: 2\n")
    shutil.copy(PROJECT_DIR / "conf/trainer/cpu.yaml", tmp_path / "mine/trainer")  # the same is no other
    (problem, _) = find_faults("--config-dir", mine)[f"{mine}/trainer/auto.yaml"]
    assert problem == f"is hidden by {PROJECT_DIR}/conf/trainer/auto.yaml, which Hydra finds first"
    more = f"hydra.searchpath=[file://{theirs}]"
    assert find_faults(more, "model=ngram") == {}
    faults = find_faults("--config-dir", mine, more, "-m", "trainer=auto,short")
    assert {f"{mine}/trainer/auto.yaml", f"{theirs}/trainer/short.yaml"} == {key for key in faults if "/" in key}
    assert set(find_faults(more, "-m", "search=rnn")) == {
        f"{pruners}/pruner/promotion.yaml", f"{theirs}/model/rnn.yaml", f"{theirs}/search/study.yaml",
    }  # fmt: skip


def test_a_primary_config_that_another_one_hides_is_refused_where_it_is_named(tmp_path):
    folder = write_options(tmp_path, **{"_config": "depth: 2\n", "experiment_own": "# @package _global_\nseed: 3\n"})
    assert find_faults("--config-dir", folder, "experiment=own") == {}
    assert list(find_faults("--config-dir", folder, "--config-name", "config")) == [f"{folder}/config.yaml"]


def test_folders_of_ones_own_are_read_as_hydra_reads_them(tmp_path):
    mine = write_options(tmp_path / "mine", **{"_mine": "defaults: [config, _self_]\nmodel: {depth: 999}\n"})
    theirs = write_options(tmp_path / "theirs", model_big="defaults: [rnn, _self_]\ndepth: 98\n")
    faults = find_faults("--config-dir", mine, "--config-name", "mine")
    assert "999 is out of range" in faults["model.depth"][0]
    faults = find_faults("--config-dir", mine, f"hydra.searchpath=[file://{theirs}]", "model=big")
    assert "98 is out of range" in faults["model.depth"][0]


def test_an_experiment_that_does_not_say_where_its_keys_belong_is_explained(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("model:\n  depth: 3\nseed: 4\n")
    [(key, (problem, remedy))] = find_faults("--config-dir", str(tmp_path), "experiment=mine").items()
    assert key == "experiment"
    assert "(model, seed)" in problem
    assert "# @package _global_" in remedy


@pytest.mark.parametrize(
    ("sweeper", "problem"),
    [
        ("n_job: 3", "hydra.sweeper.n_job: Key 'n_job' not in 'StudySweeperConf'. Did you mean: 'n_jobs'?)"),
        ("repeats: many", "hydra.sweeper.repeats: Value 'many' of type 'str' could not be converted to Integer)"),
    ],
)
def test_a_search_with_a_wrong_key_or_value_says_which(tmp_path, sweeper, problem):
    content = f"# @package _global_\ndefaults: [grid, _self_]\nhydra: {{sweeper: {{{sweeper}}}}}\n"
    folder = write_options(tmp_path, search_mine=content)
    [(key, (told, remedy))] = find_faults("--config-dir", folder, "-m", "search=mine", "seed=0,1").items()
    assert (key, remedy) == ("search", f"correct {tmp_path}/search/mine.yaml")
    assert told == f"mine cannot be composed (In 'search/mine', {problem}"


@pytest.mark.parametrize("table", ["params: {{{0}}}", "branches: {{model=rnn: {{{0}}}}}"])
def test_a_search_may_set_a_key_to_null(tmp_path, table):
    sweeper = table.format("trainer.patience: null")
    content = f"# @package _global_\ndefaults: [grid, _self_]\nhydra: {{sweeper: {{{sweeper}}}}}\n"
    folder = write_options(tmp_path, search_mine=content)
    command = ("--config-dir", folder, "-m", "search=mine", "model=rnn,transformer")
    assert find_faults(*command, searches=SEARCHES) == {}


def test_both_ends_of_an_interval_are_checked():
    faults = find_faults(
        "-m", "hydra/sweeper=optuna", "hydra.sweeper.direction=maximize", "optimizer.lr=interval(1e-4, 20)"
    )
    assert "20.0 is out of range" in faults["optimizer.lr"][0]


@pytest.mark.parametrize("sweeper", [OPTUNA, ["search=study"]])
@pytest.mark.parametrize(
    ("written", "meant"),
    [("interval(1,3)", "range(1,4)"), ("tag(log,interval(1,3.5))", "tag(log,int(interval(1,3)))")],
)
def test_an_interval_of_whole_numbers_is_written_as_whole_numbers(sweeper, written, meant):
    faults = find_faults("-m", *sweeper, f"model.depth={written}")
    assert written in faults["model.depth"][0]
    assert f"model.depth={meant}" in faults["model.depth"][1]
    assert find_faults("-m", *sweeper, f"model.depth={meant}") == {}
    read = build_distribution(OverridesParser.create().parse_override(f"model.depth={meant}"))
    assert read == IntDistribution(1, 3, log="log" in meant)


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("run.py hydra.sweeper.n_", "run.py hydra/sweeper=study hydra.sweeper.n_"),
        ("run.py -m search=rnn hydra.sweeper.n_", "run.py -m search=rnn hydra.sweeper.n_"),
        ("run.py model.he", "run.py model.he"),
    ],
)
def test_keys_of_studies_are_completed_before_a_search_is_typed(typed, completed):
    environment = {"COMP_LINE": typed}
    complete_study_keys(environment)
    assert environment["COMP_LINE"] == completed


def test_the_message_fits_one_screen_and_says_that_nothing_was_started():
    with pytest.raises(ConfigError, match="2 faults in the configuration; nothing was started") as caught:
        check_command_line(["seed=-1", "model.heads=7"], PROJECT_DIR / "conf", "config")
    assert len(str(caught.value).splitlines()) < 24


@settings(max_examples=8)
@given(
    width=st.integers(1, 256),
    heads=st.integers(1, 16),
    form=st.sampled_from(["narrow", "wide"]),
)
def test_heads_are_a_fault_exactly_where_narrow_heads_do_not_divide_the_width(width, heads, form):
    faults = find_faults(f"model.embedding_size={width}", f"model.heads={heads}", f"model.head_form={form}")
    assert set(faults) == ({"model.heads"} if form == "narrow" and width % heads else set())


@settings(max_examples=5)
@given(st.text(alphabet=st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=12))
def test_no_text_makes_the_check_itself_fail(text):
    for line in (f"model.dropout={text}", f"model.{text}=1", f"++{text}"):
        assert all(problem and remedy for problem, remedy in find_faults(line).values())


@pytest.mark.parametrize(
    ("splits", "unread"),
    [
        (("train", "validation", "test"), {"validation_fraction", "test_fraction", "split_seed"}),
        (("train", "dev"), {"validation_fraction"}),
        (("train", "test"), {"test_fraction"}),
        (("train",), set()),
    ],
)
def test_the_splits_of_a_saved_data_set_leave_nothing_to_split_off(tmp_path, splits, unread):
    (tmp_path / "dataset_dict.json").write_text("{}")
    for split in splits:
        (tmp_path / split).mkdir()
    keys = ("validation_fraction=0.5", "test_fraction=0.5", "split_seed=7")
    found = find_faults("data=files", f"data.path={tmp_path}", *(f"data.{key}" for key in keys))
    assert {key.removeprefix("data.") for key in found} == unread
    assert all(str(tmp_path) in problem for problem, _ in found.values())
    if "dev" in splits:
        others = [f"data.test_path={tmp_path}", "data.split_seed=7"]
        assert set(find_faults("data=files", f"data.path={tmp_path}", *others)) == {"data.split_seed"}


@pytest.mark.parametrize(
    ("arguments", "unread", "cause"),
    [
        (["data.keep=tail", "data.head_fraction=0.3"], "data.head_fraction", "data.keep=tail"),
        (["model=rnn", "data.keep=head", "++data.head_fraction=0.3"], "data.head_fraction", "data.keep=head"),
        (["-m", "data.keep=head", "data.head_fraction=0.3,0.4"], "data.head_fraction", "data.keep=head"),
        (
            ["-m", "search=study", "data.keep=head", "data.head_fraction=0.3,0.4"],
            "data.head_fraction",
            "data.keep=head",
        ),
        (["trainer.init_from=RUN", "data.tokenizer.kind=bpe"], "data.tokenizer.kind", "trainer.init_from=RUN"),
        (["data.unlabelled_size=50"], "data.unlabelled_size", "pretrain=null"),
        (["data=imdb", "data.path=.", "data.repository=me/imdb"], "data.repository", "data.path="),
        (
            ["data=files", "data.path=.", "data.test_path=.", "data.test_fraction=0.2"],
            "data.test_fraction",
            "test_path=",
        ),
        (["data=files", "data.path=.", "data.test_label_path=."], "data.test_label_path", "data.test_path=null"),
        (["data=files", "data.path=.", "data.format=json", "data.header=true"], "data.header", "data.format=json"),
        ([*SMALL, "hydra.sweeper.margin=1"], "hydra.sweeper.margin", "sweeper.pruner=PromotionPruner"),
        (
            [*SMALL, "hydra/sweeper/pruner=median", "hydra.sweeper.margin=1", "objective=val/loss"],
            "hydra.sweeper.margin",
            "objective=val/loss",
        ),
        (["-m", "model=ngram", "optimizer.lr=0.1,0.2"], "optimizer.lr", "model=ngram"),
        (["-m", "model=ngram", "optimizer=adamw,sgd"], "optimizer", "model=ngram"),
        (["-m", "model=ngram", "model.max_n=1,2", "data.max_tokens=64,128"], "data.max_tokens", "model=ngram"),
        (["-m", "search=ngram", "trainer.max_epochs=1,2"], "trainer.max_epochs", "model=ngram"),
        (["-m", "search=study", "model=ngram", "scheduler=warmup_linear,constant"], "scheduler", "model=ngram"),
        ([*SMALL, "hydra.sweeper.repeat_value=bound"], "hydra.sweeper.repeat_value", "repeats=1"),
        ([*SMALL, "hydra.sweeper.extend=X", "hydra.sweeper.start=[]"], "hydra.sweeper.start", "extend=X"),
        ([*SMALL, "hydra.sweeper.extend=X:3", "hydra.sweeper.n_trials=2"], "hydra.sweeper.n_trials", "X:3"),
        ([*SMALL, "hydra.sweeper.extend=X", "hydra.sweeper.prior=Y"], "hydra.sweeper.prior", "extend=X"),
        ([*SMALL, "hydra.sweeper.extend=X", "hydra/sweeper/pruner=median"], "hydra/sweeper/pruner", "=X"),
        ([*SMALL, "hydra.sweeper.extend=X", "hydra/sweeper/sampler=random"], "hydra/sweeper/sampler", "=X"),
        ([*SMALL, "hydra.sweeper.pruner.tolerance=1"], "hydra.sweeper.pruner.tolerance", "growing=false"),
    ],
)
def test_what_no_run_of_a_command_reads_is_a_fault(arguments, unread, cause):
    [(key, (problem, remedy))] = find_faults(*arguments, searches=SEARCHES).items()
    assert key == unread
    assert cause in problem
    assert remedy.startswith("leave it out, or change ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["data.keep=head_tail", "data.head_fraction=0.3"],
        ["data=files", "data.path=.", "data.test_label_path=null"],  # nothing is set
        ["data.keep=head"],  # a file may set what is not read: data.head_fraction
        ["-m", "data.keep=head,head_tail", "data.head_fraction=0.3"],
        ["-m", "search=imdb_rnn"],
        ["-m", "search=imdb_rnn", "data.head_fraction=0.3", "data.keep=head,head_tail"],
        ["-m", "model=rnn,ngram", "optimizer.lr=0.01", "trainer.max_epochs=1"],
        ["-m", "model=rnn,ngram", "optimizer.lr=0.01,0.02"],
        ["-m", "model=ngram", "optimizer.lr=0.01", "seed=0,1", "trainer.test=true,false"],
        ["model=ngram", "trainer=cpu", "trainer.threads=1", "trainer.test=false", "data.max_tokens=64"],
        ["model=ngram", "trainer.max_epochs=2", "optimizer.lr=0.1", "data.batch_size=8"],
        ["pretrain=mlm", "data.unlabelled_size=50"],
        [*SMALL, "hydra/sweeper/pruner=median", "hydra.sweeper.margin=1"],
        [
            "-m",
            "search=study",
            "data.keep=head",
            "data.head_fraction=0.3,0.4",
            "hydra.sweeper.custom_search_space=os.path.join",
        ],
        [*SMALL, "hydra.sweeper.repeats=2", "hydra.sweeper.repeat_value=bound"],
        [*SMALL, "hydra.sweeper.pruner.growing=true", "hydra.sweeper.pruner.tolerance=0.1"],
    ],
)
def test_what_some_run_reads_may_be_set(arguments):
    assert find_faults(*arguments, searches=SEARCHES) == {}


@pytest.mark.parametrize(
    ("arguments", "key", "problem"),
    [
        (["-m", "optimizer.lr=interval(1e-4,1e-2)"], "optimizer.lr", "draws numbers"),
        (["-m", "+hydra.sweeper.params={optimizer.lr:'interval(0.1,1)'}"], "optimizer.lr", "draws numbers"),
        (["-m", "seed=0,1,2", "++seed=5"], "seed", "seed=0,1,2 and ++seed=5 set the same,"),
        (["-m", "+hydra.sweeper.params={seed:'0,1,2'}", "++seed=5"], "seed", "set the same"),
        (["-m", "hydra/sweeper=optuna", "hydra.sweeper.direction=maximize", "seed=0,1", "++seed=5"], "seed", "same"),
        (["-m", "trainer.max_epochs=1,2", "trainer={max_epochs: 3}"], "trainer.max_epochs", "set the same"),
        (["-m", "trainer={max_epochs: 3},{max_epochs: 4}", "trainer.max_epochs=5"], "trainer", "set the same"),
        (["-m", "model=glob(x*)"], "model", "glob(x*) stands for no value, so nothing would run"),
        (["-m", "seed=range(3,0)", "model=rnn"], "seed", "range(3,0) stands for no value"),
        (["-m", "+hydra.sweeper.params={seed:'range(2,2)'}"], "seed", "range(2,2) stands for no value"),
        (["-m", "optimizer.lr=1e-3,0.001"], "optimizer.lr", "names 0.001 more than once"),
        (["-m", "optimizer=sgd", "optimizer={lr: 0.1}", "seed=0,1"], "optimizer", "keeps the later alone"),
        (["-m", "model={dropout: 0.2}", "model=transformer,rnn"], "model", "keeps the later alone"),
        (["-m", "trainer={max_epochs: 3}", "trainer={patience: 2},{patience: 3}"], "trainer", "keeps the later alone"),
        (["-m", "+hydra.sweeper.params={model: 'rnn,transformer'}", "model={depth: 2}"], "model", "the later alone"),
        (["-m", "~trainer.devices", "seed=0,1"], "trainer.devices", "would delete it where it is null"),
        (["-m", "model.dropout=0,0.1,0.0"], "model.dropout", "names 0.0 more than once"),
        (["-m", "trainer.patience=4,null,null"], "trainer.patience", "names null more than once"),
    ],
)
def test_what_hydra_would_stumble_over_in_the_middle_of_a_sweep_or_run_twice_is_a_fault_before(arguments, key, problem):
    [(found, (told, remedy))] = find_faults(*arguments).items()
    assert found == key
    assert problem in told
    assert remedy


@pytest.mark.filterwarnings("ignore:extend_list")
def test_a_list_that_each_job_would_have_replaced_is_refused_where_a_study_extends_it():
    command = ("-m", "pretrain=mlm", "pretrain.cutoffs=extend_list(20000)", "seed=0,1")
    for sweeper in ([], OPTUNA):
        [(key, (problem, _))] = find_faults(*command, *sweeper).items()
        assert key == "pretrain.cutoffs"
        assert problem == "each job would get [20000] in place of the list, not added to it"
    assert find_faults(*command, "search=grid", searches=SEARCHES) == {}
    assert find_faults("pretrain=mlm", "pretrain.cutoffs=extend_list(20000)") == {}


@pytest.mark.parametrize("deletion", ["~trainer.devices=1", "~pretrain"])
def test_a_deletion_that_jobs_get_as_it_is_typed_passes(deletion):
    assert find_faults("-m", deletion, "seed=0,1") == {}


GRID, STUDY = ["seed=0,1", "model=transformer,rnn"], ["search=study", "model.dropout=interval(0,0.1)"]


@pytest.mark.parametrize(
    ("sweep", "folder", "is_fault"),
    [
        (GRID, "${model.name}_${seed}", False),
        (GRID, "${hydra:runtime.choices.model}/${seed}", False),
        (GRID, "${model.name}", True),
        (GRID, "here", True),
        (["seed=0"], "here", False),
        (STUDY, "${model.dropout}", True),  # trials may draw the same, or be tried again
        (STUDY, "trial_${hydra.job.num}", False),
        (STUDY, "${hydra:job.override_dirname}", False),
        (STUDY, "${hydra_override_dirname:}", False),
        (GRID, "${hydra_override_dirname:}", False),
        (GRID, "${hydra.job.override_dirname}", False),
        (GRID, "${hydra:overrides.task}", False),
        ([*GRID, "hydra.job.config.override_dirname.exclude_keys=[seed]"], "${hydra:job.override_dirname}", True),
        ([*GRID, "hydra.job.name='${model.name}_${hydra:job.num}'"], "${hydra.job.name}", False),
        (GRID, "${oc.env:KNOWN_TO_NO_MACHINE}_${seed}", False),
    ],
)
def test_jobs_that_would_share_a_folder_are_refused(sweep, folder, is_fault):
    command = ("-m", *sweep)
    faults = find_faults(*command, f"hydra.sweep.subdir='{folder}'", searches=SEARCHES)
    assert list(faults) == ["hydra.sweep.subdir"] * is_fault, faults
    if is_fault:
        remedy = faults["hydra.sweep.subdir"][1].partition(": ")[2]
        assert find_faults(*command, f"hydra.sweep.subdir={remedy}", searches=SEARCHES) == {}


def test_of_two_settings_of_a_key_the_one_that_hydra_takes_is_checked():
    assert list(find_faults("trainer.max_epochs=5", "trainer={max_epochs: 0}")) == ["trainer.max_epochs"]
    assert find_faults("trainer.max_epochs=0", "trainer={max_epochs: 5}") == {}
    assert find_faults("-m", "trainer={max_epochs: 3},{max_epochs: 4}", "trainer.patience=5") == {}
    assert find_faults("-m", "trainer={max_epochs: 3}", "trainer={patience: 5, max_epochs: 4}", "seed=0,1") == {}
    assert find_faults("optimizer=sgd", "optimizer={lr: 0.1}") == {}
    assert find_faults("-m", "trainer.max_epochs=5", "trainer={patience: 2}", "trainer.max_epochs=3", "seed=0,1") == {}


@pytest.mark.parametrize("sweeper", [[], OPTUNA])
@pytest.mark.parametrize(
    ("words", "key", "told"),
    [
        (["seed=1", "++seed=2", "seed=3"], "seed", "seed=3 would count before ++seed=2"),
        (["trainer.max_epochs=5", "trainer={max_epochs: 7}", "trainer.max_epochs=3"], "trainer.max_epochs", "place of"),
        (["model={depth: 1}", "model.depth=2", "model={depth: 1}"], "model", "before model.depth=2"),
        (
            ["+hydra.sweeper.params={trainer.max_epochs: 3}", "trainer={max_epochs: 7}", "trainer.max_epochs=5"],
            "trainer.max_epochs",
            "the place of trainer.max_epochs=3",
        ),
    ],
)
def test_a_word_that_a_multirun_would_put_before_another_one_is_refused(sweeper, words, key, told):
    [(found, (problem, remedy))] = find_faults("-m", *sweeper, *words).items()
    assert found == key
    assert told in problem
    assert remedy.startswith("leave ")
    typed = [word for word in words if not word.startswith("+hydra")]
    assert find_faults(*typed) == find_faults("-m", *sweeper, *typed[-2:]) == {}
    if not sweeper:
        assert find_faults("-m", "search=grid", *words, "data.batch_size=4,8", searches=SEARCHES) == {}


@pytest.mark.parametrize(
    ("sweep", "word", "line"),
    [
        (["model=choice(rnn)"], "model.cell=gru", "model.cell=choice(gru)"),
        (["search=both"], "model.cell=gru", "model.cell=choice(gru)"),
        (["search=both"], "model.cell=null", "++model.cell=null"),
        (["search=grid", "model=choice(rnn)"], "model.cell=gru", "model.cell=choice(gru)"),
    ],
)
def test_a_key_that_only_swept_options_have_is_left_to_the_jobs(sweep, word, line):
    key = word.partition("=")[0]
    problem, remedy = find_faults("-m", *sweep, word, searches=SEARCHES)[key]
    assert problem.startswith(f"no such key in the default of {key.partition('.')[0]}, and only jobs choose from ")
    assert remedy == f"write it for the jobs alone: {line}"
    if "null" not in line:
        assert find_faults("-m", *sweep, line, searches=SEARCHES) == {}
    problem, remedy = find_faults(*sweep[:1], word, searches=SEARCHES)[key]  # with -m forgotten
    assert remedy == "it belongs to model=rnn; choose that, or leave model.cell out"


@pytest.mark.parametrize("sweep", ["model=rnn,ngram", "model=ngram,transformer"])
@pytest.mark.parametrize("line", ["model.cell=choice(gru)", "model.cell=gru"])
def test_a_key_that_some_swept_option_lacks_belongs_to_another_one(sweep, line):
    remedy = "it belongs to model=rnn; choose that, or leave model.cell out"
    assert find_faults("-m", sweep, line)["model.cell"][1] == remedy


def test_a_word_that_is_typed_again_after_others_passes():
    assert find_faults("-m", "model=rnn", "model.depth=2", "seed=0,1", "model.depth=1", "model=transformer") == {}
    assert find_faults("-m", "model.depth=1", "model=rnn,transformer", "model.depth=2") == {}


def test_words_for_one_key_that_hydra_tells_apart_by_their_signs_are_both_kept():
    assert find_faults("-m", "model=rnn", "++model={dropout: 0.2}", "seed=0,1") == {}
    assert find_faults("-m", "trainer={max_epochs: 3}", "++trainer={patience: 2}", "seed=0,1") == {}
    study = ("-m", "search=study", "model=rnn", "++model={dropout: 0.2}", "optimizer.lr=0.1,0.2")
    assert list(find_faults(*study, searches=SEARCHES)) == ["model"]


@pytest.mark.parametrize("sweeper", [["search=both"], ["search=study", "model=rnn", "optimizer.lr=0.1,0.2"]])
def test_a_search_that_would_lose_the_chosen_model_to_a_mapping_of_its_keys_is_refused(sweeper):
    [(key, (problem, remedy))] = find_faults("-m", *sweeper, "model={dropout: 0.2}", searches=SEARCHES).items()
    assert key == "model"
    assert problem.endswith("and model={dropout: 0.2} set the same key, and a sweep keeps the later alone")
    assert remedy.startswith("write model.NAME=VALUE for each key")
    assert find_faults("-m", *sweeper, "model.dropout=0.2", searches=SEARCHES) == {}


def test_a_relative_config_path_starts_from_the_program_as_in_hydra(tmp_path, monkeypatch):
    program, elsewhere = tmp_path / "program", tmp_path / "elsewhere"
    shutil.copytree(PROJECT_DIR / "conf", program / "mine")
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    check_command_line(["--config-path", "mine", "seed=1"], program / "conf", "config")
    (program / "mine").rename(elsewhere / "mine")
    with pytest.raises(ConfigError, match=r"--config-path: .* is no folder"):
        check_command_line(["--config-path", "mine", "seed=1"], program / "conf", "config")


def test_a_pattern_for_files_in_any_depth_is_one_of_files_beside_it_too(tmp_path):
    (tmp_path / "reviews.csv").touch()
    assert find_faults("data=files", f"data.path={tmp_path}/**/*.csv") == {}
    assert set(find_faults("data=files", f"data.path={tmp_path}/**/*.tsv")) == {"data.path"}


def test_aliases_of_a_primary_config_stand_for_their_keys(tmp_path):
    (tmp_path / "mine.yaml").write_text("defaults: [config, _self_]\nhydra: {aliases: {lr: optimizer.lr}}")
    mine = ("--config-dir", str(tmp_path), "--config-name", "mine")
    assert find_faults(*mine, "lr=0.01") == {}
    assert set(find_faults(*mine, "-m", "lr=0.1,99")) == {"optimizer.lr"}


def test_a_job_in_another_folder_would_not_find_what_was_checked():
    assert set(find_faults("hydra.job.chdir=true")) == {"hydra.job.chdir"}


def test_a_key_of_an_extension_may_be_called_as_a_built_in_one_that_would_not_be_read(monkeypatch):
    class Mirror(DataGroup):
        name: Literal["mirror"]
        path: str
        repository: str

    class Run(BaseModel):
        data: Mirror | ImdbDataSettings

    monkeypatch.setitem(OPTIONS, ("data", "mirror"), Option("data", "mirror", Mirror, object))
    shared = compose_project("data=imdb").data
    content = {**OmegaConf.to_container(shared, resolve=True), "path": "here", "keep": "tail"}
    own = {key: value for key, value in content.items() if key != "revision"} | {"name": "mirror"}
    for data, unread in ((content, ["data.head_fraction", "data.repository"]), (own, ["data.head_fraction"])):
        keys = UnreadKeys(["data.head_fraction", "data.repository"])
        keys.look(Run(data=data), {})
        assert [fault.key for fault in keys.find_faults()] == unread


def test_every_key_that_may_be_unread_is_one():
    known = {key for option in OPTIONS.values() for key in list_dotted(option.settings, f"{option.group}.")}
    known |= {
        f"hydra.sweeper.{key}"
        for key in (
            *StudyOptions.model_fields,
            "pruner._target_",
            "pruner.growing",
            "pruner.tolerance",
            "sampler._target_",
        )
    }
    known |= {key for name, field in Settings.model_fields.items() for key in list_dotted(field.annotation, f"{name}.")}
    for keys, conditions in UNREAD:
        for key in [*keys, *conditions]:
            assert any(f"{one}.".startswith(f"{key}.") for one in known), key


def list_dotted(schema, prefix: str) -> list[str]:
    found = [prefix.removesuffix(".")]
    for member in group_members(schema):
        for name, field in member.model_fields.items():
            found += list_dotted(field.annotation, f"{prefix}{name}.")
    return found


@pytest.mark.parametrize("sweeper", ["optuna", "study"])
def test_a_sweeper_that_would_minimise_an_accuracy_is_refused(sweeper):
    command = ("-m", f"hydra/sweeper={sweeper}", "seed=choice(0,1)")
    problem = "is minimize, the wrong way for val/accuracy"
    assert find_faults(*command) == {"hydra.sweeper.direction": (problem, "set hydra.sweeper.direction=maximize")}
    assert find_faults(*command, "objective=val/loss") == {}
    assert find_faults("-m", "search=study", "seed=choice(0,1)") == {}
    _, remedy = find_faults(*command, "objective=[val/accuracy,model/parameters]")["hydra.sweeper.direction"]
    assert remedy == "set hydra.sweeper.direction=[maximize,minimize]"


def test_a_study_has_one_objective_under_its_own_name():
    study = ("-m", "search=study", "model=ngram", "model.max_n=choice(1,2)")
    [(key, (problem, _))] = find_faults(*study, "objective=val/accuracy,val/loss", searches=SEARCHES).items()
    assert (key, problem) == ("objective", "is val/loss at a point of the search, and val/accuracy for the study")
    [(key, (problem, _))] = find_faults(*study, "hydra.sweeper.metric_names=[val/loss]").items()
    assert (key, problem) == ("hydra.sweeper.metric_names", "calls val/accuracy val/loss")
    assert find_faults(*study, "objective=[val/accuracy,val/loss]", searches=SEARCHES) == {}


def test_a_grid_tries_no_point_first():
    study = ("-m", "search=grid", "model=ngram", "model.max_n=1,2")
    [(key, _)] = find_faults(*study, "hydra.sweeper.start=[{nonsense: 5}]", searches=SEARCHES).items()
    assert key == "hydra.sweeper.start"
    assert find_faults(*study, searches=SEARCHES) == {}


@pytest.mark.parametrize("pruner", ["promotion", "population"])
def test_trials_that_pause_and_write_no_checkpoint_are_refused_before_the_first(pruner):
    command = (*SMALL, f"hydra/sweeper/pruner={pruner}", "hydra.sweeper.n_trials=4")
    assert find_faults(*command) == {}
    problem = "is false, and the study's pruner goes on from the checkpoints that it would write"
    remedy = "leave it at true, or choose another pruner"
    assert find_faults(*command, "trainer.resume=false") == {"trainer.resume": (problem, remedy)}
    assert find_faults("-m", "search=rnn", "hydra/sweeper/pruner=median", "trainer.resume=false") == {}
    assert find_faults("-m", "search=ngram", f"hydra/sweeper/pruner={pruner}", "trainer.resume=false") == {}


def test_a_population_whose_copies_could_not_take_up_checkpoints_is_refused_before_the_first():
    command = ("-m", "search=rnn", "hydra/sweeper/pruner=population", "hydra.sweeper.n_trials=4")
    found = find_faults(*command, "hydra.sweeper.pruner.keys=[optimizer,model.dropout]")
    [(key, (problem, remedy))] = found.items()
    assert key == "hydra.sweeper.pruner.keys"
    assert problem.startswith("model.dropout: a copy goes on from another trial's checkpoint")
    assert remedy == "leave it at [optimizer]"
    assert find_faults(*command, "hydra.sweeper.pruner.keys=[optimizer.lr]") == {}


def test_a_note_on_a_sweep_is_no_part_of_the_configuration_that_is_printed(capsys):
    assert find_faults("--cfg", "job", "search=rnn") == {}
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("Note: this configuration is a sweep over ")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["hydra.run.dir='~/x'"], {"hydra.run.dir"}),
        (["-m", "seed=0,1", "hydra.sweep.dir='~/x/${now:%H}'"], {"hydra.sweep.dir"}),
        (["-m", "search=rnn", "hydra.sweep.dir='~'"], {"hydra.sweep.dir"}),
        (["hydra.run.dir='./~/x'"], set()),
        (["hydra.run.dir=${oc.env:HOME}/x"], set()),
    ],
)
def test_a_home_folder_that_hydra_would_not_find_is_refused(words: list[str], found: set[str]):
    assert set(find_faults(*words)) == found


@pytest.mark.parametrize("sweeper", [[], ["search=grid"]])
@pytest.mark.parametrize(
    ("params", "typed", "found"),
    [
        ("{data.generator_seed: '0,1', data.split_seed: '${data.generator_seed}'}", [], "data.split_seed"),
        ("{data.split_seed: '${data.generator_seed}'}", ["data.generator_seed=0,1"], "data.split_seed"),
        ("{data: 'synthetic,imdb', seed: '${data.max_tokens}'}", [], "seed"),
        ("{data.generator_seed: '0,1', data.split_seed: '${data[generator_seed]}'}", [], "data.split_seed"),
        ("{data.generator_seed: '0,1', hydra.job.env_set: '${data}'}", [], "hydra.job.env_set"),
        ("{data.generator_seed: 4, data.split_seed: '${data.generator_seed}'}", ["seed=0,1"], "data.split_seed"),
        ("{data.generator_seed: '0,1', data.split_seed: '${ data.generator_seed }'}", [], "data.split_seed"),
        ("{data.generator_seed: '0,1', data.split_seed: '${oc.select:data.generator_seed,5}'}", [], "data.split_seed"),
        ("{seed: '${seed},7', data.split_seed: 'range(0,${data.max_tokens},256)'}", [], None),
        ("{data.generator_seed: '0,1', data.split_seed: '\\${data.generator_seed}'}", [], None),
        ("{data.generator_seed: '0,1', data.split_seed: '${data.generator_seed}'}", ["data.split_seed=3"], None),
        ("{data.generator_seed: '0,1', data.split_seed: '${data.generator_seed}'}",
         ["data.generator_seed=3", "seed=0,1"], None),
    ],
)  # fmt: skip
def test_a_value_that_yaml_would_read_once_for_all_trials_is_refused(sweeper, params, typed, found):
    command = ("-m", *sweeper, "model=ngram", f"+hydra.sweeper.params={params}", *typed)
    faults = find_faults(*command, searches=SEARCHES)
    assert set(faults) == ({f"hydra.sweeper.params.{found}"} if found else set())
    if found != "hydra.job.env_set":  # which no sweep may vary either
        assert find_faults(*command[len(sweeper) + 1 : -len(typed) or None]) == {}  # a single run reads none of them


def test_a_bound_that_follows_what_varies_is_told_to_be_a_number():
    params = "{data.generator_seed: '0,1', data.split_seed: 'range(0,${data.generator_seed})'}"
    faults = find_faults("-m", f"+hydra.sweeper.params={params}", searches=SEARCHES)
    assert faults["hydra.sweeper.params.data.split_seed"][1].startswith("write a number: no bound follows what varies")


def test_a_value_of_a_branch_that_yaml_would_read_once_is_refused(tmp_path):
    (tmp_path / "search").mkdir()
    for name, sign in {"once": "${", "each": "\\${"}.items():
        text = "# @package _global_\ndefaults: [study, _self_]\nhydra: {sweeper: {branches: {model=rnn: {"
        text += f"model.embedding_size: '24,48', model.hidden_size: '{sign}model.embedding_size}}'}}}}}}}}\n"
        (tmp_path / "search" / f"{name}.yaml").write_text(text)
    command = ("--config-dir", str(tmp_path), "-m", "model=rnn,transformer")
    [(key, (problem, _))] = find_faults(*command, "search=once", searches=SEARCHES).items()
    assert key == "hydra.sweeper.branches.model=rnn.model.hidden_size"
    assert problem == "${model.embedding_size} is read once, before a trial has its own model.embedding_size"
    assert find_faults(*command, "search=each", searches=SEARCHES) == {}


@pytest.mark.parametrize(
    ("words", "devices"),
    [
        ([], "auto"),
        (["--cfg", "job"], None),  # nothing runs
        (["--help", "model=rnn"], None),
        (["-m", "seed=0,1"], "auto"),
        (["-m", "seed=0,1", "hydra/launcher=submitit_slurm"], None),
        ([*SMALL, "hydra.sweeper.devices=[0]"], [0]),
        ([*SMALL, "hydra.sweeper.devices=none", "hydra/launcher=joblib"], "none"),
    ],
)
def test_what_a_run_needs_is_looked_for_among_the_devices_that_it_may_have(words, devices):
    asked = []
    assert find_faults(*words, searches=SEARCHES, find_more=lambda settings, given: asked.append(given) or []) == {}
    assert asked
    assert all(given == devices for given in asked)


IDLE = "hydra.sweeper.pruner"


@pytest.mark.parametrize(
    ("pruner", "key", "latest"),
    [("promotion", "min_resource", 6), ("population", "interval", 6), ("median", "n_warmup_steps", 6)],
)
def test_a_pruner_that_could_look_at_no_trial_before_its_end_is_refused(pruner, key, latest):
    """Of 4 epochs with 2 validations each; a pause comes at the end of an epoch."""
    command = (*SMALL, f"hydra/sweeper/pruner={pruner}", "hydra.sweeper.n_trials=4")
    command += ("trainer.max_epochs=4", "trainer.validations_per_epoch=2")
    assert find_faults(*command, f"{IDLE}.{key}={latest}", searches=SEARCHES) == {}
    for typed in (f"{IDLE}.{key}={latest + 1}", f"{IDLE}={{{key}: {latest + 1}}}"):
        assert find_faults(*command, typed, searches=SEARCHES)[f"{IDLE}.{key}"][0] == (
            f"is {latest + 1}, and above {latest} no training here is ended before its last validation"
        )


@pytest.mark.parametrize(
    "more",
    [
        ["trainer.max_epochs=2,8,4", f"{IDLE}.min_resource=5"],
        ["trainer.max_epochs=2", "trainer.validations_per_epoch=1,9", f"{IDLE}.min_resource=5"],
        ["trainer.max_epochs=range(1,9)", "hydra.sweeper.constraints=['trainer.max_epochs < 9']",
         f"{IDLE}.min_resource=5"],
        ["trainer.max_epochs=1"],
        ["trainer.max_epochs=1", f"{IDLE}.min_resource=1"],
        ["hydra/sweeper/pruner=median", "hydra.sweeper.repeats=2", "trainer.max_epochs=5", f"{IDLE}.n_warmup_steps=4"],
        ["trainer.max_epochs=1,2"],
        ["hydra/sweeper/pruner=promotion_epoch", "trainer.max_epochs=1"],
        [f"{IDLE}.reduction_factor=4", "trainer.max_epochs=1"],
    ],
)  # fmt: skip
def test_a_pruner_that_may_look_at_some_trial_or_is_the_default_is_let_through(more):
    assert find_faults(*SMALL, *more, searches=SEARCHES) == {}


def test_many_faults_fit_on_a_screen_and_the_rest_are_counted():
    with pytest.raises(ConfigError) as refused:
        check_command_line([f"model.none{number}=1" for number in range(14)], PROJECT_DIR / "conf", "config")
    assert len(refused.value.faults) == 14
    lines = str(refused.value).splitlines()
    assert len(lines) <= 24
    assert lines[0].startswith("14 faults")
    assert lines[-1] == "  and 4 more faults, shown once these are gone"
