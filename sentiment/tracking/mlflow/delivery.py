"""Deliver to MLflow what runs have noted, in order, from a thread that no training waits for.

Results that were taken over from another study before MLflow had their runs are found there once it has them.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sentiment.config.home import read_portable
from sentiment.config.run_context import RunContext
from sentiment.credentials import is_same_store, name_server
from sentiment.errors import TrackingError, first_line
from sentiment.tracking.mlflow.one_delivery import OneDelivery, is_away
from sentiment.tracking.mlflow.store import Store, open_client, open_store, reading
from sentiment.tracking.mlflow.write import search_by_key
from sentiment.tracking.outbox import OUTBOX_FILE, SILENT_SECONDS, Outbox, find_outboxes, write_uri
from sentiment.tracking.result_file import (
    ADOPTED_TAG,
    PARENT_FILE,
    RESULT_FILE,
    ResultRecord,
    amend_result,
    read_result,
)

log = logging.getLogger(__name__)

EVERY_SECONDS = 5.0
"""Time between two deliveries of a run that goes on."""

LONGEST_PAUSE_SECONDS = 60.0
"""Time between two attempts at a store that does not answer."""

FAILURES = 3
"""Attempts in a row without any progress after which the end of a command waits no longer."""

FINAL_SECONDS = 60.0
"""Longest wait for the store at the end of a command."""

HURRIED_SECONDS = 5.0
"""The same after Ctrl-C and the like, and at the end of a run that another one waits for."""


class Outboxes:
    """The outboxes in a folder and below it, followed as runs come and go on.

    A search has thousands: what is known is not looked for again, and what has not grown is not opened.

    Args:
        folder: Of a run or of a sweep, or above several.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._found: dict[str, Outbox] = {}
        self._runs: set[str] = set()  # folders that are looked into once: a run that goes on gets none below it
        self._delivered: dict[str, int] = {}  # size up to which all is delivered

    def list_grown(self) -> list[tuple[Outbox, int]]:
        """List those that may wait, with their sizes: runs in order of their folders, then the sweeps' own."""
        for path, folders, files in os.walk(self._folder):
            if OUTBOX_FILE in files:
                self._found.setdefault(path, Outbox(Path(path)))
            folders[:] = [name for name in folders if os.path.join(path, name) not in self._runs]  # noqa: PTH118
            if OUTBOX_FILE in files and PARENT_FILE not in files and path != self._folder:
                self._runs.add(path)
        grown = []
        for path in list(self._found):
            try:
                size = os.stat(f"{path}/{OUTBOX_FILE}").st_size  # noqa: PTH116
            except OSError:  # it was removed, and its run may be made again
                del self._found[path]
                self._runs.discard(path)
                continue
            if size != self._delivered.get(path):
                grown.append((path not in self._runs, path, size))
        return [(self._found[path], size) for _, path, size in sorted(grown)]

    def note(self, outbox: Outbox, size: int) -> None:
        """Note up to which size all is delivered."""
        self._delivered[str(outbox.folder)] = size


class Deliverer:
    """Delivers all that is noted in a folder and below it.

    Args:
        folder: Of a run or of a sweep.
        uris: Addresses that a person named, as they are to be used: what is noted has no passwords.

    Attributes:
        failures: Folder to why nothing more of it was delivered at the last attempt, in a line.
    """

    def __init__(self, folder: Path, uris: Sequence[str] = ()) -> None:
        self.folder = folder
        self._outboxes = Outboxes(folder)
        self._uris = uris
        for uri in uris:
            name_server(uri)
        self._stores: dict[tuple[str, str], Store] = {}
        self._thread = threading.Thread(target=self._run, name="mlflow-delivery", daemon=True)
        self._wanted, self._settled, self._stopping = threading.Event(), threading.Event(), threading.Event()
        self._longest = math.inf
        self.failures: dict[Path, str] = {}

    def start(self) -> Deliverer:
        """Start to deliver."""
        self._thread.start()
        return self

    def settle(self, seconds: float) -> None:
        """Wait until all is delivered, but no longer than the store gets on with it, nor than so many seconds.

        What interrupts the wait ends it, and nothing else: what is waited for is recorded in its folder.
        """
        if not self._thread.is_alive():
            return
        self._settled.clear()
        self._wanted.set()
        seconds = min(seconds, self._longest)
        try:
            if not self._settled.wait(min(seconds, SILENT_SECONDS)):
                log.info("Waiting for MLflow, %g s at most; Ctrl-C ends the wait.", seconds)
                self._settled.wait(seconds - SILENT_SECONDS)
        except (KeyboardInterrupt, SystemExit):
            self._longest = HURRIED_SECONDS

    def finish(self, seconds: float) -> None:
        """Deliver the rest, end, and name what is left and how to deliver it."""
        self.settle(seconds)
        self._stopping.set()
        self._wanted.set()
        left = [outbox for outbox in find_outboxes(self.folder) if has_end_waiting(outbox)]
        if left:
            log.warning(
                "MLflow has not taken everything (%s). Nothing is lost: the records of %s are complete in their "
                "folders.\n  -> deliver them later: python -m sentiment sync %s",
                "; ".join(dict.fromkeys(self.failures.values())) or "it is slow",
                f"{len(left)} runs" if len(left) > 1 else left[0].folder,
                self.folder,
            )

    def deliver(self) -> bool:
        """Deliver what waits; return whether all that did was delivered.

        Each store and each run stands for itself: what one does not take keeps no other one waiting.
        """
        if self.failures:
            self._stores.clear()  # see first, and within seconds, whether they answer
        is_whole, failures, away = True, dict[Path, str](), dict[str | None, str]()
        for outbox, size in self._outboxes.list_grown():
            if self._stopping.is_set():
                return False
            try:
                if away and (store := outbox.store) in away:
                    failures[outbox.folder] = away[store]
                elif OneDelivery(outbox, self.open).run():
                    self._outboxes.note(outbox, size)
                else:
                    is_whole = False
            except Exception as error:  # whatever it is, training goes on and the records stay
                reason = first_line(error)
                if not self.failures and not failures:
                    log.warning(
                        "%s\n  -> the runs go on; their records wait in their folders, e.g. %s", reason, outbox.folder
                    )
                    log.debug("Delivery failed", exc_info=error)
                failures[outbox.folder] = reason
                if is_away(error, outbox.folder):
                    away[outbox.store] = reason
        self.failures = failures
        return is_whole and not failures

    def _run(self) -> None:
        pause, failures = EVERY_SECONDS, 0
        while not self._stopping.is_set():
            is_wanted = self._wanted.is_set()
            if self.deliver():
                failures, pause = 0, EVERY_SECONDS
            else:
                failures, pause = failures + 1, min(2 * pause, LONGEST_PAUSE_SECONDS)
            if is_wanted and (failures == 0 or failures >= FAILURES):
                self._wanted.clear()
                self._settled.set()
                failures = 0
            if self._wanted.is_set():
                self._stopping.wait(0.5 * failures)
            else:
                self._wanted.wait(pause)
                failures = 0

    def open(self, uri: str, experiment: str, artifact_dir: str) -> Store:
        """Open a store, once.

        Args:
            uri: Its address, as it was noted.
            experiment: The experiment; empty: any.
            artifact_dir: Where a new experiment has its artifacts.

        Raises:
            TrackingError: It cannot be opened.
        """
        known = [store for (noted, name), store in self._stores.items() if noted == uri and experiment in ("", name)]
        if known:
            return known[0]
        named = read_portable(uri)
        address = next((own for own in self._uris if is_same_store(own, named)), named)
        if experiment:
            store = open_store(address, experiment, read_portable(artifact_dir))
        else:
            store = Store(open_client(address), address, "")
        self._stores[uri, experiment] = store
        return store


