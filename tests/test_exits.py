"""The last words of a process: an error for people is one sentence, whoever raised it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sentiment.exits import install_exits

ROOT = Path(__file__).parents[1]


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


def test_a_text_that_does_not_fit_the_memory_is_told_without_a_traceback(tell):
    told = tell(lambda: torch.empty(1 << 62, dtype=torch.uint8))
    assert told.startswith("\nOut of memory: ")
    assert "lower data.batch_size (run.py) or --batch-size (predict), or add --no-explain (errors, evaluate)" in told
    assert "Traceback" not in told


PRINTS = """
import subprocess, sys
from pathlib import Path
from rich.console import Console
from sentiment.exits import install_exits

install_exits()
for _ in range(3):
    print("Ü" * 100_000)
    Console().print("a table")
    print("a word", file=sys.stderr)
    print("a word", flush=True)
subprocess.run(["echo", "a word"], check=True)
Path(sys.argv[1]).write_text("done")
print("left in the buffer")
sys.exit(int(sys.argv[2]))
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("code", [0, 3])
def test_a_reader_that_leaves_changes_neither_the_work_nor_the_exit_code(tmp_path, code, unbuffered):
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    command = [sys.executable, "-c", PRINTS, str(tmp_path / "file"), str(code)]
    for errors in (writer, subprocess.PIPE):
        (tmp_path / "file").unlink(missing_ok=True)
        done = subprocess.run(command, stdout=writer, stderr=errors, env=environment, timeout=60, check=False)
        assert done.returncode == code
        assert (tmp_path / "file").read_text() == "done"
        assert done.stderr in (None, b"a word\n" * 3)
    os.close(writer)


def test_what_is_read_is_as_it_was_printed(tmp_path):
    done = subprocess.run([sys.executable, "-c", PRINTS, str(tmp_path / "file"), "0"], capture_output=True, timeout=60)
    assert done.stdout.decode() == ("Ü" * 100_000 + "\na table\na word\n") * 3 + "a word\nleft in the buffer\n"


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_what_is_printed_to_a_closed_stream_goes_nowhere_else(tmp_path, closed):
    code = (
        "import subprocess, sys; from sentiment.exits import install_exits; install_exits(); "
        "sys.stdout.isatty(); sys.stderr.isatty(); print('out'); print('error', file=sys.stderr); "
        "subprocess.run([sys.executable, '-c', 'import sys; sys.stdout.fileno(); sys.stderr.fileno()'], check=True)"
    )
    command = ["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, code]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True, text=True)
    assert done.stdout == ("" if closed.startswith(">") else "out\n")
    assert done.stderr == ("error\n" if closed == ">&-" else "")


@pytest.mark.parametrize(
    "start",
    [
        "runpy.run_path('run.py', run_name='__main__')",
        "runpy.run_module('sentiment', run_name='__main__')",
        "import sentiment.api",
        "warnings.simplefilter('error')\n"  # as Hydra tells of a plugin that it cannot import
        "from sentiment.search.plugin import registration, sweeper\n"
        "sweeper.StudySweeper().setup(hydra_context=None, task_function=None, config=None)",
    ],
)
def test_windows_is_refused_with_the_way_out_by_what_needs_more_and_not_by_what_hydra_imports(start):
    windows = "import signal, sys, runpy, warnings, hydra; sys.platform = 'win32'; del signal.SIGHUP\n"
    windows += "sys.modules.update(fcntl=None, resource=None)\n"
    done = subprocess.run([sys.executable, "-c", windows + start], capture_output=True, cwd=ROOT, timeout=60, text=True)
    assert done.returncode == 1
    assert "This needs Linux or macOS" in done.stderr.splitlines()[-2]
    assert done.stderr.splitlines()[-1].startswith("  -> in PowerShell: wsl --install")
    assert ("Traceback" in done.stderr) == (not start.startswith("runpy"))


def test_what_a_terminal_cannot_show_is_shown_by_its_number_and_logged_as_it_is(tmp_path):
    """Else the line would be lost, in both places: what a log cannot take ends no run."""
    code = (
        "import logging.config, sys; from omegaconf import OmegaConf; from sentiment.exits import install_exits\n"
        "install_exits()\n"
        "options = OmegaConf.load('conf/hydra/job_logging/plain.yaml')\n"
        "options.handlers.file.filename = sys.argv[1]\n"
        "logging.config.dictConfig(OmegaConf.to_container(options))\n"
        "logging.warning('\\u597d \\udcff')"
    )
    latin = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-c", code, str(tmp_path / "job.log")]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, env={**os.environ, **latin}, timeout=60, text=True)
    assert (done.stdout, done.stderr) == ("\\u597d \\udcff\n", "")
    assert (tmp_path / "job.log").read_text(encoding="utf-8").endswith("- \u597d \\udcff\n")
