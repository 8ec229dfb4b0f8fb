"""A study's table and figure come from stored results alone."""

from __future__ import annotations

import pytest

from sentiment.report.study import MARKERS, StudyError, collect, main, summarise, write_study
from sentiment.tracking.result_file import ResultRecord, read_results, write_result


def make_record(model: str, seed: int, accuracy: float, status: str = "FINISHED") -> ResultRecord:
    return ResultRecord(
        name=f"{model} path=/somewhere/imdb",
        model=model,
        status=status,
        started="2026-01-01T00:00:00+00:00",
        overrides=(f"model={model}", f"seed={seed}", "data.path=/somewhere/imdb"),
        params={"seed": str(seed), "data.path": "/somewhere/imdb", "tracking.uri": "sqlite:////somewhere/mlflow.db"},
        run_id="abc",
        metrics={"val/accuracy": accuracy, "test/accuracy": accuracy - 0.01},
        history=({"step": 10, "epoch": 1.0, "val/accuracy": accuracy},),
        parameters=1000,
        seconds=120.0,
        epochs=3.0,
        best_epoch=1.0,
        test_reviews=100,
        tags={"git.commit": "c0ffee", "hardware": "a laptop", "data.description": "from /somewhere/imdb"},
    )


@pytest.fixture
def multirun(tmp_path):
    folder = tmp_path / "multirun"
    values = [("rnn", 0, 0.80), ("rnn", 1, 0.90), ("transformer", 0, 0.86), ("transformer", 1, 0.88)]
    for number, (model, seed, accuracy) in enumerate(values):
        write_result(folder / str(number), make_record(model, seed, accuracy))
    write_result(folder / "4", make_record("rnn", 2, 0.1, status="FAILED"))
    return folder


@pytest.fixture
def study(tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "README.md").write_text(f"# Question\n\n{MARKERS[0]}\nold\n{MARKERS[1]}\n\nAnswer.\n")
    return folder


def test_results_are_collected_without_paths_of_the_machine(multirun, study):
    collect(multirun, study)
    text = "".join(path.read_text() for path in (study / "results").rglob("*.json"))
    assert len(read_results(study / "results")) == 4  # the failed run stays behind
    assert "somewhere" not in text


def test_the_readme_gets_mean_spread_commit_and_hardware(multirun, study):
    main([str(study), "--collect", str(multirun)])
    text = (study / "README.md").read_text()
    assert text.startswith("# Question")
    assert text.endswith("Answer.\n")
    assert "old" not in text
    assert "| transformer | 0, 1 | 87.00 ± 1.41 (86.00, 88.00) | 86.00 ± 1.41 (85.00, 87.00) | 1,000 |" in text
    assert text.index("| transformer |") < text.index("| rnn |")
    assert "Commit c0ffee; a laptop." in text
    assert (study / "figure.png").stat().st_size > 1000
    assert len((study / "table.csv").read_text().splitlines()) == 5


def test_writing_again_changes_nothing(multirun, study):
    main([str(study), "--collect", str(multirun)])
    first = {name: (study / name).read_bytes() for name in ("README.md", "table.csv", "figure.png")}
    write_study(study)
    assert {name: (study / name).read_bytes() for name in first} == first


def test_one_seed_has_no_spread():
    [row] = summarise([make_record("rnn", 0, 0.8)])
    assert row.validation == (0.8,)


def test_an_empty_study_says_what_to_do(study):
    with pytest.raises(StudyError, match="--collect"):
        write_study(study)


def test_a_readme_without_markers_is_left_alone(multirun, study):
    collect(multirun, study)
    (study / "README.md").write_text("mine\n")
    with pytest.raises(StudyError, match="no place for the table"):
        write_study(study)
    assert (study / "README.md").read_text() == "mine\n"
