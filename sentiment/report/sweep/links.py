"""Where the rows of a page lead: to the run's folder, its page on errors, its learning curve, and its run in MLflow."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from sentiment.errors import TrackingError
from sentiment.report.draw.table import Link
from sentiment.report.sweep.table import SweepRow, SweepTable
from sentiment.tracking.parent_file import MODEL_TRAINING, Parent, read_parent

LOCAL_SERVER = "http://127.0.0.1:5000"
"""Where ``mlflow ui`` answers unless it is told otherwise."""

MOST_ROWS = 500
"""Rows of a table that the page shows; the CSV file has them all, and the page says so."""

Links = Mapping[tuple[int, str], tuple[Link, ...]]
"""Position of a row and name of a column to what its cell links."""


def link_rows(table: SweepTable, sweep_dir: Path, page_dir: Path) -> Links:
    """Link the cells ``job`` and ``run_id`` of the first rows; folders and pages that are not there have no link."""
    try:
        parent = read_parent(sweep_dir)
    except TrackingError:
        parent = None  # the page is no less a page
    links = {}
    for position, row in enumerate(table.rows[:MOST_ROWS]):
        curve = (Link("curve", f"#curve-{row.number if row.reused_from is None else row.reused_from}"),)
        if found := (*_link_files(table.folder_of(row, sweep_dir), page_dir), *(curve if row.curve else ())):
            links[position, "job"] = found
        if found := tuple(_link_run(row, parent)):
            links[position, "run_id"] = found
    return links


def _link_files(folder: Path, page_dir: Path) -> Iterator[Link]:
    if folder.is_dir():
        yield Link("", _relate(folder, page_dir) + "/")
        for page in sorted(folder.glob("errors_*/errors.html")):
            yield Link(page.parent.name.replace("_", " "), _relate(page, page_dir))


def _relate(file: Path, page_dir: Path) -> str:
    return quote(Path(os.path.relpath(file, page_dir)).as_posix())


def _link_run(row: SweepRow, parent: Parent | None) -> Iterator[Link]:
    if parent is not None and row.record is not None and row.record.run_id is not None:
        server = parent.uri.rstrip("/") if parent.uri.startswith(("http://", "https://")) else LOCAL_SERVER
        yield Link("", f"{server}/#/experiments/{parent.experiment_id}/runs/{row.record.run_id}?{MODEL_TRAINING}")
