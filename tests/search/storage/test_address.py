from __future__ import annotations

from pathlib import Path

import optuna
import pytest
import sqlalchemy

from sentiment.search.storage.address import StorageError, read_address, storage_errors


def test_no_url_means_a_journal_in_the_study_folder(tmp_path: Path):
    assert read_address(None, tmp_path).path == tmp_path / "journal.log"


def test_a_journal_may_lie_elsewhere(tmp_path: Path):
    address = read_address("journal:///shared/my%20studies/a.log", tmp_path)
    assert (address.dialect, address.path) == ("journal", Path("/shared/my studies/a.log"))


@pytest.mark.parametrize("url", ["journal://shared/a.log", "journal:a.log", "journal:///"])
def test_a_journal_needs_an_absolute_path(url: str, tmp_path: Path):
    with pytest.raises(StorageError, match="three slashes"):
        read_address(url, tmp_path)


def test_a_relative_sqlite_file_belongs_to_the_folder_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir("/")
    address = read_address("sqlite:///studies/a.db", tmp_path, working_dir=tmp_path)
    assert address.path == tmp_path / "studies/a.db"
    assert address.connection_url == f"sqlite:///{tmp_path}/studies/a.db"


def test_a_home_of_nobody_is_a_folder_of_that_name(tmp_path: Path):
    assert read_address("sqlite:///~no-such-person/a.db", tmp_path, tmp_path).path == tmp_path / "~no-such-person/a.db"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:a?mode=memory&uri=true"])
def test_sqlite_in_memory_is_refused(url: str, tmp_path: Path):
    with pytest.raises(StorageError, match="cannot share it"):
        read_address(url, tmp_path)


def test_a_kind_without_known_locks_is_refused(tmp_path: Path):
    with pytest.raises(StorageError, match=r"\(oracle\) on which workers cannot exclude each other") as raised:
        read_address("oracle://me:secret@host/db", tmp_path)
    assert "secret" not in str(raised.value)


def test_an_unreadable_url_is_not_repeated_since_it_may_hold_a_password(tmp_path: Path):
    with pytest.raises(StorageError, match="not a URL that can be read") as raised:
        read_address("secret@host", tmp_path)
    assert "secret" not in str(raised.value)


def test_passwords_are_hidden_wherever_they_stand(tmp_path: Path):
    for url in ["postgresql+psycopg://me:secret@host/db", "postgresql+psycopg://me@host/db?password=secret"]:
        address = read_address(url, tmp_path)
        assert sqlalchemy.make_url(address.connection_url).translate_connect_args()["host"] == "host"
        assert "secret" in address.connection_url
        assert "secret" not in str(address)
        assert "host/db" in str(address)


def test_a_plain_postgresql_url_uses_the_driver_that_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for installed, expected in [("psycopg", "postgresql+psycopg"), ("psycopg2", "postgresql")]:
        monkeypatch.setattr(
            "sentiment.search.storage.address.find_spec", lambda name, only=installed: name == only or None
        )
        url = read_address("postgresql://host/db", tmp_path).url
        assert url is not None
        assert url.drivername == expected


def test_a_place_is_the_same_whoever_opens_it_and_by_which_driver(tmp_path: Path):
    one = read_address("postgresql://me:secret@host/db", tmp_path)
    assert one.place == read_address("postgresql+psycopg://you@host:5432/db?sslmode=require", tmp_path).place
    others = [
        "postgresql://host:5433/db",
        "postgresql://other/db",
        "postgresql://host/da",
        "mysql://host:5432/db",
        None,
    ]
    assert one.place not in [read_address(url, tmp_path).place for url in others]


@pytest.mark.parametrize("driver", ["postgresql", "postgresql+psycopg"])
def test_nobody_waits_for_hours_for_a_server_that_is_gone(driver: str, tmp_path: Path):
    address = read_address(f"{driver}://me@host/db?connect_timeout=3&options=-csearch_path%3Dmine", tmp_path)
    query = sqlalchemy.make_url(address.connection_url).query
    assert (query["connect_timeout"], query["keepalives_idle"]) == ("3", "30"), "what the URL says itself stands"
    assert query["options"] == "-csearch_path=mine"
    assert "keepalives" not in str(address)


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ('connection to server at "h", port 5432 failed: FATAL:  role "nobody" does not exist', "check the user"),
        ('connection to server at "h", port 5432 failed: FATAL:  database "x" does not exist', "create the database"),
        ('FATAL:  password authentication failed for user "u"', "check the user"),
        ("(1045, \"Access denied for user 'u'@'h' (using password: YES)\")", "check the user"),
        ("(1045, \"Access denied for user 'u'@'h' (using password: NO)\")", "set SENTIMENT_STORAGE_PASSWORD_FILE"),
        (
            'connection to server at "127.0.0.1", port 5432 failed: fe_sendauth: no password supplied',
            "set SENTIMENT_STORAGE_PASSWORD_FILE",
        ),
        ('connection to server at "h" failed: FATAL:  sorry, too many clients already', "give the study fewer jobs"),
        (
            'connection to server at "h" failed: FATAL:  remaining connection slots are reserved for roles with ...',
            "give the study fewer jobs",
        ),
        ("(1040, 'Too many connections')", "give the study fewer jobs"),
        ("(1049, \"Unknown database 'x'\")", "create the database"),
        ("permission denied for schema public", "let the user in the URL make"),
        ("(1142, \"CREATE command denied to user 'u'@'h' for table 'studies'\")", "let the user in the URL make"),
        ("[Errno 13] Permission denied: '/studies/journal.log'", "make the file and its folder writable"),
        ('relation "studies" does not exist', "put that right"),
        ('connection to server at "h", port 5432 failed: Connection refused', "check that the server runs"),
    ],
)
def test_what_a_server_refuses_has_the_remedy_that_helps(reason: str, remedy: str):
    with pytest.raises(StorageError, match=f"\n  -> {remedy}"), storage_errors("Opening it"):
        raise sqlalchemy.exc.OperationalError("", {}, Exception(reason))


def test_library_errors_become_teaching_ones():
    cause = sqlalchemy.exc.OperationalError("SELECT 1", {}, Exception("database is locked"))
    expected = r"Telling trial 3 failed: database is locked\n  -> another program"
    with pytest.raises(StorageError, match=expected), storage_errors("Telling trial 3"):
        raise optuna.exceptions.StorageInternalError("commit") from cause
    with pytest.raises(StorageError, match="free some disk space"), storage_errors("Telling trial 3"):
        raise OSError(28, "No space left on device")
    with pytest.raises(KeyError), storage_errors("Telling trial 3"):
        raise KeyError("not about the storage")
