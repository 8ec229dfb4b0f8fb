"""Collect all that a report on a sweep tells into one table: from the jobs' records and, where there is one, the study.

Three ways in: the folder of a sweep, an MLflow parent run, and records that are at hand.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sentiment.config.multirun_command import read_multirun_command
from sentiment.config.objective import find_direction, read_objectives
from sentiment.errors import SentimentError, TrackingError
from sentiment.report.sweep.importance import measure_branches
from sentiment.report.sweep.provenance import gather_facts, write_rerun_command
from sentiment.report.sweep.rows import Aim, make_study_rows, rank_rows, read_job_rows
from sentiment.report.sweep.table import SweepRow, SweepTable
from sentiment.tracking.result_file import PARENT_FILE, ResultRecord, read_results

if TYPE_CHECKING:
    from sentiment.search.study.history import StudyHistory

log = logging.getLogger(__name__)


class SweepMissingError(SentimentError):
    """There is nothing to report on, or nothing that was measured under a name."""


def collect_sweep(
    sweep_dir: Path, objectives: Sequence[str] | None = None, *, storage_url: str | None = None
) -> SweepTable:
    """Collect a sweep from its folder.

    Args:
        sweep_dir: Folder of a study or of a plain multirun.
        objectives: Metrics to report on, the first one ranks; None: what the sweep itself optimised.
        storage_url: The study's storage; None: what the folder says.

    Raises:
        SweepMissingError: The folder holds no run, or no run has the metric.
        SentimentError: A record or the study's storage cannot be read.
    """
    records = read_results(sweep_dir)
    history, command = _read_study(sweep_dir, storage_url)
    command = command or read_multirun_command(sweep_dir) or _ask_parent(sweep_dir)
    if not records and (history is None or not history.trials):
        raise SweepMissingError(
            f"{sweep_dir} holds no run and no study.\n"
            "  -> name the folder of a sweep, e.g. multirun/NAME, or the id of its MLflow parent run"
        )
    return collect_records(records, sweep_dir.name, objectives, history=history, command=command)


def collect_parent(
    run_id: str, multirun_dir: Path, tracking_uri: str, objectives: Sequence[str] | None = None
) -> SweepTable:
    """Collect the sweep of an MLflow parent run: from its folder where it is on this machine, else from the store.

    Args:
        run_id: The parent run.
        multirun_dir: Folder that holds the sweeps' folders.
        tracking_uri: Store to ask where no folder is found.
        objectives: As in `collect_sweep`.

    Raises:
        SweepMissingError: Neither knows the run.
        TrackingError: The store cannot be read.
    """
    sweep_dir = find_sweep_dir(run_id, multirun_dir)
    if sweep_dir is not None:
        return collect_sweep(sweep_dir, objectives)
    from sentiment.tracking.mlflow.results import read_child_results, read_parent_run

    parent = read_parent_run(tracking_uri, run_id)
    records = read_child_results(tracking_uri, run_id)
    if not records:
        raise SweepMissingError(
            f"The MLflow run {run_id} has no jobs below it.\n  -> name the parent run of a sweep; `python -m sentiment "
            "report` takes sweeps only"
        )
    return collect_records(records, parent.name, objectives, command=parent.command)


def collect_records(
    records: Sequence[ResultRecord],
    name: str,
    objectives: Sequence[str] | None = None,
    *,
    history: StudyHistory | None = None,
    command: str | None = None,
) -> SweepTable:
    """Make the table of records, and of their study where there is one.

    Raises:
        SweepMissingError: No run has the metric.
    """
    aim = _find_aim(records, objectives, history)
    rows, varied = read_job_rows(records, aim) if history is None else make_study_rows(records, history, aim)
    rows = rank_rows(rows, aim)
    _check_measured(rows, objectives or ())
    log_scaled = frozenset() if history is None else history.log_scaled
    importances, note = measure_branches(rows, varied, log_scaled, aim.objectives[0])
    best = next((row for row in rows if row.rank == 1), None)
    return SweepTable(
        name=name if history is None else history.name,
        command=command,
        objectives=aim.objectives,
        directions=aim.directions,
        rows=tuple(rows),
        varied=varied,
        importances=importances,
        importance_note=note,
        best_command=None if best is None or best.record is None else write_rerun_command(best.record),
        facts=gather_facts(records),
        log_scaled=log_scaled,
    )


def find_sweep_dir(run_id: str, multirun_dir: Path) -> Path | None:
    """Find the folder of the sweep that a parent run belongs to; None where it is not on this machine."""
    from sentiment.tracking.mlflow.parent import read_parent

    for file in sorted(multirun_dir.glob(f"*/{PARENT_FILE}")):
        parent = read_parent(file.parent)
        if parent is not None and parent.run_id == run_id:
            return file.parent
    return None


def _read_study(sweep_dir: Path, storage_url: str | None) -> tuple[StudyHistory | None, str | None]:
    from sentiment.search.study.address_file import read_study_address
    from sentiment.search.study.history import has_study, read_study

    if storage_url is None and not has_study(sweep_dir):
        return None, None
    known = read_study_address(sweep_dir)
    return read_study(storage_url, sweep_dir), None if known is None else known.command


def _ask_parent(sweep_dir: Path) -> str | None:
    """Ask the parent run for the command: for the folders that do not tell it themselves."""
    if not (sweep_dir / PARENT_FILE).exists():
        return None
    from sentiment.tracking.mlflow.parent import read_parent
    from sentiment.tracking.mlflow.results import read_parent_run

    parent = read_parent(sweep_dir)
    assert parent is not None
    try:
        return read_parent_run(parent.uri, parent.run_id).command
    except TrackingError as error:
        log.warning("The sweep's command is unknown: %s", str(error).splitlines()[0])
        return None


def _find_aim(records: Sequence[ResultRecord], objectives: Sequence[str] | None, history: StudyHistory | None) -> Aim:
    """Tell what was optimised: what is asked for, what the study says, or else what the runs' settings say."""
    if history is not None:
        own = history.objectives or _name_objectives(len(history.directions))
        aim = Aim(own, history.directions)
        if objectives is None or tuple(objectives) == own:
            return aim
        known = dict(zip(own, history.directions, strict=True))
        return Aim(tuple(objectives), tuple(known.get(name) or find_direction(name) for name in objectives))
    if objectives is not None:
        return Aim(tuple(objectives), tuple(map(find_direction, objectives)))
    params = next((record.params for record in records if "objective" in record.params), {})
    return Aim(*read_objectives(params))


def _name_objectives(count: int) -> tuple[str, ...]:
    return ("objective",) if count == 1 else tuple(f"objective {number}" for number in range(1, count + 1))


def _check_measured(rows: Sequence[SweepRow], objectives: Sequence[str]) -> None:
    """Insist that some run has each metric that was asked for."""
    known = {name for row in rows for name in (*row.metrics, *row.values)}
    missing = [name for name in objectives if name not in known]
    if missing and known:
        raise SweepMissingError(
            f"No run of this sweep has {', '.join(missing)}; they have {', '.join(sorted(known))}.\n"
            "  -> name one of these"
        )
