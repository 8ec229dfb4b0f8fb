"""``python -m sentiment compare A B``: compare runs, or groups of runs over seeds.

python -m sentiment compare multirun/transformer_vs_rnn               # its models
python -m sentiment compare multirun/pooling --by model.pooling
python -m sentiment compare SWEEP/0 SWEEP/3                           # two runs, over the test reviews
python -m sentiment compare SWEEP/0,SWEEP/1,SWEEP/2 OTHER_SWEEP       # two groups
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sentiment.commands.arguments import add_tracking_uri
from sentiment.paths import expand_home

if TYPE_CHECKING:
    from sentiment.tracking.runs import StoredRun

SUMMARY = "compare runs or groups of runs, and say what may be concluded"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="a run (folder, SWEEP/NUMBER or MLflow run id), several of them joined by commas as a group, or a whole "
        "sweep; one sweep alone is grouped by model",
    )
    parser.add_argument("--by", metavar="KEY", help="group one sweep by this setting, e.g. model.pooling")
    parser.add_argument("--metric", help="what to compare (default: test/accuracy where all have it, else validation)")
    parser.add_argument(
        "--csv", type=expand_home, metavar="FILE", help="write the table, numbers in full, to this file"
    )
    add_tracking_uri(parser)


def run(options: argparse.Namespace) -> None:
    """Compare, print, and write the table where asked to.

    Raises:
        SentimentError: There are no such runs, or they cannot be compared.
    """
    from sentiment.report.compare.comparison import compare_runs
    from sentiment.report.compare.summary import print_comparison, write_csv

    groups, notes = find_groups(options.runs, options.by, options.tracking_uri)
    comparison = compare_runs(groups, options.metric, notes)
    print_comparison(comparison)
    if options.csv is not None:
        write_csv(comparison, options.csv)
        print(f"\n{options.csv} holds the table.")


def find_groups(
    arguments: list[str], by: str | None, tracking_uri: str | None
) -> tuple[dict[str, list[StoredRun]], list[str]]:
    """Find the groups that a command line names, and what the reader must know of how they were found.

    Raises:
        SentimentError: They make no groups.
        TrackingError: There is no such run.
    """
    from sentiment.errors import SentimentError
    from sentiment.format import join_names
    from sentiment.report.compare.comparison import name_groups, split_runs
    from sentiment.tracking.runs import MULTIRUN_DIR, find_folder

    found: list[list[StoredRun]] = []
    notes: list[str] = []
    for argument in arguments:
        found.append([])
        # A folder may have a comma in its name: Hydra's override_dirname has.
        names = argument.split(",") if find_folder(argument, MULTIRUN_DIR) is None else [argument]
        for name in names:
            runs, told = find_runs(name.strip(), tracking_uri)
            found[-1] += runs
            notes += [f"{name.strip()}: {note}" for note in told] if len(arguments) > 1 or len(names) > 1 else told
    if len(found) == 1:
        if len(found[0]) == 1:
            raise SentimentError(
                f"{arguments[0]} stands for a single run, and there is nothing to compare it with.",
                "name a second one, or a sweep",
            )
        groups = split_runs(found[0], by or "model")
        kept = [id(run) for group in groups.values() for run in group]
        lacking = [run.record.name for run in found[0] if id(run) not in kept]
        return groups, [*notes, *([f"Left out, because they have no {by}: {join_names(lacking)}."] if lacking else [])]
    if by is not None:
        raise SentimentError(
            f"--by {by} groups one sweep, but {len(arguments)} are named, and each is a group by itself.",
            "leave --by out, or name one sweep",
        )
    return dict(zip(name_groups(found), found, strict=True)), notes


def find_runs(name: str, tracking_uri: str | None) -> tuple[list[StoredRun], list[str]]:
    """Find the run that a name stands for, or the finished runs of the sweep, with what the reader must know.

    Raises:
        TrackingError: There is no such run.
    """
    from sentiment.report.compare.comparison import keep_finished
    from sentiment.report.sweep.names import open_sweep
    from sentiment.tracking.runs import MULTIRUN_DIR, choose_tracking_uri, find_stored_runs

    runs = find_stored_runs(name, MULTIRUN_DIR, choose_tracking_uri(tracking_uri))
    if len(runs) == 1:
        return runs, []
    return keep_finished(runs, open_sweep(name, tracking_uri, needs_storage=False)[0])
