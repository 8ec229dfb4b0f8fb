"""``python -m sentiment errors RUN``: see where a run is wrong.

python -m sentiment errors SWEEP/0                              # on the test reviews, if the run was tested
python -m sentiment errors SWEEP/0 --split validation           # predicts with the stored model
python -m sentiment errors RUN_ID --data-path imdb/ --output errors/ --no-log
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sentiment.commands.arguments import add_page_arguments, add_tracking_uri
from sentiment.paths import expand_home

SUMMARY = "see where a run is wrong: confusion, calibration, length, negation, and its most confident mistakes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("run_name", metavar="RUN", help="a run: its folder, SWEEP/NUMBER, or its MLflow run id")
    parser.add_argument("--split", choices=("test", "validation"), help="default: test where the run was tested")
    parser.add_argument(
        "--data-path", type=expand_home, metavar="PATH", help="where the run's data lies now, if it moved"
    )
    add_page_arguments(parser, output="errors_SPLIT in its folder", log="log the page on the run in MLflow")
    add_tracking_uri(parser)


def run(options: argparse.Namespace) -> None:
    """Analyse, write the page, print the findings, and log the files on the run: last, so that nothing else is lost.

    Raises:
        SentimentError: There is no such run, or it lacks what is needed.
    """
    from sentiment.report.errors.analysis import analyse_run
    from sentiment.report.errors.page import write_report
    from sentiment.report.errors.summary import print_findings
    from sentiment.tracking.runs import MULTIRUN_DIR, choose_tracking_uri, find_stored_run

    found = find_stored_run(options.run_name, MULTIRUN_DIR, choose_tracking_uri(options.tracking_uri))
    analysis = analyse_run(
        found, split=options.split, data_path=options.data_path, shown=options.mistakes, explain=options.explain
    )
    # A run that only MLflow has, has no folder of its own here.
    name = f"errors_{analysis.split}"
    own = found.folder / name if found.tracking_uri is None else Path(f"{name}_{analysis.run_id}")
    folder = options.output or own
    files = write_report(analysis, folder)
    print_findings(analysis)
    print(f"\n{files[0]} shows it; tables/ and plots/ beside it hold {len(files) - 1} files.", flush=True)
    # A run knows its own store, which need not be the one where runs are looked for.
    uri = options.tracking_uri or found.store
    if options.log and uri is not None and analysis.run_id is not None:
        from sentiment.tracking.mlflow.write import attach_files

        artifact_path = f"errors/{analysis.split}"
        attach_files(uri, analysis.run_id, files, folder, artifact_path)
        print(f"Logged on the MLflow run {analysis.run_id}, under {artifact_path}.")
    elif options.log:
        print("Not logged: the run is not in MLflow.")
