"""Arguments that mean nothing are refused in a line, alike by every command: none is ignored."""

import re

import pytest

from sentiment.__main__ import build_parser, join_labels, main
from sentiment.errors import SentimentError


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        (["errors", "RUN", "--mistakes", "-3"], "'-3' is no whole number from 0 on"),
        (["evaluate", "--file", "x", "--mistakes", "-3"], "'-3' is no whole number from 0 on"),
        (["evaluate", "--file", "x", "--mistakes", "2.5"], "'2.5' is no whole number from 0 on"),
        (["best", "STUDY", "--rank", "0"], "'0' is no whole number from 1 on"),
        (["stop", "STUDY", "-1"], "'-1' is no whole number from 0 on"),
        (["watch", "--port", "99999"], "'99999' is no whole number from 0 to 65535"),
        (["predict", "--batch-size", "0"], "'0' is no whole number from 1 on"),
        (["predict", "--threads", "100000"], "'100000' is no whole number from 1 to 1024"),
        (["predict", "--threads", "9" * 40], "is no whole number from 1 to 1024"),
    ],
)
def test_a_number_outside_its_bounds_is_refused(capsys, words, refused):
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(words)
    assert ended.value.code == 2
    assert refused in capsys.readouterr().err


def test_home_is_written_out_where_a_shell_does_not(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    parse = build_parser().parse_args
    assert parse(["report", "x", "--output=~/y"]).output == parse(["report", "x", "--output", "/home/me/y"]).output
    assert str(parse(["compare", "x", "--csv=~nobody-at-all/y"]).csv) == "~nobody-at-all/y"


def test_a_label_alone_does_not_leave_its_reviews_out(capsys):
    for label in ("pos", "=positive", " ="):
        with pytest.raises(SystemExit):
            build_parser().parse_args(["evaluate", "--file", "x", "--label", label])
        assert f"{label!r} is not LABEL=CLASS" in capsys.readouterr().err
    assert build_parser().parse_args(["evaluate", "--file", "x", "--label", "pos="]).label == {"pos": ""}


def test_a_label_may_begin_with_a_dash():
    command = ["evaluate", "--file", "x", "--label"]
    options = build_parser().parse_args(
        join_labels([*command, "-1=bad", "--label=1=good", "--label", "-=fair", "--no-log"])
    )
    assert options.label == {"-1": "bad", "1": "good", "-": "fair"}
    assert join_labels([*command, "--text-column=review"])[-2:] == ["--label", "--text-column=review"]
    assert join_labels(["predict", "--", "--label", "-1=bad"])[2:] == ["--label", "-1=bad"]


@pytest.mark.parametrize(
    ("command", "first", "second"),
    [
        (["evaluate", "--file", "x", "--label"], "pos=positive", "pos=negative"),
        (["evaluate", "--file", "x", "--read"], "delimiter=;", "delimiter=,"),
        (["predict", "--file", "x", "--read"], "encoding=cp1252", "encoding=utf-8"),
        (["record", "experiments/x", "--collect"], "part=multirun/a", "part=multirun/b"),
    ],
)
def test_of_a_key_that_is_given_twice_neither_value_wins(capsys, command, first, second):
    parser, flag = build_parser(), command[-1]
    with pytest.raises(SystemExit):
        parser.parse_args([*command, first, flag, second])
    assert f"argument {flag}: {first.partition('=')[0]} is given twice" in capsys.readouterr().err
    others = parser.parse_args([*command, first, flag, f"other_{second}"])
    assert len(getattr(others, flag.strip("-"))) == 2
    assert not getattr(parser.parse_args(command[:-1]), flag.strip("-")), "no command keeps what another was given"


@pytest.mark.parametrize(
    ("command", "flag", "first", "second"),
    [
        (["evaluate"], "--file", "a.csv", "b.csv"),
        (["evaluate"], "--data", "data=files", "data=synthetic"),
        (["predict", "--file", "x"], "--text-column", "same", "same"),
        (["report", "STUDY"], "--output", "a", "b"),
        (["best", "STUDY"], "--rank", "2", "3"),
    ],
)
def test_a_flag_that_is_given_twice_is_refused(capsys, command, flag, first, second):
    parser = build_parser()
    with pytest.raises(SystemExit):
        parser.parse_args([*command, flag, first, flag, second])
    assert re.search(f"argument {flag}: given twice: .*{first}.* and .*{second}", capsys.readouterr().err)
    for _ in range(2):
        parser.parse_args([*command, flag, first])


@pytest.mark.parametrize(
    ("words", "ignored"),
    [
        (["predict", "--text-column", "foo", "--read", "delimiter=;", "Not dull."], "--text-column, --read"),
        (["predict", "--read", "delimiter=;"], "--read"),
        (["evaluate", "--label-column", "bar", "--data", "data=synthetic"], "--label-column"),
        (["evaluate", "--read", "delimiter=;", "--data", "data=synthetic"], "--read"),
        (["evaluate", "--data", "data=synthetic", "model.depth=1", "+seed=3"], "model.depth=1, [+]seed=3"),
        (["evaluate", "--data", "data=synthetic", "experiment=pooling"], "experiment=pooling"),
        (["report", "--tracking-uri", "sqlite:///x.db"], "--tracking-uri"),
        (["report", "multirun/mine", "--tracking-uri", "sqlite:///x.db"], "--tracking-uri"),
    ],
)
def test_what_nothing_would_read_is_refused(words, ignored):
    with pytest.raises(SentimentError, match=f"{ignored} would be ignored.*\n  -> "):
        main(words)


def test_numbers_on_the_bounds_are_taken():
    parser = build_parser()
    assert parser.parse_args(["errors", "RUN", "--mistakes", "0"]).mistakes == 0
    assert parser.parse_args(["predict", "--threads", "1024"]).threads == 1024
    assert parser.parse_args(["watch", "--port", "65535"]).port == 65535
