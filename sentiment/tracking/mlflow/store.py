"""Open MLflow's store: to record, creating database and experiment where they are missing, or only to read."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_TIMEOUT
from mlflow.exceptions import MlflowException
from mlflow.utils.async_logging.run_operations import RunOperations
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from sentiment.credentials import TRACKING_PASSWORD, is_named, read_password
from sentiment.errors import TrackingError, explaining
from sentiment.format import mask_passwords
from sentiment.tracking.mlflow import REQUEST_SECONDS
from sentiment.tracking.outbox import write_uri

LOCK_TIMEOUT_SECONDS = 120.0
"""Longest wait for another process that creates the store, which takes it a few seconds."""

SERVER_TIMEOUT_SECONDS = 10.0
"""Longest wait for a server's first answer, where a person set none for requests of MLflow."""

SQLITE_TIMEOUT_SECONDS = 60.0

LOCATIONS = (
    ("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"),
    ("model_versions", "source"), ("model_versions", "storage_location"),
)  # fmt: skip
"""Tables and columns of MLflow's database that hold paths of artifacts."""

MLFLOW_PASSWORD = "MLFLOW_TRACKING_PASSWORD"

KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Tells MLflow's pages that an experiment trains models. Versions that ask the reader instead go by the address."""

log = logging.getLogger(__name__)

STORE_ERRORS = (MlflowException, SQLAlchemyError, sqlite3.Error, OSError)


class Client(MlflowClient):
    """MLflow's client, which has written when it returns, whatever ``MLFLOW_ENABLE_ASYNC_LOGGING`` says."""

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Sequence[Param] = (),
        tags: Sequence[RunTag] = (),
        synchronous: bool | None = True,
    ) -> RunOperations | None:
        """Write points, params and tags: what is queued counts as delivered, and is lost where the server is away."""
        return super().log_batch(run_id, metrics, params, tags, synchronous)


@dataclass(frozen=True)
class Store:
    """An open MLflow store, with the experiment that runs are created in; the client has no part in global state."""

    client: MlflowClient
    uri: str
    experiment_id: str


def open_store(uri: str, experiment: str, artifact_dir: str) -> Store:
    """Open the store behind a tracking URI.

    Several processes may call this at once on a store that does not exist: mlflow's schema migration and its
    creation of an experiment both race. In an SQLite file the first one does it under a file lock and the others wait;
    elsewhere the experiment is that of whoever was first. A store that is already there is opened without a lock.

    `artifact_dir` is the folder for the artifacts of a new experiment; a tracking server chooses its own. The path is
    stored in the database, which is what lets a plain ``mlflow ui`` find and serve the files.

    Raises:
        TrackingError: The store cannot be reached, read or written.
    """
    with recording(uri), quiet():
        database = sqlite_file(uri)
        if uri.startswith(("http://", "https://")):
            require_server(uri)
            return _open(uri, experiment, None)
        if database is not None and not _has_experiment(database, experiment):
            database.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{database}.lock", timeout=LOCK_TIMEOUT_SECONDS):
                return _open(uri, experiment, artifact_dir)
        if database is not None:
            follow_moved_artifacts(database)
        return _open(uri, experiment, artifact_dir)


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what mlflow and alembic log in passing, e.g. while they create and migrate a database."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def recording(
    uri: str, otherwise: str = "choose another with tracking.uri=..., or go on without MLflow: tracking=none"
) -> AbstractContextManager[None]:
    """Turn the many errors of a store that cannot be written into one that names the store and the remedies.

    A command with flags of its own says in `otherwise` what to do with them.
    """
    remedy = f"see that the store exists and can be written, {otherwise}"
    return explaining(f"MLflow cannot record at {mask_passwords(uri)}", remedy, TrackingError, STORE_ERRORS)


def reading(uri: str) -> AbstractContextManager[None]:
    """Turn the many errors of a store that cannot be read into one that names the store and the remedies."""
    remedy = "see that the store is there and whole; --tracking-uri or MLFLOW_TRACKING_URI names another one"
    return explaining(f"The MLflow store {mask_passwords(uri)} cannot be read", remedy, TrackingError, STORE_ERRORS)


def open_client(uri: str) -> MlflowClient:
    """Open a store to read from; unlike `open_store` it makes none.

    Raises:
        TrackingError: There is no store, or it cannot be reached.
    """
    database = sqlite_file(uri)
    if database is not None and not database.exists():
        raise TrackingError(
            f"There is no MLflow store at {uri}.",
            "name the store that the runs were recorded in: --tracking-uri URI, or MLFLOW_TRACKING_URI",
        )
    with reading(uri), quiet():
        if uri.startswith(("http://", "https://")):
            require_server(uri)
        if database is not None:
            follow_moved_artifacts(database)
        address = connect(uri)
        return Client(tracking_uri=address, registry_uri=address)


