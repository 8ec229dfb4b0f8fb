"""What is stored of an experiment, without a path of a machine, and what its README.md shows, from that alone."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from statistics import mean

import pytest

from sentiment.__main__ import main
from sentiment.config.run_context import write_multirun_command
from sentiment.errors import SentimentError
from sentiment.json_file import read_json, write_json
from sentiment.report.draw import matplotlib
from sentiment.report.record.store import (
    RecordPart,
    collect_part,
    read_parts,
    store_part,
    strip_paths,
    write_record,
)
from sentiment.report.sweep.rows import read_param
from sentiment.search.study.history import StudyHistory, TrialHistory
from sentiment.tracking import runs as stored_runs
from sentiment.tracking.result_file import ADOPTED_TAG, CONTINUES_TAG, COPIED_TAG, REPEAT_TAG, TRIAL_TAG, write_result

SETTINGS = {
    "seed": "0", "model.name": "rnn", "model.embedding_size": "32", "model.hidden_size": "32", "optimizer.lr": "0.001",
    "data.path": "/somewhere/imdb", "data.cache_dir": "/somewhere/cache", "tracking.uri": "sqlite:////somewhere/mlflow.db",
    "objective": "val/accuracy", "direction": "maximize", "trainer.threads": "1",
}  # fmt: skip

PARAMS = {"objective": "val/accuracy", "direction": "maximize", "data.path": "/somewhere/imdb"}
README = "# Question\n\n<!-- part: pooling -->\nold\n<!-- end of pooling -->\n\nAnswer.\n"


@pytest.fixture
def make_run(make_record):
    def make(number, model="rnn", status="FINISHED", **params):
        dotted = {key.replace("__", "."): value for key, value in params.items()}
        overrides = [f"{key}={value}" for key, value in dotted.items()]
        return make_record(
            number, model, *overrides, "data.path=/somewhere/imdb", "+tracking.uri=/somewhere",
            status=status, params={**SETTINGS, **dotted}, tags={"data.description": "from /somewhere/imdb"},
        )  # fmt: skip

    return make


def make_part(*records, name="rnn"):
    history = StudyHistory("mine", ("val/accuracy",), ("maximize",), (), (), frozenset({"optimizer.lr"}), {})
    return RecordPart(name, "python run.py -m data.path=FOLDER", tuple(records), history)


def test_what_is_stored_comes_back_without_paths(tmp_path, make_run):
    part = make_part(make_run(0, seed="0"), make_run(1, seed="1"), make_run(2, status="PRUNED", seed="2"))
    file = store_part(tmp_path, part)
    assert "somewhere" not in file.read_text(encoding="utf-8")
    [read] = read_parts(tmp_path)
    assert (read.name, read.command, read.history) == (part.name, part.command, part.history)
    assert [record.params["seed"] for record in read.records] == ["0", "1", "2"]
    for stored, given in zip(read.records, part.records, strict=True):
        kept = {key: value for key, value in given.params.items() if "somewhere" not in value}
        assert stored.params == kept
        assert replace(stored, name="", params={}, overrides=(), tags={}, run_id=None) == replace(
            given, name="", params={}, overrides=(), tags={}, run_id=None
        )


def test_the_study_is_stored_without_paths(tmp_path, make_run):
    part = make_part(make_run(0))
    trial = TrialHistory(0, "complete", {"init_from": "/my/model", "x": 1.0}, (0.8,), adopted_from="/my/a/3, /my/b/4")
    store_part(tmp_path, replace(part, history=replace(part.history, trials=(trial,), is_at_work=True)))
    [read] = read_parts(tmp_path)
    hidden = replace(trial, parameters={"init_from": "FOLDER/model", "x": 1.0}, adopted_from="FOLDER/3, FOLDER/4")
    assert read.history == replace(part.history, trials=(hidden,))


def test_settings_that_all_runs_share_are_written_once(tmp_path, make_run):
    file = store_part(tmp_path, make_part(make_run(0, seed="0"), make_run(1, seed="1")))
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content["shared_params"]["optimizer.lr"] == "0.001"
    assert [run["params"] for run in content["runs"]] == [{"seed": "0"}, {"seed": "1"}]


def test_several_parts_come_in_the_order_of_their_names(tmp_path, make_run):
    for name in ("transformer", "rnn"):
        store_part(tmp_path, make_part(make_run(0), name=name))
    assert [part.name for part in read_parts(tmp_path)] == ["rnn", "transformer"]


def test_a_part_that_is_empty_missing_or_damaged_is_refused(tmp_path, make_run):
    with pytest.raises(SentimentError, match="--collect PART="):
        read_parts(tmp_path)
    with pytest.raises(SentimentError, match="no runs to store"):
        store_part(tmp_path, make_part())
    file = store_part(tmp_path, make_part(make_run(0)))
    file.write_text(file.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    with pytest.raises(SentimentError, match="collect the sweep again"):
        read_parts(tmp_path)


def test_tries_are_not_taken_in(tmp_path, make_run):
    write_result(tmp_path / "0", make_run(0, trainer__debug="fast"))
    with pytest.raises(SentimentError, match="holds tries"):
        collect_part("tries", str(tmp_path))


def test_a_sweep_is_taken_in_by_its_name_and_no_path_of_this_machine_with_it(tmp_path, make_run, monkeypatch):
    monkeypatch.setattr(stored_runs, "MULTIRUN_DIR", tmp_path)
    write_result(tmp_path / "mine/0", make_run(0))
    words = {
        "--config-dir": None, "my/conf": "FOLDER", "--config-path=../other": "--config-path=FOLDER",
        "--config-name": None, "mine": None, "-m": None, "seed=0,1": None, "++data.path=data": "++data.path=FOLDER",
        "trainer.teachers=[/my/a,models:/b@champion,'~/c', /d/]": (
            "trainer.teachers=[FOLDER/a,models:/b@champion,'FOLDER/c', FOLDER/d]"
        ),
        "hydra.searchpath=[pkg://x,file:///my/conf]": "hydra.searchpath=[pkg://x,FOLDER]",
        "hydra.sweep.dir=/my/sweep": "hydra.sweep.dir=FOLDER/sweep", "trainer.init_from=multirun/a/0": None,
        "tracking.uri=sqlite:////my/mlflow.db": "tracking.uri=FOLDER", "data.delimiter=/": None, "~pretrain": None,
        "hydra.sweeper.storage=postgresql+psycopg://me@host/db": "hydra.sweeper.storage=FOLDER",
    }  # fmt: skip
    monkeypatch.setattr("sys.argv", ["/my/run.py", *words])
    write_multirun_command(tmp_path / "mine")
    wanted = ["python", "run.py", *(shown or word for word, shown in words.items())]
    for name in ("mine", str(tmp_path / "mine")):
        assert shlex.split(collect_part("grid", name).command) == wanted
    with pytest.raises(SentimentError, match=r"no sweep called mime(.|\n)*did you mean mine"):
        collect_part("grid", "mime")


def test_names_are_those_of_every_other_place(make_run):
    run = make_run(0, optimizer__lr="0.007834365723786424", model__heads="2", trainer__init_from="/my/model")
    run = strip_paths(run)
    assert run.name == "rnn lr=0.007834 heads=2 init_from=FOLDER/model"
    assert run.params["trainer.init_from"] == "FOLDER/model"


@pytest.fixture
def runs(make_record):
    def make(number, kind, seed, accuracy):
        params = {**PARAMS, "seed": str(seed), "model.name": "rnn", "model.pooling": kind}
        overrides = (f"seed={seed}", f"model.pooling={kind}", "data.path=/somewhere/imdb")
        tags = {"git.commit": "c0ffee", "hardware": "a laptop"}
        return make_record(number, "rnn", *overrides, accuracy=accuracy, params=params, tags=tags)

    values = [("mean", 0, 0.80), ("mean", 1, 0.90), ("max", 0, 0.86), ("max", 1, 0.88)]
    return [make(number, *value) for number, value in enumerate(values)]


@pytest.fixture
def experiment_dir(tmp_path):
    folder = tmp_path / "experiment"
    folder.mkdir()
    (folder / "README.md").write_text(README, encoding="utf-8")
    return folder


def store(experiment_dir, runs):
    command = "python run.py -m experiment=pooling data.path=FOLDER"
    store_part(experiment_dir, RecordPart("pooling", command, tuple(runs)))


def make_study(runs, keys, repeats=1, **changes):
    """Make the study of runs: a trial for each so many of them, with the settings of the first."""
    trials = [
        TrialHistory(
            number,
            "complete",
            {key: read_param(part[0].params[key]) for key in keys},
            (mean(run.metrics["val/accuracy"] for run in part),),
            excess={"parameters": 1.0} if number == changes.get("over_limit") else {},
        )
        for number, part in enumerate(runs[first : first + repeats] for first in range(0, len(runs), repeats))
    ]
    is_log = frozenset({"optimizer.lr"} & set(keys))
    return StudyHistory("mine", ("val/accuracy",), ("maximize",), tuple(trials), (), is_log, {}, repeats)


def test_the_readme_gets_command_table_figure_and_origin(experiment_dir, runs):
    store(experiment_dir, runs)
    files = write_record(experiment_dir)
    text = (experiment_dir / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# Question")
    assert text.endswith("Answer.\n")
    assert "old" not in text
    assert "python run.py -m experiment=pooling data.path=FOLDER" in text
    assert "4 runs: 4 finished; 0.1 hours of computing." in text
    assert text.index("| rnn | max | 0, 1 | 87.00 ± 1.41") < text.index("| rnn | mean | 0, 1 | 85.00 ± 7.07")
    assert "](figures/pooling_comparison.png)" in text
    assert "Commit c0ffee; a laptop." in text
    assert {file.name for file in files} == {"README.md", "pooling_comparison.png", "pooling.csv"}
    assert all(file.stat().st_size > 0 for file in files)


def test_a_search_has_the_charts_of_its_report(experiment_dir, make_record):
    def make(number):
        lr = f"{0.0001 * 1.3**number:.8f}"
        overrides = (f"optimizer.lr={lr}", f"model.depth={number % 3}")
        params = {**PARAMS, "seed": "0", "model.name": "rnn", "optimizer.lr": lr, "model.depth": str(number % 3)}
        return make_record(number, "rnn", *overrides, accuracy=0.6 + 0.02 * (number % 7), params=params)

    runs = tuple(map(make, range(20)))
    history = make_study(runs, ["optimizer.lr", "model.depth"])
    store_part(experiment_dir, RecordPart("pooling", "python run.py -m", runs, history))
    names = {file.name for file in write_record(experiment_dir)}
    charts = {"optimisation_history", "parameter_importance", "slices", "pairs"}
    assert names >= {f"pooling_{chart}.png" for chart in charts}


def test_what_breaks_a_limit_is_not_called_the_best(experiment_dir, runs):
    history = make_study(runs, ["model.pooling"], repeats=2, over_limit=1)
    store_part(experiment_dir, RecordPart("pooling", "python", tuple(runs), replace(history, log_scaled={"lr"})))
    write_record(experiment_dir)
    text = (experiment_dir / "README.md").read_text(encoding="utf-8")
    assert text.index("| rnn | mean | 0, 1 | 85.00 ± 7.07") < text.index(
        "| rnn (over a limit) | max | 0, 1 | 87.00 ± 1.41"
    )
    assert "the best complete trial so far that keeps every limit" in text


@pytest.mark.parametrize("names", [None, ("val/accuracy",)])
def test_repeats_are_one_trial_as_in_the_report(experiment_dir, make_record, monkeypatch, names):
    """Where the sweeper was not told the names of objectives, the runs' settings have them."""

    def make(number):
        lr = f"{0.001 * (1 + number // 3)}"
        params = {**PARAMS, "seed": str(number % 3), "model.name": "rnn", "optimizer.lr": lr}
        overrides = (f"optimizer.lr={lr}", f"seed={number % 3}")
        return make_record(number, "rnn", *overrides, accuracy=0.8 + 0.01 * number, params=params)

    runs = tuple(map(make, range(6)))
    history = replace(make_study(runs, ["optimizer.lr"], repeats=3), objectives=names)
    store_part(experiment_dir, RecordPart("pooling", "python", runs, history))
    drawn = {}
    monkeypatch.setattr(matplotlib, "write_png", lambda chart, file: drawn.update({chart.name: chart}))
    write_record(experiment_dir)
    points = [one for one in drawn["optimisation_history"].panels[0].series if one.kind == "markers"]
    assert [(one.x, one.y) for one in points] == [((0.0, 1.0), (pytest.approx(0.81), pytest.approx(0.84)))]
    assert [panel.x.title for panel in drawn["slices"].panels] == ["lr"]
    assert "| rnn | 0.002 | 0, 1, 2 | 84.00" in (experiment_dir / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("state", "is_drawn"), [("failed", "comparison"), ("pruned", "optimisation_history")])
