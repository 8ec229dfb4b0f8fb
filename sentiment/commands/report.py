"""``python -m sentiment report``: a page, pictures and tables about a sweep."""

from __future__ import annotations

import argparse

from sentiment.commands.arguments import add_sweep, add_tracking_uri, refuse_unread
from sentiment.paths import expand_home

SUMMARY = "write a page about a sweep that opens offline, with its plots as PNG and its tables as CSV"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_sweep(parser, otherwise="the latest sweep")
    parser.add_argument(
        "--output", type=expand_home, metavar="FOLDER", help="where to write; else report/ in the sweep's folder"
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    add_tracking_uri(parser, "MLflow store, for a sweep that ran on another machine")


def run(options: argparse.Namespace) -> None:
    """Collect the sweep, write its report, and say where the page lies.

    Raises:
        SentimentError: There is no such sweep, it cannot be read, or the report cannot be written.
    """
    from sentiment.format import format_count
    from sentiment.report.sweep.names import open_sweep
    from sentiment.report.sweep.page import REPORT_FOLDER, count_trials, write_headline, write_report
    from sentiment.tracking import runs as stored_runs
    from sentiment.tracking.result_file import RUN_ID

    if not RUN_ID.fullmatch(options.study or ""):
        refuse_unread(options, ("tracking_uri",), "it says where the MLflow parent run of a STUDY lies: name its id")
    table, sweep_dir = open_sweep(options.study, options.tracking_uri)
    folder = options.output or (sweep_dir or stored_runs.MULTIRUN_DIR / options.study) / REPORT_FOLDER
    page, *others = write_report(table, folder, sweep_dir)
    pictures = sum(file.suffix == ".png" for file in others)
    shown, tables = format_count(pictures, "picture"), format_count(len(others) - pictures, "table")
    print("\n".join([write_headline(table), count_trials(table), *table.notes]))
    print(f"{page}\n  with {shown} in plots/ and {tables} as CSV beside it")
    if options.open:
        import webbrowser

        if not webbrowser.open(page.resolve().as_uri()):
            print("No browser could be started here; open the file above yourself.")
