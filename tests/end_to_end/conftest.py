"""A copy of the checkout to run real commands in, so that tests leave the user's own store alone."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from sentiment.config.home import PROJECT_DIR

TINY = (
    "data.train_size=200", "data.test_size=60", "data.max_sentences=3", "model.embedding_size=8", "model.depth=1",
    "trainer.max_epochs=1", "trainer.threads=1", "trainer.accelerator=cpu", "tracking.log_model=false",
)  # fmt: skip


@dataclass(frozen=True)
class Checkout:
    """A folder with everything that the repository holds, and a way to run commands in it."""

    folder: Path

    @property
    def store(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"

    def start(self, *arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.Popen[str]:
        """Start ``python run.py ARGUMENTS``."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "HYDRA", "HF_"))}
        return subprocess.Popen(
            [sys.executable, str(self.folder / "run.py"), *arguments],
            cwd=cwd or self.folder,
            env={**kept, "COLUMNS": "120", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ``python run.py ARGUMENTS`` to its end."""
        process = self.start(*arguments, cwd=cwd, **environment)
        output, errors = process.communicate(timeout=280)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def run_line(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a command line of the README that starts with ``python run.py``."""
        program, script, *arguments = shlex.split(line)
        assert (program, script) == ("python", "run.py"), line
        return self.run(*arguments)


def make_checkout(folder: Path) -> Checkout:
    for name in ("conf", "sentiment"):
        shutil.copytree(PROJECT_DIR / name, folder / name)  # compiled files too: their sources keep their times
    for name in ("run.py", "pyproject.toml", "README.md"):
        shutil.copy(PROJECT_DIR / name, folder / name)
    return Checkout(folder)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout shared by the tests of a process; each test looks at its own runs."""
    return make_checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture
def fresh_checkout(tmp_path: Path) -> Checkout:
    """A checkout of a test's own."""
    return make_checkout(tmp_path / "checkout")


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    """Overrides that make a run as small as can be."""
    return TINY
