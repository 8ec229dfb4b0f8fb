"""Numbers on the command line: what lies outside is refused in a line, alike by every command."""

import pytest

from sentiment.__main__ import build_parser


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


def test_a_label_alone_does_not_leave_its_reviews_out(capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args(["evaluate", "--file", "x", "--label", "pos"])
    assert "'pos' is not LABEL=CLASS" in capsys.readouterr().err
    assert build_parser().parse_args(["evaluate", "--file", "x", "--label", "pos="]).label == [("pos", "")]


def test_numbers_on_the_bounds_are_taken():
    parser = build_parser()
    assert parser.parse_args(["errors", "RUN", "--mistakes", "0"]).mistakes == 0
    assert parser.parse_args(["predict", "--threads", "1024"]).threads == 1024
    assert parser.parse_args(["watch", "--port", "65535"]).port == 65535