def get_run(client: MlflowClient, uri: str, run_id: str, remedy: str) -> Run:
    """Return a run that must be there.

    Raises:
        TrackingError: The store cannot be read, or has no run of this id; the message ends with the remedy.
    """
    with reading(uri):
        run = find_run(client, run_id)
    if run is None:
        raise TrackingError(f"There is no run {run_id} in the MLflow store {uri}.", remedy)
    return run


def find_run(client: MlflowClient, run_id: str) -> Run | None:
    """Find a run; None where the store knows none of this id, or it was deleted."""
    run = look_up_run(client, run_id)
    return run if run is not None and run.info.lifecycle_stage == "active" else None


def look_up_run(client: MlflowClient, run_id: str) -> Run | None:
    """Look a run up, a deleted one too; None where the store knows none of this id."""
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _open(uri: str, experiment: str, artifact_dir: str | None) -> Store:
    client = Client(tracking_uri=connect(uri))
    found = client.get_experiment_by_name(experiment)
    if found is None:
        location = None if artifact_dir is None else str(Path(artifact_dir).absolute())
        try:
            return Store(client, uri, client.create_experiment(experiment, artifact_location=location, tags=KIND))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(experiment)  # another process was quicker
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise TrackingError(
            f"The MLflow experiment {experiment!r} in {uri} was deleted.",
            f"restore it: MLFLOW_TRACKING_URI={uri} mlflow experiments restore -x {found.experiment_id}\n"
            "  -> or choose another name: tracking.experiment=NAME",
        )
    return Store(client, uri, found.experiment_id)


def connect(uri: str) -> str:
    """Return the address that MLflow connects to, with the password from the environment: never print it.

    For a server (``http://user@host``) MLflow wants both in variables of its own.

    Raises:
        TrackingError: There is a password, and nobody but a stored record names the server: it may be anybody's.
    """
    is_server = uri.startswith(("http://", "https://", "postgresql", "mysql", "mssql"))
    if is_server and not is_named(uri) and _has_secret(uri):
        raise TrackingError(
            f"{write_uri(uri)} is named by a record and not by you, so that your password or token is not sent there.",
            f"if it is your server, say so: --tracking-uri {write_uri(uri)}, or MLFLOW_TRACKING_URI",
        )
    if uri.startswith(("http://", "https://")):
        parts = urlsplit(uri)
        password = unquote(parts.password or "") or read_password(TRACKING_PASSWORD)
        if parts.username:
            os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username)
        if password:
            os.environ[MLFLOW_PASSWORD] = password
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    if not uri.startswith(("postgresql", "mysql", "mssql")):
        return uri
    url = make_url(uri)
    return url.set(password=url.password or read_password(TRACKING_PASSWORD)).render_as_string(hide_password=False)


def _has_secret(uri: str) -> bool:
    """Return whether whoever connects to a server sends it a secret of yours: MLflow's may be in its own file, too."""
    if read_password(TRACKING_PASSWORD):
        return True
    if uri.startswith("http"):
        credentials = get_default_host_creds(uri)  # type: ignore[no-untyped-call]
        return bool(credentials.password or credentials.token or credentials.auth)
    return uri.startswith("postgresql") and bool(os.environ.get("PGPASSWORD"))


def sqlite_file(uri: str) -> Path | None:
    """Return the database file of a tracking URI; None where the store is no SQLite file."""
    if not uri.startswith("sqlite:"):
        return None
    database = make_url(uri).database
    return Path(database) if database and database != ":memory:" else None


def _has_experiment(database: Path, experiment: str) -> bool:
    """Return whether a store is complete: its experiment is the last thing that its creator writes.

    Asking SQLite itself also finds a file that is no database at once; mlflow would try it ten times, for minutes.
    """
    if not database.exists():
        return False
    with closing(sqlite3.connect(database, timeout=SQLITE_TIMEOUT_SECONDS)) as connection:
        tables = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'experiments'")
        if tables.fetchone() is None:
            return False
        rows = connection.execute("SELECT 1 FROM experiments WHERE name = ?", (experiment,))
        return rows.fetchone() is not None


def require_server(uri: str) -> None:
    """See within seconds that a tracking server answers; mlflow's own retries go on for minutes.

    It is asked as MLflow asks, with the certificates that its variables name; what it thinks of this page is no matter.
    """
    credentials = get_default_host_creds(connect(uri))  # type: ignore[no-untyped-call]
    # MLflow's error advises to set it.
    seconds = MLFLOW_HTTP_REQUEST_TIMEOUT.get()  # type: ignore[no-untyped-call]
    timeout = SERVER_TIMEOUT_SECONDS if seconds == REQUEST_SECONDS else seconds
    http_request(credentials, "/", "GET", max_retries=0, timeout=timeout, raise_on_status=False)  # type: ignore[no-untyped-call]


def follow_moved_artifacts(database: Path) -> None:
    """Correct the paths of artifacts that lie beside the database by now.

    MLflow keeps the absolute path of every artifact folder in its database and has no command to change it. A project
    that is moved or copied would read from, and write into, the folder where it was before; so the paths are corrected
    as soon as the store is opened in its new place, with SQL for want of another way.

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