@contextmanager
def delivering(context: RunContext, *, is_inner: bool) -> Iterator[None]:
    """Deliver what a run notes that is no job of a sweep, for as long as the ``with`` block lasts, and then the rest.

    Args:
        context: The run.
        is_inner: Another run, or a job of a sweep, waits for this one, which learns its words. So a store that is away
            neither fails it nor holds it up; what is left waits in its folder.

    Raises:
        TrackingError: The store cannot be opened.
    """
    tracking = context.settings.tracking
    deliverer = Deliverer(context.output_dir, [tracking.uri])
    if not is_inner:
        deliverer.open(write_uri(tracking.uri), tracking.experiment, tracking.artifact_dir)
    deliverer.start()
    seconds = HURRIED_SECONDS if is_inner else FINAL_SECONDS
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        seconds = HURRIED_SECONDS
        raise
    finally:
        deliverer.finish(seconds)


def has_end_waiting(outbox: Outbox) -> bool:
    """Return whether a run is over and MLflow does not know it; what still runs delivers its own."""
    waiting = [] if outbox.is_delivered else outbox.read(outbox.delivery.offset)
    return any(note["kind"] in ("end", "sweep_end") for _, note in waiting)


def settle_adopted(record: ResultRecord, uri: str) -> str | None:
    """Return the MLflow run of a result, and write it into its record where that has nothing but the run's key.

    Args:
        record: What a folder holds.
        uri: The store of the run.

    Returns:
        Its id; None where MLflow has no run of it, or not yet.

    Raises:
        TrackingError: The store cannot be read, or the folder not written.
    """
    if is_settled(record):
        return record.run_id
    key = record.tags[ADOPTED_TAG]
    client = open_client(uri)
    with reading(uri):
        experiment = client.get_experiment_by_name(record.params["tracking.experiment"])
        runs = [] if experiment is None else search_by_key(client, experiment.experiment_id, key)
    if not runs:
        return None
    run_id = str(runs[0].info.run_id)
    if record.folder is not None:
        amend_result(record.folder, run_id=run_id)
    return run_id


def is_settled(record: ResultRecord) -> bool:
    """Return whether there is nothing to look for: a result has its id, or no key by which MLflow knows its run."""
    return record.run_id is not None or record.tags.get(ADOPTED_TAG, "true") == "true"


def settle_all_adopted(folder: Path, opening: Callable[[str, str, str], Store]) -> None:
    """Do so with all results in a folder and below it, each in the store that it was recorded in.

    What cannot be looked up stays as it is, and the log says why: all that was noted is delivered without it.

    Args:
        folder: Of a run or of a sweep, or above several.
        opening: Opens a store; see `Deliverer.open`.
    """
    problems: dict[str, None] = {}
    away: set[str] = set()  # stores that do not answer, each time after seconds
    for file in sorted(folder.rglob(RESULT_FILE)):
        if ADOPTED_TAG.encode() not in file.read_bytes():
            continue
        uri = ""
        try:
            record = read_result(file)
            if not is_settled(record) and (uri := record.params["tracking.uri"]) not in away:
                settle_adopted(record, opening(uri, "", "").uri)
        except TrackingError as error:
            problems[str(error)] = None
            if is_away(error, file.parent):
                away.add(uri)
    for problem in problems:
        log.warning("Results that were taken over do not have the ids of their MLflow runs yet. %s", problem)
