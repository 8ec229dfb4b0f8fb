"""``python -m tests.hostile``: try every bad input, in one process, and print what became of them, by kind.

Further arguments are pytest's, e.g. ``-m slow``. The exit code is 1 where one ended in a traceback or hung.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.exit(pytest.main(["-q", "-n", "0", "-m", "not postgresql", str(Path(__file__).parent), *sys.argv[1:]]))
