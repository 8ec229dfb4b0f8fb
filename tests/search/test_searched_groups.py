"""Searched config groups whose options set keys elsewhere: ``# @package``, a group within a group, defaults."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from sentiment.search.plugin.sweeper import StudyEndedError
from sentiment.search.study.definition import Definition
from sentiment.search.study.stored.store import START_KEY

GRID = ["hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=1000", "hydra.sweeper.reuse=none"]


class Elsewhere:
    """An application with a group whose options set keys elsewhere, one with a group within a group, and its task."""

    def __init__(self, folder):
        self.folder, self.runs = folder, []
        folder.mkdir()
        (folder / "config.yaml").write_text(
            "defaults: [_self_, {plan: null}, {words: null}, {net/core: narrow}]\nx: 1\nrate: 1\nlog: 0\n"
        )
        for name, width in (("narrow", 1), ("wide", 2)):
            self.write("net/core", name, f"width: {width}\n")
        for name, rate in (("slow", 1), ("fast", 2), ("rapid", 3)):
            self.write("plan", name, f"# @package _global_\nrate: {rate}\nlog: {rate}\n")

    def write(self, group, name, text):
        (self.folder / group).mkdir(parents=True, exist_ok=True)
        (self.folder / group / f"{name}.yaml").write_text(text)

    def __call__(self, config):
        self.runs.append((config.x, config.rate, config.net.core.width))
        return 0.0


@pytest.fixture
def elsewhere(sweep, tmp_path):
    task = Elsewhere(tmp_path / "conf")

    def run(*overrides):
        task.runs = []
        sweep(*GRID, *overrides, task=task, config_dir=task.folder)
        return sorted(task.runs)

    run.write = task.write
    return run


@pytest.mark.parametrize("sign", ["", "+"])
def test_an_option_that_sets_keys_elsewhere_is_part_of_its_study(elsewhere, sign, tmp_path):
    if sign:
        (tmp_path / "conf" / "config.yaml").write_text(
            "defaults: [_self_, {net/core: narrow}]\nx: 1\nrate: 1\nlog: 0\n"
        )
    assert elsewhere("x=1,2", f"{sign}plan=slow,fast") == [(1, 1, 1), (1, 2, 1), (2, 1, 1), (2, 2, 1)]
    assert elsewhere("x=1,2", f"{sign}plan=slow,fast,rapid") == [(1, 3, 1), (2, 3, 1)], "another option is growth"
    elsewhere.write("plan", "fast", "# @package _global_\nrate: 7\n")
    with pytest.raises(StudyEndedError, match=r"setting rate \(plan=fast\): stored 2, now 7"):
        elsewhere("x=1,2", f"{sign}plan=slow,fast")
    assert elsewhere("x=1,2,3", f"{sign}plan=slow,rapid") == [(3, 1, 1), (3, 3, 1)], "without it"


def test_a_searched_group_is_fixed_and_searched_again_wherever_its_options_set_keys(elsewhere):
    assert elsewhere("plan=slow,fast", "net/core=narrow,wide") == [(1, 1, 1), (1, 1, 2), (1, 2, 1), (1, 2, 2)]
    for core, plan in (("wide", "fast"), ("wide", "slow"), ("narrow", "fast")):
        assert elsewhere(f"plan={plan}", f"net/core={core}", "x=1") == []
    with pytest.raises(StudyEndedError, match=r"setting rate \(plan=fast\): stored 2, now 5"):
        elsewhere("plan=fast", "net/core=narrow", "rate=5")


def test_trials_before_a_group_was_searched_are_points_at_its_option_wherever_that_sets_keys(elsewhere):
    assert elsewhere("x=1,2", "plan=fast") == [(1, 2, 1), (2, 2, 1)]
    assert elsewhere("x=1,2", "plan=fast,rapid", "net/core=narrow,wide") == [
        (1, 2, 2), (1, 3, 1), (1, 3, 2), (2, 2, 2), (2, 3, 1), (2, 3, 2)
    ]  # fmt: skip


def test_a_key_that_is_searched_now_had_in_each_trial_what_its_option_set(elsewhere):
    elsewhere("plan=slow,fast")
    assert elsewhere("plan=slow,fast", "rate=1,2") == [(1, 1, 1), (1, 2, 1)]


def test_options_that_differ_in_what_is_ignored_are_not_equal_jobs(elsewhere):
    elsewhere.write("plan", "fast", "# @package _global_\nrate: 1\nlog: 2\n")
    assert len(elsewhere("plan=slow,fast", "hydra.sweeper.ignore=[log]")) == 2


def test_a_study_of_an_earlier_version_goes_on_though_it_tells_nothing_of_what_options_set_elsewhere(
    elsewhere, monkeypatch
):
    def write_as_before(definition):
        content = write(definition)
        elsewhere = [name for name in content["settings"] if " (" in name and not name.startswith("plan.")]
        content["settings"] = {name: text for name, text in content["settings"].items() if name not in elsewhere}
        return {key: content[key] for key in content.keys() - {"options"}}

    write = Definition.to_json
    with monkeypatch.context() as patch:
        patch.setattr(Definition, "to_json", write_as_before)
        elsewhere("plan=slow,fast")
    assert elsewhere("plan=slow,fast", "x=1,2") == [(2, 1, 1), (2, 2, 1)]
    elsewhere.write("plan", "fast", "# @package _global_\nrate: 7\n")
    with pytest.raises(StudyEndedError, match=r"setting rate \(plan=fast\): stored 2, now 7"):
        elsewhere("plan=slow,fast", "x=1,2")


@pytest.mark.parametrize("text", ["", "# @package _global_\nwords: null\n"])
def test_an_option_that_stands_for_a_group_at_null_is_what_a_study_had_before(elsewhere, sweep, tmp_path, text):
    elsewhere.write("words", "lm", "size: 3\n")
    elsewhere.write("words", "none", text)
    assert elsewhere("x=1,2") == [(1, 1, 1), (2, 1, 1)]
    assert elsewhere("x=1,2", "words=lm,none") == [(1, 1, 1), (2, 1, 1)], "with lm"
    assert elsewhere("x=1,2", "words=lm,none", "rate=1,2") == [(1, 2, 1)] * 2 + [(2, 2, 1)] * 2
    options = ["words=lm,none", "hydra.sweeper.start=[defaults]", "hydra.sweeper.n_trials=1"]
    study = sweep(*options, config_dir=tmp_path / "conf", study_dir=tmp_path / "other", task=lambda config: 0.0)
    assert study.trials[0].params == {"words": "none"}
    assert START_KEY in study.trials[0].user_attrs


def test_options_that_set_nothing_are_no_difference_where_another_joins_them(elsewhere):
    elsewhere.write("plan", "idle", "")
    elsewhere.write("plan", "calm", "")
    assert len(elsewhere("plan=idle,calm")) == 2
    assert elsewhere("plan=idle,calm,fast") == [(1, 2, 1)]


def test_a_key_that_options_of_two_groups_set_is_not_taken_from_either(elsewhere):
    for x, name in enumerate(("one", "two"), 1):
        elsewhere.write("trip", name, f"# @package _global_\nx: {x}\nrate: {x + 3}\n")
    searched = ("plan=slow,fast", "+trip=one,two")
    assert elsewhere(*searched) == [(1, 4, 1), (1, 4, 1), (2, 5, 1), (2, 5, 1)], "the last one counts"
    runs = elsewhere(*searched, "rate=1,5")
    assert [run for run in runs if run[1] == 1] == [(1, 1, 1), (1, 1, 1), (2, 1, 1), (2, 1, 1)], "none was tried at 1"


def test_a_key_that_is_not_searched_any_more_has_in_each_trial_to_be_what_its_option_sets(elsewhere):
    assert elsewhere("plan=slow,fast", "rate=1,3") == [(1, 1, 1), (1, 1, 1), (1, 3, 1), (1, 3, 1)]
    assert elsewhere("plan=slow,fast") == [(1, 2, 1)], "no trial of fast was at its own rate"
    assert elsewhere("plan=slow,fast") == []


def test_trials_of_before_a_key_was_searched_count_again_after_it(elsewhere):
    assert elsewhere("plan=slow,fast") == [(1, 1, 1), (1, 2, 1)]
    assert elsewhere("plan=slow,fast", "rate=1,3") == [(1, 1, 1), (1, 3, 1), (1, 3, 1)]
    assert elsewhere("plan=slow,fast") == []
    assert elsewhere("plan=slow,fast", "x=1,2") == [(2, 1, 1), (2, 2, 1)]
    assert elsewhere("plan=slow,fast", "x=1,2") == []
    assert elsewhere("plan=slow,fast", "x=1,2", "rate=2") == [(1, 2, 1), (2, 2, 1)]
    assert elsewhere("plan=slow,fast", "x=1,2", "rate=2") == []


def test_a_group_that_is_there_under_an_option_of_another_alone_is_searched_in_its_branch(elsewhere, tmp_path):
    config = "defaults: [_self_, {net: plain}]\nx: 1\nrate: 1\n"
    branches = "hydra: {sweeper: {branches: {net=deep: {net/core: 'narrow,wide'}}}}\n"
    elsewhere.write("net", "plain", "core: {width: 7}\n")
    elsewhere.write("net", "deep", "defaults: [core: narrow]\n")
    (tmp_path / "conf" / "config.yaml").write_text(config + branches)
    drawn = ("hydra/sweeper/sampler=random", "hydra.sweeper.n_trials=12", "hydra.sweeper.start=[defaults]")
    assert {*elsewhere("net=plain,deep", *drawn)} == {(1, 1, 1), (1, 1, 2), (1, 1, 7)}
    (tmp_path / "conf" / "config.yaml").write_text(config)
    assert elsewhere("net=plain,deep", "x=1,2") == [(2, 1, 1), (2, 1, 7)]


def test_a_study_grows_by_a_group_that_is_there_under_one_option_alone(sweep, tmp_path):
    folder, runs = tmp_path / "conf", []
    for file, text in {
        "config": "defaults: [{net: deep}, _self_]\nx: 1\n",
        "net/deep": "defaults: [{core: narrow}]\ndepth: 2\n",
        "net/plain": "depth: 1\n",
        "net/core/narrow": "width: 1\n",
        "net/core/wide": "width: 2\n",
    }.items():
        (folder / f"{file}.yaml").parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{file}.yaml").write_text(text)

    def task(config):
        runs.append((config.x, config.net.depth, config.net.core.width if config.net.depth == 2 else None))
        return 0.0

    sweep("x=1,2", "hydra.sweeper.n_trials=2", task=task, config_dir=folder)
    with (folder / "config.yaml").open("a") as config:
        config.write("hydra: {sweeper: {branches: {net=deep: {net/core: 'narrow,wide'}}}}\n")
    sweep("x=1,2", "net=plain,deep", "hydra.sweeper.n_trials=12", task=task, config_dir=folder)
    assert {run for run in runs if run[1] == 1} == {(1, 1, None), (2, 1, None)}
    assert {width for _, depth, width in runs if depth == 2} == {1, 2}


def test_a_trial_that_did_not_draw_a_key_is_none_of_the_points_where_it_is_fixed_otherwise(elsewhere):
    """Of a key that was searched from the first trial on, later ones have no default to be held against."""
    assert elsewhere("x=1,2", "rate=3,4") == [(1, 3, 1), (1, 4, 1), (2, 3, 1), (2, 4, 1)]
    assert elsewhere("x=1,2,5") == [(1, 1, 1), (2, 1, 1), (5, 1, 1)]
    assert elsewhere("x=1,2,5", "rate=4") == [(5, 4, 1)]
    assert elsewhere("x=1,2,5", "rate=1") == []


def test_a_key_that_followed_another_one_was_not_the_same_in_all_trials(sweep, tmp_path):
    """As the width of this project's RNN follows that of its embedding: the base's value was told of each trial."""
    folder, runs = tmp_path / "conf", []
    folder.mkdir()
    (folder / "config.yaml").write_text("net: {width: 4, inner: '${.width}'}\nx: 1\n")

    def task(config):
        runs.append((config.net.width, config.net.inner))
        return 0.0

    sweep(*GRID, "net.width=1,2", task=task, config_dir=folder)
    assert sorted(runs) == [(1, 1), (2, 2)]
    sweep(*GRID, "net.width=1,2", "net.inner=1,4", task=task, config_dir=folder)
    assert sorted(runs[2:]) == [(1, 1), (1, 4), (2, 1), (2, 4)], (
        "nobody takes the first for (1, 4), the second for (2, 4)"
    )
    sweep(*GRID, "net.width=1,2", "net.inner=1,4", task=task, config_dir=folder)
    assert len(runs) == 6


@pytest.fixture
def searching(sweep, tmp_path):
    """Write the files of a configuration, and return what searches it and returns what its jobs had of some keys."""

    def write(keys, **files):
        for name, text in files.items():
            file = tmp_path / "conf" / f"{name.replace('__', '/')}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

        def search(*overrides):
            runs = []

            def task(config):
                runs.append(tuple(OmegaConf.select(config, key) for key in keys))
                return 0.0

            sweep(*GRID, *overrides, task=task, config_dir=tmp_path / "conf")
            return sorted(runs, key=str)

        return search

    return write


@pytest.fixture
def following(searching):
    """Search a configuration in which one width follows another, and a third that one."""
    config = "net: {width: 4, inner: '${.width}', head: '${.inner}'}\nx: 1\n"
    return searching(("net.width", "net.inner", "net.head"), config=config)


def test_a_key_that_follows_a_searched_one_is_not_what_the_configuration_has(following):
    assert following("net.width=1,2") == [(1, 1, 1), (2, 2, 2)]
    with pytest.raises(StudyEndedError, match=r"net\.inner: stored \$\{\.width\}, now 4"):
        following("net.width=1,2", "net.inner=4")
    assert following("net.width=1,2") == []


def test_a_key_typed_at_the_configurations_value_follows_nothing(following):
    assert following("net.width=1,2", "net.inner=4") == [(1, 4, 4), (2, 4, 4)]
    with pytest.raises(StudyEndedError, match=r"net\.inner: stored 4, now \$\{\.width\}"):
        following("net.width=1,2")


def test_a_key_that_was_searched_follows_another_one_again(following):
    assert following("net.width=1,2", "net.inner=1,4") == [(1, 1, 1), (1, 4, 4), (2, 1, 1), (2, 4, 4)]
    assert following("net.width=1,2") == [(1, 1, 1), (2, 2, 2)], "(1, 4, 4) is not the point of width 1"
    assert following("net.width=1,2") == []
    assert following("net.width=1,2", "net.inner=1,4") == []


def test_what_follows_a_fixed_key_has_its_value(following):
    assert following("x=1,2") == [(4, 4, 4), (4, 4, 4)]
    assert following("x=1,2", "net.inner=4") == [], "it was 4"
    assert following("x=1,2", "net.inner=4,5") == [(4, 5, 5), (4, 5, 5)]


def test_a_key_follows_through_another_one(following):
    assert following("net.width=1,2", "net.inner=1,4") == [(1, 1, 1), (1, 4, 4), (2, 1, 1), (2, 4, 4)]
    later = following("net.width=1,2", "net.inner=1,4", "net.head=1,4")
    assert later == [(w, i, h) for w in (1, 2) for i in (1, 4) for h in (1, 4)]
    assert following("net.width=1,2", "net.inner=1,4", "net.head=1,4") == []


def test_what_followed_a_key_that_was_fixed_since_followed_it(following):
    assert following("net.width=1,2") == [(1, 1, 1), (2, 2, 2)]
    assert following("net.width=2") == []
    later = following("net.width=1,2", "net.inner=1,4")
    assert later == [(1, 1, 1), (1, 4, 4), (2, 1, 1), (2, 4, 4)], "(1, 1, 1) was no (1, 4, 4)"


def test_a_key_that_follows_under_one_option_of_a_searched_group(searching):
    deep = "width: 4\ninner: ${.width}\n"
    keys = "net.width", "net.inner"
    search = searching(keys, config="defaults: [net: plain]\n", net__plain="width: 4\n", net__deep=deep)
    assert search("net=plain,deep", "net.width=1,2") == [(1, 1), (1, None), (2, 2), (2, None)]
    with pytest.raises(StudyEndedError, match=r"net\.inner \(net=deep\): stored \$\{\.width\}, now 4"):
        search("net=plain,deep", "net.width=1,2", "++net.inner=4")


def test_a_key_that_follows_what_options_set_has_no_common_value(searching):
    config = "defaults: [net: plain, _self_]\nhead: ${net.width}\n"
    search = searching(("net.width", "head"), config=config, net__plain="width: 4\n", net__deep="width: 8\n")
    assert search("net=plain,deep") == [(4, 4), (8, 8)]
    with pytest.raises(StudyEndedError, match=r"head: stored \$\{net\.width\}, now 4"):
        search("net=plain,deep", "head=4")
    assert search("net=plain,deep", "head=4,8") == [(4, 4), (4, 8), (8, 4), (8, 8)]


def test_options_whose_keys_follow_may_be_added_and_none_edited(searching):
    inner = {"plain": "4", "other": "6", "deep": "${.width}", "wide": "${net.width}"}
    files = {f"net__{name}": f"width: 4\ninner: {text}\n" for name, text in inner.items()}
    keys = "net.width", "net.inner"
    search = searching(keys, config="defaults: [net: plain]\n", **files)
    assert search("net=plain,other", "net.width=1,2") == [(1, 4), (1, 6), (2, 4), (2, 6)]
    assert search("net=plain,other,deep", "net.width=1,2") == [(1, 1), (2, 2)]
    assert search("net=plain,deep,wide", "net.width=1,2") == [(1, 1), (2, 2)]
    search = searching(keys, net__plain="width: 4\ninner: 5\n")
    with pytest.raises(StudyEndedError, match=r"net\.inner \(net=plain\): stored 4, now 5"):
        search("net=plain,deep,wide", "net.width=1,2")


def test_what_follows_a_searched_key_in_a_list_is_no_common_value(sweep, tmp_path):
    (folder := tmp_path / "conf").mkdir()
    (folder / "config.yaml").write_text("width: 4\nsizes: ['${width}', 8]\n")

    def task(config):
        return 0.0

    sweep(*GRID, "width=1,2", task=task, config_dir=folder)
    with pytest.raises(StudyEndedError, match=r"sizes: stored .*width.*, now \[4, 8\]"):
        sweep(*GRID, "width=1,2", "sizes=[4,8]", task=task, config_dir=folder)


def test_the_own_values_are_tried_first_where_one_searched_key_follows_another(sweep, tmp_path):
    (folder := tmp_path / "conf").mkdir()
    (folder / "config.yaml").write_text("net: {width: 4, inner: '${.width}'}\n")
    runs = []

    def task(config):
        runs.append((config.net.width, config.net.inner))
        return 0.0

    sweep("net.width=1,2,4", "net.inner=1,4", "hydra.sweeper.start=[defaults]", "hydra.sweeper.n_trials=2", task=task,
          config_dir=folder)  # fmt: skip
    assert runs[0] == (4, 4)


def test_a_fixed_value_follows_a_searched_key_where_it_is_escaped_and_is_refused_otherwise(sweep):
    params = "+hydra.sweeper.params={x: 'choice(1,2)', y: '${x}'}"
    with pytest.raises(StudyEndedError, match=r"\$\{x\} is read once, before a trial has its own x"):
        sweep(params, "hydra/sweeper/sampler=grid")
    study = sweep(params.replace("$", "\\$"), "hydra/sweeper/sampler=grid")
    assert sorted(trial.value for trial in study.trials) == [2, 8]
