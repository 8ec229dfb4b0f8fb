"""An experiment's tables and figures come from its stored results alone, with one command."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sentiment.__main__ import main
from sentiment.errors import SentimentError
from sentiment.report.record.readme import write_record
from sentiment.report.record.store import RecordPart, store_part
from sentiment.tracking.result_file import write_result

PARAMS = {"objective": "val/accuracy", "direction": "maximize", "data.path": "/somewhere/imdb"}
README = "# Question\n\n<!-- part: pooling -->\nold\n<!-- end of pooling -->\n\nAnswer.\n"


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
    store_part(experiment_dir, RecordPart("pooling", command, frozenset(), tuple(runs)))


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

    part = RecordPart("pooling", "python run.py -m", frozenset({"optimizer.lr"}), tuple(map(make, range(20))))
    store_part(experiment_dir, part)
    names = {file.name for file in write_record(experiment_dir)}
    charts = {"optimisation_history", "parameter_importance", "slices", "pairs"}
    assert names >= {f"pooling_{chart}.png" for chart in charts}


def test_what_breaks_a_limit_is_not_called_the_best(experiment_dir, runs):
    store_part(experiment_dir, RecordPart("pooling", "python", frozenset({"lr"}), tuple(runs), frozenset({2})))
    write_record(experiment_dir)
    text = (experiment_dir / "README.md").read_text(encoding="utf-8")
    assert text.index("| rnn | mean | 0, 1 | 85.00 ± 7.07") < text.index(
        "| rnn (over a limit) | max | 0, 1 | 87.00 ± 1.41"
    )
    assert "the best complete trial so far that keeps every limit" in text


def test_only_shares_are_in_percent(experiment_dir, runs):
    store(experiment_dir, [replace(run, params={**run.params, "objective": "val/loss"}) for run in runs])
    write_record(experiment_dir)
    text = (experiment_dir / "README.md").read_text(encoding="utf-8")
    assert "0.5 ± 0 (0.5, 0.5)" in text
    assert "Validation is val/loss, test/loss the test: mean over the seeds" in text


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