def test_a_repeat_of_a_trial_that_did_not_come_to_its_end_is_no_result(experiment_dir, runs, state, is_drawn):
    """It finished; its trial failed in the next repeat, was pruned by Wilcoxon's test, or ran out of time."""
    history = make_study(runs, ["model.pooling"], repeats=2)
    whole, part = history.trials
    history = replace(history, trials=(whole, replace(part, state=state, values=())))
    last = replace(runs[3], status="FAILED", metrics={})
    store_part(experiment_dir, RecordPart("pooling", "python", (*runs[:3], last), history))
    names = {file.name for file in write_record(experiment_dir)}
    assert f"pooling_{is_drawn}.png" in names
    text = (experiment_dir / "README.md").read_text(encoding="utf-8")
    assert "| rnn | 0, 1 | 85.00 ± 7.07" in text
    assert "86.00" not in text
    assert f"Finished runs of trials that are not complete are left out: 1 ({state})." in text
    assert len((experiment_dir / "tables/pooling.csv").read_text(encoding="utf-8").splitlines()) == 3


def test_what_a_study_ranks_by_its_bound_is_in_that_order(experiment_dir, runs):
    """max has the better mean; here the study found that of mean surer."""
    history = make_study(runs, ["model.pooling"], repeats=2)
    bounded = [
        replace(trial, values=(bound,), means=trial.values)
        for trial, bound in zip(history.trials, (0.84, 0.83), strict=True)
    ]
    store_part(experiment_dir, RecordPart("pooling", "python", tuple(runs), replace(history, trials=tuple(bounded))))
    [part] = read_parts(experiment_dir)
    assert [(row.number, row.rank) for row in part.table.rows] == [(0, 1), (1, 2)]
    write_record(experiment_dir)
    text = (experiment_dir / "README.md").read_text(encoding="utf-8")
    assert text.index("| rnn | mean | 0, 1 | 85.00 ± 7.07") < text.index("| rnn | max | 0, 1 | 87.00 ± 1.41")


