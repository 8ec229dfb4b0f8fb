"""``python -m sentiment record``: an experiment on record, from stored results to its tables and figures."""

from __future__ import annotations

import argparse
import re

from sentiment.commands.arguments import CollectPairs
from sentiment.paths import expand_home

SUMMARY = "write the tables and figures of an experiment in experiments/ from its stored results"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("folder", type=expand_home, metavar="FOLDER", help="the experiment's, e.g. experiments/pooling")
    parser.add_argument(
        "--collect",
        action=CollectPairs,
        metavar="PART=SWEEP",
        type=check_part,
        help="take in the results of this sweep first (its folder, its name under multirun/ or its MLflow parent run), "
        "as this part of the record; may be given several times",
    )


def check_part(text: str) -> str:
    """Return ``PART=SWEEP`` where it is such."""
    if not re.fullmatch(r"\w+=.+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not PART=SWEEP, e.g. transformer=multirun/pooling_transformer")
    return text


def run(options: argparse.Namespace) -> None:
    """Take results in where asked to, then write the tables and figures.

    Raises:
        SentimentError: There is no such folder or sweep, or the files cannot be read or written.
    """
    from sentiment.report.record.store import collect_part, require_readme, store_part, write_record

    require_readme(options.folder)
    for name, sweep in options.collect.items():
        part = collect_part(name, sweep)
        print(store_part(options.folder, part))
        print("".join(f"  {note}\n" for note in part.notes), end="")
    for file in write_record(options.folder):
        print(file)
