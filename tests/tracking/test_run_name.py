from __future__ import annotations

from sentiment.tracking.run_name import (
    NAME_LENGTH,
    name_option,
    name_recorded,
    name_run,
    name_sweep,
    parse_overrides,
    shorten,
)


def test_names():
    assert name_run("rnn", ["model=rnn", "optimizer.lr=3e-4", "data=imdb"]) == "rnn lr=3e-4 data=imdb"
    assert name_run("rnn", ["tracking=both", "tracking.uri=http://here", "seed=1"]) == "rnn seed=1"
    assert name_run("rnn", ["trainer.test=True", "seed=1"]) == "rnn test=true seed=1"
    assert name_run("transformer", []) == "transformer"
    assert name_sweep(["model=transformer,rnn", "seed=0,1"]) == "sweep model=transformer,rnn seed=0,1"
    assert name_sweep(["search=grid", "seed=0,1"], "seeds") == "seeds: search=grid seed=0,1"
    assert len(name_sweep([f"key{number}=value" for number in range(30)], "s" * 255)) < 250


def test_drawn_numbers_have_four_digits_and_typed_ones_stay():
    drawn = ["optimizer.lr=0.002258849849049621", "model.dropout=1.7545192811805452e-05", "seed=12345678"]
    assert name_run("rnn", drawn) == "rnn lr=0.002259 dropout=1.755e-5 seed=12345678"
    assert name_run("rnn", ["data.path=0.002258849/x", "optimizer.lr=0.00225"]) == "rnn path=0.002258849/x lr=0.00225"


def test_signs_and_values_with_equals_signs():
    assert parse_overrides(["+a.b=1", "++c=x=y", "~d"]) == {"a.b": "1", "c": "x=y", "d": ""}


def test_a_mapping_of_a_group_is_told_by_its_settings_and_is_no_option():
    words = ["model=rnn", "model={depth: 2, bidirectional: true}", "trainer={max_epochs: 3}", "data.label_map={a: b}"]
    assert name_run("rnn", words) == "rnn depth=2 bidirectional=true max_epochs=3 label_map={a: b}"
    assert name_option("rnn", ["+model={depth: 2}"]) == "rnn"
    assert name_sweep(["model={depth: 1},{depth: 2}"]) == "sweep model={depth: 1},{depth: 2}"
    assert parse_overrides(["model={depth", "pretrain={}"]) == {"model": "{depth"}


def test_long_names_leave_out_whole_settings_and_count_them():
    name = name_run("rnn", [f"model.key{number}=value{number}" for number in range(30)])
    assert name.endswith("(+20 more)")
    assert len(name) < NAME_LENGTH + 20


def test_jobs_are_told_apart_by_what_differs_between_them(project):
    def name(number, *overrides):
        return name_recorded(project.context(project.settings(*overrides), *overrides, job_number=number))

    drawn = ("model.heads=2", "optimizer.lr=0.0027067999", "search=transformer", "trainer.threads=1")
    assert name(5, *drawn) == "5: heads=2 lr=0.002707 threads=1 transformer"
    project.sweep_dir.mkdir(parents=True)
    (project.sweep_dir / "multirun.yaml").write_text(
        "hydra: {overrides: {task: ['trainer.threads=1', 'seed=0,1', 'model=rnn']}}", encoding="utf-8"
    )
    assert name(1, "trainer.threads=1", "seed=1", "model=rnn") == "1: seed=1 threads=1 rnn"


def test_settings_with_one_last_part_are_told_apart():
    changed = {"model.dropout": "0.1", "pretrain.dropout": "0.2", "optimizer.lr": "0.01"}
    assert shorten("rnn", changed) == "rnn model.dropout=0.1 pretrain.dropout=0.2 lr=0.01"
