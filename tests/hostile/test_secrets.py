"""Passwords are planted wherever a command takes an address, and looked for in every byte that it leaves."""

from __future__ import annotations

import argparse
import base64
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy
from hydra import compose, initialize_config_dir

from sentiment import credentials
from sentiment.__main__ import build_parser
from sentiment.config.reading import list_keys
from sentiment.credentials import find_passwords, hide_passwords, name_server, read_password
from sentiment.errors import ConfigError, TrackingError, describe_failure
from sentiment.format import mask_passwords
from sentiment.tracking.mlflow.store import connect
from sentiment.tracking.runs import choose_tracking_uri
from tests.end_to_end.conftest import TINY, make_checkout

USER = "planted-user"
TRACKING = "pl@nted-Tr4cking"
STORAGE = "planted-St0rage"
FILED = "planted-F1le"


@pytest.fixture(autouse=True)
def _no_password_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SENTIMENT_TRACKING_PASSWORD", "SENTIMENT_STORAGE_PASSWORD", "PGPASSWORD"):
        monkeypatch.setenv(name, "")
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")


@pytest.mark.parametrize(
    ("argument", "hidden", "variable"),
    [
        ("tracking.uri=http://me:planted@host:5000/x", "tracking.uri=http://me@host:5000/x", "TRACKING"),
        ("++tracking.uri='http://me:p%6Canted@host'", "++tracking.uri='http://me@host'", "TRACKING"),
        ("hydra.sweeper.storage=postgresql://me:planted@h/db", "hydra.sweeper.storage=postgresql://me@h/db", "STORAGE"),
        (
            "hydra.sweeper.storage=mysql://me@h/db?password=planted&x=1",
            "hydra.sweeper.storage=mysql://me@h/db?x=1",
            "STORAGE",
        ),
    ],
)
def test_a_password_moves_from_the_argument_to_the_environment(argument: str, hidden: str, variable: str):
    assert hide_passwords(["seed=1", argument]) == ["seed=1", hidden]
    assert read_password(f"SENTIMENT_{variable}_PASSWORD") == "planted"


def test_a_command_takes_the_password_out_of_its_address_and_leaves_texts_as_they_are():
    parser = build_parser()
    for flag in (["--tracking-uri=http://me:planted@host"], ["--tracking", "http://me:planted@host"]):
        options = parser.parse_args(["predict", "see http://me:pw@host/x", *flag])
        assert (options.texts, options.tracking_uri) == (["see http://me:pw@host/x"], "http://me@host")
        assert read_password("SENTIMENT_TRACKING_PASSWORD") == "planted"


def test_every_command_with_an_address_takes_it_so(monkeypatch: pytest.MonkeyPatch):
    """The password is for the server that was typed, and is printed with no message."""
    parser = build_parser()
    [commands] = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    known = {
        name: action
        for name, command in commands.items()
        for action in command._actions
        if "--tracking-uri" in action.option_strings
    }
    assert {"best", "report", "sync", "predict", "compare"} <= known.keys()
    for action in known.values():
        monkeypatch.setattr(credentials, "_named", set())
        assert action.type is not None
        assert action.type("http://me:planted@host") == "http://me@host"
        assert credentials.is_named("http://me@host")
        with pytest.raises(ConfigError, match="is not a URL"):
            action.type("me:planted@host")


def test_a_password_in_the_environments_address_is_taken_out_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:planted@host")
    assert choose_tracking_uri(None) == "http://me@host"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "me:planted@host")
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI: is not a URL"):
        choose_tracking_uri(None)


@pytest.mark.parametrize(
    "argument",
    [
        "data.path=https://me:planted@host/x", "tracking.uri=http://a:planted@h,http://b:planted@h",
        "hydra.sweeper.storage=postgresql:/me:planted@host", "hydra.searchpath=[pkg://me:planted@x]",
        "tracking.uri=me:planted@host",
    ],
)  # fmt: skip
def test_a_password_that_no_key_takes_is_refused_and_not_repeated(argument: str):
    with pytest.raises(ConfigError) as raised:
        hide_passwords([argument])
    assert "planted" not in str(raised.value)


