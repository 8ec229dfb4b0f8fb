"""Describe a sweep on its parent run, and close what killed commands left open.

A killed command leaves records of jobs and a parent run that say RUNNING. Those of a plain multirun are closed by the
next one in a folder beside it, or by `report`; of a study, by its next command, which goes on with it.
"""

from __future__ import annotations

import fcntl
import json
import logging
import socket
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment.errors import SentimentError, TrackingError, first_line
from sentiment.format import format_metric
from sentiment.report.sweep.collect import collect_sweep
from sentiment.tracking.alive import ALIVE_FILE, RUN_FILE, is_alive
from sentiment.tracking.ending import Ending
from sentiment.tracking.outbox import Outbox
from sentiment.tracking.parent_file import NOTE_TAG, VIEW_TAG, Parent, note_standing, note_sweep_end, read_parent
from sentiment.tracking.recorder import close_abandoned, close_settled
from sentiment.tracking.result_file import ADOPTED_TAG, COPIED_TAG, RESULT_FILE

if TYPE_CHECKING:
    from sentiment.report.sweep.table import SweepTable

log = logging.getLogger(__name__)

KILLED = "the command was killed"


def close_jobs(sweep_dir: Path, reason: str) -> None:
    """Close the records of jobs whose processes are gone, and could not do so themselves."""
    for folder in _list_jobs(sweep_dir):
        try:
            if not is_alive(folder, RUN_FILE):
                close_abandoned(folder, "worker_died", reason)
        except TrackingError as error:  # damaged, which the report says
            log.debug("%s is not closed: %s", folder, error)


def _list_jobs(sweep_dir: Path) -> list[Path]:
    return [result.parent for result in sorted(sweep_dir.rglob(RESULT_FILE))]


def close_killed(sweep_dir: Path) -> bool:
    """Close what the killed command of a plain multirun left running, for its folder and for MLflow.

    Not while a job goes on without it, as one of a cluster may; nor that of another machine, whose locks may not be
    seen from here.

    Returns:
        Whether there was anything to close; False also where the command lives.
    """
    sign = sweep_dir / ALIVE_FILE
    try:
        with sign.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            host = file.read()
            if host not in ("", socket.gethostname()):
                log.info(
                    "%s is not closed: its command worked on %s, and whether it still does cannot be seen from here.\n"
                    "  -> if it was killed: truncate -s 0 %s, then ask for the report again",
                    sweep_dir,
                    host,
                    sign,
                )
                return False
            if any(is_alive(folder, RUN_FILE) for folder in _list_jobs(sweep_dir)):
                return False
            close_jobs(sweep_dir, KILLED)
            if Outbox(sweep_dir).delivery.run_id is not None:
                note_standing(sweep_dir, *describe_parent(collect_sweep(sweep_dir)))
                note_sweep_end(sweep_dir, Ending("KILLED", "worker_died", KILLED))
            sign.unlink()
    except (OSError, SentimentError) as error:  # none there, in use, or damaged, which the report on it says
        log.debug("%s is not closed: %s", sweep_dir, error)
        return False
    log.info("%s is closed: its command was killed.", sweep_dir)
    return True


def close_killed_beside(sweep_dir: Path, uri: str) -> None:
    """Close the killed multiruns beside one that starts, and tell MLflow without waiting for it."""
    closed = [sign.parent for sign in sorted(sweep_dir.parent.glob(f"*/{ALIVE_FILE}")) if close_killed(sign.parent)]
    for folder in (folder for folder in closed if Outbox(folder).is_used):
        from sentiment.tracking.mlflow.delivery import Deliverer

        threading.Thread(target=Deliverer(folder, [uri]).deliver, daemon=True).start()


def close_ended(trial: Any, study_dir: Path, repeats: int, closed: Collection[Path | None] = ()) -> bool:
    """Close the records of a trial's runs that do not tell how the study has ended it, where no process works on them.

    A paused trial is given up; a job is stopped, or killed together with its command. `closed` are folders whose
    records are known to tell an end.

    Returns:
        Whether any was closed.
    """
    from sentiment.search.study.outcome import find_pruned_reason
    from sentiment.search.study.trial import read_folder

    kind, reason = (trial.user_attrs.get(f"failure.{name}") for name in ("kind", "reason"))
    ending = {
        "PRUNED": Ending("PRUNED", reason=find_pruned_reason(trial) or "pruned"),
        "FAIL": Ending("KILLED" if kind == "interrupted" else "FAILED", kind, reason),
    }.get(trial.state.name)
    has_closed = False
    for repeat in range(0 if ending is None else repeats):
        folder = read_folder(trial, study_dir, repeat)
        if ending is not None and folder is not None and folder not in closed:
            with passing_over(folder):
                if not is_alive(folder, RUN_FILE):
                    has_closed |= close_settled(folder, trial.number * repeats + repeat, ending)
    return has_closed


