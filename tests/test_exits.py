"""The last words of a process: an error for people is one sentence, whoever raised it."""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path

import pytest

from sentiment.exits import install_exits


@pytest.fixture
def tell(monkeypatch, capsys):
    """Return what the process would say of what a call raises."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    install_exits()

    def tell_(call):
        with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever it is
            call()
        sys.excepthook(raised.type, raised.value, raised.tb)
        return capsys.readouterr().err

    return tell_


def test_a_name_that_the_system_refuses_is_told_without_a_traceback(tell, tmp_path):
    assert tell((tmp_path / ("This film " * 300)).is_dir).endswith(
        "File name too long\n  -> mind who owns it and what it is, or name another\n"
    )
    assert tell(tmp_path.read_text).startswith(f"\n{tmp_path}: Is a directory\n  -> ")
    assert "Traceback" in tell(Path("/nowhere/at/all").read_text)