def test_a_file_that_is_named_holds_the_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "password").write_text(f"{FILED}\nsecond line")
    monkeypatch.setenv("SENTIMENT_STORAGE_PASSWORD_FILE", str(tmp_path / "password"))
    assert read_password("SENTIMENT_STORAGE_PASSWORD") == FILED
    monkeypatch.setenv("SENTIMENT_TRACKING_PASSWORD_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="whose first line is the password"):
        read_password("SENTIMENT_TRACKING_PASSWORD")


def test_whoever_connects_gets_the_password_back_for_a_server_that_a_person_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(credentials, "_named", set())
    monkeypatch.setenv("SENTIMENT_TRACKING_PASSWORD", TRACKING)
    for uri in ("http://me@host:5000/x", "postgresql://me@host/db"):
        with pytest.raises(TrackingError, match="is named by a record and not by you"):
            connect(uri)
        assert os.environ["MLFLOW_TRACKING_PASSWORD"] == ""
    name_server("http://me@host:5000/y")
    name_server("postgresql://host/other")
    assert connect("http://me@host:5000/x") == "http://host:5000/x"
    assert (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]) == ("me", TRACKING)
    assert connect("postgresql://me@host/db") == f"postgresql://me:{quote(TRACKING)}@host/db"


@pytest.mark.parametrize(
    ("variable", "uri"),
    [
        ("MLFLOW_TRACKING_TOKEN", "http://host"), ("MLFLOW_TRACKING_AUTH", "https://host"), ("", "http://host"),
        ("SENTIMENT_TRACKING_PASSWORD", "http://me:@host"), ("PGPASSWORD", "postgresql://host/db"),
    ],
)  # fmt: skip
def test_nothing_that_lets_you_in_goes_to_a_server_that_only_a_record_names(
    variable: str, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(credentials, "_named", set())
    monkeypatch.setenv("HOME", str(tmp_path))
    for unset in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(unset)
    assert connect("http://host") == "http://host"
    if variable:
        monkeypatch.setenv(variable, TRACKING)
    else:  # MLflow's own file
        (tmp_path / ".mlflow").mkdir()
        text = f"[mlflow]\nmlflow_tracking_username = me\nmlflow_tracking_password = {TRACKING}\n"
        (tmp_path / ".mlflow" / "credentials").write_text(text)
    with pytest.raises(TrackingError, match="is named by a record and not by you"):
        connect(uri)
    name_server(uri)
    connect(uri)


def test_every_key_of_the_configuration_refuses_a_password(project_dir: Path):
    with initialize_config_dir(str(project_dir / "conf")):
        config = compose("config", ["search=study"], return_hydra_config=True)
    keys = list_keys(config)
    for key in keys:
        planted: dict[str, object] = {}
        node = planted
        *groups, last = key.split(".")
        for group in groups:
            node[group] = node = {}
        node[last] = f"http://{USER}:{TRACKING}@host"
        (fault,) = find_passwords(planted)
        assert fault.key == key
        assert TRACKING not in str(fault)
    assert len(keys) > 150


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://me:planted/pa:ss@host/db", "http://h/?token=planted&x=1", "x?API_KEY=planted",
        "{'uri': 'http://me:planted@h'}", "it was pl4nted-in-the-environment", "quoted pl4nted%2Din-the-environment",
    ],
)  # fmt: skip
def test_texts_are_masked(text: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PGPASSWORD", "pl4nted-in-the-environment")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "pl4nted%2Din-the-environment")
    assert "nted" not in mask_passwords(text)
    failure = describe_failure(RuntimeError(text))
    assert "nted" not in failure.reason + failure.traceback.replace("planted_", "")


def forms(secret: str) -> Iterator[bytes]:
    """Yield how a secret may be written."""
    yield secret.encode()
    yield quote(secret, safe="").encode()
    yield secret.encode("utf-16-le")
    for before in (secret, f"{USER}:{secret}"):
        yield base64.b64encode(before.encode()).rstrip(b"=")[:-1]


def search_bytes(content: bytes, place: str, found: list[str]) -> int:
    for secret in (TRACKING, STORAGE, FILED):
        found += [f"{secret} in {place}" for form in forms(secret) if form in content]
    return len(content)


def search_folder(folder: Path, found: list[str]) -> int:
    """Search every file's name and content, unpacked too; return how many bytes."""
    count = 0
    for file in folder.rglob("*"):
        search_bytes(str(file).encode(), f"the name {file}", found)
        if file.is_file() and not file.is_symlink():
            count += search_bytes(file.read_bytes(), str(file), found)
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as archive:
                    for name in archive.namelist():
                        count += search_bytes(archive.read(name), f"{file}:{name}", found)
    return count


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """MLflow behind a password; yields its host and port."""
    (tmp_path / "server").mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = Path(__file__).with_name("guarded_mlflow.py")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    process = subprocess.Popen(
        [sys.executable, str(script), str(port), str(tmp_path / "server"), USER, TRACKING],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            break
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    yield f"127.0.0.1:{port}"
    process.terminate()
    process.wait(timeout=30)


@pytest.mark.slow
@pytest.mark.postgresql
@pytest.mark.timeout(1200)  # seven commands
def test_nothing_that_a_run_a_study_a_failure_and_a_report_leave_holds_a_password(tmp_path: Path, server: str):
    checkout = make_checkout(tmp_path / "checkout")
    database = sqlalchemy.make_url(os.environ["SENTIMENT_TEST_POSTGRESQL"])  # it lets any password in
    storage = database.set(drivername="postgresql", username=database.username, password=STORAGE)
    address = storage.render_as_string(hide_password=False)
    tracking = f"tracking.uri=http://{USER}:{quote(TRACKING, safe='')}@{server}"
    (tmp_path / "temporary").mkdir()
    (tmp_path / "password").write_text(TRACKING)
    surroundings = {"TMPDIR": str(tmp_path / "temporary")}
    study = ["-m", "search=study", "model.depth=1,2", "hydra.sweeper.n_trials=2", f"hydra.sweeper.storage={address}"]
    study += ["hydra.sweeper.study_name=secrets", *TINY]
    said: list[str] = []

    def run(*arguments: str, code: int = 0, **more: str) -> None:
        done = checkout.run(*arguments, **surroundings, **more)
        said.extend([done.stdout, done.stderr])
        assert done.returncode == code, done.stderr

    run(tracking, *study)
    bare = {"SENTIMENT_TRACKING_PASSWORD_FILE": str(tmp_path / "password")}
    run(f"tracking.uri=http://{USER}@{server}", *TINY, **bare)
    run(tracking, *TINY, "optimizer=sgd", "optimizer.lr=10", "trainer.gradient_clip_norm=null", code=1)
    run(tracking.replace(server, "127.0.0.1:9"), *TINY, code=1)
    run(
        tracking,
        *study[:4],
        f"hydra.sweeper.storage={storage.set(port=9).render_as_string(hide_password=False)}",
        code=1,
    )
    experiment = checkout.folder / "conf/experiment/planted.yaml"
    experiment.write_text(f"# @package _global_\ntracking:\n  uri: http://{USER}:{TRACKING}@{server}\n")
    run("experiment=planted", code=1)
    experiment.unlink()  # the user's own file
    report = subprocess.run(
        [sys.executable, "-m", "sentiment", "report", "secrets"],
        cwd=checkout.folder,
        env={**os.environ, **surroundings, "SENTIMENT_STORAGE_PASSWORD": STORAGE, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.returncode == 0, report.stderr
    said += [report.stdout, report.stderr]

    found: list[str] = []
    count = search_bytes("\n".join(said).encode(), "the output", found)
    (tmp_path / "password").unlink()
    count += search_folder(tmp_path, found)
    engine = sqlalchemy.create_engine(database)
    with engine.connect() as connection:
        for table in sqlalchemy.inspect(engine).get_table_names():
            for row in connection.execute(sqlalchemy.text(f'SELECT * FROM "{table}"')):
                count += search_bytes(repr(tuple(row)).encode(), f"table {table}", found)
    engine.dispose()
    print(f"{count:,} bytes searched, {len(found)} passwords found")
    assert not found
    assert count > 1_000_000
