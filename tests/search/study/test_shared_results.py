"""Results that studies share: an equal job of another study beside this one is not run again."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
from optuna.trial import TrialState

from sentiment.errors import RunPruned, SentimentError
from sentiment.search import engine
from sentiment.search.application import searchable
from sentiment.search.study.current import current_trial
from sentiment.search.study.history import read_study
from sentiment.search.study.trial import open_study

GRID = ("x=1,2", "hydra/sweeper/sampler=grid", "hydra.sweeper.n_trials=100")


class Application:
    """A task that leaves a file in its folder, and tells about its code."""

    def __init__(self):
        self.code = self.data = "first"
        self.runs = []
        self.adopted = []

    def task(self):
        def run(config):
            trial = current_trial()
            self.runs.append((config.x, config.seed))
            (trial.folder / "note.txt").write_text(f"{config.x}")
            trial.describe({"size": abs(float(config.x))})
            return float(config.x) + config.seed

        return searchable(
            identify_code=lambda config: self.code,
            identify_data=lambda config: self.data,
            adopt=lambda folder, job: self.adopted.append((folder.name, job)),
        )(run)

    def take(self):
        runs, self.runs = self.runs, []
        return sorted(runs)


@pytest.fixture
def application():
    return Application()


@pytest.fixture
def study(sweep, tmp_path, application):
    """Runs a study in a folder of its own beside the others and returns its trials."""

    def run(name, *overrides, task=None):
        folder = tmp_path / "multirun" / name
        trials = sweep(*GRID, *overrides, task=task or application.task(), study_dir=folder, noting=True).trials
        return sorted(trials, key=lambda trial: trial.params["x"])

    return run


def test_another_study_takes_what_is_equal_and_runs_what_is_new(study, application, tmp_path):
    study("one")
    assert application.take() == [(1, 0), (2, 0)]
    trials = study("two", "x=1,2,3")
    assert application.take() == [(3, 0)]
    assert [trial.value for trial in trials] == [1.0, 2.0, 3.0]
    taken = [trial.user_attrs.get("adopted_from") for trial in trials]
    assert (set(taken[:2]), taken[2]) == ({"one/0", "one/1"}, None)
    assert application.adopted == [(str(trial.number), trial.number) for trial in by_number(trials[:2])]
    assert (tmp_path / f"multirun/two/{trials[1].number}/note.txt").read_text() == "2"
    assert [trial.user_attrs["size"] for trial in trials] == [1.0, 2.0, 3.0]
    history = read_study(None, tmp_path / "multirun/two")
    assert [trial.adopted_from for trial in history.trials] == [
        trial.user_attrs.get("adopted_from") for trial in by_number(trials)
    ]


def test_what_lacks_a_limited_number_is_run_again(study, application):
    study("one")
    limits = ("hydra/sweeper/sampler=tpe", "hydra.sweeper.start=[{x: 1}, {x: 2}]", "hydra.sweeper.n_trials=2")
    application.take()
    study("two", *limits, "hydra.sweeper.limits={size: 9}")
    assert application.take() == [], "its size is known"

    def run(config):
        current_trial().describe({"size": 1.0, "latency": 2.0})
        return application.task()(config)

    task = searchable(identify_code=lambda config: "first", identify_data=lambda config: "first")(run)
    trials = study("three", *limits, "hydra.sweeper.limits={latency: 9}", task=task)
    assert application.take() == [(1, 0), (2, 0)]
    assert [trial.constraints for trial in trials] == [{"latency": -7.0}] * 2


def by_number(trials):
    return sorted(trials, key=lambda trial: trial.number)


@pytest.mark.parametrize("reuse", ["study", "none", "false"])
def test_it_can_be_switched_off(study, application, reuse):
    study("one")
    application.take()
    study("two", f"hydra.sweeper.reuse={reuse}")
    assert application.take() == [(1, 0), (2, 0)]


@pytest.mark.parametrize("change", ["seed=1", "noise=0.5", "shape=round"])
def test_other_settings_and_seeds_are_run(study, application, change):
    study("one")
    application.take()
    study("two", change)
    assert len(application.take()) == 2


@pytest.mark.parametrize("changed", ["code", "data"])
def test_other_code_and_other_data_are_run(study, application, changed):
    study("one")
    application.take()
    setattr(application, changed, "second")
    study("two")
    assert len(application.take()) == 2


def test_a_study_tells_which_trials_have_results_of_other_code(study, application, caplog):
    for code, total, expected in [("first", 2, 0), ("first", 2, 0), ("second", 3, 1), ("second", 3, 1)]:
        application.code = code
        caplog.clear()
        with caplog.at_level(logging.WARNING, "sentiment"):
            study("one", "x=1,2,3", f"hydra.sweeper.n_trials={total}")
        assert caplog.text.count("has changed since 2 of") == expected
    assert application.take() == [(1, 0), (2, 0), (3, 0)]


def test_other_code_is_told_once_with_its_commits_and_another_commit_of_equal_code_is_not(
    study, application, caplog, monkeypatch
):
    for commit, code in [("one", "first"), ("two", "first"), ("three", "second")]:
        monkeypatch.setattr(engine, "read_commit", lambda home, commit=commit: commit)
        application.code = code
        caplog.clear()
        with caplog.at_level(logging.INFO, "sentiment"):
            study("one")
        told = [record.getMessage() for record in caplog.records if record.name.endswith("planning")]
        assert len(told) == (code == "second")
    assert "has changed since 2 of 2 finished trials (0, 1)" in told[0]
    assert told[0].endswith("Trials of other code: 2 at one; now it is three.")


@pytest.mark.parametrize("later", [["second"], ["second", "first"]])
def test_what_several_codes_trained_is_shared_as_the_result_of_none(study, application, caplog, later):
    """The trial went on from what earlier code had left; it counts in its own study, which tells of it."""

    def stop(config):
        raise KeyboardInterrupt

    stopping = searchable(identify_code=lambda config: application.code, identify_data=lambda config: "first")(stop)
    for application.code in ["first", *later][:-1]:
        with pytest.raises(KeyboardInterrupt):
            study("one", task=stopping)
    application.code = later[-1]
    [mixed] = [trial.params["x"] for trial in study("one") if trial.number == 0]
    assert len(application.take()) == 2
    with caplog.at_level(logging.WARNING, "sentiment"):
        study("one")
    assert "has changed since 1 of 2 finished trials (0)" in caplog.text
    for name, application.code in [("two", "first"), ("three", "second")]:
        study(name)
        assert (mixed, 0) in application.take()


@pytest.mark.parametrize("codes", [("second", "second"), ("first", "second")])
def test_what_other_code_than_planned_trained_is_shared_as_the_result_of_none(study, application, caplog, codes):
    """The process of the job began later than the study, or imported more of the code after an edit."""
    asked = []

    def identify(config):
        if current_trial() is None:
            return application.code
        asked.append(config.x)
        return codes[(len(asked) - 1) % 2]

    study("one", task=searchable(identify_code=identify, identify_data=lambda config: "first")(application.task()))
    assert len(asked) == 2 * len(application.take())
    with caplog.at_level(logging.WARNING, "sentiment"):
        study("one")
    assert "has changed since 2 of 2 finished trials" in caplog.text
    for name, application.code in [("two", "first"), ("three", "second")]:
        study(name)
        assert len(application.take()) == 2


def test_code_that_cannot_be_identified_replaces_no_outcome_which_is_shared_with_none(study, application, caplog):
    def identify(config):
        if (trial := current_trial()) is not None and (trial.folder / "note.txt").exists():
            raise FileNotFoundError("run.py")
        return "first"

    def run(config):
        value = application.task()(config)
        if config.x == 2:
            raise RunPruned("enough")
        return value

    trials = study("one", task=searchable(identify_code=identify, identify_data=lambda config: "first")(run))
    assert [trial.state for trial in trials] == [TrialState.COMPLETE, TrialState.PRUNED]
    assert "run.py" in caplog.text
    application.take()
    study("two")
    assert application.take() == [(1, 0), (2, 0)]


@pytest.mark.parametrize("told", [{"code": "second"}, {"data": "second"}])
def test_what_depends_on_other_code_or_data_than_planned_is_shared_as_the_result_of_none(study, application, told):
    def run(config):
        current_trial().depends_on(code="first", data="first")
        if config.x == 1:
            current_trial().depends_on(**told)
        return application.task()(config)

    known = {"identify_code": lambda config: "first", "identify_data": lambda config: "first"}
    study("one", task=searchable(**known)(run))
    application.take()
    study("two")
    assert application.take() == [(1, 0)]


def test_what_was_begun_at_other_settings_is_shared_as_the_result_of_none(study, application):
    def stop(config):
        raise KeyboardInterrupt

    changed = ("noise=0.5", "hydra.sweeper.allow_changes=true")
    stopping = searchable(identify_code=lambda config: "first", identify_data=lambda config: "first")(stop)
    with pytest.raises(KeyboardInterrupt):
        study("one", task=stopping)
    for _ in range(2):  # once more, at the settings of the last attempt
        with pytest.raises(KeyboardInterrupt):
            study("one", *changed, task=stopping)
    [mixed] = [trial.params["x"] for trial in study("one", *changed) if trial.number == 0]
    assert len(application.take()) == 2
    study("two", "noise=0.5")
    assert application.take() == [(mixed, 0)]


def test_a_job_that_has_begun_goes_on_from_what_it_left(study, application, tmp_path):
    def stop(config):
        (current_trial().folder / "checkpoint").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study("two", task=searchable(identify_code=lambda config: "first", identify_data=lambda config: "first")(stop))
    study("one")
    application.take()
    begun, other = by_number(study("two"))
    assert application.take() == [(begun.params["x"], 0)]
    assert "adopted_from" not in begun.user_attrs
    assert "adopted_from" in other.user_attrs
    assert (tmp_path / "multirun/two/0/checkpoint").exists()


def test_an_application_that_does_not_tell_its_code_shares_nothing(study, tmp_path):
    runs = []
    study("one", task=lambda config: runs.append(config.x) or 1.0)
    study("two", task=lambda config: runs.append(config.x) or 1.0)
    assert len(runs) == 4
    assert not (tmp_path / "multirun/.results").exists()


def test_a_result_whose_folder_is_gone_is_none(study, application, tmp_path):
    study("one")
    application.take()
    (tmp_path / "multirun/one").rename(tmp_path / "elsewhere")
    study("two")
    assert len(application.take()) == 2


def test_the_results_of_a_study_are_found_in_its_renamed_folder(study, application, tmp_path):
    study("one")
    (tmp_path / "multirun/one").rename(tmp_path / "multirun/[new]")
    open_study.cache_clear()
    study("one", "y=7")  # another study in the folder of the old name
    application.take()
    trials = study("two")
    assert application.take() == []
    assert {trial.user_attrs["adopted_from"] for trial in trials} == {"[new]/0", "[new]/1"}


def test_a_result_whose_folder_holds_another_job_by_now_is_none(study, application, tmp_path):
    study("one")
    shutil.rmtree(tmp_path / "multirun/one")
    open_study.cache_clear()
    study("one", "y=7")
    application.take()
    study("two")
    assert application.take() == [(1, 0), (2, 0)]
    study("three")
    assert application.take() == [], "the new results stand for those that went"
    (tmp_path / "multirun/one/journal.log").unlink()
    open_study.cache_clear()
    study("one", "y=8", "hydra.sweeper.reuse=none")  # in the folders of jobs that were there before
    application.take()
    study("four", "y=7")
    assert len(application.take()) == 2


@pytest.mark.parametrize("error", [OSError("no space left"), SentimentError("a record is damaged")])
def test_a_result_that_cannot_be_taken_over_is_run_and_leaves_nothing(study, application, tmp_path, caplog, error):
    study("one")
    application.take()

    def fail(folder, number):
        raise error

    told = searchable(identify_code=lambda config: "first", identify_data=lambda config: "first", adopt=fail)
    task = told(lambda config: float(config.x))
    with caplog.at_level(logging.WARNING, "sentiment"):
        trials = study("two", task=task)
    assert [trial.value for trial in trials] == [1.0, 2.0]
    assert str(error) in caplog.text
    assert not list(tmp_path.glob("multirun/two/*/note.txt"))


def test_a_damaged_file_is_left_out_and_said(study, application, tmp_path, caplog):
    study("one")
    application.take()
    for file in (tmp_path / "multirun/.results").iterdir():
        file.write_text("{")
    with caplog.at_level(logging.WARNING, "sentiment"):
        study("two")
    assert len(application.take()) == 2
    assert "cannot be read" in caplog.text
    study("three")
    assert application.take() == [], "the next result takes its place"


def test_repeats_are_shared_one_by_one(study, application):
    study("one", "seed=0")
    study("two", "seed=1")
    application.take()
    trials = study("three", "hydra.sweeper.repeats=3")
    assert application.take() == [(1, 2), (2, 2)]
    assert [trial.value for trial in trials] == [2.0, 3.0]
    assert not any("adopted_from" in trial.user_attrs for trial in trials), "a part of each ran here"


def test_a_limit_holds_for_what_is_taken_over(study):
    study("one")
    trials = study(
        "two", "x=choice(1,2)", "hydra/sweeper/sampler=tpe", "hydra.sweeper.sampler.seed=1", "hydra.sweeper.n_trials=8",
        "hydra.sweeper.limits={size: 1.5}",
    )  # fmt: skip
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert {(trial.params["x"], trial.constraints["size"] > 0) for trial in trials} == {(1, False), (2, True)}


def test_what_is_written_later_is_not_written_in_both_folders(study, tmp_path):
    study("one")
    study("two")
    there = {file: file.read_text() for file in tmp_path.glob("multirun/*/*/note.txt")}
    assert len(there) == 4
    for file in there:
        file.write_text("other")
        assert [other.read_text() for other in there if other != file] == [
            text for other, text in there.items() if other != file
        ]
        file.write_text(there[file])


def test_a_folder_that_another_run_has_used_since_is_not_taken_over(study, application, tmp_path):
    study("one")
    assert application.take() == [(1, 0), (2, 0)]
    for number in (0, 1):
        written = tmp_path / f"multirun/one/{number}/.hydra/config.yaml"
        written.parent.mkdir(exist_ok=True)
        written.write_text("x: 9")  # as Hydra does for every run
    study("two")
    assert application.take() == [(1, 0), (2, 0)]


def test_the_shared_file_holds_no_path_of_this_machine(study, tmp_path):
    study("one")
    files = sorted((tmp_path / "multirun/.results").iterdir())
    contents = [json.loads(file.read_text()) for file in files]
    assert {content["folder"] for content in contents} == {"one/0", "one/1"}
    assert not any(str(Path(tmp_path)) in file.read_text() for file in files)


def test_what_was_taken_over_is_equal_to_what_comes_later(study, application):
    study("one", "x=choice(1)", "hydra/sweeper/sampler=random", "hydra.sweeper.n_trials=1")
    trials = by_number(study("two", "x=choice(1)", "hydra/sweeper/sampler=random", "hydra.sweeper.n_trials=3"))
    assert len(application.take()) == 1
    assert [trial.user_attrs.get("adopted_from") for trial in trials] == ["one/0", None, None]
    assert [trial.user_attrs.get("reused_from") for trial in trials] == [None, 0, 0]


def test_what_was_taken_over_costs_nothing(study, tmp_path):
    study("one")
    study("two", "x=1,2,3", "hydra.sweeper.full_trials=9")
    assert read_study(None, tmp_path / "multirun/two").budget == "1 of 9 full trials used"
