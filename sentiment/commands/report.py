"""``python -m sentiment report``: a page, pictures and tables about a sweep."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentiment.report.sweep.table import SweepTable

SUMMARY = "write a page about a sweep that opens offline, with its plots as PNG and its tables as CSV"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "study",
        nargs="?",
        metavar="STUDY",
        help="a sweep's folder, its name under multirun/, or its MLflow parent run; without it: the latest sweep",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="where to write; else report/ in the sweep's folder"
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow store, for a sweep that ran on another machine")


def run(options: argparse.Namespace) -> None:
    """Collect the sweep, write its report, and say where the page lies.

    Raises:
        SentimentError: There is no such sweep, it cannot be read, or the report cannot be written.
    """
    from sentiment.report.sweep.report import write_report
    from sentiment.report.sweep.summary import summarize
    from sentiment.tracking.places import MULTIRUN_DIR

    table, folder = _collect(options, MULTIRUN_DIR)
    page, *others = write_report(table, options.output or folder)
    summary = summarize(table)
    pictures = sum(file.suffix == ".png" for file in others)
    print(f"{summary.headline}\n{summary.counts}")
    print(f"{page}\n  with {pictures} pictures in plots/ and {len(others) - pictures} tables as CSV beside it")
    if options.open:
        _open_page(page)


def _collect(options: argparse.Namespace, multirun_dir: Path) -> tuple[SweepTable, Path]:
    """Collect the sweep, and say where its report goes by default."""
    from sentiment.report.sweep.collect import collect_parent, collect_sweep, find_sweep_dir
    from sentiment.report.sweep.names import RUN_ID, find_latest, find_sweep

    if options.study is not None and RUN_ID.fullmatch(options.study) and not Path(options.study).is_dir():
        from sentiment.tracking.places import choose_tracking_uri

        sweep_dir = find_sweep_dir(options.study, multirun_dir)
        table = collect_parent(options.study, multirun_dir, choose_tracking_uri(options.tracking_uri))
        return table, (sweep_dir or multirun_dir / options.study) / "report"
    sweep_dir = find_latest(multirun_dir) if options.study is None else find_sweep(options.study, multirun_dir)
    return collect_sweep(sweep_dir), sweep_dir / "report"


def _open_page(page: Path) -> None:
    import webbrowser

    if not webbrowser.open(page.resolve().as_uri()):
        print("No browser could be started here; open the file above yourself.")