@contextmanager
def passing_over(folder: Path) -> Iterator[None]:
    """Go on where the record of another run cannot be amended; the next command on the study tries again."""
    try:
        yield
    except (OSError, TrackingError) as error:
        is_closed = isinstance(error.__cause__ or error, PermissionError)  # it is another person's, who can amend it
        log.log(logging.DEBUG if is_closed else logging.WARNING, "%s stays as it is: %s", folder, first_line(error))


def tell_parent(sweep_dir: Path, table: SweepTable, parent: Parent) -> None:
    """Note for the parent run of a sweep that is over how it stands, with its description and its view.

    Raises:
        TrackingError: The folder cannot be written.
    """
    from sentiment.report.sweep.page import write_note, write_view

    tags, metrics = describe_parent(table)
    shown = {NOTE_TAG: write_note(table, parent), VIEW_TAG: write_view(table, parent)}
    note_standing(sweep_dir, {**tags, **shown}, metrics)


def tell_parent_again(sweep_dir: Path) -> bool:
    """Note anew how a sweep that is over stands, where MLflow was given its best run only after its end.

    Returns:
        Whether there is anything to deliver for it.

    Raises:
        SentimentError: What is stored of the sweep cannot be read, or its folder not written.
    """
    outbox, parent = Outbox(sweep_dir), read_parent(sweep_dir)
    notes = [note for _, note in outbox.read()]
    told = [note["tags"] for note in notes if note["kind"] == "standing"]
    if parent is None or not told or notes[-1]["kind"] != "sweep_end":
        return False  # it goes on: its own command tells
    if "best.trial" not in told[-1] or "best.run_id" in told[-1]:
        return False
    table = collect_sweep(sweep_dir)
    if table.best is None or table.best.record is None or table.best.record.run_id is None:
        return False
    tell_parent(sweep_dir, table, parent)
    outbox.note(**notes[-1])  # a standing is one of a sweep that goes on
    return True


def describe_parent(table: SweepTable) -> tuple[dict[str, str], dict[str, float]]:
    """Return the tags and metrics of the parent run: everything that it says about the sweep's results.

    Tags: ``study`` names it, where it is one; ``trials`` and ``trials.STATE`` count the trials, or the jobs of a plain
    multirun; ``best.trial``, ``best.objective``, ``best.value``, ``best.name`` and ``best.run_id`` say which is the
    best, as people read it, and ``best.bound`` what ranks it where that is no mean; with several objectives ``front``
    has the numbers of the trials on the front; ``adopted`` has the runs of jobs that were taken over from other
    studies, or their keys where MLflow did not have them yet, and ``copied`` those of a copy's jobs that its original
    trained.
    The metric ``best/OBJECTIVE`` is the best value in full.
    """
    tags = {"study": table.name} if table.is_study else {}
    tags |= {"trials": str(len(table.rows))}
    tags |= {f"trials.{state}": str(count) for state, count in table.count_states().items()}
    if len(table.objectives) > 1 and table.front:
        tags["front"] = ", ".join(str(number) for number in sorted(row.number for row in table.front))
    taken: dict[str, dict[int | None, str]] = {}
    for run in table.records:
        name = run.run_id or run.tags.get(ADOPTED_TAG, "true")
        if ADOPTED_TAG in run.tags and name != "true":
            taken.setdefault("copied" if COPIED_TAG in run.tags else "adopted", {})[run.job_number] = name
    tags |= {kind: json.dumps(runs) for kind, runs in taken.items()}
    best, objective = table.best, table.objectives[0]
    if best is None:
        return tags, {}
    value = best.values[objective]
    tags |= {"best.objective": objective, "best.value": format_metric(objective, value)}
    if table.bounded:
        tags["best.bound"] = format_metric(objective, best.scores[objective])
    tags |= {"best.trial": str(best.number), "best.name": best.label if best.record is None else best.record.name}
    if best.record is not None and best.record.run_id:
        tags["best.run_id"] = best.record.run_id
    return tags, {f"best/{objective}": value}
