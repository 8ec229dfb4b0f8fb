"""Find a sweep by what people type: its folder, its name under ``multirun/``, or its MLflow parent run."""

from __future__ import annotations

import difflib
import logging
import shlex
from collections.abc import Sequence
from pathlib import Path

from sentiment.errors import SentimentError
from sentiment.paths import expand_home
from sentiment.report.sweep.closing import close_killed
from sentiment.report.sweep.collect import collect_parent, collect_sweep
from sentiment.report.sweep.table import SweepTable
from sentiment.tracking import runs as stored_runs
from sentiment.tracking.alive import ALIVE_FILE, is_alive
from sentiment.tracking.outbox import Outbox
from sentiment.tracking.result_file import RESULT_FILE, RUN_ID, read_result

log = logging.getLogger(__name__)

RUN_SIGN = "*/result.json"

SIGNS = (ALIVE_FILE, "study.json", "journal.log", RUN_SIGN)
"""Files by which a folder is a sweep's; the latest change of any is when it was at work last."""

LOOKED_AT = 20
"""So many sweeps, the latest ones, are asked whether a command works on them."""

MOST_NAMES = 8
"""Names that an error lists."""


def open_sweep(
    name: str | None, tracking_uri: str | None = None, *, needs_storage: bool = True
) -> tuple[SweepTable, Path | None]:
    """Find a sweep and collect its table.

    Args:
        name: Its folder, its name under ``multirun/``, or its MLflow parent run; None: the latest sweep.
        tracking_uri: MLflow store to ask for a parent run whose folder is on another machine; None: the usual one.
        needs_storage: As in `collect_sweep`.

    Returns:
        The table, and the sweep's folder; None where it is not on this machine.

    Raises:
        SentimentError: There is no such sweep, or it cannot be read.
    """
    if name is None:
        sweep_dir = find_latest(stored_runs.MULTIRUN_DIR)
    elif RUN_ID.fullmatch(name) and _find_folder(name, stored_runs.MULTIRUN_DIR) is None:
        return collect_parent(name, stored_runs.choose_tracking_uri(tracking_uri)), None
    else:
        sweep_dir = find_sweep(name, stored_runs.MULTIRUN_DIR)
    if close_killed(sweep_dir) and Outbox(sweep_dir).is_used:
        log.info("Tell MLflow: python -m sentiment sync %s", sweep_dir)
    return collect_sweep(sweep_dir, needs_storage=needs_storage), sweep_dir


def find_sweep(name: str, multirun_dir: Path) -> Path:
    """Find the folder of a sweep by its path, by its name under multirun/, or by the id of its MLflow parent run.

    Raises:
        SentimentError: There is none; the message names those that are called alike. Or it is the folder of a job.
    """
    folder = _find_folder(name, multirun_dir)
    if folder is not None:
        _refuse_job(name, folder)
        return folder
    known = list_sweeps(multirun_dir)
    near = difflib.get_close_matches(name, known, n=MOST_NAMES, cutoff=0.6)
    if near:
        remedy = f"did you mean {', '.join(near)}?"
    elif known:
        remedy = f"the latest are {', '.join(known[:MOST_NAMES])}"
    else:
        remedy = "there is none yet; start one: python run.py -m model=transformer,rnn"
    raise SentimentError(
        f"There is no sweep called {name or repr(name)}: no such folder, neither here nor under {multirun_dir}, "
        "nor the parent run of one there.",
        remedy,
    )


def _find_folder(name: str, multirun_dir: Path) -> Path | None:
    """Return the folder of a sweep; one that holds no sign of any counts where nothing else has the name."""
    places = (expand_home(name), multirun_dir / name) if name else ()
    folders = [folder.resolve() for folder in places if folder.is_dir()]
    for folder in folders:
        if any(next(folder.glob(sign), None) for sign in (*SIGNS, f"**/{RESULT_FILE}")):
            return folder
    if RUN_ID.fullmatch(name):  # MLflow knows it, while a folder may hold no more than its report
        return stored_runs.find_sweep_folder(name, multirun_dir)
    return next(iter(folders), None)


def _refuse_job(name: str, folder: Path) -> None:
    """Refuse the folder of a job, which would be the best one of a sweep of itself.

    Raises:
        SentimentError: It is one, or its record is damaged.
    """
    file = folder / RESULT_FILE
    if file.is_file() and (number := read_result(file).job_number) is not None:
        raise SentimentError(
            f"{name} is job {number} of a sweep, and a whole sweep is needed.",
            f"name the sweep, such as {shlex.quote(str(folder.parent))}; one trial of it: best SWEEP --rank N, "
            "stop SWEEP NUMBER",
        )


def find_latest(multirun_dir: Path) -> Path:
    """Find the sweep in which a run was recorded last.

    Raises:
        SentimentError: There is none.
    """
    names = list_sweeps(multirun_dir)
    if not names:
        raise SentimentError(
            f"There is no sweep under {multirun_dir}.",
            "start one: python run.py -m model=transformer,rnn; or name one: python -m sentiment report FOLDER",
        )
    return multirun_dir / names[0]


def find_newest(multirun_dir: Path) -> Path:
    """Find the newest sweep that a command works on, or else the newest one; one that has no run yet, too.

    Raises:
        SentimentError: There is none.
    """
    newest = _rank(multirun_dir, SIGNS)
    return next(filter(_is_at_work, newest[:LOOKED_AT]), newest[0] if newest else None) or find_latest(multirun_dir)


def _is_at_work(sweep_dir: Path) -> bool:
    from sentiment.search.study.history import has_study, read_study

    try:
        return read_study(None, sweep_dir).is_at_work if has_study(sweep_dir) else is_alive(sweep_dir, ALIVE_FILE)
    except SentimentError:
        return False


def list_sweeps(multirun_dir: Path) -> list[str]:
    """List the names of the sweeps under a folder, the latest first: folders that hold folders of runs."""
    return [folder.name for folder in _rank(multirun_dir, (RUN_SIGN,))]


def _rank(multirun_dir: Path, signs: Sequence[str]) -> list[Path]:
    """Return the folders that hold one of these files, the one that was changed last first."""
    latest = {
        folder: max(file.stat().st_mtime for file in files)
        for folder in (multirun_dir.iterdir() if multirun_dir.is_dir() else ())
        if (files := [file for sign in signs for file in folder.glob(sign)])
    }
    return sorted(latest, key=lambda folder: latest[folder], reverse=True)
