"""Find the artifacts of a store that was moved together with them.

MLflow keeps the absolute path of every artifact folder in its database and has no command to change it. A project that
is moved or copied would read from, and write into, the folder where it was before; so the paths are corrected in the
database, with SQL for want of another way, as soon as the store is opened in its new place.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

log = logging.getLogger(__name__)

SQLITE_TIMEOUT_SECONDS = 60.0

LOCATIONS = (
    ("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"),
    ("model_versions", "source"), ("model_versions", "storage_location"),
)  # fmt: skip
"""Tables and columns of MLflow's database that hold paths of artifacts."""


def follow_moved_artifacts(database: Path) -> None:
    """Correct the paths of artifacts that lie beside the database by now.

    A folder beside it counts as the experiment's own, whatever lies at the old path, if it holds a run of that
    experiment: the ids of runs are unique. Artifacts that stayed where they were keep their path.

    Args:
        database: An SQLite file of MLflow, with its tables.
    """
    here = database.absolute().parent
    with closing(sqlite3.connect(database, timeout=SQLITE_TIMEOUT_SECONDS)) as connection:
        experiments = connection.execute("SELECT experiment_id, artifact_location FROM experiments").fetchall()
        for experiment, location in experiments:
            old = _read_path(location)
            if old is None or old.is_relative_to(here):
                continue
            runs = connection.execute("SELECT run_uuid FROM runs WHERE experiment_id = ?", (experiment,)).fetchall()
            beside = [here.joinpath(*old.parts[-count:]) for count in range(1, len(old.parts))]
            new = next((path for path in beside if any((path / run).is_dir() for (run,) in runs)), None)
            if new is not None:
                _replace(connection, old, new)
                log.info("MLflow's artifacts were moved from %s to %s; its paths are corrected.", old, new)
        connection.commit()


def _read_path(location: str | None) -> Path | None:
    """Return the absolute path of a location on this machine; None where it is elsewhere."""
    path = Path((location or "").removeprefix("file://"))
    return path if path.is_absolute() else None


def _replace(connection: sqlite3.Connection, old: Path, new: Path) -> None:
    for table, column in LOCATIONS:
        for prefix in (str(old), f"file://{old}"):
            text = prefix.replace(str(old), str(new))
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?)"  # names of our own, values bound
                f" WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (text, len(prefix) + 1, prefix, len(prefix) + 1, f"{prefix}/"),
            )
