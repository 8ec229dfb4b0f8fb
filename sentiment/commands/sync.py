"""``python -m sentiment sync``: deliver to MLflow what runs have noted and a store that was away did not take.

python -m sentiment sync                       # all under multirun/, debug/ and .cache/pretrained/
python -m sentiment sync multirun/NAME         # those of a folder
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sentiment.commands.arguments import add_tracking_uri

SUMMARY = "deliver to MLflow what is recorded in the runs' folders and did not get there"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "folder",
        nargs="?",
        metavar="FOLDER",
        help="a run's or a sweep's, or its name under multirun/; without: all under multirun/, debug/ and "
        ".cache/pretrained/",
    )
    add_tracking_uri(parser, "the store with its password, which no run writes down (else: as noted)")


def run(options: argparse.Namespace) -> None:
    """Deliver, and say how many runs MLflow has now; what another process is at is delivered by that.

    Raises:
        SentimentError: There is no such folder, or the store does not take everything.
    """
    from sentiment.config.home import read_portable
    from sentiment.credentials import anchor_store, is_same_store
    from sentiment.errors import TrackingError
    from sentiment.format import format_count, join_names, list_first
    from sentiment.report.sweep.closing import tell_parent_again
    from sentiment.tracking import runs as stored_runs
    from sentiment.tracking.mlflow.delivery import Deliverer, settle_all_adopted
    from sentiment.tracking.outbox import Outbox, find_outboxes
    from sentiment.tracking.result_file import PARENT_FILE

    folders = _find_folders(options.folder)
    if not folders:
        return
    uri = stored_runs.choose_tracking_uri(options.tracking_uri)

    def list_outboxes() -> list[Outbox]:
        return [outbox for folder in folders for outbox in find_outboxes(folder)]

    noted = {store for outbox in list_outboxes() for store in outbox.stores}
    stores = sorted(anchor_store(read_portable(store), Path.cwd()) for store in noted)
    if options.tracking_uri is not None and not any(is_same_store(uri, store) for store in stores):
        places = [str(folder) for folder in folders]
        raise TrackingError(
            f"Nothing in {join_names(places)} goes to {uri}: it is for {', '.join(stores)}.",
            "leave --tracking-uri out, or give that address with its password",
        )
    waiting = [outbox for outbox in list_outboxes() if not outbox.is_delivered]
    failures: dict[Path, str] = {}
    for folder in folders:
        deliverer = Deliverer(folder, [uri])
        deliverer.deliver()
        if not deliverer.failures:
            settle_all_adopted(folder, deliverer.open)
        if [file for file in sorted(folder.rglob(PARENT_FILE)) if tell_parent_again(file.parent)]:
            deliverer.deliver()
        failures |= deliverer.failures
    open_ones = {outbox.folder for outbox in list_outboxes() if not outbox.is_delivered}
    left = [name for name in sorted(open_ones) if name in failures]
    if busy := [str(name) for name in sorted(open_ones.difference(left))]:
        print(f"Another command is at work on {join_names(busy)}, and delivers it itself.")
    if left:
        count = len({*left, *(outbox.folder for outbox in waiting)})
        reasons = list_first([f"{name}: {failures[name]}" for name in left])
        raise TrackingError(
            f"Of {format_count(count, 'run')}, {len(left)} not delivered:\n{reasons}",
            "see that the store answers, then start the same command again; what is delivered stays delivered",
        )
    done = sum(outbox.folder not in open_ones and not outbox.delivery.is_deleted for outbox in waiting)
    print(f"{done} delivered." if done else f"Everything{' else' if busy else ''} is delivered.")


def _find_folders(name: str | None) -> list[Path]:
    """Find the folders with records for MLflow: that of a name, or all; where there is none at all, that is printed.

    Raises:
        TrackingError: There is none of that name.
    """
    from sentiment.errors import TrackingError
    from sentiment.format import join_names
    from sentiment.paths import expand_home, list_roots
    from sentiment.tracking import runs as stored_runs
    from sentiment.tracking.outbox import find_outboxes

    root = stored_runs.MULTIRUN_DIR
    if name is None:
        own = [root, *stored_runs.OTHER_DIRS]
        folders = [folder for place in own for folder in list_roots(place) if find_outboxes(folder)]
        if not folders:
            places = join_names([str(folder) for folder in own])
            print(f"Nothing is to be delivered: there is no run for MLflow under {places} yet.")
        return folders
    folders = list(filter(find_outboxes, [expand_home(name), root / name]))[:1]
    if not folders:
        near = stored_runs.name_near(name, root)
        raise TrackingError(
            f"There is nothing for MLflow in {name}: no run that was recorded with tracking=mlflow, neither in a "
            f"folder of that name here nor under {root}.",
            f"did you mean {', '.join(near)}?" if near else "name the folder of a run or a sweep",
        )
    return folders
