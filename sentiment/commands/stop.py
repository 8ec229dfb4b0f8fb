"""``python -m sentiment stop STUDY [TRIAL]``: end a study after its running jobs, or one of its trials."""

from __future__ import annotations

import argparse

from sentiment.commands.arguments import add_sweep, whole_number

SUMMARY = "end a study after its running jobs, or one running trial as pruned; the study's own command goes on later"

ENDED = {"complete", "pruned", "failed"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_sweep(parser)
    parser.add_argument(
        "trial", nargs="?", type=whole_number(0), metavar="TRIAL", help="number of a trial; without it: the study"
    )


def run(options: argparse.Namespace) -> None:
    """Leave the request in the study's storage, and say when it takes effect.

    Raises:
        SentimentError: There is no such study, or the trial does not run.
    """
    from sentiment.format import format_count
    from sentiment.report.sweep.names import find_sweep
    from sentiment.search.study.history import has_study, read_study
    from sentiment.search.study.stop import request_stop
    from sentiment.tracking.runs import MULTIRUN_DIR

    folder = find_sweep(options.study, MULTIRUN_DIR)
    if options.trial is None and has_study(folder):
        study = read_study(None, folder)
        if study.trials and not study.is_at_work and {trial.state for trial in study.trials} <= ENDED:
            trials = format_count(len(study.trials), "trial")
            print(f"Nothing is left to stop: no command works on the study, and what it has, {trials}, has ended.")
            return
    print(request_stop(folder, options.trial))
