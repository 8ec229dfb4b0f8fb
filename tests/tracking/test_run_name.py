from __future__ import annotations

from sentiment.tracking.run_name import NAME_LENGTH, name_run, name_sweep, parse_overrides


def test_names():
    assert name_run("rnn", ["model=rnn", "optimizer.lr=3e-4", "data=imdb"]) == "rnn lr=3e-4 data=imdb"
    assert name_run("rnn", ["tracking=both", "tracking.uri=http://here", "seed=1"]) == "rnn seed=1"
    assert name_run("transformer", []) == "transformer"
    assert name_sweep(["model=transformer,rnn", "seed=0,1"]) == "sweep model=transformer,rnn seed=0,1"


def test_drawn_numbers_have_four_digits_and_typed_ones_stay():
    drawn = ["optimizer.lr=0.002258849849049621", "model.dropout=1.7545192811805452e-05", "seed=12345678"]
    assert name_run("rnn", drawn) == "rnn lr=0.002259 dropout=1.755e-5 seed=12345678"
    assert name_run("rnn", ["data.path=0.002258849/x", "optimizer.lr=0.00225"]) == "rnn path=0.002258849/x lr=0.00225"


def test_signs_and_values_with_equals_signs():
    assert parse_overrides(["+a.b=1", "++c=x=y", "~d"]) == {"a.b": "1", "c": "x=y", "d": ""}


def test_long_names_leave_out_whole_settings_and_count_them():
    name = name_run("rnn", [f"model.key{number}=value{number}" for number in range(30)])
    assert name.endswith("(+20 more)")
    assert len(name) < NAME_LENGTH + 20
