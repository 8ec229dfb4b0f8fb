"""The commands from Python, for notebooks and scripts: train, search, and look at what is there.

    from sentiment import api

    run = api.run(["model=rnn", "trainer.max_epochs=2"])
    run.metrics["test/accuracy"], run.predict(["Not a dull moment."]).labels

    sweep = api.search("transformer", n_trials=10)
    sweep.best.folder, sweep.to_pandas(), sweep.report()

    api.load("models:/sentiment-imdb@champion").predict(["Not a dull moment."])

Each call of `run` or `search` is one command in a process of its own, with the checks, records and resuming of the
command line; its output is printed as it comes. (The package `sentiment.search` is the engine behind it.)
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sentiment.errors import SentimentError, require_posix

if sys.platform == "win32":  # where some of the other imports fail
    require_posix()

from sentiment.config.home import PROJECT_DIR
from sentiment.config.run_context import CALLER, Kind
from sentiment.tracking import runs as stored_runs
from sentiment.tracking.result_file import RESULT_FILE, RUN_ID, read_result

if TYPE_CHECKING:
    import pandas as pd

    from sentiment.models.bundle import Predictions, Predictor
    from sentiment.report.sweep.table import SweepTable


class CommandFailedError(SentimentError):
    """A command ended with an exit code, and the message is what it said; or it started nothing."""


class Run(stored_runs.StoredRun):
    """A finished run: its ``folder``, and as ``record`` all that ``result.json`` has of it."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Metrics of the selected checkpoint: ``val/accuracy``, ``test/accuracy``, ..."""
        return self.record.metrics

    @cached_property
    def predictor(self) -> Predictor:
        """The trained model."""
        from sentiment.models.bundle import Predictor

        return Predictor.load(self.bundle)

    def predict(self, texts: Sequence[str]) -> Predictions:
        """Return labels and probabilities of texts."""
        return self.predictor.predict(texts)

    def history(self) -> pd.DataFrame:
        """Return every validation: step, epoch and metrics."""
        import pandas as pd

        return pd.DataFrame(list(self.record.history))


@dataclass(frozen=True)
class Sweep:
    """A sweep: what `python -m sentiment report` shows."""

    folder: Path  # its folder

    @property
    def table(self) -> SweepTable:
        """The table that all forms of the report are made from, as the sweep stands now: it may be running."""
        from sentiment.report.sweep.collect import collect_sweep

        return collect_sweep(self.folder)

    @property
    def best(self) -> Run:
        """The best run.

        Raises:
            SentimentError: No trial is the best: none has finished, or they only tried a run.
        """
        from sentiment.report.sweep.best import choose_best

        best = choose_best(self.table, self.folder)
        return Run(best.record, best.table.folder_of(best.row, self.folder))

    def to_pandas(self) -> pd.DataFrame:
        """Return the ranking: a row per trial, with settings, metrics and costs, numbers in full."""
        import pandas as pd

        from sentiment.report.sweep.tables import make_ranking

        ranking = make_ranking(self.table)
        return pd.DataFrame(list(ranking.rows), columns=[column.name for column in ranking.columns])

    def report(self) -> Path:
        """Write the report, and return its page."""
        from sentiment.report.sweep.page import REPORT_FOLDER, write_report

        return write_report(self.table, self.folder / REPORT_FOLDER, self.folder)[0]


def run(overrides: Sequence[str] = ()) -> Run:
    """Train, test and record one run: ``python run.py OVERRIDES``.

    Args:
        overrides: As typed: ``["model=rnn", "trainer.max_epochs=2"]``.

    Raises:
        CommandFailedError: It failed; nothing was started where settings are faulty.
    """
    return load_run(_call("run", _list(overrides)))


