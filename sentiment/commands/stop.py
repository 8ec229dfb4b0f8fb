"""``python -m sentiment stop STUDY [TRIAL]``: end a study after its running jobs, or one of its trials."""

from __future__ import annotations

import argparse

from sentiment.commands.arguments import whole_number

SUMMARY = "end a study after its running jobs, or one running trial as pruned; the study's own command goes on later"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("study", metavar="STUDY", help="a study's folder, or its name under multirun/")
    parser.add_argument(
        "trial", nargs="?", type=whole_number(0), metavar="TRIAL", help="number of a trial; without it: the study"
    )


def run(options: argparse.Namespace) -> None:
    """Leave the request in the study's storage, and say when it takes effect.

    Raises:
        SentimentError: There is no such study, or the trial does not run.
    """
    from sentiment.report.sweep.names import find_sweep
    from sentiment.search.study.stop import request_stop
    from sentiment.tracking.runs import MULTIRUN_DIR

    print(request_stop(find_sweep(options.study, MULTIRUN_DIR), options.trial))