def store_as_before(experiment_dir, runs, **told):
    store(experiment_dir, runs)
    file = experiment_dir / "results/pooling.json"
    content = {key: value for key, value in read_json(file).items() if key != "study"}
    write_json(file, {**content, "log_scaled": [], "over_limit": [], **told})


def test_a_file_of_an_earlier_version_says_that_its_study_is_missing(experiment_dir, runs):
    tagged = [replace(run, tags={TRIAL_TAG: "0", REPEAT_TAG: "1"}) for run in runs]
    store_as_before(experiment_dir, tagged, log_scaled=["model.pooling"])
    write_record(experiment_dir)
    text = (experiment_dir / "README.md").read_text(encoding="utf-8")
    assert "every repeat stands alone; collect it again" in text
    assert "](figures/pooling_optimisation_history.png)" in text


@pytest.mark.parametrize("keys", [[], ["model.pooling"]])
def test_a_file_of_an_earlier_version_tells_who_breaks_a_limit(experiment_dir, runs, keys):
    store_as_before(experiment_dir, runs, over_limit=[2], log_scaled=keys)
    [part] = read_parts(experiment_dir)
    assert [row.number for row in part.table.rows if row.excess] == [2]
    assert [(row.number, row.rank) for row in part.table.rows] == [(1, 1), (3, 2), (0, 3), (2, None)]
    write_record(experiment_dir)
    text = (experiment_dir / "README.md").read_text(encoding="utf-8")
    assert text.index("| rnn | mean ") < text.index("| rnn (over a limit) | max "), "max has the better mean"


