"""Bad commands and files, as data: each ends as one screen that says what, why and what to do; nothing starts."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import yaml

import run
from sentiment.config.command_line import check_command_line
from sentiment.credentials import hide_passwords
from sentiment.search.application import application_of
from sentiment.search.plugin.sweeper import STUDY_SWEEPER, list_search_points
from tests.hostile.outcomes import observe

CASES: list[dict[str, str]] = yaml.safe_load(Path(__file__).with_name("commands.yaml").read_text(encoding="utf-8"))


def check(arguments: list[str]) -> None:
    points = partial(list_search_points, application=application_of(run.main))
    check_command_line(hide_passwords(arguments), run.CONFIG_DIR, "config", searches={STUDY_SWEEPER: points})


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['run']} {case.get('file', '')!r}"[:80])
def test_a_bad_command_is_one_fault(case: dict[str, str], tmp_path: Path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    arguments = case["run"].replace("{folder}", str(tmp_path)).replace("{loop}", str(tmp_path / "loop")).split()
    if "file" in case:
        (tmp_path / "conf" / "experiment").mkdir(parents=True)
        (tmp_path / "conf" / "experiment" / "x.yaml").write_text(f"# @package _global_\n{case['file']}")
        arguments.insert(0, f"--config-dir={tmp_path / 'conf'}")
    before = sorted(tmp_path.rglob("*"))
    outcome = observe("files of settings" if "file" in case else "commands", lambda: check(arguments))
    assert outcome.kind == "refused in one screen", outcome
    assert case["says"] in outcome.text
    assert "->" in outcome.text
    assert "planted" not in outcome.text
    assert sorted(tmp_path.rglob("*")) == before
