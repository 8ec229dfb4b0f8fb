from __future__ import annotations

import pytest

from tests.hostile.outcomes import COUNTS, describe
from tests.search.conftest import study_dir, sweep

__all__ = ["study_dir", "sweep"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what became of the inputs; nothing where other processes run the tests (``-n``)."""
    if COUNTS:
        terminalreporter.section("bad inputs and what became of them")
        for line in describe():
            terminalreporter.write_line(line)