def test_a_trial_over_a_limit_shares_no_rank_in_a_file_of_an_earlier_version(experiment_dir, runs):
    tied = [replace(run, metrics={**run.metrics, "val/accuracy": 0.8}) for run in runs[:2]]
    told = []
    for over_limit in ([], [1]):
        store_as_before(experiment_dir, tied, over_limit=over_limit)
        [part] = read_parts(experiment_dir)
        told.append(any("share the best" in note for note in part.table.notes))
    assert told == [True, False]


def test_only_shares_are_in_percent(experiment_dir, runs):
    store(experiment_dir, [replace(run, params={**run.params, "objective": "val/loss"}) for run in runs])
    write_record(experiment_dir)
    text = (experiment_dir / "README.md").read_text(encoding="utf-8")
    assert "0.5 ± 0 (0.5, 0.5)" in text
    assert "Validation is val/loss, test/loss the test: mean over the seeds" in text


@pytest.mark.parametrize(
    ("objective", "told"),
    [("val/accuracy", "In percent."), ("val/loss", "Validation is val/loss, test/loss the test.")],
)
def test_the_unit_is_told_where_each_setting_has_one_seed(experiment_dir, runs, objective, told):
    one_seed = [run for run in runs if run.params["seed"] == "0"]
    store(experiment_dir, [replace(run, params={**run.params, "objective": objective}) for run in one_seed])
    write_record(experiment_dir)
    lines = (experiment_dir / "README.md").read_text(encoding="utf-8").splitlines()
    assert told in lines
    assert "±" not in "".join(lines)


