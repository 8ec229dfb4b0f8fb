"""The lock fits the project, and a lock that does not is found out."""

from __future__ import annotations

import pytest

from tests.lock import LOCK_FILE, find_faults, read_lock, read_project, write_lock


def test_the_lock_fits_the_project():
    assert find_faults(LOCK_FILE.read_text(encoding="utf-8"), read_project()) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("\noptuna==5.0.0", "\noptuna==4.0.0"), "optuna==5.0.0 is locked as 4.0.0"),
        (("# torch==2.13.0", "# torch==2.12.0"), "torch==2.13.0 is locked as 2.12.0"),
        (("\nplotly==7.1.0", "\nplutly==7.1.0"), "plotly==7.1.0 is locked as nothing"),
    ],
)
def test_a_lock_that_does_not_fit_is_found(change: tuple[str, str], fault: str):
    text = LOCK_FILE.read_text(encoding="utf-8")
    assert change[0] in text
    assert find_faults(text.replace(*change), read_project()) == [fault]


def test_torch_is_locked_by_version_alone():
    resolved = "a==1 \\\n    --hash=sha256:0\ntorch==2.1 \\\n    --hash=sha256:1\nnvidia-x==3 \\\n    --hash=sha256:2\n"
    text = write_lock(resolved)
    assert "sha256:1" not in text
    assert read_lock(text) == {"torch": {"2.1"}, "a": {"1"}}