def search(name: str, overrides: Sequence[str] = (), *, n_trials: int | None = None) -> Sweep:
    """Search: ``python run.py -m search=NAME OVERRIDES``; the same call goes on with the same study.

    Args:
        name: Option of ``search``: ``transformer``, ``rnn``, ``both``, ...
        overrides: As typed: ``["trainer.max_epochs=3", "hydra.sweeper.n_jobs=4"]``.
        n_trials: Trials in all; None: as the search says, of a grid all.

    Raises:
        CommandFailedError: It failed, or some trials have no result.
    """
    lines = [f"search={name}", *_list(overrides), *([] if n_trials is None else [f"hydra.sweeper.n_trials={n_trials}"])]
    return Sweep(_call("sweep", ["-m", *lines]))


def load(name: str | Path) -> Run | Sweep | Predictor:
    """Find what is there by its name: a run, a sweep, or else a model by whatever name ``predict --model`` takes.

    A run may be named by its MLflow id, a sweep by that of its parent run; a model is a registered one (``imdb``,
    ``imdb@ALIAS``, ``imdb/3``, each with or without ``models:/``), what MLflow calls a run's model (``runs:/ID/model``,
    ``models:/m-ID``), a bundle's folder or a checkpoint.

    Raises:
        SentimentError: There is nothing of that name, or it is a sweep of another machine.
    """
    name, uri, root = str(name), stored_runs.choose_tracking_uri(None), stored_runs.MULTIRUN_DIR
    folder = stored_runs.find_folder(name, root)
    if folder is None and RUN_ID.fullmatch(name):
        folder = stored_runs.find_sweep_folder(name, root)
    if folder is not None and not (folder / RESULT_FILE).exists():
        return Sweep(folder.absolute())
    if folder is None and not RUN_ID.fullmatch(name):
        from sentiment.tracking.model_source import find_model_source

        return find_model_source(name, root, uri).load()
    found, *others = stored_runs.find_stored_runs(name, root, uri)
    if others:
        raise SentimentError(
            f"{name} is a sweep of {len(others) + 1} runs, whose folder is not on this machine.",
            f"load one of its runs by its MLflow id; its report: python -m sentiment report {name}",
        )
    return Run(found.record, found.folder, found.tracking_uri)


def load_run(folder: Path) -> Run:
    """Read the run of a folder."""
    return Run(read_result(folder / RESULT_FILE), folder)


def _list(overrides: Sequence[str]) -> list[str]:
    """Take a single override for a list of one: a string is a sequence too, of letters."""
    return [overrides] if isinstance(overrides, str) else list(overrides)


def _call(kind: Kind, arguments: Sequence[str]) -> Path:
    """Run a command to its end, and return the folder of the run or sweep as it told it."""
    command = [sys.executable, str(PROJECT_DIR / "run.py"), *arguments]
    with tempfile.TemporaryDirectory() as place:
        answer = Path(place, "folder")
        asking = {**os.environ, CALLER: f"{kind}:{answer}"}
        with Path(place, "errors").open("w+") as errors:  # no pipe: one that nobody reads meanwhile would fill up
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=asking) as process:
                assert process.stdout is not None
                try:
                    for line in process.stdout:
                        print(line, end="")
                except BaseException:
                    process.terminate()  # Ctrl-C in a notebook: the command ends as on a terminal, and can go on
                    for line in process.stdout:  # its table; else it would be left alone after a quarter of a second
                        print(line, end="")
                    raise
            errors.seek(0)
            message = errors.read()
        folder = Path(answer.read_text(encoding="utf-8")) if answer.exists() else None
    if process.returncode:
        raise CommandFailedError(message.strip() or f"the command ended with exit code {process.returncode}")
    if message:
        print(message, file=sys.stderr, end="")
    if folder is None:
        raise CommandFailedError(
            f"`{shlex.join(['python', 'run.py', *arguments])}` started no {kind}: it only shows or tries something.",
            "leave out what does so (--cfg, --help, --info, hydra.sweeper.dry_run), or type the command in a shell",
        )
    return folder