def test_what_was_left_out_and_uncommitted_changes_are_said(experiment_dir, runs, tmp_path, capsys):
    sweep_dir = tmp_path / "sweep"
    for run in runs:
        write_result(sweep_dir / str(run.job_number), replace(run, tags={**run.tags, "git.dirty": "true"}))
    (sweep_dir / "0" / "result.json").write_text("{")
    write_result(sweep_dir / "1", replace(runs[1], status="RUNNING"))
    main(["record", str(experiment_dir), "--collect", f"pooling={sweep_dir}"])
    said = capsys.readouterr().out
    text = (experiment_dir / "README.md").read_text(encoding="utf-8")
    for place in (said, text):
        assert "0/result.json cannot be read" in place
        assert "1 run had not ended: left out." in place
    assert " with uncommitted changes; " in text


def test_runs_of_another_study_were_computed_there(experiment_dir, runs):
    adopted = replace(runs[0], tags={ADOPTED_TAG: "true"}, seconds=36000.0)
    copied = replace(runs[1], tags={ADOPTED_TAG: "its own name", COPIED_TAG: "true"})  # the copy of the study itself
    store(experiment_dir, [adopted, copied, *runs[2:]])
    write_record(experiment_dir)
    text = (experiment_dir / "README.md").read_text(encoding="utf-8")
    assert "4 runs: 4 finished; 0.1 hours of computing (not counting 1 of another study)." in text


def test_hours_of_computing_say_whose_times_they_do_not_hold(experiment_dir, runs):
    """A copy's time begins with that of its origin; a run that failed has none on record."""
    failed = replace(runs[0], status="FAILED", metrics={}, seconds=None)
    copy = replace(runs[1], tags={CONTINUES_TAG: "2"}, seconds=36000.0)
    store(experiment_dir, [failed, copy, *runs[2:]])
    write_record(experiment_dir)
    text = (experiment_dir / "README.md").read_text(encoding="utf-8")
    assert (
        "4 runs: 3 finished, 1 failed; 0.0 hours of computing (not counting 1 whose time includes another trial's, "
        "1 whose time is unknown)." in text
    )


def test_a_part_without_a_result_says_so(experiment_dir, runs):
    store(experiment_dir, [replace(run, status="FAILED", metrics={}) for run in runs])
    write_record(experiment_dir)
    assert "No run has finished with a val/accuracy." in (experiment_dir / "README.md").read_text(encoding="utf-8")


def test_writing_again_changes_nothing(experiment_dir, runs):
    store(experiment_dir, runs)
    first = {file: file.read_bytes() for file in write_record(experiment_dir)}
    assert {file: file.read_bytes() for file in write_record(experiment_dir)} == first


def test_the_command_takes_a_sweep_in_without_its_paths(experiment_dir, runs, tmp_path, capsys):
    sweep_dir = tmp_path / "sweep"
    for run in runs:
        write_result(sweep_dir / str(run.job_number), run)
    main(["record", str(experiment_dir), "--collect", f"pooling={sweep_dir}"])
    assert "pooling.json" in capsys.readouterr().out
    text = (experiment_dir / "results" / "pooling.json").read_text(encoding="utf-8")
    assert "/somewhere" not in text
    assert "| rnn | max |" in (experiment_dir / "README.md").read_text(encoding="utf-8")


def test_errors_say_what_to_do(experiment_dir, runs, tmp_path):
    store(experiment_dir, runs)
    (experiment_dir / "README.md").write_text("# Question\n", encoding="utf-8")
    with pytest.raises(SentimentError, match="add the lines <!-- part: pooling -->"):
        write_record(experiment_dir)
    with pytest.raises(SentimentError, match="so it is no experiment"):
        main(["record", str(tmp_path)])
    with pytest.raises(SentimentError, match="no sweep called"):
        main(["record", str(experiment_dir), "--collect", "pooling=nowhere"])
    with pytest.raises(SystemExit):
        main(["record", str(experiment_dir), "--collect", "nowhere"])


def test_the_command_of_earlier_versions_names_the_new_one():
    with pytest.raises(SentimentError, match=r"study is called record now.*\n.*sentiment record experiments/x"):
        main(["study", "experiments/x"])
