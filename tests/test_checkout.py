"""The commit of a checkout, and what counts as a change of it."""

from __future__ import annotations

import subprocess

import pytest

from sentiment.checkout import GIT, read_commit


@pytest.mark.parametrize(
    ("file", "is_dirty"),
    [
        ("code.py", True),  # tracked, and changed
        ("extension.py", True),  # the commit lacks it
        ("conf/experiment/mine_best.yaml", False),  # as `best` writes it
        ("evaluation_test/report.html", False),
    ],
)
def test_what_commands_write_beside_the_code_is_no_change_of_it(tmp_path, file, is_dirty):
    def git(*words):
        subprocess.run([*GIT, "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True)

    git("init", "-q")
    (tmp_path / "code.py").write_text("")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    assert read_commit(tmp_path).is_dirty is False
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("a = 1")
    assert read_commit(tmp_path).is_dirty is is_dirty
