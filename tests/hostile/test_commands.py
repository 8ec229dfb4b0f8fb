"""Bad commands and files, as data: each ends as one screen that says what, why and what to do; nothing starts."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import run
from sentiment.config.command_line import check_command_line
from sentiment.credentials import hide_passwords
from sentiment.errors import ConfigError, SentimentError
from sentiment.search.application import application_of
from sentiment.search.plugin.sweeper import STUDY_SWEEPER, list_search_points
from sentiment.search.space.constraints import Constraints

CASES: list[dict[str, str]] = yaml.safe_load(Path(__file__).with_name("commands.yaml").read_text(encoding="utf-8"))

SCREEN_LINES = 24


def check(arguments: list[str]) -> None:
    points = partial(list_search_points, application=application_of(run.main))
    check_command_line(hide_passwords(arguments), run.CONFIG_DIR, "config", searches={STUDY_SWEEPER: points})


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['run']} {case.get('file', '')!r}"[:80])
def test_a_bad_command_is_one_fault(case: dict[str, str], tmp_path: Path, record_property: Any):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    arguments = case["run"].replace("{folder}", str(tmp_path)).replace("{loop}", str(tmp_path / "loop")).split()
    if "file" in case:
        (tmp_path / "conf" / "experiment").mkdir(parents=True)
        (tmp_path / "conf" / "experiment" / "x.yaml").write_text(f"# @package _global_\n{case['file']}")
        arguments.insert(0, f"--config-dir={tmp_path / 'conf'}")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SentimentError) as raised:
        check(arguments)
    text = str(raised.value)
    assert case["says"] in text
    assert "->" in text
    assert len(text.splitlines()) <= SCREEN_LINES
    assert "planted" not in text
    assert sorted(tmp_path.rglob("*")) == before


EXPRESSIONS = st.text(alphabet="ab.0123456789+-*/%<>=!()[]', notandorinifelse~^&|@{}:_\"\\\n", max_size=60)


@settings(max_examples=500, deadline=None)
@given(EXPRESSIONS)
def test_any_constraint_is_read_or_refused(text: str):
    try:
        Constraints.parse([text]).holds({"a": 10**6, "b": "x" * 100, "a.b": 0.5})
    except ConfigError as error:
        assert len(error.faults) == 1  # noqa: PT017 - both ways out are right


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(alphabet="ab:/@?&=passwrd.%'\" \\", max_size=40), max_size=3))
def test_arguments_of_any_form_are_taken_or_refused(arguments: list[str]):
    try:
        assert len(hide_passwords(arguments)) == len(arguments)
    except ConfigError as error:
        assert error.faults  # noqa: PT017 - both ways out are right


def test_how_many_cases_there_are(capsys: pytest.CaptureFixture[str]):
    files = sum("file" in case for case in CASES)
    with capsys.disabled():
        print(f"\nhostile: {len(CASES)} bad inputs ({files} of files, {len(CASES) - files} of commands), 700 drawn")
    assert len(CASES) >= 35
